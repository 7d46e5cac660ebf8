#!/usr/bin/perl
# What a renewal policy decides, seen on a real host: whose issuer signs, how often,
# what a person's click changes, and that a renewal is never older than what it
# replaces.

use strict;
use warnings;
use Certctl::API qw(refused sql);
use Certctl::PKI qw(fingerprint);
use Certctl::Process 'wait_until';
use Certctl::Story;
use POSIX 'strftime';
use Test::More;

my $s = Certctl::Story->new(register => 0, names => [qw(own.example policy.example often.example short.example click.example)],
    config => "inventory_interval = 1\nrenewal_interval = 1\n");
my $api = $s->api;
my $v1  = '/api/v1';
my $file;

fresh_file();
$s->{agent} = $s->register;

subtest 'a file that was issued a moment ago is adopted and replaced' => \&adopted;
subtest 'the issuer of the certificate, else the one of its policy' => \&issuers;
subtest 'a renewal that waits outlives its policy' => \&outlives;
subtest 'the daily limit' => \&limit;
subtest 'short-lived certificates are issued as often as they need' => \&short;
subtest 'a click that fails leaves the schedule alone' => \&click;

is $s->stop, 0, 'the daemon ends well';
done_testing();

# notBefore is now: no CA has to backdate.
sub fresh_file {
    my ($crt, $key) = Certctl::PKI->ca('Some CA')->issue(names => ['fresh.example'], days => 20, from => 0);

    $file = fingerprint($crt);
    $s->nginx->file('fresh.pem', $crt);
    $s->nginx->file('fresh.key', $key);
    $s->{servers} = <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name fresh.example;
        certctl on;
        ssl_certificate     %%DIR%%/fresh.pem;
        ssl_certificate_key %%DIR%%/fresh.key;
    }
CONF
    $s->configure;
    $s->nginx->reload;
    return;
}

sub newest {
    my ($id) = @_;
    my ($row) = sort { $b->{created_at} cmp $a->{created_at} } $s->versions($id);
    return $row;
}

sub adopted {
    my $row;

    ok wait_until(30, sub {
        ($row) = grep { $_->{fingerprint_sha256} eq $file } @{ $s->get('discovered-certificates?per_page=500')->{data} };
        return $row;
    }), 'the file is seen';
    is $s->shown('fresh.example')->{fingerprint}, $file, 'and served';

    my $id = $s->post("discovered-certificates/$row->{id}/claim")->{managed_certificate_id};
    is $s->get("certificates/$id")->{status}, 'Active', 'claimed: 20 days of 20 are left';
    $s->renew($id);
    $s->deployed($id, after => '2');
    is $s->shown('fresh.example')->{fingerprint}, newest($id)->{fingerprint_sha256}, 'the renewal is served';
    cmp_ok newest($id)->{not_before}, 'ge', $row->{not_before}, 'which does not begin before the file';
    like $s->get("certificates/$id/renewals")->{data}[0]{status}, qr/^completed$/, 'the renewal is complete';

    my $before = newest($id);
    $s->renew($id);
    $s->deployed($id, after => $s->get("certificates/$id")->{last_deployment_at});
    cmp_ok newest($id)->{not_before}, 'ge', $before->{not_before}, 'nor the next one before this one';
    return;
}

sub issuers {
    $s->post('issuers', { id => 'iss-b', name => 'Other CA', type => 'local' });
    $s->post('renewal-policies', { id => 'rp-b', name => 'B', issuer_id => 'iss-b' });
    my $own    = $s->certificate('own.example', renewal_policy_id => 'rp-b');
    my $policy = $s->certificate('policy.example', renewal_policy_id => 'rp-b', issuer_id => undef);

    $s->renew($_) for $own, $policy;
    $s->deployed($_) for $own, $policy;
    is newest($own)->{issuer_id}, 'iss-local', 'its own';
    is newest($policy)->{issuer_id}, 'iss-b', 'the one of the policy';
    is $s->shown('policy.example')->{fingerprint}, newest($policy)->{fingerprint_sha256}, 'which is served';
    return;
}

# The renewal waits because the host is away.
sub outlives {
    $s->post('organizations', { id => 'org-p', name => 'P' });
    $s->post('renewal-policies', { id => 'rp-p', name => 'P', organization_id => 'org-p', issuer_id => 'iss-b' });
    $s->post('targets', { id => 'tgt-p', name => 'p', agent_id => $s->agent, config => { record => 'policy.example.p' } });
    my $id = $s->post('certificates', { common_name => 'policy.example', organization_id => 'org-p', target_ids => ['tgt-p'] })->{id};

    sql($s->daemon, q{CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.scheduled_at := now() + interval ''1 hour''; RETURN NEW; END';
        CREATE TRIGGER later BEFORE INSERT ON jobs FOR EACH ROW WHEN (NEW.type IN ('Issuance', 'Renewal')) EXECUTE FUNCTION later()});
    my $job = $s->renew($id)->{job_id};
    sql($s->daemon, 'DROP TRIGGER later ON jobs; DROP FUNCTION later()');

    my $r = $api->delete("$v1/renewal-policies/rp-p");
    is $r->{status}, 200, 'the policy is deleted while the renewal waits';
    is $s->get("certificates/$id/renewals")->{data}[0]{status}, 'pending', 'which stays';
    sql($s->daemon, "UPDATE jobs SET scheduled_at = now() WHERE id = '$job'");
    ok wait_until(40, sub { return $s->versions($id) }), 'it goes on' or diag $s->events;
    is newest($id)->{issuer_id}, 'iss-b', 'with the issuer that the policy named';
    wait_until(40, sub { return !@{ $s->open_jobs($id) } });

    $r = $api->post("$v1/certificates/$id/renew", {});
    refused($r, 422, qr/neither the certificate nor renewal policy rp-default names an issuer/, 'the next one has none');
    return;
}

