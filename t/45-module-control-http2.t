#!/usr/bin/perl
# The control requests over HTTP/2: the same answers, and bodies in many frames.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process 'patience';
use Certctl::TLS 'handshake';
use JSON::PP ();

my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(workers => 1, ca => $ca, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name shop.example;
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl http2;
        certctl_agent;
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl http2;
        certctl_agent;
        client_body_timeout 1s;
    }
CONF
my $dir = $edge->dir;

$edge->start;

# What curl says of a request: status, decoded body, and whether it gave up waiting.
my $port = 2;
sub ask {
    my ($method, $path, $file, @more) = @_;
    my $url = 'https://127.0.0.1:' . $edge->port($port) . "/certctl/v1$path";
    my @body = defined $file ? ('-T', $file, '-H', 'Content-Type: application/x-pem-file') : ();

    open my $pipe, '-|', 'curl', '-sk', '--http2', '-m', 20 * patience(), '--cert', "$dir/controller.pem",
        '--key', "$dir/controller.key", '-X', $method, '-w', "\n%{http_version} %{http_code}",
        @body, @more, $url or die "curl: $!";
    local $/;
    my ($text, $version, $status) = <$pipe> =~ /^(.*)\n(\S+) (\d+)$/s;
    close $pipe;

    return { status => $status, version => $version, content => $text, waited => $? >> 8 == 28,
        json => scalar eval { JSON::PP::decode_json($text) } };
}

my $r = ask('GET', '/status');
is("$r->{version} $r->{status}", '2 200', 'GET over HTTP/2');

my ($crt, $key, $chain) = $ca->issue(names => ['shop.example']);
$r = ask('PUT', '/certificates/shop?keygen=server', $edge->file('good.pem', $chain . $key));
is($r->{status}, 200, 'PUT') or diag $r->{content};
is($r->{json}{fingerprint}, fingerprint($crt), 'its fingerprint');
is(handshake($edge->port(1), sni => 'shop.example')->{fingerprint}, fingerprint($crt), 'live');

# 60 KB are some hundred reads; the chain stands behind blank lines
$r = ask('PUT', '/certificates/shop?keygen=server',
    $edge->file('long.pem', $chain . $key . "\n" x (65536 - length $chain . $key)));
is($r->{status}, 200, 'a body as large as may be') or diag $r->{content};

for (['one byte more', 413, $edge->file('large.pem', 'x' x 65537)],
    ['garbage', 422, $edge->file('bad.pem', 'x' x 60000)])
{
    my ($what, $status, $file) = @$_;
    $r = ask('PUT', '/certificates/shop', $file);
    is($r->{status}, $status, $what);
    like($r->{json}{error}, qr/\w/, "$what: the rule");
}

{
    # curl reads the body from a pipe into which bytes drip, for longer than it waits
    pipe my $out, my $in or die "pipe: $!";
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        close $out;
        $SIG{PIPE} = 'DEFAULT';
        while (1) { syswrite $in, 'x'; select undef, undef, undef, 0.3 }
    }

    close $in;
    open my $stdin, '<&', \*STDIN;
    open STDIN, '<&', $out;
    $port = 3;
    $r = ask('PUT', '/certificates/shop', '-', '-H', 'Content-Length: 5000');
    $port = 2;
    open STDIN, '<&', $stdin;
    close $out;
    kill 'TERM', $pid;
    waitpid $pid, 0;

    like($r->{status}, qr{^(?:408|000)$}, 'a body that drips is ended');
    ok(!$r->{waited}, 'by the server');
}

like(ask('POST', '/certificates/x/csr?key=rsa-2048&san=DNS:x.example')->{content},
    qr/BEGIN CERTIFICATE REQUEST/, 'a key');
is(scalar @{ ask('GET', '/certificates')->{json}{certificates} }, 4, 'the report');
is(handshake($edge->port(1), sni => 'shop.example')->{fingerprint}, fingerprint($crt),
    'what was refused has changed nothing');
is(join(' ', glob "$dir/client_body/*"), '', 'no body in a file');

$edge->stop;
unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'no alarms in the log');
done_testing();
