#!/usr/bin/perl
# What an ACME server may answer instead of what was asked for, at each of its
# resources: rate limits in both forms of Retry-After, 500 and 503, answers that are
# cut, lost, malformed, empty or huge, a redirect. The order goes on, with one
# account, one order and one certificate.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Faults;
use Certctl::Pebble;
use Certctl::PKI;
use Certctl::Process 'wait_until';
use Certctl::Story;
use Test::More;

my $missing = Certctl::Pebble->missing;
plan skip_all => $missing if $missing;

my @paths = qw(dir nonce-plz sign-me-up order-plz authZ/ chalZ/ finalize-order/ my-order/ certZ/);
my @kinds = Certctl::Faults->kinds;

# Each kind somewhere, and where most depends on it; FAULTS='authZ/:huge' t/run ...
# those that match, of all of them (99).
my @cases = map { my $path = $_; map { "$path:$_" } @kinds } @paths;
@cases = $ENV{FAULTS} ? grep { /$ENV{FAULTS}/ } @cases
    : (map({ "$_:lost" } @paths), map({ "$_:empty" } qw(order-plz authZ/ finalize-order/ my-order/)),
        map { "$paths[($_ + 3) % @paths]:$kinds[$_]" } grep { $kinds[$_] !~ /lost|empty/ } 0 .. $#kinds);

my $s = Certctl::Story->new(config => "max_issuances_per_day = 10000\ninventory_interval = 86400\n"
    . "ocsp_interval = 86400\nrenewal_interval = 1\n",
    servers => "server { listen 127.0.0.1:%%PORT_plain%%; return 404; }\n");
my $d      = $s->daemon;
my $pebble = Certctl::Pebble->start(http => $s->nginx->port('plain'), tls => $s->nginx->port('tls'));
my $proxy  = Certctl::Faults->start(ca => Certctl::PKI->ca('proxy'), port => $pebble->port);

$s->post('issuers', { id => 'iss-acme', name => 'Pebble', type => 'acme',
    config => { directory_url => 'https://127.0.0.1:' . $proxy->port . '/dir', ca_bundle => $proxy->ca } });

my $shop = $s->certificate('shop.example', issuer_id => 'iss-acme');
my %seen;

spoilt(split /:/) for @cases;

for my $what (sort keys %seen) {
    is join(' ', @{ $seen{$what} }), '', $what;
}

is sql($d, 'SELECT count(*) FROM challenges'), '0', 'no challenge is left';
$proxy->stop;
$pebble->stop;
is $s->stop, 0, 'the daemon ends well';
done_testing;

sub said { my $text = $pebble->log; return scalar(() = $text =~ /$_[0]/g) }

sub wrong { my ($what, $is, $case) = @_; push @{ $seen{$what} //= [] }, $is ? () : $case; return }

# One renewal with one spoilt answer; what waits is made due.
sub spoilt {
    my ($path, $kind) = @_;
    my $case = "$path:$kind";

    wait_until(30, sub { return !@{ $s->open_jobs } });
    sql($d, 'DELETE FROM issuer_accounts');

    my %before = map { ($_, said($_)) } 'Added order "', 'Issued certificate serial';
    my $n = scalar $s->versions($shop);

    $proxy->next("/$path", $kind);
    $s->renew($shop);

    my $done = wait_until(10, sub {
        sql($d, 'UPDATE issuer_accounts SET paused_until = NULL');
        sql($d, 'UPDATE orders SET next_at = NULL');
        sql($d, "UPDATE jobs SET scheduled_at = now() WHERE status = 'Pending'");
        return $s->versions($shop) > $n && $s->get("certificates/$shop")->{status} eq 'Active';
    });

    wrong('each fault was met', $proxy->hit, $case);
    wrong('each order goes on behind it', $done, $case);
    diag "$case: " . ($s->get("certificates/$shop/renewals")->{data}[0]{error} // '') . "\n" if !$done;
    wrong('one certificate is issued', said('Issued certificate serial') - $before{'Issued certificate serial'} == 1, $case);
    wrong('by one order', said('Added order "') - $before{'Added order "'} == 1, $case);
    return;
}
