#!/usr/bin/perl
# A host that was set up anew is met again by its new fingerprint; a retired one
# gives its name and address back; rules that nobody can satisfy issue nothing.

use strict;
use warnings;
use Certctl::Process qw(run slurp wait_until);
use Certctl::Story;
use Test::More;

my $s  = Certctl::Story->new(config => "inventory_interval = 1\nmax_issuances_per_day = 100\n");
my $id = $s->certificate('shop.example');

$s->renew($id);
my $row = $s->deployed($id);
my $old = $s->fingerprint;

# the host is lost with its store, and set up again
$s->nginx->stop;
is run('/dev/null', 'rm', '-rf', $s->nginx->dir . '/store'), 0, 'the store is gone';
$s->nginx->start;
isnt $s->fingerprint, $old, 'the listener has a new identity';
ok wait_until(30, sub { return $s->get('agents/' . $s->agent)->{status} eq 'Offline' }), 'which is not believed: Offline';
like $s->get('agents/' . $s->agent)->{last_error}, qr/\w/, 'with a reason';

$s->need($s->api->patch('/api/v1/agents/' . $s->agent, { fingerprint => '0' x 64 }));
ok wait_until(20, sub { return ($s->get('agents/' . $s->agent)->{last_error} // '') =~ /fingerprint|pin/i }),
    'a wrong fingerprint is not believed either, and the agent says why'
    or diag $s->get('agents/' . $s->agent)->{last_error};
is $s->get('agents/' . $s->agent)->{status}, 'Pending', 'it stays pending';

$s->need($s->api->patch('/api/v1/agents/' . $s->agent, { fingerprint => $s->fingerprint }));
ok $s->online($s->agent), 'its new fingerprint is: Online again';

$s->renew($id);
$row = $s->deployed($id, after => $row->{last_deployment_at});
is $s->shown('shop.example')->{fingerprint}, (sort { $b->{created_at} cmp $a->{created_at} } $s->versions($id))[0]{fingerprint_sha256},
    'and its certificate is live again';

# retired: name and address are free again
is $s->api->delete('/api/v1/agents/' . $s->agent . '?force=true&reason=moved')->{status}, 200, 'it is retired';
my $again = $s->register;
isnt $again, $s->agent, 'another agent takes its name and address';

# no path issues without the approval that a rule asks for
my %rule = (
    'a change record'    => ['renewal-policies', { id => 'rp-chg', name => 'CHG', require_change_record => \1 },
        { renewal_policy_id => 'rp-chg' }],
    'a second person'    => ['profiles', { id => 'prof-two', name => 'Two', requires_approval => \1 },
        { certificate_profile_id => 'prof-two' }],
    'another kind of key' => ['profiles', { id => 'prof-rsa', name => 'RSA', allowed_key_algorithms => [{ algorithm => 'RSA', min_size => 3072 }] },
        { certificate_profile_id => 'prof-rsa' }],
);

$s->{agent} = $again;
for my $what (sort keys %rule) {
    my ($resource, $body, $with) = @{ $rule{$what} };

    # with such a rule it would not be created
    $s->post($resource, { id => $body->{id}, name => $body->{name} });
    my $crt = $s->certificate("$body->{id}.example", %$with);
    $s->need($s->api->patch("/api/v1/$resource/$body->{id}", $body));
    my $refused = $s->api->post("/api/v1/certificates/$crt/renew", {});
    is $refused->{status}, 422, "$what: not issued without it";
    like $refused->{json}{message}, qr/$body->{id}/, "$what: the rule is named";
    is scalar($s->versions($crt)), 0, "$what: nothing was issued";
}

is $s->stop, 0, 'the daemon ends well';
done_testing();
