#!/usr/bin/perl
# What becomes of a certificate besides its renewals, with a real host: it is changed,
# revoked, archived and restored, its host is retired.

use strict;
use warnings;
use Certctl::API qw(created refused sql);
use Certctl::HTTP;
use Certctl::Process qw(wait_until write_file);
use Certctl::Story;
use JSON::PP ();
use Test::More;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $s   = Certctl::Story->new(config => "inventory_interval = 1\nrenewal_interval = 1\nmax_issuances_per_day = 100\n",
    names => [map { "$_.example" } qw(shop old said left)]);
my $d   = $s->daemon;
my $api = $s->api;
my $v1  = '/api/v1';

sub cert { return $s->get("certificates/$_[0]") }

sub listed { return join ' ', sort map { $_->{id} } @{ $s->get("certificates?$_[0]&per_page=100")->{data} } }

sub newest { return (sort { $b->{created_at} cmp $a->{created_at} } $s->versions($_[0]))[0] }

# The report of the host has the newest version.
sub reported {
    my ($id) = @_;
    my $print = newest($id)->{fingerprint_sha256};
    return ok wait_until(30, sub { return $s->get("discovered-certificates?fingerprint_sha256=$print")->{total} }), 'the host reports it';
}

sub crl {
    my $file = $d->dir . '/crl.der';
    write_file($file, $api->get('/.well-known/pki/crl/iss-local')->{content});
    return scalar `openssl crl -inform DER -noout -text -in '$file'`;
}

# made and issued by one request
my $first = created($api, "$v1/targets", { name => 'shop', agent_id => $s->agent, config => { record => 'shop.example' } })->{id};
my $shop  = created($api, "$v1/certificates", { common_name => 'shop.example', issuer_id => 'iss-local', target_ids => [$first], renew => $true })->{id};
my $was = $s->deployed($shop);

