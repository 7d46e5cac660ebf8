#!/usr/bin/perl
# Peers that mean harm: halves of connections, bodies that are never finished, replies
# that nobody reads, files that run out, keys that are guessed.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process qw(patience sanitized slurp wait_until);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use Test::More;

my $d   = api_daemon(config => "api_threads = 1\n");
my $api = $d->api;
my $v1  = '/api/v1';
my $key = $d->key;
my $crl = '/.well-known/pki/crl/iss-local';

$SIG{PIPE} = 'IGNORE';

subtest 'who has sent all it wanted to still reads the reply' => sub {
    my $get = "GET $crl HTTP/1.1\r\nHost: a\r\n\r\n";
    my $plain = tcp($d->pki_port, $get);

    shutdown $plain, 1;
    like(all($plain), qr{^HTTP/1\.1 200 .*\r\n\r\n.+}s, 'plain');

    my $tls = tls($get);
    like(half($tls), qr{^HTTP/1\.1 200 .*\r\n\r\n.+}s, 'TLS, after close_notify');

    my $whole = 0;
    for (1 .. 20) {
        my $both = tls();
        setsockopt $both, 6, 3, 1;          # TCP_CORK: request and end in one segment
        syswrite $both, $get;
        $whole += half($both) =~ m{^HTTP/1\.1 200 .*\r\n\r\n.+}s;
    }
    is($whole, 20, 'TLS, in one segment');

    $tls = tls(substr $get, 0, 20);
    is(half($tls), '', 'half a request is none');
};

