package Certctl::Coverage;

# Which lines of a source file a program has run, as gcov counts them.
#
#   my $lines = covered($log, $program, @arguments);
#   $lines->{'controller/conf/conf.c'}{conf_load}{120}      # how often line 120 ran
#
# The program was compiled and linked with --coverage below this folder; what it
# prints is in the file $log. undef when it has failed.

use strict;
use warnings;
use Certctl::Process 'temp_dir';
use Cwd ();
use Exporter 'import';
use File::Find;
use JSON::PP;

our @EXPORT_OK = 'covered';

sub covered {
    my ($log, $program, @arguments) = @_;
    my $dir = temp_dir();
    my (%lines, @counters);

    {
        local $ENV{GCOV_PREFIX} = $dir;
        system('sh', '-c', 'exec "$@" > "$0" 2>&1', $log, $program, @arguments) == 0 or return;
    }

    # gcov wants beside the counters what the compiler wrote beside the object
    find({ no_chdir => 1, wanted => sub { push @counters, $_ if /\.gcda$/ } }, $dir);

    for my $file (@counters) {
        my $notes = substr($file, length $dir) =~ s/gcda$/gcno/r;
        symlink $notes, $file =~ s/gcda$/gcno/r or die "$notes: $!\n";
    }

    open my $gcov, '-|', 'gcov', '--json-format', '--stdout', @counters or die "gcov: $!\n";

    while (my $line = <$gcov>) {
        for my $file (@{ JSON::PP->new->decode($line)->{files} }) {
            my $path = clean($file->{file});

            $lines{$path}{ $_->{function_name} // '' }{ $_->{line_number} } += $_->{count}
                for @{ $file->{lines} };
        }
    }

    close $gcov or die "gcov: exit $?\n";
    return \%lines;
}

# As it is named from here.
sub clean {
    my ($path) = @_;
    my $here = Cwd::getcwd() . '/';

    1 while $path =~ s{[^/]+/\.\./}{};
    return $path =~ s/^\Q$here\E//r;
}

1;
