#!/usr/bin/perl
# What every resource promises: errors of RFC 9457 that point to each field, PUT
# and PATCH, If-Match, Location, Idempotency-Key, defaults that are told.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use JSON::PP ();
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $doc = $api->get("$v1/openapi.json")->{json};
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

sub pointers { return join ' ', map { $_->{pointer} } @{ $_[0]{json}{errors} // [] } }

subtest 'an error says all that is wrong, and where' => sub {
    my $r = $api->post("$v1/renewal-policies", { renewal_window_days => 0, max_retries => 'x',
        'a/b~c' => 1, alert_thresholds_days => [1, -1] });

    refused($r, 422, qr/ \(and more: see errors\)$/);
    is(join(' ', sort split / /, pointers($r)),
        '/alert_thresholds_days/1 /a~1b~0c /max_retries /name /renewal_window_days', 'each has its pointer (RFC 6901)');
    is($r->{json}{instance}, "$v1/renewal-policies", 'the instance is the path');

    my $type = $api->get($r->{json}{type});
    is($type->{status}, 200, 'the type leads somewhere');
    is($type->{json}{status}, 422, 'to what it means');
    like($type->{json}{detail}, qr/errors points to each of them/, 'in words');
    refused($api->get("$v1/problems/none"), 404, qr/no such type/);

    $r = $api->post("$v1/teams", { name => 1, map { ("unknown$_", 1) } 1 .. 50 });
    is(scalar @{ $r->{json}{errors} }, 20, 'twenty are enough');

    $r = $api->post("$v1/targets", { name => 'x', agent_id => 'ag-none', config => { record => '_agent', probe => 'x' } });
    is(join(' ', sort split / /, pointers($r)), '/config/probe /config/record', 'fields of a configuration too');
    $r = $api->post("$v1/targets", { name => 'x', agent_id => 'ag-none', type => 'f5', config => {} });
    refused($r, 422, qr/^type must be one of: nginx-module, nginx$/, 'a type that is unknown');
    is(pointers($r), '/type', 'is pointed to');
    $r = $api->post("$v1/targets", { name => 'x', agent_id => 'ag-none', type => 'nginx', config => { key_path => 'x' } });
    is(join(' ', sort split / /, pointers($r)), '/config/cert_path /config/key_path', 'what its type requires');
    $r = $api->post("$v1/issuers", { name => 'x', type => 'local', config => { ca_cert_path => '/none' } });
    is(pointers($r), '/config/ca_key_path', 'a rule of two fields has its pointer');
    $r = $api->post("$v1/issuers", { name => 'x', type => 'local', config => { ca_key_pem => 'x', validity_days => 0 } });
    is(join(' ', sort split / /, pointers($r)), '/config/ca_key_pem /config/validity_days', 'a secret of the server\'s own');
    unlike($r->{content}, qr/"x"/, 'and no value is repeated');
};

subtest 'unknown query parameters are refused everywhere' => sub {
    created($api, "$v1/teams", { id => 't-q', name => 'Q' });

    for my $path (sort keys %{ $doc->{paths} }) {
        next if $path =~ /pki/;
        (my $filled = $path) =~ s/\{\w+\}/t-q/;
        for my $method (sort keys %{ $doc->{paths}{$path} }) {
            my $r = $api->request(uc $method, "$filled?reson=superseded", $method =~ /^(?:post|put|patch)$/ ? {} : ());
            refused($r, 400, qr/^unknown query parameter "reson"$/, uc "$method $path");
        }
    }
    is($api->get("$v1/teams/t-q")->{status}, 200, 'the team is there still');
};

subtest 'defaults are what an object without the field has' => sub {
    sql($d, q{INSERT INTO agents (id, name, kind) VALUES ('ag-d', 'd', 'pull')});
    my %least = (TeamCreate => ['teams', { name => 'D' }], CertificateProfileCreate => ['profiles', { name => 'D' }],
        RenewalPolicyCreate => ['renewal-policies', { name => 'D' }],
        DeploymentTargetCreate => ['targets', { name => 'D', agent_id => 'ag-d' }],
        ManagedCertificateCreate => ['certificates', { common_name => 'd.example.com', issuer_id => 'iss-local' }],
        IssuerCreate => ['issuers', { name => 'D', type => 'local' }]);

    for my $schema (sort keys %least) {
        my ($path, $body) = @{ $least{$schema} };
        my $made = created($api, "$v1/$path", $body);
        my $fields = $doc->{components}{schemas}{$schema}{properties};
        my @with = grep { exists $fields->{$_}{default} } sort keys %$fields;

        cmp_ok(scalar @with, '>', 0, "$schema tells defaults");
        is_deeply($made->{$_}, $fields->{$_}{default}, "$schema: $_") for @with;
    }
};

subtest 'PUT replaces, PATCH changes what it names' => sub {
    my $made = created($api, "$v1/teams", { id => 't-p', name => 'P', description => 'long' });

    is($api->patch("$v1/teams/t-p", { name => 'P2' })->{json}{description}, 'long', 'PATCH keeps the rest');
    is($api->put("$v1/teams/t-p", { name => 'P3' })->{json}{description}, '', 'PUT gives it its default');
    my $r = $api->put("$v1/teams/t-p", { description => 'x' });
    refused($r, 422, qr/^name is required$/, 'PUT needs what creation needs');
    is(pointers($r), '/name', 'and says where');
    is($api->patch("$v1/teams/t-p", { description => undef })->{json}{description}, '', 'null takes it away');
    refused($api->patch("$v1/teams/t-p", { name => undef }), 422, qr/^name must be a string$/, 'but not what is required');
    is($api->request('PATCH', "$v1/teams/t-p", '{"name":"P4"}', 'Content-Type' => 'application/merge-patch+json')->{status},
        200, 'with the type of RFC 7396');
    refused($api->request('PUT', "$v1/teams/t-p", '{"name":"P4"}', 'Content-Type' => 'application/merge-patch+json'),
        415, qr/application\/json/, 'which is none for PUT');

    sql($d, q{INSERT INTO agents (id, name, kind) VALUES ('ag-p', 'p', 'pull')});
    created($api, "$v1/targets", { id => 'tgt-p', name => 'p', agent_id => 'ag-p', type => 'nginx',
        config => { cert_path => '/a', key_path => '/b' } });
    is_deeply($api->put("$v1/targets/tgt-p", { name => 'p2', type => 'nginx', agent_id => 'ag-p',
        config => { cert_path => '/c' }, enabled => $true })->{json}{config},
        { cert_path => '/c', key_path => '/b' }, 'PUT keeps keys of config that it leaves out');
    is_deeply($api->patch("$v1/targets/tgt-p", { config => { key_path => undef } })->{json}{config},
        { cert_path => '/c' }, 'null takes one away');
    refused($api->patch("$v1/targets/tgt-p", { config => { cert_path => undef } }), 422,
        qr/^config.cert_path must be a string$/, 'but not a required one');
    refused($api->patch("$v1/targets/tgt-p", { type => 'nginx-module' }), 422, qr/^config/,
        'a new type comes with its configuration');
    is_deeply($api->patch("$v1/targets/tgt-p", { type => 'nginx-module', config => { record => 'r' } })->{json}{config},
        { record => 'r' }, 'which begins anew');

    # an object whose aliases disagree: the one that changed counts
    my $policy = created($api, "$v1/renewal-policies", { id => 'rp-p', name => 'P' });
    is($api->put("$v1/renewal-policies/rp-p", { %$policy, renew_before_days => 9 })->{json}{renewal_window_days}, 9,
        'the alias that changed');
    refused($api->patch("$v1/renewal-policies/rp-p", { renew_before_days => 8, renewal_window_days => 7 }), 422,
        qr/^renew_before_days is another name of renewal_window_days, and they differ$/, 'two that disagree');
};

subtest 'a stale tag overwrites nothing' => sub {
    my $made = $api->post("$v1/teams", { id => 't-e', name => 'E' });
    is($made->{headers}{location}, "$v1/teams/t-e", 'Location of what was made');
    my $tag = $api->get("$v1/teams/t-e")->{headers}{etag};
    is($made->{headers}{etag}, $tag, 'the answer to POST has the tag of GET');

    my $r = $api->request('PATCH', "$v1/teams/t-e", { name => 'E2' }, 'If-Match' => $tag);
    is($r->{status}, 200, 'If-Match that fits');
    isnt($r->{headers}{etag}, $tag, 'and the new tag');
    for my $method (qw(PUT PATCH DELETE)) {
        refused($api->request($method, "$v1/teams/t-e", $method eq 'DELETE' ? undef : { name => 'E3' }, 'If-Match' => $tag),
            412, qr/has changed/, "$method with the old one");
    }
    refused($api->request('PATCH', "$v1/teams/t-e", { name => 'E3' }, 'If-Match' => 'W/' . $r->{headers}{etag}),
        412, qr/has changed/, 'a weak tag never fits (RFC 9110 13.1.1)');
    is($api->request('PATCH', "$v1/teams/t-e", { name => 'E4' }, 'If-Match' => "\"x\", $r->{headers}{etag}")->{status}, 200,
        'one of several');
    is($api->request('DELETE', "$v1/teams/t-e", undef, 'If-Match' => '*')->{status}, 204, 'any');

    # two at once with one tag: one wins
    created($api, "$v1/teams", { id => 't-r', name => 'R' });
    my $same = $api->get("$v1/teams/t-r")->{headers}{etag};
    my @status = at_once(sub { my ($own, $n) = @_;
        return $own->request('PATCH', "$v1/teams/t-r", { description => "by $n" }, 'If-Match' => $same)->{status} }, 6);
    is(join(' ', sort @status), '200 412 412 412 412 412', 'of six at once one wins');
};

subtest 'a request with an Idempotency-Key is done once' => sub {
    my $total = $api->get("$v1/teams")->{json}{total};
    my $send = sub { my ($own, $key, $body, $path) = @_;
        return $own->request('POST', $path // "$v1/teams", $body, 'Idempotency-Key' => $key) };
    my $first = $send->($api, 'k-1', { name => 'Once' });
    my $again = $send->($api, 'k-1', { name => 'Once' });

    is($first->{status}, 201, 'the first');
    is($again->{status}, 201, 'the second');
    is_deeply($again->{json}, $first->{json}, 'has the same answer');
    is($again->{headers}{location}, $first->{headers}{location}, 'and Location');
    is($again->{headers}{'idempotent-replayed'}, 'true', 'and says so');
    is($api->get("$v1/teams")->{json}{total}, $total + 1, 'one team was made');
    refused($send->($api, 'k-1', { name => 'Other' }), 422, qr/came with another request/, 'another body');
    refused($send->($api, 'k-1', { name => 'Once', email => 'x' }, "$v1/owners"), 422, qr/came with another request/, 'another path');
    refused($send->($api, '', { name => 'E' }), 400, qr/1 to 255 visible/, 'an empty key');
    refused($send->($api, 'x' x 256, { name => 'E' }), 400, qr/1 to 255 visible/, 'a long one');
    refused($send->($api, 'k-2', { name => 1 }), 422, qr/^name/, 'a refused request');
    is($send->($api, 'k-2', { name => 'Now right' })->{status}, 201, 'leaves its key free');

    my @once = at_once(sub { my ($own) = @_; return $send->($own, 'k-3', { name => 'Together' })->{status} }, 6);
    is("@once", '201 201 201 201 201 201', 'six at once have the same answer');
    is($api->get("$v1/teams")->{json}{total}, $total + 3, 'of one team');

    # a key that is made is a secret: it is stored sealed
    my $key = $send->($api, 'k-4', { name => 'bot', permissions => ['*'] }, "$v1/auth/keys");
    is($key->{status}, 201, 'an API key');
    is($send->($api, 'k-4', { name => 'bot', permissions => ['*'] }, "$v1/auth/keys")->{json}{key}, $key->{json}{key},
        'is answered again');
    unlike(sql($d, 'SELECT string_agg(t::text, chr(10)) FROM idempotency_keys t'), qr/\Q$key->{json}{key}\E|Once/,
        'and is not in the database');

    # keys belong to who sent them
    my $other = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $key->{json}{key});
    is($send->($other, 'k-1', { name => 'By another' })->{status}, 201, 'another principal has keys of its own');

    sql($d, q{UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'k-1'});
    refused($send->($api, 'k-1', { name => 'Once' }), 409, qr/exists/, 'after a day the request is new');
};

subtest 'no word of the database' => sub {
    for my $r ($api->post("$v1/certificates", { common_name => 'x.example.com', issuer_id => 'iss-local',
            expires_at => '2026-02-30T00:00:00Z' }), $api->get("$v1/teams?cursor=x"), $api->get("$v1/certificates?created_after=2026-02-31T00:00:00Z"),
        $api->get("$v1/profiles?enabled=maybe"), $api->get("$v1/discovered-certificates?is_leaf=2x"))
    {
        ok($r->{status} == 422 || $r->{status} == 400, "refused with $r->{status}");
        unlike($r->{content}, qr/syntax|relation|column|type |constraint|postgres|timestamp|boolean|api_|out of range:/i, $r->{json}{detail});
    }
};

done_testing();

# n processes, each with a connection of its own, begin together.
sub at_once {
    my ($do, $n) = @_;
    my @pipes = map {
        pipe my $in, my $out or die "pipe: $!";
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            my $own = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $d->key);
            $own->get('/health');
            print {$out} $do->($own, $_);
            close $out;
            require POSIX;
            POSIX::_exit(0);
        }
        close $out;
        [$in, $pid];
    } 1 .. $n;

    return map { my ($in, $pid) = @$_; my $said = <$in> // 'nothing'; waitpid $pid, 0; $said } @pipes;
}
