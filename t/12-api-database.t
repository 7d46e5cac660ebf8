#!/usr/bin/perl
# The database goes away under load and comes back: 503 with Retry-After in
# between, never another 5xx, no write that was acknowledged is lost.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(alive children slurp wait_until);
use Test::More;
use Time::HiRes 'time';

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';

created($api, "$v1/teams", { id => 't-a', name => 'A' });

for my $signal ('QUIT', 'INT') {
    subtest "PostgreSQL gets SIG$signal" => sub {
        my ($pid) = slurp($d->data . '/postgresql/data/postmaster.pid') =~ /^(\d+)/ or die;
        my (%seen, %made, @odd);
        my $n = 0;

        is($api->get('/ready')->{status}, 200, 'ready before');
        kill $signal, $pid;

        wait_until(40, sub {
            my $id = "t-$signal-" . ++$n;
            my $r = $api->post("$v1/teams", { id => $id, name => $id });

            $seen{ $r->{status} }++;
            $made{$id}++ if $r->{status} == 201;
            if ($r->{status} == 503) {
                push @odd, $r->{content} if !$r->{headers}{'retry-after'} || !$r->{json}{request_id};
                my $ready = $api->get('/ready');
                push @odd, "ready: $ready->{status} $ready->{content}"
                    if $ready->{status} != 200 && ($ready->{status} != 503 || $ready->{content} !~ /db_unavailable/);
                push @odd, 'health' if $api->get('/health')->{status} != 200;
            }
            return $seen{503} && $seen{201} && $r->{status} == 201 && !alive($pid);
        });

        ok($seen{503}, 'it is away: 503') or diag(explain(\%seen));
        is(join(' ', sort keys %seen), '201 503', 'and nothing but 201 and 503') or diag(explain(\%seen));
        is_deeply([@odd[0 .. ($#odd > 2 ? 2 : $#odd)]], [], 'with Retry-After; /ready says db_unavailable; /health is well');
        ok(wait_until(20, sub { $api->get('/ready')->{status} == 200 }), 'ready again');

        my @lost = grep { kept($_) != 200 } sort keys %made;
        is("@lost", '', keys(%made) . ' acknowledged writes, none lost');
        is($api->get("$v1/audit?action=team_created&per_page=500")->{json}{total},
            $api->get("$v1/teams")->{json}{total}, 'each team has its audit row');
    };
}

# PostgreSQL killed outright leaves its processes, lock files and shared memory. The
# best of some, since a busy machine may be slow once.
my $best = 1e9;
for (1 .. 4) {
    my $pid = postmaster();
    my $start = time;
    my $down;

    kill 'KILL', $pid;
    ok(wait_until(20, sub {
        my $r = $api->get("$v1/teams");
        $down ||= $r->{status} == 503;
        return $r->{status} == 200 && $down && postmaster() != $pid;
    }), 'SIGKILL: it answers again');
    $best = time - $start if $best > time - $start;
    last if $best <= 3;
}
cmp_ok($best, '<=', 3, 'within 3 seconds');

# A process of it that does not end by itself would hold its shared memory for ever.
{
    my $pid = postmaster();
    my ($stuck) = grep { (slurp("/proc/$_/cmdline") // '') =~ /^postgres: certctl/ } children($pid);

    kill 'STOP', $stuck;
    kill 'KILL', $pid;
    ok(wait_until(20, sub { !alive($stuck) && $api->get("$v1/teams")->{status} == 200 }),
        'SIGKILL beside a process that stands still: it answers again');
}

unlike($d->log, qr/ 500 \d+us/, 'no 500 in the log');
is($d->stop, 0, 'it ends well');
done_testing();

sub postmaster { return (slurp($d->data . '/postgresql/data/postmaster.pid') // '') =~ /^(\d+)/ ? $1 : 0 }

# A thread that has not asked since finds out now that its connection is gone.
sub kept {
    my ($id) = @_;
    my $status;

    wait_until(10, sub { return ($status = $api->get("$v1/teams/$id")->{status}) != 503 });
    return $status;
}
