#!/usr/bin/perl
# Every action on a certificate asks its state: each action in each state, as the
# API answers it.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process qw(slurp wait_until);
use IO::Handle;
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $n   = 0;

my @states = qw(Pending Active Expiring Expired RenewalInProgress Failed Revoked Archived);

# What is answered in each of them.
my %answers = (
    renew   => [202, 202, 202, 202, 409, 202, 409, 409],
    force   => [202, 202, 202, 202, 202, 202, 409, 409],
    deploy  => [202, 202, 202, 202, 202, 202, 409, 409],
    revoke  => [200, 200, 200, 200, 200, 200, 409, 409],
    archive => [204, 204, 204, 204, 204, 204, 204, 404],
    restore => [409, 409, 409, 409, 409, 409, 409, 200],
    change  => [200, 200, 200, 200, 200, 200, 200, 409],
    put     => [200, 200, 200, 200, 200, 200, 200, 409],
    claim   => [200, 200, 200, 200, 200, 200, 409, 409],
);

my %action = (
    renew   => sub { $api->post("$v1/certificates/$_[0]/renew") },
    force   => sub { $api->post("$v1/certificates/$_[0]/renew?force=true") },
    deploy  => sub { $api->post("$v1/certificates/$_[0]/deploy") },
    revoke  => sub { $api->post("$v1/certificates/$_[0]/revoke") },
    archive => sub { $api->delete("$v1/certificates/$_[0]") },
    restore => sub { $api->post("$v1/certificates/$_[0]/restore") },
    change  => sub { $api->patch("$v1/certificates/$_[0]", { sans => ['www.example.com'] }) },
    put     => sub { $api->put("$v1/certificates/$_[0]", { common_name => "$_[0].example.com", issuer_id => 'iss-local', target_ids => ['tgt-a'] }) },
    claim   => sub { $api->post("$v1/discovered-certificates/" . observed($_[0]) . '/claim', { managed_certificate_id => $_[0] }) },
);

