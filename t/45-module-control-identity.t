#!/usr/bin/perl
# The control listener's identity is replaced only by what the controller can verify:
# a chain to certctl_trust, an agent's URI, and the key that was generated on the host.
# Whatever else is sent under a reserved name is refused, and the listener keeps what it has.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process qw(slurp write_file);
use Certctl::TLS 'handshake';

my $edge = Certctl::Edge->new(workers => 2, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_site%% ssl;
        server_name shop.example;
        certctl on;
    }
CONF
$edge->start;

my $url   = '/certctl/v1/certificates';
my $dir   = $edge->dir;
my $fleet = $edge->{fleet};
my $other = Certctl::PKI->ca('Fleet CA');
my @agent = (names => ['DNS:edge1.example', 'URI:urn:certctl:agent:ag-1']);

sub put {
    my ($path, $body) = @_;
    return $edge->control->put("$url/$path", $body, 'content-type' => 'application/x-pem-file');
}

sub identity {
    my $h = handshake($edge->port('control'), cert => "$dir/controller.pem", key => "$dir/controller.key");
    return $h->{error} || $h->{fingerprint};
}

# What the fleet CA, or another, makes of a request of this host.
sub signed {
    my ($ca, $san, $query) = @_;
    my $r = $edge->control->post("$url/_agent/csr?" . ($query // 'key=ec-p256') . "&san=$san");

    $r->{status} == 200 or die "csr: $r->{status} $r->{content}";
    return Certctl::PKI::openssl('x509', '-req', '-in', write_file("$dir/csr.pem", $r->{content}),
        '-CA', write_file("$dir/ca.pem", $ca->cert), '-CAkey', write_file("$dir/ca.key", $ca->key, 0600),
        '-days', 30, '-copy_extensions', 'copyall') . $ca->cert;
}

my $live = identity();

sub refused {
    my ($what, $r, $status, $rule) = @_;

    is $r->{status}, $status, "$what: $status" or diag $r->{content};
    like $r->{json}{error} // '', $rule, "$what: by its rule";
    is identity(), $live, "$what: the identity is as it was";
    return;
}

subtest 'what may not become the identity' => sub {
    my ($crt, $key, $chain) = $fleet->issue(@agent);

    refused('a key of elsewhere', put('_agent?keygen=server', $chain . $fleet->cert . $key), 422, qr/generated on this host/);
    refused('without that key', put('_agent', $chain . $fleet->cert), 422, qr/pending key/);
    refused('another CA', put('_agent', signed($other, 'DNS:edge1.example,URI:urn:certctl:agent:ag-1')), 422,
        qr/certctl_trust/);
    refused('no agent', put('_agent', signed($fleet, 'DNS:edge1.example')), 422, qr/urn:certctl:agent:<id>/);
    refused('an agent without an id', put('_agent', signed($fleet, 'DNS:edge1.example,URI:urn:certctl:agent:')), 422,
        qr/urn:certctl:agent:<id>/);
    refused('a controller', put('_agent', signed($fleet, 'DNS:edge1.example,URI:urn:certctl:controller')), 422,
        qr/urn:certctl:agent:<id>/);
};

subtest 'what may' => sub {
    my $chain = signed($fleet, 'DNS:edge1.example,URI:urn:certctl:agent:ag-1');
    my $r = put('_agent', $chain);

    is $r->{status}, 200, 'by the fleet CA, for the pending key' or diag $r->{content};
    is identity(), $live = fingerprint($chain), 'is the identity';
    is put('_agent', $chain)->{status}, 200, 'the same again is no change';

    refused('the stored key, which nobody asked for again', put('_agent', again($chain)), 422, qr/pending key/);

    $chain = signed($fleet, 'DNS:edge1.example,URI:urn:certctl:agent:ag-1', 'reuse_key=1');
    $r = put('_agent', $chain);
    is $r->{status}, 200, 'the stored key, which was asked for' or diag $r->{content};
    is identity(), $live = fingerprint($chain), 'is the identity';
};

# Another certificate of the fleet CA for the key that is in $chain.
sub again {
    my ($chain) = @_;
    my $public = Certctl::PKI::openssl('x509', '-in', write_file("$dir/one.pem", $chain), '-pubkey', '-noout');

    write_file("$dir/public.pem", $public);
    write_file("$dir/any.csr", Certctl::PKI::openssl('req', '-new', '-subj', '/CN=x', '-key',
        write_file("$dir/any.key", new_key('ec-p256'), 0600)));
    write_file("$dir/san.cnf", 'subjectAltName=DNS:edge1.example,URI:urn:certctl:agent:ag-1');
    return Certctl::PKI::openssl('x509', '-req', '-in', "$dir/any.csr", '-force_pubkey', "$dir/public.pem",
        '-CA', write_file("$dir/ca.pem", $fleet->cert), '-CAkey', write_file("$dir/ca.key", $fleet->key, 0600),
        '-days', 30, '-extfile', "$dir/san.cnf") . $fleet->cert;
}

subtest 'what the identity cannot be asked' => sub {
    refused('rollback', $edge->control->post("$url/_agent/rollback"), 403, qr/only be replaced/);
    refused('DELETE', $edge->control->delete("$url/_agent"), 403, qr/only be replaced/);

    my ($crt, $key, $chain) = $fleet->issue(@agent);
    my $r = $edge->control->post($url, "\@_agent keygen=server\n$chain$key",
        'content-type' => 'application/x-certctl-bulk');
    is $r->{json}{certificates}[0]{status}, 403, 'many chains: 403' or diag $r->{content};
    is identity(), $live, 'many chains: the identity is as it was';
};

subtest 'its key is no site\'s' => sub {
    my $chain = again(slurp("$dir/one.pem"));

    is $edge->control->post("$url/shop/csr?key=ec-p256&san=DNS:edge1.example")->{status}, 200, 'a site asks for a key';
    refused('the identity\'s chain for it', put('shop', $chain), 422, qr/neither the pending nor the stored key/);
};

subtest 'its key is no site\'s, wherever somebody has it from' => sub {
    my $site = write_file("$dir/site.key", new_key('ec-p256'), 0600);
    my ($crt, $key, $chain) = $fleet->issue(@agent, key => slurp($site));
    my ($user, $group) = (stat "$dir/store/certs")[4, 5];

    $edge->stop;
    write_file("$dir/identity.pem", $chain . $key, 0600);
    is system("$ENV{B}/t/tool/store_put $dir/store _agent $user $group < $dir/identity.pem"), 0, 'a key that is known';
    $edge->start;
    is identity(), $live = fingerprint($crt), 'is the identity\'s';

    my ($leaf, undef, $of_site) = $edge->ca->issue(names => ['shop.example'], key => $key);
    refused('PUT', put('shop?keygen=server', $of_site . $key), 422, qr/key of the control listener's identity/);
    my $r = $edge->control->post($url, "\@shop keygen=server\n$of_site$key",
        'content-type' => 'application/x-certctl-bulk');
    is $r->{json}{certificates}[0]{status}, 422, 'many chains: 422' or diag $r->{content};
};

subtest 'other reserved names' => sub {
    my ($crt, $key, $chain) = $edge->ca->issue(names => ['shop.example']);

    for my $name ('_', '_x', '_agents', '_AGENT', '_agent.', '_acme-challenge.shop.example', '%5Fx') {
        refused("PUT $name", put("$name?keygen=server", $chain . $key), 400, qr/reserved/);
        refused("csr $name", $edge->control->post("$url/$name/csr?key=ec-p256&san=DNS:shop.example"), 400, qr/reserved/);
        refused("rollback $name", $edge->control->post("$url/$name/rollback"), 400, qr/reserved/);
        refused("DELETE $name", $edge->control->delete("$url/$name"), 400, qr/reserved/);
    }
};

$edge->stop;
done_testing();
