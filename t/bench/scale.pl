#!/usr/bin/perl
# Start time and memory with 1,000, 20,000 and 100,000 certificates: an empty store, a
# full one behind a single server{}, and the same certificates as static configuration
# (not 100,000). Then what names cost: used for the first time, known, unknown.
# BENCH_FILLED=folder: where t/bench/fill has made 100,000 before.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(cpu_seconds median memory_kb short tool);
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(adopt run slurp temp_dir wait_until);
use Certctl::TLS 'handshake';
use Time::HiRes qw(sleep time);

my ($SOME, $MANY, $ALL) = short() ? (100, 1000, 3000) : (1000, 20_000, 100_000);
my $ROUNDS = 5;
my $STATIC_ROUNDS = 3;                  # of the slow one: some 16 s each
my $CACHE = 1000;                       # names a worker keeps, the default
my $CHUNK = short() ? 100 : 500;        # handshakes between two looks at the clock

my $bench = Certctl::Bench->new('scale', note => 'two workers; start_ms until a handshake is '
    . "answered; memory_mb is PSS of master and workers; static $MANY in $STATIC_ROUNDS rounds; "
    . 'stock: no module, one server with one static certificate',
    variants => ['stock', 'empty', (map { ("stored $_", "static $_") } $SOME, $MANY),
        "stored $ALL"]);
my ($uid, $gid) = $> == 0 ? (getpwnam 'www-data')[2, 3] : ($>, (split ' ', $))[0]);
my %edge = (empty => single('empty', temp_dir()));

for my $count ($SOME, $MANY, $ALL) {
    my $dir = $count == $ALL && $ENV{BENCH_FILLED} || fill($count);

    $edge{"stored $count"} = single("stored $count", $dir);
    $edge{"static $count"} = static($dir);
    $edge{stock} = stock($dir);
}

$bench->rounds($ROUNDS, sub {
    my ($round, $variant) = @_;

    return if $variant eq "static $MANY" && $round > $STATIC_ROUNDS;
    return measure($edge{$variant});
});

for my $count ($SOME, $MANY, $ALL) {
    difference("start, stored $count - empty", "stored $count",
        $count == $ALL ? (most => 50) : ());
    if ($count != $ALL) {
        $bench->compare("start, static $count / stored $count", start_ms => "static $count",
            "stored $count");
        $bench->compare("memory, static $count / stored $count", memory_mb => "static $count",
            "stored $count", $count == $MANY ? (least => 20) : ());
    }
    $bench->figure("memory, stored $count, none used", $bench->median_of("stored $count",
        'memory_mb'), unit => 'MB');
}

many_used();
first_use();
$bench->finish;

sub fill {
    my ($count) = @_;
    my $dir = temp_dir();

    $bench->say('making %d certificates', $count);
    run("$dir/fill.log", tool('fill'), '-d', $dir, '-n', $count, '-u', $uid, '-g', $gid,
        '-f', $count == $ALL ? 1 : $count) == 0 or die "fill: ", slurp("$dir/fill.log");
    return $dir;
}

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

# What the others are compared with.
sub stock {
    my ($dir) = @_;
    return { dir => $dir, name => 'stock', module => 0, conf => sub { return <<"CONF" } };
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        ssl_certificate $dir/static/s0.pem;
        ssl_certificate_key $dir/static/s0.pem;
        return 200 "x\\n";
    }
CONF
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
    my $n  = nginx($edge, $CACHE);
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

    return $bench->figure($label, median(@ms), unit => 'ms', %o);
}

# More names asked for than each of two workers keeps; then names that nobody has,
# always new ones, beside known ones.
sub many_used {
    my $n     = nginx($edge{"stored $ALL"}, $CACHE);
    my $names = 20 * $CACHE < $ALL ? 20 * $CACHE : $ALL;

    start($n, $edge{"stored $ALL"});
    wait_until(20, sub { return $n->workers == 2 }) or die "no workers\n";
    all_names($n, 0, $names) for 1, 2;
    busy($_) for $n->workers;

    my $used = memory_kb($n->pid, $n->workers) / 1024;
    $bench->figure("memory, stored $ALL, $CACHE names cached in each worker", $used,
        unit => 'MB');
    $bench->figure('the same - stock NGINX', $used - $bench->median_of('stock', 'memory_mb'),
        unit => 'MB', most => 20);

    flood($n);
    $n->stop('QUIT');
    return;
}

# A worker that had so little to do cannot have filled its cache: a handshake takes
# more than 0.1 ms.
sub busy {
    my ($pid) = @_;

    die "worker $pid had too little to do\n" if cpu_seconds($pid) < 2 * $CACHE * 1e-4;
    return;
}

# Neither exact nor wildcard is there, nor was it ever asked for.
sub flood {
    my ($n) = @_;
    my $at    = 0;
    my $known = sub { return ask($n, 's#.bench.test', 0, 100, $CHUNK) };
    my $new   = sub {
        my ($count) = @_;

        $at += $count;
        return ask($n, 'www.u#.test', $at - $count, $count, $count);
    };

    $new->(8 * $CACHE);                 # what is kept of unknown names is full now
    $known->();
    my $before = memory_kb($n->pid, $n->workers);
    my @ratio;

    for my $round (1 .. 40) {
        my ($one, $other) = $round % 2 ? ($known, $new) : ($new, $known);
        my %cpu = ($one => $one->($CHUNK));

        $cpu{$other} = $other->($CHUNK);
        push @ratio, $cpu{$new} / $cpu{$known};
    }

    $new->(short() ? 1000 : 30_000);
    $bench->figure('worker CPU, handshake of a name nobody has / known one', median(@ratio),
        unit => 'ratio', most => 1.1);
    $bench->figure('memory after ' . ($at - 8 * $CACHE) . ' such names / before',
        memory_kb($n->pid, $n->workers) / $before, unit => 'ratio', most => 1.01);
    return;
}

# One worker that keeps them all: a name's first handshake reads and parses its file.
sub first_use {
    my $n = nginx($edge{"stored $ALL"}, $MANY, 1);

    start($n, $edge{"stored $ALL"});
    my $before = memory_kb($n->pid, $n->workers);
    my @ratio;

    for (my $at = 0; $at < $MANY; $at += $CHUNK) {
        my ($first, $again) = map { all_names($n, $at, $CHUNK) } 1, 2;

        push @ratio, $first / $again;
    }

    $bench->figure('memory of a certificate in a worker\'s cache',
        (memory_kb($n->pid, $n->workers) - $before) / $MANY, unit => 'KB');
    $bench->figure('worker CPU, first handshake of a name / second', median(@ratio),
        unit => 'ratio', most => 1.3);
    $n->stop('QUIT');
    return;
}

# Each of these stored names once, verified.
sub all_names {
    my ($n, $first, $count) = @_;
    my $ca = $edge{"stored $ALL"}{dir} . '/ca.pem';

    return ask($n, 's#.bench.test', $first, $count, $count, '-C', $ca);
}

# Seconds of the workers' CPU for count handshakes.
sub ask {
    my ($n, $name, $first, $names, $count, @more) = @_;
    my @workers = $n->workers;
    my $before  = cpu_seconds(@workers);

    open my $out, '-|', tool('handshake'), '-p', $n->port('tls'), '-s', $name, '-f', $first,
        '-k', $names, '-n', $count, '-c', 8, @more or die "handshake: $!";
    my ($done, $failed) = (<$out> // '') =~ /^done (\d+) failed (\d+)/ or die "handshake died\n";
    close $out;
    die "$failed of $count handshakes failed\n" if $failed || $done != $count;
    return cpu_seconds(@workers) - $before;
}
