#!/usr/bin/perl
# A long report goes out piece by piece, at the client's pace: what a worker holds of
# it is bounded, others are answered, and a client that goes away leaves nothing.

use strict;
use warnings;
use Test::More;
use Certctl::Bench qw(cpu_seconds resident_kb);
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(alive at_rest slurp wait_until write_file);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP ();
use Time::HiRes 'time';

my $SERVERS = 200;                      # each gives the record with the long list of names
my $STREAMS = 8;                        # long answers that a worker has at once
my $PINNED  = join '', map { <<"CONF" } 1 .. $SERVERS;
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name s$_.example;
        certctl on;
        certctl_certificate big;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
    }
CONF

my $edge = Certctl::Edge->new(workers => 1, main => "thread_pool default threads=2;\n",
    http => "server_names_hash_max_size 4096;\n", conf => $PINNED . <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_2%% ssl sndbuf=256k;
        certctl_agent;
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl http2;
        certctl_agent;
    }
    server {
        listen 127.0.0.1:%%PORT_4%% ssl sndbuf=256k;
        certctl_agent;
        send_timeout 1s;
    }
CONF
my $dir = $edge->dir;
my $url = '/certctl/v1';
my (undef, $static_key, $static) = $edge->ca->issue(names => ['static.example'], days => 1);

$edge->file('static.pem', $static);
$edge->file('static.key', $static_key);
$edge->start;

my $api = $edge->control;
my @san = map { sprintf 'a-name-that-is-rather-long-%03d.shop.example', $_ } 1 .. 250;

$edge->give('big', names => \@san, days => 30);
$edge->give('small', names => ['small.example']);

my ($worker) = $edge->workers;
my ($head, $whole) = rest(client(2));

# No JSON::PP where counting will do: it takes its time with millions of characters.
subtest 'in one piece after the other' => sub {
    like($head, qr{^HTTP/1\.1 200}, 'answered');
    like($head, qr/^Transfer-Encoding: chunked/mi, 'its length is not known beforehand');
    cmp_ok(length $whole, '>', 4e6, 'it is long');
    is(entries($whole), $SERVERS, 'each server has an entry');
    ok(JSON::PP::decode_json($whole), 'it is JSON');
    ok($whole =~ /"changed_meanwhile":false\}$/, 'of one moment');

    open my $curl, '-|', 'curl', '-sk', '--http2', '-m', '60', '--cert', "$dir/controller.pem",
        '--key', "$dir/controller.key", 'https://127.0.0.1:' . $edge->port(3) . "$url/certificates"
        or die "curl: $!";
    my $text = do { local $/; <$curl> };
    close $curl;
    ok(same($text, $whole), 'the same over HTTP/2');

    my $old = client(2, '1.0');
    my ($head, $body) = rest($old);
    like($head, qr{^HTTP/1\.1 200}, 'a client of HTTP/1.0');
    unlike($head, qr/^Transfer-Encoding/mi, 'gets no chunks');
    ok(same($body, $whole), 'but all of it');

    is($api->request('HEAD', "$url/certificates")->{status}, 200, 'HEAD');
    my $short = $api->get("$url/certificates?name=small.example");
    is($short->{headers}{'content-length'}, length $short->{content}, 'a short one has a length');
};

subtest 'a client that reads slowly' => sub {
    my $before = resident_kb($worker);
    my $slow = client(2);

    stalled($slow);
    my $cpu = cpu_seconds($worker);
    my $most = 0;

    for (1 .. 20) {
        my $t = time;
        is($api->get("$url/status")->{status}, 200, 'others are answered') if $_ == 1;
        $api->get("$url/status");
        $most = time - $t if time - $t > $most;
    }

    diag sprintf 'GET status beside it: at most %.0f ms', $most * 1000;
    SKIP: {
        skip 'what a sanitizer keeps is no measure', 1 if $ENV{SAN};
        cmp_ok(resident_kb($worker) - $before, '<', 3000, 'the worker has grown by a piece, not by the answer');
    }
    cmp_ok(cpu_seconds($worker) - $cpu, '<', 0.5, 'no thread runs ahead');

    my ($head, $body) = rest($slow);
    ok(same($body, $whole), 'it gets everything in the end');
};

subtest 'the store changes in the middle' => sub {
    my $slow = client(2);

    stalled($slow);
    my $new = $edge->give('small', names => ['small.example']);
    my ($now, $body) = rest($slow);
    my ($etag) = $now =~ /^ETag: (\S+)/mi;
    my $print = fingerprint($new);

    is($etag, ($head =~ /^ETag: (\S+)/mi)[0], 'ETag is of the start');
    ok($body =~ /"changed_meanwhile":true\}$/, 'the end says that it has changed');
    ok($body =~ /"unserved":\[\{"name":"small"[^}]*"fingerprint":"$print"/, 'what was written later is as it is then');
    is($api->get("$url/certificates?form=compact", undef, 'if-none-match' => $etag)->{status}, 200,
        'with that ETag the next one is no 304');
};

