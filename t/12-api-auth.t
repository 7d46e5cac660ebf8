#!/usr/bin/perl
# Who may what: every route of the OpenAPI document with no key, a wrong key, a
# key that lacks the permission and one that has it; keys are kept as hashes,
# end when they are revoked, and guessing them is slowed down.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process qw(slurp wait_until);
use JSON::PP ();
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $doc = $api->get("$v1/openapi.json")->{json};
my %holder;

is((stat($d->data . '/admin.key'))[2] & 0777, 0600, 'admin.key is its owner\'s');

my @routes;
for my $path (sort keys %{ $doc->{paths} }) {
    for my $method (sort keys %{ $doc->{paths}{$path} }) {
        my $op = $doc->{paths}{$path}{$method};
        (my $filled = $path) =~ s/\{\w+\}/none/g;
        push @routes, [uc $method, $filled, $op->{'x-permission'}, exists $op->{security}];
    }
}
cmp_ok(scalar @routes, '>', 60, 'the matrix has every route');

# one key for each permission, and one for each that has all others
my %permissions = map { ($_->[2], 1) } grep { $_->[2] } @routes;
for my $permission (sort keys %permissions) {
    $holder{$permission} = with_key([$permission]);
    $holder{"not $permission"} = with_key([grep { $_ ne $permission } sort keys %permissions]);
}

my $wrong = client('certctl_' . '0' x 64);
my $none  = client();

subtest 'the matrix' => sub {
    for my $row (@routes) {
        my ($method, $path, $permission, $public) = @$row;
        my $name = "$method $path";

        if ($public) {
            isnt($none->request($method, $path)->{status}, 401, "$name is public");
            next;
        }

        my $r = $none->request($method, $path);
        refused($r, 401, qr/an API key is needed/, "$name without a key");
        is($r->{headers}{'www-authenticate'}, 'Bearer', 'and says how');

        if (!$permission) {
            is($holder{'team.read'}->request($method, $path)->{status}, 200, "$name with any key");
            next;
        }

        refused($holder{"not $permission"}->request($method, $path), 403,
            qr/lacks the permission \Q$permission\E/, "$name without $permission");
        my $status = $holder{$permission}->request($method, $path)->{status};
        ok($status != 401 && $status != 403 && $status < 500, "$name with $permission: $status");
    }
};

subtest 'families of permissions' => sub {
    my $team = with_key(['team.*']);

    is($team->get("$v1/teams")->{status}, 200, 'team.* reads teams');
    is($team->post("$v1/teams", { name => 'F' })->{status}, 201, 'and edits them');
    is($team->get("$v1/owners")->{status}, 403, 'but reads no owners');
    is(with_key(['auth.*', 'team.read'])->get("$v1/auth/keys")->{status}, 200, 'auth.* reaches auth.key.list');
};

subtest 'making keys' => sub {
    my $maker = with_key(['auth.key.*', 'team.read']);
    my $body = { name => 'made', permissions => ['team.read'] };

    my $made = created($maker, "$v1/auth/keys", $body);
    like($made->{key}, qr/^certctl_[0-9a-f]{64}$/, 'the key is answered once');
    ok(!exists $maker->get("$v1/auth/keys/$made->{id}")->{json}{$_}, "$_ is not answered again")
        for qw(key hash);

    refused($maker->post("$v1/auth/keys", { name => 'x', permissions => [$_] }), 403,
        qr/does not hold/, "no $_ from who lacks it") for '*', 'cert.*', 'team.*', 'team.edit';
    refused($api->post("$v1/auth/keys", { name => 'x', permissions => ['team.raed'] }), 422,
        qr/no route needs "team.raed"/, 'a misspelt permission');
    refused($api->post("$v1/auth/keys", { name => 'x', permissions => [] }), 422, qr/1 to 100/);
    refused($maker->post("$v1/auth/keys", $body), 409, qr/an API key of this name exists/);
    for my $name (qw(system anonymous System ANONYMOUS)) {
        my $r = $api->post("$v1/auth/keys", { name => $name, permissions => ['team.read'] });

        refused($r, 422, qr/name must not be "\Q$name\E": audit rows use/, "\"$name\" is no name of a key");
        is($r->{json}{errors}[0]{pointer}, '/name', 'with a pointer');
    }
    refused($api->post("$v1/auth/keys", { name => ' system ', permissions => ['team.read'] }), 422, qr/name must match/,
        'nor a text that looks like one');
};

subtest 'a key is a hash at rest, and never in the log' => sub {
    my $key = $d->key;
    my ($hex) = $key =~ /^certctl_(\w+)$/;

    is($api->get("$v1/auth/check")->{json}{user}, 'admin', 'it works');
    my $dump = sql($d, q{SELECT string_agg(k::text, ' ') FROM api_keys k});
    my $audit = sql($d, q{SELECT string_agg(a::text, ' ') FROM audit_events a});
    unlike("$dump $audit", qr/$hex|certctl_/, 'no key in the database');
    like($dump, qr/[0-9a-f]{64}/, 'its hash is');
    unlike($d->log, qr/$hex|certctl_[0-9a-f]/, 'no key in the log');
};

