#!/usr/bin/perl
# Renewal policies: whose issuer renews, what a method needs, what happens when a
# policy is deleted; and when a certificate counts as expiring.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process 'wait_until';
use JSON::PP ();
use POSIX 'floor';
use Test::More;

my ($true, $false, $null) = (JSON::PP::true, JSON::PP::false, undef);
my $DAY = 86400;
my $d   = api_daemon(config => "expiry_interval = 1\nrenewal_interval = 1\n");
my $api = $d->api;
my $v1  = '/api/v1';

# in whole seconds, so that a limit is not passed while the test runs
sub at { return strftime_z(time + $_[0] * $DAY) }

sub strftime_z {
    my @t = gmtime $_[0];
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1, @t[3, 2, 1, 0];
}

sub crt {
    my ($id, %o) = @_;
    return created($api, "$v1/certificates", { id => $id, common_name => "$id.example.com",
        issuer_id => 'iss-local', %o });
}

sub row { return $api->get("$v1/certificates/$_[0]")->{json} }

subtest 'one rule says when a certificate expires soon' => \&expiry;
subtest 'what automatic renewal by a method needs' => \&needs;
subtest 'the issuer of a certificate and the method of its policy' => \&issuers;
subtest 'methods that do not renew' => \&tracked;
subtest 'a policy that certificates name is not deleted' => \&named;
subtest 'the policy of an organization' => \&organization;
subtest 'the default policy' => \&default_policy;

done_testing();

# lifetime in days => [days left, status of an observed certificate] ...
sub expiry {
    my %table = (
        397 => [[31, 'valid'], [29.9, 'expiring_soon'], [7.1, 'expiring_soon'], [6.9, 'expiring'], [-0.1, 'expired']],
        90  => [[31, 'valid'], [30.1, 'valid'], [29.9, 'expiring_soon'], [7.1, 'expiring_soon'], [6.9, 'expiring']],
        89  => [[29.8, 'valid'], [29.5, 'expiring_soon'], [9, 'expiring_soon'], [8.8, 'expiring']],
        47  => [[29, 'valid'], [15.8, 'valid'], [15.5, 'expiring_soon'], [4.8, 'expiring_soon'], [4.6, 'expiring']],
        6   => [[5.9, 'valid'], [2.1, 'valid'], [1.9, 'expiring_soon'], [0.7, 'expiring_soon'], [0.5, 'expiring']],
    );
    my %status = (valid => 'Active', expiring_soon => 'Expiring', expiring => 'Expiring', expired => 'Expired');
    my (@managed, @observed, %want, %left);

    # the last second belongs to the validity: 90 days are one second less from end to end
    for my $life (sort keys %table) {
        for my $case (@{ $table{$life} }) {
            my ($left, $expiry) = @$case;
            my $id = "$life-" . $left =~ tr/./-/r;
            my $end = "date_trunc('second', now()) + interval '@{[ int $left * $DAY ]} seconds'";
            my $begin = "$end - interval '@{[ $life * $DAY - 1 ]} seconds'";

            push @managed, "('mc-$id', 'mc-$id', 'e.example.com', 'iss-local', 'Active', $end, $begin, 'rp-still')";
            push @observed, "('dcert-$id', md5('$id'), 'ag-still', '$id', '1', 'CN=i', 'CN=s', $begin, $end, '')";
            $want{$id} = $expiry;
            $left{$id} = floor($left - 1 / $DAY);          # the test takes longer than a second
        }
    }

    sql($d, "INSERT INTO renewal_policies (id, name, auto_renew, renewal_window_days) VALUES ('rp-still', 'Still', false, 60);
        INSERT INTO agents (id, name, kind) VALUES ('ag-still', 'still', 'pull');
        INSERT INTO managed_certificates (id, name, common_name, issuer_id, status, expires_at, not_before, renewal_policy_id) VALUES "
        . join(',', @managed) . ";
        INSERT INTO discovered_certificates (id, fingerprint_sha256, agent_id, place, serial_number, issuer_dn, subject_dn, not_before, not_after, pem_data) VALUES "
        . join(',', @observed));

    wait_until(20, sub { return row('mc-397--0-1')->{status} eq 'Expired' });
    for my $id (sort keys %want) {
        is(row("mc-$id")->{status}, $status{ $want{$id} }, "$id: a managed certificate");
        my $seen = $api->get("$v1/discovered-certificates/dcert-$id")->{json};
        is($seen->{expiry_status}, $want{$id}, "$id: an observed one");
        is($seen->{days_until_expiry}, $left{$id}, "$id: and its days");
    }

    my $count = $api->get("$v1/stats/summary")->{json};
    is($count->{expiring_certificates}, scalar(grep { $status{$_} eq 'Expiring' } values %want), 'and so does the summary');
    is($api->get("$v1/certificates?status=Expiring")->{json}{total}, $count->{expiring_certificates}, 'and the list');

    # what a caller states counts as 90 days
    crt('mc-stated', status => 'Active', expires_at => at(29));
    crt('mc-stated-later', status => 'Active', expires_at => at(31));
    ok(wait_until(20, sub { return row('mc-stated')->{status} eq 'Expiring' }), 'without a begin: 30 days');
    is(row('mc-stated-later')->{status}, 'Active', 'and not before');

    $api->delete("$v1/certificates/$_->{id}") for @{ $api->get("$v1/certificates?per_page=500")->{json}{data} };
    return;
}

