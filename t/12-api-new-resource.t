#!/usr/bin/perl
# A plain resource is declared once: in a copy of the tree, a table of fields, a
# schema file and a line of the map make one that works in every respect. And a
# new statement compiles only the files that use its file of statements.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(temp_dir slurp write_file);
use Cwd 'abs_path';
use Test::More;

my $B    = $ENV{B} || 'build';
my $copy = temp_dir();

delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};

# with its times, so that make finds everything built
system(qw(cp -a), (grep { -e } qw(Makefile controller ngx_certctl_module sql docs)), "$copy/") == 0 or die 'cp';
system('mkdir', '-p', "$copy/$B", "$copy/t/fuzz") == 0 && system('cp', 't/fuzz/parsers', "$copy/t/fuzz/") == 0
    && system('cp', '-a', 't/connector', "$copy/t/") == 0
    && system('cp', '-a', (map { "$B/$_" } qw(obj gen certctld)), "$copy/$B/") == 0 or die 'cp';

is(join("\n", compiled()), '', 'the copy is built');

subtest 'a new statement compiles who uses its file' => sub {
    for my $file (qw(pki core api_key)) {
        my $was = slurp("$copy/sql/query/$file.sql");
        my $time = (stat "$copy/sql/query/$file.sql")[9];
        my @users = map { m{controller/(.*)\.c$} }
            grep { slurp($_) =~ /#include "sql_\Q$file\E\.h"/ } glob 'controller/*.c controller/*/*.c';

        write_file("$copy/sql/query/$file.sql", "$was\n-- name: ${file}_another\nSELECT 1;\n");
        is(join("\n", compiled()), join("\n", sort @users, 'sql'), "sql/query/$file.sql: " . (1 + @users) . ' files');
        write_file("$copy/sql/query/$file.sql", $was);
        utime $time, $time, "$copy/sql/query/$file.sql";
    }
};

write_file("$copy/sql/schema/9000_labels.sql", <<'SQL');
-- Labels: words that teams put on things.

CREATE TABLE labels (
    id          text PRIMARY KEY DEFAULT new_id('lbl-') CONSTRAINT label_id_format CHECK (is_id(id)),
    name        text NOT NULL CONSTRAINT label_name_key UNIQUE,
    color       text NOT NULL DEFAULT 'grey',
    weight      int CONSTRAINT label_weight CHECK (weight <> 13),
    team_id     text CONSTRAINT label_team_fkey REFERENCES teams ON DELETE RESTRICT,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE labels IS 'label';
CREATE TRIGGER touch BEFORE UPDATE ON labels FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE VIEW api_labels AS SELECT id, name, color, weight, team_id, created_at, updated_at FROM labels;

-- rule label_name_key: a label of this name exists
-- rule label_weight: weight must not be 13, "as everybody knows"
-- rule label_team_fkey: team_id names no team, or labels still belong to it
SQL

my $label = 'api/label';
write_file("$copy/controller/$label.c", <<'C');
/* Labels: words that teams put on things. */
#include "api.h"
#include "resource_fields.h"

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    { "color", T_TEXT, .allowed = "grey red", .init = "\"grey\"", .help = "how it is shown" },
    { "weight", T_INT, F_NULL, 0, 100, .help = "what comes first" },
    FIELD_REF("team_id", F_NULL, "whose it is"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = { { "color", "color", OP_EQ }, { 0 } };
static const struct sort    sorts[] = { SORT_NAMES, { 0 } };

const struct resource  label_resource = {
    .name = "label", .category = AUDIT_CONFIG, .table = "labels", .schema = "Label",
    .fields = fields, .view = "api_labels", .filters = filters, .sorts = sorts
};
C

my $routes = slurp("$copy/controller/routes.c");
$routes =~ s/^(?=    RESOURCE_ROUTES\(V1 "\/teams")/    RESOURCE_ROUTES(V1 "\/labels", "label", &label_resource, "label", "a label", "labels"),\n/m or die;
write_file("$copy/controller/routes.c", $routes);

is(join("\n", sort map { s{ and .*}{}r =~ s{^Files \S*?(?=controller|sql)}{}r =~ s{^Only in \Q$copy\E/(\S+): }{$1/}r }
    split /\n/, `diff -rq controller $copy/controller; diff -rq sql $copy/sql`),
    "controller/$label.c\ncontroller/routes.c\nsql/schema/9000_labels.sql", 'three files were touched');
is(join("\n", compiled()), "$label\nroutes\nsql", 'three files are compiled');
is(make("$B/certctld"), 0, 'it is built') or BAIL_OUT('no certctld');

my $d = do { local $ENV{B} = "$copy/$B"; api_daemon() };
my ($api, $labels) = ($d->api, '/api/v1/labels');

created($api, '/api/v1/teams', { id => 't-a', name => 'A' });
my $made = created($api, $labels, { id => 'lbl-a', name => 'Urgent', team_id => 't-a' });
is_deeply([@$made{qw(id name color weight team_id)}], ['lbl-a', 'Urgent', 'grey', undef, 't-a'], 'created, with defaults');
like(created($api, $labels, { name => 'Other', weight => 7, color => 'red' })->{id}, qr/^lbl-/, 'an id of its own');

is_deeply($api->get("$labels/lbl-a")->{json}, $made, 'get');
is($api->get("$labels/lbl-none")->{status}, 404, 'get of what is not there');
is($api->get("$labels?sort=name")->{json}{data}[1]{id}, 'lbl-a', 'list, sorted');
is($api->get("$labels?color=red")->{json}{total}, 1, 'list, filtered');
refused($api->get("$labels?colour=red"), 400, qr/unknown query parameter/, 'unknown filter');

my $r = $api->patch("$labels/lbl-a", { weight => 3 });
is_deeply([@{ $r->{json} }{qw(name weight team_id)}], ['Urgent', 3, 't-a'], 'patch');
$r = $api->put("$labels/lbl-a", { %{ $r->{json} }, color => 'red' });
is($r->{json}{color}, 'red', 'put of what was read');
$r = $api->put("$labels/lbl-a", { name => 'Later', team_id => 't-a' });
is_deeply([@{ $r->{json} }{qw(name weight color)}], ['Later', undef, 'grey'], 'put replaces');
is($api->patch("$labels/lbl-a", {})->{status}, 200, 'a patch of nothing');

refused($api->post($labels, { name => 'Later' }), 409, qr/^a label of this name exists$/, 'its 409');
refused($api->post($labels, { id => 'lbl-a', name => 'X' }), 409, qr/^an object of this id exists$/, 'id taken');
refused($api->post($labels, { name => 'X', weight => 13 }), 422, qr/^weight must not be 13, "as everybody knows"$/, 'its 422');
refused($api->post($labels, { name => 'X', team_id => 't-no' }), 422, qr/^team "t-no" not found$/, 'a reference to nothing');
refused($api->post($labels, { name => 'X', color => 'blue' }), 422, qr/^color must be one of: grey red/, 'a wrong field');
refused($api->post($labels, { color => 'red' }), 422, qr/^name is required/, 'a missing field');
refused($api->delete('/api/v1/teams/t-a'), 409, qr/in use by label lbl-a$/, 'what it refers to stays');

is($api->delete("$labels/lbl-a")->{status}, 204, 'delete');
is($api->delete("$labels/lbl-a")->{status}, 404, 'delete of what is gone');
is($api->delete('/api/v1/teams/t-a')->{status}, 204, 'and nothing is in use');

is(sql($d, q{SELECT string_agg(DISTINCT event_category, ' ') FROM audit_events WHERE resource_type = 'label'}), 'config', 'audit category');
is(sql($d, q{SELECT string_agg(action, ' ' ORDER BY seq) FROM audit_events WHERE resource_id = 'lbl-a'}),
    'label_created' . ' label_updated' x 4 . ' label_deleted', 'audit actions');

my $document = $api->get('/api/v1/openapi.json')->{json};
is($document->{components}{schemas}{Label}{properties}{color}{type}, 'string', 'OpenAPI describes it');
is($document->{paths}{$labels}{post}{'x-permission'}, 'label.edit', 'and its permission');
is($document->{paths}{$labels}{post}{'x-lane'}, 'cheap', 'and its lane');

done_testing();

# What make would compile for certctld in the copy: "api/team".
sub compiled {
    my $command = "make -C $copy -n --no-print-directory V=1 B=$B SAN='" . ($ENV{SAN} // '') . "' $B/certctld";

    return sort map { m{ -c -o \S*?/obj/(\S+)\.o } ? $1 : () } split /\n/, `$command`;
}

sub make {
    my ($target) = @_;
    return system('make', '-s', '-C', $copy, "B=$B", 'SAN=' . ($ENV{SAN} // ''), $target);
}
