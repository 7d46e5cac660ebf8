#!/usr/bin/perl
# The event loop never waits for a control request: not for a key, a lock, a
# client that has gone, a report on many certificates; and no key leaves a trace.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key pem_to_der);
use Certctl::Process qw(wait_until alive at_rest has_open);
use Certctl::TLS 'handshake';
use Fcntl ':flock';
use IO::Select;
use MIME::Base64;
use Time::HiRes 'time';

my $PEM  = 'application/x-pem-file';
my $RECORDS = 500;
my $edge = Certctl::Edge->new(workers => 1, debug => 1, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name shop.example;
        certctl on;
    }
CONF
my $dir = $edge->dir;
my $url = '/certctl/v1';

$edge->start;
my $api = $edge->control;
my $rsa = new_key('rsa-2048');
my ($crt, $key, $chain) = $edge->give('shop', names => ['shop.example']);
my ($crt2, $key2) = $edge->give('shop', names => ['shop.example'], key => $rsa);

# A request that is sent, and whose answer is not waited for.
sub begin {
    my ($method, $path, $s) = @_;

    $s //= $edge->connection;
    print $s "$method $url$path HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    return $s;
}

sub ready { return $_[0]->pending || IO::Select->new($_[0])->can_read($_[1] // 0) }

sub answer {
    my ($s, $timeout) = @_;
    my $text = '';

    return '' if !ready($s, $timeout // 30);
    while (defined(my $n = sysread $s, my $part, 65536)) {
        last if !$n;
        $text .= $part;
    }

    return $text;
}

sub status { return ($_[0] =~ m{^HTTP/1\.1 (\d+)})[0] // 0 }

# Latencies in ms of GET status until $until says stop, or $most were made.
sub meanwhile {
    my ($most, $until) = @_;
    my @ms;

    while (@ms < $most && !$until->()) {
        my $t = time;
        my $r = $api->get("$url/status");
        die "status: $r->{status}" if $r->{status} != 200;
        push @ms, (time - $t) * 1000;
    }

    return sort { $a <=> $b } @ms;
}

# The lock that a writer of the record takes: requests for it wait on threads.
sub hold {
    my ($name) = @_;

    open my $lock, '>', "$dir/store/writes/$name" or die "$name: $!";
    chown((stat "$dir/store/writes")[4, 5], "$dir/store/writes/$name");
    flock $lock, LOCK_EX or die "$name: $!";
    return sub { unlink "$dir/store/writes/$name"; close $lock };
}

# Who waits for a lock has it open.
sub wait_for {
    my ($name, $n) = @_;
    return ok(wait_until(8, sub { has_open("$dir/store/writes/$name", $edge->workers) == $n }), "$n wait for the lock");
}

subtest 'a slow key does not keep others waiting' => sub {
    my ($answered, $keys) = (0, 0);
    my @all;

    # of a key that is made at once, or while we sleep, nothing is learned
    while ($keys < 3 || ($answered < 10 && $keys < 30)) {
        my $s = begin('POST', '/certificates/slow/csr?key=rsa-4096&san=DNS:slow.example');
        my @ms = meanwhile(500, sub { my $there = ready($s); $answered += !$there; return $there });

        # the first look was before anybody was answered
        $answered-- if @ms;
        like(answer($s), qr/BEGIN CERTIFICATE REQUEST/, 'an RSA-4096 key');
        $keys++;
        push @all, @ms;
    }

    cmp_ok($answered, '>=', 10, 'others were answered while keys were made');
    @all = sort { $a <=> $b } @all;
    diag sprintf 'GET status beside RSA-4096 generation: %d answers, p50 %.1f ms, max %.1f ms',
        scalar @all, $all[@all / 2], $all[-1];
};

subtest 'more requests than threads' => sub {
    my $release = hold('shop');

    # all at once, for nobody waits for the lock longer than some seconds
    my @waiting = map { $edge->connection } 1 .. 80;
    begin('POST', '/certificates/shop/rollback', $_) for @waiting;

    ok(wait_until(30, sub { 16 == grep { ready($_) } @waiting }), '64 wait, 16 are sent away');

    my @sent = grep { ready($_) } @waiting;
    my @texts = map { answer($_) } @sent;
    is(scalar(grep { status($_) == 503 } @texts), 16, 'status 503');
    is(scalar(grep { /Retry-After: \d/ && /"error"/ } @texts), 16, 'with Retry-After');
    is(handshake($edge->port(1), sni => 'shop.example')->{error}, '', 'sites are served meanwhile');

    my %sent = map { ($_, 1) } @sent;
    my @held = grep { !$sent{$_} } @waiting;

    $_->close(SSL_no_shutdown => 1) for splice @held, 0, 32;     # clients that go away
    $release->();
    is(scalar(grep { status(answer($_)) == 200 } @held), 32, 'who waited is answered');
    is($api->get("$url/status")->{status}, 200, 'the worker goes on');
    my %live = map { ($_, 1) } fingerprint($crt), fingerprint($crt2);
    ok($live{ handshake($edge->port(1), sni => 'shop.example')->{fingerprint} }, 'one of the two is live');
};

subtest 'a worker that is told to quit finishes what it has' => sub {
    my ($worker) = $edge->workers;
    my $release = hold('shop');
    my $s = begin('POST', '/certificates/shop/rollback');

    wait_for('shop', 1);
    $edge->reload;
    ok(wait_until(8, sub { !grep { $_ == $worker } $edge->workers }), 'it has been told');
    ok(alive($worker), 'it waits for the thread');
    $release->();
    is(status(answer($s)), 200, 'the answer comes');
    ok(wait_until(20, sub { !alive($worker) }), 'and then it quits');
    $api = do { delete $edge->{control}; $edge->control };
};

subtest 'a client that goes away while its key is made' => sub {
    my @s = map { begin('POST', "/certificates/gone$_/csr?key=rsa-2048&san=DNS:gone.example") } 1 .. 8;

    $_->close(SSL_no_shutdown => 1) for @s;
    ok(at_rest($edge->workers), 'the keys are made, nobody waits for them');
    is($api->get("$url/status")->{status}, 200, 'the worker goes on');
};

subtest 'many certificates' => sub {
    my @ms;

    for my $n (1 .. $RECORDS) {
        my ($c, $k) = $n % 2 ? ($crt, $key) : ($crt2, $key2);
        my $t = time;
        $edge->commit("many$n", $c, $k);
        push @ms, (time - $t) * 1000;
    }

    @ms = sort { $a <=> $b } @ms;
    diag sprintf '%d PUTs over one connection: p50 %.1f ms, p99 %.1f ms, max %.1f ms', $RECORDS,
        $ms[@ms / 2], $ms[@ms * 0.99], $ms[-1];

    my $s = begin('GET', '/certificates');
    my @beside = meanwhile(200, sub { ready($s) });
    my $t = time;
    my $text = answer($s);
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    $body = Certctl::HTTP::dechunk($body) if $head =~ /^Transfer-Encoding: chunked/mi;
    my $report = JSON::PP::decode_json($body);

    is(status($text), 200, 'the report');
    is(scalar(grep { $_->{name} =~ /^many/ } @{ $report->{certificates} }, @{ $report->{unserved} }),
        $RECORDS, 'names each once');
    diag sprintf 'report on %d: %d bytes; %d GET status beside it, max %.1f ms', $RECORDS,
        length $body, scalar @beside, $beside[-1] // 0;
};

subtest 'two writers of one name' => sub {
    my $release = hold('race');
    my @pair = map { [$edge->ca->issue(names => ['race.example'])] } 1, 2;
    my @s;

    for (@pair) {
        my $body = $_->[2] . $_->[1];
        my $s = $edge->connection;
        print $s "PUT $url/certificates/race?keygen=server HTTP/1.1\r\nHost: x\r\n"
            . "Content-Type: $PEM\r\nConnection: close\r\nContent-Length: " . length($body)
            . "\r\n\r\n$body";
        push @s, $s;
    }

    wait_for('race', 2);
    $release->();
    my @generation = map { answer($_) =~ /"generation":(\d+)/ ? $1 : 0 } @s;
    isnt($generation[0], $generation[1], 'each has a generation of its own');

    my ($last) = sort { $generation[$b] <=> $generation[$a] } 0, 1;
    my ($entry) = grep { ($_->{name} // '') eq 'race' }
        map { @$_ } @{ $api->get("$url/certificates")->{json} }{qw(certificates unserved)};
    is($entry->{fingerprint}, fingerprint($pair[$last][0]), 'the later one is live');
};

is(scalar(() = $edge->log =~ /start worker process /g), 2, 'no worker died');
$edge->stop;

# Private keys that were sent: as PEM, as DER, in hex, in base64 at any offset.
subtest 'no key leaves a trace' => sub {
    my $files = 0;
    my @found;

    for my $file (split /\n/, `find $dir -type f ! -name '*.key'`) {
        open my $in, '<:raw', $file or next;
        local $/;
        my $text = <$in>;
        $files++;

        for my $pem ($key, $key2) {
            my $der = pem_to_der($pem);
            my $secret = substr $der, $pem eq $key ? 36 : 300, 30;
            my @forms = ($secret, unpack('H*', $secret), uc unpack('H*', $secret),
                map { substr encode_base64(substr($secret, $_), ''), 0, 32 } 0 .. 2);

            push @found, $file if grep { index($text, $_) >= 0 } @forms;
        }
    }

    cmp_ok($files, '>', 100, 'files were searched');
    is("@found", '', 'neither log at debug level, nor store, nor temporary file');
};

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'no alarms in the log');
done_testing();
