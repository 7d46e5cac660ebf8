#!/usr/bin/perl
# What fuzzers found, and one input for each way through the code, still does no
# harm: every file of t/fuzz/corpus/ goes through the program that it is for. And
# the inputs of each reach what it is for (t/fuzz/parsers): what no input reaches,
# mutations of them hardly do.

use strict;
use warnings;
use Test::More;
use Certctl::Coverage 'covered';
use Certctl::Process qw(slurp temp_dir);

my $REACHED = 80;           # percent of the lines of each file
my $B = $ENV{B} // 'build';
my @fuzzers = grep { $_ ne 'replay' } map { m{([^/]+)\.c$} } glob 't/fuzz/*.c';
my $bytes = 0;

cmp_ok(scalar @fuzzers, '>', 10, 'there are fuzzers');

is(join(' ', map { m{([^/]+)/$} } glob 't/fuzz/corpus/*/'), join(' ', sort @fuzzers),
    'each has a corpus, and each corpus a fuzzer');

# whatever a control request takes is named beside the fuzzers that read it
my $table = slurp('t/fuzz/README.md');
my @routes = slurp('ngx_certctl_module/agent/requests.c') =~ m{^    \{ \S+, "(/[^"]+)",$}mg;

cmp_ok(scalar @routes, '>', 10, 'the control requests are found');
is(join(' ', grep { $table !~ /^\|.*`\Q$_\E`/m } @routes), '', 'each has its fuzzers');
my %is = map { ($_, 1) } @fuzzers;
my $rows = join "\n", $table =~ /^\|.*$/mg;
is(join(' ', grep { !$is{$_} } $rows =~ /`([a-z_]+)`/g), '', 'which are there');

my $log = temp_dir() . '/log';
my %parser;

for (grep { /^\w/ } split /\n/, slurp('t/fuzz/parsers')) {
    my ($name, @parser) = split;
    push @{ $parser{$name} }, \@parser;
}

is(join(' ', sort keys %parser), join(' ', sort @fuzzers), 'each says what it is for');

for my $name (@fuzzers) {
    my @inputs = glob "t/fuzz/corpus/$name/*";
    my $program = "$B/t/fuzz/$name";

    $bytes += -s $_ for @inputs;
    ok(@inputs > 0, "$name has inputs");
    ok(-x $program, "$program is built") or next;

    my $lines = covered($log, $program, @inputs);
    ok($lines, "$name: ends well") or diag(slurp($log)) or next;
    is(() = slurp($log) =~ /^ok /mg, scalar @inputs, "$name: runs all of its inputs");
    reaches($name, $lines, @$_) for @{ $parser{$name} };
}

cmp_ok($bytes, '<', 200 * 1024, 'the corpora are small');

done_testing();

# Of a file all functions but the "-" ones, or those that are named.
sub reaches {
    my ($name, $lines, $file, @words) = @_;
    my $in = $lines->{$file} // {};
    my %not = map { (s/^-//r, 1) } grep { /^-/ } @words;
    my %only = map { ($_, 1) } grep { !/^-/ } @words;
    my ($all, $n, @left) = (0, 0);

    is(join(' ', grep { !$in->{$_} } keys %not, keys %only), '', "$name: $file has what t/fuzz/parsers names")
        if @words;

    for my $function (grep { !$not{$_} && (!%only || $only{$_}) } sort keys %$in) {
        my @missed = grep { !$in->{$function}{$_} } keys %{ $in->{$function} };

        $all += keys %{ $in->{$function} };
        $n += @missed;
        push @left, "$function(): " . join ' ', sort { $a <=> $b } @missed if @missed;
    }

    my $percent = $all ? int 100 * ($all - $n) / $all : 0;
    cmp_ok($percent, '>=', $REACHED, "$name: $percent % of the $all lines of $file")
        or diag('not reached: ', join "\n", @left);
    return;
}
