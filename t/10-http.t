#!/usr/bin/perl
# Outgoing HTTPS against a real server: whom it believes, what it refuses before
# a byte of the request is sent, and that nothing a server does makes it hang,
# swell or go elsewhere.

use strict;
use warnings;
use Test::More;
use Certctl::Nginx;
use Certctl::PKI qw(fingerprint pem_split);
use Certctl::Port 'free_port';
use Certctl::Process 'slurp';
use IO::Socket::INET;
use IPC::Open2;
use JSON::PP;

my $tool = ($ENV{B} || 'build') . '/t/tool/http';
our @tool = ($tool);
my $json = JSON::PP->new->utf8;

my $ca = Certctl::PKI->ca('Server CA');
my $fleet = Certctl::PKI->ca('Fleet CA');
my ($cert, $key) = $ca->issue(names => ['localhost', 'IP:127.0.0.1',
    'URI:urn:certctl:agent:a1']);
my ($rsa, $rsa_key) = $ca->issue(names => ['localhost'], key => 'rsa-2048');
my ($expired, $expired_key) = $ca->issue(names => ['IP:127.0.0.1'], days => -1);
my ($me, $my_key) = $fleet->issue(names => ['URI:urn:certctl:controller'],
    eku => ['clientAuth']);

my $ngx = Certctl::Nginx->new(module => 0, workers => 1, conf => <<'CONF');
%%MAIN%%
http {
    %%HTTP%%
    log_format  seen  '$request';
    ssl_certificate %%DIR%%/cert.pem;
    ssl_certificate_key %%DIR%%/key.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        listen unix:%%DIR%%/socket ssl;
        access_log %%DIR%%/seen.log seen;
        root %%DIR%%/files;

        location / { add_header ETag '"g7"' always; return 200 '$connection/$connection_requests $request_method $http_x_test $ssl_protocol'; }
        location /moved { return 302 https://127.0.0.1:%%PORT_tls%%/elsewhere; }
        location /slow-down { add_header Retry-After 17 always; return 429; }
        location /file/ { alias %%DIR%%/files/; dav_methods PUT DELETE; client_body_temp_path %%DIR%%/body; }
    }

    server {
        listen 127.0.0.1:%%PORT_mutual%% ssl;
        ssl_client_certificate %%DIR%%/fleet.pem;
        ssl_verify_client on;
        location / { return 200 $ssl_client_serial; }
    }

    server {
        listen 127.0.0.1:%%PORT_old%% ssl;
        ssl_protocols TLSv1.2;
        location / { return 200 $ssl_protocol; }
    }

    server {
        listen 127.0.0.1:%%PORT_expired%% ssl;
        ssl_certificate %%DIR%%/expired.pem;
        ssl_certificate_key %%DIR%%/expired.key;
        access_log %%DIR%%/expired.log seen;
        location / { return 200; }
    }

    server {
        listen 127.0.0.1:%%PORT_both%% ssl;
        ssl_certificate %%DIR%%/cert.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        ssl_certificate %%DIR%%/rsa.pem;
        ssl_certificate_key %%DIR%%/rsa.key;
        ssl_stapling on;
        ssl_stapling_file %%DIR%%/staple.der;
    }

    server {
        listen 127.0.0.1:%%PORT_plain%%;
        location / { return 200 "$host $request_uri"; }
    }
}
CONF

my $dir = $ngx->dir;

mkdir "$dir/files";
chmod 0777, "$dir/files";
$ngx->file('cert.pem', $cert . $ca->cert);
$ngx->file('key.pem', $key, 0600);
$ngx->file('rsa.pem', $rsa);
$ngx->file('rsa.key', $rsa_key, 0600);
$ngx->file('expired.pem', $expired);
$ngx->file('expired.key', $expired_key, 0600);
$ngx->file('fleet.pem', $fleet->cert);
$ngx->file('staple.der', $ca->ocsp($cert));
$ngx->file('files/big', 'x' x 100_000);
$ngx->start;

my $base = 'https://127.0.0.1:' . $ngx->port('tls');
my ($PUBLIC, $PRIVATE, $LOOPBACK, $ANYWHERE) = 0 .. 3;      # enum http_reach
my %open = (reach => $LOOPBACK);
my %ok   = (%open, ca_pem => $ca->cert);

# --- answers

