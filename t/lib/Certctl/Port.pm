package Certctl::Port;

# Free ports of 127.0.0.1, never the same one twice while tests run side by side.

use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use Socket qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);

our @EXPORT_OK = ('free_port');

my @held;

# Below the ephemeral range, so that no outgoing connection takes it meanwhile. A
# port is reserved by a unix socket with an abstract name, which belongs to the same
# network namespace, is no file, and is gone when the process ends.
sub free_port {
    for (1 .. 1000) {
        my $port = 12000 + int rand 20000;

        socket my $lock, AF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
        bind $lock, pack_sockaddr_un("\0certctl-port-$port") or next;

        my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            LocalPort => $port, Listen => 1, ReuseAddr => 1) or next;

        close $socket;
        push @held, $lock;
        return $port;
    }

    die "no free port on 127.0.0.1\n";
}

1;
