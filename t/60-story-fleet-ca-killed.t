#!/usr/bin/perl
# Each side is killed at each step of the replacement of the fleet CA: after a restart
# it goes on, and ends with one CA that the host trusts and has its identity of.
# Restored from a dump of before, the controller is still accepted by the host.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Process qw(alive slurp temp_dir wait_until);
use Certctl::Story;
use Test::More;

my $log = temp_dir() . '/points';
my $s = Certctl::Story->new(points => 1,
    config => "job_lease = 3\nreaper_interval = 1\nloop_tick = 1\ninventory_interval = 1\nmax_issuances_per_day = 100\n");

my $id = $s->certificate('shop.example');
$s->renew($id);
my $row = $s->deployed($id);
my $dump = dump_of();

controller_dies($_) for qw(fleet.before_step fleet.before_commit enrol.csr.received enrol.identity.installed);
module_dies($_) for qw(store.file.before_fsync store.replace.before_rename store.replace.after_rename);

$s->renew($id, force => 1);
ok $s->deployed($id, after => $row->{last_deployment_at}), 'a certificate is deployed after all of it';

subtest 'the database is that of before' => sub {
    my $old = $s->get('agents/' . $s->agent)->{fingerprint};

    sql($s->daemon, $dump);
    ok wait_until(30, sub { return ($s->get('agents/' . $s->agent)->{last_error} // '') =~ /server certificate/ }),
        'the host shows an identity that the controller does not know' or diag $s->events;
    $s->need($s->api->patch('/api/v1/agents/' . $s->agent, { fingerprint => $old }));
    ok $s->online($s->agent), 'a person gives its fingerprint: it is met, since its file trusts the CA of before' or diag $s->events;
    ok wait_until(30, sub { return trusted()->{current}{hosts_identified} == 1 }), 'and has an identity of that';
    is trusted()->{current}{id}, 'fleet', 'which is the current one';
};

is $s->stop, 0, 'the daemon ends well';
done_testing();

sub trusted { my %row = map { ($_->{state} => $_) } @{ $s->get('authorities')->{data} }; return \%row }

sub armed { return { CERTCTL_POINT => $_[0], CERTCTL_POINT_ACT => 'kill', CERTCTL_POINT_LOG => $log } }

# A replacement that ends: one CA, which the host has its identity of.
sub settled {
    my ($place, $died, $next) = @_;
    my $state;

    ok $died, "$place: killed there";
    ok wait_until(60, sub {
        $state = trusted();
        return ($state->{current}{id} // '') eq $next && !$state->{next} && !$state->{previous} && $state->{current}{hosts_identified} == 1;
    }), "$place: it goes on to its end" or diag explain($state), $s->events;
    is $s->get('agents/' . $s->agent)->{status}, 'Online', "$place: the host is Online";
    return;
}

sub controller_dies {
    my ($place) = @_;

    # the place is passed only when there is a step to do
    $s->daemon->stop;
    $s->daemon->{env} = armed($place);
    $s->daemon->restart;
    my $pid  = $s->daemon->pid;
    my $next = 'fleet-' . $place =~ tr/./-/r;

    $s->post('authorities', { id => $next, overlap_days => 0 });
    my $died = wait_until(30, sub { return !alive($pid) });
    $s->daemon->kill9;
    $s->daemon->{env} = {};
    $s->daemon->restart;
    settled($place, $died, $next);
    return;
}

sub module_dies {
    my ($place) = @_;
    my $next = 'fleet-' . $place =~ tr/./-/r;
    my $deaths = sub { my $n = () = $s->nginx->log =~ /exited on signal 9/g; return $n };
    my $before = $deaths->();

    # a worker dies with the place in it; the next start is without
    $s->nginx->stop;
    $s->nginx->{env} = armed($place);
    $s->nginx->start;
    $s->post('authorities', { id => $next, overlap_days => 1 });
    my $died = wait_until(30, sub { return $deaths->() > $before });
    $s->nginx->stop('KILL');
    $s->nginx->{env} = {};
    $s->nginx->start;
    ok wait_until(60, sub { return (trusted()->{current}{id} // '') eq $next && trusted()->{current}{hosts_identified} == 1 }),
        "$place: it is learnt and used";
    $s->need($s->api->post('/api/v1/authorities/' . trusted()->{previous}{id} . '/withdraw'));
    settled($place, $died, $next);
    return;
}

# What a restore of the two tables would do.
sub dump_of {
    my $columns = 'id, state, certificate, key, not_after, overlap_days, used_at, created_at';
    my $rows = sql($s->daemon, "SELECT json_agg(a) FROM (SELECT $columns FROM authorities) a");
    my $agent = sql($s->daemon, "SELECT json_build_object('f', fingerprint, 'i', identity_ca) FROM agents");

    return <<"SQL";
DELETE FROM authorities;
INSERT INTO authorities ($columns) SELECT $columns FROM json_populate_recordset(NULL::authorities, \$\$$rows\$\$);
UPDATE agents SET fingerprint = \$\$$agent\$\$::json->>'f', identity_ca = \$\$$agent\$\$::json->>'i';
SQL
}
