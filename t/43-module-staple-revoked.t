#!/usr/bin/perl
# Of two OCSP responses for a certificate the later one counts: an older one does
# not replace it, and after "revoked", or a withdrawal, the good one of before is
# not stapled again, whatever is written, rolled back or restarted.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint);
use Certctl::Process 'wait_until';
use Certctl::TLS 'handshake';
use Digest::SHA 'sha256_hex';
use MIME::Base64 'encode_base64';
use POSIX 'strftime';

my $root = Certctl::PKI->ca('Test Root');
my $ca = $root->sub_ca('Test CA', key => 'rsa-2048');
my @ocsp = (ocsp => 'http://127.0.0.1:1/ocsp');
my ($static, $key, $chain) = $ca->issue(names => ['static.example'], @ocsp);
my ($stock, $stock_key, $stock_chain) = $ca->issue(names => ['stock.example'], @ocsp);
my ($other) = $ca->issue(names => ['other.example'], @ocsp);
my ($hour, $minute) = (time - 3600, time - 60);

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
        location / { return 200 "$certctl_staple|"; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name stored.example;
        certctl on;
        location / { return 200 "$certctl_staple|"; }
    }
CONF

$edge->file('static.pem', $chain);
$edge->file('static.key', $key, 0600);
$edge->file('stock.pem', $stock_chain);
$edge->file('stock.key', $stock_key, 0600);
$edge->file('stock.der', $ca->ocsp($stock));
$edge->start;

my ($stored, $stored_key, $stored_chain) = $edge->give('stored', names => ['stored.example'], @ocsp);
my %cert = (static => $static, stock => $stock, stored => $stored);

sub get { my ($name, @o) = @_; return handshake($edge->port(1), sni => "$name.example", @o) }

sub staple {
    my $der = get(@_)->{staple};
    return defined $der ? sha256_hex($der) : 'none';
}

# How many of some handshakes, on all workers, carry this staple; undef: none.
sub stapled {
    my ($name, $der) = @_;
    my $digest = defined $der ? sha256_hex($der) : 'none';
    return scalar grep { staple($name) eq $digest } 1 .. 12;
}

sub state { return (get($_[0], keep => 1)->{answer} =~ /\r\n\r\n(\w+)/)[0] }

sub put {
    my ($name, $der) = @_;
    return $edge->control->put('/certctl/v1/ocsp/' . fingerprint($cert{$name}), $der,
        'content-type' => 'application/ocsp-response');
}

sub withdraw { return $edge->control->delete('/certctl/v1/ocsp/' . fingerprint($_[0])) }

sub rfc3339 { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $_[0]) }

sub restart { $edge->stop; $edge->start; delete $edge->{control}; return }

# A response is signed as a whole, and stapled as a whole.

for my $name (qw(static stored)) {
    my $good = $ca->ocsp($cert{$name}, from => $hour);
    is(put($name, $good)->{status}, 200, "$name: good, for this certificate alone");

    for my $status (qw(good revoked)) {
        my $r = put($name, $ca->ocsp($cert{$name}, also => [[$other, $status]]));
        is($r->{status}, 422, "$name: one that says \"$status\" of another certificate, too");
        like($r->{json}{error}, qr/other certificates/, '... says so');
    }
    my $r = put($name, $ca->ocsp($other, also => [[$cert{$name}, 'good']]));
    is($r->{status}, 422, "$name: also with the other one first");
    is(stapled($name, $good), 12, '... the good one is stapled');
}

# An older response does not replace a newer one.

for my $name (qw(static stored)) {
    my $newer = $ca->ocsp($cert{$name}, from => $minute);
    my $older = $ca->ocsp($cert{$name}, from => $minute - 1, until => time + 2 * 86400);

    is(put($name, $newer)->{status}, 200, "$name: a newer response");
    my $r = put($name, $older);
    is($r->{status}, 409, "$name: then an older one is refused");
    like($r->{json}{error}, qr/\Q@{[ rfc3339($minute - 1) ]}\E.*\Q@{[ rfc3339($minute) ]}\E/, '... with both times');
    is(put($name, $newer)->{status}, 200, "$name: the newer one again is no change");
    is(stapled($name, $newer), 12, "$name: the newer one is stapled");
    restart();
    is(put($name, $older)->{status}, 409, "$name: the same after a restart");
    is(staple($name), sha256_hex($newer), "$name: still the newer one");
}

# In a PUT of the chain the older one is passed over: the chain is what is put.

my $newer = $ca->ocsp($stored, from => $minute);
my $older = $ca->ocsp($stored, from => $hour);
is(put('stored', $newer)->{status}, 200, 'of the same thisUpdate');
my $pem = "-----BEGIN OCSP RESPONSE-----\n" . encode_base64($older) . "-----END OCSP RESPONSE-----\n";