# What memory a thread lends to those who have not shown a key is bounded.
subtest 'bodies that are never finished' => sub {
    my $before = memory();
    my @sockets = map { tls("POST $v1/teams HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        . "Content-Length: 1048576\r\n\r\n") } 1 .. 200;
    my $part = 'x' x 16384;

    for my $round (1 .. 63) {
        syswrite $_, $part for @sockets;
    }
    is($api->get('/health')->{status}, 200, 'others are served');
    cmp_ok(memory() - $before, '<', 160 * 1024, '200 MB are not kept: ' . (memory() - $before) . ' kB');

    wait_until(10, sub { return grep { IO::Select->new($_)->can_read(0) } @sockets });
    my @refused = grep { IO::Select->new($_)->can_read(0) && do { sysread($_, my $text, 4096); ($text // '') =~ m{^HTTP/1\.1 503 .*^Retry-After: \d}ms } } @sockets;
    cmp_ok(scalar @refused, '>', 20, 'those beyond are told to come again: ' . @refused);
    close $_ for @sockets;
    ok(wait_until(20, sub { return memory() - $before < 80 * 1024 }), 'it is given back') or diag(memory() - $before);
    created($api, "$v1/teams", { name => 'x' x 100 });
};

subtest 'replies that nobody reads' => sub {
    my $before = memory();
    my @sockets = map { tls() } 1 .. 50;

    for my $socket (@sockets) {
        $socket->blocking(0);
        syswrite $socket, "GET $v1/openapi.json HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer $key\r\n\r\n" x 100;
    }
    is($api->get('/health')->{status}, 200, 'others are served');
    cmp_ok(memory() - $before, '<', 100 * 1024, 'one reply each is kept: ' . (memory() - $before) . ' kB');
    close $_ for @sockets;
};

subtest 'requests in one write' => sub {
    my $n = 500;
    my $socket = tls();
    my $text = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n" x ($n - 1) . "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    while (length $text) {
        my $sent = syswrite $socket, $text, 16384 or last;
        substr $text, 0, $sent, '';
    }
    is(() = all($socket) =~ m{HTTP/1\.1 200 OK\r\n}g, $n, "$n are answered in their order");
};

subtest 'keys that are guessed' => sub {
    my $guess = Certctl::HTTP->new(port => $d->port, ca => $d->ca);
    my %status;

    for my $n (1 .. 100) {
        $status{ $guess->request('GET', "$v1/teams", undef, Authorization => "Bearer guess-$n")->{status} }++;
    }
    is(join(' ', sort keys %status), '401 429', 'are refused');
    cmp_ok($status{401}, '<=', 60, 'and slowed down');
    is($api->get("$v1/teams")->{status}, 200, 'a good one from the same address is not');

    for my $header ('Bearer', 'Bearer ', "Bearer  $key x", "Basic $key", "Bearer\t$key", 'Bearer ' . 'x' x 9000) {
        my $r = $guess->request('GET', "$v1/teams", undef, Authorization => $header);
        ok($r->{status} == 401 || $r->{status} == 429, 'Authorization: ' . substr($header =~ s/\Q$key\E/KEY/r, 0, 20) =~ s/[^ -~]/?/gr)
            or diag($r->{status});
    }
};

subtest 'keys of repeated requests' => sub {
    my $r = $api->request('POST', "$v1/teams", { id => 't-once', name => 'Once' }, 'Idempotency-Key' => 'k' x 255);
    is($r->{status}, 201, '255 characters');
    is($api->request('POST', "$v1/teams", { id => 't-once', name => 'Once' }, 'Idempotency-Key' => 'k' x 255)->{status}, 201, 'again');
    refused($api->request('POST', "$v1/teams", { id => 't-once', name => 'Other' }, 'Idempotency-Key' => 'k' x 255), 422, qr/another request/);
    refused($api->request('POST', "$v1/teams", { name => 'No' }, 'Idempotency-Key' => $_), 400, qr/1 to 255 visible/, length($_) . ' characters')
        for 'k' x 256, 'a b', '';
    is($api->get("$v1/teams?name=No")->{status} == 200 ? sql($d, "SELECT count(*) FROM teams WHERE name IN ('No', 'Other')") : 0, 0, 'nothing was made');
};

# One file is kept for each connection; with none left the idlest gives its own.
subtest 'no file is left' => sub {
    my $other = Certctl::Daemon->start(config => "api_threads = 1\n");
    my $fds = sub { return scalar(my @all = glob '/proc/' . $other->pid . '/fd/*') };
    my $limit = $fds->() + 30;

    system('prlimit', '--pid', $other->pid, "--nofile=$limit:$limit") == 0 or die 'prlimit';
    my @sockets = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $other->port) // () } 1 .. 100;
    is(scalar @sockets, 100, '100 connections come');
    is(Certctl::HTTP->new(port => $other->port, ca => $other->ca, timeout => 20 * patience())->get('/health')->{status}, 200,
        'another one is served all the same');
    my $ticks = cpu($other->pid);
    select undef, undef, undef, 2;
    cmp_ok(cpu($other->pid) - $ticks, '<', 100, 'it does not spin');
    close $_ for @sockets;
    is($other->api->get("$v1/teams")->{status}, 200, 'and goes on');
};

is($api->get('/ready')->{status}, 200, 'the daemon is well');
done_testing();

# What a sanitizer's allocator keeps is not ours: nothing grows under it.
sub memory { return sanitized() ? 0 : (slurp('/proc/' . $d->pid . '/status') =~ /^VmRSS:\s+(\d+)/m)[0] }

sub cpu {
    my @stat = split ' ', slurp("/proc/$_[0]/stat") =~ s/.*\) //r;
    return $stat[11] + $stat[12];
}

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

# What comes after our half of a TLS connection has ended.
sub half {
    my ($tls) = @_;
    my $ssl = $tls->_get_ssl_object;
    my $text = '';

    local $SIG{ALRM} = sub { die "no end\n" };
    alarm 20 * patience();
    Net::SSLeay::shutdown($ssl);
    while (defined(my $part = Net::SSLeay::read($ssl, 65536))) {
        last if !length $part;
        $text .= $part;
    }
    alarm 0;
    return $text;
}

sub all {
    my ($socket) = @_;
    my $text = '';

    while (1) {
        last if !($socket->can('pending') && $socket->pending) && !IO::Select->new($socket)->can_read(10 * patience());
        last if !sysread $socket, $text, 65536, length $text;
    }
    return $text;
}
