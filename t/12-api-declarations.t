#!/usr/bin/perl
# What the tables of controller/api/ declare is what the database has: columns of
# views and of tables, constraints and their sentences, every statement.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(slurp temp_dir write_file);
use JSON::PP 'decode_json';
use Test::More;

my $d = api_daemon();
my @resources = map { decode_json($_) } split /\n/, declared();
my (%columns, %default, %null);

for my $line (split /\n/, sql($d, q{SELECT c.relname, a.attname, NOT a.attnotnull, coalesce(pg_get_expr(d.adbin, d.adrelid), '')
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'p')}))
{
    my ($table, $column, $null, $default) = split /\|/, $line, 4;
    $columns{$table}{$column} = 1;
    $null{$table}{$column} = $null eq 't';
    $default{$table}{$column} = $default;
}

cmp_ok(scalar @resources, '>', 20, 'resources are found');

for my $res (grep { $_->{view} } @resources) {
    my $fields = $res->{fields};
    my %shown = map { ($_, 1) } grep { !$fields->{$_}{unseen} } keys %$fields;
    my $view = $columns{ $res->{view} } // {};

    # the cursor of a list may be a column that is not answered
    my %besides = map { ($_, 1) } @{ $res->{columns} };

    is(join(' ', sort grep { !$view->{$_} } keys %shown), '', "$res->{symbol}: its fields are columns of $res->{view}");
    is(join(' ', sort grep { !$shown{$_} && !$besides{$_} } keys %$view), '',
        "$res->{symbol}: columns of $res->{view} are its fields");
    is(join(' ', sort grep { !$view->{$_} } keys %besides), '', "$res->{symbol}: it filters, sorts and pages by columns");
}

for my $res (grep { $_->{plain} } @resources) {
    my %set = map { ($_, $res->{fields}{$_}) } grep { !$res->{fields}{$_}{read} && !$res->{fields}{$_}{alias} }
        keys %{ $res->{fields} };
    my $table = $res->{table};

    is(join(' ', sort grep { !$columns{$table}{$_} } keys %set), '', "$res->{symbol}: its fields are columns of $table");
    is(join(' ', sort grep { $columns{$table}{$_} && $set{$_}{null} && !$null{$table}{$_} } keys %set), '',
        "$res->{symbol}: what null may clear is nullable in $table");
    is(sql($d, "SELECT obj_description('$table'::regclass, 'pg_class')"), $res->{name},
        "$res->{symbol}: the comment on $table is its name");
    defaults($res, \%set);
}

rules();
columns_read();
done_testing();

# A field that is not given gets at creation what PUT makes of it: the column's default.
sub defaults {
    my ($res, $set) = @_;

    for my $name (sort grep { defined $set->{$_}{init} } keys %$set) {
        my $init = $set->{$name}{init} =~ s/'/''/gr;
        is(sql($d, "SELECT to_jsonb($default{ $res->{table} }{$name}) = '$init'::jsonb"), 't', "$res->{symbol}: default of $name");
    }

    return;
}

# Every sentence is about a rule that is there; every rule that a request can break has one.
sub rules {
    my %sentence;

    for my $file (glob 'sql/schema/*.sql') {
        $sentence{$_} = 1 for slurp($file) =~ /^-- rule (\w+): \S/mg;
    }

    my %rule = map { split /\|/ } split /\n/, sql($d, q{
        SELECT conname, conrelid::regclass::text FROM pg_constraint WHERE conrelid <> 0 AND contype IN ('c', 'f', 'u')
         UNION SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text FROM pg_index i
          JOIN pg_class c ON c.oid = i.indexrelid AND c.relnamespace = 'public'::regnamespace WHERE i.indisunique
         UNION SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal});
    my %plain = map { ($_->{table}, 1) } grep { $_->{plain} } @resources;

    cmp_ok(scalar keys %sentence, '>', 30, 'sentences of rules are found');
    is(join(' ', sort grep { !$rule{$_} } keys %sentence), '', 'each is about a rule of the schema');
    # these triggers refuse nothing, or in words of their own
    is(join(' ', sort grep { $plain{ $rule{$_} } && !$sentence{$_}
            && !/_(?:pkey|id_format)$|^(?:touch|policy_changed|policy_method|policy_targets(?:_changed)?|place_moved|target_has_agent|target_retired)$/ } keys %rule), '',
        'each rule of a plain resource has one');
    return;
}

# The name and the columns of each statement, as PostgreSQL describes them. What it
# cannot describe does not fit the schema.
sub described {
    my ($script, $n, %columns) = ('', 0);

    for my $file (glob 'sql/query/*.sql') {
        for my $section (split /^-- name: /m, slurp($file) =~ s/\A.*?(?=^-- name: )//msr) {
            my ($name, $text) = $section =~ /^(\w+)\n(.*)/s or next;
            $text =~ s/^--.*\n//mg;
            $text =~ s/;\s*\z//;
            $script .= "\\echo statement $name\n$text\n\\gdesc\n";
            $n++;
        }
    }

    my $dir = temp_dir();
    write_file("$dir/statements.sql", $script);
    my $said = `psql -h ${\ $d->data}/postgresql -U certctl -d postgres -X -q -A -t -v ON_ERROR_STOP=1 -f $dir/statements.sql 2>&1`;

    is($?, 0, 'every statement fits the schema') or diag($said =~ s/.*(?=^psql)//smr);
    cmp_ok($n, '>', 60, 'statements are found');

    for my $section (split /^statement /m, $said) {
        my ($name, @rows) = split /\n/, $section;
        $columns{$name} = [map { (split /\|/)[0] } grep { /\|/ } @rows] if $name;
    }

    return %columns;
}

# An enum without a name says which columns a file reads: those, in this order, of a
# statement that the file uses. A column without a name of its own may be any.
sub columns_read {
    my %columns = described();
    my $n = 0;

    for my $file (glob 'controller/*/*.c') {
        my $text = slurp($file);
        my @used = grep { $columns{$_} } map { lc } $text =~ /\bSQL_([A-Z0-9_]+)\b/g;

        for my $enum ($text =~ /^enum \{ ([A-Z0-9_,\s]+?) \};/mg) {
            my @names = map { lc } split /,\s*/, $enum;
            my @fits = grep { fits(\@names, $columns{$_}) } @used;

            $n++;
            ok(scalar @fits, "$file: $names[0] ... $names[-1]")
                or diag(join "\n", "@names", map { "$_: @{ $columns{$_} }" } @used);
        }
    }

    cmp_ok($n, '>', 5, 'enums of columns are found');
    return;
}

sub fits {
    my ($names, $columns) = @_;

    return @$names == @$columns && !grep {
        my ($name, $column) = ($names->[$_], $columns->[$_]);
        $column ne '?column?' && index($column, $name) < 0 && index($name, $column) < 0
    } 0 .. $#$names;
}

sub declared {
    open my $out, '-|', ($ENV{B} // 'build') . '/t/tool/declared' or die "declared: $!";
    local $/;
    return scalar <$out>;
}
