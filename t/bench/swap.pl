#!/usr/bin/perl
# From PUT to the first handshake that each worker serves: how long, never stale;
# beside what the disk alone takes, and beside a reload. Then 10,000 swaps while
# clients connect: no connection fails, no worker starts or ends. Then 10,000 in bulk,
# beside handshakes: how long, the lag of an event loop, and its lag when something
# else computes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(cpu_seconds disk_ms memory_kb own_kb percentile short tool);
use Certctl::Edge;
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(children run slurp);
use Certctl::TLS 'handshake';
use IO::Handle;
use List::Util qw(max sum);
use POSIX ();
use Time::HiRes qw(sleep time);

my $ROUNDS  = 10;
my $SWAPS   = short() ? 20 : 100;       # a round's
my $BESIDE  = short() ? 100 : 1000;     # certificates that a reload reads, too
my $STORM   = short() ? 500 : 10_000;
my $WARM    = short() ? 50 : 500;
my $NAMES   = 10;
my $THREADS = 2;
my $BULK    = short() ? 1000 : 10_000;  # in bodies of
my $EACH    = 500;
my $PUSHED  = 3;                        # rounds
my $RATE    = 200;                      # handshakes a second beside them

my $bench = Certctl::Bench->new('swap', variants => [qw(disk put reload)],
    note => 'ms; visible: from sending the PUT (or HUP) to the answer of the last worker\'s '
        . 'first handshake, one handshake after the other; disk: write, fsync, rename, fsync '
        . "of as many bytes, without a pause (alone), or one behind each PUT's handshakes (between); reload: stock NGINX, $BESIDE certificates; storm: $STORM PUTs to "
        . "$NAMES names, each chain with its issuer; thread_pool of $THREADS threads; bulk: $BULK with their keys and issuer, "
        . "$EACH in a POST, $THREADS connections, beside $RATE handshakes a second; lag: "
        . 'certctl_event_loop_lag_max_us of new workers; computing: no request, but as many '
        . 'processes that only compute as there are connections; a timer: in a process of its own');
# as a controller pushes it: a leaf with its issuer behind it
my $root = Certctl::PKI->ca('Bench root');
my $ca   = $root->sub_ca('Bench CA');

# NGINX's own default is 32 threads a worker, and each keeps memory of its own
my $edge = Certctl::Edge->new(ca => $ca, workers => 2,
    main => "thread_pool default threads=$THREADS;\n", conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        certctl on;
        return 200 "$pid\n";
    }
CONF
my $stock = Certctl::Nginx->new(workers => 2, module => 0);
my @name  = map { "n$_.bench.test" } 0 .. $NAMES - 1;
my %crt   = map { ($_ => [pair($_), pair($_)]) } @name;
my $control;                            # a kept connection
my %live;                               # which of the two a name has
my %ms = (put => [], disk => [], visible => [], between => []);
my ($stale, $seen, $stocked) = (0, 0, 0);

start_stock();
$edge->start;
put($_) for @name;
my @workers = sort { $a <=> $b } $edge->workers;

my %measure = (disk => \&disk, put => \&swaps, reload => \&reloads);
$bench->rounds($ROUNDS, sub { return $measure{ $_[1] }->() });

$bench->figure('stale handshakes, first one of each worker', $stale, unit => "of $seen", most => 0);
$bench->figure('PUT p50', percentile(50, @{ $ms{put} }), unit => 'ms');
$bench->figure('PUT p99', percentile(99, @{ $ms{put} }), unit => 'ms', most => 10);
$bench->figure('disk alone p50', percentile(50, @{ $ms{disk} }), unit => 'ms');
$bench->figure('disk alone p99', percentile(99, @{ $ms{disk} }), unit => 'ms');
$bench->compare('PUT p50 / disk alone', p50 => qw(put disk), most => 2);
$bench->figure('disk between two PUTs and their handshakes p50', percentile(50, @{ $ms{between} }), unit => 'ms');
$bench->figure('PUT p50 / disk between', percentile(50, @{ $ms{put} }) / percentile(50, @{ $ms{between} }));
$bench->figure('visible on all workers p50', percentile(50, @{ $ms{visible} }), unit => 'ms');
$bench->figure('visible on all workers p99', percentile(99, @{ $ms{visible} }), unit => 'ms');
$bench->compare("reload with $BESIDE certificates / PUT, until visible", visible_p50 => qw(reload put));
storm();
$edge->stop;
$stock->stop;
bulk();
$bench->finish;

sub pair {
    my ($name) = @_;
    my (undef, $key, $chain) = $ca->issue(names => [$name]);

    return { body => $chain . $key, fingerprint => fingerprint($chain), key => $key,
        chain => $chain };
}