subtest 'clients that go away' => sub {
    for my $round (1 .. 2) {
        my @slow = map { client(2) } 1 .. $STREAMS;

        stalled(@slow);
        my ($more) = rest(client(2));
        like($more, qr{^HTTP/1\.1 503}, "beyond $STREAMS at once: 503");
        like($more, qr/^Retry-After: \d/mi, 'with it');
        is($api->get("$url/certificates?name=small.example")->{status}, 200, 'short ones are answered');
        $_->close(SSL_no_shutdown => 1) for @slow;
        ok(wait_until(10, sub { (rest(client(2)))[0] =~ m{^HTTP/1\.1 200} }),
            'when they have gone, there is room again');
    }

    ok(at_rest($edge->workers), 'nothing goes on for them');

    my $asleep = client(4);
    ok(wait_until(20, sub { $edge->log =~ /does not read its answer/ }), 'send_timeout ends one that sleeps');
    my (undef, $body) = rest($asleep);
    ok(!defined $body, 'it sees that the answer is cut off');
};

subtest 'a reload in the middle' => sub {
    my $slow = client(2);

    stalled($slow);
    $edge->reload;
    ok(wait_until(10, sub { !grep { $_ == $worker } $edge->workers }), 'the old worker is told to go');
    ok(alive($worker), 'and stays for it');
    my (undef, $body) = rest($slow);
    is(entries($body // ''), $SERVERS, 'the answer is complete');
    ok(wait_until(20, sub { !alive($worker) }), 'then it quits');
};

subtest 'a damaged record' => sub {
    my ($file) = glob "$dir/store/certs/*/small";
    my $bytes = slurp($file);

    substr $bytes, -40, 1, chr(1 ^ ord substr $bytes, -40, 1);
    write_file($file, $bytes);
    ok($edge->reload(wait_old => 1), 'a worker that has not read it before');
    delete $edge->{control};

    for my $form (qw(compact full)) {
        my $r = $edge->control->get("$url/certificates?form=$form&name=small");
        my ($warning) = grep { $_->{code} eq 'record_unreadable' } @{ $r->{json}{warnings} };

        like($warning->{text} // '', qr/^"small" is damaged/, "$form: a warning");
        is(scalar @{ $r->{json}{unserved} }, 0, "$form: nothing is said of what cannot be read");
    }

    my (undef, $body) = rest(client(2));
    is(entries($body), $SERVERS, 'the others are there');
    ok($body =~ /"code":"record_unreadable"/, 'and the warning');
};

unlike($edge->log, qr/\[(?:alert|emerg)\]/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends in peace');
done_testing;

# Entries that a server gives the record to.
sub entries { return scalar(() = $_[0] =~ /"name":"big"/g) }

# The same but for what the control listener's own handshakes change.
sub same {
    my @text = map { s/"handshakes":\d+,"last_served":[^}]+//gr } @_;
    return $text[0] eq $text[1];
}

# A client that has asked for the report and reads nothing, with small buffers.
sub client {
    my ($port, $version) = @_;
    my $s = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!";

    setsockopt $s, SOL_SOCKET, SO_RCVBUF, 32768 or die "SO_RCVBUF: $!";
    connect $s, pack_sockaddr_in($edge->port($port), inet_aton('127.0.0.1')) or die "connect: $!";
    $s = IO::Socket::SSL->start_SSL($s, SSL_verify_mode => 0,
        SSL_cert_file => "$dir/controller.pem", SSL_key_file => "$dir/controller.key")
        or die "TLS: $SSL_ERROR";
    print $s "GET $url/certificates HTTP/@{[ $version // '1.1' ]}\r\nHost: x\r\nConnection: close\r\n\r\n";
    return $s;
}

# Until each client's answer has begun and the worker has nothing left to do, as all
# that fits is written: its threads sleep, not for want of a processor.
sub stalled {
    my (@clients) = @_;

    wait_until(30, sub { !grep { !$_->pending && !IO::Select->new($_)->can_read(0) } @clients })
        && at_rest($edge->workers) or die "the worker does not come to rest\n";
    return;
}

# Head and body of a client's answer; the body is undef when it was cut off.
sub rest {
    my ($s) = @_;
    my $text = '';

    setsockopt $s, SOL_SOCKET, SO_RCVBUF, 4 << 20 or die "SO_RCVBUF: $!";
    while (sysread $s, $text, 1 << 17, length $text) { }     # until it is closed
    my ($h, $body) = split /\r\n\r\n/, $text, 2;
    return ($h, $h =~ /^Transfer-Encoding: chunked/mi ? Certctl::HTTP::dechunk($body) : $body);
}
