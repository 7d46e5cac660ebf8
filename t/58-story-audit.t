#!/usr/bin/perl
# The audit trail names what has happened by words that people filter by, each event
# stands in the transaction of its change, and documents list them all.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Process qw(slurp wait_until);
use Certctl::Story;
use Test::More;

documented();

my $s = Certctl::Story->new(names => [qw(shop.example blog.example)],
    config => "renewal_interval = 1\nexpiry_interval = 1\n");
my $d = $s->daemon;

renewed();
renewed_by_itself();
failed();
by_request();

is $s->stop, 0, 'the daemon ends well';
done_testing();

# Every action that the source writes, and no other, is in a document.
sub documented {
    my %named = map { ($_, 1) } map { /`([a-z]+(?:_[a-z]+)+)`/g } map { slurp($_) =~ /^\|.*/mg } qw(docs/api.md docs/operations.md);
    my $tool  = ($ENV{B} // 'build') . '/t/tool/declared';
    my %written = map { ($_, 1) } grep { defined } `$tool routes` =~ /^\| [^|]+ \| [^|]+ \| `(\w+)` \|/mg,
        (map { slurp($_) =~ /audit_write\([^;]*?\bAUDIT_\w+,\s*"([a-z_]+)"|\w_audit\(\w+,\s*"([a-z_]+)"/g } glob 'controller/*/*.c'),
        map { slurp($_) =~ /INSERT INTO audit_events [^;]*?SELECT '\w+', '\w+', '([a-z_]+)'/g } glob 'sql/*/*.sql';

    cmp_ok(scalar keys %written, '>', 30, 'audit actions are found');
    is(join(' ', grep { !$named{$_} } sort keys %written), '', 'each is in docs/api.md or docs/operations.md');
    is(join(' ', grep { !$written{$_} } qw(certificate_created renewal_triggered certificate_renewed deployment_completed
            renewal_job_created deployment_triggered certificate_revoked)), '', 'those that others know are among them');
    return;
}

sub events {
    my ($id, $action) = @_;
    return @{ $s->get("audit?resource_id=$id&action=$action&per_page=100")->{data} };
}

# Both rows have the start of their transaction.
sub together {
    my ($id, $action, $change) = @_;

    is sql($d, "SELECT count(*) FROM audit_events a, ($change) x WHERE a.resource_id = '$id' AND a.action = '$action' AND a.\"timestamp\" = x.at"),
        1, "$action is written with its change";
    return;
}

sub renewed {
    my $id = $s->certificate('shop.example');
    together($id, 'certificate_created', "SELECT created_at AS at FROM managed_certificates WHERE id = '$id'");

    $s->renew($id);
    $s->deployed($id);
    together($id, 'renewal_triggered', "SELECT created_at AS at FROM renewal_attempts WHERE certificate_id = '$id'");
    together($id, 'certificate_renewed', "SELECT created_at AS at FROM certificate_versions WHERE certificate_id = '$id'");
    together($id, 'deployment_completed', "SELECT completed_at AS at FROM renewal_attempts WHERE certificate_id = '$id'");

    my ($event)   = events($id, 'certificate_renewed');
    my ($version) = $s->versions($id);
    is_deeply [@$event{qw(actor actor_type resource_type event_category)}], [qw(system System certificate cert_lifecycle)],
        'certificate_renewed: who, and of what';
    is $event->{details}{issuer_id}, 'iss-local', 'by whom it was issued';
    is_deeply [map { [@$_{qw(id serial_number)}] } @{ $event->{details}{versions} }], [[@$version{qw(id serial_number)}]],
        'and which version it was';
    is scalar(my @all = events($id, 'certificate_renewed')), 1, 'once';

    my $created = (events($id, 'certificate_created'))[0];
    is_deeply [@$created{qw(actor_type resource_type resource_id)}], ['APIKey', 'certificate', $id],
        'certificate_created: actor, type and id of the resource';
    return;
}

sub renewed_by_itself {
    my $id = $s->get('certificates?common_name=shop.example')->{data}[0]{id};
    my $before = $s->get("certificates/$id")->{last_deployment_at};

    sql($d, "UPDATE managed_certificates SET renew_at = now() WHERE id = '$id'");
    $s->deployed($id, after => $before);
    together($id, 'renewal_job_created', "SELECT max(created_at) AS at FROM renewal_attempts WHERE certificate_id = '$id'");
    is scalar(my @all = events($id, 'certificate_renewed')), 2, 'a renewal by itself is one too';
    return;
}

sub failed {
    my $id = $s->certificate('blog.example');

    $s->api->patch('/api/v1/issuers/iss-local', { enabled => JSON::PP::false });
    $s->renew($id);
    ok wait_until(60, sub { return events($id, 'certificate_renewal_failed') }), 'a failure is one';
    together($id, 'certificate_renewal_failed', "SELECT completed_at AS at FROM renewal_attempts WHERE certificate_id = '$id'");
    is scalar(my @none = events($id, 'certificate_renewed')), 0, 'and no renewal';
    $s->api->patch('/api/v1/issuers/iss-local', { enabled => JSON::PP::true });
    return;
}

sub by_request {
    my $id = $s->get('certificates?common_name=shop.example')->{data}[0]{id};
    my $before = $s->get("certificates/$id")->{last_deployment_at};

    $s->post("certificates/$id/deploy");
    $s->deployed($id, after => $before);
    is scalar(my @asked = events($id, 'deployment_triggered')), 1, 'deployment_triggered';
    is scalar(my @done = events($id, 'deployment_completed')), 3, 'deployment_completed';
    $s->post("certificates/$id/revoke", { reason => 'superseded' });
    together($id, 'certificate_revoked', "SELECT revoked_at AS at FROM managed_certificates WHERE id = '$id'");
    return;
}
