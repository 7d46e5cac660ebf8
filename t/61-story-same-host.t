#!/usr/bin/perl
# One host is one agent: whoever registers it again, by another address, is told
# which agent it is, and takes nothing from it; its address is changed instead.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process qw(wait_until);
use Certctl::Story;
use Test::More;

my $s = Certctl::Story->new(config => "inventory_interval = 1\n", control => 'listen 127.0.0.1:%%PORT_second%% ssl;');
my $d = $s->daemon;
my $second = 'https://127.0.0.1:' . $s->nginx->port('second');
my $first  = $s->agent;

sub is_first { return qr/^this host is agent \Q$first\E \(edge1\): change the url of that agent, or retire it first$/ }

sub well {
    my ($what) = @_;
    my $seen = $s->get("agents/$first")->{last_heartbeat_at};

    ok wait_until(30, sub { return $s->get("agents/$first")->{last_heartbeat_at} gt $seen }), "$what: the first is polled";
    is $s->get("agents/$first")->{status}, 'Online', "$what: it stays Online";
    return;
}

# Why an agent that was registered does not come online.
sub refused_later {
    my ($id) = @_;
    my $row;

    wait_until(30, sub { $row = $s->get("agents/$id"); return $row->{last_error} || $row->{status} eq 'Online' });
    return $row;
}

my $pin = $s->get("agents/$first")->{fingerprint};
my $r = $s->api->post('/api/v1/agents', { name => 'again', url => $second, fingerprint => $pin });
refused($r, 409, is_first(), 'its fingerprint is known');
is_deeply $r->{json}{dependants}, [{ type => 'agent', id => $first }], 'whose it is';
well('by fingerprint');

my $tofu = $s->post('agents', { name => 'trusting', url => $second, trust_on_first_use => \1 })->{id};
my $row = refused_later($tofu);
is $row->{status}, 'Pending', 'trust on first use does not take it either';
like $row->{last_error}, is_first(), 'and the agent says why';
is $row->{fingerprint}, undef, 'nothing is pinned';
well('by trust on first use');

# the controller has not stored the identity that it has installed
sql($d, "UPDATE agents SET fingerprint = repeat('0', 64) WHERE id = '$first'");
my $blind = $s->post('agents', { name => 'blind', url => 'https://localhost:' . $s->nginx->port('second'), fingerprint => $pin })->{id};
$row = refused_later($blind);
is $row->{status}, 'Pending', 'the host itself says who it is';
like $row->{last_error}, is_first(), 'and that is believed';
sql($d, "DELETE FROM jobs WHERE agent_id = '$blind'");
sql($d, "DELETE FROM agents WHERE id = '$blind'");
sql($d, "UPDATE agents SET fingerprint = '$pin' WHERE id = '$first'");
well('by its own word');

is $s->api->delete("/api/v1/agents/$tofu?force=true&reason=test")->{status}, 200, 'the other is retired';
$s->need($s->api->patch("/api/v1/agents/$first", { url => $second }));
ok wait_until(40, sub { my $a = $s->get("agents/$first"); return $a->{status} eq 'Online' && $a->{url} eq $second }), 'its address is changed';
well('at the other address');

my $own = $s->fingerprint;
ok $own, 'the fingerprint in the host\'s file';
is $s->api->delete("/api/v1/agents/$first?force=true&reason=test")->{status}, 200, 'retired';
my $next = $s->register;
isnt $next, $first, 'another agent may have the host then';

# of several at once, one gets the host
my @pipes = map {
    my $n   = $_;
    my $pid = open(my $out, '-|') // die "fork: $!";
    if (!$pid) {
        my $own = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $d->key);
        print $own->post('/api/v1/agents', { name => "race $n", url => "https://127.0.0.1:$n", fingerprint => 'e' x 64 })->{status}, "\n";
        close STDOUT;
        require POSIX;
        POSIX::_exit(0);
    }
    $out;
} 1 .. 4;
is join(',', sort map { my $line = readline $_; close $_; chomp $line; $line } @pipes), '201,409,409,409', 'of four at once, one gets the host';

is $s->stop, 0, 'the daemon ends well';
done_testing();