subtest 'a change of names or key is shown until it is deployed' => sub {
    is_deeply($was->{pending_changes}, [], 'none after a renewal');
    refused($api->post("$v1/certificates", { common_name => 'no.example', issuer_id => 'iss-local', renew => $true }), 422, qr/no enabled deployment target/,
        'one that cannot be issued is not made with "renew"');
    is(sql($d, q{SELECT count(*) FROM managed_certificates WHERE common_name = 'no.example'}), 0, 'at all');
    my $before = $s->shown('shop.example')->{fingerprint};
    my $c      = $api->patch("$v1/certificates/$shop", { sans => ['www.shop.example', 'SHOP.example'], key_type => 'ec-p384' })->{json};

    is_deeply($c->{pending_changes}, ['sans', 'key_type'], 'names and key type');
    is($c->{status}, 'Active', 'nothing is renewed for it');
    is($s->shown('shop.example')->{fingerprint}, $before, 'and the host serves what it served');
    is(listed('has_pending_changes=true'), $shop, 'it can be listed');
    is(listed('pending_changes=key_type'), $shop, 'by the field');
    is(listed('pending_changes=common_name'), '', 'and only by that');
    $c = $api->patch("$v1/certificates/$shop", { environment => 'test', sans => [], key_type => 'ec-p256' })->{json};
    is_deeply($c->{pending_changes}, [], 'changed back, nothing is pending');

    my $r = $api->patch("$v1/certificates/$shop", { sans => ['www.shop.example'], key_type => 'ec-p384', renew => $true });
    is($r->{status}, 200, 'with "renew"') or diag($r->{content});
    is($r->{json}{status}, 'RenewalInProgress', 'a renewal begins');
    is(sql($d, "SELECT details ->> 'job_id' = (SELECT job_id FROM renewal_attempts WHERE certificate_id = '$shop' ORDER BY created_at DESC LIMIT 1)
        FROM audit_events WHERE resource_id = '$shop' AND action = 'certificate_updated' ORDER BY seq DESC LIMIT 1"), 't', 'which the audit trail names');
    my $now = $s->deployed($shop, after => $was->{last_deployment_at});
    is_deeply($now->{pending_changes}, [], 'then nothing is pending');
    my $shown = $s->shown('www.shop.example');
    is($shown->{fingerprint}, newest($shop)->{fingerprint_sha256}, 'the new name is served');
    is(newest($shop)->{key_algorithm}, 'ec-p384', 'with the new key');

    my $key = created($api, "$v1/auth/keys", { name => 'editor', permissions => ['cert.edit', 'cert.read'] })->{key};
    my $own = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $key);
    refused($own->patch("$v1/certificates/$shop", { environment => 'x', renew => $true }), 403, qr/lacks the permission cert.issue/, 'it needs cert.issue');
    is(cert($shop)->{environment}, 'test', 'and without it nothing is changed');
};

subtest 'revoking ends every version that has not expired' => sub {
    my @serials = sort map { $_->{serial_number} } $s->versions($shop);

    reported($shop);
    my $r = $api->post("$v1/certificates/$shop/revoke", { reason => 'superseded' });
    is(scalar @serials, 2, 'of two versions');
    is_deeply([sort map { $_->{serial_number} } @{ $r->{json}{serials} }], \@serials, 'both are in the answer');
    is($r->{json}{serials}[0]{reason}, 'superseded', 'with the reason');
    is_deeply([map { $_->{fingerprint_sha256} } @{ $r->{json}{still_served} }], [($s->shown('shop.example')->{fingerprint}) x @{ $r->{json}{still_served} }],
        'and what the host still serves');
    ok(scalar @{ $r->{json}{still_served} }, 'which it does');
    is($r->{json}{still_served}[0]{agent_id}, $s->agent, 'on this host');
    my $text = crl();
    like($text, qr/Serial Number: $_\n/i, 'on the CRL') for @serials;
    is(cert($shop)->{has_target}, $false, 'it has no place any more');
};

subtest 'an archived certificate leaves its places and comes back' => sub {
    my $old = $s->certificate('old.example');
    $s->renew($old);
    $s->deployed($old);
    my ($target) = @{ cert($old)->{target_ids} };

    reported($old);
    my $r = $api->delete("$v1/certificates/$old");
    is($r->{status}, 200, 'archived') or diag($r->{content});
    is($r->{json}{still_served}[0]{fingerprint_sha256}, $s->shown('old.example')->{fingerprint}, 'the answer says that it is still served');
    my $c = cert($old);
    is("$c->{status} @{ $c->{target_ids} }", 'Archived ', 'it has no targets');
    ok($c->{archived_at}, 'and a time');
    refused($api->delete("$v1/certificates/$old"), 404, qr/^certificate $old is archived already$/, 'once');
    refused($api->patch("$v1/certificates/$old", { tags => {} }), 409, qr/it cannot be changed; restore it first$/, 'it is not changed');

    my $next = created($api, "$v1/certificates", { common_name => 'old.example', issuer_id => 'iss-local', target_ids => [$target] })->{id};
    $r = $api->post("$v1/certificates/$old/restore");
    refused($r, 409, qr/^certificate $next is deployed to this place/, 'while another has its place it does not come back');
    is_deeply($r->{json}{dependants}, [{ type => 'certificate', id => $next }], 'the other one is named');
    is(cert($old)->{status}, 'Archived', 'and it stays archived');
    is($api->delete("$v1/certificates/$next")->{status}, 204, 'the other one, which no host serves, goes');
    $r = $api->post("$v1/certificates/$old/restore");
    is_deeply($r->{json}, { status => 'restored', target_ids => [$target] }, 'it gets its targets again');
    $c = cert($old);
    is("$c->{status} @{ $c->{target_ids} } " . ($c->{archived_at} // 'undef'), "Active $target undef", 'and its state');
    ok($c->{renew_at}, 'it renews by itself again');
    is_deeply($c->{pending_changes}, [], 'with what was deployed');
    $s->renew($old);
    isnt($s->deployed($old, after => $c->{last_deployment_at})->{last_deployment_at}, $c->{last_deployment_at}, 'and on request');

    is($api->delete("$v1/certificates/$shop")->{status}, 200, 'a revoked one is archived');
    my $text = crl();
    like($text, qr/Serial Number: $_->{serial_number}\n/i, 'its serial numbers stay on the CRL') for $s->versions($shop);
    is($api->post("$v1/certificates/$shop/restore", { target_ids => [] })->{json}{status}, 'restored', 'and restored without targets');
    is(cert($shop)->{status}, 'Revoked', 'it is revoked as before');
    is(join(' ', map { $_->{action} } @{ $s->get("audit?resource_id=$shop")->{data} }[0, 1]), 'certificate_restored certificate_archived', 'audited');

    my $gone = $s->certificate('gone.example');
    my ($dead) = @{ cert($gone)->{target_ids} };
    is($api->delete("$v1/certificates/$gone")->{status}, 204, 'one with a target of its own is archived');
    is($api->delete("$v1/targets/$dead")->{status}, 204, 'then its target may be deleted');
    is_deeply($api->post("$v1/certificates/$gone/restore")->{json}{target_ids}, [], 'and it comes back without');
};

subtest 'what its creator says is in use' => sub {
    my $target = created($api, "$v1/targets", { name => 'said', agent_id => $s->agent, config => { record => 'said.example' } })->{id};
    my %body   = (common_name => 'said.example', issuer_id => 'iss-local', sans => ['www.said.example'], status => 'Active');
    my $r      = $api->post("$v1/certificates", \%body);

    refused($r, 422, qr/^expires_at is required with status Active/, 'needs its end');
    is($r->{json}{errors}[0]{pointer}, '/expires_at', 'with a pointer');
    my $soon = sql($d, q{SELECT to_char(now() AT TIME ZONE 'UTC' + interval '20 days', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')});
    my $late = created($api, "$v1/certificates", { %body, expires_at => sql($d, q{SELECT to_char(now() AT TIME ZONE 'UTC' + interval '70 days', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')}) });
    is_deeply($late->{pending_changes}, [], 'has the names that were said');
    is_deeply($api->patch("$v1/certificates/$late->{id}", { common_name => 'x.said.example' })->{json}{pending_changes}, ['common_name'], 'until they are changed');
    my $c = created($api, "$v1/certificates", { %body, expires_at => $soon, target_ids => [$target] });
    $s->deployed($c->{id});
    is($s->shown('said.example')->{fingerprint}, newest($c->{id})->{fingerprint_sha256}, 'it is renewed when that is due');
};

subtest 'a host is retired by force' => sub {
    my $left = $s->certificate('left.example');
    $s->renew($left);
    $s->deployed($left);
    my ($target) = @{ cert($left)->{target_ids} };
    my $other = created($api, "$v1/agents", { name => 'other', url => 'https://127.0.0.1:9', fingerprint => 'a' x 64 })->{id};
    my $both  = created($api, "$v1/targets", { name => 'other', agent_id => $other, config => { record => '{id}' } })->{id};
    my $two   = created($api, "$v1/certificates", { common_name => 'two.example', issuer_id => 'iss-local',
        target_ids => [created($api, "$v1/targets", { name => 'two', agent_id => $s->agent })->{id}, $both] })->{id};
    my $r     = $api->delete("$v1/agents/" . $s->agent);

    refused($r, 409, qr/not renewed any more/, 'asked first, it says what would be left');
    ok(grep({ $_ eq $left } @{ $r->{json}{without_target} }), 'the certificate');
    ok(!grep({ $_ eq $two } @{ $r->{json}{without_target} }), 'not one that another host has too');
    is($r->{json}{counts}{certificates_without_target}, scalar @{ $r->{json}{without_target} }, 'and how many');
    my $before = cert($left);
    is($before->{has_target}, $true, 'before, it has a target');
    $r = $api->delete("$v1/agents/" . $s->agent . '?force=true&reason=gone');
    is($r->{status}, 200, 'retired') or diag($r->{content});
    ok(grep({ $_ eq $left } @{ $r->{json}{without_target} }), 'the answer lists it');
    is(cert($left)->{has_target}, $false, 'afterwards it has none');
    is(cert($two)->{has_target}, $true, 'the other one has');
    like(listed('has_target=false'), qr/\b$left\b/, 'the list finds it');
    unlike(listed('has_target=true'), qr/\b$left\b/, 'and not among the others');
    cmp_ok($s->get('stats/summary')->{certificates_without_target}, '>=', 1, 'it is counted');
    refused($api->post("$v1/certificates/$left/renew"), 422, qr/no enabled deployment target/, 'it cannot be renewed, with the reason');

    my $retired = $s->get("targets/$target");
    is("$retired->{enabled} $retired->{retired_reason}", "0 gone", 'its target is retired');
    refused($api->patch("$v1/targets/$target", { enabled => $true }), 409, qr/^target $target is retired since \S+Z: it cannot be enabled or moved; create a new target$/, 'and stays so');
    refused($api->patch("$v1/targets/$target", { agent_id => $other }), 409, qr/is retired since/, 'it is not moved');
    refused($api->put("$v1/targets/$target", { name => 'x', agent_id => $other }), 409, qr/is retired since/, 'nor replaced');
    is($s->get("targets/$target")->{retired_at}, $retired->{retired_at}, 'since then');
    $r = $api->patch("$v1/certificates/$left", { target_ids => [$target] });
    refused($r, 422, qr/target $target was retired on .*: name one that is served$/, 'nothing is mapped to it');
    is($r->{json}{errors}[0]{pointer}, '/target_ids', 'with a pointer');
    is($s->get("targets/$target")->{id}, $target, 'it is known still');

    # the host comes back, and what it serves is adopted under the names of before
    is($s->{agent} = $s->register, $s->{agent}, 'the host is registered again');
    my $fresh = created($api, "$v1/targets", { name => $retired->{name}, agent_id => $s->agent, config => { record => 'left.example' } });
    isnt($fresh->{id}, $target, 'a new target has the name of the retired one');
    is($api->patch("$v1/certificates/$left", { target_ids => [$fresh->{id}] })->{json}{has_target}, $true, 'and takes the certificate');
    $s->renew($left);
    isnt($s->deployed($left, after => $before->{last_deployment_at})->{last_deployment_at}, $before->{last_deployment_at}, 'which is renewed there');
};

subtest 'failed jobs are those of a day' => sub {
    my $failed = $s->get('stats/summary')->{failed_jobs};
    my $since  = sql($d, q{SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')});

    sql($d, "INSERT INTO job_history (id, type, status, subject, data, priority, attempts, max_attempts, requested_by, epoch, scheduled_at, created_at, completed_at)
        SELECT 'job-' || n, 'Renewal', 'Failed', 'x', '{}', 0, 1, 1, 'test', 1, now(), now(), now() - n * interval '23 hours' FROM generate_series(1, 2) n");
    is($s->get('stats/summary')->{failed_jobs}, $failed + 1, 'one that failed 23 hours ago counts, one of 46 hours does not');
    is($s->get("jobs?status=Failed&completed_after=$since")->{total}, $failed + 1, 'the list has the same');
};

is $s->stop, 0, 'the daemon ends well';
done_testing();
