#!/usr/bin/perl
# A worker is killed when its write is on the disk and before it told the others:
# who asks again is told the truth, and every worker serves what is stored.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(alive slurp wait_until);
use Certctl::TLS 'handshake';

my $url = '/certctl/v1/certificates/a';

sub edge {
    my ($point) = @_;

    return Certctl::Edge->new(workers => 2, points => 1, env => { CERTCTL_POINT => $point, CERTCTL_POINT_ACT => 'kill' },
        conf => <<'CONF')->start;
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name a.example;
        certctl on;
        location / { return 200 "$pid|"; }
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        certctl on;
        certctl_certificate a;
        location / { return 200 "$pid|"; }
    }
CONF
}

# What each of the workers serves, one that serves several things with all.
sub serves {
    my ($e, $port) = @_;
    my %seen;

    for (1 .. 400) {
        my $h = handshake($e->port($port // 1), sni => 'a.example', keep => 1);
        my ($pid) = ($h->{answer} // '') =~ /\r\n\r\n(\d+)/ or next;
        $seen{$pid}{ $h->{fingerprint} } = 1;
        last if keys %seen == 2 && $_ > 8;
    }

    return join ' / ', map { join ',', sort keys %{ $seen{$_} } } sort keys %seen;
}

# A request that is sent once, over a connection that ties it to a worker: its
# status, 0 when there is no answer.
my $kept;
sub once {
    my ($e, $method, $body) = @_;

    $kept //= $e->connection;
    local $SIG{PIPE} = 'IGNORE';
    print $kept join "\r\n", "$method $url" . ($body ? '?keygen=server' : '') . ' HTTP/1.1', 'Host: x',
        'Content-Type: application/x-pem-file', 'Content-Length: ' . length($body // ''), '', $body // '';

    my $answer = '';
    until ($answer =~ /\r\n\r\n.*\}/s) {
        sysread $kept, $answer, 65536, length $answer or last;
    }

    my ($status) = $answer =~ m{^HTTP/1\.1 (\d+)};
    undef $kept if !$status;
    return $status // 0;
}

# The listener's own identity was written by the master, whose hits its workers
# inherit.

for my $at (qw(store.put.after_rename:3 store.put.after_previous:1 store.put.after_fsync:3 store.after_unlock:3)) {
    my $e = edge($at);
    my ($point) = split /:/, $at;
    my ($crt, $key, $chain) = $e->ca->issue(names => ['a.example']);
    my ($next, $next_key, $next_chain) = $e->ca->issue(names => ['a.example']);
    my @old = $e->workers;

    undef $kept;
    is(once($e, 'PUT', $chain . $key), 200, "$point: one before");
    my $fp = fingerprint($crt);
    is(serves($e, $_), "$fp / $fp", "$point: both workers have it, server $_") for 1, 2;

    is(once($e, 'PUT', $next_chain . $next_key), 0, "$point: killed, no answer");
    ok(wait_until(20, sub { $e->workers == 2 && grep { !alive($_) } @old }), "$point: and replaced");

    # who comes before the successor has cleaned up writes anew, and would be killed
    # at the same point
    ok(wait_until(20, sub { !grep { -e } glob $e->dir . '/store/writes/*' }), "$point: which cleans up")
        if $at =~ /:1/;

    # behind the lock nobody needs to be told by a request
    if ($point !~ /unlock/) {
        is(once($e, 'PUT', $next_chain . $next_key), 200, "$point: sent again, it is answered");
    }

    $fp = fingerprint($next);
    is(serves($e, $_), "$fp / $fp", "$point: every worker serves it, server $_") for 1, 2;
    is($e->stop, 0, "$point: NGINX ends in peace");
}

for my $point (qw(store.delete.after_names store.remove.after_rename store.delete.after_fsync)) {
    my $e = edge("$point:1");
    my $none = serves($e);
    my ($crt, $key, $chain) = $e->ca->issue(names => ['a.example']);
    my $fp = fingerprint($crt);
    my @old = $e->workers;

    undef $kept;
    is(once($e, 'PUT', $chain . $key), 200, "$point: one before");
    is(serves($e), "$fp / $fp", "$point: both workers have it");

    is(once($e, 'DELETE'), 0, "$point: killed, no answer");
    ok(wait_until(20, sub { $e->workers == 2 && grep { !alive($_) } @old }), "$point: and replaced");

    if ($point =~ /names/) {
        is(serves($e), "$fp / $fp", "$point: every worker serves it on");
    } else {
        is(once($e, 'DELETE'), 404, "$point: sent again, there is nothing to delete");
        is(serves($e), $none, "$point: no worker serves it any more");
    }

    $e->stop;
}

done_testing;
