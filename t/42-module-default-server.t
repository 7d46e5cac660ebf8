#!/usr/bin/perl
# "certctl on" with an empty store changes no handshake: each server of a
# configuration that works without is compared with itself, on an NGINX that
# does not have the module. What the store then changes, and what not.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::TLS 'handshake';

my $ca = Certctl::PKI->ca('Test CA');
my %file;

sub static {
    my ($name, %o) = @_;
    my ($crt, $key, $chain) = $ca->issue(from => -5 * 86400, %o);

    @file{"$name.pem", "$name.key"} = ($chain, $key);
    return fingerprint($crt);
}

sub uses { return "ssl_certificate %%DIR%%/$_[0].pem; ssl_certificate_key %%DIR%%/$_[0].key;" }

my $multi = static('multi', names => ['first.example', 'covered.example'], key => 'rsa-2048');
my $other = static('other', names => ['other.example']);
static($_, names => [$_]) for 'var.example', 'first.var', 'plain.var';
my ($client, $client_key) = $ca->issue(names => ['client'], eku => ['clientAuth']);

@file{qw(ca.pem client.pem client.key)} = ($ca->cert, $client, $client_key);

# Servers that have no ssl_certificate, beside a default server that has one, with
# settings of their own, which NGINX does not look at.
my $bare = <<'CONF';
    listen %s;
    server_name %s;
    ssl_protocols TLSv1.2;
    ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384;
    ssl_session_tickets off;
    ssl_conf_command SignatureAlgorithms ECDSA+SHA384;
CONF

my $servers = join "\n", <<"CONF",
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name first.example;
        ${\ uses('multi') }
        ssl_stapling on;
    }
    server { listen 127.0.0.1:%%PORT_1%% ssl; server_name other.example; ${\ uses('other') } }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name rejected.example;
        ssl_reject_handshake on;
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name asks.example;
        ssl_verify_client on;
        ssl_client_certificate %%DIR%%/ca.pem;
    }
    server { listen 127.0.0.1:%%PORT_1%% ssl; server_name noca.example; ssl_verify_client on; }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name first.var;
        ssl_certificate %%DIR%%/\$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/\$ssl_server_name.key;
    }

    # the default server asks for a certificate of the client
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        server_name first.example;
        ${\ uses('multi') }
        ssl_verify_client on;
        ssl_client_certificate %%DIR%%/ca.pem;
    }

    # rejects whom nobody knows
    server { listen 127.0.0.1:%%PORT_4%% ssl default_server; ssl_reject_handshake on; }
    server { listen 127.0.0.1:%%PORT_4%% ssl; server_name other.example; ${\ uses('other') } }
CONF
    map { "server { $_ }" }
    sprintf($bare, '127.0.0.1:%%PORT_1%% ssl', 'bare.example covered.example'),
    sprintf($bare, '127.0.0.1:%%PORT_2%% ssl', 'plain.var'),
    sprintf($bare, '127.0.0.1:%%PORT_3%% ssl', 'bare.example');

my $protocols = 'ssl_protocols TLSv1.2 TLSv1.3;';
my $stock = Certctl::Nginx->new(module => 0, conf => <<"CONF");
%%MAIN%%
http {
    %%HTTP%%
$servers
}
CONF

my $edge = Certctl::Edge->new(ca => $ca, http => 'certctl on;', conf => $servers);

for my $nginx ($stock, $edge) {
    $nginx->file($_, $file{$_}, /key/ ? 0644 : ()) for keys %file;
    $nginx->start;
}

