#!/usr/bin/perl
# Lists page by number and by cursor over more rows than fit, in the order that
# was asked for, filtered by what was asked for, with exact totals.

use strict;
use warnings;
use Certctl::API;
use List::Util qw(uniq);
use POSIX 'strftime';
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';

# 130 certificates, some in the same instant, some without expiry. The expiry loop
# may look at them at any time: it finds each status as it would have set it.
my $from = int(time / 3600) * 3600 + 2 * 86400;
sql($d, <<"SQL");
UPDATE renewal_policies SET auto_renew = false WHERE is_default;
INSERT INTO renewal_policies (id, name, renewal_window_days, auto_renew) VALUES ('rp-late', 'Late', 1, false);
INSERT INTO owners (id, name, email) VALUES ('o-a', 'A', 'a\@example.com');
INSERT INTO agents (id, name, kind) VALUES ('ag-a', 'a', 'pull');
INSERT INTO deployment_targets (id, name, agent_id) VALUES ('tgt-a', 'a', 'ag-a');
INSERT INTO managed_certificates (id, name, common_name, issuer_id, owner_id, environment, renewal_policy_id, status, expires_at, not_before, created_at)
SELECT 'mc-' || to_char(n, 'FM000'), 'name ' || n, 'c' || n || '.example.com', 'iss-local',
       CASE WHEN n % 10 = 0 THEN 'o-a' END, CASE WHEN n % 2 = 0 THEN 'production' ELSE 'staging' END,
       CASE WHEN n % 3 = 0 THEN 'rp-default' ELSE 'rp-late' END, CASE WHEN n % 3 = 0 THEN 'Expiring' ELSE 'Active' END,
       CASE WHEN n % 13 <> 0 THEN to_timestamp($from) + n * interval '1 hour' END,
       CASE WHEN n % 3 <> 0 THEN to_timestamp($from) + n * interval '1 hour' - interval '5 days' END,
       timestamptz '2026-01-01' + (n / 4) * interval '1 minute'
  FROM generate_series(1, 130) n;
INSERT INTO certificate_target_mappings (certificate_id, target_id)
SELECT id, 'tgt-a' FROM managed_certificates WHERE id < 'mc-008';
INSERT INTO job_history (id, type, status, subject, certificate_id, data, priority, attempts, max_attempts, requested_by, epoch, scheduled_at, created_at)
SELECT 'job-' || n, CASE WHEN n % 2 = 0 THEN 'Renewal' ELSE 'Deployment' END, CASE WHEN n % 5 = 0 THEN 'Failed' ELSE 'Completed' END,
       'mc-001', CASE WHEN n < 11 THEN 'mc-001' ELSE 'mc-002' END, '{}', 0, 1, 3, 'system', 1, now(), now()
  FROM generate_series(1, 120) n;
INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, "timestamp")
SELECT 'o-demo-user', 'User', 'certificate_created', 'certificate', 'mc-' || n, timestamptz '2026-03-01' + n * interval '1 second'
  FROM generate_series(1, 125) n;
INSERT INTO discovered_certificates (id, fingerprint_sha256, agent_id, place, serial_number, issuer_dn, subject_dn, not_before, not_after, pem_data, status, expiry_status)
SELECT 'dcert-' || n, md5(n::text), 'ag-a', 'place ' || n, n::text, 'CN=i', 'CN=s', now(), now() + n * interval '1 day', '',
       CASE WHEN n % 4 = 0 THEN 'Dismissed' ELSE 'Unmanaged' END, CASE WHEN n < 8 THEN 'expiring' ELSE 'expiring_soon' END
  FROM generate_series(1, 20) n;
SQL

subtest 'the envelope' => sub {
    my $r = $api->get("$v1/certificates")->{json};

    is(join(' ', sort keys %$r), 'data page per_page total', 'data, total, page, per_page');
    is("$r->{total} $r->{page} $r->{per_page} " . @{ $r->{data} }, '130 1 50 50', 'and their values');
    $r = $api->get("$v1/certificates?page=50&per_page=100")->{json};
    is_deeply([@$r{qw(data total page per_page)}], [[], 130, 50, 100], 'a page beyond the end is []');
    is(scalar @{ $api->get("$v1/certificates?per_page=500")->{json}{data} }, 130, 'per_page 500');
};

