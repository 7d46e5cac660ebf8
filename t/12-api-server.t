#!/usr/bin/perl
# The server itself: what every answer carries, methods, bounds on bodies,
# headers, time and connections, its two listeners, and its end.

use strict;
use warnings;
use Certctl::API;
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::Process qw(patience slurp wait_until);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use IPC::Open2;
use JSON::PP ();
use Test::More;
use Time::HiRes 'time';

my $d   = Certctl::Daemon->start(config => "api_threads = 1\n");
my $pki = $d->pki_port;
my $api = $d->api;
my $v1  = '/api/v1';
my $key = $d->key;

created($api, "$v1/teams", { id => 't-a', name => 'A' });

subtest 'what every answer carries' => sub {
    for my $path ("$v1/teams/t-a", "$v1/teams/none", '/health', '/none') {
        my $r = $api->request('GET', $path, undef, 'X-Request-ID' => 'mine');
        my $h = $r->{headers};

        like($h->{'x-request-id'}, qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
            "$path: X-Request-ID is the server's");
        is($h->{'x-content-type-options'}, 'nosniff', 'X-Content-Type-Options');
        is($h->{'x-frame-options'}, 'DENY', 'X-Frame-Options');
        ok($h->{$_}, $_) for qw(strict-transport-security referrer-policy content-security-policy date);
        is($h->{'content-type'}, $path =~ /none/ ? 'application/problem+json' : 'application/json', 'Content-Type');
    }

    my $r = $api->get("$v1/teams/t-a");
    like($d->log, qr/request=\Q$r->{headers}{'x-request-id'}\E .*actor=admin GET \/api\/v1\/teams\/t-a 200/,
        'its log line has the same id');
};

