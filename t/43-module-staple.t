#!/usr/bin/perl
# Staples, of stored and of static certificates: in the first handshake after a
# restart, with nobody there to ask; and never one that is not true.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint);
use Certctl::Process qw(in_time wait_until);
use Certctl::TLS 'handshake';
use Digest::SHA 'sha256_hex';
use POSIX 'strftime';

my $ca = Certctl::PKI->ca('Test Root')->sub_ca('Test CA', key => 'rsa-2048');
my @ocsp = (ocsp => 'http://127.0.0.1:1/ocsp');
my ($static, $key, $chain) = $ca->issue(names => ['static.example'], @ocsp, days => 5);
my ($stock, $stock_key, $stock_chain) = $ca->issue(names => ['stock.example'], @ocsp);

my $edge = Certctl::Edge->new(ca => $ca, workers => 2, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name static.example;
        certctl on;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
        location / { return 200 "$certctl_staple|"; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name stock.example;
        certctl on;
        ssl_certificate %%DIR%%/stock.pem;
        ssl_certificate_key %%DIR%%/stock.key;
        ssl_stapling on;
        ssl_stapling_file %%DIR%%/stock.der;
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name stored.example;
        certctl on;
        location / { return 200 "$certctl_staple|"; }
    }
CONF

my $stock_staple = $ca->ocsp($stock);

$edge->file('static.pem', $chain);
$edge->file('static.key', $key, 0600);
$edge->file('stock.pem', $stock_chain);
$edge->file('stock.key', $stock_key, 0600);
$edge->file('stock.der', $stock_staple);
$edge->start;

sub digest { return sha256_hex($_[0]) }
sub get { my ($name, @o) = @_; return handshake($edge->port(1), sni => "$name.example", @o) }

# The digest of what a handshake is stapled with.
sub staple {
    my $der = get(@_)->{staple};
    return defined $der ? digest($der) : 'none';
}

sub state {
    my ($name) = @_;
    return (get($name, keep => 1)->{answer} =~ /\r\n\r\n(\w+)/)[0];
}

sub deliver {
    my ($crt, $der, $name) = @_;
    return $edge->control->put('/certctl/v1/ocsp/' . fingerprint($crt)
        . ($name ? "?name=$name" : ''), $der,
        'content-type' => 'application/ocsp-response');
}

# How many of some handshakes, on all workers, carry this staple.
sub stapled {
    my ($name, $der) = @_;
    return scalar grep { staple($name) eq digest($der) } 1 .. 20;
}

# A static certificate.

is(staple('static'), 'none', 'none was delivered');
is(state('static'), 'missing', '$certctl_staple: missing');

my $good = $ca->ocsp($static, from => time - 7200, until => time + 3600);
my $r = deliver($static, $good);
like($r->{status}, qr/^20/, 'delivered for a static certificate') or diag $r->{content};
is(stapled('static', $good), 20, 'each handshake is stapled at once');
is(state('static'), 'fresh', '$certctl_staple: fresh');
is(staple('static', tls => '1.2'), digest($good), 'with TLS 1.2 too');
is(staple('static', staple => 0), 'none', 'not for one that does not ask');

# A stored one.

my $crt = $edge->give('stored', names => ['stored.example'], @ocsp);
is(state('stored'), 'missing', 'a stored certificate without staple');

my $stored = $ca->ocsp($crt);
like(deliver($crt, $stored, 'stored')->{status}, qr/^20/, 'delivered for a stored certificate');
is(stapled('stored', $stored), 20, 'each handshake is stapled at once');

# Restart: nothing else runs, and the first handshakes are stapled.

$edge->stop;
$edge->start;
is(staple('static'), digest($good),   'static: the first handshake after a restart');
is(staple('stored'), digest($stored), 'stored: the first handshake after a restart');
$edge->reload(wait_old => 1);
is(staple('static'), digest($good),   'static: the first handshake after a reload');
is(staple('stored'), digest($stored), 'stored: the first handshake after a reload');

# What is not true is refused, and what was there stays.

my %bad = (
    unknown      => $ca->ocsp($static, status => 'unknown'),
    ended        => $ca->ocsp($static, from => time - 7200, until => time - 60),
    'not begun'  => $ca->ocsp($static, from => time + 7200, until => time + 9000),
    foreign      => $ca->ocsp($static, for => $crt),
    forged       => $ca->ocsp($static, signer => Certctl::PKI->ca('Stranger')),
    garbage      => 'garbage',
    cut          => substr($good, 0, -7),
);

for my $what (sort keys %bad) {
    my $r = deliver($static, $bad{$what});
    like($r->{status}, qr/^4\d\d/, "$what: refused");
    is(staple('static'), digest($good), "$what: the good one is still stapled");
}

# One that does not say how long it is good for.

my $from = time - 600;
my $open = $ca->ocsp($static, from => $from, until => 0);
$r = deliver($static, $open);
is($r->{status}, 200, 'without nextUpdate') or diag $r->{content};
is(staple('static'), digest($open), 'it is stapled');
is($r->{json}{next_update}, strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $from + 12 * 3600),
    'for 12 hours from thisUpdate on');
