#!/usr/bin/perl
# PUT trust: a CA that a controller has sent may command this host from the next
# handshake on, in every worker, after a reload, a restart and a kill; one that is no
# longer in the set may not; the file of certctl_trust always may.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI qw(fingerprint);
use Certctl::Process qw(slurp wait_until write_file);

my $edge = Certctl::Edge->new(workers => 2, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_site%% ssl;
        server_name shop.example;
        certctl on;
    }
CONF
$edge->start;

my $dir  = $edge->dir;
my @pem  = ('content-type' => 'application/x-pem-file');
my %ca   = (file => $edge->{fleet}, map { $_ => Certctl::PKI->ca("Fleet CA $_") } qw(next last));
my %name = map { ($_ => fingerprint($ca{$_}->cert)) } keys %ca;

# A controller's identity by each CA.
for my $by (keys %ca) {
    my ($crt, $key) = $ca{$by}->issue(names => ['URI:urn:certctl:controller'], cn => 'controller', eku => ['clientAuth']);
    write_file("$dir/$by.pem", $crt);
    write_file("$dir/$by.key", $key, 0600);
}

sub client {
    my ($by) = @_;
    return Certctl::HTTP->new(port => $edge->port('control'), cert => "$dir/$by.pem", key => "$dir/$by.key");
}

# What both workers say to clients of this CA: the statuses of some connections, 0 where the handshake fails.
sub answers {
    my ($by) = @_;
    my %seen = map { ((eval { client($by)->get('/certctl/v1/status')->{status} } // 0) => 1) } 1 .. 12;

    return join ' ', map { $_ =~ /^\d+$/ && $_ >= 200 && $_ < 500 ? $_ : 'refused' } sort keys %seen;
}

sub send_set {
    my (@cas) = @_;
    return client('file')->put('/certctl/v1/trust', join('', map { $ca{$_}->cert } @cas), @pem);
}

sub trusted { return client('file')->get('/certctl/v1/status')->{json}{trust} }

sub names { return [sort @name{@_}] }

is answers('file'), '200', 'the CA of the file';
is answers('next'), 'refused', 'another is refused';
is_deeply trusted(), { file => names('file'), all => names('file') }, 'the status has the fingerprint of the file';

subtest 'a set' => sub {
    my $r = send_set('next');
    is $r->{status}, 200, 'is taken' or diag $r->{content};
    is $r->{json}{certificates}, 1, 'with its size';
    is answers('next'), '200', 'its clients may command, in each worker, at once';
    is answers('file'), '200', 'those of the file, too';
    is_deeply [sort @{ trusted()->{all} }], names(qw(file next)), 'the status has both';

    my $again = send_set('next');
    is $again->{json}{generation}, $r->{json}{generation}, 'the same again changes nothing';
};

subtest 'it stays' => sub {
    $edge->reload;
    is answers('next'), '200', 'after a reload';
    $edge->stop;
    $edge->start;
    is answers('next'), '200', 'after a restart';
    $edge->upgrade if $edge->can('upgrade');
    is answers('next'), '200', 'after a binary upgrade';
};

subtest 'another set' => sub {
    is client('next')->put('/certctl/v1/trust', $ca{last}->cert, @pem)->{status}, 200, 'sent by a CA of the set before';
    is answers('last'), '200', 'counts';
    is answers('next'), 'refused', 'what is no longer in it may not command';
    is answers('file'), '200', 'the file counts always';
};

subtest 'an identity' => sub {
    my $csr = client('last')->post('/certctl/v1/certificates/_agent/csr?key=ec-p256&san=DNS:edge1.example,URI:urn:certctl:agent:ag-1');
    my $of = sub {
        my ($by) = @_;
        return Certctl::PKI::openssl('x509', '-req', '-in', write_file("$dir/csr.pem", $csr->{content}),
            '-CA', write_file("$dir/ca.pem", $ca{$by}->cert), '-CAkey', write_file("$dir/ca.key", $ca{$by}->key, 0600),
            '-days', 30, '-copy_extensions', 'copyall') . $ca{$by}->cert;
    };

    my $r = client('file')->put('/certctl/v1/certificates/_agent', $of->('next'), @pem);
    is $r->{status}, 422, 'of a CA that is not trusted is refused';
    like $r->{json}{error}, qr/certctl_trust/, 'by its rule';
    is client('file')->put('/certctl/v1/certificates/_agent', $of->('last'), @pem)->{status}, 200, 'of one in the set is taken';
};

subtest 'what is no set' => sub {
    my ($leaf, $key) = $ca{next}->issue(names => ['DNS:x.example']);
    my $before = trusted();
    my @bad = (
        ['a leaf', $leaf, qr/certificate 1 of the set is not the self-signed certificate of a CA/],
        ['a CA and a leaf', $ca{next}->cert . $leaf, qr/certificate 2 of the set/],
        ['a key beside it', $ca{next}->cert . $ca{next}->key, qr/certificates only/],
        ['text', "none\n", qr/certificate/],
        ['nine', join('', map { Certctl::PKI->ca("CA $_")->cert } 1 .. 9), qr/1 to 8 certificates/],
    );

    for (@bad) {
        my ($what, $body, $rule) = @$_;
        my $r = client('file')->put('/certctl/v1/trust', $body, @pem);
        is $r->{status}, 422, "$what: 422" or diag $r->{content};
        like $r->{json}{error} // '', $rule, "$what: by its rule";
    }
    is client('file')->put('/certctl/v1/trust', $ca{next}->cert, 'content-type' => 'text/plain')->{status}, 415, 'another type';
    is client('file')->delete('/certctl/v1/trust')->{status}, 405, 'another method';
    is_deeply trusted(), $before, 'nothing has changed';

    # a host's identity is no controller
    my ($crt, $k) = $ca{last}->issue(names => ['URI:urn:certctl:agent:ag-2'], eku => ['clientAuth']);
    write_file("$dir/agent.pem", $crt);
    write_file("$dir/agent.key", $k, 0600);
    is client('agent')->put('/certctl/v1/trust', $ca{next}->cert, @pem)->{status}, 403, 'another host may not send one';
};

subtest 'a set that is damaged' => sub {
    my $file = "$dir/store/trust/controllers";
    my $bytes = slurp($file);

    substr($bytes, -20, 1) ^= "\x01";
    $edge->stop;
    write_file($file, $bytes, 0600);
    chown((stat "$dir/store/trust")[4, 5], $file);
    $edge->start;
    is answers('last'), 'refused', 'counts no more';
    is answers('file'), '200', 'the file does';
    like $edge->log, qr/\[alert\].*CAs that a controller has sent cannot be read, only certctl_trust counts/,
        'and the log says so';
    is send_set('last')->{status}, 200, 'the next one replaces it';
    is answers('last'), '200', 'and counts';
};

$edge->stop;
done_testing();