sub needs {
    my %policy = (
        acme  => { acme_directory_url => 'https://ca.example.com/directory', acme_account_email => 'ca@example.com' },
        ad_cs => { ad_cs_template_name => 'WebServer', ad_cs_ca_name => 'ca.example.com\\Issuing CA' },
    );

    for my $method (sort keys %policy) {
        my %all = %{ $policy{$method} };

        for my $lacks (sort keys %all) {
            my $r = $api->post("$v1/renewal-policies", { name => $method, method => $method, %all, $lacks => $null });
            refused($r, 422, qr/needs $lacks$/, "$method without $lacks");
            is($r->{json}{errors}[0]{pointer}, "/$lacks", 'the field is pointed to');
        }

        my $one = created($api, "$v1/renewal-policies", { name => "$method later", method => $method, auto_renew => $false });
        refused($api->patch("$v1/renewal-policies/$one->{id}", { auto_renew => $true }), 422, qr/needs/, "$method: not without them later");
        my $r = $api->patch("$v1/renewal-policies/$one->{id}", { auto_renew => $true, %all });
        is($r->{status}, 200, "$method with all of it") or diag($r->{content});
        is_deeply({ map { ($_, $r->{json}{$_}) } keys %all }, \%all, 'which is answered');
        is($api->delete("$v1/renewal-policies/$one->{id}")->{status}, 204, 'nothing names it');
    }

    refused($api->post("$v1/renewal-policies", { name => 'x', method => 'acme', %{ $policy{acme} }, $_->[0] => $_->[1] }), 422, qr/^$_->[0]/, "$_->[0] \"$_->[1]\"")
        for [acme_directory_url => 'http://ca.example.com/'], [acme_directory_url => 'https://a b/'], [acme_account_email => 'nobody'];
    return;
}

