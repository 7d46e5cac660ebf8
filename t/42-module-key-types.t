#!/usr/bin/perl
# With an RSA and another certificate stored, the choice between them is that
# which NGINX has with both in files: over ciphers, preferences, signature
# algorithms, TLS 1.2 and 1.3. And each handshake is counted where it belongs.
# A wildcard's certificate serves clients that do not support the key type of the
# exact name's.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::TLS 'handshake';

my $rsa_first = 'ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA';
my $ec_first  = 'ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-GCM-SHA384';

my @servers = ('', "ssl_prefer_server_ciphers on; ssl_ciphers $rsa_first;", "ssl_prefer_server_ciphers on; ssl_ciphers $ec_first;",
    "ssl_ciphers $rsa_first;", 'ssl_conf_command SignatureAlgorithms RSA-PSS+SHA256:ECDSA+SHA256;',
    'ssl_conf_command SignatureAlgorithms ECDSA+SHA256:RSA-PSS+SHA256; ssl_conf_command Options ServerPreference;',
    'ssl_conf_command SignatureAlgorithms RSA-PSS+SHA512;', 'ssl_ecdh_curve secp384r1:prime256v1;');
my %pair = ('p256.example' => 'ec-p256', 'p384.example' => 'ec-p384', 'ed25519.example' => 'ed25519');

my @sigalgs = (undef, 'RSA-PSS+SHA256:ECDSA+SHA256', 'ECDSA+SHA256:RSA-PSS+SHA256', 'ECDSA+SHA384:RSA-PSS+SHA512',
    'RSA-PSS+SHA256', 'ECDSA+SHA256', 'ed25519:RSA-PSS+SHA256', 'RSA+SHA256:ed25519');
my @clients = ((map { { tls => '1.3', sigalgs => $_ } } @sigalgs),
    map { my $ciphers = $_; map { { tls => '1.2', ciphers => "$ciphers:\@SECLEVEL=1", sigalgs => $_ } } @sigalgs }
        'ALL', $rsa_first, $ec_first, 'aRSA', 'aECDSA');

my $ca = Certctl::PKI->ca('Test CA');
my (%file, %issued, $conf);

for my $name (sort keys %pair) {
    for my $type ('rsa-2048', $pair{$name}) {
        my ($crt, $key, $chain) = $ca->issue(names => [$name], key => $type, from => -86400);

        $issued{"$name-$type"} = { crt => $crt, key => $key, chain => $chain, name => $name };
        @file{"$name-$type.pem", "$name-$type.key"} = ($chain, $key);
    }
}

# each pair of addresses: files, and the store; NGINX has its settings of TLS 1.3 from
# the default server
for my $i (0 .. $#servers) {
    my ($static, $stored) = (2 * $i, 2 * $i + 1);

    for my $name (sort keys %pair) {
        my $files = join ' ', map { "ssl_certificate %%DIR%%/$name-$_.pem; ssl_certificate_key %%DIR%%/$name-$_.key;" }
            'rsa-2048', $pair{$name};
        $conf .= "server { listen 127.0.0.1:%%PORT_$static%% ssl; server_name $name; $files $servers[$i] }\n";
        $conf .= "server { listen 127.0.0.1:%%PORT_$stored%% ssl; server_name $name; certctl on; $servers[$i] }\n";
    }
}

my $edge = Certctl::Edge->new(ca => $ca, conf => $conf);

$edge->file($_, $file{$_}, /key$/ ? 0600 : ()) for keys %file;
$edge->start;
$edge->commit($_, @{ $issued{$_} }{qw(chain key)}) for sort keys %issued;

my %type = map { (fingerprint($issued{$_}{crt}), $_) } keys %issued;
my (%chosen, %seen);

