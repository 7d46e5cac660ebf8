#!/usr/bin/perl
# The sealing key of a store is replaced while NGINX serves: after a reload one worker
# seals again what the old key has sealed, also after it was killed; then the old key is
# removed. A damaged or missing one is named.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Process qw(built run slurp temp_dir wait_until write_file);
use Certctl::TLS 'handshake';

my $RECORDS = 40;
my $edge = Certctl::Edge->new(workers => 2, points => 1, conf => join '', map { <<"CONF" } 1 .. $RECORDS);
    server {
        listen 127.0.0.1:%%PORT_site%% ssl;
        server_name s$_.example;
        certctl on;
    }
CONF
$edge->start;

my $store = $edge->dir . '/store';
my $url   = '/certctl/v1/certificates';
my %live  = map { ("s$_.example" => Certctl::PKI::fingerprint($edge->give("s$_", names => ["s$_.example"]))) } 1 .. $RECORDS;

# what is not a live record: a previous version, a pending key, flushed sessions, CAs
$live{'s1.example'} = Certctl::PKI::fingerprint($edge->give('s1', names => ['s1.example']));
my $csr = $edge->control->post("$url/s2/csr?key=ec-p256&san=DNS:s2.example")->{content};
$edge->control->post('/certctl/v1/sessions/flush');
$edge->control->put('/certctl/v1/trust', Certctl::PKI->ca('Next CA')->cert, 'content-type' => 'application/x-pem-file');

sub certctl {
    my $out = temp_dir() . '/out';
    my $status = run($out, built('certctl'), @_, '--store', $store);
    return ($status >> 8, slurp($out));
}

sub serves {
    my ($when) = @_;
    my @wrong = grep { (handshake($edge->port('site'), sni => $_, staple => 0)->{fingerprint} // '') ne $live{$_} } sort keys %live;
    is "@wrong", '', "$when: each site has its certificate";
    return;
}

my $old = slurp("$store/seal.key");
my ($status, $said) = certctl('store', 'rotate');
is $status, 0, 'a new key' or diag $said;
like $said, qr/reload NGINX/, 'and what to do';
isnt slurp("$store/seal.key"), $old, 'is the sealing key';
is slurp("$store/seal.old"), $old, 'the one before is kept';
is((stat "$store/$_")[2] & 0777, 0400, "$_ is its owner's alone") for 'seal.key', 'seal.old';
is substr(slurp("$store/seal.key"), 40, 16), substr($old, 40, 16), 'the host stays the same';
($status, $said) = certctl('store', 'rotate');
is $status, 1, 'before the reload it is not removed';
like $said, qr/\d\d files are sealed with the old key still: reload NGINX/, 'with the number of files that need it';
serves('before the reload');

# a damaged one, and one that is lost
my $from = length $edge->log;
unlink "$store/seal.old";
write_file("$store/seal.old", substr($old, 0, 20) . "\xff" . substr($old, 21), 0400);
kill 'HUP', $edge->pid;
ok $edge->logged(qr/\[emerg\].*seal\.old is damaged: restore it/, $from), 'a damaged old key refuses a reload, by its name';
write_file("$store/seal.old.new", $old, 0400);
rename "$store/seal.old.new", "$store/seal.old";
serves('after a refused reload');

# killed in the middle: another worker goes on
$edge->stop;
$edge->{env} = { CERTCTL_POINT => 'store.replace.after_rename', CERTCTL_POINT_ACT => 'kill', CERTCTL_POINT_LOG => $edge->dir . '/points' };
$from = length $edge->log;
$edge->start;
ok $edge->logged(qr/exited on signal 9/, $from), 'the worker that seals again is killed';
$edge->stop('KILL');
$edge->{env} = {};
$from = length $edge->log;
$edge->start;
ok $edge->logged(qr/\d+ files are sealed with the new key, nothing needs seal\.old/, $from), 'another one goes on'
    or diag $edge->log;
serves('with two keys');

($status, $said) = certctl('store', 'rotate');
is $status, 0, 'the old key is removed' or diag $said;
ok !-e "$store/seal.old", 'it is gone';
$edge->reload;
serves('with the new key alone');
$edge->stop;
$edge->start;
serves('after a restart');
is((certctl('store', 'verify'))[0], 0, 'every record opens');
is $edge->control->post("$url/s1/rollback")->{status}, 200, 'the previous version, too';
is $edge->control->post("$url/s2/csr?key=ec-p256&san=DNS:s2.example&reuse_pending=1")->{content}, $csr, 'and the pending key';
is scalar @{ $edge->control->get('/certctl/v1/status')->{json}{trust}{all} }, 2, 'and the CAs of the controller';
ok !glob("$store/damaged/*"), 'nothing was set aside';

$edge->stop;
done_testing();
