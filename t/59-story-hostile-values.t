#!/usr/bin/perl
# Hostile texts in every field of every resource, found in the OpenAPI document: no
# request to a host leads elsewhere, no other record changes, no file and no statement
# is made of them. Then the same in the database, behind the back of the API.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(slurp temp_dir wait_until);
use Certctl::Story;
use JSON::PP ();
use Test::More;

my $mark = temp_dir() . '/made';
my @hostile = (
    'shop.example/rollback#', '../sessions/flush#', '../certificates/shop.example/rollback?', '_agent', '.', '..',
    '%2e%2e%2fsessions%2fflush', 'shop.example%2frollback', 'shop.example?form=full', "shop.example\r\nX-Evil: yes",
    "a\nb", 'shop.example\\..\\_agent', '{id}/../_agent', '/{common_name}/../../etc/passwd', '//evil.example/',
    "\$(touch $mark)", "`touch $mark`", "; touch $mark;", "| touch $mark", "'; DROP TABLE teams; --",
    '"; DROP TABLE teams; --', 'x" OR "1"="1', '%s%s%n', "\x{202e}gpj.exe", "\x{1b}[2J", "a\x{7f}", '../../etc/passwd',
    'https://user:pass@127.0.0.1:1/', 'file:///etc/passwd', '-oProxyCommand=touch', '*', '@shop.example', '',
);

my $s = Certctl::Story->new(names => ['shop.example', 'other.example'], config => "renewal_interval = 1\n",
    control => "access_log %%DIR%%/control.log;\n");
my $api = $s->api;
my $doc = $s->get('openapi.json');
my %id  = map { ($_ => $s->certificate($_)) } qw(shop.example other.example);
created($api, '/api/v1/certificates', { id => 'mc-swept', common_name => 'swept.example', issuer_id => 'iss-local' });
my $log = $s->nginx->dir . '/control.log';

$s->renew($_) for values %id;
my %before = map { $s->deployed($id{$_}); ($_ => $s->shown($_)->{fingerprint}) } keys %id;
my $tables = sql($s->daemon, q{SELECT count(*) FROM pg_class WHERE relkind = 'r'});
my $agent  = $s->agent;
my $enrolled = $s->get("agents/$agent");

# the fields

my ($sent, $taken, %fields, @server, @evil) = (0, 0);