# What a client sees of a handshake, without what is new in each.
sub seen {
    my ($nginx, $port, %o) = @_;
    my $h = handshake($nginx->port($port), keep => 1,
        ($o{client} ? map { ($_, $nginx->dir . '/client.' . { cert => 'pem', key => 'key' }->{$_}) } qw(cert key) : ()),
        %o);
    my ($status) = ($h->{answer} // '') =~ m{^HTTP/1.1 (\d+)};

    return join ' ', map { $_ // '-' } @$h{qw(protocol cipher alpn)}, substr($h->{fingerprint} // '-', 0, 16),
        $h->{staple} ? 'stapled' : 'no staple', $status, $h->{error} =~ s/^error:\w+//r =~ s/closed:.*/closed/r;
}

my %client = (
    'TLS 1.3'              => { tls => '1.3' },
    'TLS 1.2'              => { tls => '1.2' },
    'RSA only, TLS 1.2'    => { tls => '1.2', ciphers => 'aRSA:@SECLEVEL=1' },
    'RSA only, TLS 1.3'    => { tls => '1.3', sigalgs => 'RSA-PSS+SHA256' },
    'ECDSA only, TLS 1.2'  => { tls => '1.2', ciphers => 'aECDSA' },
    'with a certificate'   => { client => 1 },
);

my @asked = ((map { [1, $_] } 'bare.example', 'covered.example', 'first.example', 'other.example', 'asks.example',
        'noca.example', 'rejected.example', 'unknown.example', undef),
    (map { [2, $_] } 'plain.var', 'first.var', 'var.example', 'unknown.example', undef),
    (map { [3, $_] } 'bare.example', 'unknown.example', undef),
    (map { [4, $_] } 'other.example', 'unknown.example', undef));

for (@asked) {
    my ($port, $sni) = @$_;

    for my $what (sort keys %client) {
        my %o = (%{ $client{$what} }, defined $sni ? (sni => $sni) : ());

        is(seen($edge, $port, %o), seen($stock, $port, %o), join ', ', "address $port", $sni // 'no SNI', $what);
    }
}

# The comparison sees what it should: RSA-only clients of a server that has nothing
# get the RSA certificate of the default server.

my $rsa = $client{'RSA only, TLS 1.2'};

is(handshake($edge->port(1), sni => 'bare.example', %$rsa)->{fingerprint}, $multi, 'the RSA certificate is served');
like(seen($edge, 1, sni => 'rejected.example'), qr/unrecognized name/, 'a rejected handshake is one');

# nginx -t tells where certctl is on and can do nothing.

my ($ok, $text) = $edge->test;
ok($ok, 'nginx -t accepts it');
like($text, qr/\[warn\].*"certctl on" has no effect in the server in \S+:\d+: add "ssl_client_certificate", which "ssl_verify_client" needs/,
    'and says where a server stays as it is');
is(() = $text =~ /"certctl on" has no effect/g, 1, 'once');

# What the report says of a server of the first address that has nothing.

sub entries {
    my ($name) = @_;
    my $report = $edge->control->get("/certctl/v1/certificates?name=$name")->{json};

    return map { [$_->{source}, $_->{fingerprint}, $_->{why}] }
        grep { $_->{server}{listen}[0] eq '127.0.0.1:' . $edge->port(1) } @{ $report->{certificates} };
}

is_deeply((entries('covered.example'))[0], ['static', $multi, 'no stored certificate covers this name'],
    'the report names the default server\'s certificate');

# A stored certificate makes it a server of its own, with its own settings.

my $bare_ec = fingerprint(scalar $edge->give('bare', names => ['bare.example'], key => 'ec-p384', from => -40 * 86400));

is(handshake($edge->port(1), sni => 'bare.example')->{fingerprint}, $bare_ec,
    'stored: served, though older than the default server\'s');
is(handshake($edge->port(1), sni => 'bare.example', tls => '1.2')->{cipher}, 'ECDHE-ECDSA-AES256-GCM-SHA384',
    'with its own settings');
is(handshake($edge->port(1), sni => 'covered.example', %$rsa)->{fingerprint}, $multi,
    'another name of it: as before');
is((entries('bare.example'))[0][1], $bare_ec, 'the report names it');

my $asks = fingerprint(scalar $edge->give('asks', names => ['asks.example']));
is(handshake($edge->port(1), sni => 'asks.example', keep => 1)->{fingerprint}, $asks, 'a server that verifies clients');
like(seen($edge, 1, sni => 'asks.example', client => 1), qr/ 404 /, 'asks them for a certificate');

# Deleted: as before.

$edge->control->delete("/certctl/v1/certificates/$_") for 'bare', 'asks';
is(seen($edge, 1, sni => $_, %$rsa), seen($stock, 1, sni => $_, %$rsa), "deleted: $_ as before")
    for 'bare.example', 'asks.example';

# What is stored for the default server's name is what its file would be.

my $first = fingerprint(scalar $edge->give('first', names => ['first.example'], key => 'rsa-2048'));

is(handshake($edge->port(1), sni => $_, %$rsa)->{fingerprint}, $first, "stored for the default server: $_")
    for 'first.example', 'bare.example', 'unknown.example';
is(handshake($edge->port(1), %$rsa)->{fingerprint}, $first, 'stored for the default server: no SNI');
is(handshake($edge->port(1), sni => 'covered.example', %$rsa)->{fingerprint}, $multi,
    'not for a name that its file covers, and the stored one does not');
is_deeply([entries('bare.example')],
    [['store', $first, 'no stored certificate covers this name: the default server\'s stored certificate is served']],
    'the report says so');
is(handshake($edge->port(4), sni => 'other.example')->{fingerprint}, $other, 'other servers serve what they did');
isnt(handshake($edge->port(4), sni => 'unknown.example')->{error}, '', 'and reject whom they did');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$_->stop for $stock, $edge;
done_testing;