# The other one of the name's two; the fingerprint that is to be seen, and ms.
sub put {
    my ($name) = @_;
    my $next  = $crt{$name}[$live{$name} = 1 - ($live{$name} // 1)];
    my $begin = time;
    my $answer = request("PUT /certctl/v1/certificates/$name?keygen=server HTTP/1.1\r\n"
        . "Host: edge\r\nContent-Type: application/x-pem-file\r\nContent-Length: "
        . length($next->{body}) . "\r\n\r\n$next->{body}");
    my $ms = (time - $begin) * 1000;

    die "PUT $name: $answer\n" if $answer !~ m{^HTTP/1\.1 20};
    return ($next->{fingerprint}, $ms);
}

# In one piece over a kept connection, as curl does it: HTTP::Tiny would send head
# and body apart, and wait for a delayed ACK of the first.
sub request {
    my ($text) = @_;
    my $answer = '';

    $control //= $edge->connection;
    syswrite $control, $text or die "the control listener closed\n";

    until ($answer =~ /\r\n\r\n(.*)/s && length $1 >= ($answer =~ /^Content-Length: (\d+)/mi)[0]) {
        sysread $control, $answer, 65536, length $answer
            or die "the control listener closed: $answer\n";
    }

    undef $control if $answer =~ /^Connection: close/mi;
    return $answer;
}

sub swaps {
    my (@put, @visible, @between);
    my $round_stale = 0;

    for (1 .. $SWAPS) {
        my $begin = time;
        my ($want, $ms) = put($name[0]);
        my %answered;

        # a worker's first handshake behind the answer; the kernel picks which
        while (keys %answered < @workers) {
            my $h = handshake($edge->port('tls'), sni => $name[0], keep => 1, staple => 0);
            my ($pid) = ($h->{answer} // '') =~ /\r\n\r\n(\d+)/ or die "no answer: $h->{error}\n";

            next if $answered{$pid}++;
            $seen++;
            $round_stale++ if $h->{fingerprint} ne $want;
        }

        push @put, $ms;
        push @visible, (time - $begin) * 1000;
        push @between, disk_ms($edge->dir, 2048);
    }

    $stale += $round_stale;
    push @{ $ms{put} }, @put;
    push @{ $ms{visible} }, @visible;
    push @{ $ms{between} }, @between;
    return { p50 => percentile(50, @put), p99 => percentile(99, @put), stale => $round_stale,
        visible_p50 => percentile(50, @visible), visible_p99 => percentile(99, @visible) };
}

# Writes on the store's own file system, one behind the other, without a pause.
sub disk {
    my @took = map { disk_ms($edge->dir, 2048) } 1 .. $SWAPS;

    push @{ $ms{disk} }, @took;
    return { p50 => percentile(50, @took), p99 => percentile(99, @took) };
}

# NGINX without the module: the certificate in files, and many others beside it.
sub start_stock {
    my $dir    = $stock->dir;
    my $listen = '127.0.0.1:%%PORT_tls%%';

    run("$dir/fill.log", tool('fill'), '-d', $dir, '-n', $BESIDE) == 0
        or die 'fill: ', slurp("$dir/fill.log");
    (my $others = slurp("$dir/static.conf")) =~ s/\@LISTEN\@/$listen/g;

    $stock->configure(<<'CONF' . "$others}\n");
%%MAIN%%
http {
    %%HTTP%%
    server_names_hash_max_size 131072;
    server_names_hash_bucket_size 128;
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        ssl_certificate %%DIR%%/crt.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        return 200 "$pid\n";
    }
CONF
    replace($stocked);
    $stock->start;
    return;
}

sub replace {
    my ($which) = @_;
    my $crt = $crt{ $name[0] }[$which];

    $stock->file('crt.pem', $crt->{chain});
    $stock->file('key.pem', $crt->{key}, 0600);
    return $crt->{fingerprint};
}

sub reloads {
    my $want   = replace($stocked = 1 - $stocked);
    my $begin  = time;
    my $failed = 0;
    my %old    = map { ($_ => 1) } children($stock->pid);
    my %new;

    # old workers go on for a while, with the certificate of the time before
    kill 'HUP', $stock->pid;
    while (keys %new < @workers) {
        my $h = handshake($stock->port('tls'), sni => $name[0], keep => 1, staple => 0);
        my ($pid) = ($h->{answer} // '') =~ /\r\n\r\n(\d+)/;

        $failed++ if !$pid;
        $new{$pid}++ if $pid && !$old{$pid} && $h->{fingerprint} eq $want;
    }

    return { visible_p50 => (time - $begin) * 1000, failed => $failed };
}

# The hammer verifies each chain: a placeholder or half a change would fail.
sub storm {
    my $port = $edge->port('tls');
    my $old  = handshake($port, sni => $name[0], keep => 1, tls => '1.3');
    my $hammered = time;
    my ($pid, $out) = hammer($edge->file('ca.pem', $root->cert));
    my @all = ($edge->pid, @workers);

    put($name[$_ % $NAMES]) for 1 .. $WARM;     # every thread has had one
    my ($before, $own, $begin, @took) = (memory_kb(@all), own_kb(@all), time);

    for my $n (1 .. $STORM) {
        push @took, (put($name[$n % $NAMES]))[1];
    }

    my $seconds = time - $begin;
    my $after   = memory_kb(@all);
    my $grown   = own_kb(@all) - $own;
    my $new     = handshake($port, sni => $name[0], session => $old->{session}, tls => '1.3');

    kill 'TERM', $pid;
    my ($done, $failed) = (<$out> // '') =~ /^done (\d+) failed (\d+)/ or die "the hammer died\n";
    close $out;

    my $reloads = () = $edge->log =~ /reconfiguring/g;
    my $same    = "@workers" eq join ' ', sort { $a <=> $b } $edge->workers;

    $bench->figure('storm: failed connections', $failed, unit => "of $done", most => 0);
    $bench->figure('storm: reloads', $reloads, unit => "in $STORM swaps", most => 0);
    $bench->figure('storm: workers that came or went', $same ? 0 : 1, unit => 'any', most => 0);
    $bench->figure('storm: session resumed across it', $new->{reused} // 0, unit => 'yes', least => 1);
    $bench->figure('storm: swaps a second', $STORM / $seconds, unit => '1/s');
    $bench->figure('storm: handshakes a second', $done / (time - $hammered), unit => '1/s');
    $bench->figure('storm: PUT p50', percentile(50, @took), unit => 'ms');
    $bench->figure('storm: PUT p99', percentile(99, @took), unit => 'ms');
    $bench->figure('storm: memory before (PSS, master and workers)', $before / 1024, unit => 'MB');
    $bench->figure('storm: memory after / before', $after / $before, most => 1.05);
    $bench->figure('storm: of it anonymous or shared memory, grown by', $grown, unit => 'KB');
    return;
}

sub hammer {
    my ($ca_file) = @_;

    my $pid = open my $out, '-|', tool('handshake'), '-p', $edge->port('tls'),
        '-s', 'n#.bench.test', '-k', $NAMES, '-c', 2, '-t', 3600, '-C', $ca_file
        or die "handshake: $!";
    return ($pid, $out);
}

# Each round in new workers, as the meter's most is a worker's own: nothing but
# handshakes, what computes beside them, and certificates by the thousand.
sub bulk {
    my $far = Certctl::Edge->new(workers => 2, main => "thread_pool default threads=$THREADS;\n",
        conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        certctl on;
    }
CONF
    my $dir = $far->dir;
    my ($done, $failed, @all) = (0, 0);

    run("$dir/fill.log", tool('fill'), '-d', $dir, '-n', $BULK, '-b', $EACH, '-r', $PUSHED) == 0
        or die 'fill: ', slurp("$dir/fill.log");
    $far->start;
    push_all($far, "$dir/bulk/0-0");

    my $round = sub {
        my ($n, $variant) = @_;
        my @body = glob "$dir/bulk/" . ($n - 1) . '-*';

        $far->reload(wait_old => 1);
        my ($pid, $out) = beside($far);
        my $timer = timer();
        my $used  = cpu_seconds($far->workers);
        my %got   = $variant eq 'bulk' ? (seconds => push_all($far, @body)) : ();
        idle($far, $variant eq 'computing' ? $THREADS : 0) if $variant ne 'bulk';
        $got{cpu} = cpu_seconds($far->workers) - $used;

        @got{qw(late stalls)} = lateness($far);
        $got{timer} = ended($timer);
        my ($shaken, $bad) = ended($pid, $out)
            =~ /^done (\d+) failed (\d+)/ or die "the hammer died\n";
        $done   += $shaken, $failed += $bad if $variant eq 'bulk';
        return \%got;
    };

    $bench->rounds($PUSHED, $round, qw(alone computing bulk));

    # in the same workers now, until each of them has had its share of connections
    push_all($far, glob "$dir/bulk/$_-*") for 0 .. $PUSHED - 1;
    @all = ($far->pid, $far->workers);
    my $before = memory_kb(@all);
    push_all($far, glob "$dir/bulk/0-*");
    my $after = memory_kb(@all);

    $bench->figure("bulk: $BULK certificates", $bench->median_of('bulk', 'seconds'), unit => 's', most => 5);
    $bench->figure('bulk: CPU of the workers for each', $bench->median_of('bulk', 'cpu') / $BULK * 1e6,
        unit => 'us');
    $bench->figure('bulk: failed handshakes', $failed, unit => "of $done", most => 0);
    $bench->figure('bulk: event loop lag, longest', $bench->median_of('bulk', 'late'), unit => 'ms', most => 5);
    $bench->figure('bulk: event loop lag over 5 ms', $bench->median_of('bulk', 'stalls'), unit => 'times');
    $bench->figure("bulk: a timer's lag, longest", $bench->median_of('bulk', 'timer'), unit => 'ms');
    $bench->figure("$_: event loop lag, longest", $bench->median_of($_, 'late'), unit => 'ms'),
        $bench->figure("$_: event loop lag over 5 ms", $bench->median_of($_, 'stalls'), unit => 'times'),
        $bench->figure("$_: a timer's lag, longest", $bench->median_of($_, 'timer'), unit => 'ms')
        for qw(alone computing);
    $bench->compare('event loop lag, bulk / computing', late => qw(bulk computing));
    $bench->figure('bulk: memory before (PSS, master and workers)', $before / 1024, unit => 'MB');
    $bench->figure('bulk: memory after / before', $after / $before, most => 1.05);
    return;
}

sub post_head {
    my ($length) = @_;
    return "POST /certctl/v1/certificates HTTP/1.1\r\nHost: edge\r\n"
        . "Content-Type: application/x-certctl-bulk\r\nContent-Length: $length\r\n\r\n";
}

# All bodies, over as many connections as a worker has threads; seconds.
sub push_all {
    my ($far, @file) = @_;
    my @text  = map { my $body = slurp($_); post_head(length $body) . $body } @file;
    my $begin = time;
    my @pid;

    for my $n (0 .. $THREADS - 1) {
        my $pid = fork // die "fork: $!";

        if ($pid == 0) {
            my $ok = eval { deliver($far->connection, @text[grep { $_ % $THREADS == $n } 0 .. $#text]); 1 };

            print STDERR $@ if !$ok;
            POSIX::_exit($ok ? 0 : 1);
        }

        push @pid, $pid;
    }

    my $bad = grep { waitpid $_, 0; $? } @pid;
    die "a POST of many failed\n" if $bad;
    return time - $begin;
}

sub deliver {
    my ($socket, @text) = @_;

    for my $text (@text) {
        my ($at, $answer) = (0, '');

        while ($at < length $text) {
            $at += syswrite $socket, $text, 16384, $at or die "the control listener closed\n";
        }

        until ($answer =~ /\r\n\r\n(.*)/s && length $1 >= ($answer =~ /^Content-Length: (\d+)/mi)[0]) {
            sysread $socket, $answer, 65536, length $answer or die "cut off: $answer\n";
        }

        $answer =~ /"refused":0\b/ or die "refused: " . substr($answer, 0, 1000) . "\n";
    }

    return;
}

# The meter runs while there is a request: some wait for bodies.
sub idle {
    my ($far, $burners) = @_;
    my @open = map { $far->connection } 1 .. 8;
    my @pid  = map { child(sub { 1 while 1 }) } 1 .. $burners;

    syswrite $_, post_head(1000) for @open;
    sleep 4;
    kill 'KILL', @pid;
    waitpid $_, 0 for @pid;
    return;
}

# The most that a timer of 1 ms is late in a process that does nothing else.
sub timer {
    my $pid = open(my $out, '-|') // die "fork: $!";
    return [$pid, $out] if $pid;

    my ($end, $most) = (0, 0);
    local $SIG{TERM} = sub { $end = 1 };

    while (!$end) {
        my $begin = time;
        sleep 0.001;
        my $late = (time - $begin) * 1000 - 1;
        $most = $late if $late > $most && !$end;
    }

    syswrite STDOUT, "$most\n";
    POSIX::_exit(0);
}

sub child {
    my ($run) = @_;
    my $pid = fork // die "fork: $!";

    $run->() if $pid == 0;
    return $pid;
}

# What a child says when it is told to end.
sub ended {
    my ($pid, $out) = ref $_[0] ? @{ $_[0] } : @_;

    kill 'TERM', $pid;
    my $said = <$out> // '';
    close $out;
    return $said =~ s/\n//r;
}

# In ms, the most of any worker; and how often it was more than 5.
sub lateness {
    my ($far) = @_;
    my $text = $far->connection;

    syswrite $text, "GET /certctl/v1/metrics HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
    my $said = do { local $/; <$text> };
    my @late   = $said =~ /^certctl_event_loop_lag_max_us\{.*?\} (\d+)/mg or die "no metrics: $said\n";
    my @stalls = $said =~ /^certctl_event_loop_stalls_total\{.*?\} (\d+)/mg;

    return (max(@late) / 1000, sum(@stalls));
}

sub beside {
    my ($far) = @_;
    my $pid = open my $out, '-|', tool('handshake'), '-p', $far->port('tls'), '-s', 's#.bench.test',
        '-k', 100, '-c', 2, '-t', 3600, '-r', $RATE, '-C', $far->dir . '/ca.pem'
        or die "handshake: $!";
    return ($pid, $out);
}
