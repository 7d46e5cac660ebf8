#!/usr/bin/perl
# The host's clock jumps by hours, days, to 1970 and to 2038, beneath a running
# NGINX: it serves the last good certificate, staples nothing that is not true at
# that time, takes writes, and all is as before when the clock is right again.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(preload run slurp wait_until write_file);
use Certctl::TLS 'handshake';
use POSIX 'strftime';

my ($lib) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1';
plan skip_all => 'libfaketime is not installed' if !$lib;

my $HOUR = 3600;
my $DAY  = 24 * $HOUR;
my $now  = time;
my $ca   = Certctl::PKI->ca('Root CA', days => 30_000, from => $DAY - $now)
    ->sub_ca('Test CA', days => 30_000, from => $DAY - $now);
my @ocsp = (ocsp => 'http://127.0.0.1:1/');

# renewed by hand after the stored one, but not for long
my ($static, $static_key, $static_chain) = $ca->issue(names => ['static.example'], days => 5);

my @faked = qw(LD_PRELOAD FAKETIME_TIMESTAMP_FILE FAKETIME_NO_CACHE FAKETIME_DISABLE_SHM
    FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT);
my $edge = Certctl::Edge->new(workers => 1, ca => $ca, main => join('', map { "env $_;\n" } @faked),
    conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name a.example;
        certctl on;
        location / { return 200 "$time_iso8601|"; }
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name static.example;
        certctl on;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
    }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name pinned.example;
        certctl on;
        certctl_certificate rsa;
    }
    server { listen 127.0.0.1:%%PORT_http%%; location / { return 204; } }
CONF
my $dir = $edge->dir;
my $url = '/certctl/v1';

# the controller's certificate holds at any time, or nobody could command
my $fleet = Certctl::PKI->ca('Fleet CA', days => 30_000, from => $DAY - $now);
my ($crt, $key) = $fleet->issue(names => ['URI:urn:certctl:controller'], eku => ['clientAuth'],
    days => 30_000, from => $DAY - $now);
$edge->file('fleet.pem', $fleet->cert);
$edge->file('controller.pem', $crt);
$edge->file('controller.key', $key, 0600);
$edge->file('static.pem', $static_chain);
$edge->file('static.key', $static_key, 0600);

my %time = ('an hour on' => $HOUR, 'two days on' => 2 * $DAY, 'ten days on' => 10 * $DAY, 'an hour back' => -$HOUR,
    'two days back' => -2 * $DAY, '1970' => 2 * $DAY - $now, '2038' => 2**31 + $DAY - $now);

# The clock as NGINX sees it, in seconds from the true one.
sub clock {
    my ($offset) = @_;
    write_file("$dir/clock.new", sprintf "%+d\n", $offset);
    chmod 0644, "$dir/clock.new";
    rename "$dir/clock.new", "$dir/clock" or die $!;
    return;
}

clock(0);
@{ $edge->{env} }{@faked} = (preload($lib), "$dir/clock", 1, 1, 1, 1, 1);
$edge->start;

sub hs { return handshake($edge->port(1), sni => "$_[0].example", keep => 1) }

# Another master on the same store, as in a binary upgrade, tells only its own workers:
# those of the first see for themselves, after a minute.

my $other = Certctl::Edge->new(workers => 1, ca => $ca, store => "$dir/store", conf => '')->start;
my $moved = fingerprint(scalar $edge->give('first', names => ['moved.example'], from => -$DAY));
is(hs('moved')->{fingerprint}, $moved, 'a name of one record');
$moved = fingerprint(scalar $other->give('second', names => ['moved.example']));
clock(120);
ok(wait_until(10, sub { hs('moved')->{fingerprint} eq $moved }), 'is the other master\'s record\'s after a minute');
clock(0);
$other->stop;
$edge->control->delete("$url/certificates/$_") for qw(first second);

# Certificate, and which staple.
my ($good, $staple);
sub serves {
    my ($name) = @_;
    my $h = hs($name);
    return "$h->{error}$h->{fingerprint} " . (!defined $h->{staple} ? 'none' : $h->{staple} eq $staple ? 'ours' : 'other');
}

sub put {
    my ($name, $c, $k) = @_;
    my $r = $edge->control->put("$url/certificates/$name?keygen=server", $c . $k,
        'content-type' => 'application/x-pem-file');
    return $r;
}

sub deliver {
    my ($c, $der) = @_;
    return $edge->control->put("$url/ocsp/" . fingerprint($c), $der, 'content-type' => 'application/ocsp-response');
}

my ($first, $first_key, $chain) = $ca->issue(names => ['a.example'], days => 90, @ocsp);
$good   = fingerprint($first);
$staple = $ca->ocsp($first, from => $now - 1800, until => $now + 1800);
is(put('a', $chain, $first_key)->{status}, 200, 'a certificate');
is(deliver($first, $staple)->{status}, 200, 'and its staple');

my ($stored, $stored_key, $stored_chain) = $ca->issue(names => ['static.example'], from => -7 * $DAY, days => 90);
is(put('static', $stored_chain, $stored_key)->{status}, 200, 'one beside a newer static one');
is(serves('a'), "$good ours", 'served');
is(hs('static')->{fingerprint}, fingerprint($static), 'the static one is newer');

my $generation = 0;

