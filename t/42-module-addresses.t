#!/usr/bin/perl
# Clients without SNI, who connect to an address: IPv4, IPv6 and IPv4-mapped, in
# each way to write it; and certctl_certificate for whoever asks.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::TLS 'handshake';

my $ca = Certctl::PKI->ca('Test CA');
my ($any, $any_key, $any_chain) = $ca->issue(names => ['any.example'], from => -600);

# server_name as it is written, and the address in the record
my @same = (['[::1]', '::1'], ['::1', '::1'], ['[0:0:0:0:0:0:0:1]', '::1'], ['::0001', '::1'], ['[2001:DB8::7]', '2001:db8::7'],
    ['2001:0db8:0000:0000:0000:0000:0000:0007', '2001:db8::7'], ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['[::ffff:192.0.2.1]', '::ffff:192.0.2.1'], ['::FFFF:c000:0201', '::ffff:192.0.2.1'], ['127.0.0.1', '127.0.0.1']);
my @not = ('[::2]', '[::1', '::g', '[::1]x', '192.0.2.1');

my $conf = join '', map { "server { listen 127.0.0.1:%%PORT_$_%% ssl; server_name $same[$_][0]; certctl on; }\n" } 0 .. $#same;
$conf .= join '', map { "server { listen 127.0.0.1:%%PORT_not$_%% ssl; server_name $not[$_]; certctl on; }\n" } 0 .. $#not;
$conf .= <<'CONF';
    server { listen 127.0.0.1:%%PORT_pin%% ssl default_server; certctl on; certctl_certificate legacy; PAIR }
    server { listen 127.0.0.1:%%PORT_named%% ssl default_server; server_name any.example; certctl on; certctl_certificate legacy; PAIR }
CONF
$conf =~ s{PAIR}{ssl_certificate %%DIR%%/any.pem; ssl_certificate_key %%DIR%%/any.key;}g;

my $edge = Certctl::Edge->new(ca => $ca, conf => $conf);
$edge->file('any.pem', $any_chain);
$edge->file('any.key', $any_key, 0600);
$edge->start;

my %fp = map { my $address = $_; ($address, fingerprint(scalar $edge->give("r$address" =~ tr/:/-/r, names => ["IP:$address"]))) }
    keys %{ { map { ($_->[1], 1) } @same } };

is(handshake($edge->port($_))->{fingerprint}, $fp{ $same[$_][1] }, "server_name $same[$_][0], without SNI") for 0 .. $#same;

my %known = reverse %fp;
ok(!$known{ handshake($edge->port("not$_"))->{fingerprint} }, "not server_name $not[$_]") for 0 .. $#not;

# One record for several addresses, and its renewal.

my $both = fingerprint(scalar $edge->give('both', names => ['IP:127.0.0.1', 'IP:::1']));
is(handshake($edge->port($_))->{fingerprint}, $both, "renewed: $same[$_][0]") for 0, 1, 2, 3, 9;

# certctl_certificate, older than ssl_certificate and for another name.

is(handshake($edge->port($_))->{fingerprint}, fingerprint($any), "$_: nothing is stored") for 'pin', 'named';
my $legacy = fingerprint(scalar $edge->give('legacy', names => ['legacy.example'], from => -86400));

for my $port ('pin', 'named') {
    is(handshake($edge->port($port), @$_)->{fingerprint}, $legacy, "certctl_certificate, $port: " . ($_->[1] // 'no SNI'))
        for [], [sni => 'x.org'], [sni => 'any.example'];
}

$edge->control->delete('/certctl/v1/certificates/legacy');
is(handshake($edge->port('pin'))->{fingerprint}, fingerprint($any), 'deleted: ssl_certificate');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;
done_testing;
