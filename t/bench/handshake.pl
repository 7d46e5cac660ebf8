#!/usr/bin/perl
# Full TLS 1.3 handshakes with a certificate of the store against the same one in
# ssl_certificate: same NGINX, one worker on one core, the client on the other.

use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Certctl::Bench qw(cpu_seconds pin tool);
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::TLS 'handshake';

my $SECONDS = 0.25;
my $ROUNDS  = 60;
my $NAME    = 'shop.bench.test';

my @kinds = (['ecdsa', 'ec-p256'], ['rsa', 'rsa-2048']);
my @variants = map { ("static $_->[0]", "stored $_->[0]", "again $_->[0]") } @kinds;
my $bench = Certctl::Bench->new('handshake', variants => \@variants,
    note => "one worker, 16 connections at a time, rounds of $SECONDS s; "
        . 'rate is bounded by the client where busy is below 0.95, cpu_us never is; '
        . 'again: static once more, so its ratio to static is what the run\'s noise is');
my $ca    = Certctl::PKI->ca('Bench CA')->sub_ca('Bench issuing CA');
my $edge  = Certctl::Edge->new(workers => 1, ca => $ca, conf => '',
    main => "worker_cpu_affinity 01;\n");
my %crt;

$edge->servers(join '', map { servers(@$_) } @kinds);
$edge->start;
$edge->commit("bench-$_->[0]", $crt{ $_->[0] }{chain}, $crt{ $_->[0] }{key}) for @kinds;

for my $variant (@variants) {
    my ($how, $kind) = split ' ', $variant;
    my $h = handshake($edge->port(port_of($how, $kind)), sni => $NAME, tls => '1.3');

    die "$variant: $h->{error}\n" if $h->{error};
    die "$variant: another certificate\n"
        if $h->{fingerprint} ne fingerprint($crt{$kind}{chain});
}

my ($worker) = $edge->workers;
$bench->rounds($ROUNDS, \&measure);

for my $kind (map { $_->[0] } @kinds) {
    $bench->compare("$kind: handshakes a second, stored / static", rate =>
        "stored $kind", "static $kind", least => 0.98);
    $bench->compare("$kind: worker CPU per handshake, stored / static", cpu_us =>
        "stored $kind", "static $kind", most => 1.0204);   # 1 / 0.98
    $bench->compare("$kind: noise, handshakes a second, static / static", rate =>
        "again $kind", "static $kind");
    $bench->compare("$kind: noise, worker CPU, static / static", cpu_us =>
        "again $kind", "static $kind");
    $bench->figure("$kind: worker CPU per handshake, stored",
        $bench->median_of("stored $kind", 'cpu_us'), unit => 'us');
    $bench->figure("$kind: handshakes a second, stored",
        $bench->median_of("stored $kind", 'rate'), unit => '1/s');
}

$bench->finish;

# The same certificate twice: in files, and in the store.
sub servers {
    my ($kind, $type) = @_;
    my (undef, $key, $chain) = $ca->issue(names => [$NAME], key => new_key($type));

    $crt{$kind} = { key => $key, chain => $chain };
    $edge->file("$kind.crt", $chain);
    $edge->file("$kind.key", $key, 0600);
    return <<"CONF";
    server {
        listen 127.0.0.1:%%PORT_static_$kind%% ssl;
        server_name $NAME;
        ssl_certificate %%DIR%%/$kind.crt;
        ssl_certificate_key %%DIR%%/$kind.key;
    }
    server {
        listen 127.0.0.1:%%PORT_stored_$kind%% ssl;
        server_name $NAME;
        certctl on;
        certctl_certificate bench-$kind;
    }
CONF
}

sub port_of {
    my ($how, $kind) = @_;
    return ($how eq 'again' ? 'static' : $how) . "_$kind";
}

sub measure {
    my ($round, $variant) = @_;
    my ($how, $kind) = split ' ', $variant;
    my $before = cpu_seconds($worker);
    my $said   = client($edge->port(port_of($how, $kind)));
    my $used   = cpu_seconds($worker) - $before;
    my ($done, $failed, $seconds) = $said =~ /^done (\d+) failed (\d+) seconds (\S+)/
        or die "handshake said: $said\n";

    die "$variant: $failed handshakes failed\n" if $failed;
    return { rate => $done / $seconds, cpu_us => $used / $done * 1e6, busy => $used / $seconds };
}

sub client {
    my ($port) = @_;
    my @command = pin(1, tool('handshake'), '-p', $port, '-s', $NAME, '-t', $SECONDS, '-c', 16);

    open my $out, '-|', @command or die "handshake: $!";
    my $said = <$out>;
    close $out or die "handshake: exit $?\n";
    return $said;
}
