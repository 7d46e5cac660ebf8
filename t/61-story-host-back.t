#!/usr/bin/perl
# A host that comes back, and one whose store is lost: one command each, and what the
# host has lost is renewed for the person who asked, also beyond the daily limit when
# there is a reason.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process qw(built run wait_until write_file);
use Certctl::Story;
use JSON::PP;
use Test::More;

my $s = Certctl::Story->new(names => ['shop.example', 'www.example'], control => 'listen 127.0.0.1:%%PORT_second%% ssl;',
    config => "inventory_interval = 1\nmax_issuances_per_day = 1\n");
my $d = $s->daemon;
my $agent = $s->agent;

%ENV = (%ENV, CERTCTL_SERVER_URL => 'https://127.0.0.1:' . $d->port, CERTCTL_SERVER_CA_BUNDLE_PATH => $d->ca,
    CERTCTL_API_KEY => $d->key);

sub certctl {
    my (@words) = @_;
    my $file = $d->dir . '/certctl.out';
    my $status = run($file, built('certctl'), @words);

    open my $in, '<', $file or die "$file: $!";
    local $/;
    return ($status >> 8, scalar readline $in);
}

sub becomes {
    my ($id, $live, $what) = @_;

    ok wait_until(60, sub { return $s->get("certificates/$id")->{live} eq $live }), $what or diag $s->events;
    return;
}

# The newest audit event of the agent's recovery, once it is done.
sub recovered {
    my ($n) = @_;
    my @events;

    ok wait_until(60, sub {
        @events = grep { $_->{action} eq 'agent_recovered' } @{ $s->get("audit?resource_id=$agent&per_page=100")->{data} };
        return @events >= $n;
    }), 'the recovery is done' or diag $s->events;
    return $events[0];
}

sub lose_store {
    $s->nginx->stop;
    is run('/dev/null', 'rm', '-rf', $s->nginx->dir . '/store'), 0, 'the store is lost';
    $s->nginx->start;
    return $s->fingerprint;
}

$s->post('renewal-policies', { id => 'rp-hand', name => 'By hand', auto_renew => \0 });
my $shop = $s->certificate('shop.example');
my $www  = $s->certificate('www.example', renewal_policy_id => 'rp-hand');

for my $id ($shop, $www) {
    $s->renew($id);
    $s->deployed($id);
}

subtest 'a host that was away' => sub {
    my $n = $s->versions($shop);

    $s->nginx->stop;
    ok wait_until(60, sub { return $s->get("agents/$agent")->{status} eq 'Offline' }), 'it is Offline';
    $s->nginx->start;
    my ($status, $out) = certctl('agents', 'reconnect', $agent, '--reason', 'power is back');
    is $status, 0, 'agents reconnect';
    like $out, qr/^next +report$/m, 'its report is asked for';
    ok $s->online($agent), 'it is Online';
    my $event = recovered(1);
    is_deeply $event->{details}, { reason => 'power is back', override_limit => JSON::PP::false, renewed => [], not_renewed => [] },
        'nothing had to be renewed';
    is scalar($s->versions($shop)), $n, 'and nothing was';
    becomes($_, 'yes', 'clients get it') for $shop, $www;
};

subtest 'a host with another address' => sub {
    my $url = 'https://127.0.0.1:' . $s->nginx->port('second');
    my ($status, $out) = certctl('agents', 'reconnect', $agent, '--url', $url);

    is $status, 0, 'agents reconnect --url';
    like $out, qr/^next +first_contact$/m, 'it gets an identity for its address';
    recovered(2);
    is $s->get("agents/$agent")->{url}, $url, 'the same agent at the new address';
};

subtest 'a host whose store is lost' => sub {
    my $pin = lose_store();
    my ($status, $out) = certctl('agents', 'reset', $agent, '--fingerprint', uc $pin);

    is $status, 0, 'agents reset' or diag $out;
    like $out, qr/\Q$shop\E/, 'says what was deployed there';
    my $event = recovered(3);
    is_deeply [map { $_->{certificate_id} } @{ $event->{details}{not_renewed} }], [sort $shop, $www],
        'the daily limit is in the way' or diag explain $event;
    like $event->{details}{not_renewed}[0]{reason}, qr/within a day|24 hours/, 'as it says';
    becomes($www, 'no', 'clients do not get it');

    ($status, $out) = certctl('agents', 'reset', $agent, '--fingerprint', $pin, '--override-limit');
    is $status, 2, 'to pass the limit takes a reason';
    ($status, $out) = certctl('agents', 'reset', $agent, '--fingerprint', $pin, '--override-limit', '--reason', 'disk lost');
    is $status, 0, 'with a reason' or diag $out;
    $event = recovered(4);
    is_deeply $event->{details}{renewed}, [sort $shop, $www], 'all are renewed' or diag explain $event;
    ok $event->{details}{override_limit}, 'the audit trail says that the limit was passed';
    is $event->{details}{reason}, 'disk lost', 'and why';
    is $event->{actor}, 'admin', 'and by whom';
    becomes($_, 'yes', 'clients get it again') for $shop, $www;
};

subtest 'what is refused' => sub {
    my $at = "/api/v1/agents/$agent/recover";
    my $r = $s->api->post($at, { override_limit => \1 });

    refused($r, 422, qr/^override_limit needs a reason$/, 'the limit without a reason');
    is $r->{json}{errors}[0]{pointer}, '/reason', 'is pointed to';
    refused($s->api->post($at, { fingerprint => 'xyz' }), 422, qr/fingerprint/, 'a wrong fingerprint');
    refused($s->api->post('/api/v1/agents/ag-no/recover', {}), 404, qr/^no agent has this id$/, 'no agent');

    my $key = $s->post('auth/keys', { name => 'agents', permissions => ['agent.*'] })->{key};
    my $weak = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $key);
    is $weak->post($at, {})->{status}, 202, 'agent.edit is enough';
    refused($weak->post($at, { override_limit => \1, reason => 'because' }), 403, qr/cert\.issue/, 'but not for the limit');

    # while its report is being stored, the answer may be 503: send it again
    wait_until(30, sub { $r = $s->api->delete("/api/v1/agents/$agent?force=true&reason=test"); return $r->{status} != 503 });
    is $r->{status}, 200, 'retired';
    refused($s->api->post($at, {}), 409, qr/^agent \Q$agent\E is retired: register the host as a new agent$/, 'a retired one');
};

is $s->stop, 0, 'the daemon ends well';
done_testing();
