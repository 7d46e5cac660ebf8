#!/usr/bin/perl
# A worker that exits waits for what its threads do, not for their ends: they leave
# nothing of OpenSSL's to do then, which would free what the exit has freed. What is
# to do still is left.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Process qw(alive built has_open preload taken wait_until write_file);
use Fcntl ':flock';

my $edge = Certctl::Edge->new(workers => 1, env => { LD_PRELOAD => preload(built('t/preload/late_end.so')) },
    conf => <<'CONF')->start;
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name a.example;
        certctl on;
    }
CONF
my $api = '/certctl/v1';

# Enough work for several threads: reports, and writes, which need random bytes.
sub work {
    my $control = $edge->control;

    for my $n (1 .. 8) {
        $edge->give("name-$n", names => ["n$n.example"]);
        is($control->get("$api/certificates")->{status}, 200, "write and report $n");
    }

    delete $edge->{control};
    return;
}

work();
ok($edge->reload(wait_old => 1), 'a worker exits after a reload');
work();
is($edge->stop, 0, 'and one with NGINX');
like($edge->log, qr/^late_end: threads may end$/m, 'ends of threads were held up');
like($edge->log, qr/worker process \d+ exited with code 0/, 'workers have exited');
unlike($edge->log, qr/\[alert\]/, 'none of them by a signal');

# Told to end at once, with a thread that waits for a lock which we hold.

$edge = Certctl::Edge->new(workers => 1, main => 'thread_pool small threads=1 max_queue=1;',
    http => 'certctl_thread_pool small;', conf => <<'CONF')->start;
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        certctl on;
    }
CONF
my $store = $edge->dir . '/store';

# Sends a request and waits for nothing.
sub begin {
    my ($line, $body, $type) = @_;
    my $c = $edge->connection;

    print $c join "\r\n", "$line HTTP/1.1", 'Host: x', "Content-Type: $type", 'Content-Length: ' . length $body,
        '', $body;
    return $c;
}

sub hold {
    my ($name) = @_;

    open my $lock, '+<', write_file("$store/writes/$name", '', 0666) or die $!;
    flock $lock, LOCK_EX or die $!;
    return $lock;
}

sub pem {
    my (undef, $key, $chain) = $edge->ca->issue(names => ['b.example']);
    return "$chain$key";
}

sub stored { return scalar grep { -e } map { glob "$store/certs/*/$_" } @_ }

sub terminate {
    my ($worker) = @_;
    my $from = length $edge->log;

    kill 'TERM', $worker;
    ok($edge->logged(qr/ $worker#\d+: exiting/, $from), 'the worker is told to end at once');
    return $from;
}

subtest 'a bulk ends with what it has begun' => sub {
    my ($worker) = $edge->workers;
    my $lock = hold('b1');
    my $pem  = pem();
    my $c = begin("POST $api/certificates", join('', map { "\@b$_ keygen=server\n$pem" } 1 .. 200),
        'application/x-certctl-bulk');

    ok(wait_until(20, sub { has_open("$store/writes/b1", $worker) }), 'a bulk waits');
    terminate($worker);
    close $lock;
    ok(wait_until(20, sub { !alive($worker) }), 'and ends');
    is(stored(map { "b$_" } 1 .. 64), 64, 'what was begun together is stored');
    is(stored(map { "b$_" } 65 .. 200), 0, 'nothing else is begun');
    is(join(' ', glob "$store/writes/*"), '', 'no lock is left');
};

subtest 'a full queue, through which NGINX cannot dismiss threads' => sub {
    ok(wait_until(20, sub { $edge->workers == 1 }), 'there is another worker');
    my ($worker) = $edge->workers;
    my $lock = hold('held');
    my $c = begin("PUT $api/certificates/held?keygen=server", pem(), 'application/x-pem-file');

    ok(wait_until(20, sub { has_open("$store/writes/held", $worker) }), 'a write waits');
    my $queued = begin("PUT $api/certificates/queued?keygen=server", pem(), 'application/x-pem-file');
    delete $edge->{control};
    ok(wait_until(5, sub { taken($queued) }), 'another one is read');
    ok(wait_until(5, sub { $edge->control->get("$api/status")->{status} == 503 }), 'and waits for its thread');

    my $from = terminate($worker);
    ok($edge->logged(qr/queue overflow/, $from), 'threads are not dismissed');
    close $lock;
    ok(wait_until(20, sub { !alive($worker) }), 'it ends');
    is(stored('held'), 1, 'when the write is complete');
    is(stored('queued'), 0, 'and no other is begun');
};

is($edge->stop, 0, 'NGINX ends in peace');
unlike($edge->log, qr/\[alert\]/, 'and none of its processes by a signal');

done_testing();
