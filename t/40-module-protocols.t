#!/usr/bin/perl
# HTTP/1.1, HTTP/2 and, where NGINX has it, HTTP/3 over QUIC get the same
# certificates and staples, and a new one at the next handshake.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process 'slurp';

my $binary = Certctl::Nginx->binary;
my ($built, $curl) = map { scalar `$_ 2>&1` } "$binary -V", 'curl -V';

my %lacks = (
    h2 => $curl =~ /\bHTTP2\b/ ? '' : 'curl has no HTTP/2',
    h3 => $built !~ /--with-http_v3_module/ ? 'this NGINX has no HTTP/3'
        : $curl !~ /\bHTTP3\b/ ? 'curl has no HTTP/3' : '',
);

# what curl is told, and what it calls the version afterwards
my %version = (
    h1 => ['--http1.1',     '1.1'],
    h2 => ['--http2',       '2'],
    h3 => ['--http3-only',  '3'],
);

my $quic = $lacks{h3} ? '' : 'listen 127.0.0.1:%%PORT_1%% quic';
my $only = $lacks{h3} ? '' : <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_2%% quic reuseport;
        server_name only.example;
        certctl on;
    }
CONF
my $say = 'location / { return 200 "$pid|$certctl_certificate|$certctl_staple|"; }';

sub listens {
    my ($more) = @_;
    return "listen 127.0.0.1:%%PORT_1%% ssl http2;" . ($quic && "$quic $more;");
}

# the first server of the address rejects: the name decides, in each protocol
my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(workers => 2, ca => $ca, conf => <<"CONF");
    server {
        @{[ listens('reuseport') ]}
        ssl_reject_handshake on;
        certctl on;
    }
    server {
        @{[ listens('') ]}
        server_name shop.example *.shop.example;
        certctl on;
        $say
    }
    server {
        @{[ listens('') ]}
        server_name file.example;
        ssl_certificate %%DIR%%/file.pem;
        ssl_certificate_key %%DIR%%/file.key;
        $say
    }
    $only
CONF
my ($file, $file_key, $file_chain) = $ca->issue(names => ['file.example']);

$edge->file('ca.pem', $ca->chain);
$edge->file('file.pem', $file_chain);
$edge->file('file.key', $file_key, 0600);
$edge->start;

