#!/usr/bin/perl
# Start time and memory with 1,000 and 20,000 certificates: an empty store, a full
# one behind a single server{}, and the same certificates as static configuration.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(cpu_seconds memory_kb short tool);
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(adopt run slurp temp_dir wait_until write_file);
use Certctl::TLS 'handshake';
use Time::HiRes qw(sleep time);

my ($SOME, $MANY) = short() ? (100, 1000) : (1000, 20_000);
my $ROUNDS = 5;
my $STATIC_ROUNDS = 3;                  # of the slow one: some 16 s each

my $bench = Certctl::Bench->new('scale', note => 'two workers; start_ms until a handshake is '
    . "answered; memory_mb is PSS of master and workers; static $MANY in $STATIC_ROUNDS rounds",
    variants => ['empty', map { ("stored $_", "static $_") } $SOME, $MANY]);
my ($uid, $gid) = $> == 0 ? (getpwnam 'www-data')[2, 3] : ($>, (split ' ', $))[0]);
my %edge = (empty => single('empty', temp_dir()));

for my $count ($SOME, $MANY) {
    my $dir = temp_dir();

    $bench->say('making %d certificates', $count);
    run("$dir/fill.log", tool('fill'), '-d', $dir, '-n', $count, '-u', $uid, '-g', $gid) == 0
        or die "fill: ", slurp("$dir/fill.log");
    $edge{"stored $count"} = single("stored $count", $dir);
    $edge{"static $count"} = static($dir);
}

$bench->rounds($ROUNDS, sub {
    my ($round, $variant) = @_;

    return if $variant eq "static $MANY" && $round > $STATIC_ROUNDS;
    return measure($edge{$variant});
});

for my $count ($SOME, $MANY) {
    difference("start, stored $count - empty", "stored $count",
        $count == $MANY ? (most => 100) : ());
    $bench->compare("start, static $count / stored $count", start_ms => "static $count",
        "stored $count");
    $bench->compare("memory, static $count / stored $count", memory_mb => "static $count",
        "stored $count", $count == $MANY ? (least => 20) : ());
    $bench->figure("memory, stored $count", $bench->median_of("stored $count", 'memory_mb'),
        unit => 'MB');
}

used();
$bench->finish;

# One server{} and a store, which may be empty.
sub single {
    my ($name, $dir) = @_;
    return { dir => $dir, name => $name, conf => sub { return <<"CONF" } };
    certctl_store $dir/store;
    certctl_cache max=$_[0];
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        certctl on;
        return 200 "x\\n";
    }
CONF
}

sub static {
    my ($dir) = @_;
    my $listen = '127.0.0.1:%%PORT_tls%%';

    (my $servers = slurp("$dir/static.conf")) =~ s/\@LISTEN\@/$listen/g;
    return { dir => $dir, name => 'static', conf => sub { return $servers }, module => 0 };
}

sub nginx {
    my ($edge, $cache, $workers) = @_;
    my $n = Certctl::Nginx->new(workers => $workers // 2, defined $edge->{module} ? (module => 0) : ());

    return $n->configure("%%MAIN%%\nhttp {\n%%HTTP%%\nserver_names_hash_max_size 131072;\n"
        . "server_names_hash_bucket_size 128;\n" . $edge->{conf}->($cache) . "}\n");
}

# Started as an operator does it, in the background.
sub start {
    my ($n, $edge) = @_;
    my $begin = time;
    my $h;

    run($n->dir . '/stderr.log', $n->command) == 0
        or die "nginx: ", slurp($n->dir . '/stderr.log');
    for (;;) {
        $h = handshake($n->port('tls'), sni => 's0.bench.test', staple => 0);
        last if !$h->{error} || time - $begin > 120;
        sleep 0.001;
    }

    my $ms = (time - $begin) * 1000;
    adopt($n->pid, $n->dir . '/error.log');

    die "$edge->{name}: $h->{error}\n" if $h->{error};
    die "$edge->{name}: another certificate\n" if $edge->{name} ne 'empty'
        && $h->{fingerprint} ne fingerprint(slurp("$edge->{dir}/static/s0.pem"));
    return $ms;
}

sub measure {
    my ($edge) = @_;
    my $n  = nginx($edge, 1000);
    my $ms = start($n, $edge);

    wait_until(20, sub { return $n->workers == 2 }) or die "no workers\n";
    sleep 0.2;
    my $memory = memory_kb($n->pid, $n->workers) / 1024;
    $n->stop('QUIT');
    return { start_ms => $ms, memory_mb => $memory };
}

sub difference {
    my ($label, $variant, %o) = @_;
    my @ms = map { $_->{$variant}{start_ms} - $_->{empty}{start_ms} } @{ $bench->{rounds} };

    return $bench->figure($label, Certctl::Bench::median(@ms), unit => 'ms', %o);
}

# When each name has been asked for: two workers with the cache as it comes; and
# one that keeps them all, where a name's first handshake reads and parses its file.
sub used {
    my $edge = $edge{"stored $MANY"};
    my $n    = nginx($edge, 1000);

    start($n, $edge);
    all_names($n) for 1, 2;
    $bench->figure("memory, stored $MANY, each used, certctl_cache as by default",
        memory_kb($n->pid, $n->workers) / 1024, unit => 'MB');
    $n->stop('QUIT');

    $n = nginx($edge, $MANY, 1);
    start($n, $edge);
    my $before = memory_kb($n->pid, $n->workers);
    my ($first, $again) = (all_names($n), all_names($n));

    $bench->figure('memory of a certificate in a worker\'s cache',
        (memory_kb($n->pid, $n->workers) - $before) / $MANY, unit => 'KB');
    $bench->figure('worker CPU, first handshake of a name / second', $first / $again);
    $n->stop('QUIT');
    return;
}

sub all_names {
    my ($n) = @_;
    my @workers = $n->workers;
    my $before  = cpu_seconds(@workers);

    open my $out, '-|', tool('handshake'), '-p', $n->port('tls'), '-s', 's#.bench.test',
        '-k', $MANY, '-n', $MANY, '-c', 8, '-C', $edge{"stored $MANY"}{dir} . '/ca.pem'
        or die "handshake: $!";
    my ($done, $failed) = (<$out> // '') =~ /^done (\d+) failed (\d+)/ or die "handshake died\n";
    close $out;
    die "$failed of $MANY names failed\n" if $failed || $done != $MANY;
    return cpu_seconds(@workers) - $before;
}
