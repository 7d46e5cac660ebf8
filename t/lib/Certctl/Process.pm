package Certctl::Process;

# Starts a program as a process group of its own and ends it by its id, also
# when the test dies; sees what sanitizers said.

use strict;
use warnings;
use Cwd 'abs_path';
use Exporter 'import';
use File::Temp ();
use POSIX ();
use Time::HiRes 'sleep', 'time';

our @EXPORT_OK = qw(built preload temp_dir run spawn adopt finish wait_until in_time alive at_rest
    children clients taken has_open slurp write_file sanitized valgrind patience);

my %started;                # process id => file of its stderr
my @reports;
my $owner = $$;
my $root;                   # the folder of all folders of this test

# A test that is interrupted runs its END blocks, too: they end what it has started
# and remove its folders.
my %number = (HUP => 1, INT => 2, TERM => 15);
for my $name (keys %number) {
    $SIG{$name} = sub { $$ == $owner ? exit 128 + $number{$name} : POSIX::_exit(128 + $number{$name}) };
}

# Path of what make has built; of the programs with crash points, if they are
# asked for.
sub built {
    my ($name, $points) = @_;
    my $dir = $ENV{B} || 'build';

    $dir = $ENV{POINTED} || "$dir/points" if $points;
    die "$dir/$name is not built: make test\n" if !-e "$dir/$name";
    return abs_path("$dir/$name");
}

# LD_PRELOAD for a shared object. The address sanitizer will not be loaded behind
# anything else.
sub preload {
    my ($object) = @_;

    return $object if !sanitized() || $ENV{SAN} !~ /address/;
    return `cc -print-file-name=libasan.so` =~ s/\n//r . ":$object";
}

# A folder that NGINX's workers and PostgreSQL, who are not root, may enter. All are
# in one, which is removed when the test ends: also those of a forked child, which
# may end without its END blocks.
sub temp_dir {
    $root //= File::Temp::tempdir('certctl-XXXXXXXX', TMPDIR => 1, CLEANUP => !$ENV{TEST_LEAVE});
    my $dir = File::Temp::tempdir('XXXX', DIR => $root);

    chmod 0755, $root, $dir;
    return $dir;
}

# Output of the program goes to the file $log. Returns its process id.
sub spawn {
    my ($log, @command) = @_;

    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        setpgrp 0, 0;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT;
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    setpgrp $pid, $pid;
    $started{$pid} = $log;
    return $pid;
}

# Starts it, waits for its end, returns the wait status.
sub run {
    my $pid = spawn(@_);

    waitpid $pid, 0;
    my $status = $?;
    inspect(delete $started{$pid});
    return $status;
}

# A daemon that has detached itself, leader of its group, is ended like a child.
sub adopt {
    my ($pid, $log) = @_;

    $started{$pid} = $log;
    return $pid;
}

# Signals a process and waits until it is gone; SIGKILL after $timeout seconds.
# Returns the wait status, undef when it had to be killed.
sub finish {
    my ($pid, $signal, $timeout) = @_;

    kill $signal, $pid;

    my $status;
    my $gone = wait_until($timeout // 20, sub {
        my $got = waitpid $pid, POSIX::WNOHANG();
        $status = $? if $got == $pid;
        return $got == $pid || ($got == -1 && !alive($pid));
    });

    if (!$gone) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }

    inspect(delete $started{$pid});
    return $gone ? $status // 0 : undef;
}

# Polls $check until it is true, at most $timeout seconds (times patience()). Returns
# its value. The last check is made after the end, as this process may have been
# asleep until then.
sub wait_until {
    my ($timeout, $check) = @_;
    my $end = time + $timeout * patience();

    while (1) {
        my $over = time > $end;
        my $value = $check->();
        return $value if $value || $over;
        sleep 0.02;
    }
}

# For what ends at a moment and is to be seen before: $do is given that moment, some
# $seconds from now, and done again with a later one until it was over before its
# own. Returns that moment and what $do returned.
sub in_time {
    my ($seconds, $do) = @_;

    for (1 .. 8) {
        my $end = int(time) + $seconds;
        my @did = eval { $do->($end) };
        my $why = $@;

        if (time < $end) {
            die $why if $why;
            return ($end, @did);
        }

        $seconds *= 2;
    }

    die "this machine is too slow\n";
}

