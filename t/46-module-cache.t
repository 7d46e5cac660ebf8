#!/usr/bin/perl
# A worker keeps a bounded number of parsed certificates, and each issuer once:
# more names than that are all served right, and a flood of unknown ones takes
# nothing from them.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(sanitized slurp valgrind);
use Certctl::TLS 'handshake';

my $edge = Certctl::Edge->new(workers => 1, http => 'certctl_cache max=16;', conf => <<'CONF');
    server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }
CONF

$edge->start;

sub served { return handshake($edge->port(1), sni => $_[0], staple => 0)->{fingerprint} }

sub memory {
    my ($pid) = ($_[0] // $edge)->workers;
    return (slurp("/proc/$pid/status") =~ /VmRSS:\s+(\d+)/)[0];
}

# More names than are kept, some in one record.

my %want;

for my $i (1 .. 20) {
    my @names = map { "$_$i.example" } 'a', 'b';
    $want{$_} = fingerprint(scalar $edge->give("n$i", names => \@names)) for 'x';
    $want{$_} = $want{x} for @names;
}

delete $want{x};

for my $round (1 .. 3) {
    is(join(' ', grep { served($_) ne $want{$_} } sort keys %want), '',
        "round $round: each of 40 names gets its own");
}

# Swaps while names come and go.

for my $i (5, 15) {
    my @names = map { "$_$i.example" } 'a', 'b';
    my $new = fingerprint(scalar $edge->give("n$i", names => \@names));
    is(served($_), $new, "$_: swapped") for @names;
    $want{$_} = $new for @names;
}

# A name that leaves its record.

my $moved = fingerprint(scalar $edge->give('n7', names => ['a7.example', 'c7.example']));
is(served('a7.example'), $moved, 'a name that stays');
is(served('c7.example'), $moved, 'a name that came');
my $placeholder = served('nobody.example');
is(served('b7.example'), $placeholder, 'a name that left');
@want{'a7.example', 'b7.example'} = ($moved, $placeholder);

# The flood.

served("warm$_.example") for 1 .. 1200;
my $before = memory();
my $wrong  = grep { served("flood$_.example") ne $placeholder } 1 .. 3000;
is($wrong, 0, '3000 unknown names get the placeholder');

SKIP: {
    skip 'sanitizers keep freed memory', 1 if sanitized();
    cmp_ok(memory() - $before, '<', 1024, 'and take no more memory than 1000 did');
}

is(join(' ', grep { served($_) ne $want{$_} } sort keys %want), '',
    'known names are served as before');
unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends in peace');

# What is kept, in kilobytes: of large certificates a few, and a large issuer of
# many once.

sub grows {
    my ($max, $ca, $size) = @_;
    my $e = Certctl::Edge->new(workers => 1, ca => $ca, http => "certctl_cache max=$max;",
        conf => 'server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }');
    my ($before, $wrong) = (0, 0);

    $e->start;
    my %want = map { ($_, fingerprint(scalar $e->give($_, names => [$_], size => $size))) }
        map { "k$_.example" } 1 .. 100;

    for my $n (1 .. 100) {
        $wrong++ if handshake($e->port(1), sni => "k$n.example", staple => 0)->{fingerprint} ne $want{"k$n.example"};
        $before = memory($e) if $n == 20;
    }

    my $grown = memory($e) - $before;
    $e->stop;
    is($wrong, 0, "max=$max, $size bytes more in each: each name gets its own");
    diag "max=$max, $size bytes more in each: 80 names take $grown KB";
    return $grown;
}

SKIP: {
    skip 'sanitizers and valgrind keep freed memory', 4 if sanitized() || valgrind();

    my $root = Certctl::PKI->ca('Root CA');
    my $large = $root->sub_ca('Large CA', ext => [Certctl::PKI::comment(20_000)]);

    cmp_ok(grows(16, $root, 20_000), '<', 80 * 20, 'certificates of 20 KB: 16 are kept, not 100');
    cmp_ok(grows(1000, $large, 0), '<', 80 * 20, 'an issuer of 20 KB is kept once, not with each');
}

done_testing;