subtest 'last use, expiry, revocation' => sub {
    my $made = created($api, "$v1/auth/keys", { name => 'short', permissions => ['team.read'],
        expires_at => '2099-01-01T00:00:00Z' });
    my $short = client($made->{key});

    is($short->get("$v1/teams")->{status}, 200, 'it works');
    ok($api->get("$v1/auth/keys/$made->{id}")->{json}{last_used_at}, 'its use is noted');

    sql($d, "UPDATE api_keys SET expires_at = now() WHERE id = '$made->{id}'");
    ok(wait_until(5, sub { $short->get("$v1/teams")->{status} == 401 }), 'expired: ends within 5 s');
    sql($d, "UPDATE api_keys SET expires_at = NULL WHERE id = '$made->{id}'");
    ok(wait_until(5, sub { $short->get("$v1/teams")->{status} == 200 }), 'it works again');

    is($api->delete("$v1/auth/keys/$made->{id}")->{status}, 204, 'revoke');

    # new connections meet all threads
    ok(wait_until(5, sub {
        return !grep { client($made->{key})->get("$v1/teams")->{status} !~ /^4(?:01|29)$/ } 1 .. 8;
    }), 'revoked everywhere within 5 s');
    ok($api->get("$v1/auth/keys/$made->{id}")->{json}{revoked_at}, 'it is known still');
};

subtest 'forms of the header' => sub {
    my $key = $d->key;

    for my $bad ('', 'Bearer', 'Bearer ', "Basic $key", $key, "Bearer $key x", "Bearer ${key}0",
        'Bearer ' . 'x' x 8000)
    {
        my $r = $none->request('GET', "$v1/teams", undef, authorization => $bad);
        ok($r->{status} == 401 || $r->{status} == 429, 'refused: ' . substr $bad, 0, 12)
            or diag("$r->{status} $r->{content}");
    }

    # a thread that does not know the key yet may not look it up while this
    # address has guessed too often: the revoked key of above counts, too
    ok(wait_until(10, sub {
        return $none->request('GET', "$v1/teams", undef, authorization => "bearer   $key")->{status} == 200;
    }), 'the scheme has no case (RFC 9110 11.1)');
};

subtest 'guessing is slowed down, who is known is not' => sub {
    my $known = with_key(['team.read']);

    # the guesses above may have used up what this address may ask for in a second
    ok(wait_until(10, sub { $known->get("$v1/teams")->{status} == 200 }), 'a key that is in use');

    my %seen;
    my $guesser = client('certctl_' . 'f' x 64);
    for my $n (1 .. 120) {
        my $r = $guesser->get("$v1/teams");
        $seen{ $r->{status} }++;
        like($r->{headers}{'retry-after'}, qr/^\d+$/, 'Retry-After') if $r->{status} == 429 && $seen{429} == 1;
    }

    ok($seen{429}, '429 after ' . ($seen{401} // 0) . ' failures');
    is(join(' ', sort keys %seen), $seen{401} ? '401 429' : '429', 'and nothing else');
    is($known->get("$v1/teams")->{status}, 200, 'the known key works on');
};

$d->stop;

subtest 'demo mode needs no key, on loopback only' => sub {
    my $demo = api_daemon(args => ['--demo']);
    my $open = Certctl::HTTP->new(port => $demo->port, ca => $demo->ca);

    my $r = $open->get("$v1/auth/check")->{json};
    is("$r->{actor_id} $r->{actor_type}", 'anonymous Anonymous', 'who has no key is anonymous');
    is($open->get("$v1/auth/info")->{json}{auth_type}, 'none', 'and it says so');
    created($open, "$v1/teams", { id => 't-open', name => 'Open' });
    $r = $open->get("$v1/audit?resource_id=t-open")->{json}{data}[0];
    is("$r->{actor} $r->{actor_type}", 'anonymous Anonymous', 'also in the audit');
    is(Certctl::HTTP->new(port => $demo->port, ca => $demo->ca, bearer => 'wrong')
        ->get("$v1/teams")->{status}, 401, 'a wrong key is wrong still');
};

done_testing();

sub client {
    my ($key) = @_;
    return Certctl::HTTP->new(port => $d->port, ca => $d->ca, $key ? (bearer => $key) : ());
}

my $n;

sub with_key {
    my ($permissions) = @_;
    my $r = $api->post("$v1/auth/keys", { name => 'key-' . ++$n, permissions => $permissions });

    die $r->{content} if $r->{status} != 201;
    return client($r->{json}{key});
}