sub put_chain {
    my ($text, $tail) = @_;
    return $edge->control->put('/certctl/v1/certificates/stored?keygen=server', $text . $stored_key . ($tail // ''),
        'content-type' => 'application/x-pem-file');
}

my $r = put_chain($stored_chain, $pem);
is($r->{status}, 200, 'PUT of the live chain with an older staple') or diag $r->{content};
ok($r->{json}{newer_staple_kept}, '... says that the newer one was kept');
is(stapled('stored', $newer), 12, '... and it is stapled');
ok(!put_chain($stored_chain)->{json}{newer_staple_kept}, 'without a staple there is nothing to say');

# another chain of the same certificate
my $longer = $stored_chain . $root->cert;
$r = put_chain($longer, $pem);
is($r->{status}, 200, 'PUT of a longer chain with an older staple') or diag $r->{content};
ok($r->{json}{newer_staple_kept}, '... the newer one is kept');
is(stapled('stored', $newer), 12, '... and stapled');
is(put_chain($stored_chain)->{status}, 200, 'and back, without a staple');
is(stapled('stored', $newer), 12, '... it is still the same certificate: stapled');

# "revoked" ends the good one.

for my $name (qw(static stored stock)) {
    my $good = $ca->ocsp($cert{$name}, from => $minute);
    put($name, $good);
    is(staple($name), sha256_hex($good), "$name: good");

    my $end = time + 5;
    my $revoked = $ca->ocsp($cert{$name}, status => 'revoked', from => $minute + 1, until => $end);
    my $r = put($name, $revoked);
    is($r->{status}, 200, "$name: then revoked") or diag $r->{content};
    is($r->{json}{status}, 'revoked', '... the answer has the status');
    is(stapled($name, undef), 12, "$name: nothing is stapled, not even by NGINX itself");
    is(state($name), 'withdrawn', "$name: \$certctl_staple");
    is(put($name, $good)->{status}, 409, "$name: the good one of before is refused");

    ok(wait_until(20, sub { time > $end }), '... until past its nextUpdate');
    restart();
    is(stapled($name, undef), 12, "$name: after a restart, and past its nextUpdate, nothing is stapled");
    is(state($name), 'withdrawn', "$name: it is still known");
    is(put($name, $good)->{status}, 409, "$name: the good one of before is refused after a restart");
}

# The revocation is known of the certificate, whatever is written or rolled back.

$pem = "-----BEGIN OCSP RESPONSE-----\n" . encode_base64($newer) . "-----END OCSP RESPONSE-----\n";
put_chain($longer, $pem);
is(stapled('stored', undef), 12, 'another chain of it with the good staple: nothing is stapled');
put_chain($stored_chain, $pem);
is(stapled('stored', undef), 12, 'nor with the chain of before');
is($edge->control->post('/certctl/v1/certificates/stored/rollback')->{status}, 200, 'rolled back');
is(stapled('stored', undef), 12, 'nor after a rollback');

for my $form (qw(full compact)) {
    my $entry = $edge->control->get("/certctl/v1/certificates?name=stored&form=$form")->{json}{certificates}[0];
    is($form eq 'full' ? $entry->{staple}{state} : $entry->{staple}, 'withdrawn', "the $form report has it so");
}

# A hold that was lifted: a later good answer counts again.

for my $name (qw(static stored)) {
    my $again = $ca->ocsp($cert{$name}, from => time - 10);
    is(put($name, $again)->{status}, 200, "$name: a later good answer");
    is(stapled($name, $again), 12, '... is stapled');

    # withdrawn by hand
    $r = withdraw($cert{$name});
    is($r->{status}, 200, "$name: withdrawn") or diag $r->{content};
    is(stapled($name, undef), 12, '... nothing is stapled');
    is(withdraw($cert{$name})->{status}, 200, "$name: withdrawn again is no change");
    restart();
    is(stapled($name, undef), 12, '... nor after a restart');
    is(put($name, $again)->{status}, 409, "$name: the one that was withdrawn is refused");
    my $last = $ca->ocsp($cert{$name}, from => time - 5);
    is(put($name, $last)->{status}, 200, "$name: a later one is not");
    is(stapled($name, $last), 12, '... and is stapled');
}

is(withdraw($other)->{status}, 404, 'withdrawn of a certificate that is not here');
my $fresh = fingerprint(scalar $edge->give('fresh', names => ['fresh.example'], @ocsp));
is($edge->control->delete("/certctl/v1/ocsp/$fresh")->{status}, 404, 'or has no staple');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;

done_testing;