sub issuers {
    my %acme = (method => 'acme', acme_directory_url => 'https://ca.example.com/directory', acme_account_email => 'ca@example.com');

    created($api, "$v1/issuers", { id => 'iss-b', name => 'Other CA', type => 'local' });
    created($api, "$v1/renewal-policies", { id => 'rp-acme', name => 'ACME', %acme });
    created($api, "$v1/renewal-policies", { id => 'rp-b', name => 'B', issuer_id => 'iss-b' });

    my $r = $api->post("$v1/renewal-policies", { name => 'Wrong', %acme, issuer_id => 'iss-b' });
    refused($r, 422, qr/a policy of method acme needs an issuer of type acme/, 'a policy with the issuer of another method');
    is($r->{json}{errors}[0]{pointer}, '/issuer_id', 'which is pointed to');

    my $differs = qr/renewal policy rp-acme renews by ACME, but issuer iss-local is of type local/;
    $r = $api->post("$v1/certificates", { id => 'mc-no', common_name => 'no.example.com', issuer_id => 'iss-local', renewal_policy_id => 'rp-acme' });
    refused($r, 422, $differs, 'created under a policy of another method');
    is($r->{json}{errors}[0]{pointer}, '/renewal_policy_id', 'the policy is pointed to');
    is($api->get("$v1/certificates/mc-no")->{status}, 404, 'nothing was created');

    crt('mc-own', renewal_policy_id => 'rp-b');
    refused($api->patch("$v1/certificates/mc-own", { renewal_policy_id => 'rp-acme' }), 422, $differs, 'given such a policy');
    is(row('mc-own')->{renewal_policy_id}, 'rp-b', 'it keeps its policy');
    $r = $api->patch("$v1/renewal-policies/rp-b", { %acme, issuer_id => $null });
    refused($r, 422, qr/certificate mc-own names this policy: renewal policy rp-b renews by ACME, but issuer iss-local/, 'the policy gets such a method');

    # an issuer of its own, or the policy's
    for my $case ([undef, qr/issuer_id is required: renewal policy rp-default names no issuer/], ['rp-none', qr/issuer_id is required/]) {
        $r = $api->post("$v1/certificates", { common_name => 'x.example.com', renewal_policy_id => $case->[0] });
        refused($r, 422, $case->[1], 'nobody says who issues');
        is($r->{json}{errors}[0]{pointer}, '/issuer_id', 'the field is pointed to');
    }
    is(crt('mc-policy', issuer_id => $null, renewal_policy_id => 'rp-b')->{issuer_id}, undef, 'the policy says it');
    refused($api->patch("$v1/renewal-policies/rp-b", { issuer_id => $null }), 422, qr/certificate mc-policy names this policy and no issuer/, 'and goes on saying it');
    created($api, "$v1/organizations", { id => 'org-b', name => 'B' });
    created($api, "$v1/renewal-policies", { id => 'rp-org-b', name => 'Of B', organization_id => 'org-b', issuer_id => 'iss-b' });
    crt('mc-org-b', issuer_id => $null, organization_id => 'org-b');
    refused($api->patch("$v1/certificates/mc-org-b", { organization_id => $null }), 422, qr/issuer_id is required: renewal policy rp-default/, 'nor another organization');
    is($api->delete("$v1/certificates/mc-org-b")->{status}, 204, 'it goes');
    refused($api->patch("$v1/certificates/mc-policy", { renewal_policy_id => $null }), 422, qr/issuer_id is required/, 'another policy does not');

    # a method that nobody serves: at once, with the reason, on no path
    my %nobody = (
        acme => qr/renewal policy rp-acme renews by ACME: set its issuer_id, or the certificate's, to an issuer of type acme/,
        adcs => qr/renewal policy rp-adcs renews by AD CS, and this version has no connector for it/,
    );
    created($api, "$v1/renewal-policies", { id => 'rp-adcs', name => 'AD CS', method => 'ad_cs', ad_cs_template_name => 'Web', ad_cs_ca_name => 'ca' });
    for my $name (sort keys %nobody) {
        crt("mc-$name", issuer_id => $null, renewal_policy_id => "rp-$name", status => 'Active', expires_at => at(5));
        refused($api->post("$v1/certificates/mc-$name/renew"), 422, $nobody{$name}, "$name: Renew Now without a connector");
        like(row("mc-$name")->{renewal_refused}, $nobody{$name}, "$name: the certificate says why");
        is(row("mc-$name")->{renew_at}, undef, "$name: and that it does not renew by itself");
    }

    # an issuer of the method's type supplies what the method needs
    created($api, "$v1/issuers", { id => 'iss-acme', name => 'ACME', type => 'acme',
        config => { directory_url => 'https://acme.example.com/directory', email => 'ca@example.com' } });
    created($api, "$v1/renewal-policies", { id => 'rp-served', name => 'Served', method => 'acme', issuer_id => 'iss-acme' });
    ok(crt('mc-served', issuer_id => $null, renewal_policy_id => 'rp-served', status => 'Active', expires_at => at(80))->{renew_at}, 'it renews');
    is(sql($d, "SELECT certificate_issuer('mc-served')"), 'iss-acme', 'by that issuer');
    is(crt('mc-acme-own', issuer_id => 'iss-acme', renewal_policy_id => 'rp-acme', status => 'Active', expires_at => at(80))->{renewal_refused}, undef,
        'as does its own of that type');
    $r = $api->post("$v1/renewal-policies", { name => 'Two', method => 'acme', issuer_id => 'iss-acme', acme_directory_url => 'https://other.example.com/' });
    refused($r, 422, qr/acme_directory_url is not the one of issuer iss-acme/, 'two directories');
    refused($api->patch("$v1/certificates/mc-served", { issuer_id => 'iss-local' }), 422, qr/issuer iss-local is of type local/, 'another issuer does not fit');

    # by scope: a policy of the organization does not turn its issuer into another
    created($api, "$v1/organizations", { id => 'org-acme', name => 'ACME' });
    crt('mc-scope', organization_id => 'org-acme', status => 'Active', expires_at => at(5));
    isnt(row('mc-scope')->{renew_at}, undef, 'under the default policy it renews');
    created($api, "$v1/renewal-policies", { id => 'rp-scope', name => 'Scope', organization_id => 'org-acme', %acme });
    is(row('mc-scope')->{renew_at}, undef, 'under a policy of another method it does not');
    like(row('mc-scope')->{renewal_refused}, qr/rp-scope renews by ACME, but issuer iss-local is of type local/, 'and says why');
    refused($api->post("$v1/certificates/mc-scope/renew"), 422, qr/issuer iss-local is of type local/, 'nor on request');

    for my $turn (1, 2) {                           # of the loop that looks for what is due
        my $now = sql($d, 'SELECT now()');
        ok(wait_until(30, sub { return sql($d, "SELECT last_run > '$now' FROM loops WHERE name = 'renewal'") eq 't' }), "turn $turn");
    }
    is($api->get("$v1/certificates/$_/renewals")->{json}{total}, 0, "$_: nothing was tried") for 'mc-acme', 'mc-adcs', 'mc-scope';
    is(row($_)->{consecutive_failures}, 0, "$_: nothing failed") for 'mc-acme', 'mc-scope';
    sql($d, q{UPDATE loops SET next_run = now() WHERE name = 'coverage'});      # once an hour
    ok(wait_until(20, sub { return $d->log =~ /loop=coverage.* of 3 certificates cannot renew them: .* of mc-acme/ }), 'the log warns of them') or diag($d->log);
    my $back = $api->patch("$v1/renewal-policies/rp-scope", { method => 'issuer' });
    is($back->{status}, 200, 'the policy gets another method') or diag($back->{content});
    isnt(row('mc-scope')->{renew_at}, undef, 'and the certificate its time');
    return;
}

