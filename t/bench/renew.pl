#!/usr/bin/perl
# From POST .../renew to the handshake that certctld has confirmed, and to the one
# that a client sees: key and CSR on the host, local CA, push, look.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(percentile short);
use Certctl::Daemon;
use Certctl::Nginx;
use Certctl::Process qw(children slurp wait_until);
use Certctl::TLS 'handshake';
use Time::HiRes qw(sleep time);

my $ROUNDS = 6;
my $RENEWALS = short() ? 5 : 10;        # a round's, each kind
my @kinds = ('ec-p256', 'ec-p384', 'rsa-2048');
my $PAUSE = 0.004;                      # between two handshakes

my $bench = Certctl::Bench->new('renew', variants => \@kinds,
    note => 'ms from the API call; confirmed: the certificate says so (last_deployment_at); '
        . 'seen: the first handshake of a client that connects every ' . $PAUSE * 1000 . ' ms; the '
        . 'renewal loop does not run');
my $daemon = Certctl::Daemon->start(
    config => "max_issuances_per_day = 10000\nrenewal_interval = 86400\nlog_level = warn\n");
my $api    = $daemon->api;
my $nginx  = start_nginx();
my $agent  = register();
my @workers = sort { $a <=> $b } children($nginx->pid);
my %id     = map { ($_ => created($_)) } @kinds;
my (%confirmed, %seen);

renew($_) for @kinds;                   # the first leaves the placeholder
%confirmed = %seen = ();

$bench->rounds($ROUNDS, sub {
    my ($round, $kind) = @_;
    my @before = (scalar @{ $confirmed{$kind} // [] }, scalar @{ $seen{$kind} // [] });

    renew($kind) for 1 .. $RENEWALS;
    my @sure = @{ $confirmed{$kind} }[$before[0] .. $#{ $confirmed{$kind} }];
    my @look = @{ $seen{$kind} }[$before[1] .. $#{ $seen{$kind} }];

    return { confirmed_p50 => percentile(50, @sure), confirmed_max => percentile(100, @sure),
        seen_p50 => percentile(50, @look), seen_max => percentile(100, @look) };
});

for my $kind (@kinds) {
    my @target = $kind eq 'ec-p256' ? (most => 1000) : ();

    for my $percent (50, 95, 100) {
        my $name = $percent == 100 ? 'max' : "p$percent";

        $bench->figure("$kind: call to confirmed, $name", percentile($percent, @{ $confirmed{$kind} }),
            unit => 'ms', @target);
        $bench->figure("$kind: call to a client's handshake, $name",
            percentile($percent, @{ $seen{$kind} }), unit => 'ms');
    }
}

my $reloads = () = $nginx->log =~ /reconfiguring/g;
$bench->figure('renewals', scalar(map { @$_ } values %confirmed), unit => 'in all');
$bench->figure('reloads', $reloads, unit => 'in all', most => 0);
$bench->figure('workers that came or went',
    "@workers" eq join(' ', sort { $a <=> $b } children($nginx->pid)) ? 0 : 1,
    unit => 'any', most => 0);
$bench->compare('rsa-2048 / ec-p256, call to confirmed', confirmed_p50 => qw(rsa-2048 ec-p256));
$bench->finish;

sub host { return "$_[0].bench.test" }

sub start_nginx {
    my $n = Certctl::Nginx->new(workers => 2);

    $n->file('fleet-ca.pem', slurp($daemon->ca));
    $n->configure(<<'CONF');
%%MAIN%%
http {
    %%HTTP%%
    certctl_store %%DIR%%/store;
    certctl_trust %%DIR%%/fleet-ca.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name *.bench.test;
        certctl on;
        return 200 "x\n";
    }

    server {
        listen 127.0.0.1:%%PORT_control%% ssl;
        certctl_agent;
    }
}
CONF
    return $n->start;
}

sub need {
    my ($r, $what) = @_;
    die "$what: $r->{status} $r->{content}\n" if $r->{status} !~ /^2/;
    return $r->{json};
}

sub register {
    my $fingerprint = slurp($nginx->dir . '/store/certctl-agent.fingerprint');

    $fingerprint =~ s/\s+//g;
    my $id = need($api->post('/api/v1/agents', { name => 'edge1', fingerprint => $fingerprint,
        url => 'https://127.0.0.1:' . $nginx->port('control') }), 'agents add')->{id};

    wait_until(30, sub { return need($api->get("/api/v1/agents/$id"), 'agent')->{status} eq 'Online' })
        or die "the agent does not come online\n", $daemon->log;
    return $id;
}

sub created {
    my ($kind) = @_;
    my $target = need($api->post('/api/v1/targets', { name => "edge1 $kind", type => 'nginx-module',
        agent_id => $agent, config => { record => host($kind) } }), 'target')->{id};

    return need($api->post('/api/v1/certificates', { name => $kind, common_name => host($kind),
        key_type => $kind, issuer_id => 'iss-local', renewal_policy_id => 'rp-default',
        target_ids => [$target] }), 'certificate')->{id};
}

# One look at NGINX, one at the API, in turn, until both tell of the new one.
sub renew {
    my ($kind) = @_;
    my $path = "/api/v1/certificates/$id{$kind}";
    my $old  = fingerprint($kind);
    my $last = need($api->get($path), 'certificate')->{last_deployment_at} // '';
    my $begin = time;
    my ($sure, $look);

    need($api->post("$path/renew"), 'renew'); # no body: one segment
    until ($sure && $look) {
        sleep $PAUSE;
        $look ||= (time - $begin) * 1000 if !$look && fingerprint($kind) ne $old;

        if (!$sure) {
            my $crt = need($api->get($path), 'certificate');

            $sure = (time - $begin) * 1000 if ($crt->{last_deployment_at} // '') ne $last;
        }

        die "$kind: not renewed after 30 s: ", $daemon->log if time - $begin > 30;
    }

    push @{ $confirmed{$kind} }, $sure;
    push @{ $seen{$kind} }, $look;
    settled($path);
    return;
}

# The next renewal begins when nothing of this one is in hand.
sub settled {
    my ($path) = @_;

    wait_until(10, sub { return need($api->get($path), 'certificate')->{status} eq 'Active' })
        or die "$path: not Active\n";
    return;
}

sub fingerprint {
    my ($kind) = @_;
    my $h = handshake($nginx->port('tls'), sni => host($kind), staple => 0);

    die "handshake: $h->{error}\n" if $h->{error};
    return $h->{fingerprint};
}
