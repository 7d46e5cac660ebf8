#!/usr/bin/perl
# Ways to serve many certificates and to change one, beside each other: static files,
# variables in ssl_certificate, lua with a parsed cache, this module, and HAProxy.
# Each has a server of its own with the same names; what there is from Debian.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(disk_ms percentile pin short tool);
use Certctl::Beside;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process qw(run slurp temp_dir write_file);
use Certctl::TLS 'handshake';
use Time::HiRes qw(sleep time);

my $BESIDE  = short() ? 50 : 1000;      # names that all of them hold, too
my $ROUNDS  = 15;
my $SECONDS = short() ? 0.2 : 0.5;
my $CHANGES = 20;                       # a round's; a reload's are fewer
my $RELOADS = 2;
my $STORM   = short() ? 1 : 5;
# what would begin later is left out, on a machine with much else to do
my %LIMIT   = (handshakes => 150, memory => 210, swaps => 330, load => 400);
my $LOOKS   = 5;
my $PATIENCE = 60;                      # for a change to be seen

my @ways  = qw(static variables lua certctl haproxy);
my %title = (static => 'static', again => 'static again', variables => 'stock variables',
    lua => 'lua, parsed cache', certctl => 'certctl', haproxy => 'HAProxy');
my @kinds = (['P-256', 'ec-p256'], ['RSA-2048', 'rsa-2048']);
my $SWAP  = 'swap.bench.test';

my $begun = time;
my $bench = Certctl::Bench->new('module', variants => \@ways, title => 'Beside others',
    packages => [qw(nginx libnginx-mod-http-lua lua-resty-core haproxy libssl3)],
    note => "each holds $BESIDE certificates beside the measured ones; in brackets the ratio to "
        . 'static, the median of each round\'s own; handshakes: TLS 1.3, full, one worker, 16 '
        . "connections at a time, rounds of $SECONDS s; swaps: two workers (HAProxy: threads), ms "
        . 'from the change until each has shown the new certificate, one handshake after the '
        . "other; load: changes without a pause for $STORM s while 2 clients verify each chain");
my $root = Certctl::PKI->ca('Bench root CA');
my $ca   = $root->sub_ca('Bench issuing CA');
my $ca_file = write_file(temp_dir() . '/ca.pem', $root->cert);
my (%pair, %pem, %server, %seen);

$pair{"$_->[1].bench.test"} = [pair("$_->[1].bench.test", $_->[1])] for @kinds;
$pair{$SWAP} = [pair($SWAP, 'ec-p256'), pair($SWAP, 'ec-p256')];
%pem = map { ($_ => $pair{$_}[0]{pem}) } keys %pair;

$SIG{$_} = sub { exit 1 } for qw(INT TERM);     # the servers are ended, too

handshakes();
changes();
publish();
$bench->finish;

sub pair {
    my ($name, $type) = @_;
    my (undef, $key, $chain) = $ca->issue(names => [$name], key => new_key($type));

    return { pem => $chain . $key, fingerprint => fingerprint($chain) };
}

# One of each, all with the same names.
sub start {
    my ($workers) = @_;
    my $dir = filled($BESIDE);

    for my $way (@ways) {
        $bench->say('starting %s', $title{$way});
        $server{$way} = Certctl::Beside->new($way, workers => $workers, filled => $dir,
            count => $BESIDE, pems => \%pem);
        shows($way, $_) for sort keys %pair;
    }

    return $dir;
}

sub filled {
    my ($count) = @_;
    my $dir = temp_dir();
    my ($uid, $gid) = Certctl::Beside::owner();

    $bench->say('making %d certificates', $count);
    run("$dir/fill.log", tool('fill'), '-d', $dir, '-n', $count, '-u', $uid, '-g', $gid) == 0
        or die 'fill: ', slurp("$dir/fill.log");
    return $dir;
}

sub shows {
    my ($way, $name) = @_;
    my $h = handshake($server{$way}->port, sni => $name, tls => '1.3');

    die "$way, $name: $h->{error}\n" if $h->{error};
    die "$way, $name: another certificate\n" if $h->{fingerprint} ne $pair{$name}[0]{fingerprint};
    return;
}