sub limit {
    my $id = $s->certificate('often.example');
    my $row;

    for (1 .. 3) {
        $s->renew($id);
        $row = $s->deployed($id, after => $row->{last_deployment_at});
    }

    my $r = $api->post("$v1/certificates/$id/renew", {});
    refused($r, 429, qr/was issued 3 times within 24 hours: at most 3 are allowed \(max_issuances_per_day\)/, 'the fourth is refused at once');
    cmp_ok abs($r->{headers}{'retry-after'} - 86400), '<', 120, 'Retry-After: when the first one is a day old';
    refused($api->post("$v1/certificates/$id/renew", { force => \1 }), 429, qr/at most 3/, 'also by force');

    my $after = $s->get("certificates/$id");
    is $after->{status}, 'Active', 'the certificate is as it was';
    is_deeply [@$after{qw(renew_at next_retry_at consecutive_failures)}], [@$row{qw(renew_at next_retry_at consecutive_failures)}], 'and its schedule';
    is $s->get("certificates/$id/renewals")->{total}, 3, 'nothing was tried';

    # what people asked for takes nothing from the schedule
    sql($s->daemon, "UPDATE managed_certificates SET renew_at = now() WHERE id = '$id'");
    $row = $s->deployed($id, after => $row->{last_deployment_at});
    is newest($id)->{fingerprint_sha256}, $s->shown('often.example')->{fingerprint}, 'what is due is renewed all the same';
    my ($last) = @{ $s->get("certificates/$id/renewals")->{data} };
    is_deeply [@$last{qw(status requested_by)}], ['completed', 'system'], 'by the schedule';

    # the oldest two of them leave the day
    sql($s->daemon, "UPDATE certificate_versions SET created_at = created_at - interval '1 day' WHERE id IN (SELECT id FROM certificate_versions
        WHERE certificate_id = '$id' ORDER BY created_at LIMIT 2)");
    is $s->renew($id)->{status}, 'renewal_triggered', 'a day later it is not';
    $s->deployed($id, after => $row->{last_deployment_at});
    return;
}

sub short {
    $s->post('profiles', { id => 'prof-five', name => 'Five minutes', max_ttl_seconds => 300 });
    my $id = $s->certificate('short.example', certificate_profile_id => 'prof-five');
    my $row;

    for (1 .. 5) {
        $s->renew($id);
        $row = $s->deployed($id, after => $row->{last_deployment_at});
    }

    is scalar($s->versions($id)), 5, 'a certificate of five minutes is issued more often than three times';
    is $s->get("certificates/$id")->{status}, 'Active', 'and is not Expiring all its life';
    is sql($s->daemon, "SELECT issuance_limit('$id', 3)"), 3 + 2 * 86400 / 300, 'there is a limit still';
    return;
}

sub click {
    my $id = $s->certificate('click.example');

    $s->renew($id);
    my $was = $s->deployed($id);

    # the schedule has failed twice, and tries again in an hour
    sql($s->daemon, "UPDATE managed_certificates SET consecutive_failures = 2, next_retry_at = date_trunc('second', now()) + interval '1 hour' WHERE id = '$id'");
    my @schedule = @{ $s->get("certificates/$id") }{qw(renew_at next_retry_at consecutive_failures)};

    $s->nginx->stop;
    $s->renew($id);
    ok wait_until(60, sub { return $s->get("certificates/$id/renewals")->{data}[0]{status} eq 'failed' }), 'a person asks, and it fails' or diag $s->events;
    is_deeply [@{ $s->get("certificates/$id") }{qw(renew_at next_retry_at consecutive_failures)}], \@schedule, 'the schedule is as it was';
    is $s->get("certificates/$id")->{status}, 'Active', 'and so is the status';

    # what the schedule tries itself is counted
    sql($s->daemon, "UPDATE managed_certificates SET next_retry_at = now(), renew_at = now() WHERE id = '$id'");
    ok wait_until(90, sub { return $s->get("certificates/$id")->{consecutive_failures} == 3 }), 'its own failures are counted' or diag $s->events;
    cmp_ok $s->get("certificates/$id")->{next_retry_at}, 'gt', strftime('%Y-%m-%dT%H:%M', gmtime(time + 1800)), 'and the next try is known: in hours';
    $s->nginx->start;
    return;
}
