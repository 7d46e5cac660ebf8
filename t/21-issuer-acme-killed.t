#!/usr/bin/perl
# The controller is killed inside and behind each step of an ACME order, with a real
# server (pebble) on the other side: it goes on with the same account and order, one
# certificate is issued, and no challenge stays on the host.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Pebble;
use Certctl::Process qw(alive temp_dir wait_until);
use Certctl::Story;
use Test::More;

# PLACES='stored:3' t/run t/21-issuer-acme-killed.t    kills there only
my $places = $ENV{PLACES} // '.';

my $missing = Certctl::Pebble->missing;
plan skip_all => $missing if $missing;

# directory, account (its lock, its key, registered), order, authorize, answer,
# validate, finalize, issue
my $STEPS = 10;

my $log = temp_dir() . '/points';
my $s   = Certctl::Story->new(points => 1, config => "job_lease = 3\nreaper_interval = 1\n"
    . "max_issuances_per_day = 1000\ninventory_interval = 86400\nocsp_interval = 86400\nrenewal_interval = 1\n",
    servers => "server { listen 127.0.0.1:%%PORT_plain%%; return 404; }\n");
my $d      = $s->daemon;
my $pebble = Certctl::Pebble->start(http => $s->nginx->port('plain'), tls => $s->nginx->port('tls'), nonce_reject => 20);

$s->post('issuers', { id => 'iss-acme', name => 'Pebble', type => 'acme',
    config => { directory_url => $pebble->directory, ca_bundle => $pebble->ca } });

my $shop = $s->certificate('shop.example', issuer_id => 'iss-acme');

$s->renew($shop);
$s->deployed($shop);
killed($_) for grep { /$places/ } map { ("order.step.returned:$_", "order.step.stored:$_") } 1 .. $STEPS;

$pebble->stop;
is $s->stop, 0, 'the daemon ends well';
done_testing;

# How often pebble has said it.
sub said {
    my ($what) = @_;
    my $text = $pebble->log;

    return scalar(() = $text =~ /$what/g);
}

sub killed {
    my ($point) = @_;

    # the account is made anew each time
    wait_until(30, sub { return !@{ $s->open_jobs } });
    sql($d, 'DELETE FROM issuer_accounts');

    my %before = map { ($_, said($_)) } 'accounts in memory', 'Added order "', 'Issued certificate serial';
    my $last   = $s->get("certificates/$shop")->{last_deployment_at};
    my $n      = scalar $s->versions($shop);

    $d->stop;
    $d->{env} = { CERTCTL_POINT => $point, CERTCTL_POINT_ACT => 'kill', CERTCTL_POINT_LOG => $log };
    $d->restart;

    my $pid = $d->pid;
    eval { $s->renew($shop) };
    my $died = wait_until(20, sub { return !alive($pid) });

    $d->kill9;
    $d->{env} = {};
    $d->restart;
    ok $died, "$point: killed there";
    $s->deployed($shop, after => $last, timeout => 60);

    is scalar($s->versions($shop)), $n + 1, "$point: one version is stored";
    is said('Issued certificate serial') - $before{'Issued certificate serial'}, 1, "$point: the CA has issued one certificate";
    is said('accounts in memory') - $before{'accounts in memory'}, 1, "$point: for one account";
    cmp_ok said('Added order "') - $before{'Added order "'}, '<=', 1, "$point: by one order";
    ok wait_until(20, sub { return sql($d, 'SELECT count(*) FROM challenges') eq '0' }), "$point: no challenge is left";
    return;
}