sub late { return time - $begun > $LIMIT{ $_[0] } }

sub handshakes {
    my @variants = map { my $kind = $_->[1]; map { "$_ $kind" } @ways, 'again' } @kinds;

    start(1);
    $bench->rounds($ROUNDS, sub {
        my ($way, $kind) = split ' ', $_[1];

        return if late('handshakes');
        return rate($server{ $way eq 'again' ? 'static' : $way }, "$kind.bench.test");
    }, @variants);
    $_->stop for values %server;
    return;
}

sub rate {
    my ($server, $name) = @_;
    my $before = $server->cpu;
    my ($done, $failed, $seconds) = client(pin(1, tool('handshake'), '-p', $server->port,
        '-s', $name, '-t', $SECONDS, '-c', 16));
    my $used = $server->cpu - $before;

    die "$failed of $done handshakes failed\n" if $failed || !$done;
    return { rate => $done / $seconds, cpu_us => $used / $done * 1e6, busy => $used / $seconds };
}

sub client {
    my (@command) = @_;

    open my $out, '-|', @command or die "handshake: $!";
    my $said = <$out> // '';
    close $out;
    my @found = $said =~ /^done (\d+) failed (\d+) seconds (\S+)/ or die "handshake said: $said\n";
    return @found;
}

sub changes {
    my $dir = start(2);

    push @{ $bench->{rounds} }, { map { ($_ => memory($_, $dir)) } @ways };
    in_memory();
    $bench->rounds(10, sub { return late('swaps') ? () : swaps($_[1]) }, @ways, 'tmpfs');
    $bench->rounds(2, sub {
        my ($way) = $_[1] =~ /(\w+)$/;
        return late('load') ? () : storm($way);
    }, map { "load $_" } @ways);
    $_->stop for values %server;
    return;
}

# HAProxy and lua write nothing down: what it would be without the disk.
sub in_memory {
    local $ENV{TMPDIR} = '/dev/shm';

    $server{tmpfs} = Certctl::Beside->new('certctl', workers => 2, filled => filled(0),
        count => 0, pems => \%pem);
    shows('tmpfs', $SWAP);
    return;
}

# When every worker has been asked for each name, several times over.
sub memory {
    my ($way, $dir) = @_;

    return {} if late('memory');
    my ($done, $failed) = client(tool('handshake'), '-p', $server{$way}->port,
        '-s', 's#.bench.test', '-k', $BESIDE, '-n', 6 * $BESIDE, '-c', 8, '-C', "$dir/ca.pem");

    die "$way: $failed of $done names failed\n" if $failed;
    my $memory = $server{$way}->memory_mb;
    $bench->say('%-14s memory_mb %.1f', $way, $memory);
    return { memory_mb => $memory };
}

