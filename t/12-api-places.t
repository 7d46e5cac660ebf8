#!/usr/bin/perl
# A place where a certificate is served, a record of an agent or a file on its
# host, belongs to one live certificate; a policy's targets are shared without
# sharing a place.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $n   = 0;

sub target {
    my ($id, %config) = @_;
    my $type = $config{cert_path} ? 'nginx' : 'nginx-module';

    return created($api, "$v1/targets", { id => $id, name => $id, type => $type, agent_id => 'ag-a', config => \%config });
}

sub certificate {
    my ($id, $name, @targets) = @_;

    return $api->post("$v1/certificates", { id => $id, common_name => $name, issuer_id => 'iss-local', target_ids => \@targets });
}

# 409 that names the certificate whose place it is, as an object too.
sub taken {
    my ($r, $owner, $place, $name) = @_;

    refused($r, 409, qr/^certificate $owner is deployed to this place: $place of agent ag-a$/, $name);
    is_deeply($r->{json}{dependants}, [{ type => 'certificate', id => $owner }], 'it is a dependant');
}

sub places {
    return sql($d, "SELECT string_agg(certificate_id || '=' || coalesce(place, '-'), ' ' ORDER BY certificate_id, place)
        FROM certificate_target_mappings");
}

created($api, "$v1/agents", { id => 'ag-a', name => 'a', url => 'https://127.0.0.1:9', fingerprint => 'a' x 64 });
created($api, "$v1/agents", { id => 'ag-b', name => 'b', url => 'https://127.0.0.1:10', fingerprint => 'b' x 64 });

subtest 'a second certificate for a place is refused' => sub {
    target('tgt-any');
    target('tgt-fixed', record => 'Shop');
    target('tgt-same', record => 'shop');
    is(certificate('mc-1', 'one.example.com', 'tgt-any', 'tgt-fixed')->{status}, 201, 'the first');
    taken(certificate('mc-2', 'two.example.com', 'tgt-fixed'), 'mc-1', 'record "shop"', 'at creation');
    is($api->get("$v1/certificates/mc-2")->{status}, 404, 'nothing of it is kept');
    taken(certificate('mc-2', 'two.example.com', 'tgt-same'), 'mc-1', 'record "shop"', 'by another target');
    refused(certificate('mc-2', 'two.example.com', 'tgt-fixed', 'tgt-same'), 409, qr/certificate mc-1 is/, 'by two');

    is(certificate('mc-2', 'two.example.com', 'tgt-any')->{status}, 201, 'one target, another place');
    taken($api->patch("$v1/certificates/mc-2", { target_ids => ['tgt-any', 'tgt-fixed'] }), 'mc-1', 'record "shop"', 'by its targets');
    taken($api->patch("$v1/certificates/mc-2", { common_name => 'ONE.example.com' }), 'mc-1', 'record "one.example.com"',
        'by its name, in any letter case');
    refused($api->patch("$v1/certificates/mc-1", { target_ids => ['tgt-any', 'tgt-fixed', 'tgt-same'] }), 409,
        qr/^two targets of certificate mc-1 are at one place: record "shop"/, 'twice by itself');
    refused($api->patch("$v1/targets/tgt-any", { config => { record => 'fixed' } }), 409,
        qr/^certificate mc-\d is deployed to this place: record "fixed"/, 'two at once');
    is(places(), 'mc-1=one.example.com mc-1=shop mc-2=two.example.com', 'each has its own');
};

subtest 'a target that moves takes no place' => sub {
    target('tgt-two', record => 'other');
    created($api, "$v1/targets", { id => 'tgt-b', name => 'b', agent_id => 'ag-b', config => { record => 'shop' } });
    is(certificate('mc-3', 'three.example.com', 'tgt-two')->{status}, 201, 'another record');
    taken($api->patch("$v1/targets/tgt-two", { config => { record => 'shop' } }), 'mc-1', 'record "shop"', 'by its configuration');
    is($api->patch("$v1/certificates/mc-3", { target_ids => ['tgt-b'] })->{status}, 200, 'the same record of another agent');
    taken($api->patch("$v1/targets/tgt-b", { agent_id => 'ag-a' }), 'mc-1', 'record "shop"', 'by its agent');
    is($api->patch("$v1/targets/tgt-b", { config => { record => 'x-{id}' } })->{status}, 200, 'its own');
    is(places(), 'mc-1=one.example.com mc-1=shop mc-2=two.example.com mc-3=x-mc-3', 'the id in it');
};

subtest 'files are places too' => sub {
    target('tgt-f1', cert_path => '/etc/ssl/{common_name}.pem');
    target('tgt-f2', cert_path => '/etc//ssl/./one.example.com.pem');
    is($api->patch("$v1/certificates/mc-1", { target_ids => ['tgt-any', 'tgt-fixed', 'tgt-f1'] })->{status}, 200, 'a file');
    taken(certificate('mc-4', 'four.example.com', 'tgt-f2'), 'mc-1', 'path "/etc/ssl/one.example.com.pem"', 'the same file');

    my @same = ('/etc/ssl/x/../one.example.com.pem', '/../etc/./x/y/../../ssl//one.example.com.pem', '/etc/ssl/one.example.com.pem/.');
    for my $i (0 .. $#same) {
        target("tgt-g$i", cert_path => $same[$i]);
        taken(certificate('mc-4', 'four.example.com', "tgt-g$i"), 'mc-1', 'path "/etc/ssl/one.example.com.pem"', $same[$i]);
    }
    for my $other ('/etc/ssl/..one.example.com.pem', '/etc/ssl/one.example.com.pem..', '/etc/ssl/.../one.example.com.pem') {
        is(sql($d, "SELECT path_resolved('$other')"), $other, "$other is another");
    }
};

subtest 'an archived or revoked certificate gives its places back' => sub {
    is($api->post("$v1/certificates/mc-1/revoke", {})->{status}, 200, 'revoked');
    refused($api->post("$v1/certificates/mc-1/deploy", {}), 409, qr/^certificate mc-1 is Revoked: it cannot be deployed; create a new certificate$/, 'it is not deployed');
    is(certificate('mc-5', 'one.example.com', 'tgt-any', 'tgt-fixed')->{status}, 201, 'its successor');
    is($api->delete("$v1/certificates/mc-5")->{status}, 204, 'archived');
    is(certificate('mc-6', 'one.example.com', 'tgt-any', 'tgt-fixed')->{status}, 201, 'the next');
};

subtest 'of two requests at once, one gets the place' => sub {
    for my $round (1 .. 5) {
        my $record = "race-$round";
        target("tgt-race-$round", record => $record);
        my @pipes = map {
            my $name = "$round-$_";
            my $pid  = open(my $out, '-|') // die "fork: $!";
            if (!$pid) {
                my $own = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $d->key);
                my $r   = $own->post("$v1/certificates", { id => "mc-race-$name", common_name => "r$name.example.com",
                    issuer_id => 'iss-local', target_ids => ["tgt-race-$round"] });
                print $r->{status}, ' ', ($r->{json}{dependants}[0]{id} // ''), "\n";
                close STDOUT;
                require POSIX;
                POSIX::_exit(0);
            }
            $out;
        } 1 .. 4;
        my @said   = map { my $line = readline $_; close $_; chomp $line; $line } @pipes;
        my ($held) = sql($d, "SELECT certificate_id FROM certificate_target_mappings WHERE place = '$record'");

        is(join(',', sort @said), join(',', '201 ', ("409 $held") x 3), "round $round");
    }
};

subtest 'targets of a policy' => sub {
    my $policy = "$v1/renewal-policies/rp-shared";
    my $r      = $api->post("$v1/renewal-policies", { id => 'rp-shared', name => 'Shared', default_target_ids => ['tgt-any', 'tgt-fixed'] });

    refused($r, 422, qr/^the record of target tgt-fixed must contain \{id\} or \{common_name\}/, 'a fixed record');
    is($r->{json}{errors}[0]{pointer}, '/default_target_ids/1', 'is pointed to');
    $r = $api->post("$v1/renewal-policies", { id => 'rp-shared', name => 'Shared', default_target_ids => ['tgt-f2'] });
    refused($r, 422, qr/^the cert_path of target tgt-f2 must/, 'a fixed path');
    $r = $api->post("$v1/renewal-policies", { id => 'rp-shared', name => 'Shared', default_target_ids => ['tgt-no'] });
    refused($r, 422, qr/^target "tgt-no" does not exist$/, 'no target');
    is($r->{json}{errors}[0]{pointer}, '/default_target_ids/0', 'is pointed to');

    my $made = created($api, "$v1/renewal-policies", { id => 'rp-shared', name => 'Shared', default_target_ids => ['tgt-b', 'tgt-f1', 'tgt-b'] });
    is_deeply($made->{default_target_ids}, ['tgt-b', 'tgt-f1', 'tgt-b'], 'two');
    for my $id ('mc-d1', 'mc-d2') {
        my $c = created($api, "$v1/certificates", { id => $id, common_name => "$id.example.com", issuer_id => 'iss-local',
            renewal_policy_id => 'rp-shared' });
        is_deeply($c->{target_ids}, ['tgt-b', 'tgt-f1'], "$id gets them");
    }
    $made = created($api, "$v1/certificates", { id => 'mc-d3', common_name => 'd3.example.com', issuer_id => 'iss-local',
        renewal_policy_id => 'rp-shared', target_ids => ['tgt-any'] });
    is_deeply($made->{target_ids}, ['tgt-any'], 'one with a target keeps that');
    is($api->patch("$v1/certificates/mc-d3", { target_ids => [] })->{status}, 200, 'later it may have none');
    is_deeply($api->get("$v1/certificates/mc-d3")->{json}{target_ids}, [], 'and none it is');
    $r = $api->patch("$v1/targets/tgt-b", { config => { record => 'x' } });
    refused($r, 422, qr/^renewal policy rp-shared gives this target to many certificates/, 'the target stays shared');
    is($r->{json}{errors}[0]{pointer}, '/config/record', 'with its pointer');

    created($api, "$v1/targets", { id => 'tgt-free', name => 'free', agent_id => 'ag-b', config => { record => '{id}.f' } });
    is_deeply($api->patch($policy, { default_target_ids => ['tgt-free'] })->{json}{default_target_ids}, ['tgt-free'], 'PATCH');
    $r = $api->delete("$v1/targets/tgt-free");
    refused($r, 409, qr/renewal.polic/, 'a target of a policy stays');
    is_deeply($api->put($policy, { name => 'Shared' })->{json}{default_target_ids}, [], 'PUT without');
    is($api->delete("$v1/targets/tgt-free")->{status}, 204, 'now it goes');

    is($api->patch("$v1/renewal-policies/rp-default", { default_target_ids => ['tgt-any'] })->{status}, 200, 'the default policy');
    $made = created($api, "$v1/certificates", { id => 'mc-d4', common_name => 'd4.example.com', issuer_id => 'iss-local' });
    is_deeply($made->{target_ids}, ['tgt-any'], 'serves those that name none');
};

# A database of before, in which two certificates have one place.
subtest 'what is there already' => sub {
    my @command = ('psql', '-h', $d->data . '/postgresql', '-U', 'certctl', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-1');
    my $run     = sub {
        open my $out, '-|', @command, '-d', 'before', @_ or die "psql: $!";
        my $said = do { local $/; <$out> };
        ok(close $out, 'psql ' . ($_[1] =~ s{.*/}{}r));
        return $said;
    };

    sql($d, 'CREATE DATABASE before');
    $run->('-f', $_) for grep { !m{/(?:0009|00[12]\d)_} } glob 'sql/schema/*.sql';
    $run->('-c', <<'SQL');
INSERT INTO issuers (id, name, type) VALUES ('iss', 'iss', 'local');
INSERT INTO agents (id, name, url) VALUES ('ag', 'ag', 'https://h:1');
INSERT INTO deployment_targets (id, name, agent_id, config) VALUES ('tgt-1', '1', 'ag', '{"record": "x"}'), ('tgt-2', '2', 'ag', '{"record": "X"}'),
    ('tgt-3', '3', 'ag', '{}');
INSERT INTO managed_certificates (id, name, common_name, issuer_id, status, last_deployment_at) VALUES
    ('mc-old', 'a', 'a', 'iss', 'Active', '2026-01-01'), ('mc-new', 'b', 'b', 'iss', 'Active', '2026-02-01'),
    ('mc-never', 'c', 'c', 'iss', 'Pending', NULL), ('mc-gone', 'd', 'd', 'iss', 'Archived', '2026-03-01');
INSERT INTO certificate_target_mappings (certificate_id, target_id) VALUES ('mc-old', 'tgt-1'), ('mc-new', 'tgt-2'), ('mc-never', 'tgt-1'), ('mc-gone', 'tgt-1'),
    ('mc-old', 'tgt-3'), ('mc-new', 'tgt-1');
INSERT INTO jobs (type, subject, certificate_id, target_id) VALUES ('Deployment', 'mc-old/tgt-1', 'mc-old', 'tgt-1'),
    ('Deployment', 'mc-new/tgt-1', 'mc-new', 'tgt-1');
SQL
    $run->('-f', $_) for glob 'sql/schema/0009_*.sql';
    is($run->('-c', "SELECT certificate_id, target_id, place FROM certificate_target_mappings ORDER BY 1, 2"),
        "mc-gone|tgt-1|\nmc-new|tgt-1|x\nmc-old|tgt-3|a\n", 'the one that was deployed last has it');
    is($run->('-c', "SELECT resource_id, details->>'target_id', details->>'certificate_id_of_place' FROM audit_events ORDER BY 1, 2"),
        "mc-never|tgt-1|mc-new\nmc-new|tgt-2|mc-new\nmc-old|tgt-1|mc-new\n", 'the others are in the audit');
    is($run->('-c', 'SELECT certificate_id FROM jobs'), "mc-new\n", 'and deploy there no more');
    is($run->('-c', 'SELECT status, last_error FROM job_history'), "Cancelled|the certificate was taken off the target\n", 'as the history says');
};

done_testing();
