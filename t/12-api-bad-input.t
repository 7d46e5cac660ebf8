#!/usr/bin/perl
# Whatever a stranger sends, made from the OpenAPI document and by hand: never a
# 5xx, never a change by what was refused, never the input in the answer's place.

use strict;
use warnings;
use Certctl::API;
use JSON::PP ();
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $doc = $api->get("$v1/openapi.json")->{json};

created($api, "$v1/teams", { id => 't-a', name => 'A' });
created($api, "$v1/organizations", { id => 'org-a', name => 'A' });
created($api, "$v1/owners", { id => 'o-a', name => 'A', email => 'a@example.com' });
sql($d, q{INSERT INTO agents (id, name, kind) VALUES ('ag-a', 'a', 'pull')});
created($api, "$v1/targets", { id => 'tgt-a', name => 'a', agent_id => 'ag-a' });
created($api, "$v1/certificates", { id => 'mc-a', common_name => 'a.example.com',
    issuer_id => 'iss-local', target_ids => ['tgt-a'] });

subtest 'bodies that are not JSON of RFC 8259' => sub {
    my @bad = (
        ['', 'nothing at all', 400],
        [' ', 'a space'], ['{', 'an open brace'], ['{}{}', 'two objects'], ['{} x', 'more text'],
        ['{"name":"a",}', 'a comma too many'], ["{'name':'a'}", 'single quotes'],
        ['{"name":"a","name":"b"}', 'a name twice'], ['{"name":NaN}', 'NaN'],
        ['{"name":1e999}', 'a number beyond all'], ['{"name":' . '9' x 400 . '}', '400 digits'],
        ["{\"name\":\"\x00\"}", 'a NUL'], ['{"name":"\u0000"}', 'an escaped NUL'],
        ["{\"name\":\"\xff\xfe\"}", 'no UTF-8'], ["{\"name\":\"\xc0\xaf\"}", 'overlong UTF-8'],
        ["{\"name\":\"\xed\xa0\x80\"}", 'a surrogate'], ['{"name":"\ud800"}', 'half a pair'],
        ['[' x 33 . ']' x 33, '33 levels'], ['{"a":' x 5000 . '1' . '}' x 5000, '5000 levels'],
        ['[' x 500000, 'half a million brackets'],
        ['"text"', 'a string'], ['[]', 'an array'], ['null', 'null'], ['1', 'a number'],
        ['{"":"a"}', 'an empty name', 422], ['{"name":"' . 'x' x 300000 . '"}', 'a long text', 422],
    );

    for my $case (@bad) {
        my ($body, $name, $status) = @$case;
        my $r = $api->request('POST', "$v1/teams", $body, 'Content-Type' => 'application/json');
        refused($r, $status // 400, qr/./, $name);
    }

    refused($api->request('POST', "$v1/teams", "{\n  \"name\": }", 'Content-Type' => 'application/json'),
        400, qr/line 2, column \d+/, 'says where');
    refused($api->request('POST', "$v1/teams", '{"name":"x"}', 'Content-Type' => $_), 415,
        qr/application\/json/, "Content-Type: $_")
        for 'text/plain', 'application/jsonx', 'application/x-www-form-urlencoded';
    is($api->request('POST', "$v1/teams", '{"name":"charset"}',
        'Content-Type' => 'application/json; charset=utf-8')->{status}, 201, 'with a charset');
};

subtest 'text that is odd, and fine' => sub {
    my $name = "\x{1F600} <script> '; DROP TABLE teams; -- \\ \"quoted\" %s \x{5d0}\x{628} \x{e9}e\x{301}";
    my $made = created($api, "$v1/teams", { name => $name });

    is($api->get("$v1/teams/$made->{id}")->{json}{name}, $name, 'comes back as it went');
};

# every text that people read as a name, in every body
subtest 'names that are not what they look like' => sub {
    my %label = map { ($_, 1) } qw(name environment hostname ca_common_name ad_cs_template_name ad_cs_ca_name);
    my @bad = (' ', "\t", "\x{a0}", "\x{3000}", ' a', 'a ', "a\x{2003}", "a\nb", "a\x{7f}b", "a\x{85}b", "a\x{202e}b",
        "a\x{2066}b", "\x{200f}a", "\x{61c}a", "a\x{200b}b", "a\x{200d}b", "\x{feff}a", "a\x{ad}b", "a\x{2028}b",
        "\x{3164}", "\x{2800}", "a\x{e0041}b");
    my ($before, $n) = (state(), 0);

    for my $path (sort keys %{ $doc->{paths} }) {
        for my $method (grep { $doc->{paths}{$path}{$_}{requestBody} } sort keys %{ $doc->{paths}{$path} }) {
            my $schema = schema($doc->{paths}{$path}{$method}{requestBody}{content}{'application/json'}{schema});
            (my $filled = $path) =~ s/\{\w+\}/existing($path)/e;

            for my $name (grep { $label{$_} && !$schema->{properties}{$_}{readOnly} } sort keys %{ $schema->{properties} }) {
                $n++;
                is(join(' ', map { sprintf 'U+%vX', $_ } grep { !points($method, $filled, $schema, { $name => $_ }, "/$name") } @bad), '',
                    "\U$method\E $filled: $name");
            }
        }
    }

    cmp_ok($n, '>', 15, "$n fields");
    is(join(' ', grep { !points('post', "$v1/issuers", { required => ['name', 'type'] }, { config => { ca_common_name => $_ } },
        '/config/ca_common_name') } @bad), '', 'the name of a CA');
    is(state(), $before, 'and nothing changed');
};

# both at once, with values that differ
subtest 'two names of one field' => sub {
    my %values = (integer => [20, 10], boolean => [JSON::PP::true, JSON::PP::false],
        string => ['2031-01-01T00:00:00Z', '2032-01-01T00:00:00Z']);
    my ($before, %pairs) = (state());

    for my $path (sort keys %{ $doc->{paths} }) {
        for my $method (grep { $doc->{paths}{$path}{$_}{requestBody} } sort keys %{ $doc->{paths}{$path} }) {
            my $schema = schema($doc->{paths}{$path}{$method}{requestBody}{content}{'application/json'}{schema});
            my $fields = $schema->{properties};
            (my $filled = $path) =~ s/\{\w+\}/existing($path)/e;

            for my $alias (grep { ($fields->{$_}{description} // '') =~ /^another name of (\w+)|^(\w+) in days$/ } sort keys %$fields) {
                my ($field) = grep { defined } $fields->{$alias}{description} =~ /^another name of (\w+)|^(\w+) in days$/;
                my ($type) = grep { $_ ne 'null' } ref $fields->{$alias}{type} ? @{ $fields->{$alias}{type} } : $fields->{$alias}{type};

                # of an object that is changed one of two truths is what it was, as in one
                # that was read and is sent back: the other one is meant
                next if $type eq 'boolean' && $method ne 'post';

                $pairs{"$alias $field"}++;
                ok(points($method, $filled, $schema, { $alias => $values{$type}[0], $field => $values{$type}[1] }, "/$alias"),
                    "\U$method\E $filled: $alias and $field");
            }
        }
    }

    is(join(', ', sort keys %pairs), 'auto_renew_enabled auto_renew, max_validity_days max_ttl_seconds, '
        . 'not_after expires_at, renew_before_days renewal_window_days', 'every pair');
    is(state(), $before, 'and nothing changed');
};

subtest 'ids and paths' => sub {
    my @ids = ('%00', '%ff', '%c0%af', '%', '%2', '%zz', 'x' x 101, 'x' x 1900, '..', '.', '%2e%2e%2f',
        "'%20OR%201=1--", '%0d%0aX-Evil:%20yes', '*', '%E2%98%83', 'a%2fb', ';', 'null');

    for my $id (@ids) {
        my $r = $api->get("$v1/teams/$id");
        ok($r->{status} == 404 || $r->{status} == 400, substr("GET $id", 0, 40)) or diag($r->{status});
        ok(!$r->{headers}{'x-evil'}, 'no header of the stranger\'s') if $id =~ /Evil/;
    }

    refused($api->post("$v1/teams", { id => $_, name => 'bad id' }), 422, qr/^id must/,
        'id ' . substr $_, 0, 20) for '', ' ', '-a', 'a/b', 'a b', 'x' x 101, "a\n", '../a', 'é';
    is($api->get($_)->{status}, 404, $_) for '/', '//', "$v1", "$v1/", "$v1/teams/", "$v1//teams",
        "$v1/teams/t-a/", "$v1/teams/t-a/x", '/api/v2/teams', "$v1/TEAMS";
    refused($api->get("$v1/teams?" . join '&', map { "p$_=1" } 1 .. 40), 400, qr/at most 23/);
    refused($api->get("$v1/teams?" . 'a' x 5000), 413, qr/too long/);
    refused($api->get("$v1/teams?%zz=1"), 400, qr/two hex digits/);
};

# every route with a body, every field of it, every wrong value
subtest 'a sweep over the OpenAPI document' => sub {
    my $before = state();
    my ($sent, @server, @taken) = (0);

    for my $path (sort keys %{ $doc->{paths} }) {
        for my $method (grep { $doc->{paths}{$path}{$_}{requestBody} } sort keys %{ $doc->{paths}{$path} }) {
            my $op = $doc->{paths}{$path}{$method};
            my $schema = schema($op->{requestBody}{content}{'application/json'}{schema});
            (my $filled = $path) =~ s/\{\w+\}/existing($path)/e;

            for my $body (bad_bodies($schema)) {
                my $r = $api->request(uc $method, $filled, $body);
                $sent++;
                push @server, "$method $filled " . JSON::PP::encode_json($body) . " $r->{status}"
                    if $r->{status} >= 500;
                push @taken, "$method $filled " . JSON::PP::encode_json($body) . " $r->{status}"
                    if $r->{status} < 400;
            }
        }
    }

    cmp_ok($sent, '>', 1000, "$sent requests");
    is_deeply([@server[0 .. ($#server > 4 ? 4 : $#server)]], [], 'no 5xx');
    is_deeply([@taken[0 .. ($#taken > 4 ? 4 : $#taken)]], [], 'none was taken');
    is(state(), $before, 'and nothing changed');
};

# every route, every parameter of the query
subtest 'a sweep over query parameters' => sub {
    my ($sent, @server) = (0);

    for my $path (grep { $_ !~ /ocsp/ } sort keys %{ $doc->{paths} }) {
        my $op = $doc->{paths}{$path}{get} // next;
        (my $filled = $path) =~ s/\{\w+\}/existing($path)/e;

        for my $name (map { $_->{name} } grep { $_->{in} eq 'query' } @{ $op->{parameters} }) {
            for my $value ('', '%00', '%ff', '-1', '99999999999999999999', "'", '%22', 'x' x 2000, 'NaN',
                '2026-01-01T00:00:00Z', '9999-99-99T99:99:99Z', '0001-01-01T00:00:00-14:00')
            {
                my $r = $api->get("$filled?$name=$value");
                $sent++;
                push @server, "$filled?$name=$value $r->{status} $r->{content}" if $r->{status} >= 500;
            }
        }
    }

    cmp_ok($sent, '>', 500, "$sent requests");
    is_deeply(\@server, [], 'no 5xx');
};

is($api->get('/ready')->{status}, 200, 'the daemon is well');
done_testing();

sub schema {
    my ($schema) = @_;
    return $schema->{'$ref'} ? $doc->{components}{schemas}{ ($schema->{'$ref'} =~ m{([^/]+)$})[0] } : $schema;
}

sub existing {
    my ($path) = @_;
    return $path =~ /certificates/ ? 'mc-a' : $path =~ /teams/ ? 't-a' : $path =~ /agents/ ? 'ag-a'
        : $path =~ /targets/ ? 'tgt-a' : $path =~ /issuers/ ? 'iss-local'
        : $path =~ /policies/ ? 'rp-default' : $path =~ /profiles/ ? 'prof-standard-tls'
        : $path =~ /organizations/ ? 'org-a' : $path =~ /owners/ ? 'o-a' : 'none';
}

# A body that would do, with one field of a wrong type or beyond its rule: so
# the rest is not what is refused.
sub bad_bodies {
    my ($schema) = @_;
    my %good = map { ($_, good($_, $schema->{properties}{$_})) } @{ $schema->{required} // [] };
    my @bodies = ({ %good, unknown_field => 1 }, []);

    for my $name (sort keys %{ $schema->{properties} }) {
        my $field = $schema->{properties}{$name};
        my ($type) = grep { $_ ne 'null' } ref $field->{type} ? @{ $field->{type} } : $field->{type};
        my $nullable = ref $field->{type};
        my %wrong = (string => [1, JSON::PP::true, [], {}], integer => ['1', 1.5, JSON::PP::true, [], {}],
            boolean => ['true', 1, [], {}], array => ['x', 1, {}, [{}], [[]], [JSON::PP::true]], object => ['x', 1, []]);

        push @bodies, map { { %good, $name => $_ } } @{ $wrong{$type} }, beyond($field, $type),
            $nullable ? () : undef;
    }

    for my $missing (keys %good) {
        my %body = %good;
        delete $body{$missing};
        push @bodies, \%body if $schema->{required};
    }

    return @bodies;
}

# Whether it is refused for this field.
sub points {
    my ($method, $path, $schema, $members, $pointer) = @_;
    my %good = map { ($_, good($_, $schema->{properties}{$_})) } @{ $schema->{required} // [] };
    my $r = $api->$method($path, { %good, %$members });

    return $r->{status} == 422 && grep { $_->{pointer} eq $pointer } @{ $r->{json}{errors} // [] };
}

sub beyond {
    my ($field, $type) = @_;

    return if $field->{readOnly};
    return ((map { $_ + 1 } grep { defined } $field->{maximum}),
        (map { $_ - 1 } grep { defined } $field->{minimum}), 2**31, -2**62) if $type eq 'integer';
    return ('x' x (($field->{maxLength} // 100000) + 1), ($field->{enum} ? ('no such word', '') : ()),
        ($field->{format} ? ('tomorrow', '2026-02-30T00:00:00Z', '') : ()),
        ($field->{minLength} ? '' : ())) if $type eq 'string';
    return ([(1) x (($field->{maxItems} // 100000) + 1)], [('x') x (($field->{maxItems} // 100000) + 1)],
        [undef], ['x' x 5000]) if $type eq 'array';
    return;
}

sub good {
    my ($name, $field) = @_;
    my %value = (common_name => 'b.example.com', issuer_id => 'iss-local', agent_id => 'ag-a',
        email => 'b@example.com', type => 'local', permissions => ['team.read'], url => 'https://127.0.0.1:9');

    return $value{$name} // 'sweep';
}

# everything a refused request must leave as it was
sub state {
    return join "\n", map { sql($d, "SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM $_ t") }
        qw(organizations teams owners issuers certificate_profiles renewal_policies deployment_targets
        managed_certificates certificate_target_mappings renewal_attempts audit_events),
        q{(SELECT id, name, url, fingerprint, kind FROM agents)}, q{(SELECT id, name, permissions, revoked_at FROM api_keys)};
}
