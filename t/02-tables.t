#!/usr/bin/perl
# What a table in the source knows, the documents say: each row is written down,
# and nothing is written down that has no row.

use strict;
use warnings;
use Test::More;

configuration();
connectors();
directives();
stream_directives();
variables();
control_requests();
routes();
errors();
commands();
jobs();
names();
statements();
points();

done_testing();

# controller/conf/conf_fields.c <-> docs/configuration.md, as make docs prints it.
sub configuration {
    ok(index(document('docs/configuration.md'), printed('configuration')) >= 0,
        'docs/configuration.md has the keys: else run make docs');
    return;
}

# Each connector <-> its page, the same way, and no page of one that is not there.
sub connectors {
    my %test  = map { m{([^/]+)\.c$} ? ($1 => 1) : () } glob 't/connector/*.c';     # in builds with crash points
    my @names = grep { !$test{$_} } split /\n/, printed('connectors');

    cmp_ok(scalar @names, '>', 2, 'connectors are found');
    is(join(' ', sort map { m{([^/]+)\.md$} } glob 'docs/connectors/*.md'), join(' ', sort @names), 'each connector has a page');
    ok(index(document("docs/connectors/$_.md"), printed($_)) >= 0, "docs/connectors/$_.md has its fields: else run make docs")
        for @names;
    return;
}

