#!/usr/bin/perl
# The REST API over TLS keep-alive: reads by id and writes a second, beside a
# request that asks no database, and beside the database alone; how soon a first
# start is ready, and how much memory certctld takes.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(cpu_seconds memory_kb percentile resident_kb short);
use Certctl::Daemon;
use Certctl::Process qw(children slurp temp_dir write_file);
use Time::HiRes qw(sleep time);

my $SECONDS = short() ? 1 : 3;
my $ROUNDS  = 7;
my $STARTS  = short() ? 1 : 5;
my $CONNECTIONS = 16;

my $bench = Certctl::Bench->new('api', variants => ['health', 'get', 'post', 'put', 'database get'],
    note => "$CONNECTIONS connections of wrk on the same cores, rounds of $SECONDS s; cpu_us: "
        . 'certctld and PostgreSQL for a request; database get: pgbench, the row by id, '
        . 'prepared, over the unix socket');
my @ready  = map { first_start() } 1 .. $STARTS;
my $daemon = Certctl::Daemon->start(config => "log_level = warn\n");
my $dir    = temp_dir();
my $api    = $daemon->api;
my $crt    = created('certificates', { name => 'bench', common_name => 'bench.example.com',
    issuer_id => 'iss-local', renewal_policy_id => 'rp-default' });
my $team   = created('teams', { name => 'bench', description => 'before' });

sleep(short() ? 1 : 5);
my $idle = resident_kb($daemon->pid);
my $all  = memory_kb(processes());

# wrk's counters: the threads name what they make apart
my %lua = (
    health => request('GET', '/health'),
    get    => request('GET', "/api/v1/certificates/$crt"),
    post   => request('POST', '/api/v1/teams', '{"name":"%s"}'),
    put    => request('PUT', "/api/v1/teams/$team", '{"name":"bench","description":"%s"}'),
);

$bench->rounds($ROUNDS, sub {
    my ($round, $variant) = @_;
    return $variant eq 'database get' ? database() : wrk($variant, $round);
});

my %target = (get => 5000);
for my $variant (qw(get post put)) {
    $bench->figure("$variant, requests a second", $bench->median_of($variant, 'rate'),
        unit => '1/s', $target{$variant} ? (least => $target{$variant}) : ());
    $bench->figure("$variant, certctld and PostgreSQL CPU", $bench->median_of($variant, 'cpu_us'),
        unit => 'us');
    $bench->figure("$variant, p99", $bench->median_of($variant, 'p99_ms'), unit => 'ms');
}

$bench->compare('get / health, requests a second', rate => qw(get health));
$bench->compare('get / database alone, a second', rate => 'get', 'database get');
$bench->figure('first start to ready, median', percentile(50, @ready), unit => 'ms');
$bench->figure('first start to ready, worst', percentile(100, @ready), unit => 'ms', most => 5000);
$bench->figure('certctld resident, idle', $idle / 1024, unit => 'MB', most => 60);
$bench->figure('certctld resident, after the load', resident_kb($daemon->pid) / 1024, unit => 'MB',
    most => 60);
$bench->figure('with PostgreSQL, PSS, idle', $all / 1024, unit => 'MB');
$bench->figure('with PostgreSQL, PSS, after the load', memory_kb(processes()) / 1024, unit => 'MB');
$bench->finish;

# PostgreSQL's cluster, the CAs and the certificates are made.
sub first_start {
    my $begin  = time;
    my $d      = Certctl::Daemon->start(config => "log_level = notice\n", wait => 0);

    $d->ready(60) or die "not ready: ", $d->log;
    my $ms = (time - $begin) * 1000;

    $bench->say('first start, ready after %.0f ms', $ms);
    $d->stop;
    return $ms;
}

sub created {
    my ($kind, $what) = @_;
    my $r = $api->post("/api/v1/$kind", $what);

    die "POST $kind: $r->{status} $r->{content}\n" if $r->{status} != 201;
    return $r->{json}{id};
}

# certctld, and everything that PostgreSQL runs in its folder
sub processes {
    my ($master) = (slurp($daemon->data . '/postgresql/data/postmaster.pid') // '') =~ /^(\d+)/
        or die "no PostgreSQL\n";

    return ($daemon->pid, $master, children($master));
}

# %s of the body is another text each time.
sub request {
    my ($method, $path, $body) = @_;
    my $key = $daemon->key;

    $body //= '';
    return <<"LUA";
local threads = 0
function setup(thread) thread:set("id", threads); threads = threads + 1 end
function init(args) count = 0; round = args[1] end
function request()
    count = count + 1
    local body = string.format('$body', "r" .. round .. "-" .. id .. "-" .. count)
    return wrk.format("$method", "$path", { ["Authorization"] = "Bearer $key",
        ["Content-Type"] = "application/json" }, body ~= "" and body or nil)
end
function done(summary, latency)
    local e = summary.errors
    io.write(string.format("result %d %d %d %d\\n", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(99)))
end
LUA
}

sub wrk {
    my ($variant, $round) = @_;
    my $script = write_file("$dir/$variant.lua", $lua{$variant}, 0600);
    my %before = map { ($_ => cpu_seconds($_)) } processes();

    open my $out, '-|', 'wrk', '-t2', "-c$CONNECTIONS", "-d${SECONDS}s", '-s', $script,
        'https://127.0.0.1:' . $daemon->port, '--', $round or die "wrk: $!";
    my @said = <$out>;
    close $out or die "wrk: @said\n";

    my ($done, $us, $failed, $p99) = map { /^result (\d+) (\d+) (\d+) (\d+)/ } @said;
    my $used = 0;

    # backends come and go
    $used += cpu_seconds($_) - ($before{$_} // 0) for processes();

    die "$variant: @said\n" if !$done || $failed;
    return { rate => $done / ($us / 1e6), p99_ms => $p99 / 1000, cpu_us => $used / $done * 1e6 };
}

sub database {
    my ($pgbench) = (glob '/usr/lib/postgresql/*/bin/pgbench')[-1];
    my $script    = write_file("$dir/get.sql", "SELECT * FROM managed_certificates WHERE id = '$crt';\n");

    open my $out, '-|', $pgbench, '-n', '-M', 'prepared', '-c', $CONNECTIONS, '-j', 2, '-T',
        $SECONDS, '-f', $script, '-h', $daemon->data . '/postgresql', '-U', 'certctl', 'postgres' or die "pgbench: $!";
    my ($rate) = join('', <$out>) =~ /^tps = ([\d.]+)/m;
    close $out or die "pgbench: exit $?\n";
    return { rate => $rate };
}
