#!/usr/bin/perl
# What the other tests stand on holds: certificates and OCSP responses that
# OpenSSL accepts, an NGINX that starts, reloads, loses a worker, is upgraded
# and ends, and a client that sees what is served.

use strict;
use warnings;
use Test::More;
use Certctl::HTTP;
use Certctl::Nginx;
use Certctl::PKI qw(fingerprint pem_split san_names not_after);
use Certctl::Process qw(alive run write_file temp_dir);
use Certctl::TLS 'handshake';

my $root = Certctl::PKI->ca('Harness Root');
my $ca   = $root->sub_ca('Harness CA', key => 'rsa-2048');
my ($cert, $key, $chain) = $ca->issue(names => ['a.example', 'IP:127.0.0.1'],
    days => 5, ocsp => 'http://127.0.0.1:1/', must_staple => 1);
my $dir = temp_dir();

write_file("$dir/$_->[0]", $_->[1]) for ['root', $root->cert], ['ca', $ca->cert],
    ['cert', $cert], ['good', $ca->ocsp($cert)],
    ['forged', $ca->ocsp($cert, signer => Certctl::PKI->ca('Stranger'))];

is(san_names($cert), 'DNS:a.example,IP:127.0.0.1', 'names');
cmp_ok(abs(not_after($cert) - time - 5 * 86400), '<', 60, 'days');
is(my @parts = pem_split($chain), 2, 'leaf and sub-CA');
like(openssl("verify -CAfile $dir/root -untrusted $dir/ca $dir/cert"), qr/: OK/,
    'OpenSSL verifies the chain');

my $ask = "ocsp -issuer $dir/ca -cert $dir/cert -CAfile $dir/root -verify_other $dir/ca -no_nonce";
like(openssl("$ask -respin $dir/good"), qr/verify OK.*: good/s, 'OCSP response');
like(openssl("$ask -respin $dir/forged"), qr/Verify Failure/, 'forged OCSP response');

my $ngx = Certctl::Nginx->new(module => 0, workers => 2, conf => <<'CONF');
%%MAIN%%
http {
    %%HTTP%%
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate %%DIR%%/chain.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        ssl_stapling on;
        ssl_stapling_file %%DIR%%/staple.der;
        ssl_session_cache shared:s:1m;
        location / { return 200 '{"pid":$pid}'; default_type application/json; }
    }
}
CONF

$ngx->file('chain.pem', $chain);
$ngx->file('key.pem', $key, 0600);
$ngx->file('staple.der', $ca->ocsp($cert));
my ($ok, $said) = $ngx->test;
ok($ok, 'nginx -t') or diag $said;
$ngx->start;

for my $tls ('1.2', '1.3') {
    my $first = handshake($ngx->port(1), sni => 'a.example', tls => $tls, keep => 1);
    is($first->{error}, '', "TLS $tls: handshake");
    is($first->{protocol}, "TLSv$tls", "TLS $tls: protocol");
    is($first->{fingerprint}, fingerprint($cert), "TLS $tls: leaf");
    is(@{ $first->{chain} }, 2, "TLS $tls: chain");
    ok($first->{staple}, "TLS $tls: staple");
    like($first->{answer}, qr/"pid":/, "TLS $tls: answer");

    my $second = handshake($ngx->port(1), sni => 'a.example', tls => $tls,
        session => $first->{session});
    is($second->{reused}, 1, "TLS $tls: resumed");
    is($second->{fingerprint}, fingerprint($cert), "TLS $tls: leaf of the session");
}

my $http = Certctl::HTTP->new(port => $ngx->port(1), ca => "$dir/root");
my $r = $http->get('/');
is($r->{status}, 200, 'HTTP request, server verified') or diag $r->{content};

my @workers = $ngx->workers;
is(@workers, 2, 'two workers');
ok(scalar(grep { $_ == $r->{json}{pid} } @workers), 'answered by one of them');

ok($ngx->kill_worker($workers[0]), 'a killed worker is replaced');
ok($ngx->reload(wait_old => 1), 'reload');
ok(!alive($workers[1]), 'the old worker is gone');

my $old = $ngx->pid;
isnt($ngx->upgrade, $old, 'binary upgrade');
ok(!alive($old), 'the old master is gone');
is(handshake($ngx->port(1))->{error}, '', 'the new one serves');

my @all = ($ngx->pid, $ngx->workers);
is($ngx->stop, 0, 'stop');
ok(!scalar(grep { alive($_) } @all), 'nothing is left');
isnt(handshake($ngx->port(1))->{error}, '', 'refused connection is an error');

# What a sanitizer or valgrind says is found, and fails the test.
SKIP: {
    my $asan = ($ENV{SAN} // '') =~ /address/;
    skip 'neither sanitizers nor valgrind watch NGINX', 1 if !$asan && !$ENV{VALGRIND};

    my $crash = Certctl::Nginx->new(module => 0, workers => 1,
        conf => "%%MAIN%%\nhttp { %%HTTP%% server { listen 127.0.0.1:%%PORT_1%%; } }\n");

    if ($asan) {
        $crash->start;
        kill 'SEGV', ($crash->workers)[0];
        $crash->logged(qr/SUMMARY: AddressSanitizer/);
        $crash->stop;
    } else {
        # as a worker is: a child that reads where nothing is
        run($crash->dir . '/perl.log', $crash->watcher, $^X, '-e', 'if (!fork) { unpack "p", pack "J", 8 } wait');
        Certctl::Process::inspect_valgrind($crash->dir);
    }

    ok(scalar(grep { /AddressSanitizer: SEGV|Invalid read/ } Certctl::Process::forgive()),
        'a crash is reported, and would have failed this test');
}

done_testing();

sub openssl {
    my ($command) = @_;
    return `openssl $command 2>&1`;
}