for my $i (0 .. $#servers) {
    for my $name (sort keys %pair) {
        my (@static, @stored);

        for my $client (@clients) {
            my %o = (%$client, sni => $name);
            my @h = map { handshake($edge->port($_), %o) } 2 * $i, 2 * $i + 1;
            my $what = join ' ', map { "$_=" . ($client->{$_} // '-') } sort keys %$client;
            my @text = map { "$what: " . ($_->{error} ? 'refused' : "$type{ $_->{fingerprint} } $_->{cipher}") } @h;

            push @static, $text[0];
            push @stored, $text[1];
            next if $h[1]{error};
            $chosen{ $h[1]{fingerprint} }++;
            $seen{ $type{ $h[1]{fingerprint} } }++;
        }

        is_deeply(\@stored, \@static, "$name: " . ($servers[$i] || 'no settings'));
    }
}

is_deeply([sort keys %seen], [sort keys %issued], 'each certificate was chosen by some');

# Counted is the one that was sent.

my %counted;
$counted{ $_->{fingerprint} } = $_->{handshakes}
    for @{ $edge->control->get('/certctl/v1/certificates')->{json}{certificates} };

cmp_ok($counted{$_}, '==', $chosen{$_}, "handshakes are counted: $type{$_}") for sort keys %chosen;

is(handshake($edge->port(1), sni => 'p256.example', tls => '1.2', ciphers => $rsa_first)->{fingerprint},
    fingerprint($issued{'p256.example-rsa-2048'}{crt}), 'RSA where both prefer it');

# NGINX takes some clients without a common algorithm for an error of its own
unlike($edge->log =~ s/^.*SSL_do_handshake\(\) failed.*\n//gmr, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;

# One key type is stored for the exact name, the other for a wildcard.

my @old = $ca->issue(names => ['*.static.example'], key => 'rsa-2048', from => -5 * 86400);
my @new = $ca->issue(names => ['*.static.example'], key => 'rsa-2048', from => -7200);

$edge = Certctl::Edge->new(ca => $ca, conf => join '', "server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; server_name *.wild.example; }\n",
    map { "server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; server_name $_.static.example; ssl_certificate %%DIR%%/$_.pem; "
        . "ssl_certificate_key %%DIR%%/$_.key; }\n" } 'old', 'new');
$edge->file("$_->[0].pem", $_->[3]), $edge->file("$_->[0].key", $_->[2], 0600) for ['old', @old], ['new', @new];
$edge->start;

my %stored = map { my ($name, $key) = @$_; ($name, fingerprint(scalar $edge->give($name =~ s/\*/_w/r =~ s/^_//r,
    names => [$name], key => $key, from => -86400))) } ['shop.wild.example', 'ec-p256'], ['*.wild.example', 'rsa-2048'],
    ['*.static.example', 'rsa-2048'], ['old.static.example', 'ec-p256'], ['new.static.example', 'ec-p256'];
my @rsa_only = ({ tls => '1.3', sigalgs => 'RSA-PSS+SHA256' }, { tls => '1.2', ciphers => 'aRSA' });
my @any      = ({ tls => '1.3' }, { tls => '1.2' }, { tls => '1.2', ciphers => 'aRSA:aECDSA' });

sub served {
    my ($name, @these) = @_;

    return join ' ', map { handshake($edge->port(1), sni => $name, %$_)->{fingerprint} // 'refused' } @these;
}

sub all { my ($fp, @these) = @_; return join ' ', ($fp) x @these }

is(served('shop.wild.example', @any), all($stored{'shop.wild.example'}, @any), 'the exact name\'s for who supports it');
is(served('shop.wild.example', @rsa_only), all($stored{'*.wild.example'}, @rsa_only), 'the wildcard\'s for clients of RSA only');
is(served('x.wild.example', @any, @rsa_only), all($stored{'*.wild.example'}, @any, @rsa_only), 'and for any other name');
is(served('old.static.example', @rsa_only), all($stored{'*.static.example'}, @rsa_only), 'also before an older one in a file');
is(served('new.static.example', @rsa_only), all(fingerprint($new[0]), @rsa_only), 'but not before a newer one');
is(served('new.static.example', { tls => '1.3', sigalgs => 'ECDSA+SHA256' }), $stored{'new.static.example'}, 'beside the exact name\'s');

my %names = map { ($_->{fingerprint}, join ' ', sort @{ $_->{served_names} }) }
    @{ $edge->control->get('/certctl/v1/certificates?name=shop.wild.example')->{json}{certificates} };

is_deeply(\%names, { $stored{'shop.wild.example'} => 'shop.wild.example',
    $stored{'*.wild.example'} => '*.wild.example shop.wild.example' }, 'the report lists both');

is($edge->control->delete('/certctl/v1/certificates/shop.wild.example')->{status}, 200, 'without the exact name\'s');
is(served('shop.wild.example', @rsa_only), all($stored{'*.wild.example'}, @rsa_only), 'the wildcard\'s is served still');
$edge->stop;
done_testing;
