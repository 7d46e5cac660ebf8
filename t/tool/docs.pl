#!/usr/bin/perl
# Prints the tables of documents again from the ones in the source: make docs.

use strict;
use warnings;

my ($declared) = @ARGV;

table('docs/api.md', 'routes', qr/^\| route \|/m);
table('docs/api.md', 'errors', qr/^\| type \| status \|/m);
table('docs/configuration.md', 'configuration', qr/^\| key \|/m);
table("docs/connectors/$_.md", $_, qr/^\| field \|/m) for split /\n/, declared('connectors');

# Puts a table in the place of the one whose first line is like head.
sub table {
    my ($file, $table, $head) = @_;
    my $rows = declared($table);

    open my $in, '<', $file or die "$file: $!";
    my $text = do { local $/; <$in> };
    $text =~ s/$head.*?\n(?!\|)/$rows/s or $text =~ s/$head.*\z/$rows/s or die "$file: no table of $table";

    open my $to, '>', $file or die "$file: $!";
    print {$to} $text;
    close $to or die "$file: $!";
    return;
}

sub declared {
    my ($table) = @_;

    open my $out, '-|', $declared, $table or die "$declared: $!";
    my $rows = do { local $/; <$out> };
    close $out or die "$declared $table";
    return $rows;
}
