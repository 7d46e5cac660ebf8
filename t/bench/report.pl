#!/usr/bin/perl
# Reports on 10,000 certificates: the first compact one of a worker and later ones, in one
# page; the full one in pages, with what it takes of memory; 304; and how long others wait.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(cpu_seconds percentile resident_kb short tool);
use Certctl::Edge;
use Certctl::Process qw(run slurp write_file);
use List::Util 'sum';
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes 'time';

my $COUNT   = short() ? 1000 : 10_000;
my $ROUNDS  = 5;
my $WARM    = 5;
my $SAME    = short() ? 50 : 500;       # conditional requests of a round
my $THREADS = 2;
my $PAGE    = 1000;
my $url     = '/certctl/v1';
my $compact = "$url/certificates?form=compact&limit=10000";

my $bench = Certctl::Bench->new('report', variants => ['report'],
    note => "$COUNT records in one store, one worker, a new NGINX in each round; ms until the "
        . 'last byte, over a kept connection; compact is the form for polling, in one page; full is in '
        . "pages of $PAGE; thread_pool of $THREADS threads; beside: the longest of the GET status that another client asks for "
        . 'one after the other');
my ($uid, $gid) = $> == 0 ? (getpwnam 'www-data')[2, 3] : ($>, (split ' ', $))[0]);
my $edge = Certctl::Edge->new(workers => 1, main => "thread_pool default threads=$THREADS;\n",
    http => "keepalive_requests 1000000;\n    keepalive_time 1d;\n", conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        certctl on;
    }
CONF

$bench->say('making %d certificates', $COUNT);
run($edge->dir . '/fill.log', tool('fill'), '-d', $edge->dir, '-n', $COUNT, '-u', $uid, '-g', $gid)
    == 0 or die 'fill: ', slurp($edge->dir . '/fill.log');

$bench->rounds($ROUNDS, sub { return measure() });

figure('compact, first of a worker', 'first_ms', unit => 'ms', most => 150);
figure('compact, first: CPU of the worker', 'first_cpu_ms', unit => 'ms');
figure('compact, later', 'warm_ms', unit => 'ms', most => 150);
figure('compact, later: CPU of the worker', 'warm_cpu_ms', unit => 'ms');
figure('compact, a page of 1000, later', 'page_ms', unit => 'ms');
figure('compact, size', 'compact_mb', unit => 'MB');
figure('full, all pages', 'full_ms', unit => 'ms');
figure('full, first page', 'full_page_ms', unit => 'ms');
figure('full, size', 'full_mb', unit => 'MB');
figure('full, peak of the worker\'s memory over what it had', 'full_peak_mb', unit => 'MB');
figure('304, median', 'same_ms', unit => 'ms', most => 1);
figure('304, p99', 'same_p99_ms', unit => 'ms');
figure('GET status alone, longest', 'alone_max_ms', unit => 'ms');
figure('GET status beside compact, longest', 'beside_compact_max_ms', unit => 'ms');
figure('GET status beside full, longest', 'beside_full_max_ms', unit => 'ms');
figure('GET status beside full, median', 'beside_full_ms', unit => 'ms');
$bench->finish;

sub figure {
    my ($label, $measure, %o) = @_;
    return $bench->figure($label, $bench->median_of('report', $measure), %o);
}

