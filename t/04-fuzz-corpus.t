#!/usr/bin/perl
# What fuzzers found, and one input for each way through the code, still does no
# harm: every file of t/fuzz/corpus/ goes through the program that it is for.

use strict;
use warnings;
use Test::More;

my $B = $ENV{B} // 'build';
my @fuzzers = grep { $_ ne 'replay' } map { m{([^/]+)\.c$} } glob 't/fuzz/*.c';
my $bytes = 0;

cmp_ok(scalar @fuzzers, '>', 10, 'there are fuzzers');

is(join(' ', map { m{([^/]+)/$} } glob 't/fuzz/corpus/*/'), join(' ', sort @fuzzers),
    'each has a corpus, and each corpus a fuzzer');

for my $name (@fuzzers) {
    my @inputs = glob "t/fuzz/corpus/$name/*";
    my $program = "$B/t/fuzz/$name";

    $bytes += -s $_ for @inputs;
    ok(@inputs > 0, "$name has inputs");
    ok(-x $program, "$program is built") or next;

    open my $out, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', $program, @inputs or die "$program: $!";
    my @lines = <$out>;
    close $out;

    my $passed = grep { /^ok / } @lines;
    is($?, 0, "$name: ends well") or diag(join '', @lines);
    is($passed, scalar @inputs, "$name: runs all of its inputs");
}

cmp_ok($bytes, '<', 200 * 1024, 'the corpora are small');

done_testing();
