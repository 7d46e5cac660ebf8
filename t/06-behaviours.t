#!/usr/bin/perl
# t/behaviours.txt: each behaviour is one line, none is lost, the tests that it names
# are there, and what is open belongs to a known topic.

use strict;
use warnings;
use Certctl::Process 'slurp';
use Test::More;

my $TEXT  = 200;                        # characters at most for a behaviour
my $SHOWN = 32;                         # raise it with each that a test shows

my $list = slurp('t/behaviours.txt');

my ($faults, $count) = check($list);
is(join("\n", @$faults), '', 't/behaviours.txt is right');
cmp_ok($count->{lines}, '>=', 139, 'it has every behaviour');
cmp_ok($count->{shown}, '>=', $SHOWN, 'no fewer are shown than before');

note("$count->{shown} of $count->{lines} behaviours are shown by a test");
note(sprintf '%-16s %3d open, %d of them shown in part', $_, $count->{open}{$_}, $count->{partly}{$_})
    for sort keys %{ $count->{open} };

subtest 'a copy with a fault is refused' => sub {
    my $shown = qr{t/12-api-lists\.t: sorting$}m;
    my @bad = (
        ['no third column',       qr/not "number/,    sub { s/^(8\.1\.1 \| [^|]+) \| .*/$1/m }],
        ['a fourth column',       qr/not "number/,    sub { s/^(8\.1\.1 \| .*)/$1 | more/m }],
        ['a stray line',          qr/not "number/,    sub { s/^(8\.1\.2 \|)/more\n$1/m }],
        ['no words',              qr/not "number/,    sub { s/^8\.1\.1 \| [^|]+ \|/8.1.1 |  |/m }],
        ['too many words',        qr/more than $TEXT/, sub { my $x = 'x' x $TEXT; s/^(8\.1\.1 \|)/$1 $x/m }],
        ['the words of another',  qr/words of 8\.1\.1/, sub { my $same = words('8.1.1'); s/^(8\.1\.2 \|) [^|]+/$1 $same /m }],
        ['the number of an issue', qr/topic instead/, sub { s/^(8\.1\.1 \|)/$1 issue 13:/m }],
        ['an id twice',           qr/8\.1\.1 is not 8\.1\.2/, sub { s/^8\.1\.2 /8.1.1 /m }],
        ['an id of another part', qr/9\.1\.2 is not 8\.1\.2/, sub { s/^8\.1\.2 /9.1.2 /m }],
        ['a line that is gone',   qr/8\.1\.3 is not 8\.1\.2/, sub { s/^8\.1\.2 .*\n//m }],
        ['the last one is gone',  qr/part 8\.1 has 7 lines, not 8/, sub { s/^8\.1\.8 .*\n//m }],
        ['a part twice',          qr/part 8\.1 stands there twice/, sub { s/^## 8\.2 /## 8.1 /m }],
        ['a topic twice',         qr/topic cli stands there twice/, sub { s/^(topic cli .*\n)/$1$1/m }],
        ['an unknown topic',      qr/no topic "later"/, sub { s/\| open dashboard$/| open later/m }],
        ['no topic',              qr/neither open nor/, sub { s/\| open dashboard$/| open/m }],
        ['no name',               qr/neither open nor/, sub { s/$shown/t\/12-api-lists.t/ }],
        ['what is no test',       qr/neither open nor/, sub { s/$shown/t\/demo: sorting/ }],
        ['a test that is not there', qr/there is no \S+none\.t/, sub { s/$shown/t\/99-none.${\ 't'}: sorting/ }],
        ['a name that is not printed', qr/nothing with "sorted out"/, sub { s/$shown/t\/12-api-lists.t: sorted out/ }],
        ['code for a name',       qr/nothing with "use strict"/, sub { s/$shown/t\/12-api-lists.t: use strict/ }],
        ['a comment for a name',  qr/nothing with "Lists page"/, sub { s/$shown/t\/12-api-lists.t: Lists page/ }],
        ['the second of two',     qr/nothing with "odd fields"/, sub { s/: sparse fields;/: odd fields;/ }],
        ['a part of an open one', qr/nothing with "odd names"/, sub { s/: the other names of a field$/: odd names/m }],
    );

    for my $case (@bad) {
        my ($what, $rule, $change) = @$case;
        my $copy = $list;

        $change->() for $copy;
        isnt($copy, $list, "$what: the copy differs");
        my ($wrong) = check($copy);
        like(join("\n", @$wrong), $rule, $what);
    }
};

done_testing();

# What is wrong with a list, and its counts.
sub check {
    my ($text) = @_;
    my (%topic, %part, %words, $part, @wrong);
    my %n = (lines => 0, shown => 0, open => {}, partly => {});

    for my $line (split /\n/, $text) {
        next if $line eq '' || $line =~ /^#(?!#)/;

        if ($line =~ /^topic (\S+) +\| \S/) {
            push @wrong, "topic $1 stands there twice" if $topic{$1}++;
            $n{open}{$1} = $n{partly}{$1} = 0;
            next;
        }

        if ($line =~ /^## (\d+\.\d+) \S.*: (\d+)$/) {
            $part = $1;
            push @wrong, "part $part stands there twice" if $part{$part};
            $part{$part} = { has => 0, should => $2 };
            next;
        }

        my ($id, $words, $where) = $line =~ /^([\d.]+) \| ([^|\s][^|]*) \| ([^|\s][^|]*)$/;
        if (!defined $id || !$part) {
            push @wrong, "not \"number | what must happen | where\": $line";
            next;
        }

        $n{lines}++;
        my $next = "$part." . ++$part{$part}{has};
        push @wrong, "$id is not $next" if $id ne $next;
        push @wrong, "$id: more than $TEXT characters" if length $words > $TEXT;
        push @wrong, "$id: the words of $words{$words}" if $words{$words};
        push @wrong, "$id: name the topic instead of an issue" if $line =~ /\bissues? *#?\d/i;
        $words{$words} = $id;
        push @wrong, map { "$id: $_" } place($where, \%topic, \%n);
    }

    push @wrong, map { "part $_ has $part{$_}{has} lines, not $part{$_}{should}" }
        grep { $part{$_}{has} != $part{$_}{should} } sort keys %part;
    return (\@wrong, \%n);
}

# The third column: tests, or a topic, with tests or without.
sub place {
    my ($where, $topic, $n) = @_;
    my ($open, $tests) = $where =~ /^open (\S+?)(?:, partly (.+))?$/;

    $tests = $where if !defined $open && $where !~ /^open\b/;
    my @tests = split /; (?=t\/)/, $tests // '';
    my $test  = qr{^(t/(?:\d\d-[\w-]+\.t|unit/\w+\.c)): (\S.*)$};

    return "neither open nor a test: $where"
        if (!defined $open && !@tests) || grep { $_ !~ $test } @tests;
    return "there is no topic \"$open\"" if defined $open && !$topic->{$open};

    if (defined $open) {
        $n->{open}{$open}++;
        $n->{partly}{$open}++ if @tests;

    } else {
        $n->{shown}++;
    }

    return map { missing($_ =~ $test) } @tests;
}

# Test names are strings: what stands in code or in a comment is none.
sub missing {
    my ($file, $name) = @_;

    return "there is no $file" if !-f $file;
    return "$file prints nothing with \"$name\"" if !grep { index($_, $name) >= 0 } strings($file);
    return;
}

my %strings;

sub strings {
    my ($file) = @_;
    my $string = qr/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/;

    $strings{$file} //= [map { /$string/g } grep { !m{^\s*(?:\#|/?\*)} } split /\n/, slurp($file) =~ s/\s#\s.*//gr];
    return @{ $strings{$file} };
}

sub words {
    my ($id) = @_;
    return $list =~ /^\Q$id\E \| ([^|]+) \|/m ? $1 : '';
}