subtest 'methods' => sub {
    my $head = $api->request('HEAD', "$v1/teams/t-a");
    my $get  = $api->get("$v1/teams/t-a");

    is($head->{content} // '', '', 'HEAD has no content');
    is($head->{headers}{$_}, $get->{headers}{$_} // length $get->{content}, "and the $_ of GET")
        for qw(content-length content-type etag);

    for my $method (qw(PATCH OPTIONS TRACE DELETE FOO)) {
        my $r = $api->request($method, "$v1/teams");
        is($r->{status}, 405, "$method is refused");
        is($r->{headers}{allow}, 'GET, HEAD, POST', 'with Allow') if $method ne 'FOO';
    }
    is($api->request('POST', "$v1/teams/t-a", {})->{headers}{allow}, 'GET, HEAD, PUT, DELETE, PATCH', 'of each path');
};

subtest 'bodies' => sub {
    my $body = sub { return '{"name":"' . 'x' x ($_[0] - 11) . '"}' };
    my @json = ('Content-Type' => 'application/json');

    refused($api->request('POST', "$v1/teams", $body->(1024 * 1024), @json), 422, qr/^name/, '1 MiB is read');
    refused($api->request('POST', "$v1/teams", $body->(1024 * 1024 + 1), @json), 413, qr/1048576 bytes/,
        'a byte more is not');
    is($api->request('POST', "$v1/teams", $body->(5_000_000), @json)->{status}, 413, '5 MB');
    is(raw("POST $v1/teams HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $key\r\n"
        . "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "c\r\n{\"name\":\"Chu\r\n5\r\nnk\"}\n\r\n0\r\n\r\n"), 201, 'in chunks');

    for my $length ('-1', 'abc', '1e3') {
        my $status = raw("POST $v1/teams HTTP/1.1\r\nHost: a\r\nContent-Length: $length\r\n\r\n{}");
        ok($status eq '' || $status =~ /^4/, "Content-Length: $length") or diag($status);
    }
    is($api->get("$v1/teams")->{json}{total}, 2, 'only what was right was made');
};

subtest 'request lines and headers' => sub {
    my %bad = (
        'a header of 20 kB' => "GET /health HTTP/1.1\r\nHost: a\r\nX: " . 'x' x 20000 . "\r\n\r\n",
        '4000 headers' => "GET /health HTTP/1.1\r\nHost: a\r\n" . "X-A: b\r\n" x 4000 . "\r\n",
        'a path of 20 kB' => 'GET /' . 'x' x 20000 . " HTTP/1.1\r\nHost: a\r\n\r\n",
        'no version' => "GET /health\r\n\r\n",
        'nonsense' => "\x16\x03\x01 what\r\n\r\n",
        'a header without colon' => "GET /health HTTP/1.1\r\nHost a\r\n\r\n",
        'a path of 3 kB' => "GET /" . 'x' x 3000 . " HTTP/1.1\r\nHost: a\r\n\r\n",
    );

    for my $name (sort keys %bad) {
        my $status = raw($bad{$name});
        ok($status eq '' || $status =~ /^4/, "$name: refused or cut") or diag($status);
    }
    is($api->get('/health')->{status}, 200, 'and it goes on');
};

subtest 'TLS 1.3 and nothing older' => sub {
    my %args = (PeerAddr => '127.0.0.1', PeerPort => $d->port, SSL_ca_file => $d->ca);
    my $new = IO::Socket::SSL->new(%args);

    ok($new, 'a client that trusts ca.crt connects') or diag($SSL_ERROR);
    is($new->get_sslversion, 'TLSv1_3', 'with TLS 1.3');
    ok(!IO::Socket::SSL->new(%args, SSL_version => 'TLSv1_2'), 'not with TLS 1.2');
};

subtest 'the plain listener answers for the PKI only' => sub {
    my $plain = Certctl::HTTP->new(port => $pki, scheme => 'http');
    my $r = $plain->get('/.well-known/pki/crl/iss-local');

    is($r->{status}, 200, 'a CRL');
    is($r->{headers}{'content-type'}, 'application/pkix-crl', 'of its type');
    is($r->{content}, $api->get('/.well-known/pki/crl/iss-local')->{content}, 'the same one over TLS');
    is($plain->get($_)->{status}, 404, "no $_") for '/health', "$v1/teams", "$v1/openapi.json";
    $r = $plain->post("$v1/teams", { name => 'plain' });
    is($r->{status}, 404, 'nothing is made') or diag($r->{content});
};

subtest 'slow ones are cut, others are served meanwhile' => sub {
    my $start = "POST $v1/teams HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $key\r\n";
    my %slow = (
        'no TLS handshake' => [tcp($d->port), ''],
        'no request' => [tls(), ''],
        'a header byte by byte' => [tls($start), 'X'],
        'a body of 100 GB' => [tls("$start" . "Content-Length: 99999999999\r\n\r\n"), 'x' x 1000],
        'a body byte by byte' => [tls("$start" . "Content-Length: 1000\r\n\r\n"), ' '],
        'plain, byte by byte' => [tcp($pki, "GET /.well-known/pki/crl/iss-local HTTP/1.1\r\n"), 'X'],
    );
    my ($from, $idle, %cut) = (time, tls("GET /health HTTP/1.1\r\nHost: a\r\n\r\n"));
    like(answer($idle), qr{^HTTP/1\.1 200 }, 'a connection that is idle after a request');

    # what is readable may be a session ticket, of which no byte is for us
    $_->[0]->blocking(0) for values %slow;

    # after 15 s; without a limit for a whole request they would be cut after 75 s, as
    # the idle one is, or never
    local $SIG{PIPE} = 'IGNORE';
    wait_until(60, sub {
        for my $name (grep { !$cut{$_} } keys %slow) {
            my ($socket, $byte) = @{ $slow{$name} };

            $! = 0;
            my $got = sysread $socket, my $text, 100;
            if (defined $got ? !$got : !$!{EAGAIN}) {
                $cut{$name} = time - $from;
                next;
            }
            syswrite $socket, $byte if length $byte;
        }
        return $api->get('/health')->{status} != 200 || keys %cut == keys %slow;
    });

    ok($cut{$_}, "$_ is cut after " . sprintf('%.1f s', $cut{$_} // -1)) for sort keys %slow;
    $idle->blocking(0);
    1 while sysread $idle, my $rest, 100;
    ok($!{EAGAIN}, 'the idle connection is still open');
    is($api->get('/health')->{status}, 200, 'others are served');
};

# They come in a crowd, too: behind a thread that was busy with something else.
subtest 'connections are bounded, the idlest gives way' => sub {
    my $script = 'use IO::Socket::INET; $| = 1; my $port = shift; my @s; for my $n (@ARGV) { push @s, map {'
        . ' IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port, Timeout => 60) // () } 1 .. $n;'
        . ' print scalar @s, "\n"; <STDIN> }';
    my $pid = open2(my $from, my $to, 'bash', '-c', 'ulimit -n 4096; exec "$@"', '-', $^X, '-e', $script,
        $d->port, 1000, 100);
    my $sockets = sub { return scalar grep { (readlink // '') =~ /^socket/ } glob '/proc/' . $d->pid . '/fd/*' };

    is(<$from>, "1000\n", '1000 connections');
    ok(wait_until(10, sub { $sockets->() > 1000 }), 'are let in') or diag($sockets->());

    kill 'STOP', $d->pid;
    print {$to} "\n";
    my $count = <$from>;
    kill 'CONT', $d->pid;
    is($count, "1100\n", '100 more wait together');

    is(Certctl::HTTP->new(port => $d->port, ca => $d->ca)->get('/health')->{status}, 200, 'there is room for one behind them');
    # those beyond end, not all of them, as when their 15 s are over
    ok(wait_until(10, sub { my $n = $sockets->(); return $n > 1000 && $n < 1060 }), 'no more than 1,024 of them stay')
        or diag($sockets->());
    kill 'KILL', $pid;
    waitpid $pid, 0;
};

subtest 'a port that is taken is refused' => sub {
    my $other = Certctl::Daemon->start(wait => 0,
        args => ['--listen', '127.0.0.1:' . $d->port]);

    ok(wait_until(30, sub { $other->log =~ /\[error\]/ }), 'it does not start');
    like($other->log, qr/cannot listen on 127\.0\.0\.1:${\ $d->port}: Address already in use/, 'and says why');
    isnt($other->stop, 0, 'it fails');
    is($api->get('/health')->{status}, 200, 'the first one is not disturbed');
};

subtest 'port 0 and IPv6' => sub {
    plan skip_all => 'no IPv6 here' if !-e '/proc/net/if_inet6' || slurp('/proc/net/if_inet6') !~ /^0{31}1/m;
    my $six = Certctl::Daemon->start(wait => 0,
        args => ['--listen', '[::1]:0', '--pki-listen', '[::1]:0']);

    ok(wait_until(30, sub { -s $six->data . '/address' }), 'the address is written down');
    like(slurp($six->data . '/address'), qr/^\[::1\]:([1-9]\d+)$/m, 'with the port that was chosen');
    my ($port) = slurp($six->data . '/address') =~ /:(\d+)$/m;
    my $socket = IO::Socket::SSL->new(PeerAddr => '::1', PeerPort => $port, SSL_ca_file => $six->ca,
        SSL_verifycn_scheme => 'none');
    ok($socket, 'and answers there') or diag($SSL_ERROR);
    is($six->stop, 0, 'it ends');
};

subtest 'SIGTERM: what was begun is answered' => sub {
    my $body = JSON::PP::encode_json({ id => 't-last', name => 'Last' });
    my $idle = tls();
    my $busy = tls("POST $v1/teams HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $key\r\n"
        . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n"
        . substr $body, 0, 5);

    ok(wait_until(5, sub { $api->get('/health')->{status} == 200 }), 'before');
    kill 'TERM', $d->pid;
    ok(wait_until(5, sub { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $d->port) }),
        'nobody new is let in');
    syswrite $busy, substr $body, 5;
    like(answer($busy), qr{^HTTP/1\.1 201 }, 'the request under way is answered');
    my $from = time;
    is($d->stop, 0, 'and the daemon ends well');
    cmp_ok(time - $from, '<', 60, 'long before it would close an idle connection');
    like($d->log, qr/POST \/api\/v1\/teams 201/, 'the last request is in the log');
};

done_testing();

sub tcp {
    my ($port, $text) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!";

    syswrite $socket, $text if $text;
    return $socket;
}

sub tls {
    my ($text) = @_;
    my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $d->port, SSL_ca_file => $d->ca)
        or die "connect: $SSL_ERROR";

    syswrite $socket, $text if $text;
    return $socket;
}

sub answer {
    my ($socket) = @_;
    my $text = '';

    while ($text !~ /\r\n\r\n/) {
        last if !$socket->pending && !IO::Select->new($socket)->can_read(30 * patience());
        sysread($socket, $text, 4096, length $text) or last;
    }

    return $text;
}

# The status of what comes back for these bytes, '' when the connection is cut.
sub raw {
    my ($text) = @_;
    my $socket = tls();

    local $SIG{PIPE} = 'IGNORE';
    while (length $text) {                  # one TLS record at a time
        my $n = syswrite $socket, $text or last;
        substr $text, 0, $n, '';
    }
    return answer($socket) =~ m{^HTTP/1\.\d (\d+)} ? $1 : '';
}
