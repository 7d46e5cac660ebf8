#!/usr/bin/perl
# What a control request may not say: each is refused with the rule it breaks,
# and afterwards certificate, store and generation are what they were.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process qw(patience slurp);
use Certctl::TLS 'handshake';
use IO::Select;
use JSON::PP ();

my $PEM  = 'application/x-pem-file';
my $OCSP = 'application/ocsp-response';
my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(workers => 1, ca => $ca, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name shop.example;
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_brief%% ssl;
        certctl_agent;
        client_body_timeout 2s;
    }
CONF

$edge->start;

my $dir = $edge->dir;
my $url = '/certctl/v1';
my $api = $edge->control;
my ($crt, $key, $chain) = $edge->give('shop', names => ['shop.example']);
my $pending = $api->post("$url/certificates/shop/csr?key=ec-p256&san=DNS:shop.example")->{content};
my @canaries;

# Everything below the store: path, size, time of change.
sub listing {
    return join '', sort map { $_ =~ m{/writes$} ? () : "$_\n" }
        split /\n/, `find $dir/store -printf '%P %s %T\@\n' | grep -v '^writes '`;
}

sub generation { return $api->get("$url/status")->{json}{generation} }

my $listing    = listing();
my $generation = generation();

# Nothing has changed since.
sub unchanged {
    my ($what) = @_;

    is(handshake($edge->port(1), sni => 'shop.example')->{fingerprint}, fingerprint($crt),
        "$what: the certificate is the same");
    is(listing(), $listing, "$what: the store is the same");
    is(generation(), $generation, "$what: the generation is the same");
    return;
}

