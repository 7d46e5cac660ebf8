#!/usr/bin/perl
# The house style, as far as a machine can see it: sizes, layout, functions that
# are not called here, and what must never stand in a file.

use strict;
use warnings;
use Test::More;

my $FILE_LINES = 600;
my $FUNCTION_LINES = 80;
my $COLUMNS = 100;                      # 80, and a bit over
my $TABLE_COLUMNS = 160;                # a row of a table stays on its line
my $README_LINES = 20;

# The module is held to more: lines of at most 80 columns, functions of at most 60
# lines, no prototypes of static functions. How many offenders there may be.
my $MODULE_COLUMNS = 80;
my $MODULE_FUNCTION_LINES = 60;
my %MODULE_LEFT = (
    'lines of more than 80 columns'   => 0,
    'functions of more than 60 lines' => 0,
    'prototypes of static functions'  => 0,
    'lines of its median function'    => 20,
);

my $banned = qr/\b(?:strn?cpy|strn?cat|v?sprintf|strtok(?:_r)?|ato(?:i|l|ll|f)|
    localtime|gmtime|asctime|ctime|system|popen|gets|tmpnam|mktemp|
    pthread_(?:mutex|rwlock|spin|cond)_\w+)\s*\(/x;

# statements, not words of a sentence: keywords as SQL writes them
my $sql = qr/\b(?:SELECT\s+\S.*\bFROM\b|SELECT\s+\w+\(|INSERT\s+INTO\b|UPDATE\s+\w+\s+SET\b|
    DELETE\s+FROM\b|(?:CREATE|ALTER|DROP)\s+(?:TABLE|INDEX|TYPE|ROLE|DATABASE)\b|
    FOR\s+UPDATE\b)/xs;
my $transaction = qr/^\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|LISTEN|NOTIFY)\b/;   # db.c's words

my @c = grep { -f } glob 'controller/*.[ch] controller/*/*.[ch] ngx_certctl_module/*/*.[ch] '
    . 't/unit/*.[ch] t/connector/*.c t/tool/*.[ch] t/preload/*.c t/fuzz/*.[ch] t/bench/*.[ch]';
cmp_ok(scalar @c, '>', 20, 'there are sources');

check_c($_) for @c;
check_readme($_) for map { s{/$}{}r } grep { my @f = glob "$_*.[ch] $_*.t"; @f }
    glob 'controller/*/ ngx_certctl_module/*/';
check_text($_) for grep { -f } project_files();
check_module(grep { m{^ngx_certctl_module/} } @c);

done_testing();

# What git would commit; without git, what lies here.
sub project_files {
    my @files = split /\0/, `git ls-files -z --cached --others --exclude-standard 2>/dev/null` // '';

    @files = grep { !m{^(?:build|\.git)/} } split /\0/, `find . -type f -printf '%P\\0'` if !@files;
    cmp_ok(scalar @files, '>', 100, 'the files of the project are found');
    return @files;
}

sub check_c {
    my ($file) = @_;
    my $text = slurp($file);
    my ($code, @strings) = strip($text);
    my @wrong;

    push @wrong, 'does not begin with a comment that says what it is for'
        unless $text =~ m{\A\s*/\*.{20,}?\*/}s;
    push @wrong, 'a header without #pragma once or a guard'
        if $file =~ /\.h$/ && $text !~ /^#pragma once$|^#ifndef \w+_INCLUDED_$/m;
    push @wrong, 'more than ' . $FILE_LINES . ' lines' if ($text =~ tr/\n//) > $FILE_LINES;
    push @wrong, 'named after nothing' if $file =~ m{/(?:misc|helpers?|manager|utils2)\.};
    push @wrong, 'a constructor' if $code =~ /__attribute__\s*\(\(\s*constructor/;

    while ($code =~ /$banned/g) {
        push @wrong, 'line ' . line($code, $-[0]) . ": $& is banned";
    }

    push @wrong, map { "SQL in a string: $_" }
        grep { /$sql/ || (/$transaction/ && $file =~ m{^controller/(?!db/)}) } @strings;
    push @wrong, layout($text), functions($code);
    is(join("\n", @wrong), '', $file);
    return;
}

sub layout {
    my ($text) = @_;
    my ($n, @wrong) = (0);

    for my $line (split /\n/, $text) {
        $n++;
        push @wrong, "line $n: tab" if $line =~ /\t/;
        push @wrong, "line $n: blanks at its end" if $line =~ /\s$/;
        push @wrong, "line $n: " . length($line) . ' columns'
            if length $line > ($line =~ /^\s*(?:[{"]|X\(|ROW\()/ ? $TABLE_COLUMNS : $COLUMNS);
        push @wrong, "line $n: // comment" if $line =~ m{^\s*//};
    }

    push @wrong, 'no newline at the end' unless $text =~ /\n\z/;
    return @wrong;
}

# Each function with its length.
sub lengths {
    my ($code) = @_;
    my @line = split /\n/, $code;
    my ($name, $start, @length);

    for my $i (0 .. $#line) {
        $name = $1 if $line[$i] =~ /^(\w+)\(/;
        $start = $i if $line[$i] =~ /^\{/;

        if ($line[$i] =~ /^\}/ && defined $start) {
            push @length, [$name // '?', $i - $start + 1];
            undef $start;
        }
    }

    return @length;
}

# The name at the start of its line with the type on a line above.
sub functions {
    my ($code) = @_;
    my @line = split /\n/, $code;
    my @wrong = map { "$_->[0]() has $_->[1] lines" } grep { $_->[1] > $FUNCTION_LINES } lengths($code);

    for my $i (0 .. $#line) {
        push @wrong, 'line ' . ($i + 1) . ": $1() does not stand at the start of its line"
            if $line[$i] =~ /^(?!\w+\()[a-z_].*?\b(\w+)\(.*\)\s*$/ && ($line[$i + 1] // '') =~ /^\{/
            && $line[$i] !~ /^(?:CLEANUP_FUNC|X|ok)\b/;
    }

    return @wrong;
}

sub check_module {
    my (%offenders, @length);
    my $total = 0;

    for my $file (@_) {
        my $text = slurp($file);
        my ($code) = strip($text);
        my @line = split /\n/, $text;
        my @of = lengths($code);

        $total += @line;
        push @length, map { $_->[1] } @of;
        push @{ $offenders{'functions of more than 60 lines'} }, map { "$file: $_->[0]() has $_->[1]" }
            grep { $_->[1] > $MODULE_FUNCTION_LINES } @of;
        push @{ $offenders{'lines of more than 80 columns'} }, map { "$file:" . ($_ + 1) }
            grep { length $line[$_] > $MODULE_COLUMNS } 0 .. $#line;

        # callees stand before their callers
        push @{ $offenders{'prototypes of static functions'} }, map { "$file: $_()" }
            $code =~ /^static [^;{}()=]*?\b(\w+)\([^{}]*?\);/mg if $file =~ /\.c$/;
    }

    my $median = (sort { $a <=> $b } @length)[@length / 2];
    $offenders{'lines of its median function'} = [1 .. $median];
    diag("the module has $total lines and ", scalar @length, " functions, the median of $median lines");

    for my $what (sort keys %MODULE_LEFT) {
        my @offenders = @{ $offenders{$what} // [] };

        cmp_ok(scalar @offenders, '<=', $MODULE_LEFT{$what}, "the module: $what");
        note(join "\n", @offenders) if $what !~ /median/;
    }

    return;
}

sub check_readme {
    my ($room) = @_;

    return fail("$room/README.md is missing") if !-f "$room/README.md";
    my $lines = () = slurp("$room/README.md") =~ /\n/g;
    cmp_ok($lines, '<=', $README_LINES, "$room/README.md is short");
    return;
}

# What no file of the project may hold, whatever it is written in.
sub check_text {
    my ($file) = @_;

    return if $file =~ m{^t/(?:fuzz|data)/} || -B $file;
    my $text = slurp($file);
    my @wrong;

    push @wrong, "a path of one machine: $&"
        if $text =~ m{(?<![\w.])/(?:wor[k]|far[m]|home/\w+)/\w+};
    push @wrong, "a host of a package registry: $&"
        if $text =~ /\b(?:de[b]\.debian|securit[y]\.debian|pyp[i]|registr[y]\.npmjs|crate[s]|
            prox[y]\.golang|cpa[n]|metacpa[n]|ghc[r]|qua[y]|docke[r])\.(?:org|com|io)\b/x;
    push @wrong, "unfinished: $&" if $text =~ /\b(?:TOD[O]|FIXM[E]|XX[X])\b/;
    push @wrong, 'a private key'
        if $file !~ m{^t/} && $text =~ /^-----BEGIN (?:\w+ )*PRIVATE KEY-----$/m;

    return if !@wrong;          # hundreds of lines of "ok" would say nothing
    fail("$file: " . join '; ', @wrong);
    return;
}

# Code without comments and with strings emptied, lines kept; then the strings,
# those that follow each other joined.
sub strip {
    my ($text) = @_;
    my ($code, @strings, $joined) = ('');

    while ($text =~ m{\G(/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'|.)}gs) {
        my $token = $1;

        if ($token =~ m{^/\*}) {
            $code .= $token =~ tr/\n//cdr;

        } elsif ($token =~ /^"(.*)"$/s) {
            if ($joined) { $strings[-1] .= $1 } else { push @strings, $1 }
            $joined = 1;
            $code .= '""';

        } else {
            $joined = 0 if $token =~ /\S/;
            $code .= $token;
        }
    }

    return ($code, @strings);
}

sub line {
    my ($text, $at) = @_;
    return 1 + (substr($text, 0, $at) =~ tr/\n//);
}

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "$file: $!";
    local $/;
    return scalar <$in>;
}