for my $what (sort { $time{$a} <=> $time{$b} } keys %time) {
    my $offset = $time{$what};

    clock($offset);

    my $h = hs('a');
    my ($seen) = ($h->{answer} // '') =~ /\r\n\r\n([^|]*)/;
    my $there = strftime('%Y-%m-%dT%H', gmtime($now + $offset));
    like($seen, qr/^\Q$there\E|^@{[ strftime('%Y-%m-%dT%H', gmtime(time + $offset)) ]}/, "$what: NGINX believes it");

    is(serves('a'), "$good none", "$what: the certificate is served, without a staple that is not true then");
    # the newer one, unless it alone is not valid then
    my $want = grep({ $what eq $_ } 'two days back', 'ten days on') ? $stored : $static;
    is(hs('static')->{fingerprint}, fingerprint($want), "$what: of static and stored, the one to serve");

    # a write at that time: its own certificate is good then
    my ($c, $k, $all) = $ca->issue(names => ['w.example'], from => $offset - $HOUR,
        days => ($offset + $DAY) / $DAY, until => time + $offset + $DAY);
    my $r = put('w', $all, $k);
    is($r->{status}, 200, "$what: a write") or diag $r->{content};
    cmp_ok($r->{json}{generation} // 0, '>', $generation, "$what: its generation is greater than that of any before");
    $generation = $r->{json}{generation};
    is(hs('w')->{fingerprint}, fingerprint($c), "$what: live");
    is($edge->control->get("$url/certificates")->{status}, 200, "$what: the report");

    ok($edge->reload(wait_old => 1), "$what: reload");
    is(serves('a'), "$good none", "$what: new workers serve it too");

    clock(0);
    is(serves('a'), "$good ours", "$what: the clock is right again: certificate and staple");
}

# Started while the clock is wrong.

for my $what ('1970', '2038') {
    is($edge->stop, 0, "$what: NGINX ends");
    delete $edge->{control};
    clock($time{$what});
    $edge->start;
    is(serves('a'), "$good none", "$what: started then, it serves the certificate");
    clock(0);
    is(serves('a'), "$good ours", "$what: and with the clock right again its staple");
    delete $edge->{control};
    isnt($edge->control->get("$url/status")->{status}, 599, "$what: the control listener answers");
}

# A challenge is over when its time is, and a jump back brings none again.

my $token = 'token.' . 'x' x 43;
is($edge->control->put("$url/challenges/http-01/token?ttl=600", $token, 'content-type' => 'text/plain')->{status}, 200,
    'a challenge');

sub challenge {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $edge->port('http'), Timeout => 10) or die;
    print $s "GET /.well-known/acme-challenge/token HTTP/1.0\r\nHost: a.example\r\n\r\n";
    return join('', <$s>) =~ /^HTTP\S+ (\d+)/ ? $1 : 0;
}

is(challenge(), 200, 'is answered');
clock($HOUR);
is(challenge(), 204, 'and over, an hour on');
clock(0);

# A jump makes each worker look at its files again: a damaged one replaces nothing.

my ($record) = glob "$dir/store/certs/*/a";
my $bytes = slurp($record);
write_file($record, substr $bytes, 0, 512);
clock($HOUR);
is(serves('a'), "$good none", 'a damaged record, looked at again: the last good copy is served');
ok($edge->logged(qr/\[crit\].*"a.example" is damaged, the last good copy is served/), 'the log says so');
clock(0);
is(serves('a'), "$good ours", 'with its staple');
write_file($record, $bytes);

# The same for a record that certctl_certificate names, whatever its kind of key.

my @rsa = (tls => '1.2', ciphers => 'ECDHE-RSA-AES128-GCM-SHA256');
my ($pinned, $pinned_key, $pinned_chain) = $ca->issue(names => ['pinned.example'], from => -$DAY, days => 90, key => 'rsa-2048');
sub pinned { return handshake($edge->port(1), sni => 'pinned.example', @rsa)->{fingerprint} // 'none' }

is(put('rsa', $pinned_chain, $pinned_key)->{status}, 200, 'an RSA certificate for certctl_certificate');
is(pinned(), fingerprint($pinned), 'is served');
my ($rsa_record) = glob "$dir/store/certs/*/rsa";
$bytes = slurp($rsa_record);
write_file($rsa_record, substr $bytes, 0, 512);
clock($HOUR);
is(pinned(), fingerprint($pinned), 'damaged: the last good copy is served');
ok($edge->logged(qr/\[crit\].*"rsa" is damaged, the last good copy is served/), 'the log says so');
clock(0);
write_file($rsa_record, $bytes);

# The same look at a name that has one kind of certificate: no file is read that is
# as it was, and the other kind is found, although nobody told of it.

my ($one, $one_key, $one_chain) = $ca->issue(names => ['one.example'], from => -$DAY, days => 90);
my ($two, $two_key, $two_chain) = $ca->issue(names => ['one.example'], from => -$DAY, days => 90, key => 'rsa-2048');
sub one { return handshake($edge->port(1), sni => 'one.example', @_)->{fingerprint} // 'none' }

is(put('two', $two_chain, $two_key)->{status}, 200, 'RSA');
my ($link) = glob "$dir/store/names/rsa/*/one.example";
rename $link, "$dir/kept" or die $!;
is(put('one', $one_chain, $one_key)->{status}, 200, 'and ECDSA, for one name');
($record) = glob "$dir/store/certs/*/one";
utime $now, $now, $record or die $!;
is(one(), fingerprint($one), 'ECDSA is served');
isnt(one(@rsa), fingerprint($two), 'RSA is not known');

$bytes = slurp($record);
write_file($record, 'x' x length $bytes);
utime $now, $now, $record or die $!;
clock($HOUR);
is(one(), fingerprint($one), 'an hour on: what was parsed');
unlike($edge->log, qr/"one.example" is damaged/, 'without reading it again');
write_file($record, $bytes);
rename "$dir/kept", $link or die $!;
clock(2 * $HOUR);
is(one(@rsa), fingerprint($two), 'another hour on: the RSA one too');
clock(0);

unlike($edge->log, qr/\[(?:alert|emerg)\]/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends in peace');
done_testing;