like(deliver($static, $ca->ocsp($static, from => time - 12 * 3600 - 60, until => 0))->{status}, qr/^4/,
    'and no longer');

# It ends with its nextUpdate.

my ($end, $short, $shown) = in_time(3, sub {
    my $der = $ca->ocsp($static, until => $_[0]);
    deliver($static, $der);
    return ($der, staple('static'));
});
is($shown, digest($short), 'one that ends soon');
ok(wait_until($end - time + 10, sub { staple('static') eq 'none' }), 'is not stapled past its end');
is(state('static'), 'stale', '$certctl_staple: stale');

# It ends with the certificate, however long it is good for.

my ($brief, $long);
($end, $brief, $long, $shown) = in_time(4, sub {
    my $crt = $edge->give('stored', names => ['stored.example'], @ocsp, until => $_[0]);
    my $der = $ca->ocsp($crt, until => time + 86400);
    deliver($crt, $der, 'stored');
    return ($crt, $der, staple('stored'));
});
is($shown, digest($long), 'one that outlives its certificate');
ok(wait_until($end - time + 10, sub { staple('stored') eq 'none' }), 'is not stapled to an expired one');
is(get('stored')->{fingerprint}, fingerprint($brief), 'which is served, as there is no other');
is(state('stored'), 'stale', '$certctl_staple: stale');

for my $form (qw(full compact)) {
    my $entry = $edge->control->get("/certctl/v1/certificates?name=stored&form=$form")->{json}{certificates}[0];
    is($form eq 'full' ? $entry->{staple}{state} : $entry->{staple}, 'stale', "the $form report has it so");
}

# A new certificate never carries the old one's staple.

$edge->give('stored', names => ['stored.example'], @ocsp);
is(staple('stored'), 'none', 'a swap takes the staple along');

# NGINX's own stapling goes on where nothing was delivered.

is(staple('stock'), digest($stock_staple), 'ssl_stapling_file beside certctl');
my $ours = $ca->ocsp($stock, until => time + 1800);
deliver($stock, $ours);
is(staple('stock'), digest($ours), 'until one is delivered');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;

# ssl_stapling in http{}, and servers that have only "certctl on": nobody wrote a
# certificate of which an issuer could be missed. A delivered staple is sent.

my $only = Certctl::Edge->new(ca => $ca, http => 'ssl_stapling on; ssl_stapling_verify on; certctl on;',
    conf => join "\n", map { "server { listen 127.0.0.1:%%PORT_1%% ssl; server_name $_.example; }" } 'a' .. 'e');
my ($ok, $text) = $only->test;

ok($ok, 'ssl_stapling on beside servers without ssl_certificate');
unlike($text, qr/warn|certificate/, 'nginx -t has nothing to say');
$only->start;
unlike($only->log, qr/\[warn\]/, 'nor has the log');

my $ec = $only->give('a', names => ['a.example'], @ocsp);
my $answer = $ca->ocsp($ec);
$only->control->put('/certctl/v1/ocsp/' . fingerprint($ec), $answer, 'content-type' => 'application/ocsp-response');
is(digest(handshake($only->port(1), sni => 'a.example')->{staple} // ''), digest($answer), 'a delivered staple is sent');
$only->stop;

done_testing;