subtest 'pages by number' => sub {
    my @ids = map { ids("$v1/certificates?per_page=40&page=$_") } 1 .. 4;

    is(scalar @ids, 130, 'all rows');
    is(scalar uniq(@ids), 130, 'each once');
    is_deeply(\@ids, [map { $_->{id} } sort { $b->{created_at} cmp $a->{created_at}
        || $b->{id} cmp $a->{id} } @{ $api->get("$v1/certificates?per_page=500")->{json}{data} }],
        'newest first, ids break ties');
};

subtest 'pages by cursor' => sub {
    my ($cursor, @ids) = ('');

    for (1 .. 50) {
        my $r = $api->get("$v1/certificates?page_size=9" . ($cursor && "&cursor=$cursor"))->{json};
        push @ids, map { $_->{id} } @{ $r->{data} };
        is("$r->{total} $r->{page_size}", '130 9', 'total and page_size') if $_ == 1;
        last if !defined($cursor = $r->{next_cursor});
    }

    is(scalar @ids, 130, 'all rows');
    is_deeply(\@ids, [map { ids("$v1/certificates?per_page=130&page=$_") } 1], 'in the order of pages');

    # a row that comes in between moves no page
    my $r = $api->get("$v1/certificates?page_size=5")->{json};
    created($api, "$v1/certificates", { id => 'mc-new', common_name => 'new.example.com',
        issuer_id => 'iss-local' });
    is_deeply([ids("$v1/certificates?page_size=5&cursor=$r->{next_cursor}")], [@ids[5 .. 9]],
        'steady under inserts');
    sql($d, q{DELETE FROM managed_certificates WHERE id = 'mc-new'});

    is(walk("$v1/jobs", 7), 120, 'jobs too');
    is(walk("$v1/audit?actor=o-demo-user", 8), 125, 'audit too, with a filter');
    is(walk("$v1/discovered-certificates", 20), 20, 'a last page that is full is the last');

    refused($api->get("$v1/certificates?cursor=$_"), 400, qr/^the cursor is not one that this list answered$/, "cursor \"$_\"")
        for 'x', '!!!!', 'AAAA', 'MjAyNi0wMS0wMSwx' . 'A' x 400, '%27%3B--', 'MjAyNi05OS05OSAwMDowMDowMCx4';
    refused($api->get("$v1/certificates?page_size=5&$_"), 400, qr/do not go with it/, "with $_")
        for 'page=1', 'per_page=5', 'sort=name';
};

subtest 'sorting' => sub {
    my %names = (notAfter => 'expires_at', expiresAt => 'expires_at', not_after => 'expires_at',
        createdAt => 'created_at', updatedAt => 'updated_at', commonName => 'common_name',
        name => 'name', status => 'status', environment => 'environment');

    for my $sort (sort keys %names) {
        my $field = $names{$sort};
        my @up   = values_of($field, "$v1/certificates?per_page=500&sort=$sort");
        my @down = values_of($field, "$v1/certificates?per_page=500&sort=-$sort");

        is_deeply(\@up, [sort @up], "sort=$sort");
        is_deeply(\@down, [reverse sort @down], "sort=-$sort");
        is_deeply(\@down, [values_of($field, "$v1/certificates?per_page=500&sort=$sort&sort_desc=true")],
            "sort=$sort&sort_desc=true");
    }

    my $last = $api->get("$v1/certificates?per_page=500&sort=notAfter")->{json}{data}[-1];
    is($last->{expires_at}, undef, 'what never expires comes last');
    refused($api->get("$v1/certificates?sort=$_"), 400, qr/cannot be sorted by/, "sort=$_")
        for 'nonsense', 'id%3BDROP%20TABLE%20teams', '--name';
};

