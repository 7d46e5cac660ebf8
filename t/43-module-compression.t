#!/usr/bin/perl
# Compressed certificates (RFC 8879), where ssl_certificate_compression is on: those
# of the store are sent compressed, from the next handshake after a swap; and no
# staple is lost to it.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint);
use Certctl::Process qw(run slurp temp_dir);

my $nginx = Certctl::Nginx::binary();
my ($version, $major, $minor, $patch) = `$nginx -V 2>&1` =~ m{nginx/((\d+)\.(\d+)\.(\d+))};

plan skip_all => "NGINX $version has no ssl_certificate_compression, 1.29.1 has"
    if $major * 1e6 + $minor * 1e3 + $patch < 1_029_001;
plan skip_all => 'the OpenSSL of this machine cannot decompress certificates, 3.2 can'
    if `openssl s_client -help 2>&1` !~ /-no_rx_cert_comp/;

my $root = Certctl::PKI->ca('Test Root', key => 'rsa-2048');
my $ca   = $root->sub_ca('Test CA of some organization with a long name', key => 'rsa-2048');
my @ocsp = (ocsp => 'http://127.0.0.1:1/ocsp');
my ($static, $static_key, $static_chain) = $ca->issue(names => ['static.example'], @ocsp);

my $edge = Certctl::Edge->new(ca => $ca, workers => 2, http => <<'HTTP', conf => <<'CONF');
    ssl_certificate_compression on;
HTTP
    server {
        listen 127.0.0.1:%%PORT_1%% ssl reuseport;
        server_name stored.example;
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl reuseport;
        server_name static.example;
        certctl on;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl reuseport;
        server_name off.example;
        certctl on;
        ssl_certificate_compression off;
    }
CONF

$edge->file('static.pem', $static_chain);
$edge->file('static.key', $static_key, 0600);
$edge->start;

my %port = (stored => 1, static => 2, off => 3);
my ($stored, $stored_key, $stored_chain) = $edge->give('stored', names => ['stored.example'], @ocsp);
my $off = $edge->give('off', names => ['off.example'], @ocsp);

# A handshake of openssl s_client, as it shows it.
sub get {
    my ($name, @o) = @_;
    my $log = temp_dir() . '/log';

    run($log, 'openssl', 's_client', '-connect', '127.0.0.1:' . $edge->port($port{$name}), '-servername', "$name.example",
        '-msg', @o) == 0 or die slurp($log);
    my $text = slurp($log);
    my ($pem) = $text =~ /^Server certificate\n(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n)/ms;

    return { crt => fingerprint($pem), compressed => $text =~ /CompressedCertificate/ ? 1 : 0,
        stapled => $text =~ /OCSP Response Status: successful/ ? 1 : 0, bytes => $text =~ /handshake has read (\d+) bytes/ };
}

# The same for several, on both workers.
sub is_sent {
    my ($name, $crt, $compressed, $stapled, $what, @o) = @_;
    my %seen = map { my $h = get($name, @o); (join(' ', @{$h}{qw(crt compressed stapled)}), 1) } 1 .. 6;

    is(join(', ', sort keys %seen), join(' ', fingerprint($crt), $compressed, $stapled), "$name: $what");
    return;
}

sub deliver {
    my ($crt, $der) = @_;
    my $r = $edge->control->put('/certctl/v1/ocsp/' . fingerprint($crt), $der, 'content-type' => 'application/ocsp-response');

    is($r->{status}, 200, 'a staple is delivered') or diag $r->{content};
    return;
}

is_sent('static', $static, 1, 0, 'NGINX compresses its own');
is_sent('stored', $stored, 1, 0, 'one of the store is compressed');
is_sent('stored', $stored, 0, 0, 'not for a client that cannot decompress', '-no_rx_cert_comp');
is_sent('stored', $stored, 0, 0, 'nor with TLS 1.2', '-tls1_2');
is_sent('off', $off, 0, 0, 'nor where compression is off');

my ($less, $all) = (get('stored')->{bytes}, get('stored', '-no_rx_cert_comp')->{bytes});
cmp_ok($less, '<', $all, 'it saves bytes');
diag("the server's part of a handshake: $less bytes instead of $all, " . ($all - $less) . ' saved');

my $new = $edge->give('stored', names => ['stored.example'], @ocsp);
isnt(fingerprint($new), fingerprint($stored), 'another certificate');
is_sent('stored', $new, 1, 0, 'is sent compressed at once');

# A client that asks for a staple.

my %crt = (stored => $new, static => $static);

for my $name (qw(stored static)) {
    is_sent($name, $crt{$name}, 1, 0, 'a client that asks for a staple where there is none', '-status');
    deliver($crt{$name}, $ca->ocsp($crt{$name}, from => time - 60));
    is_sent($name, $crt{$name}, 0, 1, 'a client that asks for a staple gets it', '-status');
    is_sent($name, $crt{$name}, 1, 0, 'one that does not gets a compressed certificate');
    deliver($crt{$name}, $ca->ocsp($crt{$name}, status => 'revoked', from => time - 30));
    is_sent($name, $crt{$name}, 1, 0, 'without a staple it is compressed again', '-status');
}

$edge->reload(wait_old => 1);
is_sent('stored', $new, 1, 0, 'after a reload');
is($edge->control->delete('/certctl/v1/certificates/stored')->{status}, 200, 'deleted');
is(get('stored')->{compressed}, 1, 'the placeholder is compressed by NGINX');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;

done_testing;
