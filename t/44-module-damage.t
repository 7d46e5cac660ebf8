#!/usr/bin/perl
# Records that are cut, flipped, of another host, of another name or of an older
# generation, all at once: NGINX serves on what it has parsed, a new worker serves
# every name but those, and a PUT mends each. No damage reaches a neighbour.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(slurp write_file);
use Certctl::TLS 'handshake';

my $STEP = 512;                         # a disk's sector
my $ca   = Certctl::PKI->ca('Root CA', key => 'rsa-2048')->sub_ca('Test CA', key => 'rsa-2048');
my $conf = <<'CONF';
    server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }
CONF
my $edge  = Certctl::Edge->new(workers => 1, ca => $ca, conf => $conf);
my $other = Certctl::Edge->new(workers => 1, ca => $ca, conf => $conf);
my $store = $edge->dir . '/store';

sub served { return handshake($edge->port(1), sni => "$_[0].example") }
sub file   { return (glob "$_[0]/store/certs/*/$_[1]")[0] }
sub record { return slurp(file($_[0]->dir, $_[1])) }
sub give {
    my ($e, $name, @names) = @_;
    return fingerprint(scalar $e->give($name, names => [@names ? @names : "$name.example"]));
}

# Names for which this certificate is not what is served.
sub wrong {
    my ($want) = @_;
    return join ' ', grep { (served($_)->{fingerprint} // 'none') ne $want->{$_} } sort keys %$want;
}

$edge->start;
$other->start;

# How a record may be damaged: from its good bytes, bad ones.

give($edge, 'probe');
my $size = length record($edge, 'probe');
my %damage;

for my $at (map { $_ * $STEP } 0 .. $size / $STEP) {
    $damage{"cut-$at"}  = sub { substr $_[0], 0, $at };
    $damage{"flip-$at"} = sub { flip($_[0], $at + int rand $STEP) };
}

$damage{last}    = sub { substr $_[0], 0, -1 };
$damage{longer}  = sub { "$_[0]\0" };
$damage{zeros}   = sub { "\0" x length $_[0] };
$damage{sector}  = sub { my $t = $_[0]; substr($t, $STEP, $STEP) = "\0" x $STEP; $t };
$damage{host}    = sub { give($other, 'host'); record($other, 'host') };
$damage{stranger} = sub { record($edge, 'near1') };
$damage{swapped} = sub { record($edge, 'probe') };

sub flip {
    my ($text, $at) = @_;
    substr($text, $at % length $text, 1) ^= chr 1 << rand 8;
    return $text;
}

my %near = map { ($_, give($edge, $_)) } map { "near$_" } 1 .. 8;
my %want = map { ($_, give($edge, $_)) } sort keys %damage;

cmp_ok($size, '>', 3 * $STEP, "a record is $size bytes");
is(wrong({ %near, %want }), '', scalar(keys %want) . ' names and their neighbours are served');

# A record that is deleted, or gives its name up, when nobody can read what names it
# had: no worker serves on what it has parsed.

my $nobody = served('nobody')->{fingerprint};

for my $how ('DELETE', 'PUT of other names', 'rollback') {
    my ($old) = $edge->give('unread', names => ['elsewhere.example']);
    ($old) = $edge->give('unread', names => ['unread.example']);
    is(served('unread')->{fingerprint}, fingerprint($old), "$how: one that is parsed");
    write_file(file($edge->dir, 'unread'), flip(record($edge, 'unread'), 700));
    my $url = '/certctl/v1/certificates/unread';

    if ($how =~ /^PUT/) {
        give($edge, 'unread', 'elsewhere.example');
    } else {
        is(($how eq 'DELETE' ? $edge->control->delete($url) : $edge->control->post("$url/rollback"))->{status}, 200,
            "$how of a damaged record");
    }

    is(served('unread')->{fingerprint}, $nobody, "$how: the name it had has no certificate any more");
}

$edge->control->delete('/certctl/v1/certificates/unread');

# The older generation, with the staple it had.

my ($crt, $key, $chain) = $edge->give('older', names => ['older.example'], ocsp => 'http://127.0.0.1:1/');
my $staple = $ca->ocsp($crt);
is($edge->control->put('/certctl/v1/ocsp/' . fingerprint($crt), $staple,
    'content-type' => 'application/ocsp-response')->{status}, 200, 'a certificate with a staple');
my $older = record($edge, 'older');
my ($newer, $newer_key, $newer_chain) = $edge->give('older', names => ['older.example'],
    ocsp => 'http://127.0.0.1:1/');
my $generation = generation();
is(served('older')->{fingerprint}, fingerprint($newer), 'and the one behind it');

sub generation { return $edge->control->get('/certctl/v1/status')->{json}{generation} }

my %good = map { ($_, record($edge, $_)) } keys %want;

for my $name (sort keys %damage) {
    my $bad = $damage{$name}->($good{$name});
    isnt($bad, $good{$name}, "$name: differs");
    write_file(file($edge->dir, $name), $bad);
}

write_file(file($edge->dir, 'older'), $older);

is(wrong({ %near, %want }), '', 'what is parsed is served on');

# New workers, then a new master: only the names of the damaged records suffer.

for my $how (qw(reload restart)) {
    if ($how eq 'reload') {
        ok($edge->reload(wait_old => 1), 'new workers');
    } else {
        is($edge->stop, 0, 'NGINX ends');
        delete $edge->{control};
        $edge->start;
    }

    is(wrong(\%near), '', "$how: the neighbours are served");

    my $placeholder = served('nobody')->{fingerprint};
    is(wrong({ map { ($_, $placeholder) } keys %want }), '', "$how: the damaged ones get the placeholder");
    my $log = $edge->log;
    is(join(' ', grep { $log !~ /\[crit\].*"\Q$_\E.example" is damaged/ } keys %want), '',
        "$how: the log names each");

    my $h = served('older');
    is($h->{fingerprint}, fingerprint($crt), "$how: an older record is served as a whole");
    is($h->{staple}, $staple, "$how: with its own staple");

    my $report = $edge->control->get('/certctl/v1/certificates');
    is($report->{status}, 200, "$how: the report");
    is(scalar(grep { ($_->{name} // '') =~ /^near/ } map { @$_ } @{ $report->{json} }{qw(certificates unserved)}),
        8, "$how: with the neighbours");
}

# Each is mended by the next PUT, and the older one goes on from there.

$want{$_} = give($edge, $_) for sort keys %damage;
is(wrong({ %near, %want }), '', 'a PUT mends each');
# stranger and swapped hold whole records, which are set aside like the others
cmp_ok(scalar(() = glob "$store/damaged/*"), '>=', keys %damage, 'what was damaged is set aside');

my $r = $edge->commit('older', $newer_chain, $newer_key);
is(served('older')->{fingerprint}, fingerprint($newer), 'the newer one again');
cmp_ok($r->{json}{generation}, '>=', $generation, 'under a generation that has grown');

# The sealing key: a damaged one is refused, and replaces nothing.

my $seal = slurp("$store/seal.key");

for (['cut', substr $seal, 0, 32], ['flipped', flip($seal, 20)], ["another host's", slurp($other->dir . '/store/seal.key')],
    ['gone', undef])
{
    my ($what, $bad) = @$_;

    unlink "$store/seal.key";
    write_file("$store/seal.key", $bad, 0400) if defined $bad;

    if ($what =~ /host/) {
        # a whole key that opens nothing: names without a certificate, no crash
        ok($edge->reload(wait_old => 1), "$what: new workers");
        my $placeholder = served('nobody')->{fingerprint};
        is(wrong({ map { ($_, $placeholder) } keys %near }), '', "$what: opens no record");
    } else {
        my ($ok, $said) = $edge->test;
        ok(!$ok, "$what: nginx -t refuses it");
        like($said, qr/\[emerg\].*certctl_store.*seal\.key.*restore it/, "$what: says what to do");
        my @old = $edge->workers;
        my $from = length $edge->log;
        kill 'HUP', $edge->pid;
        ok($edge->logged(qr/\[emerg\].*seal\.key.*restore it/, $from), "$what: so does a reload");
        is_deeply([$edge->workers], \@old, "$what: the worker stays");
        is(wrong({ %near, %want }), '', "$what: and serves");
    }

    unlink "$store/seal.key";
    write_file("$store/seal.key", $seal, 0400);
    ok($edge->reload(wait_old => 1), "$what: restored");
    is(wrong({ %near, %want }), '', "$what: all are served again");
}

unlike($edge->log, qr/\[alert\]/, 'none crashed');
is($_->stop, 0, 'NGINX ends in peace') for $edge, $other;

done_testing;
