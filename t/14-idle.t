#!/usr/bin/perl
# A controller with nothing to do asks the database little, and yet starts a job at
# once: by NOTIFY, also of another replica, and without it within a second.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(slurp temp_dir wait_until write_file);
use Test::More;
use Time::HiRes qw(sleep time);

use constant SECONDS => $ENV{IDLE_SECONDS} // 30;

my $d = api_daemon();
my $n = 0;

# what a start has to do is done
ok(wait_until(20, sub { sql($d, 'SELECT count(*) FROM loops') >= 7 && sql($d, 'SELECT count(*) FROM jobs') eq '0' }), 'at rest');
# tables of a new database are vacuumed, each in its transaction; an idle
# connection counts what it did after 10 seconds
sql($d, 'ALTER SYSTEM SET autovacuum = off');
sql($d, 'SELECT pg_reload_conf()');
sleep 12;
my $rate;
for (1 .. 4) {               # each worker prepares each statement once, which counts as well
    $rate = rate();
    last if $rate <= 2;
}
cmp_ok($rate, '<=', 2, 'one controller: at most 2 transactions a second');

# the second one knows the database and the sealing key of the first
my $dir = temp_dir();
mkdir "$dir/data", 0711;
write_file("$dir/data/seal.key", slurp($d->data . '/seal.key'), 0600);
my $twin = Certctl::Daemon->start(dir => $dir, config => 'database = host=' . $d->data . "/postgresql user=certctl dbname=postgres\n");

# as a replica makes a job: the row, then NOTIFY
cmp_ok(started('NOTIFY certctl_jobs'), '<', 0.25, 'a job of another replica starts at once');
cmp_ok(started(''), '<', 1.25, 'without NOTIFY within a second');

# due later: it starts then
cmp_ok(started('', "now() + interval '1.5 seconds'"), '<', 0.25, 'a job that is due later starts when it is due, not at the next poll');

# the connection that listens is lost
sql($d, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND (query ~ 'due_loops' OR query = 'LISTEN certctl_jobs')");
cmp_ok(started(''), '<', 2.5, 'after the loss of the connection that listens as well');
cmp_ok(started('NOTIFY certctl_jobs'), '<', 0.25, 'and then at once again');

is($twin->stop, 0, 'the second ends well');
is($d->stop, 0, 'the first ends well');
done_testing();

# Committed transactions a second, of which one is ours.
sub rate {
    my $count = sub { return sql($d, "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'") };
    my ($start, $from) = (time, $count->());

    sleep SECONDS;
    my $rate = ($count->() - $from - 1) / (time - $start);
    note sprintf '%.2f transactions a second', $rate;
    return $rate;
}

# Seconds from when a job is due to its start: the least of some, since a busy machine
# is slow now and then. Each is for an agent that does not exist.
sub started {
    my ($notify, $due) = @_;
    my $least = 1e9;

    $due //= 'now()';
    for (1 .. 6) {
        my $id = 'job-idle-' . ++$n;

        sql($d, "INSERT INTO jobs (id, type, subject, agent_id, max_attempts, scheduled_at) VALUES ('$id', 'Enrolment', '$id', 'ag-none', 2, $due)");
        sql($d, $notify) if $notify;
        my $late = '';
        wait_until(20, sub { return $late = sql($d, "SELECT extract(epoch FROM started_at - created_at) FROM jobs WHERE id = '$id'") }) or return 1e9;
        $late -= 1.5 if $due ne 'now()';
        $least = $late if $late < $least;
        sql($d, "DELETE FROM jobs WHERE id = '$id'");
        sleep 0.3;            # another phase of the poll, and of the hints
    }

    note "$least s";
    return $least;
}