# What curl sees, who verifies chain and name and, with staple => 1, the staple.
sub ask {
    my ($proto, $name, %o) = @_;
    my $dir  = $edge->dir;
    my $port = $edge->port(1);
    my ($option, $version) = @{ $version{$proto} };

    open my $pipe, '-|', 'curl', '-s', $option, '-m', '20', '--cacert', "$dir/ca.pem",
        $o{staple} ? '--cert-status' : (), '-w', "\n%{http_version}\n%{certs}",
        '--resolve', "$name:$port:127.0.0.1", "https://$name:$port/" or die "curl: $!";
    local $/;
    my ($body, $spoken, $certs) = (<$pipe> // '') =~ /^(.*?)\n(\S+)\n(.*)/s;
    close $pipe;

    my ($pid, $certificate, $staple) = split /\|/, $body // '';
    my ($leaf) = ($certs // '') =~ /(-----BEGIN.*?-----END CERTIFICATE-----\n)/s;

    return { exit => $? >> 8, pid => $pid, certificate => $certificate, staple => $staple,
        version => $spoken, expected => $version, fingerprint => $leaf && fingerprint($leaf) };
}

# The fingerprints that each worker serves for a name.
sub by_worker {
    my ($proto, $name) = @_;
    my %seen;

    for (1 .. 200) {
        my $h = ask($proto, $name);
        $seen{ $h->{pid} // "curl: $h->{exit}" }{ $h->{fingerprint} // 'none' }++;
        last if keys %seen == $edge->{workers};
    }

    return [map { keys %$_ } values %seen];
}

sub deliver {
    my ($crt) = @_;
    my $r = $edge->control->put('/certctl/v1/ocsp/' . fingerprint($crt), $ca->ocsp($crt),
        'content-type' => 'application/ocsp-response');

    is($r->{status}, 200, 'a staple is delivered') or diag $r->{content};
    return;
}

sub same {
    my ($proto) = @_;
    my @names   = ('shop.example', '*.shop.example');
    my @ocsp    = (ocsp => 'http://127.0.0.1:1/');
    my @workers = sort $edge->workers;

    my $first = $edge->give('shop', names => \@names, @ocsp);
    my $h = ask($proto, 'shop.example');

    is("$h->{exit} $h->{version}", "0 $h->{expected}", 'spoken');
    is($h->{fingerprint}, fingerprint($first), 'the stored certificate');
    is($h->{certificate}, 'shop', 'known to the variables');
    is(ask($proto, 'one.shop.example')->{fingerprint}, fingerprint($first), 'by its wildcard');
    is(ask($proto, 'file.example')->{fingerprint}, fingerprint($file), 'next to a server without certctl');
    isnt(ask($proto, 'nobody.example')->{exit}, 0, 'another name is rejected');

    isnt(ask($proto, 'shop.example', staple => 1)->{exit}, 0, 'no staple yet');
    deliver($first);
    $h = ask($proto, 'shop.example', staple => 1);
    is("$h->{exit} " . ($h->{staple} // ''), '0 fresh', 'the staple, good to the client');

    # both workers have it in their caches before it is swapped
    is_deeply(by_worker($proto, 'shop.example'), [(fingerprint($first)) x 2], 'in each worker');
    my $new = $edge->give('shop', names => \@names, @ocsp);
    is_deeply(by_worker($proto, 'shop.example'), [(fingerprint($new)) x 2],
        'the next one, at the next handshake of each worker');
    isnt(ask($proto, 'shop.example', staple => 1)->{exit}, 0, 'without the old staple');
    deliver($new);
    is(ask($proto, 'shop.example', staple => 1)->{exit}, 0, 'but with its own');
    is_deeply([sort $edge->workers], \@workers, 'the workers are the same');
    return;
}

for my $proto (qw(h1 h2 h3)) {
    SKIP: {
        skip "$proto: $lacks{$proto}", 1 if $lacks{$proto};
        subtest $proto => \&same, $proto;
    }
}

# What openssl s_client says of a QUIC handshake, offering $alpn.
sub quic {
    my ($port, $name, $alpn, @more) = @_;
    my $log = $edge->dir . '/client.log';

    Certctl::Process::run($log, 'openssl', 's_client', '-quic', '-alpn', $alpn, '-servername', $name,
        '-connect', '127.0.0.1:' . $edge->port($port), '-showcerts', @more);
    my $said = slurp($log);
    unlink $log;

    my ($leaf) = $said =~ /(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n)/s;
    return $leaf ? fingerprint($leaf) : 'none';
}

SKIP: {
    skip "QUIC: $lacks{h3}", 1 if $lacks{h3};

    subtest 'only QUIC' => sub {
        my ($ec, $rsa) = map { fingerprint(scalar $edge->give("only-$_", names => ['only.example'],
            key => $_)) } 'ec-p256', 'rsa-2048';

        is(quic(2, 'only.example', 'h3'), $ec, 'a server that listens to nothing else');
        is(quic(2, 'only.example', 'h3', '-sigalgs', 'rsa_pss_rsae_sha256'), $rsa,
            'RSA for a client that knows only RSA');

        my $r = $edge->control->put('/certctl/v1/challenges/tls-alpn-01/only.example', 'ab' x 32,
            'content-type' => 'text/plain');
        is($r->{status}, 200, 'a challenge is pending') or diag $r->{content};
        is(quic(2, 'only.example', 'acme-tls/1'), 'none', 'not answered over QUIC');
        is(quic(2, 'only.example', 'h3'), $ec, 'and the next handshake goes well');
    };
}

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;

done_testing;
