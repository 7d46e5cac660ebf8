#!/usr/bin/perl
# Several records carry one name: as long as one of them is valid, one is served,
# whichever come, go, are renewed, rolled back, damaged or expire; always the same
# one, before and after a restart; and the report names it.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(preload slurp write_file);
use Certctl::TLS 'handshake';

my ($lib) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1';
plan skip_all => 'libfaketime is not installed' if !$lib;

my $DAY = 24 * 3600;
my $url = '/certctl/v1/certificates';
my @faked = qw(LD_PRELOAD FAKETIME_TIMESTAMP_FILE FAKETIME_NO_CACHE FAKETIME_DISABLE_SHM
    FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT);
my $edge = Certctl::Edge->new(workers => 1, main => join('', map { "env $_;\n" } @faked), conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name sh.example *.example;
        certctl on;
    }
CONF
my $dir = $edge->dir;

# The clock as NGINX sees it, in seconds from the true one.
sub clock {
    my ($offset) = @_;
    write_file("$dir/clock.new", sprintf "%+d\n", $offset);
    chmod 0644, "$dir/clock.new";
    rename "$dir/clock.new", "$dir/clock" or die $!;
    return;
}

clock(0);
@{ $edge->{env} }{@faked} = (preload($lib), "$dir/clock", 1, 1, 1, 1, 1);
$edge->start;

my (%name_of, %pem);        # a certificate's name here by fingerprint; chain and key by name

# Makes a certificate that is so many days old.
sub make {
    my ($name, $old, $sans, %o) = @_;
    my ($crt, $key, $chain) = $edge->ca->issue(names => $sans, from => -$old * $DAY, %o);
    $name_of{ fingerprint($crt) } = $name;
    $pem{$name} = [$chain, $key];
    return;
}

sub put { my ($record, $name) = @_; return $edge->commit($record, @{ $pem{$name} })->{status} }
sub delete_record { return $edge->control->delete("$url/$_[0]")->{status} }
sub rollback { return $edge->control->post("$url/$_[0]/rollback")->{status} }

sub served {
    my ($host, @o) = @_;
    return $name_of{ handshake($edge->port(1), sni => $host, @o)->{fingerprint} // '' } // 'none of them';
}

# Who is served now, and after a restart, as the report says.
sub is_served {
    my ($host, $name, $what) = @_;
    my $r = $edge->control->get("$url?name=$host");
    my %reported = map { $name_of{ $_->{fingerprint} } // 'none of them' => 1 }
        grep { grep { $_ eq $host } @{ $_->{served_names} } } @{ $r->{json}{certificates} };

    is(served($host), $name, $what);
    is(join(' ', sort keys %reported), $name, "$what, says the report");
    $edge->stop;
    $edge->start;
    delete $edge->{control};
    return is(served($host), $name, "$what, also after a restart");
}

make(wa => 3, ['wa.example', 'sh.example']);
make(wb => 2, ['wb.example', 'sh.example']);
make('wb without' => 1, ['wb.example']);

subtest 'the later of two is deleted' => sub {
    like(put('wa', 'wa') . put('wb', 'wb'), qr/^20.20.$/, 'two records share a name');
    is_served('sh.example', 'wb', 'the later notBefore');
    is(delete_record('wb'), 200, 'it is deleted');
    is_served('sh.example', 'wa', 'the other one');
};

subtest 'the order of writes does not count' => sub {
    like(put('wb', 'wb') . put('wa', 'wa'), qr/^20.20.$/, 'the later one first');
    is_served('sh.example', 'wb', 'the later notBefore');
};

subtest 'it is renewed without the name' => sub {
    like(put('wb', 'wb without'), qr/^20/, 'renewed');
    is_served('sh.example', 'wa', 'the other one');
    is(served('wb.example'), 'wb without', 'and the new one for its own name');
    is(rollback('wb'), 200, 'rolled back');
    is_served('sh.example', 'wb', 'the version with the name');
    is(rollback('wb'), 200, 'and back again');
    is_served('sh.example', 'wa', 'the other one again');
};

subtest 'many are renewed without the name at once' => sub {
    like(put('wb', 'wb'), qr/^20/, 'with the name');
    my ($chain, $key) = @{ $pem{'wb without'} };
    my $r = $edge->control->post($url, "\@wb keygen=server\n$chain$key"
        . "\@wc keygen=server\n$pem{wb}[0]$pem{wb}[1]", 'content-type' => 'application/x-certctl-bulk');
    is($r->{json}{live}, 2, 'stored') or diag $r->{content};
    is_served('sh.example', 'wb', 'a third record has the certificate that the second had');
    is(delete_record('wc'), 200, 'it is deleted');
    is_served('sh.example', 'wa', 'the first one');
};

subtest 'one of them is damaged' => sub {
    like(put('wb', 'wb'), qr/^20/, 'with the name');
    my ($file) = glob "$dir/store/certs/*/wb";
    my $good = slurp($file);
    write_file($file, substr $good, 0, 100);
    $edge->stop;
    $edge->start;
    delete $edge->{control};
    is(served('sh.example'), 'wa', 'who has no good copy of it serves the other one');
    like(put('wb', 'wb'), qr/^20/, 'it is replaced');
    is_served('sh.example', 'wb', 'the later one again');
};

subtest 'one of them expires' => sub {
    make('short' => 0, ['sh.example'], days => 10);
    like(put('short', 'short'), qr/^20/, 'a short-lived one');
    is(served('sh.example'), 'short', 'is the latest');
    clock(11 * $DAY);
    is(served('sh.example'), 'wb', 'when it has expired the next one is served, at once');
    clock(0);
    is(delete_record('short'), 200, 'it is deleted');
    is_served('sh.example', 'wb', 'the next one');
};

subtest 'exact names and wildcards' => sub {
    make('wild' => 0, ['*.example']);
    like(put('wild', 'wild'), qr/^20/, 'a wildcard, later than all');
    is_served('sh.example', 'wb', 'the exact name');
    is(delete_record('wb') . delete_record('wa'), '200200', 'all with the exact name are deleted');
    is_served('sh.example', 'wild', 'the wildcard');
    make('old wild' => 5, ['*.example', 'x.example']);
    like(put('wild2', 'old wild'), qr/^20/, 'an older one of the same wildcard');
    is_served('sh.example', 'wild', 'the later wildcard');
    is(delete_record('wild'), 200, 'it is deleted');
    is_served('sh.example', 'old wild', 'the older wildcard');
};

subtest 'a store of a version that kept one record for each name' => sub {
    like(put('wa', 'wa') . put('wb', 'wb'), qr/^20.20.$/, 'two records share a name');
    my ($link) = glob "$dir/store/names/ecdsa/*/sh.example";
    unlink $link or die $!;
    symlink 'wb', $link or die $!;
    is_served('sh.example', 'wb', 'the one that it names');
    is(delete_record('wb'), 200, 'that is deleted');
    is_served('sh.example', 'wa', 'the other one');
};

unlike($edge->log, qr/\[(?:alert|emerg)\]/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX shuts down cleanly');

done_testing();