my ($r) = run({ %ok, url => "$base/", headers => ['X-Test: here'] });
is($r->{status}, 200, 'an answer') or diag $r->{detail};
like($r->{body}, qr{/1 GET here TLSv1.3$}, 'method, header and protocol');
is($r->{etag}, '"g7"', 'ETag');
ok($r->{verified}, 'the server has proved who it is');
is($r->{fingerprint}, fingerprint($cert), 'fingerprint of the server');
is(my @chain = pem_split($r->{chain_pem}), 2, 'its chain');
is($chain[1], $ca->cert, 'leaf first');

my @r = run(map { { %ok, url => "$base/", method => $_ } } qw(GET POST HEAD PUT DELETE));
is(join(' ', map { $_->{status} } @r), '200 200 200 200 200', 'methods');
is($r[2]{body}, '', 'HEAD has no body');
is(join(' ', map { ($_->{body} =~ m{/(\d)})[0] // '-' } @r), '1 2 - 4 5',
    'one connection');

@r = run({ %ok, url => "$base/file/put", method => 'PUT', body => "one\ntwo" },
    { %ok, url => "$base/file/put" },
    { %ok, url => "$base/file/put", method => 'DELETE' },
    { %ok, url => "$base/file/put" });
is(join(' ', map { $_->{status} } @r), '201 200 204 404', 'PUT, GET, DELETE, GET');
is($r[1]{body}, "one\ntwo", 'the body arrived');

@r = run({ %ok, url => "$base/moved" }, { %ok, url => "$base/slow-down" });
is($r[0]{status}, 302, 'a redirect is an answer, not followed');
like($r[0]{headers}{Location}, qr{/elsewhere$}, 'Location');
is($r[1]{retry_after}, 17, 'Retry-After');
($r) = run({ url => 'http://127.0.0.1:' . $ngx->port('plain') . '/', %open });
ok($r->{status} == 200 && !$r->{verified}, 'over plain HTTP nobody proves who he is');
unlike(slurp("$dir/seen.log"), qr/elsewhere/, 'nobody went there');

($r) = run({ %ok, url => "$base/", unix_socket => "$dir/socket" });
is($r->{status}, 200, 'unix socket');

($r) = run({ %ok, url => 'https://localhost:' . $ngx->port('tls') . '/',
    address => '127.0.0.1' });
is($r->{status}, 200, 'an address instead of a resolver');

{
    local $ENV{https_proxy} = 'http://127.0.0.1:1';
    local $ENV{HTTPS_PROXY} = 'http://127.0.0.1:1';
    is((run({ %ok, url => "$base/" }))[0]{status}, 200,
        'the environment sets no proxy');
}

($r) = run({ %open, url => 'http://shop.invalid/a?b',
    proxy => 'http://127.0.0.1:' . $ngx->port('plain') });
is($r->{body}, 'shop.invalid /a?b', 'a proxy that is asked for');

# --- whom to believe

seen();
refused('another CA', { %open, url => "$base/secret", ca_pem => $fleet->cert },
    'peer', qr/unable to get local issuer|self-signed/);
refused('no CA of the system', { %open, url => "$base/secret" }, 'peer',
    qr/server certificate/);
refused('another name', { %ok, url => 'https://shop.invalid:' . $ngx->port('tls') . '/secret',
    address => '127.0.0.1' }, 'peer', qr/shop\.invalid/);
refused('wrong pin', { %open, url => "$base/secret?token=hush", pin => 'a' x 64 }, 'peer',
    qr/has fingerprint \Q@{[fingerprint($cert)]}\E, pinned is aaaa/);
refused('wrong pin, right CA', { %ok, url => "$base/secret", pin => 'b' x 64 },
    'peer', qr/pinned/);
refused('another URI', { %ok, url => "$base/secret", uri => 'urn:certctl:agent:a2' },
    'peer', qr/does not name urn:certctl:agent:a2/);
refused('a URI that only begins alike',
    { %ok, url => "$base/secret", uri => 'urn:certctl:agent:a' }, 'peer', qr/does not name/);
refused('a certificate of something else', { %open, url => "$base/secret",
    pin => fingerprint($cert), check => JSON::PP::true }, 'peer',
    qr/server certificate: it is not of a module/);
is(seen(), '', 'none of them saw a byte of the request');

refused('expired', { %ok, url => 'https://127.0.0.1:' . $ngx->port('expired') . '/' },
    'peer', qr/expired/);
is(slurp("$dir/expired.log"), '', 'expired: nothing sent');

@r = run({ %open, url => "$base/", pin => fingerprint($cert) },
    { %open, url => "$base/", pin => uc fingerprint($cert) },
    { %ok, url => "$base/", uri => 'urn:certctl:agent:a1' },
    { %open, url => "$base/", pin => 'c' x 64 },
    { %open, url => "$base/", pin => fingerprint($cert) },
    { %ok, url => "$base/", uri => 'urn:certctl:agent:a2' },
    { %ok, url => "$base/", uri => 'urn:certctl:agent:a1' },
    { %open, url => "$base/", pin => fingerprint($cert), check => JSON::PP::true },
    { %open, url => "$base/", pin => fingerprint($cert), reach => $PRIVATE });
is(join(' ', map { $_->{status} // $_->{error} } @r),
    '200 200 200 peer 200 peer 200 peer forbidden',
    'pin or URI, and no connection is used under other settings');
is(join(' ', map { ($_->{body} // '') =~ m{/(\d)} ? $1 : '-' } @r), '1 1 1 - 2 - 2 - -',
    'each kept for its own');

# --- who we are

my $mutual = 'https://127.0.0.1:' . $ngx->port('mutual') . '/';
@r = run({ %ok, url => $mutual },
    { %ok, url => $mutual, cert_pem => $me, key_pem => $my_key },
    { %ok, url => $mutual, cert_pem => $me, key_pem => $key },
    { %ok, url => $mutual, cert_pem => $me },
    { %ok, url => $mutual });
is($r[0]{status}, 400, 'no client certificate');
is($r[1]{status}, 200, 'client certificate');
is($r[2]{error}, 'invalid', 'a key that does not fit');
is($r[3]{error}, 'invalid', 'a certificate without its key');
is($r[4]{status}, 400, 'who comes later does not borrow the connection');

my $old = 'https://127.0.0.1:' . $ngx->port('old') . '/';
@r = run({ %ok, url => $old }, { %ok, url => $old, only_tls13 => JSON::PP::true },
    { %ok, url => "$base/", only_tls13 => JSON::PP::true });
is($r[0]{body}, 'TLSv1.2', 'TLS 1.2 where allowed');
is($r[1]{error}, 'peer', 'TLS 1.3 only');
is($r[2]{status}, 200, 'TLS 1.3 only, and it is');

# --- limits

refused('larger than allowed', { %ok, url => "$base/file/big", answer_max => 99_999 },
    'peer', qr/larger than 99999 bytes/);
($r) = run({ %ok, url => "$base/file/big", answer_max => 100_000 });
is(length $r->{body}, 100_000, 'as large as allowed');

my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => free_port(),
    Listen => 5, ReuseAddr => 1);
my $hang = 'https://127.0.0.1:' . $silent->sockport . '/';
refused('silence', { %ok, url => $hang, total_ms => 300 }, 'timeout', qr/timed out|timeout/i);
refused('nobody', { %ok, url => 'https://127.0.0.1:' . free_port() . '/' }, 'peer',
    qr/connect/i);

refused('loopback', { ca_pem => $ca->cert, url => "$base/" }, 'forbidden',
    qr/127\.0\.0\.1 is reserved \(loopback\)$/);
refused('loopback, for a host', { ca_pem => $ca->cert, url => "$base/", reach => $PRIVATE },
    'forbidden', qr/\(loopback\) and outgoing_networks does not list it/);

# --- where a call may lead: every notation of this host that is known to be overlooked

for my $host (qw(localhost a.localhost 127.1 127.0.1 0x7f.1 0x7f000001 2130706433 017700000001
    0177.0.0.01 127.255.255.254 0.0.0.0 0 [::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1]
    [::ffff:7f00:1] [::127.0.0.1] [::ffff:0.0.0.0] [::ffff:0:127.0.0.1] [64:ff9b::7f00:1]
    [2002:7f00:1::] [2001:db8::5efe:127.0.0.1]))
{
    my $port = $ngx->port('tls');

    for my $reach ($PUBLIC, $PRIVATE) {
        refused("reach $reach: $host", { ca_pem => $ca->cert, reach => $reach,
            url => "https://$host:$port/" }, 'forbidden', qr/is reserved \(/);
    }

    refused("probe: $host", { probe => { host => $host =~ s/^\[|\]$//gr, port => $port + 0,
        reach => $PRIVATE } }, 'forbidden', qr/is reserved \(/) if $host ne 'a.localhost';
}
refused('an address instead of a resolver', { ca_pem => $ca->cert, address => '127.0.0.1',
    url => 'https://shop.invalid:' . $ngx->port('tls') . '/' }, 'forbidden', qr/loopback/);
refused('a proxy', { url => 'http://shop.invalid/', proxy => 'http://127.0.0.1:'
    . $ngx->port('plain') }, 'forbidden', qr/loopback/);

{
    local @tool = ($tool, '127.0.0.0/8');

    @r = run(map { { %ok, url => "$base/", reach => $_ } } $PUBLIC, $PRIVATE, $ANYWHERE);
    is(join(' ', map { $_->{status} // $_->{error} } @r), 'forbidden 200 200',
        'a network that is allowed, where the list counts');
    is((run({ probe => { host => '127.0.0.1', port => $ngx->port('tls') + 0,
        reach => $PRIVATE } }))[0]{fingerprint}, fingerprint($cert), 'for a probe, too');
    refused('another one', { %ok, url => 'https://[::1]:' . $ngx->port('tls') . '/',
        reach => $PRIVATE }, 'forbidden', qr/::1 is reserved/);
}

my $plain = 'http://127.0.0.1:' . $ngx->port('plain') . '/';
refused('a key over plain HTTP', { %open, url => $plain, headers => ["$_ Bearer hush"] },
    'invalid', qr/https.*RFC 6750/) for 'Authorization:', 'authorization:';

refused('http with a pin', { %open, pin => 'a' x 64,
    url => 'http://127.0.0.1:' . $ngx->port('plain') . '/' }, 'invalid', qr/https/);
refused('half a pin', { %open, url => "$base/", pin => 'abc' }, 'invalid', qr/64 hex/);
refused('no URL', { %ok, url => 'edge1 9443' }, 'invalid', qr/RFC 3986/);
refused('another scheme', { %ok, url => 'file:///etc/passwd' }, 'invalid', qr/./);
refused('a header in a header', { %ok, url => "$base/",
    headers => ["X: a\r\nAuthorization: b"] }, 'invalid', qr/line break/);
refused('roots that are none', { %open, url => "$base/", ca_pem => 'nonsense' }, 'invalid',
    qr/no certificate/);

# --- what a listener serves

my %at = (host => '127.0.0.1', port => $ngx->port('both') + 0, %open);
@r = map { (run({ probe => { %at, %$_ } }))[0] } { sni => 'localhost',
    staple => JSON::PP::true }, { sigalgs => 'RSA-PSS+SHA256' }, { sigalgs => 'ECDSA+SHA256' };
is($r[0]{fingerprint}, fingerprint($cert), 'probe: leaf') or diag $r[0]{detail};
is(my @served = pem_split($r[0]{chain_pem}), 2, 'probe: chain');
is($r[0]{staple_len}, length slurp("$dir/staple.der"), 'probe: staple');
is($r[0]{protocol}, 'TLSv1.3', 'probe: protocol');
cmp_ok($r[0]{ms}, '>', 0, 'probe: milliseconds');
is($r[1]{fingerprint}, fingerprint($rsa), 'probe: as a client that knows RSA');
is($r[2]{fingerprint}, fingerprint($cert), 'probe: as a client that knows ECDSA');
is($r[1]{staple_len}, 0, 'probe: no staple when none is asked for');

($r) = run({ probe => { %at, port => $ngx->port('expired') + 0 } });
is($r->{fingerprint}, fingerprint($expired), 'probe: an expired one is reported, too');

refused('probe of silence', { probe => { %at, port => $silent->sockport,
    timeout_ms => 300 } }, 'timeout', qr/in time/);
refused('probe of plain HTTP', { probe => { %at, port => $ngx->port('plain') + 0 } },
    'peer', qr/TLS handshake: wrong version number/);
refused('probe of nobody', { probe => { %at, port => free_port() } }, 'peer', qr/refused/);
refused('probe of loopback', { probe => { host => 'localhost', port => $at{port} } },
    'forbidden', qr/loopback/);
refused('probe of something else', { probe => { %at, check => JSON::PP::true } }, 'peer',
    qr/served certificate: it is not of a module/);

$ngx->stop;
done_testing();

# Sends the requests on one client; what came of each.
sub run {
    my (@requests) = @_;

    my $pid = open2(my $out, my $in, @tool);
    print $in $json->encode(\@requests);
    close $in;
    local $/;
    my $text = <$out>;
    waitpid $pid, 0;
    is($?, 0, 'exit') if $?;
    return @{ $json->decode($text) };
}

sub refused {
    my ($name, $request, $error, $detail) = @_;
    my ($r) = run($request);

    is($r->{error} // "status $r->{status}", $error, $name);
    like($r->{detail}, $detail, "$name: reason");
    unlike($r->{detail}, qr/hush/, "$name: no secret") if ($request->{url} // '') =~ /hush/;
    return;
}

# What the server was asked since the last call.
sub seen {
    my $text = slurp("$dir/seen.log");

    truncate "$dir/seen.log", 0;
    return $text;
}