subtest 'filters' => sub {
    my %total = (
        'certificates?status=Expiring' => 43,
        'certificates?status=Expiring&environment=production' => 21,
        'certificates?owner_id=o-a' => 13,
        'certificates?agent_id=ag-a' => 7,
        'certificates?target_id=tgt-a' => 7,
        'certificates?issuer_id=iss-local' => 130,
        'certificates?team_id=t-none' => 0,
        'certificates?expires_before=' . at(10.5) . 'Z' => 10,
        'certificates?expires_after=' . at(120) . 'Z&expires_before=' . at(125) . '%2B01:00' => 4,
        'certificates?created_after=2026-01-01T00:30:00Z' => 11,
        'certificates?updated_after=2020-01-01T00:00:00Z' => 130,
        q(certificates?environment='%20OR%201=1--) => 0,
        'jobs?status=Failed' => 24,
        'jobs?type=Renewal&status=Completed' => 48,
        'jobs?certificate_id=mc-001' => 10,
        'audit?action=certificate_created&actor_type=User' => 125,
        'audit?actor=o-demo-user&since=2026-03-01T00:01:00Z&until=2026-03-01T00:02:00Z' => 60,
        'audit?created_after=2026-03-01T00:02:00Z&created_before=2026-03-02T00:00:00Z' => 6,
        'audit?resource_id=mc-7&resource_type=certificate' => 1,
        'audit?category=cert_lifecycle&actor=o-demo-user' => 125,
        'discovered-certificates?status=Dismissed' => 5,
        'discovered-certificates?agent_id=ag-a&expiry_status=expiring' => 7,
        'discovered-certificates?is_leaf=false' => 0,
        'agents?status=Online' => 0,
    );

    is($api->get("$v1/$_")->{json}{total}, $total{$_}, $_) for sort keys %total;
    refused($api->get("$v1/certificates?expires_before=$_"), 400, qr/./, "expires_before=$_")
        for 'yesterday', '2026-13-01T00:00:00Z', "2026'";
    refused($api->get("$v1/certificates?stat=Active"), 400, qr/unknown query parameter "stat"/);
    refused($api->get("$v1/certificates?status=A&status=B"), 400, qr/given twice/);
    refused($api->get("$v1/discovered-certificates?is_leaf=maybe"), 400, qr/./, 'a boolean');
};

subtest 'sparse fields' => sub {
    my $r = $api->get("$v1/certificates?fields=id,status,expires_at&per_page=2")->{json};

    is_deeply([map { join ' ', sort keys %$_ } @{ $r->{data} }], [('expires_at id status') x 2],
        'these and no others');
    refused($api->get("$v1/certificates?fields=id,hash"), 400, qr/there is no field "hash"/);
};

subtest 'numbers out of range' => sub {
    for my $bad ('page=0', 'page=-1', 'page=x', 'page=99999999999999999999', 'per_page=0',
        'per_page=501', 'per_page=1e3', 'page_size=0', 'page_size=501', 'page=', 'per_page=%201')
    {
        refused($api->get("$v1/certificates?$bad"), 400, qr/must be between 1 and/, $bad);
    }
};

is_deeply($api->get("$v1/discovery-summary")->{json}, { Unmanaged => 15, Managed => 0, Dismissed => 5 },
    'the discovery summary counts');
my $stats = $api->get("$v1/stats/summary")->{json};
is_deeply([@$stats{qw(total_certificates expiring_certificates failed_jobs complete_jobs total_agents)}],
    [130, 43, 24, 96, 1], 'the statistics count');

subtest 'entity tags' => sub {
    for my $path ("$v1/certificates?per_page=3", "$v1/certificates/mc-001", "$v1/owners/o-a") {
        my $r = $api->get($path);
        my $tag = $r->{headers}{etag};

        like($tag, qr/^"[0-9a-f]{32}"$/, "$path has a strong one");
        my $again = $api->request('GET', $path, undef, 'If-None-Match' => qq("x", $tag));
        is($again->{status}, 304, 'not modified');
        is($again->{content} // '', '', 'and nothing more');
        is($api->request('GET', $path, undef, 'If-None-Match' => '"x"')->{status}, 200, 'another tag');
    }

    my $tag = $api->get("$v1/owners/o-a")->{headers}{etag};
    $api->patch("$v1/owners/o-a", { name => 'B' });
    is($api->request('GET', "$v1/owners/o-a", undef, 'If-None-Match' => $tag)->{status}, 200, 'a change');
    is($api->get("$v1/certificates?per_page=500")->{headers}{etag}, undef, 'none beyond 64 KiB');
};

done_testing();

# so many hours after the first expiry's full hour
sub at { return strftime('%Y-%m-%dT%H:%M:%S', gmtime($from + 3600 * $_[0])) }

sub ids { return map { $_->{id} } @{ $api->get($_[0])->{json}{data} } }

sub values_of {
    my ($field, $path) = @_;
    return grep { defined } map { $_->{$field} } @{ $api->get($path)->{json}{data} };
}

# how many different rows a walk by cursor meets
sub walk {
    my ($path, $size) = @_;
    my ($cursor, %seen);

    do {
        my $r = $api->get($path . ($path =~ /\?/ ? '&' : '?') . "page_size=$size"
            . ($cursor ? "&cursor=$cursor" : ''))->{json};
        $seen{ $_->{id} }++ for @{ $r->{data} };
        $cursor = $r->{next_cursor};
    } while ($cursor && keys %seen < 1000);

    return scalar(grep { $_ == 1 } values %seen);
}
