#!/usr/bin/perl
# The OpenAPI document says what the daemon does: each of its routes is there,
# each part that it refers to exists, and answers have the fields it promises.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(slurp write_file);
use JSON::PP ();
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $r   = $api->get("$v1/openapi.json");
my $doc = $r->{json};
my $schemas = $doc->{components}{schemas};

write_file($d->dir . '/openapi.json', $r->{content});
my $why = qx{/usr/bin/python3 t/tool/openapi.py document @{[ $d->dir ]}/openapi.json};
is($?, 0, 'it is a document of OpenAPI 3.1, its schemas are of JSON Schema 2020-12') or diag $why;

# the check finds what is wrong
for my $spoiled (
    [qr/description is null/, sub { $_[0]{paths}{'/health'}{get}{description} = undef }],
    [qr/no operation object|has responses/, sub { delete $_[0]{paths}{'/health'}{get}{responses} }],
    [qr/leads nowhere/, sub { $_[0]{components}{schemas}{Team}{properties}{id} = { '$ref' => '#/components/schemas/None' } }],
    [qr/schema Team/, sub { $_[0]{components}{schemas}{Team}{type} = 'text' }],
    [qr/has no parameter/, sub { shift @{ $_[0]{paths}{'/api/v1/teams/{id}'}{get}{parameters} } }],
) {
    my $copy = JSON::PP::decode_json($r->{content});
    $spoiled->[1]->($copy);
    write_file($d->dir . '/spoiled.json', JSON::PP::encode_json($copy));
    like(qx{/usr/bin/python3 t/tool/openapi.py document @{[ $d->dir ]}/spoiled.json}, $spoiled->[0], "finds $spoiled->[0]");
}

like($r->{headers}{'content-type'}, qr{^application/json}, 'it is JSON');
is($doc->{openapi}, '3.1.0', 'of OpenAPI 3.1');
ok($doc->{info}{title} && $doc->{info}{version}, 'with title and version');
is($doc->{components}{securitySchemes}{bearer}{scheme}, 'bearer', 'keys are bearer tokens');
is_deeply($doc->{security}, [{ bearer => [] }], 'and needed unless a route says otherwise');

