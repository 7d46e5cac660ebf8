#!/usr/bin/perl
# One call revokes a host: no replica speaks with it any more, its certificates are
# revoked, and what other hosts serve too is replaced there.

use strict;
use warnings;
use Certctl::Daemon;
use Certctl::Nginx;
use Certctl::Process qw(slurp temp_dir wait_until write_file);
use Certctl::Story;
use Test::More;
use Time::HiRes 'time';

my $conf = "inventory_interval = 1\nmax_issuances_per_day = 1\n";     # which does not delay a revocation
my $s = Certctl::Story->new(config => $conf, names => ['shop.example', 'alone.example'],
    control => 'access_log %%DIR%%/control.log;');
my $t = bless { %$s }, 'Certctl::Story';

$t->{nginx} = Certctl::Nginx->new(workers => 1);
$t->nginx->file('fleet-ca.pem', slurp($s->daemon->ca));
$t->configure;
$t->nginx->start;
$t->{agent} = $t->register(name => 'edge2');

# another replica, which has the database and the sealing key of the first
my $dir = temp_dir();
mkdir "$dir/data", 0711;
write_file("$dir/data/seal.key", slurp($s->daemon->data . '/seal.key'), 0600);
my $twin = Certctl::Daemon->start(dir => $dir,
    config => "${conf}database = host=" . $s->daemon->data . "/postgresql user=certctl dbname=postgres\n");

my %target = map { my ($name, $story) = @$_;
    ($name => $s->post('targets', { name => "$name", type => 'nginx-module', agent_id => $story->agent,
        config => { record => 'shop.example' } })->{id}) } ['one', $s], ['two', $t];
my $shop = $s->post('certificates', { name => 'shop', common_name => 'shop.example', issuer_id => 'iss-local',
    renewal_policy_id => 'rp-default', target_ids => [@target{qw(one two)}] })->{id};
my $alone = $s->certificate('alone.example');

$s->renew($_) for $shop, $alone;
my $row = $s->deployed($shop);
$s->deployed($alone);

my ($lost) = grep { $_->{target_id} eq $target{one} } $s->versions($shop);
my ($kept) = grep { $_->{target_id} eq $target{two} } $s->versions($shop);
my ($gone) = $s->versions($alone);
my $identity = $s->get('agents/' . $s->agent);

sub on_crl {
    my ($serial) = @_;
    open my $crl, '|-', "openssl crl -inform DER -noout -text > '" . $s->daemon->dir . "/crl.txt'" or die "openssl: $!";
    print $crl $s->api->get('/.well-known/pki/crl/iss-local')->{content};
    close $crl or die 'openssl crl';
    return slurp($s->daemon->dir . '/crl.txt') =~ /Serial Number: \Q$serial\E/i;
}

ok !on_crl($lost->{serial_number}), 'before, nothing is revoked';
my $path = '/api/v1/agents/' . $s->agent . '/revoke';
is $s->api->post($path, { reason => 'nonsense' })->{status}, 422, 'a reason is one of RFC 5280';
is $s->api->post('/api/v1/agents/ag-none/revoke', {})->{status}, 404, 'an agent that is not there';

my $r = $s->api->post($path, {});
is $r->{status}, 200, 'revoked' or diag $r->{content};
is $r->{json}{revoked_certificates}, 2, 'with both certificates that it has keys of';
is_deeply $r->{json}{replaced}, [$shop], 'what another host serves is replaced';
is_deeply $r->{json}{ended}, [$alone], 'what only this one served ends';
is_deeply $r->{json}{not_replaced}, [], 'nothing is left to a person';
ok on_crl($lost->{serial_number}) && on_crl($gone->{serial_number}), 'both are on the CRL at once';
ok !on_crl($kept->{serial_number}), 'the other host\'s own certificate is not';
is $s->api->post($path, {})->{status}, 409, 'once only';

my $agent = $s->get('agents/' . $s->agent);
is $agent->{status}, 'Retired', 'the host is retired';
is $agent->{revoked_reason}, 'keyCompromise', 'with the reason';
is $s->get("certificates/$alone")->{status}, 'Revoked', 'its own certificate is Revoked';

$s->deployed($shop, after => $row->{last_deployment_at});
my ($fresh) = sort { $b->{created_at} cmp $a->{created_at} } $s->versions($shop);
is $fresh->{target_id}, $target{two}, 'the other host has the next certificate';
isnt $fresh->{spki_sha256}, $kept->{spki_sha256}, 'with another key';
is $t->shown('shop.example')->{fingerprint}, $fresh->{fingerprint_sha256}, 'and serves it';

# nothing asks the host any more: not even its status
my $log = $s->nginx->dir . '/control.log';
my ($size, $until) = (-s $log, time + 5);
cmp_ok $size, '>', 0, 'the host has been called';
wait_until(30, sub { return time > $until });
is -s $log, $size, 'no replica calls it any more';
cmp_ok $s->get('agents/' . $t->agent)->{last_heartbeat_at}, 'gt', $agent->{revoked_at}, 'though they go on with the other';
is $s->get('agents/' . $s->agent)->{last_heartbeat_at}, $agent->{last_heartbeat_at}, 'nor has it been seen';

# nor under another name
$r = $s->api->post('/api/v1/agents', { name => 'edge3', url => $s->control_url, fingerprint => $identity->{fingerprint} });
is $r->{status}, 422, 'its identity is not taken again';
like $r->{json}{message}, qr/was revoked/, 'and the answer says why';

my ($event) = grep { $_->{action} eq 'agent_revoked' } @{ $s->get('audit?per_page=500')->{data} };
is $event->{resource_id}, $s->agent, 'the audit trail has it';
is_deeply $event->{details}{replaced}, [$shop], 'with what became of each certificate';

$t->nginx->stop;
is $twin->stop, 0, 'the other replica ends well';
is $s->stop, 0, 'the daemon ends well';
done_testing();