# The commands of the module <-> docs/directives.md: a section each, with Syntax,
# Default and Context, and the context that the table allows.
sub directives {
    my (%row, %said);
    my $table = source('ngx_certctl_module/http/http_module.c');
    my %context = (MAIN => 'http', SRV => 'server', LOC => 'location');

    while ($table =~ /\{ ngx_string\("(certctl\w*)"\),\s*([A-Z_0-9|\s]+),/g) {
        my ($name, $flags) = ($1, $2);
        $row{$name} = join ', ', map { $context{$_} } $flags =~ /NGX_HTTP_(MAIN|SRV|LOC)_CONF/g;
    }

    my $text = document('docs/directives.md');
    $said{$1} = $2 while $text =~ /^#+ `?(certctl\w*)`?\n(.*?)(?=^#+ |\z)/msg;
    same('directives', \%row, \%said);

    for my $name (sort grep { $said{$_} } keys %row) {
        like($said{$name}, qr/Syntax.*?`$name\b/s, "$name: Syntax");
        like($said{$name}, qr/Default/, "$name: Default");
        my ($context) = $said{$name} =~ /Context\W*?([a-z]+(?:`?, `?[a-z]+)*)/;
        is(($context // '') =~ tr/`//dr, $row{$name}, "$name: Context");
    }

    return;
}

# Those of stream{} <-> the table in docs/directives.md, with the context.
sub stream_directives {
    my (%row, %said);
    my $table = source('ngx_certctl_module/stream/stream_module.c');
    my %context = (MAIN => 'stream', SRV => 'server');

    while ($table =~ /\{ ngx_string\("(certctl\w*)"\),\s*([A-Z_0-9|\s]+),/g) {
        my ($name, $flags) = ($1, $2);
        $row{$name} = join ', ', map { $context{$_} } $flags =~ /NGX_STREAM_(MAIN|SRV)_CONF/g;
    }

    my ($text) = document('docs/directives.md') =~ /^## Stream servers\n(.*?)^## /ms;
    $said{$1} = $2 while $text =~ /^\| `(certctl\w*) [^`]*` \| ([a-z, ]+) \|/mg;
    is_deeply(\%said, \%row, 'directives of stream');
    return;
}

sub variables {
    my ($table) = source('ngx_certctl_module/tls/value.c')
        =~ /ngx_certctl_values\[\] = \{(.*?)\n\};/s;
    my %row  = map { ($_, 1) } $table =~ /ngx_string\("(\w+)"\)/g;
    my %said = map { ($_, 1) } document('docs/directives.md') =~ /^\W*`?\$(certctl_\w+)/mg;

    same('variables', \%row, \%said);
    return;
}

# The requests of the module <-> docs/module-protocol.md.
sub control_requests {
    my $table = source('ngx_certctl_module/agent/requests.c');
    my ($prefix) = source('controller/wire/wire.h') =~ /CERTCTL_WIRE_PREFIX\s+"(.+?)"/;
    my %row;

    for my $row ($table =~ /^    \{ ((?:READ|NGX_HTTP_\w+), "\/[^"]*")/mg) {
        my ($method, $path) = $row =~ /(?:NGX_HTTP_)?(\w+), "(.+)"/;
        $row{ ($method eq 'READ' ? 'GET' : $method) . " $prefix$path" } = 1;
    }

    my %said = map { ($_, 1) } document('docs/module-protocol.md')
        =~ m{`((?:GET|PUT|POST|DELETE) \Q$prefix\E[^\s`?]*)}g;
    same('control requests', \%row, \%said);
    return;
}

# controller/routes.c <-> docs/api.md, as make docs prints it; and no route without
# a permission that is not meant to be open.
sub routes {
    my @rows = split /^/, printed('routes');
    my @open = grep { /\| any key \|/ && !m{^\| `GET /api/v1/auth/} } @rows;

    cmp_ok(scalar @rows, '>', 20, 'routes are found');
    ok(index(document('docs/api.md'), join '', @rows) >= 0, 'docs/api.md has the routes: else run make docs');
    is("@open", '', 'every route has a permission or is public');
    return;
}

# ERR_CODES <-> docs/api.md, the same way.
sub errors {
    ok(index(document('docs/api.md'), printed('errors')) >= 0, 'docs/api.md has the errors: else run make docs');
    return;
}

sub printed {
    my ($table) = @_;
    my $tool = ($ENV{B} || 'build') . '/t/tool/declared';
    my $rows = `$tool $table`;

    is($?, 0, "$tool $table");
    return $rows;
}

# docs/certctl.md holds what `certctl help` prints.
sub commands {
    my $program = ($ENV{B} || 'build') . '/certctl';
    my $help = `$program help`;

    is($?, 0, 'certctl help');
    ok(index(document('docs/certctl.md'), $help) >= 0, 'docs/certctl.md has what it prints');
    return;
}

# How many names the database lets a certificate have is what one request takes.
sub names {
    my ($wire) = source('controller/wire/wire.h') =~ /^#define CERTCTL_SANS_MAX\s+(\d+)/m;
    my ($most) = source('sql/schema/0006_names.sql') =~ /IF n > (\d+) THEN/;

    is($most, $wire, 'names of one certificate');
    return;
}

# Every type of job that a worker knows may stand in the table, and the other
# way round, but for those that other issues bring.
sub jobs {
    my ($table) = source('controller/job/queue.c') =~ /job_types\[\] = \{(.*?)\n\};/s;
    my ($check) = source('sql/schema/0001_base.sql') =~ /CONSTRAINT job_type CHECK \(type IN\s*\((.*?)\)/s;
    my %allowed = map { ($_, 1) } $check =~ /'(\w+)'/g;
    my @types = $table =~ /\{ "(\w+)"/g;

    cmp_ok(scalar @types, '>', 3, 'job types are found');
    is(join(' ', grep { !$allowed{$_} } @types), '', 'job types are allowed by the schema');
    return;
}

# Every named statement is used, and none twice named.
sub statements {
    my %named;

    for my $file (glob 'sql/query/*.sql') {
        $named{$_}++ for source($file) =~ /^-- name: (\w+)/mg;
    }

    my $code = join "\n", map { source($_) } glob 'controller/*.[ch] controller/*/*.[ch]';
    my %used = map { (lc, 1) } $code =~ /\bSQL_([A-Z0-9_]+)\b/g;

    for my $name ($code =~ /\bRESOURCE_SQL\(([A-Z_]+)\)/g) {      # it pastes the names
        $used{ lc "${name}_$_" } = 1 for qw(create update delete);
    }

    is(join(' ', grep { $named{$_} > 1 } sort keys %named), '', 'no statement has the name of another');
    is(join(' ', grep { !$used{$_} } sort keys %named), '', 'every statement is used');
    return;
}

# A crash point's name says one place.
sub points {
    my %seen;

    for my $file (glob 'controller/*.c controller/*/*.c ngx_certctl_module/*/*.c') {
        $seen{$_}++ for source($file) =~ /CERTCTL_POINT\("(.+?)"\)/g;
    }

    cmp_ok(scalar keys %seen, '>', 10, 'crash points are found');
    is(join(' ', grep { $seen{$_} > 1 } sort keys %seen), '', 'each names one place');
    return;
}

sub same {
    my ($what, $row, $said) = @_;

    cmp_ok(scalar keys %$row, '>', 0, "$what: the table is found");
    is(join("\n", grep { !exists $said->{$_} } sort keys %$row), '', "$what: all are documented");
    is(join("\n", grep { !exists $row->{$_} } sort keys %$said), '', "$what: all that is documented is there");
    return;
}

sub document {
    my ($file) = @_;

    ok(0, "$file is missing") if !-f $file;
    return -f $file ? source($file) : '';
}

sub source {
    my ($file) = @_;

    open my $in, '<', $file or return '';
    local $/;
    return scalar <$in>;
}