sub alive {
    my ($pid) = @_;
    my ($state) = (slurp("/proc/$pid/stat") // '') =~ /\) (\w)/;

    return defined $state && $state ne 'Z';
}

# Waits until processes have nothing left to do: all their threads sleep, as often
# as they are looked at, for a while.
sub at_rest {
    my (@pids) = @_;
    my $asleep = 0;

    return wait_until(30, sub {
        my @busy = grep { (slurp("$_/stat") // ') S') !~ /\) S/ } map { glob "/proc/$_/task/*" } @pids;

        $asleep = @busy ? 0 : $asleep + 1;
        return $asleep > 10;
    });
}

sub children {
    my ($pid) = @_;

    return map { split } grep { defined } map { slurp($_) }
        glob "/proc/$pid/task/*/children";
}

# Ports that clients of a process come from, by IPv4: { port => 1 }.
sub clients {
    my ($pid) = @_;
    my %inode = map { (readlink($_) // '') =~ /^socket:\[(\d+)\]/ ? ($1, 1) : () } glob "/proc/$pid/fd/*";
    my %port;

    for (split /\n/, slurp('/proc/net/tcp')) {
        my @f = split;
        $port{ hex $1 } = 1 if $inode{ $f[9] // '' } && $f[2] =~ /:(\w+)$/;
    }

    return \%port;
}

# Whether the other end of a connection of 127.0.0.1 has read all that was written
# to it: nothing is on its way there, then nothing waits there.
sub taken {
    my ($s) = @_;
    my @ends = map { sprintf '0100007F:%04X', $_ } $s->sockport, $s->peerport;
    my ($sent)  = slurp('/proc/net/tcp') =~ /: $ends[0] $ends[1] \w\w (\w+):/;
    my ($there) = slurp('/proc/net/tcp') =~ /: $ends[1] $ends[0] \w\w \w+:(\w+)/;

    return defined $sent && hex $sent == 0 && hex($there // 0) == 0;
}

# How often processes have a file open, by the path that they opened.
sub has_open {
    my ($file, @pids) = @_;
    return scalar grep { $_ eq $file } map { readlink($_) // '' } map { glob "/proc/$_/fd/*" } @pids;
}

sub slurp {
    my ($file) = @_;

    open my $in, '<:raw', $file or return;
    local $/;
    return scalar <$in>;
}

sub write_file {
    my ($file, $text, $mode) = @_;

    open my $out, '>:raw', $file or die "$file: $!";
    chmod $mode, $file if defined $mode;
    print $out $text;
    close $out or die "$file: $!";
    return $file;
}

sub sanitized { return !!$ENV{SAN} }
sub valgrind  { return !!$ENV{VALGRIND} }

# Every time-out of a test is for what hangs, and is what an idle machine needs at
# most, times this: a busy machine makes a test slow, but does not fail it.
sub patience { return valgrind() ? 40 : sanitized() ? 24 : 6 }

# Remembers what a sanitizer wrote into a log. NGINX's own sources (src/...) pass
# null pointers with length 0 to memcpy and the like: undefined, harmless, theirs.
sub inspect {
    for my $log (grep { defined } @_) {
        my $text = slurp($log) // next;

        while ($text =~ /^(.*(?:Sanitizer:|runtime error:).*(?:\n\s+#\d.*|\n(?:READ|WRITE).*|\n[ \t]*(?=\n))*)/mg) {
            my $report = $1;
            push @reports, "$log: $report" unless $report =~ /^src\/\S+ runtime error:/;
        }
    }
}

# Remembers what valgrind wrote into its logs below a folder, a file for each
# process. With -q that is errors only; what it warns of is none.
sub inspect_valgrind {
    my ($dir) = @_;

    for my $log (glob "$dir/valgrind.*") {
        my $text = slurp($log) =~ s/^==\d+== Warning: .*\n(?:==\d+==  .*\n)*//gmr;
        push @reports, "$log: $text" if $text =~ /\S/;
        unlink $log;
    }
}

# What was said so far, which then is no failure any more: for a test that made
# it be said.
sub forgive { return splice @reports }

END {
    if ($$ == $owner) {
        my $status = $?;

        for my $pid (keys %started) {
            kill 'KILL', -$pid;
            waitpid $pid, 0;
            inspect($started{$pid});
        }

        if (@reports) {
            print STDERR "# $_\n" for map { split /\n/ } @reports;
            $status ||= 1;
        }

        $? = $status;
    }
}

1;
