#!/usr/bin/perl
# Each resource is created, read, changed and deleted, its rules are kept by
# name, every change leaves its audit row, and what is in use stays.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process 'wait_until';
use JSON::PP ();
use Test::More;

# years ahead, whenever this runs
my $may = (gmtime)[5] + 1902 . '-06-01T00:00:00';
my ($true, $false, $null) = (JSON::PP::true, JSON::PP::false, undef);

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';

# what the rows below refer to
created($api, "$v1/organizations", { id => 'org-a', name => 'Org A' });
created($api, "$v1/teams",  { id => 't-a', name => 'Team A', description => 'keeps A' });
created($api, "$v1/owners", { id => 'o-a', name => 'Owner', email => 'o@example.com',
    team_id => 't-a' });
sql($d, q{INSERT INTO agents (id, name, kind) VALUES ('ag-a', 'edge-a', 'pull')});

# path => [least body, whole body, a change, [bad body, status, message] ...]
my %plain = (
    organizations => [
        { name => 'Org B' }, { id => 'org-b', name => 'Org C' }, { name => 'Org D' },
        [{ name => 'Org A' }, 409, qr/an organization of this name exists/],
    ],
    teams => [
        { name => 'Team B' },
        { id => 't-b', name => 'Team C', description => 'all of it' },
        { description => 'less' },
        [{ name => 'Team A' }, 409, qr/a team of this name exists/],
        [{ id => 't-a', name => 'Team Z' }, 409, qr/an object of this id exists/],
        [{ description => 'no name' }, 422, qr/^name is required/],
    ],
    owners => [
        { name => 'B', email => 'b@example.com' },
        { id => 'o-b', name => 'C', email => 'c@example.com', team_id => 't-a' },
        { team_id => $null, email => 'd@example.com' },
        [{ name => 'X', email => 'nobody' }, 422, qr/^email must match/],
        [{ name => 'X', email => 'x@example.com', team_id => 't-none' }, 422,
            qr/^team \"t-none\" not found$/],
    ],
    profiles => [
        { name => 'Least' },
        { id => 'prof-b', name => 'Whole', description => 'd', max_ttl_seconds => 3000,
            allowed_key_algorithms => [{ algorithm => 'ECDSA', min_size => 256 }],
            allowed_ekus => ['serverAuth', 'clientAuth'], allow_short_lived => $true,
            required_san_patterns => ['.*\.example\.com'], must_staple => $true,
            requires_approval => $true, enabled => $false },
        { max_ttl_seconds => 3599, enabled => $true },
        [{ name => 'X', max_ttl_seconds => 59 }, 422, qr/between 60 and 316224000/],
        [{ name => 'X', max_validity_days => 0 }, 422,
            qr/max_ttl_seconds must be between 60/],
        [{ name => 'X', allow_short_lived => $true }, 422,
            qr/allow_short_lived needs max_ttl_seconds below 3600/],
        [{ name => 'X', allowed_ekus => ['serverauth'] }, 422, qr/must be one of/],
        [{ name => 'X', allowed_key_algorithms => [{ algorithm => 'DSA' }] }, 422,
            qr/allowed_key_algorithms\[0\].algorithm must be one of: RSA ECDSA Ed25519/],
        [{ name => 'X', allowed_key_algorithms => [{ min_size => 1 }] }, 422,
            qr/allowed_key_algorithms\[0\].algorithm is required/],
        [{ name => 'X', allowed_key_algorithms => [] }, 422, qr/1 to 10 elements/],
    ],
    'renewal-policies' => [
        { name => 'Least' },
        { id => 'rp-b', name => 'Whole', organization_id => 'org-a', method => 'issuer',
            issuer_id => 'iss-local', certificate_profile_id => 'prof-standard-tls',
            acme_directory_url => 'https://ca.example.com/directory', acme_account_email => 'ca@example.com',
            ad_cs_template_name => 'WebServer', ad_cs_ca_name => 'ca.example.com\\CA',
            auto_renew => $true, renewal_window_days => 20, max_retries => 0,
            retry_interval_seconds => 60, alert_thresholds_days => [10, 0],
            require_change_record => $true, rollback_on_failure => $true,
            max_concurrent_renewals => 9, is_active => $false },
        { renewal_window_days => 7, issuer_id => $null, alert_thresholds_days => [] },
        [{ name => 'X', method => 'manual' }, 422, qr/auto_renew needs a method/],
        [{ name => 'X', renewal_window_days => 366 }, 422, qr/between 1 and 365/],
        [{ name => 'X', max_retries => 11 }, 422, qr/between 0 and 10/],
        [{ name => 'X', retry_interval_seconds => 59 }, 422, qr/between 60 and 86400/],
        [{ name => 'X', is_default => $true }, 409, qr/one policy for each scope/],
        [{ name => 'X', organization_id => 'org-a' }, 409, qr/this organization has a policy/],
        [{ name => 'X', issuer_id => 'iss-none' }, 422, qr/^issuer "iss-none" not found$/],
    ],
    targets => [
        { name => 'Least', agent_id => 'ag-a' },
        { id => 'tgt-b', name => 'Whole', agent_id => 'ag-a', type => 'NGINX-module',
            config => { record => 'a.example.com' }, enabled => $false },
        { config => { record => 'b.example.com' }, enabled => $true },
        [{ name => 'X' }, 422, qr/^agent_id is required/],
        [{ name => 'X', agent_id => 'ag-none' }, 422, qr/^agent "ag-none" not found$/],
        [{ name => 'X', agent_id => 'ag-a', config => [] }, 422, qr/config must be an object/],
    ],
);

for my $path (sort keys %plain) {
    my ($least, $whole, $change, @bad) = @{ $plain{$path} };

    subtest $path => sub { plain("$v1/$path", $least, $whole, $change, @bad) };
}

subtest 'the other names of a field' => sub {
    my $profile = created($api, "$v1/profiles", { name => 'Days', max_validity_days => 47 });
    is($profile->{max_ttl_seconds}, 47 * 86400, 'max_validity_days sets max_ttl_seconds');
    is($profile->{max_validity_days}, 47, 'and is answered');

    my $policy = created($api, "$v1/renewal-policies", { name => 'Guide',
        renew_before_days => 12, auto_renew_enabled => $false });
    is($policy->{renewal_window_days}, 12, 'renew_before_days sets renewal_window_days');
    ok(!$policy->{auto_renew}, 'auto_renew_enabled sets auto_renew');
};

subtest 'a scope never changes' => sub {
    my $r = $api->patch("$v1/renewal-policies/rp-default", { organization_id => 'org-a' });
    refused($r, 422, qr/organization_id never changes/);
    $r = $api->patch("$v1/renewal-policies/rp-default", { is_default => $false });
    refused($r, 422, qr/is_default never changes/);
};

subtest 'a reference to nothing is a fault of its field' => sub {
    my $r = $api->post("$v1/owners", { name => 'X', email => 'x@example.com', team_id => "t) b'" });

    refused($r, 422, qr/^team "t\) b'" not found$/, 'in words');
    is_deeply([map { $_->{pointer} } @{ $r->{json}{errors} }], ['/team_id'], 'with a pointer');
    refused($api->post("$v1/renewal-policies", { name => 'X', issuer_id => 'iss-none', renewal_window_days => 20 }), 422,
        qr/^issuer "iss-none" not found$/, 'of a policy');
    refused($api->get("$v1/renewal-policies/rp-none"), 404, qr/^renewal policy "rp-none" not found$/, 'and a path in words');
};

subtest 'what is in use stays' => sub {
    my $r = $api->delete("$v1/teams/t-a");
    refused($r, 409, qr/^this team is still in use by owner o-a$/, 'team of an owner');
    is_deeply($r->{json}{dependants}, [{ type => 'owner', id => 'o-a' }], 'which is named as an object');
    refused($api->delete("$v1/organizations/org-a"), 409, qr/in use by renewal policy rp-/,
        'organization of a policy') if created($api, "$v1/renewal-policies",
        { name => 'Keeps', organization_id => 'org-a' });
    is($api->get("$v1/teams/t-a")->{status}, 200, 'and is there still');
};

certificates();
issuers();
agents();

subtest 'an object as it was read may be sent back' => sub {
    # a renewal that was under way when it was revoked changes it once more
    ok(wait_until(20, sub { return sql($d, q{SELECT count(*) FROM jobs WHERE certificate_id = 'mc-demo'}) eq '0' }),
        'no job is open');

    for my $path ('teams/t-a', 'certificates/mc-demo', 'agents/ag-a', 'profiles/prof-standard-tls') {
        my $was = $api->get("$v1/$path")->{json};
        my $r = $api->put("$v1/$path", $was);

        is($r->{status}, 200, $path) or diag($r->{content});
    }

    my $was = $api->get("$v1/teams/t-a")->{json};
    $was->{created_at} = '2020-01-01T00:00:00Z';
    refused($api->put("$v1/teams/t-a", $was), 422, qr/created_at is set by the server/);
};

done_testing();

sub plain {
    my ($path, $least, $whole, $change, @bad) = @_;
    my $total = $api->get($path)->{json}{total};
    my $one = created($api, $path, $least);

    like($one->{id}, qr/^[a-z]+-[0-9a-f]{20}$/, 'the server makes an id');
    like($one->{$_}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/, $_) for qw(created_at updated_at);
    is_deeply(\%{ $one }, $api->get("$path/$one->{id}")->{json}, 'GET answers the same');

    my $all = created($api, $path, $whole);
    has($all, $whole, 'the whole body is kept');
    is($api->get($path)->{json}{total}, $total + 2, 'the list counts both');

    my $r = $api->patch("$path/$all->{id}", $change);
    is($r->{status}, 200, 'PATCH') or diag $r->{content};
    has($r->{json}, { %$whole, %$change }, 'changes what it names and no more');
    ok($r->{json}{updated_at} ge $all->{updated_at}, 'updated_at moves');

    for my $case (@bad) {
        refused($api->post($path, $case->[0]), $case->[1], $case->[2], "refused: $case->[2]");
    }

    refused($api->patch("$path/$all->{id}", { id => 'other' }), 422, qr/id never changes/);
    refused($api->$_("$path/nobody", {}), 404, qr/^[a-z ]+ "nobody" not found$/, "$_ of nothing")
        for qw(get put patch delete);
    is($api->get($path)->{json}{total}, $total + 2, 'refusals changed nothing');

    # PUT replaces: what it leaves out is as if the object were new
    my %fixed = map { ($_, $all->{$_}) } grep { exists $all->{$_} } qw(organization_id is_default);
    my $new = $api->put("$path/$all->{id}", { %$least, name => 'Replaced' });
    is($new->{status}, 200, 'PUT') or diag $new->{content};
    has($new->{json}, { %$one, %fixed, id => $all->{id}, name => 'Replaced',
        map { ($_, $new->{json}{$_}) } 'updated_at', 'created_at', exists $one->{config} ? 'config' : () },
        'PUT gives the rest its default');

    audited($all->{id}, qw(created updated updated));
    # of an organization's policy, with what it leaves
    is($api->delete("$path/$all->{id}")->{status}, $all->{organization_id} ? 200 : 204, 'DELETE');
    is($api->get("$path/$all->{id}")->{status}, 404, 'is gone');
    refused($api->delete("$path/$all->{id}"), 404, qr/^[a-z ]+ "\Q$all->{id}\E" not found$/, 'twice');
    audited($all->{id}, qw(created updated updated deleted));
    is($api->delete("$path/$one->{id}")->{status}, 204, 'the other one too');

    return;
}

sub has {
    my ($got, $want, $name) = @_;
    my %part = map { ($_, $_ eq 'type' ? lc $want->{$_} : $want->{$_}) } keys %$want;

    return is_deeply({ map { ($_, $got->{$_}) } keys %part }, \%part, $name);
}

# newest first; who, to what and which request
sub audited {
    my ($id, @actions) = @_;
    my $rows = $api->get("$v1/audit?resource_id=$id")->{json}{data};

    is(join(' ', map { $_->{action} =~ s/.*_//r } reverse @$rows), "@actions",
        "audited: @actions");
    is($rows->[0]{actor}, 'admin', 'by the key\'s name');
    like($rows->[0]{details}{request_id}, qr/^[0-9a-f-]{36}$/, 'with the request\'s id');
    return;
}

sub certificates {
    my %least = (id => 'mc-demo', common_name => 'api.example.com', issuer_id => 'iss-local');

    subtest 'certificates' => sub {
        my $c = created($api, "$v1/certificates", { %least });
        has($c, { name => 'api.example.com', status => 'Pending', expires_at => undef,
            sans => [], target_ids => [], tags => {}, renewal_policy_id => undef,
            source => 'API', key_type => 'ec-p256' }, 'defaults');

        created($api, "$v1/targets", { id => "tgt-$_", name => $_, agent_id => 'ag-a', config => { record => "{id}.$_" } })
            for 'one', 'two';
        my $w = created($api, "$v1/certificates", { id => 'mc-whole', name => 'Payments',
            common_name => '*.pay.example.com', sans => ['pay.example.com', '192.0.2.1', '2001:db8::1'],
            environment => 'production', owner_id => 'o-a', team_id => 't-a',
            issuer_id => 'iss-local', renewal_policy_id => 'rp-default', status => 'Active',
            not_after => "${may}Z", tags => { pci => 'true' },
            target_ids => ['tgt-one', 'tgt-two'], key_type => 'rsa-3072' });
        has($w, { status => 'Active', expires_at => "$may+00:00",
            not_after => "$may+00:00", target_ids => ['tgt-one', 'tgt-two'],
            agent_ids => ['ag-a'], tags => { pci => 'true' } }, 'status, expiry, targets, tags');
        ok($w->{renew_at} lt $w->{expires_at}, 'it will renew before it expires');

        my $r = $api->patch("$v1/certificates/mc-whole", { target_ids => ['tgt-two'],
            owner_id => undef, tags => { a => 'b', pci => undef } });
        has($r->{json}, { target_ids => ['tgt-two'], owner_id => undef, team_id => 't-a',
            tags => { a => 'b' }, environment => 'production' }, 'PATCH');

        my $list = $api->get("$v1/certificates/mc-whole/deployments")->{json};
        is($list->{total}, 1, 'one deployment');
        is($list->{data}[0]{id}, 'tgt-two', 'at its target');
        is_deeply($api->get("$v1/certificates/mc-whole/$_")->{json}{data}, [], "no $_ yet")
            for qw(versions renewals);
        refused($api->get("$v1/certificates/mc-none/$_"), 404, qr/^certificate "mc-none" not found$/)
            for qw(versions renewals deployments);

        refused($api->delete("$v1/targets/tgt-two"), 409, qr/in use by certificate mc-whole/, 'its target stays');
        refused($api->delete("$v1/owners/o-a"), 409, qr/owner/, 'its owner stays')
            if $api->patch("$v1/certificates/mc-whole", { owner_id => 'o-a' })->{status} == 200;
        is($api->delete("$v1/certificates/mc-whole")->{status}, 204, 'DELETE');
        is($api->get("$v1/certificates/mc-whole")->{json}{status}, 'Archived', 'archives');
        audited('mc-whole', qw(created updated updated archived));
    };

    subtest 'names of certificates' => sub {
        for my $bad ('', '-a.example.com', 'a..example.com', 'a b', "a\x{1}", '*.*.example.com',
            'a.*.example.com', 'w*.example.com', '192.0.2.256', '1.2.3', ('a' x 64) . '.com',
            join('.', ('a' x 60) x 5), 'a,b', 'example.com:443', 'http://example.com')
        {
            refused($api->post("$v1/certificates", { %least, id => 'mc-bad', common_name => $bad }),
                422, qr/^common_name/, "\"$bad\"");
            refused($api->post("$v1/certificates", { %least, id => 'mc-bad', sans => [$bad] }),
                422, qr/^sans/, "\"$bad\" in sans");
        }
        is($api->get("$v1/certificates/mc-bad")->{status}, 404, 'none of them was made');
    };

    subtest 'rules of certificates' => sub {
        my @bad = (
            [{ status => 'Expired' }, 422, qr/status must be one of: Pending Active/],
            [{ issuer_id => 'iss-none' }, 422, qr/^issuer "iss-none" not found$/],
            [{ issuer_id => undef }, 422, qr/issuer_id is required: renewal policy rp-default names no issuer/],
            [{ owner_id => 'o-none' }, 422, qr/^owner "o-none" not found$/],
            [{ team_id => 't-none' }, 422, qr/^team \"t-none\" not found$/],
            [{ renewal_policy_id => 'rp-none' }, 422, qr/^renewal policy "rp-none" not found$/],
            [{ certificate_profile_id => 'prof-none' }, 422, qr/^profile "prof-none" not found$/],
            [{ target_ids => ['tgt-none'] }, 422, qr/^target "tgt-none" not found$/],
            [{ key_type => 'rsa-1024' }, 422, qr/key_type must be one of/],
            [{ expires_at => 'tomorrow' }, 422, qr/expires_at must be an RFC 3339 time/],
            [{ expires_at => '2026-02-30T00:00:00Z' }, 422, qr/expires_at must be an RFC 3339 time/],
            [{ tags => { a => 1 } }, 422, qr/tags.a must be a string/],
            [{ sans => [map { "a$_.example.com" } 1 .. 101] }, 422, qr/0 to 100 elements, not 101/],
            [{ sans => [map { "a$_.example.com" } 1 .. 100] }, 422,
                qr/at most 100 names, its common_name included, and not 101/],
            [{ renew_at => '2026-01-01T00:00:00Z' }, 422, qr/renew_at is set by the server/],
        );

        refused($api->post("$v1/certificates", { %least, id => 'mc-bad', %{ $_->[0] } }),
            $_->[1], $_->[2], "$_->[2]") for @bad;
        refused($api->patch("$v1/certificates/mc-demo", { status => 'Active' }), 422,
            qr/status never changes/);
        refused($api->patch("$v1/certificates/mc-demo", { sans => [map { "a$_.example.com" } 1 .. 100] }), 422,
            qr/at most 100 names, its common_name included, and not 101/);

        # the common name may be one of them, in any letter case
        my $cn = $api->get("$v1/certificates/mc-demo")->{json}{common_name};
        my $r = $api->patch("$v1/certificates/mc-demo",
            { sans => [uc $cn, map { "a$_.example.com" } 1 .. 99] });
        is($r->{status}, 200, '100 names') or diag $r->{content};
        $api->patch("$v1/certificates/mc-demo", { sans => [] });
        is($api->get("$v1/certificates/mc-bad")->{status}, 404, 'none of them was made');
    };

    subtest 'actions on certificates' => sub {
        my $c = "$v1/certificates/mc-demo";
        refused($api->post("$c/renew"), 422, qr/no enabled deployment target/, 'nowhere to go');

        $api->patch($c, { target_ids => ['tgt-one'] });
        my $r = $api->post("$c/renew");
        is($r->{status}, 202, 'renew');
        is($r->{json}{status}, 'renewal_triggered', 'in the words of the comparable product');
        is($r->{headers}{location}, "$v1/jobs/$r->{json}{job_id}", 'Location');
        like($api->get($r->{headers}{location})->{json}{type}, qr/^(Issuance|Renewal)$/, 'is a job');
        is($api->get("$c/renewals")->{json}{data}[0]{id}, $r->{json}{attempt_id}, 'and an attempt');

        created($api, "$v1/certificates", { id => 'mc-soon', common_name => 'soon.example.com', issuer_id => 'iss-local',
            target_ids => ['tgt-one'] });
        refused($api->post("$v1/certificates/mc-soon/deploy"), 422, qr/no issued version to deploy: renew it first/, 'nothing to deploy');
        sql($d, q{INSERT INTO jobs (id, type, subject, certificate_id, scheduled_at) VALUES ('job-soon', 'Issuance', 'mc-soon', 'mc-soon', 'infinity')});
        my $deploy = $api->post("$v1/certificates/mc-soon/deploy");
        is($deploy->{status}, 202, 'while it is issued, deploy is accepted');
        is_deeply($deploy->{json}, { status => 'deployment_triggered', job_ids => ['job-soon'] }, 'and waits for the version');
        is($api->delete("$v1/certificates/mc-soon")->{status}, 204, 'it goes again');

        refused($api->post("$c/renew?force=maybe"), 400, qr/force must be true or false/);
        refused($api->post("$c/renew", { forced => $true }), 422, qr/^forced is an unknown field/);
        refused($api->post("$c/revoke", { reason => 'removeFromCRL' }), 422, qr/reason must be/);
        refused($api->post("$v1/certificates/mc-none/$_"), 404, qr/./, "$_ of nothing")
            for qw(renew deploy revoke);

        $r = $api->post("$c/revoke", { reason => 'superseded' });
        is_deeply($r->{json}, { status => 'revoked', serials => [], open_orders => [], still_served => [] }, 'revoke, though never issued');
        my $revoked = $api->get($c)->{json};
        has($revoked, { status => 'Revoked', revocation_reason => 'superseded' }, 'is shown');
        refused($api->post("$c/revoke"), 409, qr/Revoked/, 'not twice');
        refused($api->post("$c/renew"), 409, qr/Revoked/, 'not renewed any more');

        my @actions = map { $_->{action} } @{ $api->get("$v1/audit?resource_id=mc-demo"
            . '&actor=admin')->{json}{data} };
        is("@actions[0, 1]", 'certificate_revoked renewal_triggered', 'audited');
    };

    return;
}

sub issuers {
    subtest 'issuers' => sub {
        is($api->get("$v1/issuers/iss-local")->{json}{type}, 'local', 'iss-local is there');
        unlike($api->get("$v1/issuers")->{content}, qr/PRIVATE KEY/, 'no key is answered');

        my $i = created($api, "$v1/issuers", { id => 'iss-two', name => 'Two', type => 'GenericCA' });
        is($i->{type}, 'local', 'by another name of its type');
        unlike(sql($d, "SELECT config::text || secrets FROM issuers WHERE id = 'iss-two'"),
            qr/PRIVATE KEY/, 'its key is sealed in the database');

        refused($api->post("$v1/issuers", { id => 'iss-two', name => 'X', type => 'local' }), 409,
            qr/id exists/);
        refused($api->post("$v1/issuers", { name => 'Two', type => 'local' }), 409, qr/name exists/);
        refused($api->post("$v1/issuers", { name => 'X', type => 'none' }), 422,
            qr/^type must be one of: local, GenericCA/);
        refused($api->post("$v1/issuers", { name => 'X', type => 'local',
            config => { secret => 'x' } }), 422, qr/^config.secret is an unknown field/);

        my $r = $api->patch("$v1/issuers/iss-two", { name => 'Second', enabled => $false });
        is($r->{status}, 200, 'PATCH') or diag($r->{content});
        has($r->{json}, { name => 'Second', type => 'local', enabled => $false }, 'in part');
        is_deeply($r->{json}{config}, $i->{config}, 'its CA stays');

        refused($api->put("$v1/issuers/iss-none", {}), 404, qr/./, 'PUT of nothing');
        refused($api->delete("$v1/issuers/iss-local"), 409, qr/in use by certificate/, 'in use');
        is($api->delete("$v1/issuers/iss-two")->{status}, 204, 'DELETE');
        audited('iss-two', qw(created updated deleted));
    };

    return;
}

sub agents {
    my %body = (name => 'edge-b', url => 'https://127.0.0.1:9');

    subtest 'agents' => sub {
        refused($api->post("$v1/agents", { %body }), 422, qr/fingerprint .* or trust_on_first_use/);
        refused($api->post("$v1/agents", { %body, fingerprint => 'a' x 64,
            trust_on_first_use => $true }), 422, qr/either/);
        refused($api->post("$v1/agents", { %body, fingerprint => 'AB' }), 422, qr/fingerprint/);
        refused($api->post("$v1/agents", { name => 'x', fingerprint => 'a' x 64 }), 422,
            qr/needs a url/);

        refused($api->post("$v1/agents", { %body, url => $_, fingerprint => 'a' x 64 }), 422,
            qr/^url/, $_) for 'http://127.0.0.1:9', 'https://127.0.0.1:9/x', 'https://a@b:9';
        is($api->get("$v1/agents")->{json}{total}, 1, 'none of them was made');

        my $a = created($api, "$v1/agents", { %body, id => 'ag-b', fingerprint => 'a' x 64 });
        has($a, { status => 'Pending', kind => 'nginx-module', fingerprint => 'a' x 64 }, 'pinned');
        my $jobs = $api->get("$v1/jobs?agent_id=ag-b")->{json};
        is($jobs->{data}[0]{type}, 'Enrolment', 'first contact is a job');
        refused($api->post("$v1/agents", { %body, fingerprint => 'a' x 64 }), 409, qr/exists/);

        is($api->patch("$v1/agents/ag-b", { hostname => 'b.example.com' })->{json}{hostname},
            'b.example.com', 'PUT');
        refused($api->patch("$v1/agents/ag-b", { status => 'Online' }), 422, qr/set by the server/);

        # nobody listens there: soon its next try is far
        my $later = q{UPDATE jobs SET attempts = 9, scheduled_at = now() + interval '1 hour' WHERE agent_id = 'ag-b'
            AND status = 'Pending' RETURNING id};
        is(wait_until(20, sub { return sql($d, $later) }), $jobs->{data}[0]{id}, 'first contact waits for an hour');
        is($api->patch("$v1/agents/ag-b", { fingerprint => 'b' x 64 })->{json}{status}, 'Pending', 'another fingerprint');
        is(sql($d, q{SELECT attempts < 9 AND scheduled_at < now() + interval '1 minute' FROM jobs WHERE agent_id = 'ag-b'}),
            't', 'is tried at once');

        my $r = $api->post("$v1/jobs/$jobs->{data}[0]{id}/cancel");
        ok($r->{status} == 200 && $r->{json}{status} eq 'job_cancelled'
            || $r->{status} == 409, 'its job is cancelled, or has ended');
        is($api->post("$v1/jobs/$jobs->{data}[0]{id}/cancel")->{status}, 409, 'once');
        refused($api->post("$v1/jobs/job-none/cancel"), 404, qr/^job "job-none" not found$/);

        created($api, "$v1/targets", { id => 'tgt-r', name => 'r', agent_id => 'ag-b' });
        refused($api->delete("$v1/agents/ag-b"), 409,
            qr/blocked_by_dependencies/, 'a target stands on it');
        refused($api->delete("$v1/agents/ag-b?force=true"), 400, qr/force needs a reason/);

        $r = $api->delete("$v1/agents/ag-b?force=true&reason=moved+away");
        is($r->{status}, 200, 'retired by force');
        has($r->{json}, { already_retired => $false, cascade => $true }, 'with its targets');
        is($api->delete("$v1/agents/ag-b")->{status}, 204, 'once');
        has($api->get("$v1/agents/ag-b")->{json}, { status => 'Retired',
            retired_reason => 'moved away' }, 'it is known still');
        ok(!grep({ $_->{id} eq 'ag-b' } @{ $api->get("$v1/agents")->{json}{data} }), 'not in the list');
        is($api->get("$v1/agents/retired")->{json}{data}[0]{id}, 'ag-b', 'but among the retired');
    };

    subtest 'nothing is put where nobody serves it' => sub {
        my %certificate = (common_name => 'retired.example.com', issuer_id => 'iss-local');
        my $was = qr/^agent_id: agent ag-b was retired on \d{4}-\d\d-\d\d: a target needs an agent that serves it$/;

        refused_at($api->post("$v1/targets", { name => 'on retired', agent_id => 'ag-b' }), '/agent_id', $was);
        created($api, "$v1/targets", { id => 'tgt-moves', name => 'moves', agent_id => 'ag-a' });
        refused_at($api->patch("$v1/targets/tgt-moves", { agent_id => 'ag-b' }), '/agent_id', $was);
        is($api->patch("$v1/targets/tgt-r", { name => 'named anew' })->{status}, 200, 'one that is there may be changed');

        refused_at($api->post("$v1/certificates", { %certificate, target_ids => ['tgt-r'] }), '/target_ids',
            qr/^target_ids: target tgt-r was retired on .*: name one that is served$/);
        my $id = created($api, "$v1/certificates", { %certificate, target_ids => ['tgt-moves'] })->{id};
        refused_at($api->patch("$v1/certificates/$id", { target_ids => ['tgt-moves', 'tgt-r'] }), '/target_ids',
            qr/target tgt-r was retired/);
        $api->patch("$v1/targets/tgt-moves", { config => { record => '{id}' } });
        my $policy = created($api, "$v1/renewal-policies", { name => 'Gives', default_target_ids => ['tgt-moves'] });
        sql($d, q{UPDATE deployment_targets SET retired_at = now() WHERE id = 'tgt-moves'});
        is($api->put("$v1/renewal-policies/$policy->{id}", { %{ $api->get("$v1/renewal-policies/$policy->{id}")->{json} },
            max_retries => 5 })->{status}, 200, 'so may a policy');
        is($api->put("$v1/certificates/$id", $api->get("$v1/certificates/$id")->{json})->{status}, 200,
            'a certificate whose target was retired may be sent back');
        refused_at($api->patch("$v1/renewal-policies/rp-default", { default_target_ids => ['tgt-r'] }), '/default_target_ids/0',
            qr/target tgt-r is retired/);

        refused_at($api->post("$v1/agents", { name => 'pulls', kind => 'pull' }), '/kind', qr/^kind must be one of: nginx-module$/);
    };

    return;
}