# Changes the name to the other one of its two certificates; the fingerprint that
# is to be seen from now on.
sub change {
    my ($way) = @_;
    my $next = $pair{$SWAP}[$seen{$way} = 1 - ($seen{$way} // 0)];

    $server{$way}->change($SWAP, $next->{pem});
    return $next->{fingerprint};
}

sub swaps {
    my ($way) = @_;
    my $changes = $way eq 'static' ? $RELOADS : $CHANGES;
    my $stale   = 0;
    my (@answered, @visible, @looked, @disk);

    $server{$way}->hang_up;

    for (1 .. $LOOKS) {
        my $begin = time;

        until_seen($way, $pair{$SWAP}[$seen{$way} // 0]{fingerprint});
        push @looked, (time - $begin) * 1000;
        push @disk, disk_ms($server{$way}{dir}, 2048);
    }

    for (1 .. $changes) {
        my $begin = time;
        my $want  = change($way);

        push @answered, (time - $begin) * 1000;
        $stale += until_seen($way, $want);
        push @visible, (time - $begin) * 1000;
    }

    return { answered_p50 => percentile(50, @answered), visible_p50 => percentile(50, @visible),
        visible_max => percentile(100, @visible), stale => $stale / @visible,
        looked_p50 => percentile(50, @looked),
        ($way eq 'certctl' ? (disk_p50 => percentile(50, @disk)) : ()) };
}

# Handshakes until each worker has shown it; how many showed the old one.
sub until_seen {
    my ($way, $want) = @_;
    my $end   = time + $PATIENCE;
    my $stale = 0;
    my %new;

    while (keys %new < 2) {
        my $h = handshake($server{$way}->port, sni => $SWAP, keep => 1, staple => 0);
        my ($who) = ($h->{answer} // '') =~ /\r\n\r\n(\d+)/;

        die "$way: not seen in $PATIENCE s, $h->{error}\n" if time > $end;
        next if !defined $who;
        $new{$who}++ if $h->{fingerprint} eq $want;
        $stale++ if $h->{fingerprint} ne $want;
    }

    return $stale;
}

# A reload begins when the one before is seen: NGINX itself waits for no one.
sub storm {
    my ($way) = @_;
    my $server = $server{$way};
    my $memory = $server->memory_mb;
    my $most   = $memory;
    my $n      = 0;

    $server->hang_up;
    my $pid = open my $out, '-|', tool('handshake'), '-p', $server->port, '-s', $SWAP,
        '-c', 2, '-t', 60, '-C', $ca_file or die "handshake: $!";
    my $begin = time;
    my $look  = $begin;

    while (time - $begin < $STORM) {
        my $want = change($way);

        until_seen($way, $want) if $way eq 'static';
        $n++;
        next if time < $look;
        my $now = $server->memory_mb;
        $most = $now if $now > $most;
        $look = time + 0.5;
    }

    my $seconds = time - $begin;
    kill 'TERM', $pid;
    my ($done, $failed) = (<$out> // '') =~ /^done (\d+) failed (\d+)/ or die "the client died\n";
    close $out;
    return { swaps => $n / $seconds, tried => $done + $failed, failed => $failed, rate => $done / $seconds,
        grown => $most / $memory };
}

# The one table.
sub publish {
    my @columns = ('static', 'again', @ways[1 .. $#ways]);
    my @load    = map { "load $_" } @columns;

    $bench->table(map { $title{$_} } @columns);
    handshake_rows(@columns, $_) for @kinds;
    $bench->row("memory, each of $BESIDE names used, MB", memory_mb => \@columns);
    $bench->row('swap: the change is answered, p50, ms', answered_p50 => \@columns,
        wanted => [[4, 5, most => 0.5]]);
    $bench->row('swap: the same, the store on no disk, p50, ms', answered_p50 =>
        [('none') x 4, 'tmpfs', 'none']);
    $bench->row('swap: each worker shows it, p50, ms', visible_p50 => \@columns,
        wanted => [[4, 0, most => 0.001], [4, 5, most => 0.5]]);
    $bench->row('swap: each worker shows it, a round\'s worst, ms', visible_max => \@columns);
    $bench->row('of this the handshakes alone, p50, ms', looked_p50 => \@columns);
    $bench->row('of this the disk alone, p50, ms', disk_p50 => \@columns);
    $bench->row('swap: handshakes that still show the old one', stale => \@columns, ratio => 0);
    $bench->row('load: swaps a second', swaps => \@load);
    $bench->row('load: handshakes a second', rate => \@load);
    $bench->sum('load: failed handshakes', failed => tried => \@load, wanted => [[4, most => 0]]);
    $bench->row('load: memory, most / before', grown => \@load, ratio => 0);
    return;
}

sub handshake_rows {
    my $kind = pop;
    my ($title, $type) = @$kind;
    my @of   = map { "$_ $type" } @_;
    my $many = $type eq 'ec-p256' ? 3 : 2.4;

    $bench->row("$title: handshakes a second", rate => \@of,
        wanted => [[4, 0, least => 0.98], [4, 2, least => $many], [4, 3, least => 1.03]]);
    $bench->row("$title: CPU per handshake, us", cpu_us => \@of,
        wanted => [[4, 0, most => 1 / 0.98], [4, 2, most => 1 / $many], [4, 3, most => 1 / 1.03]]);
    $bench->row("$title: share of its core the worker used", busy => \@of, ratio => 0);
    return;
}
