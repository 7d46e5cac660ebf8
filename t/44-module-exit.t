#!/usr/bin/perl
# A worker that exits does not wait for the ends of its threads: they leave nothing
# of OpenSSL's to do then, which would free what the exit has freed.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Process qw(built preload);

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

done_testing();
