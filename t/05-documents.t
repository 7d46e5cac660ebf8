#!/usr/bin/perl
# What documents, comments and usage lines name is there: files, tests, headings that
# are linked to, targets and variables of the Makefile.

use strict;
use warnings;
use Test::More;
use Certctl::Process 'slurp';
use File::Basename 'dirname';

my @files = grep { -f && !m{^t/fuzz/corpus/} } split /\n/, `git ls-files --cached --others --exclude-standard`;
@files = grep { -f && !m{/corpus/} } split /\n/, `find * .ci -path build -prune -o -type f -print` if !@files;

my @documents = grep { m{\.md$} } @files;
my %text      = map { ($_, slurp($_)) } @files;
my $suffix    = qr/(?:c|h|t|pm|pl|sql|awk|md|supp|service)/;
my $makefile  = $text{Makefile};

cmp_ok(scalar @documents, '>', 30, 'the documents are found');

# The whole path of a file of ours, wherever it stands.
my $ours = qr{(?<![\w/.*<>-])((?:docs|t|controller|ngx_certctl_module|sql|docker|\.ci)/[\w./*<>{},-]*\.$suffix)\b};

subtest 'files named by their path' => sub {
    for my $file (sort keys %text) {
        next if $file =~ m{\.(?:der|pem|p12)$} || $file eq 't/05-documents.t';
        my %named = map { ($_, 1) } $text{$file} =~ /$ours/g;
        is(join(' ', grep { !there($_) } sort keys %named), '', $file) if %named;
    }
};

subtest 'files named in documents' => sub {
    for my $file (@documents) {
        my %named = map { ($_, 1) } grep { /\.$suffix$/ || m{^[\w.-]+(?:/[\w.*-]+)*/$} }
            grep { !m{^[/~.]|<|://|^\$} } $text{$file} =~ /`([^`\s]+)`/g;
        is(join(' ', grep { !beside($file, $_) } sort keys %named), '', $file) if %named;
    }
};

subtest 'tests named without their folder' => sub {
    for my $file (@documents, grep { m{^(?:Makefile|t/[^/]+|\.ci/run)$} && $_ ne 't/05-documents.t' } @files) {
        my %named = map { ($_, 1) } $text{$file} =~ m{(?<![\w/-])(\d\d-[a-z][\w*-]*\.t)\b}g;
        is(join(' ', grep { !there("t/$_") } sort keys %named), '', $file) if %named;
    }
};

subtest 'links' => sub {
    for my $file (@documents) {
        my @broken;

        for my $link ($text{$file} =~ /\]\(([^)\s]+)\)/g) {
            my ($path, $heading) = split /#/, $link;

            next if $link =~ /^\w+:/;
            my $to = length $path ? dirname($file) . "/$path" : $file;
            push @broken, $link
                if !-e $to || (defined $heading && !grep { $_ eq $heading } headings($to));
        }

        is("@broken", '', $file);
    }
};

subtest 'make' => sub {
    my %target   = map { ($_, 1) } map { split } $makefile =~ /^\.PHONY: (.*)/mg;
    my %variable = map { ($_, 1) } $makefile =~ /\$\((?:or \$\()?([A-Z_]+)\)/g, $makefile =~ /\b([A-Z_]+)=/g;

    $variable{CHAOS_SECONDS} = 1;               # goes to the tests
    for my $file (@documents, grep { m{^t/(?:run|setup|matrix|demo)$|^\.ci/run$|^docker/} } @files) {
        my @wrong;

        # in `quotes`, or a line of its own
        for my $words ($text{$file} =~ /(?:`|^|&& )(?:[A-Z_]+=\S+ )*make((?: [^`\s;&|]+)*)/mg) {
            for my $word (split ' ', $words) {
                push @wrong, $word if $word =~ /^([A-Z_]+)=/ ? !$variable{$1}
                    : $word =~ /^[a-z][a-z-]*$/ && !$target{$word};
            }
        }

        is("@wrong", '', $file);
    }
};

subtest 'every test is in the table of t/README.md' => sub {
    my %listed = map { ($_, 1) } map { glob "t/$_" } $text{'t/README.md'} =~ /`([^`\s]+\.[tc])`/g;

    is(join(' ', grep { !$listed{$_} && !m{/replay\.c$} } glob 't/*.t t/unit/*.c t/fuzz/*.c'), '', 'none is missing');
};

done_testing();

# A path, which may be a pattern or hold a place for a name.
sub there {
    my ($path) = @_;

    return 1 if $path =~ /<\w+>/;
    return scalar grep { -e } glob $path =~ s/\bNNNN_/*_/r;
}

# Relative to the document's folder, or to one that documents name files of.
sub beside {
    my ($file, $path) = @_;
    my $dir = dirname($file);

    # made by the build, by a store, or by the controller
    return 1 if $path =~ m{^(?:build|certs|names|writes|damaged|pending)/|^sql_\w+\.h$};
    return scalar grep { there($_) } $path, map { "$_/$path" } $dir, dirname($dir), 't', 't/unit',
        'controller', 'controller/*', 'ngx_certctl_module', 'ngx_certctl_module/*';
}

# As GitHub and others make them: lower case, hyphens for blanks.
sub headings {
    my ($file) = @_;
    my $text = $text{ $file =~ s{^\./}{}r =~ s{[^/]+/\.\./}{}gr } // slurp($file);

    return map { lc =~ s/[^\w\- ]//gr =~ s/ /-/gr } $text =~ /^#+ +(.*)$/mg;
}
