#!/usr/bin/perl
# Prints the tables of docs/api.md again from the ones in the source: make docs.

use strict;
use warnings;

my ($declared, $file) = @ARGV;
open my $in, '<', $file or die "$file: $!";
my $text = do { local $/; <$in> };
my %head = (routes => qr/^\| route \|/m, errors => qr/^\| type \| status \|/m);

for my $table (sort keys %head) {
    open my $out, '-|', $declared, $table or die "$declared: $!";
    my $rows = do { local $/; <$out> };
    close $out or die "$declared $table";
    $text =~ s/$head{$table}.*?\n(?!\|)/$rows/s or $text =~ s/$head{$table}.*\z/$rows/s or die "$file: no table of $table";
}

open my $to, '>', $file or die "$file: $!";
print {$to} $text;
close $to or die "$file: $!";