sub tracked {
    for my $method ('manual', 'none') {
        my $scope = "org-$method";

        created($api, "$v1/organizations", { id => $scope, name => $scope });
        crt("mc-$method", organization_id => $scope, status => 'Active', expires_at => at(5));
        isnt(row("mc-$method")->{renew_at}, undef, "$method: before, it renews");
        refused($api->post("$v1/renewal-policies", { name => $scope, organization_id => $scope, method => $method }), 422,
            qr/auto_renew needs a method that renews/, "$method: not with automatic renewal");
        created($api, "$v1/renewal-policies", { id => "rp-$method", name => $scope, organization_id => $scope, method => $method, auto_renew => $false });
        is(row("mc-$method")->{renew_at}, undef, "$method: nothing of the scope renews by itself");
        refused($api->post("$v1/certificates/mc-$method/renew"), 422, qr/the method of renewal policy rp-$method is $method, which does not renew/,
            "$method: nor on request");
        ok(row("mc-$method")->{covered}, "$method: it is covered all the same");
    }

    return;
}

sub named {
    crt('mc-named', renewal_policy_id => 'rp-b');

    for my $query ('', '?force=true') {
        my $r = $api->delete("$v1/renewal-policies/rp-b$query");
        refused($r, 409, qr/still in use by certificate mc-named and others/, "DELETE$query");
        is_deeply($r->{json}{dependants}, [map { { type => 'certificate', id => $_ } } qw(mc-named mc-own mc-policy)], 'lists them');
    }
    is($api->get("$v1/renewal-policies/rp-b")->{status}, 200, 'it is there');
    refused($api->delete("$v1/renewal-policies/rp-b?forced=true"), 400, qr/forced/, 'an unknown parameter');
    return;
}

sub organization {
    created($api, "$v1/organizations", { id => 'org-own', name => 'Own' });
    my %soon = (organization_id => 'org-own', status => 'Active', expires_at => at(80));
    crt('mc-org', %soon);
    my $default = row('mc-org')->{renew_at};
    created($api, "$v1/renewal-policies", { id => 'rp-org', name => 'Of org-own', organization_id => 'org-own', renewal_window_days => 10 });
    my $own = row('mc-org')->{renew_at};
    cmp_ok($own, 'gt', $default, 'a new policy moves the renewals of its organization');

    is($api->patch("$v1/renewal-policies/rp-org", { is_active => $false })->{status}, 200, 'it is switched off');
    is(row('mc-org')->{renew_at}, undef, 'its certificates do not renew');
    ok(!row('mc-org')->{covered}, 'and are shown as not covered');
    is($api->patch("$v1/renewal-policies/rp-org", { is_active => $true })->{status}, 200, 'it is switched on');
    is(row('mc-org')->{renew_at}, $own, 'they renew again');

    sql($d, "INSERT INTO renewal_attempts (id, certificate_id, method, requested_by) VALUES ('ra-org', 'mc-org', 'issuer', 'test')");
    refused($api->delete("$v1/renewal-policies/rp-org?successor=rp-b"), 422, qr/successor is for the default policy/, 'it has no successor');
    my $r = $api->delete("$v1/renewal-policies/rp-org");
    is($r->{status}, 200, 'it is deleted') or diag($r->{content});
    is_deeply($r->{json}, { status => 'deleted', uncovered_certificates => 0, warning => undef }, 'the default policy covers what it covered');
    is(row('mc-org')->{renew_at}, $default, 'and sets the time');
    is($api->get("$v1/certificates/mc-org/renewals")->{json}{data}[0]{status}, 'pending', 'an attempt goes on');
    is($api->get("$v1/renewal-policies/rp-org")->{status}, 404, 'it is gone');
    return;
}