for my $path (sort keys %{ $doc->{paths} }) {
    for my $method (grep { $doc->{paths}{$path}{$_}{requestBody} } sort keys %{ $doc->{paths}{$path} }) {
        my $content = $doc->{paths}{$path}{$method}{requestBody}{content};
        my $schema = resolve(($content->{'application/json'} // next)->{schema});
        (my $filled = $path) =~ s/\{\w+\}/existing($path)/e;

        next if $path =~ m{/auth/|/agents/\{id\}};      # the key that asks, and the host
        for my $field (texts($schema, [])) {
            $fields{join '.', $filled, @$field} = 1;
            for my $value (@hostile) {
                my $r = $api->request(uc $method, $filled, body($schema, $field, $value));

                $sent++;
                $taken++ if $r->{status} < 300;
                push @server, "$method $filled @$field '$value': $r->{status} $r->{content}" if $r->{status} >= 500;
                push @evil, "$method $filled @$field '$value'" if $r->{headers}{'x-evil'};
                push @evil, "$method $filled record '$value': $r->{status}"
                    if $field->[-1] eq 'record' && $r->{status} < 300 && $value !~ /^\*?$/;
            }
        }
    }
}

cmp_ok($sent, '>', 2000, "$sent requests, " . keys(%fields) . ' fields');
ok((grep { /\.config\.record$/ } keys %fields), 'the record of a target is among them');
ok((grep { /\.config\.\w+_command$/ } keys %fields), 'and a command');
cmp_ok($taken, '>', 50, "$taken were taken: a name may be odd");
is(join("\n", @server), '', 'no 5xx');
is(join("\n", @evil), '', 'no header of a stranger, no record that leads elsewhere');

# what the host was asked

ok(wait_until(30, sub { my $n = length slurp($log); select undef, undef, undef, 2; return $n == length slurp($log)
    || $s->get('jobs?status=Running')->{total} == 0 }), 'what could run has run');
is(strangers(), '', 'the host was asked for what is its own only');
is($s->shown('shop.example')->{fingerprint}, $before{'shop.example'}, 'the other record is as it was');
is($s->get("agents/$agent")->{status}, 'Online', 'the host has its identity');
is($s->get("agents/$agent")->{enrolled_at}, $enrolled->{enrolled_at}, 'since its first contact');
ok(!-e $mark, 'no command was run');
is(sql($s->daemon, q{SELECT count(*) FROM pg_class WHERE relkind = 'r'}), $tables, 'no table is gone');

# what the API refuses stands in the database all the same

my ($target) = sql($s->daemon, "SELECT target_id FROM certificate_target_mappings WHERE certificate_id = '$id{'other.example'}'");

for my $record ('shop.example/rollback#', '../sessions/flush#', '_agent', '..', "x\r\ny", 'shop.example?x') {
    my $json = JSON::PP->new->encode({ record => $record });

    sql($s->daemon, "BEGIN; ALTER TABLE deployment_targets DISABLE TRIGGER USER;
        UPDATE deployment_targets SET config = '$json' WHERE id = '$target';
        ALTER TABLE deployment_targets ENABLE TRIGGER USER; COMMIT");
    my $r = $api->post("/api/v1/certificates/$id{'other.example'}/deploy", {});
    is($r->{status}, 202, 'a deployment') or diag($r->{content});
    my $failed = sub {
        return sql($s->daemon, "SELECT coalesce(max(last_error), '') FROM (SELECT last_error FROM jobs WHERE target_id = '$target'
            UNION ALL SELECT last_error FROM job_history WHERE target_id = '$target') j WHERE last_error LIKE '%be the record of%'");
    };
    ok(wait_until(30, sub { $failed->() ne '' }), 'fails') or last;
    like($failed->(), qr/cannot be the record of a certificate: a name has letters/, 'with the rule');
    is(strangers(), '', 'before the host is asked');
    sql($s->daemon, "DELETE FROM jobs WHERE target_id = '$target'; DELETE FROM job_history WHERE target_id = '$target'");
}

is($s->shown('shop.example')->{fingerprint}, $before{'shop.example'}, 'the other record is as it was');
$s->stop;
done_testing();

# Lines of the log that are no request for a record of this host.
sub strangers {
    my $own = qr{/certctl/v1/(?:status|certificates(?:/(?:shop|other)\.example(?:/csr)?|/_agent(?:/csr)?)?|ocsp/[0-9a-f]{64})};

    return join "\n", grep { !m{"(?:GET|PUT|POST) $own(?:\?[\w=&%.-]*)? HTTP/} && /certctl/ } split /\n/, slurp($log);
}

sub existing {
    my ($path) = @_;
    return $path =~ /certificates/ ? 'mc-swept' : 'none';
}

sub resolve {
    my ($schema) = @_;
    return $schema->{'$ref'} ? $doc->{components}{schemas}{ ($schema->{'$ref'} =~ m{([^/]+)$})[0] } : $schema;
}

# The paths of all texts in a schema, each with the kind of configuration it is of.
sub texts {
    my ($schema, $path) = @_;
    my @found;

    $schema = resolve($schema);
    push @found, map { texts($_, $path) } @{ $schema->{oneOf} // [] }, @{ $schema->{anyOf} // [] }, @{ $schema->{allOf} // [] };

    for my $name (sort keys %{ $schema->{properties} // {} }) {
        my $field = resolve($schema->{properties}{$name});
        my $type = join ' ', ref $field->{type} ? @{ $field->{type} } : $field->{type} // '';

        next if $field->{readOnly};
        push @found, [@$path, $name] if $type =~ /string/;
        push @found, [@$path, $name, 0] if $type =~ /array/ && (resolve($field->{items} // {})->{type} // '') eq 'string';
        push @found, texts($field, [@$path, $name]) if $type =~ /object/ || $field->{oneOf} || $field->{anyOf};
    }

    my %seen;
    return grep { !$seen{"@$_"}++ } @found;
}

# What would do, with this value at that place.
sub body {
    my ($schema, $field, $value) = @_;
    my %good = (name => "n$sent", common_name => "n$sent.example", issuer_id => 'iss-local', agent_id => $agent,
        email => "n$sent\@example.com", type => 'nginx-module', kind => 'pull');
    my %body = map { ($_ => $good{$_} // 'x') } @{ $schema->{required} // [] };
    my $at = \\%body;

    $body{agent_id} = $agent if $schema->{properties}{agent_id};
    $body{type} = grep({ /_(?:path|command|mode|owner|group)$/ } @$field) ? 'nginx' : 'nginx-module'
        if $schema->{properties}{type} && $field->[0] eq 'config' && $schema->{properties}{agent_id};
    $body{config}{cert_path} = "/etc/ssl/n$sent.pem" if ($body{type} // '') eq 'nginx';
    $at = $_ =~ /^\d+$/ ? \$$at->[$_] : \$$at->{$_} for @$field;
    $$at = $value;
    return \%body;
}
