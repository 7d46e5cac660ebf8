#!/usr/bin/perl
# Two replicas on one database share the work: each job is done once, also when
# one of them stands still for longer than its lease and then goes on.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::Process qw(alive slurp temp_dir wait_until write_file);
use Certctl::Story;
use Test::More;

my $conf = "reaper_interval = 1\nmax_issuances_per_day = 1000\n";
my $s    = Certctl::Story->new(points => 1, names => ['*.example'], config => $conf);

# The second one knows the database and the sealing key of the first.
my $socket = $s->daemon->data . '/postgresql';
my $dir    = temp_dir();
mkdir "$dir/data", 0711;
write_file("$dir/data/seal.key", slurp($s->daemon->data . '/seal.key'), 0600);

my $twin = Certctl::Daemon->start(points => 1, dir => $dir,
    config => "log_level = debug\n${conf}database = host=$socket user=certctl dbname=postgres\n");

is slurp($twin->ca), slurp($s->daemon->ca), 'both have one fleet CA';
my $api = Certctl::HTTP->new(port => $twin->port, ca => $twin->ca, bearer => $s->daemon->key);
is $api->get('/api/v1/agents')->{status}, 200, 'and one set of API keys';

# many at once
my @id = map { $s->certificate("n$_.example") } 1 .. 20;
$s->renew($_) for @id;
my @row = map { $s->deployed($_) } @id;
is scalar(grep { $_->{status} eq 'Active' } @row), 20, '20 certificates are live';
is_deeply [map { scalar $s->versions($_) } @id], [(1) x 20], 'one version of each';

my @done = map { my $log = $_; scalar(() = $log =~ /type=Deployment .*completed/g) }
    $s->daemon->log, $twin->log;
is $done[0] + $done[1], 20, '20 deployments were done';
note "shares: $done[0] and $done[1]";      # who is free takes the next: no share is promised

# one stands still with a signed certificate in its hand
my $log = temp_dir() . '/points';
my ($slow, $name) = ($id[0], 'n1.example');
my $before = $s->shown($name)->{fingerprint};

# a lease that is soon over would be too short for the many of above
$twin->stop;
$s->daemon->stop;
write_file($_->dir . '/certctl.conf', slurp($_->dir . '/certctl.conf') . "job_lease = 3\n") for $s->daemon, $twin;
$s->daemon->{env} = { CERTCTL_POINT => 'order.step.returned', CERTCTL_POINT_ACT => 'stop',
    CERTCTL_POINT_LOG => $log };
$s->daemon->restart;
eval { $s->renew($slow) };        # the answer may stand still, too
ok wait_until(20, sub { return state($s->daemon->pid) eq 'T' }), 'a replica stands still before it stores a certificate';
is sql($s->daemon, "SELECT count(*) FROM certificate_versions WHERE certificate_id = '$slow'"), 1, 'and has not stored it';

# its PostgreSQL is another process and goes on
$twin->restart;
$api = Certctl::HTTP->new(port => $twin->port, ca => $twin->ca, bearer => $s->daemon->key);
my $row;

# another thread of the first may stand still in a transaction, with a row that the
# other needs: then PostgreSQL ends that one after 20 seconds
ok wait_until(100, sub {
    $row = $api->get("/api/v1/certificates/$slow")->{json};
    return $row->{status} eq 'Active' && $row->{last_deployment_at} gt $api->get("/api/v1/certificates/$id[1]")->{json}{last_deployment_at};
}), 'the other one takes the job when the lease is over';
my $live = $s->shown($name)->{fingerprint};
isnt $live, $before, 'and makes a new certificate live';

my $said = length $s->daemon->log;
kill 'CONT', $s->daemon->pid;
ok wait_until(20, sub { return substr($s->daemon->log, $said) =~ /left: .*(held by another|lease)|terminating connection/ }),
    'the first one wakes, and leaves it, or finds that its connection is gone';
is $s->shown($name)->{fingerprint}, $live, 'what is live stays';
is scalar($s->versions($slow)), 2, 'two renewals, two versions';

is $twin->stop, 0, 'the second ends well';
is $s->stop, 0, 'the first ends well';
done_testing();

sub state {
    my ($pid) = @_;
    return (slurp("/proc/$pid/stat") // '') =~ /\) (\S)/ ? $1 : '';
}