# The request is refused with this status, and a rule that matches.
sub refused {
    my ($what, $r, $status, $rule) = @_;

    is($r->{status}, $status, "$what: $status") or diag $r->{content};
    like($r->{json}{error} // '', $rule // qr/\w{3,}/, "$what: the rule");
    is($r->{headers}{'cache-control'}, 'no-store', "$what: not to be kept");
    unlike($r->{content}, qr{[A-Za-z0-9+/]{40}}, "$what: nothing of the body");
    unchanged($what);
    return;
}

sub put {
    my ($path, $body, %headers) = @_;
    push @canaries, $1 if $body =~ /PRIVATE KEY-----\n.+\n(.{40})/;
    return $api->put("$url$path", $body, 'content-type' => $PEM, %headers);
}

# Key and chain of a certificate that is bad in one way.
sub given {
    my ($leaf, $k, @rest) = @_;
    return put('/certificates/shop?keygen=server', join '', $leaf, @rest, $k);
}

# As it stands on the line: what an HTTP client would not send. Parts of it follow
# each other by half a second, until something comes back; left is how many did not go.
sub raw {
    my ($text, $port) = @_;
    my $s = $edge->connection($port);
    my @parts = ref $text ? @$text : $text;
    my $answer = '';

    local $SIG{PIPE} = 'IGNORE';

    while (defined(my $part = shift @parts)) {
        print $s $part or last;
        last if @parts && ($s->pending || IO::Select->new($s)->can_read(0.5));
    }

    my $ended = eval {
        local $SIG{ALRM} = sub { die "no answer\n" };
        alarm 20 * patience();
        while (defined(my $n = sysread $s, my $more, 65536)) {
            last if !$n;
            $answer .= $more;
        }
        alarm 0;
        1;
    };
    alarm 0;

    my ($status) = $answer =~ m{^HTTP/1\.1 (\d+)};
    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    my %headers = map { /^([^:]+): (.*)/ ? (lc($1), $2) : () } split /\r\n/, $head // '';

    return { status => $status // 0, content => $body // '', headers => \%headers,
        json => scalar eval { JSON::PP::decode_json($body) }, whole => $answer, ended => $ended, left => scalar @parts };
}

sub request_text {
    my ($method, $path, @headers) = @_;
    return join "\r\n", "$method $url$path HTTP/1.1", 'Host: x', 'Connection: close',
        @headers, '', '';
}

subtest 'paths and methods' => sub {
    refused("path '$_'", $api->get("$url$_"), 404)
        for '', '/', '/nothing', '/status/', '/statusx', '/certificates/', '/challenges/http-01', '/challenges/dns-01/x',
            '/discover/all', '/metrics/', '//status', '/certificates//csr';
    refused("GET certificates/shop", $api->get("$url/certificates/shop"), 405);
    refused('prefix', $api->get('/certctl/v2/status'), 404);

    my %allow = (POST => ['/status', 'GET, HEAD'], DELETE => ['/certificates', 'GET, HEAD, POST'],
        PATCH => ['/certificates/shop', 'PUT, DELETE'], GET => ['/certificates/shop/csr', 'POST'],
        PUT => ['/certificates/shop/rollback', 'POST'], OPTIONS => ['/ocsp/' . 'a' x 64, 'PUT, DELETE'],
        MAGIC => ['/status', 'GET, HEAD']);

    for my $method (sort keys %allow) {
        my ($path, $allow) = @{ $allow{$method} };
        my $r = raw(request_text($method, $path, 'Content-Length: 0'));

        refused("$method $path", $r, 405, qr/method/);
        is($r->{headers}{allow}, $allow, "$method $path: Allow");
    }
};

subtest 'names' => sub {
    my %bad = ('dot' => '.', 'two dots' => '%2e%2e', 'a blank' => 'a%20b', 'a slash' => 'a%2fb',
        'climbing' => '%2e%2e%2f%2e%2e%2fetc', 'not ASCII' => 'caf%c3%a9', 'a colon' => 'a:b',
        'too long' => 'a' x 254, 'far too long' => 'a' x 2000, 'a quote' => 'a%22b', 'a control' => 'a%01b', 'a plus' => 'a+b',
        'a mark' => 'shop~', 'a newline' => 'a%0ab');

    for my $what (sort keys %bad) {
        refused("a name with $what",
            $api->put("$url/certificates/$bad{$what}", $chain, 'content-type' => $PEM), 400,
            qr/name/);
    }

    # these NGINX refuses itself, before anything of ours is asked
    refused($_, raw(request_text('GET', $_)), 400, qr/RFC 9112/)
        for '/certificates/a%00b', '/certificates/a%zzb', '/certificates/a%2', '/../../../../etc/passwd';

    my %lines = (
        'a request line that is too long' => [request_text('POST', '/certificates/shop/csr?key=ec-p256&san=DNS:'
            . 'x' x 10000), 414, qr/in its body/],
        'a header that is too long' => [request_text('GET', '/status', 'X-Long: ' . 'x' x 40000), 400, qr/header/],
        'no HTTP' => ["HELO shop\r\n\r\n", 400, qr/not valid HTTP/],
        'no Host' => ["GET $url/status HTTP/1.1\r\nConnection: close\r\n\r\n", 400, qr/not valid HTTP/],
        'TRACE' => [request_text('TRACE', '/status'), 405, qr/method/],
        'a coding that nobody knows' => [request_text('PUT', '/certificates/shop', 'Transfer-Encoding: lzw'), 501,
            qr/Transfer-Encoding/],
        'two lengths' => [request_text('PUT', '/certificates/shop', 'Content-Length: 1', 'Content-Length: 2'), 400, qr/HTTP/],
        'more than NGINX lets a body be' => [request_text('POST', '/certificates', 'Content-Length: 2000000',
            'Content-Type: application/x-certctl-bulk'), 413, qr/client_max_body_size/],
    );

    for my $what (sort keys %lines) {
        my ($text, $status, $rule) = @{ $lines{$what} };
        my $r = raw($text);

        refused($what, $r, $status, $rule);
        is($r->{headers}{'content-type'}, 'application/json', "$what: is JSON");
        is($r->{headers}{'content-length'}, length $r->{content}, "$what: and nothing else");
    }

    my $r = raw(request_text('GET', '/x/../status'));
    is($r->{status}, 404, 'a path is taken as written');
};

subtest 'arguments' => sub {
    my %bad = ('unknown' => 'key=ec-p256&san=DNS:a.example&days=1', 'empty name' => '=1',
        'no value' => 'key', 'twice' => 'key=ec-p256&key=ec-p384&san=DNS:a.example',
        'key type' => 'key=dsa-1024&san=DNS:a.example', 'empty key type' => 'key=&san=DNS:a.example',
        'flag' => 'key=ec-p256&san=DNS:a.example&must_staple=yes', 'no san' => 'key=ec-p256',
        'no key' => 'san=DNS:a.example', 'empty san' => 'key=ec-p256&san=',
        'san kind' => 'key=ec-p256&san=RID:1.2.3', 'san without kind' => 'key=ec-p256&san=a.example',
        'san no host' => 'key=ec-p256&san=DNS:a_b..example', 'san no IP' => 'key=ec-p256&san=IP:1.2.3',
        'san injection' => 'key=ec-p256&san=DNS:a.example,DNS:b%0aCA:TRUE',
        'another request\'s' => 'key=ec-p256&san=DNS:a.example&keygen=server',
        'too many names' => 'key=ec-p256&san=' . join(',', map { "DNS:n$_.example" } 1 .. 101));

    for my $what (sort keys %bad) {
        refused("argument: $what", $api->post("$url/certificates/shop/csr?$bad{$what}"), 400);
    }

    refused('argument to DELETE', $api->delete("$url/certificates/shop?force=1"), 400);
    refused('argument to GET', $api->get("$url/status?pretty=1"), 400);
    refused('keygen', put('/certificates/shop?keygen=host', $chain), 400, qr/keygen/);
    refused('reuse_key without a key',
        $api->post("$url/certificates/none/csr?reuse_key=1&san=DNS:a.example"), 409, qr/key/);
};

subtest 'bodies' => sub {
    refused("Content-Type $_->[0]", $api->put("$url/certificates/shop", $chain,
        'content-type' => $_->[1]), 415, qr/Content-Type must be application\/x-pem-file/)
        for ['json', 'application/json'], ['text', 'text/plain'], ['longer', "${PEM}x"],
            ['multipart', 'multipart/form-data'];
    refused('no Content-Type', raw(request_text('PUT', '/certificates/shop',
        'Content-Length: 3') . 'abc'), 415);
    refused('PEM as OCSP', put('/ocsp/' . fingerprint($crt), $chain), 415,
        qr/application\/ocsp-response/);

    refused('chunked', raw(request_text('PUT', '/certificates/shop', "Content-Type: $PEM",
        'Transfer-Encoding: chunked') . sprintf("%x\r\n%s\r\n0\r\n\r\n", length $chain, $chain)),
        411, qr/Content-Length/);
    refused('without length', raw(request_text('PUT', '/certificates/shop',
        "Content-Type: $PEM")), 411);
    refused('larger than a chain may be', put('/certificates/shop', 'x' x 65537), 413, qr/65536/);
    refused('larger, announced only', raw(request_text('PUT', '/certificates/shop',
        "Content-Type: $PEM", 'Content-Length: 999999', 'Expect: 100-continue')), 413);
    refused('a body for DELETE', raw(request_text('DELETE', '/certificates/shop',
        'Content-Length: 3') . 'abc'), 400, qr/must not have a body/);
    refused('an empty chain', put('/certificates/shop', ''), 422);

    for (['a body that is cut', request_text('PUT', '/certificates/shop',
            "Content-Type: $PEM", 'Content-Length: 5000') . $chain],
        ['a body that stops', [request_text('PUT', '/certificates/shop',
            "Content-Type: $PEM", 'Content-Length: 5000'), 'abc']],
        ['a body that drips', [request_text('PUT', '/certificates/shop',
            "Content-Type: $PEM", 'Content-Length: 5000'), ('x') x 40]])
    {
        my ($what, $text) = @$_;
        my $r = raw($text, 'brief');
        like($r->{status}, qr/^(?:0|400|408)$/, "$what: ended");
        ok($r->{ended}, "$what: by the server");
        cmp_ok($r->{left}, '>', 0, "$what: before it is complete") if $what =~ /drips/;
        unchanged($what);
    }
};

subtest 'chains that must not go live' => sub {
    my $other = Certctl::PKI->ca('Other CA');
    my @tail = ($ca->cert);
    my $weak = new_key('rsa-1024');
    my ($bad, $k);

    refused('not PEM', put('/certificates/shop', 'hello'), 422, qr/no certificate/);
    refused('binary', put('/certificates/shop', join '', map { chr } 0 .. 255), 422, qr/line 1 holds a NUL/);
    refused('PEM of garbage', put('/certificates/shop',
        "$crt-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 422,
        qr/PEM block 2 \(CERTIFICATE\), line \d+: a certificate is not valid DER/);
    refused('PEM that is cut', put('/certificates/shop', substr $chain, 0, 400), 422,
        qr/PEM block 1 \(CERTIFICATE\): line 1 begins it, and no -----END CERTIFICATE----- follows/);
    refused('a request instead', put('/certificates/shop', $pending), 422,
        qr/PEM block 1 \(CERTIFICATE REQUEST\), line 1/);
    refused('eleven certificates', put('/certificates/shop', $crt . $ca->cert x 10), 422, qr/10/);

    refused('a private key', put('/certificates/shop', $chain . $key), 422, qr/private key/);
    refused('keygen=server without a key', put('/certificates/shop?keygen=server', $chain), 422,
        qr/private key/);
    refused('keygen=server, a key of another', given($crt, new_key('ec-p256'), @tail), 422, qr/key/);
    refused('keygen=server, a key that is cut',
        given($crt, "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n", @tail),
        422);
    refused('keygen=server, two keys', given($crt, $key . new_key('ec-p256'), @tail), 422,
        qr/PEM block 4 \(PRIVATE KEY\), line \d+: a second private key/);

    ($bad) = $ca->issue(names => ['shop.example']);
    refused('of a key that is not here', put('/certificates/shop', $bad . $ca->cert), 422, qr/key/);

    my %how = (
        'expired' => { days => -1 }, 'not yet valid' => { from => 86400 },
        'for clients only' => { eku => ['clientAuth'] }, 'a weak key' => { key => $weak },
    );
    for my $what (sort keys %how) {
        ($bad, $k) = $ca->issue(names => ['shop.example'], %{ $how{$what} });
        refused($what, given($bad, $k, @tail), 422);
    }

    ($bad, $k) = ($ca->cert, $ca->key);
    refused('a CA as leaf', given($bad, $k), 422, qr/CA/);
    ($bad, $k) = $other->issue(names => ['shop.example']);
    refused('another CA behind it', given($bad, $k, @tail), 422);
    ($bad, $k) = $ca->issue(names => ['shop.example']);
    refused('wrong order', given($ca->cert, $k, $bad), 422);
    my $dead = $other->sub_ca('Dead CA', days => -1);
    ($bad, $k) = $dead->issue(names => ['shop.example']);
    refused('an expired issuer', given($bad, $k, $dead->cert), 422,
        qr/certificate 2 of the chain \(CN=Dead CA\): it has expired at 20\d\d-\d\d-\d\dT[\d:]{8}Z/);

    ($bad) = $ca->issue(names => ['shop.example', 'more.example'], key => $key);
    refused('a name more than before', put('/certificates/shop', $bad . $ca->cert), 422, qr/name/);
    ($bad) = $ca->issue(names => ['other.example'], key => $key);
    refused('another name than before', put('/certificates/shop', $bad . $ca->cert), 422, qr/name/);
};

subtest 'If-Match' => sub {
    my ($next, $k) = $ca->issue(names => ['shop.example']);

    for my $match ('1', '"0"', 'x' x 100, '"', ' ', 'W/"1"') {
        my $r = put('/certificates/shop?keygen=server', $next . $ca->cert . $k,
            'if-match' => $match);
        refused("If-Match: $match", $r, 412, qr/If-Match/);
    }

    my $r = $api->request('DELETE', "$url/certificates/shop", undef, 'if-match' => '1');
    refused('DELETE', $r, 412, qr/If-Match/);
};

subtest 'OCSP' => sub {
    my $fp = fingerprint($crt);
    my $good = $ca->ocsp($crt);
    my ($other) = $ca->issue(names => ['x.example']);

    my $send = sub {
        my ($path, $der) = @_;
        return $api->put("$url/ocsp/$path", $der, 'content-type' => $OCSP);
    };
    my %bad = ('garbage' => 'garbage', 'nothing' => '', 'cut' => substr($good, 0, -5),
        'more behind it' => $good . 'x', 'also of another' => $ca->ocsp($crt, also => [[$other, 'good']]),
        'unknown' => $ca->ocsp($crt, status => 'unknown'),
        'over' => $ca->ocsp($crt, from => time - 9000, until => time - 60),
        'to come' => $ca->ocsp($crt, from => time + 9000, until => time + 9900),
        'signed by a stranger' => $ca->ocsp($crt, signer => Certctl::PKI->ca('Stranger')),
        'an error' => "\x30\x03\x0a\x01\x03",
        'of another certificate' => $ca->ocsp($crt, for => $other));

    for my $what (sort keys %bad) {
        refused("OCSP: $what", $send->($fp, $bad{$what}), 422);
    }

    refused('OCSP: no such certificate', $send->('0' x 64, $good), 404);
    refused('OCSP: by a name it has not', $send->("$fp?name=other", $good), 404);
    refused('OCSP: by a bad name', $send->("$fp?name=..", $good), 400);
    refused("OCSP: fingerprint $_", $send->($_, $good), 400, qr/fingerprint/)
        for 'abc', 'z' x 64, 'a' x 63, 'a' x 65;
    refused('OCSP: no staple to withdraw', $api->delete("$url/ocsp/$fp"), 404);
    refused('OCSP: larger than it may be', $send->($fp, 'x' x 65537), 413);
};

is($api->get("$url/status")->{status}, 200, 'it still answers');
cmp_ok($api->get("$url/status")->{json}{counters}{rejects}, '>', 100, 'refusals are counted');

$edge->stop;

my $log = $edge->log;
cmp_ok(scalar @canaries, '>', 5, 'keys were sent');
for my $canary (@canaries) {
    my @where = split /\0/, `grep -rlZaF -e '$canary' $dir`;
    is("@where", '', 'no file holds what was sent as a key');
}
ok(index($log, $_) < 0, 'no key in the log') for @canaries;
unlike($log, qr/\[(?:alert|emerg|crit)\]/, 'no alarms in the log');
done_testing();
