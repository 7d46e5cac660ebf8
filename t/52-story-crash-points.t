#!/usr/bin/perl
# Each side is killed at each of its named places during a renewal: after a
# restart the story goes on, nothing is lost, nothing is issued or installed
# twice, and no place was missed.
#   PLACES='^store\.put' t/run t/52-story-crash-points.t    only some of them

use strict;
use warnings;
use Certctl::Process qw(alive slurp temp_dir wait_until);
use Certctl::Story;
use Test::More;

my $log = temp_dir() . '/points';

# No job but those that this test asks for, and the look behind each deployment.
my $s   = Certctl::Story->new(points => 1, names => ['shop.example', '*.fresh.example'],
    config => "job_lease = 3\nreaper_interval = 1\nmax_issuances_per_day = 1000\n"
        . "inventory_interval = 86400\nocsp_interval = 86400\n");
my $id  = $s->certificate('shop.example');
my $fresh = 0;

$s->renew($id);
my %row      = ($id => $s->deployed($id));
my %versions = ($id => scalar $s->versions($id));

# Places of the sources, those that a renewal passes; the others have tests of
# their own (unit/, t/45).
my $some       = $ENV{PLACES} // '.';
my @controller = grep { /^(order|deployment|job)\./ && /$some/ } places('controller');
my @module     = grep { /^(csr|put|store\.(put|file|names|pending|before))/ && /$some/ }
    places('ngx_certctl_module');

cmp_ok @controller + @module, '>=', defined $ENV{PLACES} ? 1 : 30, 'there are places to be killed at';

controller_dies($_) for @controller;
module_dies($_) for @module;

my %passed = map { ($_ => 1) } split /\n/, slurp($log);
is_deeply [grep { !$passed{$_} } @controller, @module], [], 'no place was missed';

is $s->stop, 0, 'the daemon ends well';
done_testing();

sub places {
    my ($room) = @_;
    my %seen;

    $seen{$_}++ for map { slurp($_) =~ /CERTCTL_POINT\("([^"]+)"\)/g }
        glob("$room/*.c $room/*/*.c");
    return sort keys %seen;
}

sub armed {
    my ($place) = @_;
    return { CERTCTL_POINT => $place, CERTCTL_POINT_ACT => 'kill', CERTCTL_POINT_LOG => $log };
}

sub controller_dies {
    my ($place) = @_;

    # another job would be killed at the queue's places, before the renewal
    wait_until(30, sub { return !@{ $s->open_jobs } }) or die "jobs stay open:\n", $s->events;
    $s->daemon->stop;
    $s->daemon->{env} = armed($place);
    $s->daemon->restart;

    my $before = $s->shown('shop.example')->{fingerprint};
    my $pid    = $s->daemon->pid;

    # a job thread may be so quick that the answer is killed, too
    eval { $s->renew($id) };
    my $died = wait_until(20, sub { return !alive($pid) });
    my $kept = $s->shown('shop.example');

    ok !$kept->{error} && $kept->{staple}, "$place: NGINX goes on serving, stapled";
    $s->daemon->kill9;
    $s->daemon->{env} = {};
    $s->daemon->restart;
    settled($place, $died, $id, 'shop.example', $before);
    return;
}

# A worker dies with the place in it; the master makes another one. The next
# start of NGINX is without the place. What happens only with the first
# certificate of a name gets a new name.
sub module_dies {
    my ($place) = @_;
    my ($crt, $name) = ($id, 'shop.example');

    if ($place =~ /^store\.names/ && $place !~ /move$/) {
        $name = 'n' . ++$fresh . '.fresh.example';
        $crt  = $s->certificate($name);
    }

    $s->nginx->stop;
    $s->nginx->{env} = armed($place);
    $s->nginx->start;

    my $before = $s->shown($name)->{fingerprint};
    my $deaths = deaths();

    $s->renew($crt);
    my $died = wait_until(20, sub { return deaths() > $deaths });

    $s->nginx->stop('KILL');
    $s->nginx->{env} = {};
    $s->nginx->start;

    my $kept = $s->shown('shop.example');
    ok !$kept->{error} && $kept->{staple}, "$place: after a restart NGINX serves, stapled";
    settled($place, $died, $crt, $name, $before);
    return;
}

sub deaths {
    my $n = () = $s->nginx->log =~ /exited on signal 9/g;
    return $n;
}

# One renewal, one version, one certificate live: the newest.
sub settled {
    my ($place, $died, $crt, $name, $before) = @_;

    ok $died, "$place: killed there";
    $row{$crt} = $s->deployed($crt, after => ($row{$crt} // {})->{last_deployment_at}, timeout => 60);

    my @all  = sort { $b->{created_at} cmp $a->{created_at} } $s->versions($crt);
    my $live = $s->shown($name);

    is scalar(@all), ++$versions{$crt}, "$place: one version was issued";
    is $live->{fingerprint}, $all[0]{fingerprint_sha256}, "$place: the newest is live";
    isnt $live->{fingerprint}, $before, "$place: it is a new one";
    return;
}
