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

# whatever a control request takes is named beside the fuzzers that read it
my $table = slurp('t/fuzz/README.md');
my @routes = slurp('ngx_certctl_module/agent/requests.c') =~ m{^    \{ \S+, "(/[^"]+)",$}mg;

cmp_ok(scalar @routes, '>', 10, 'the control requests are found');
is(join(' ', grep { $table !~ /^\|.*`\Q$_\E`/m } @routes), '', 'each has its fuzzers');
my %is = map { ($_, 1) } @fuzzers;
my $rows = join "\n", $table =~ /^\|.*$/mg;
is(join(' ', grep { !$is{$_} } $rows =~ /`([a-z_]+)`/g), '', 'which are there');

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

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "$file: $!";
    local $/;
    return scalar <$in>;
}