# routes.c is the map: both sides have the same rows
my $map = slurp('controller/routes.c');
my %row;
$map =~ s{V1 "}{"/api/v1}g;
$map =~ s{REST_PROBLEMS "}{"/api/v1/problems}g;
$row{"$1 " . ($2 =~ s/\*\}/}/r)}++ while $map =~ /^    \{ "([A-Z]+)", "(.+?)"/mg;
while ($map =~ /^    RESOURCE_ROUTES(_KEPT)?\("(.+?)"/mg) {
    $row{$_}++ for "GET $2", "POST $2", "GET $2/{id}", "PUT $2/{id}", "PATCH $2/{id}", $1 ? () : "DELETE $2/{id}";
}
my %said;
my %ids;

for my $path (sort keys %{ $doc->{paths} }) {
    for my $method (sort keys %{ $doc->{paths}{$path} }) {
        $said{ uc($method) . " $path" }++;
        subtest "$method $path" => sub { operation($method, $path, $doc->{paths}{$path}{$method}) };
    }
}
is_deeply(\%said, \%row, 'every route is described, and nothing else');

my %refs;
refs($doc);
is(join(' ', grep { !resolves($_) } sort keys %refs), '', 'every reference leads somewhere');

for my $name (sort keys %$schemas) {
    my $schema = $schemas->{$name};

    subtest "schema $name" => sub {
        is($schema->{type}, 'object', 'an object');
        ok(@{ $schema->{required} // [] } || $name !~ /^(?:Team|Agent|Issuer|ManagedCertificate|Job|Problem)$/,
            'an answer says what is always there');
        for my $field (sort keys %{ $schema->{properties} }) {
            my $f = $schema->{properties}{$field};
            my @types = ref $f->{type} ? @{ $f->{type} } : $f->{type};

            ok(!grep({ !/^(string|integer|boolean|object|array|null)$/ } @types), "$field has a type");
            ok($f->{items}, "$field has items") if grep { $_ eq 'array' } @types;
            ok(eval { qr/$f->{pattern}/; 1 }, "$field: its pattern is one") if defined $f->{pattern};
            cmp_ok($f->{minimum}, '<=', $f->{maximum}, "$field has a range") if defined $f->{maximum};
        }
        ok($schema->{properties}{$_}, "$_ is required and there") for @{ $schema->{required} // [] };
        is($schema->{additionalProperties}, 0, 'unknown fields are refused') if $name =~ /(Create|Update|Request)$/;
    };
}

is_deeply($schemas->{TeamCreate}{required}, ['name'], 'a team needs a name');
is($schemas->{RenewalPolicyCreate}{properties}{renewal_window_days}{maximum}, 365, 'ranges are told');
is_deeply($schemas->{ManagedCertificateCreate}{properties}{status}{enum}, ['Pending', 'Active'], 'words are told');
like($schemas->{OwnerCreate}{properties}{email}{pattern}, qr/\@/, 'patterns are told');
is_deeply([sort keys %{ $schemas->{Problem}{properties} }],
    [qw(dependants detail error errors instance message request_id status title type)], 'errors are told');
is_deeply($schemas->{IssuerCreate}{oneOf}[0]{properties}{type}{enum}[0], 'local', 'the type says which configuration');
is($schemas->{LocalConfigCreate}{properties}{validity_days}{maximum}, 3650, 'and its fields are told');
ok(!$schemas->{LocalConfig}{properties}{ca_key_pem}, 'but no secret of an answer');
is_deeply($schemas->{NginxConfigCreate}{required}, ['cert_path'], 'nor what need not be given');

# answers: no field that is not described, none missing that is
created($api, "$v1/organizations", { id => 'org-a', name => 'A' });
created($api, "$v1/teams", { id => 't-a', name => 'A' });
created($api, "$v1/owners", { id => 'o-a', name => 'A', email => 'a@example.com' });
sql($d, q{INSERT INTO agents (id, name, kind) VALUES ('ag-a', 'a', 'pull')});
created($api, "$v1/targets", { id => 'tgt-a', name => 'a', agent_id => 'ag-a' });
created($api, "$v1/certificates", { id => 'mc-a', common_name => 'a.example.com', issuer_id => 'iss-local',
    target_ids => ['tgt-a'] });
my $job = $api->post("$v1/certificates/mc-a/renew")->{json}{job_id};
sql($d, q{INSERT INTO discovery_scans (id, agent_id) VALUES ('dscan-a', 'ag-a');
    INSERT INTO discovered_certificates (id, fingerprint_sha256, agent_id, place, serial_number, issuer_dn, subject_dn,
        not_before, not_after, pem_data) VALUES ('dcert-a', 'f', 'ag-a', 'p', '1', 'CN=i', 'CN=s', now(), now(), '');
    INSERT INTO certificate_versions (certificate_id, issuer_id, serial_number, not_before, not_after,
        fingerprint_sha256, spki_sha256, pem_chain) VALUES ('mc-a', 'iss-local', '1', now(), now(), 'f', 's', '')});

my %object = (Organization => 'organizations/org-a', Team => 'teams/t-a', Owner => 'owners/o-a',
    CertificateProfile => 'profiles/prof-standard-tls', RenewalPolicy => 'renewal-policies/rp-default',
    Issuer => 'issuers/iss-local', Agent => 'agents/ag-a', DeploymentTarget => 'targets/tgt-a',
    ManagedCertificate => 'certificates/mc-a', Job => "jobs/$job", DiscoveryScan => 'discovery-scans/dscan-a',
    DiscoveredCertificate => 'discovered-certificates/dcert-a', DashboardSummary => 'stats/summary',
    DiscoverySummary => 'discovery-summary', AuthCheck => 'auth/me', AuthInfo => 'auth/info', Version => 'version');
my %list = (CertificateVersion => 'certificates/mc-a/versions', RenewalAttempt => 'certificates/mc-a/renewals',
    Deployment => 'certificates/mc-a/deployments', AuditEvent => 'audit');

described($_, $api->get("$v1/$object{$_}")->{json}) for sort keys %object;
described($_, $api->get("$v1/$list{$_}")->{json}{data}[0]) for sort keys %list;

done_testing();

sub operation {
    my ($method, $path, $op) = @_;
    my @names = $path =~ /\{(\w+)\}/g;

    ok($op->{summary} && $op->{operationId} && @{ $op->{tags} }, 'has a summary, an id and a tag');
    ok(!$ids{ $op->{operationId} }++, "operationId $op->{operationId} is its own");
    is_deeply([map { $_->{name} } grep { $_->{in} eq 'path' && $_->{required} } @{ $op->{parameters} }],
        \@names, 'has the path\'s parameters');
    ok(!grep({ !$_->{name} || !$_->{schema}{type} } @{ $op->{parameters} }), 'parameters have types');
    ok(scalar(grep { /^2/ } keys %{ $op->{responses} }), 'a success');
    ok($op->{responses}{default}, 'and errors');
    ok(defined $op->{'x-permission'}, 'tells its permission');
    ok($op->{responses}{401}, '401 when a key is needed') if !$op->{security};
    ok((values %{ $op->{requestBody}{content} })[0]{schema}, 'a body has a schema') if $op->{requestBody};
    ok($op->{responses}{412}, 'If-Match is told') if $method =~ /^(?:put|patch|delete)$/;
    ok($op->{responses}{422}, 'rules are told') if $op->{requestBody} && $path !~ /pki/;
    ok(!$op->{requestBody}, 'no body') if $method eq 'get' || $method eq 'delete';
    return;
}

sub refs {
    my ($node) = @_;

    if (ref $node eq 'HASH') {
        $refs{ $node->{'$ref'} }++ if defined $node->{'$ref'} && !ref $node->{'$ref'};
        refs($_) for values %$node;

    } elsif (ref $node eq 'ARRAY') {
        refs($_) for @$node;
    }

    return;
}

sub resolves {
    my ($ref) = @_;
    my $node = $doc;

    my ($path) = $ref =~ m{^#/(.+)} or return 0;
    $node = ref $node eq 'HASH' ? $node->{$_} : undef for split m{/}, $path;
    return defined $node;
}

sub described {
    my ($name, $object) = @_;
    my $optional = qr/^(?:key)$/;
    my @missing = grep { !exists $object->{$_} && !/$optional/ } sort keys %{ $schemas->{$name}{properties} };
    my @extra   = grep { !$schemas->{$name}{properties}{$_} } sort keys %$object;

    is("@missing / @extra", ' / ', "$name is answered as it is described");
    return;
}
