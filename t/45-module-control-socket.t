#!/usr/bin/perl
# A control socket in the file system: who may send requests over it is decided by
# the user at its other end, whatever the modes of socket and folder have become, and
# a socket that a dead NGINX has left hinders no start. One that is in use, and what
# is no socket, stays.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Process qw(finish slurp temp_dir wait_until write_file);
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();

plan skip_all => 'needs root, to become other users' if $> != 0;

my $edge = Certctl::Edge->new(workers => 1, conf => <<'CONF');
    server {
        listen unix:%%DIR%%/private/control.sock;
        certctl_agent;
    }
CONF
my $dir  = $edge->dir;
my $path = "$dir/private/control.sock";

mkdir "$dir/private", 0700 or die "$dir/private: $!";
$edge->start;

# Status and body for a process of this user.
sub get_as {
    my ($user) = @_;
    my $pid = open(my $pipe, '-|') // die "fork: $!";

    if (!$pid) {
        my ($uid, $gid) = (getpwnam $user)[2, 3];
        my $answer = '';

        $) = "$gid $gid";
        POSIX::setgid($gid);
        POSIX::setuid($uid);
        if (my $s = IO::Socket::UNIX->new(Peer => $path)) {
            print $s "GET /certctl/v1/status HTTP/1.0\r\n\r\n";
            local $/;
            $answer = <$s> // '';
        }
        else { $answer = "connect: $!" }
        syswrite STDOUT, $answer;
        POSIX::_exit(0);
    }

    local $/;
    my $answer = <$pipe>;
    close $pipe;
    return ($answer =~ m{^HTTP/1\.1 (\d+)} ? $1 : 0, $answer);
}

# The way to the socket is open to everybody, as after a careless chmod.
sub open_folders {
    my $at = '';

    for my $part (grep { length } split m{/}, "$dir/private") {
        $at .= "/$part";
        chmod +((stat $at)[2] & 07777) | 0055, $at if $at =~ /^\Q$dir\E/;
    }
    return;
}

subtest 'users' => sub {
    is +(get_as('root'))[0], 200, 'root may';
    open_folders();

    for my $user ('nobody', 'www-data') {
        my ($status, $answer) = get_as($user);

        is $status, 403, "$user may not, though the folder lets it in" or diag $answer;
        like $answer, qr/certctl_agent_users/, "$user: the rule";
    }

    ok $edge->logged(qr/control request refused: the user of this process/), 'the log says so';
    chmod 0700, "$dir/private";
    $edge->{http} = 'certctl_agent_users nobody games;';
    $edge->servers("server { listen unix:$path; certctl_agent; }");
    ok $edge->reload(wait_old => 1), 'two users are allowed';
    open_folders();

    is +(get_as($_))[0], 200, "$_ may" for 'root', 'nobody', 'games';
    is +(get_as('www-data'))[0], 403, 'www-data still may not';
    chmod 0700, "$dir/private";
};

subtest 'a socket that is left' => sub {
    $edge->stop('KILL');
    ok -S $path, 'a killed NGINX leaves its socket';

    my ($ok, $say) = $edge->test;
    ok -S $path, 'nginx -t removes nothing' or diag $say;

    ok eval { $edge->start }, 'NGINX starts' or diag $@;
    like $edge->log, qr/notice.*removed the control socket "\Q$path\E"/, 'the log says why';
    is +(get_as('root'))[0], 200, 'and answers';
    $edge->stop;
    ok !-e $path, 'NGINX removes its own when it ends';

    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1, ReuseAddr => 1) or die "socket: $!";
    my $servers = "server { listen unix:$path; certctl_agent; }";

    $edge->servers("$servers server { listen 127.0.0.1:" . $taken->sockport . '; }');
    ok !eval { $edge->start }, 'a start that fails, as another address is taken';
    like $@, qr/bind\(\) to 127\.0\.0\.1:\d+ failed/, 'for that';
    close $taken;

    $edge->servers($servers);
    ok eval { $edge->start }, 'the next one works' or diag $@;
    is +(get_as('root'))[0], 200, 'and answers';
};

subtest 'a socket that is in use' => sub {
    ok $edge->reload(wait_old => 1), 'a reload';
    is +(get_as('root'))[0], 200, 'keeps it';
    my $old = $edge->pid;
    isnt $edge->upgrade, $old, 'a binary upgrade';
    is +(get_as('root'))[0], 200, 'keeps it, too';
    $edge->stop;

    my $mine = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "socket: $!";
    my $inode = (stat $path)[1];
    ok !eval { $edge->start }, 'one of another program: NGINX does not start';
    like $@, qr/bind\(\) to unix:.* failed.*in use/, 'for that';
    is +(stat $path)[1], $inode, 'it is there';
    ok +IO::Socket::UNIX->new(Peer => $path), 'and takes connections';
    close $mine;
    unlink $path;
};

subtest 'what is no socket' => sub {
    write_file($path, 'precious', 0600);
    ok !eval { $edge->start }, 'a file: NGINX does not start';
    is slurp($path), 'precious', 'the file is there';
    unlink $path;

    write_file("$dir/private/target", 'precious', 0600);
    symlink "$dir/private/target", $path or die "symlink: $!";
    ok !eval { $edge->start }, 'a link: NGINX does not start';
    ok -l $path, 'the link is there';
    is slurp("$dir/private/target"), 'precious', 'and what it leads to';
};

done_testing();