sub measure {
    my %found;

    $edge->start;
    my ($worker) = $edge->workers;
    my $client = $edge->connection;

    # as curl does: else the first request waits until the end of the handshake is
    # acknowledged, 40 ms that are no report's
    setsockopt $client, IPPROTO_TCP, TCP_NODELAY, 1 or die "TCP_NODELAY: $!";
    my $cpu    = cpu_seconds($worker);

    ($found{first_ms}, my $answer) = ask($client, $compact);
    $found{first_cpu_ms} = (cpu_seconds($worker) - $cpu) * 1000;
    $found{compact_mb} = length($answer) / 1e6;
    my $entries = () = $answer =~ /"fingerprint":/g;
    die "$entries of $COUNT\n" if $entries < $COUNT;

    $cpu = cpu_seconds($worker);
    my @warm = map { (ask($client, $compact))[0] } 1 .. $WARM;
    $found{warm_cpu_ms} = (cpu_seconds($worker) - $cpu) * 1000 / $WARM;
    $found{warm_ms} = percentile(50, @warm);

    $found{page_ms} = (ask($client, "$url/certificates?form=compact"))[0];
    my ($etag) = $answer =~ /^ETag: (\S+)/mi or die "no ETag\n";
    my @same = map { same($client, $etag) } 1 .. $SAME;
    $found{same_ms}     = percentile(50, @same);
    $found{same_p99_ms} = percentile(99, @same);

    $found{alone_max_ms} = (beside(sub { select undef, undef, undef, 0.3 }))[-1];
    $found{beside_compact_max_ms} = (beside(sub {
        ask($client, $compact) for 1 .. 3;
    }))[-1];

    my $had = resident_kb($worker);
    write_file("/proc/$worker/clear_refs", '5');
    my @ms = beside(sub { @found{qw(full_ms full_page_ms)} = pages($client, \$answer) });
    my ($peak) = slurp("/proc/$worker/status") =~ /^VmHWM:\s+(\d+)/m;
    $found{full_peak_mb} = ($peak - $had) / 1024;
    $found{full_mb} = length($answer) / 1e6;
    $entries = () = $answer =~ /"last_served":/g;
    die "$entries of $COUNT in full\n" if $entries < $COUNT;
    @found{qw(beside_full_max_ms beside_full_ms)} = ($ms[-1], percentile(50, @ms));

    close $client;
    $edge->stop;
    return \%found;
}

# Milliseconds until the last byte, and the answer.
sub ask {
    my ($client, $path, $headers) = @_;
    my $answer = '';
    my $begin  = time;
    my $all;

    syswrite $client, "GET $path HTTP/1.1\r\nHost: edge\r\n" . ($headers // '') . "\r\n"
        or die "the control listener closed\n";

    for (;;) {
        sysread $client, $answer, 1 << 17, length $answer or die "the control listener closed\n";
        if (!defined $all) {
            my $head = index $answer, "\r\n\r\n";

            next if $head < 0;
            my ($length) = substr($answer, 0, $head) =~ /^Content-Length: (\d+)/mi;
            $all = $head + 4 + ($length // 0);
        }
        last if length $answer >= $all;
    }

    return ((time - $begin) * 1000, $answer);
}

# Milliseconds of all pages of the full report, and of the first; $$all is what they say.
sub pages {
    my ($client, $all) = @_;
    my ($after, @ms) = ('');

    $$all = '';
    for (;;) {
        my ($ms, $answer) = ask($client, "$url/certificates?limit=$PAGE$after");
        push @ms, $ms;
        $$all .= $answer;
        my ($next) = $answer =~ /"next":"([^"]+)"\}\z/ or return (sum(@ms), $ms[0]);
        $after = "&after=$next";
    }
}

sub same {
    my ($client, $etag) = @_;
    my ($ms, $answer) = ask($client, $compact, "If-None-Match: $etag\r\n");

    die "no 304: $answer\n" if $answer !~ m{^HTTP/1\.1 304};
    return $ms;
}

# What a client waits for GET status, again and again, until $work is done: sorted.
sub beside {
    my ($work) = @_;

    pipe my $from, my $to or die "pipe: $!";
    pipe my $wait, my $stop or die "pipe: $!";
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        close $stop;
        my $own = $edge->connection;
        my ($bits, @ms) = ('');
        vec($bits, fileno $wait, 1) = 1;
        # the first answers of a connection wait for a delayed acknowledgement
        ask($own, "$url/status") for 1 .. 5;
        syswrite $to, "ready\n";
        push @ms, (ask($own, "$url/status"))[0] while !select my $ready = $bits, undef, undef, 0;
        print $to "$_\n" for @ms;
        close $to;
        require POSIX;
        POSIX::_exit(0);
    }

    close $to;
    my $ready = <$from>;
    $work->();
    close $stop;
    chomp(my @ms = <$from>);
    waitpid $pid, 0;
    die "nothing was asked beside\n" if !@ms;
    return sort { $a <=> $b } @ms;
}
