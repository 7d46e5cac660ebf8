#!/usr/bin/perl
# Restart, reload, binary upgrade, a worker killed, a store that is damaged or
# cannot be read: the last good certificate is served throughout.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(alive slurp wait_until write_file);
use Certctl::TLS 'handshake';
use File::Find;
use POSIX ();

my $conf = <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_1%% ssl reuseport;
        server_name a.example;
        certctl on;
        location / { return 200 "$pid|"; }
    }
CONF
my $edge  = Certctl::Edge->new(workers => 2, conf => $conf);
my $store = $edge->dir . '/store';

sub get    { return handshake($edge->port(1), sni => 'a.example', keep => 1, @_) }
sub worker { return (shift->{answer} =~ /\r\n\r\n(\d+)/)[0] }

# Whether all workers serve this certificate, and nothing else is seen.
sub everywhere {
    my ($fp) = @_;
    my %seen;

    for (1 .. 200) {
        my $h = get();
        return "$h->{error}$h->{fingerprint}" if ($h->{fingerprint} // '') ne $fp;
        $seen{ worker($h) } = 1;
        return 1 if keys %seen == $edge->{workers};
    }

    return 'only worker ' . join ' ', keys %seen;
}

# All that is below a folder: names, owners, modes, times, contents.
sub picture {
    my ($dir) = @_;
    my %file;

    find({ no_chdir => 1, wanted => sub {
        my @s = lstat;
        $file{$_} = join ' ', @s[0 .. 5, 7, 9, 10], -f _ ? slurp($_) : '';
    } }, $dir);
    return \%file;
}

# nginx -t changes nothing, before the first start and after.

my ($ok, $said) = $edge->test;
ok($ok, 'nginx -t before the first start') or diag $said;
ok(!-e $store, 'makes no store');

$edge->start;
my $crt = $edge->give('a', names => ['a.example']);
my $fp  = fingerprint($crt);
is(everywhere($fp), 1, 'served by both workers');

my $before = picture($store);
($ok, $said) = $edge->test;
ok($ok, 'nginx -t beside a running NGINX') or diag $said;
is_deeply(picture($store), $before, 'changes nothing in the store');

# What others may do with it.

my ($mode) = map { (stat $_)[2] & 07777 } "$store/seal.key";
is($mode & 077, 0, 'the sealing key is the master\'s alone');
is((stat "$store/seal.key")[4], $>, 'and belongs to who started NGINX');

# A worker killed: its successor serves the same, and so do the others.

for my $pid ($edge->workers) {
    ok($edge->kill_worker($pid), 'a worker is killed, and replaced');
    is(everywhere($fp), 1, 'both serve the certificate');
}

# Reload and binary upgrade.

ok($edge->reload(wait_old => 1), 'reload');
is(everywhere($fp), 1, 'after a reload');
my $new = fingerprint(scalar $edge->give('a', names => ['a.example']));
is(everywhere($new), 1, 'a swap after a reload');

my $old_master = $edge->pid;
isnt($edge->upgrade, $old_master, 'binary upgrade');
is(everywhere($new), 1, 'after a binary upgrade');
delete $edge->{control};
$new = fingerprint(scalar $edge->give('a', names => ['a.example']));
is(everywhere($new), 1, 'a swap after a binary upgrade');

# Power fails.

$edge->stop('KILL');
delete $edge->{control};
$edge->start;
is(everywhere($new), 1, 'after SIGKILL of master and workers');

# The master alone is killed: its workers serve on, and take swaps, until they
# are told to go.

my @orphans = $edge->workers;
$edge->stop('KILL', orphans => 1);
delete $edge->{control};
is(scalar(grep { alive($_) } @orphans), 2, 'SIGKILL of the master alone: its workers live');
is(everywhere($new), 1, 'they serve');
$new = fingerprint(scalar $edge->give('a', names => ['a.example']));
is(everywhere($new), 1, 'a swap without a master');
kill 'QUIT', @orphans;
ok(wait_until(20, sub { !grep { alive($_) } @orphans }), 'they end when they are told to');
delete $edge->{control};
$edge->start;
is(everywhere($new), 1, 'a new master serves what was swapped');

# A reload that certctl refuses leaves the running one alone.

$edge->servers("$conf server { listen 127.0.0.1:%%PORT_2%% ssl; certctl_certificate x; }");
kill 'HUP', $edge->pid;
ok($edge->logged(qr/"certctl_certificate" has no effect/), 'a wrong configuration is refused');
is(everywhere($new), 1, 'and the running one goes on');
$edge->servers($conf);

chmod 0755, "$store/certs";
my @old = $edge->workers;
kill 'HUP', $edge->pid;
ok($edge->logged(qr/\[emerg\].*"certctl_store": .*chmod 0700/), 'open permissions are refused');
is_deeply([sort $edge->workers], [sort @old], 'the workers stay');
is(everywhere($new), 1, 'and serve');
($ok, $said) = $edge->test;
ok(!$ok, 'nginx -t refuses them too');
like($said, qr/chmod 0700/, 'and says what to do');
chmod 0700, "$store/certs";

# So is each other place of the store; nothing is changed, and nothing started.

my %open = ((map { ($_ => 0755) } qw(certs names names/ecdsa names/rsa pending staples sessions writes
    damaged)),
    '.' => 0733, 'seal.key' => 0440);

for my $place (sort keys %open) {
    my $was = (stat "$store/$place")[2] & 07777;

    chmod $open{$place}, "$store/$place";
    ($ok, $said) = $edge->test;
    ok(!$ok, sprintf 'nginx -t: %s with mode %04o is refused', $place, $open{$place});
    like($said, qr/\[emerg\].*certctl_store.*chmod 0[47][01][01] it/, "$place: says what to do");
    chmod $was, "$store/$place";
}

SKIP: {
    skip 'who is not root cannot give files away', 2 if $> != 0;

    for my $place ('certs', 'seal.key') {
        my @was = (stat "$store/$place")[4, 5];
        chown 12345, 12345, "$store/$place";
        ($ok, $said) = $edge->test;
        like($said, qr/\[emerg\].*certctl_store.*must belong to/, "nginx -t: $place of a stranger is refused");
        chown @was, "$store/$place";
    }
}

($ok, $said) = $edge->test;
ok($ok, 'and as it was, it is accepted') or diag $said;

# A record that is flipped, cut, emptied or gone, told or untold.

my ($record) = glob "$store/certs/*/a";
my $good = slurp($record);

my %damage = (
    flipped => sub { my $t = $good; substr($t, length($t) / 2, 1) ^= "\x01"; $t },
    cut     => sub { substr $good, 0, length($good) / 2 },
    empty   => sub { '' },
    foreign => sub { 'x' x length $good },
);

for my $what (sort keys %damage) {
    write_file($record, $damage{$what}->());
    is(everywhere($new), 1, "$what: what is parsed is served on");
    my $from = length $edge->log;
    ok($edge->reload(wait_old => 1), "$what: new workers");
    my $h = get();
    is($h->{error}, '', "$what: they complete handshakes");
    isnt($h->{fingerprint}, undef, "$what: with a placeholder at least");
    ok($edge->logged(qr/\[crit\].*"a.example" is damaged/, $from), "$what: the log says so");
    write_file($record, $good);
    ok($edge->reload(wait_old => 1), "$what: restored");
    is(everywhere($new), 1, "$what: served again");
}

# The file is gone without a word: who has it keeps it.

rename $record, "$store/kept" or die $!;
is(everywhere($new), 1, 'removed by hand: what is parsed is served on');
rename "$store/kept", $record or die $!;

ok(!grep({ !alive($_) } $edge->workers), 'all workers live');
is(join('', grep { /\[alert\]/ && !/exited on signal 9/ } $edge->log =~ /(.*\n)/g), '',
    'none crashed');
is($edge->stop, 0, 'NGINX ends in peace');

done_testing;