# Rows of states.c that only the controller itself causes.
my %own   = map { $_ => 1 } qw(cancel fail date);
my ($rows) = slurp('controller/core/states.c') =~ /certificate_transitions\[\] = \{\n(.*?)NULL, NULL, NULL/s;
my %known = map { $_ => 1 } grep { !$own{$_} } $rows =~ /\{ "\w+", "(\w+)"/g;
is(join(' ', sort keys %known), join(' ', sort grep { $_ ne 'force' && $_ ne 'put' } keys %answers), 'every action is tried');

# Nobody answers there, and nobody asks: what is begun stays open.
created($api, "$v1/agents", { id => 'ag-a', name => 'a', url => 'https://127.0.0.1:9', fingerprint => 'a' x 64 });
created($api, "$v1/targets", { id => 'tgt-a', name => 'a', agent_id => 'ag-a', config => { record => '{id}' } });
sql($d, q{CREATE FUNCTION far() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.scheduled_at := 'infinity'; RETURN NEW; END $$});
sql($d, 'CREATE TRIGGER far BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION far()');

for my $action (sort keys %answers) {
    subtest $action => sub {
        for my $i (0 .. $#states) {
            my $id   = certificate($states[$i], $action);
            my $r    = $action{$action}->($id);
            my $want = $answers{$action}[$i];

            is($r->{status}, $want, "$states[$i]: $want") or diag($r->{content});
            next if $want < 300;
            is(sql($d, "SELECT status, (SELECT count(*) FROM jobs j WHERE j.certificate_id = c.id) FROM managed_certificates c WHERE id = '$id'"),
                "$states[$i]|" . ($states[$i] eq 'RenewalInProgress' || 0), "$states[$i]: it stays so, and nothing is begun");
            like($r->{json}{detail}, qr/\Q$id\E/, "$states[$i]: it is named");
            like($r->{json}{detail}, qr/; create a new certificate$/, 'what to do instead') if $states[$i] eq 'Revoked' && $want == 409 && $action ne 'restore';
            like($r->{json}{detail}, qr/; restore it first$/, 'what to do first') if $states[$i] eq 'Archived' && $want == 409;
        }
    };
}

subtest 'an action on nothing' => sub {
    refused($action{$_}->('mc-none'), 404, qr/certificate/, $_) for grep { $_ ne 'claim' } sort keys %action;
};

subtest 'what is open ends with the certificate, with the reason' => sub {
    for my $case (['revoke', 'the certificate was revoked'], ['archive', 'the certificate was archived']) {
        my ($action, $why) = @$case;
        my $id = certificate('Active', $action);

        is($action{renew}->($id)->{status}, 202, 'a renewal');
        is($action{deploy}->($id)->{status}, 202, 'a deployment');
        sql($d, "INSERT INTO orders (attempt_id, certificate_id, target_id, issuer_id, key_type, sans)
            SELECT attempt_id, certificate_id, 'tgt-a', 'iss-local', 'ec-p256', 'DNS:x' FROM jobs WHERE certificate_id = '$id' AND type = 'Renewal'");
        sql($d, "UPDATE jobs SET status = 'Running', lease_until = 'infinity', worker = 'other' WHERE certificate_id = '$id' AND type = 'Renewal'");
        like($action{$action}->($id)->{status}, qr/^20/, $action);
        is(sql($d, "SELECT string_agg(type || ' ' || status || ': ' || last_error, ', ' ORDER BY type) FROM job_history WHERE certificate_id = '$id'"),
            "Deployment Cancelled: $why, Renewal Cancelled: $why", 'both jobs are cancelled, the one that is running too');
        is(sql($d, "SELECT status || ': ' || error FROM renewal_attempts WHERE certificate_id = '$id'"), "failed: $why", 'so is the attempt');
        is(sql($d, "SELECT state || ': ' || last_error FROM orders WHERE certificate_id = '$id'"), "failed: $why", 'and the order, which no CA knows')
            if $action eq 'archive';
    }
};

subtest 'a version of before does not end a renewal when it is deployed again' => sub {
    my $id = certificate('Active', 'again');

    sql($d, "INSERT INTO renewal_attempts (id, certificate_id, method, requested_by, status) VALUES ('ra-$id', '$id', 'issuer', 'test', 'completed')");
    sql($d, "INSERT INTO orders (id, attempt_id, certificate_id, target_id, issuer_id, key_type, sans, state, version_id)
        VALUES ('ord-$id', 'ra-$id', '$id', 'tgt-a', 'iss-local', 'ec-p256', 'DNS:x', 'deployed', 'cv-$id')");
    is($action{renew}->($id)->{status}, 202, 'a renewal is open');
    my ($done) = slurp('sql/query/core.sql') =~ /^-- name: deployment_done\n(.*?);\n/ms;
    $done =~ s/\$1/'cv-$id'/g;
    is(sql($d, $done), "$id|RenewalInProgress", 'the renewal stays open');
};

# A worker stores what the CA has issued while a request revokes: whoever is first,
# the version is revoked and nothing deploys it.
for my $first ('the version', 'the revocation') {
    subtest "$first comes first" => sub {
        my $id = certificate('Active', 'race');

        is($action{renew}->($id)->{status}, 202, 'a renewal');
        sql($d, "INSERT INTO orders (id, attempt_id, certificate_id, target_id, issuer_id, key_type, sans, state, csr_pem)
            SELECT 'ord-$id', attempt_id, certificate_id, 'tgt-a', 'iss-local', 'ec-p256', 'DNS:x', 'ready', 'x' FROM jobs WHERE certificate_id = '$id'");
        sql($d, "UPDATE jobs SET status = 'Running', lease_until = 'infinity', worker = 'other' WHERE certificate_id = '$id'");
        my ($issued) = slurp('sql/query/core.sql') =~ /^-- name: order_issued\n(.*?);\n/ms;
        my @value = ("ord-$id", "serial-$id", time, time + 86400, "print-$id", "spki-$id", '', 'ec-p256', 256, 'system');
        $issued =~ s/\$(\d+)/'$value[$1 - 1]'/g;

        my $lock = $first eq 'the version' ? $issued : "SELECT FROM managed_certificates WHERE id = '$id' FOR UPDATE";
        my $pid = open my $session, '|-', psql() or die "psql: $!";
        $session->autoflush(1);
        print {$session} "BEGIN; $lock;\n";
        ok(wait_until(10, sub { waiting('idle in transaction') eq '1' }), 'it is not committed yet');

        if ($first eq 'the version') {
            my $asked = fork // die "fork: $!";
            if (!$asked) {
                my $r = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $d->key)->post("$v1/certificates/$id/revoke");
                require POSIX;
                POSIX::_exit($r->{status} == 200 ? 0 : 1);
            }
            ok(wait_until(10, sub { blocked() eq '1' }), 'the request waits');
            print {$session} "COMMIT;\n";
            close $session or die "psql: $?";
            waitpid $asked, 0;
            is($?, 0, 'and is answered');
        } else {
            my $worker = open my $other, '|-', psql() or die "psql: $!";
            $other->autoflush(1);
            print {$other} "$issued;\n";
            ok(wait_until(10, sub { blocked() eq '1' }), 'the worker waits');
            print {$session} "UPDATE managed_certificates SET status = 'Revoked', revoked_at = now(), revocation_reason = 'superseded', revocation_code = 4 WHERE id = '$id'; COMMIT;\n";
            close $session or die "psql: $?";
            close $other or die "psql: $?";
        }

        is(status($id), 'Revoked', 'it is revoked');
        is(sql($d, "SELECT count(*) FROM certificate_versions WHERE serial_number = 'serial-$id'"), 1, 'the version is stored');
        is(sql($d, "SELECT count(*) FROM certificate_revocations WHERE serial_number = 'serial-$id'"), 1, 'and revoked');
        is(sql($d, "SELECT count(*) FROM jobs WHERE certificate_id = '$id' AND type = 'Deployment'"), 0, 'no job deploys it');
        is(sql($d, "SELECT count(*) FROM jobs WHERE certificate_id = '$id' AND type = 'Revocation'"), 1, 'one tells its CA');
    };
}

# A database of before: what archived and revoked certificates had.
subtest 'what is there already' => sub {
    my @load = (psql(), '-1', '-d', 'before');
    my $run  = sub { is(system(@load, @_), 0, 'psql ' . ($_[1] =~ s{\n.*}{}sr =~ s{.*/}{}r)) };

    sql($d, 'CREATE DATABASE before');
    $run->('-c', slurp('sql/query/migration.sql') =~ /(CREATE TABLE .*?;)/s);
    $run->('-f', $_) for grep { m{/(\d{4})_} && $1 < 20 } sort glob 'sql/schema/*.sql';
    $run->('-c', <<'SQL');
INSERT INTO issuers (id, name, type) VALUES ('iss', 'iss', 'local');
INSERT INTO agents (id, name, url) VALUES ('ag', 'ag', 'https://h:1');
INSERT INTO deployment_targets (id, name, agent_id, enabled, retired_at) VALUES ('tgt-1', '1', 'ag', true, NULL), ('tgt-2', '2', 'ag', true, now());
INSERT INTO managed_certificates (id, name, common_name, sans, issuer_id, status, expires_at, revoked_at, revocation_reason) VALUES
    ('mc-gone', 'a', 'a', '{}', 'iss', 'Archived', now() + '9 days', NULL, NULL), ('mc-live', 'b', 'b', '{x,c}', 'iss', 'Active', now() + '9 days', NULL, NULL),
    ('mc-bad', 'd', 'd', '{}', 'iss', 'Revoked', now() + '9 days', now(), 'keyCompromise'), ('mc-new', 'e', 'e', '{}', 'iss', 'Pending', NULL, NULL, NULL);
INSERT INTO certificate_target_mappings (certificate_id, target_id) VALUES ('mc-gone', 'tgt-1'), ('mc-live', 'tgt-1');
INSERT INTO certificate_revocations (certificate_id, issuer_id, serial_number, reason, reason_code, not_after, revoked_by)
    VALUES ('mc-bad', 'iss', '1', 'keyCompromise', 1, now() + '9 days', 'x');
INSERT INTO renewal_attempts (id, certificate_id, method, requested_by) VALUES ('ra', 'mc-live', 'issuer', 'x');
INSERT INTO orders (id, attempt_id, certificate_id, target_id, issuer_id, state, key_type, sans, version_id)
    VALUES ('ord', 'ra', 'mc-live', 'tgt-1', 'iss', 'deployed', 'ec-p256', 'DNS:b,DNS:c,DNS:a', 'cv');
INSERT INTO certificate_versions (id, certificate_id, issuer_id, target_id, order_id, serial_number, not_before, not_after, fingerprint_sha256, spki_sha256, pem_chain)
    VALUES ('cv', 'mc-live', 'iss', 'tgt-1', 'ord', '2', now(), now() + '9 days', 'x', 'x', 'x');
SQL
    $run->('-f', glob 'sql/schema/0020_*.sql');
    open my $out, '-|', grep({ $_ ne '/dev/null' && $_ ne '-o' } @load), '-A', '-t', '-c', <<'SQL' or die "psql: $!";
SELECT id, archived_targets, revocation_code, deployed_names, pending_changes, (SELECT string_agg(target_id, ',') FROM certificate_target_mappings m WHERE m.certificate_id = c.id)
  FROM managed_certificates c ORDER BY id;
SELECT id, enabled FROM deployment_targets ORDER BY id;
SQL
    is(do { local $/; <$out> }, "mc-bad|{}|1||{}|\nmc-gone|{tgt-1}|||{}|\nmc-live|{}||DNS:b,DNS:c,DNS:a|{sans}|tgt-1\nmc-new|{}|||{}|\ntgt-1|t\ntgt-2|f\n",
        'targets of archived ones are remembered, what was deployed is compared, retired targets are not enabled');
    ok(close $out, 'psql');
};

done_testing();

sub psql {
    return ('psql', '-h', $d->data . '/postgresql', '-U', 'certctl', '-d', 'postgres', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1');
}

sub waiting { return sql($d, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql' AND state = '$_[0]'") }

sub blocked { return sql($d, q{SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0}) }

# One in that state, with a version and a target; what is open there is open.
sub certificate {
    my ($state, $for) = @_;
    my $id = 'mc-' . ++$n . "-$for";

    created($api, "$v1/certificates", { id => $id, common_name => "$id.example.com", issuer_id => 'iss-local',
        ($state eq 'Archived' ? () : (target_ids => ['tgt-a'])) });
    my $version = "INSERT INTO certificate_versions (id, certificate_id, issuer_id, target_id, serial_number, not_before, not_after, fingerprint_sha256, spki_sha256, pem_chain)
        VALUES ('cv-$id', '$id', 'iss-local', 'tgt-a', '$id', now(), now() + interval '60 days', '$id', '$id', '');";
    $action{renew}->($id) if $state eq 'RenewalInProgress';

    my $expires = { Pending => 'NULL', Failed => 'NULL', Expired => 'now()' }->{$state} // q{now() + interval '60 days'};
    my $revoked = $state eq 'Revoked' ? 'now()' : 'NULL';
    sql($d, "$version SET session_replication_role = replica; UPDATE managed_certificates SET status = '$state', expires_at = $expires, revoked_at = $revoked WHERE id = '$id';"
        . ($state eq 'Revoked' ? "UPDATE certificate_target_mappings SET place = NULL WHERE certificate_id = '$id'" : ''));
    return $id;
}

sub status { return $api->get("$v1/certificates/$_[0]")->{json}{status} }

sub observed {
    my ($id) = @_;
    return sql($d, "INSERT INTO discovered_certificates (fingerprint_sha256, agent_id, place, source, record, common_name, serial_number, issuer_dn, subject_dn, not_before, not_after, pem_data)
        VALUES ('o-$id', 'ag-a', 'x $id', 'static', 'o-$id', 'o.example.com', '1', 'x', 'x', now(), now() + interval '9 days', 'x') RETURNING id");
}