sub default_policy {
    my $covered = row('mc-org')->{renew_at};
    my $policies = $api->get("$v1/renewal-policies?per_page=500")->{json}{total};

    created($api, "$v1/renewal-policies", { id => 'rp-next', name => 'Next', renewal_window_days => 5 });
    refused($api->delete("$v1/renewal-policies/rp-default"), 409, qr/successor=.*force=true/, 'it needs a successor or force');
    refused($api->delete("$v1/renewal-policies/rp-default?successor=$_"), 422, qr/no other renewal policy "$_" without an organization/, "$_ cannot follow")
        for 'rp-default', 'rp-none', 'rp-scope';
    refused($api->delete("$v1/renewal-policies/rp-default?force=yes"), 400, qr/true or false/, 'force is true or false');
    is($api->get("$v1/renewal-policies?per_page=500")->{json}{total}, $policies + 1, 'none was deleted');
    is(row('mc-org')->{renew_at}, $covered, 'and nothing moved');

    my $r = $api->delete("$v1/renewal-policies/rp-default?successor=rp-next");
    is($r->{status}, 200, 'with a successor') or diag($r->{content});
    is_deeply($r->{json}, { status => 'deleted', uncovered_certificates => 0, warning => undef }, 'which covers them all');
    ok($api->get("$v1/renewal-policies/rp-next")->{json}{is_default}, 'it is the default');
    cmp_ok(row('mc-org')->{renew_at}, 'gt', $covered, 'and its window applies');
    is($api->get("$v1/stats/summary")->{json}{uncovered_certificates}, 0, 'nothing is without a policy');

    $d->stop;
    $d->restart;
    $api = $d->api;
    is($api->get("$v1/renewal-policies/rp-default")->{status}, 404, 'a restart does not bring it back');

    my @of_default = grep { !$_->{renewal_policy_id} && $_->{id} !~ /^mc-(?:scope|manual|none)$/ && $_->{status} !~ /Archived|Revoked/ }
        @{ $api->get("$v1/certificates?per_page=500")->{json}{data} };
    $r = $api->delete("$v1/renewal-policies/rp-next?force=true");
    is($r->{status}, 200, 'by force') or diag($r->{content});
    is($r->{json}{uncovered_certificates}, scalar @of_default, 'the answer counts those that nothing covers');
    like($r->{json}{warning}, qr/not renewed until/, 'with a warning');
    is($api->get("$v1/certificates?covered=false")->{json}{total}, scalar @of_default, 'a list has them');
    is($api->get("$v1/certificates?covered=true&status=Archived")->{json}{total}, 0, 'archived ones are in neither');
    is($api->get("$v1/stats/summary")->{json}{uncovered_certificates}, scalar @of_default, 'and the summary counts them');
    is(row('mc-org')->{renew_at}, undef, 'renew_at says that it does not renew');
    like(row('mc-org')->{renewal_refused}, qr/no renewal policy applies/, 'and renewal_refused why');
    refused($api->post("$v1/certificates/mc-org/renew"), 422, qr/no renewal policy applies/, 'as Renew Now does');
    is($api->get("$v1/audit?resource_id=rp-next")->{json}{data}[0]{details}{uncovered_certificates}, scalar @of_default, 'so does the audit');
    sql($d, q{UPDATE loops SET next_run = now() WHERE name = 'coverage'});      # once an hour
    ok(wait_until(20, sub { return $d->log =~ /loop=coverage.* no active renewal policy applies to @{[ scalar @of_default ]} certificates/ }),
        'the log warns') or diag($d->log);

    created($api, "$v1/renewal-policies", { id => 'rp-again', name => 'Again', is_default => $true });
    is(row('mc-org')->{renew_at}, $covered, 'a new default policy covers them');
    is($api->get("$v1/certificates?covered=false")->{json}{total}, 0, 'all');
    return;
}
