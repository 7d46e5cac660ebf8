package Certctl::Port;

# Free ports of 127.0.0.1, never the same one twice while tests run side by side.

use strict;
use warnings;
use Exporter 'import';
use Fcntl ':flock';
use IO::Socket::INET;

our @EXPORT_OK = ('free_port');

my $dir = "/tmp/certctl-ports-$>";
my @held;                   # a lock file is held until the process ends

# Below the ephemeral range, so that no outgoing connection takes it meanwhile.
sub free_port {
    mkdir $dir, 0700;

    for (1 .. 1000) {
        my $port = 12000 + int rand 20000;

        open my $lock, '>', "$dir/$port" or die "$dir/$port: $!";
        next unless flock $lock, LOCK_EX | LOCK_NB;

        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            LocalPort => $port, Listen => 1, ReuseAddr => 1) or next;

        close $socket;
        push @held, $lock;
        return $port;
    }

    die "no free port on 127.0.0.1\n";
}

1;
