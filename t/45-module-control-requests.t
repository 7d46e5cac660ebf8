#!/usr/bin/perl
# Every control request's good path: keys made on the host, chains that go live
# at once, the way back, staples, and the reports that tell of it.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI qw(fingerprint san_names new_key);
use Certctl::Process qw(has_open slurp taken valgrind wait_until write_file);
use Certctl::TLS 'handshake';
use Fcntl qw(LOCK_EX LOCK_UN);
use IO::Handle;
use POSIX ();

my $PEM  = 'application/x-pem-file';
my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(workers => 2, ca => $ca, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name shop.example www.shop.example;
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name "";
        certctl on;
        certctl_certificate any;
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        server_name static.example;
        certctl on;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
    }
CONF
my ($static, $static_key, $static_chain) = $ca->issue(names => ['static.example'],
    ocsp => 'http://127.0.0.1:1/');

$edge->file('static.pem', $static_chain);
$edge->file('static.key', $static_key);
$edge->file('ca.pem', $ca->cert);
$edge->file('ca.key', $ca->key);
$edge->start;

my $api = $edge->control;
my $url = '/certctl/v1';
my $dir = $edge->dir;

sub csr {
    my ($name, $query) = @_;
    return $api->post("$url/certificates/$name/csr?$query");
}

# The CA's answer to a request of PKCS#10, as an operator's CA would give it.
sub sign {
    my ($csr, @options) = @_;
    my $file = write_file("$dir/csr.pem", $csr);

    @options = ('-copy_extensions', 'copyall') if !@options;
    return Certctl::PKI::openssl('x509', '-req', '-in', $file, '-CA', "$dir/ca.pem",
        '-CAkey', "$dir/ca.key", '-days', '30', @options) . $ca->cert;
}

sub put {
    my ($name, $chain, %headers) = @_;
    return $api->put("$url/certificates/$name", $chain, 'content-type' => $PEM, %headers);
}

sub generation { return (entries($_[0]))[0]{generation} }

sub served { return handshake($edge->port($_[0]), sni => $_[1])->{fingerprint} }

# The entries of the report for a record.
sub entries {
    my ($name) = @_;
    return grep { ($_->{name} // '') eq $name }
        @{ $api->get("$url/certificates")->{json}{certificates} };
}

subtest 'status' => sub {
    my $r = $api->get("$url/status");
    my $s = $r->{json};

    is($r->{status}, 200, 'answered');
    is($r->{headers}{'content-type'}, 'application/json', 'as JSON');
    is($r->{headers}{'cache-control'}, 'no-store', 'not to be kept');
    like($s->{$_}, qr/^\d+\.\d+\.\d+/, $_) for qw(version nginx openssl);
    is($s->{os}, 'linux', 'os');
    is($s->{architecture}, (split ' ', `uname -m`)[0], 'architecture');
    is($s->{host}, (split ' ', `uname -n`)[0], 'host');
    is($s->{workers}, 2, 'workers');
    is(scalar @{ $s->{worker_states} }, 2, 'where each is');
    like($s->{started}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'started, RFC 3339');
    cmp_ok($s->{uptime}, '<=', time - $^T, 'uptime');
    is($s->{counters}{commits}, 0, 'nothing was committed');

    $r = $api->request('HEAD', "$url/status");
    is($r->{status} . ($r->{content} // ''), '200', 'HEAD has no body');
};

subtest 'each key type: key and request on the host, chain live at once' => sub {
    for my $type (qw(ec-p256 ec-p384 rsa-2048 rsa-3072 rsa-4096 ed25519)) {
        my $r = csr('shop', "key=$type&san=DNS:shop.example,DNS:www.shop.example");

        is($r->{status}, 200, "$type: answered");
        is($r->{headers}{'content-type'}, $PEM, "$type: PEM");
        is(san_names($r->{content}), 'DNS:shop.example,DNS:www.shop.example',
            "$type: its names");
        unlike($r->{content}, qr/PRIVATE/, "$type: no key in the answer");

        my $chain = sign($r->{content});
        my $put = put('shop', $chain);
        is($put->{status}, 200, "$type: PUT") or diag $put->{content};
        is($put->{json}{fingerprint}, fingerprint($chain), "$type: its fingerprint");
        like($put->{json}{generation}, qr/^\d+$/, "$type: a generation");
        like($put->{json}{not_after}, qr/^\d{4}-.*Z$/, "$type: not_after");

        my %seen = map { (served(1, 'shop.example'), 1) } 1 .. 8;
        is(join(' ', keys %seen), fingerprint($chain), "$type: live in every handshake");

        my ($entry) = entries('shop');
        is($entry->{key_type}, $type, "$type: in the report");

        $api->delete("$url/certificates/shop");
    }
};

subtest 'requests: names, features, the same one again, the same key again' => sub {
    my $sans = 'DNS:any.example,IP:192.0.2.1,IP:2001:db8::1';
    my $one = csr('any', "key=ec-p256&san=$sans&must_staple=1")->{content};

    is(san_names($one), 'DNS:any.example,IP:192.0.2.1,IP:2001:DB8:0:0:0:0:0:1',
        'DNS and IP names');
    like(Certctl::PKI::openssl('req', '-noout', '-text', '-in',
        write_file("$dir/x.pem", $one)), qr/status_request/, 'must-staple');

    my $again = csr('any', "key=ec-p256&san=$sans&must_staple=1&reuse_pending=1");
    is($again->{content}, $one, 'reuse_pending=1: the request that waits');
    isnt(csr('any', "key=ec-p256&san=$sans&reuse_pending=1")->{content}, $one,
        'another feature: another request');
    isnt(csr('any', "key=ec-p384&san=$sans&reuse_pending=1")->{content}, $one,
        'another key type: another request');

    my $two = csr('any', 'key=ec-p256&san=DNS:any.example')->{content};
    isnt($two, csr('any', 'key=ec-p256&san=DNS:any.example')->{content},
        'without it: a new key each time');

    my $new = csr('any', 'key=ec-p256&san=DNS:any.example')->{content};
    my $r = put('any', sign($two));
    is($r->{status}, 422, 'the key that a newer one replaced is gone');
    $r = put('any', sign($new));
    is($r->{status}, 200, 'the newest one waits') or diag $r->{content};

    my $live = served(2, 'anything.example');
    is($live, $r->{json}{fingerprint}, 'pinned: live');

    my $reuse = csr('any', 'reuse_key=1&san=DNS:any.example,DNS:more.example')->{content};
    is(pub($reuse), pub($new), 'reuse_key=1: the same key');
    is(csr('any', 'key=rsa-2048&reuse_key=1&san=DNS:any.example')->{status}, 409,
        'of another type: 409');
    $r = put('any', sign($reuse));
    is($r->{status}, 200, 'and its new names') or diag $r->{content};
};

sub pub {
    my ($csr) = @_;
    return Certctl::PKI::openssl('req', '-noout', '-pubkey', '-in',
        write_file("$dir/x.pem", $csr));
}

subtest 'PUT: again, renewal with the same key, If-Match, keygen=server' => sub {
    my $csr = csr('shop', 'key=ec-p256&san=DNS:shop.example')->{content};
    my $chain = sign($csr);
    my $first = put('shop', $chain)->{json};
    my $commits = $api->get("$url/status")->{json}{counters}{commits};

    my $again = put('shop', $chain);
    is($again->{status}, 200, 'the live chain again');
    is_deeply($again->{json}, $first, 'is no new generation');
    is($api->get("$url/status")->{json}{counters}{commits}, $commits, 'and no commit');

    my $renewed = sign($csr);
    my $r = put('shop', $renewed, 'if-match' => $first->{generation});
    is($r->{status}, 200, 'same key, same names, If-Match fits') or diag $r->{content};
    cmp_ok($r->{json}{generation}, '>', $first->{generation}, 'the generation grows');
    is(served(1, 'shop.example'), fingerprint($renewed), 'live');

    is(put('shop', sign($csr), 'if-match' => $first->{generation})->{status}, 412,
        'If-Match of an earlier generation');
    is(put('shop', sign($csr), 'if-match' => "\"$r->{json}{generation}\"")->{status}, 200,
        'If-Match with quotes');
    is(put('nobody', $chain, 'if-match' => '*')->{status}, 412, 'If-Match: * without a record');

    for my $list ('"1", "%s"', '%s,1', '"%s"') {
        $r = put('shop', $renewed = sign($csr), 'if-match' => sprintf $list, generation('shop'));
        is($r->{status}, 200, "If-Match: $list") or diag $r->{content};
    }
    for my $other ('W/"%s"', '"x%s"', '"1" "%s"', '"1", "%s', '%sx', '%s0') {
        is(put('shop', sign($csr), 'if-match' => sprintf $other, generation('shop'))->{status}, 412,
            "If-Match: $other");
    }

    my ($crt, $key, $whole) = $ca->issue(names => ['shop.example'], key => new_key('rsa-2048'));
    for my $body ($crt . $ca->cert . $key, $key . $crt . $ca->cert) {
        $r = $api->put("$url/certificates/given?keygen=server", $body,
            'content-type' => "$PEM; charset=us-ascii");
        is($r->{status}, 200, 'keygen=server: chain and key') or diag $r->{content};
    }
    is($r->{json}{fingerprint}, fingerprint($crt), 'its fingerprint');
    $api->delete("$url/certificates/given");

    my $made = Certctl::PKI::openssl(qw(ecparam -genkey -name prime256v1));
    like($made, qr/BEGIN EC PARAMETERS.*BEGIN EC PRIVATE KEY/s, 'openssl ecparam -genkey');
    ($crt) = $ca->issue(names => ['ec.example'], key => $made =~ s/.*(?=-----BEGIN EC PRIVATE)//sr);

    for my $body ($crt . $ca->cert . $made, $made . $crt . $ca->cert) {
        $r = $api->put("$url/certificates/ec?keygen=server", $body, 'content-type' => $PEM);
        is($r->{status}, 200, 'its key, as it stands') or diag $r->{content};
        is(served(1, 'ec.example'), fingerprint($crt), 'is served');
        $api->delete("$url/certificates/ec");
    }
};

# A POST under way, with a client of its own: where its status can be read.
sub asks {
    my ($path, $generation) = @_;
    my $pid = open(my $from, '-|') // die "fork: $!";

    return $from if $pid;
    my $client = Certctl::HTTP->new(port => $edge->port('control'), cert => "$dir/controller.pem",
        key => "$dir/controller.key");
    print $client->request('POST', $path, '', 'if-match' => $generation)->{status};
    STDOUT->flush;
    POSIX::_exit(0);
}

subtest 'rollback and DELETE' => sub {
    my ($one) = $edge->give('shop', names => ['shop.example']);
    my ($two, $key, $chain) = $edge->give('shop', names => ['shop.example']);
    my $again = $chain . $key;

    is(served(1, 'shop.example'), fingerprint($two), 'the second is live');
    my $r = $api->post("$url/certificates/shop/rollback");
    is($r->{status}, 200, 'rollback') or diag $r->{content};
    is($r->{json}{fingerprint}, fingerprint($one), 'tells what is live now');
    is(served(1, 'shop.example'), fingerprint($one), 'the first is live again');
    $api->post("$url/certificates/shop/rollback");
    is(served(1, 'shop.example'), fingerprint($two), 'and back');
    is($api->request('POST', "$url/certificates/shop/rollback", '',
        'if-match' => 1)->{status}, 412, 'If-Match that does not fit');

    # both are of the same record when they come, and wait for somebody else's write
    my $now  = $api->put("$url/certificates/shop?keygen=server", $again, 'content-type' => $PEM)->{json}{generation};
    my $lock = "$dir/store/writes/shop";
    link glob("$dir/store/certs/*/shop"), $lock or die "$lock: $!";
    open my $held, '<', $lock or die "$lock: $!";
    flock $held, LOCK_EX;
    my @asked = map { asks("$url/certificates/shop/rollback", $now) } 1, 2;
    ok(wait_until(8, sub { has_open($lock, $edge->workers) == 2 }), 'two of one If-Match at once');
    flock $held, LOCK_UN;
    is(join(' ', sort map { scalar <$_> } @asked), '200 412', 'one is done');
    is(served(1, 'shop.example'), fingerprint($one), 'once');

    $r = $api->delete("$url/certificates/shop");
    is($r->{status}, 200, 'DELETE');
    isnt(served(1, 'shop.example'), fingerprint($one), 'not served any more');
    is($api->delete("$url/certificates/shop")->{status}, 404, 'nothing to delete: 404');
    is($api->post("$url/certificates/shop/rollback")->{status}, 404, 'nor to roll back');
};

subtest 'staples of stored and static certificates' => sub {
    my ($crt) = $edge->give('shop', names => ['shop.example'], ocsp => 'http://127.0.0.1:1/');
    my $type = 'application/ocsp-response';

    my ($entry) = glob "$dir/store/names/ecdsa/*/" . fingerprint($crt);
    ok(-l $entry, 'the store finds a certificate by its fingerprint');

    my $from = time - 60;
    for (['by name', '?name=shop'], ['by fingerprint alone', ''], ['by looking at all', '']) {
        my ($what, $query) = @$_;
        unlink $entry if $what =~ /all/;        # as a crash may lose it
        my $der = $ca->ocsp($crt, from => $from++);
        my $r = $api->put("$url/ocsp/" . fingerprint($crt) . $query, $der,
            'content-type' => $type);
        is($r->{status}, 200, "$what: kept") or diag $r->{content};
        like($r->{json}{next_update}, qr/^\d{4}-.*Z$/, "$what: next_update");
        is(handshake($edge->port(1), sni => 'shop.example')->{staple}, $der,
            "$what: stapled at once");
    }

    my $der = $ca->ocsp($static);
    is($api->put("$url/ocsp/" . uc fingerprint($static), $der, 'content-type' => $type)->{status},
        200, 'of a static one, by upper-case hex');
    is(handshake($edge->port(3), sni => 'static.example')->{staple}, $der, 'stapled');
};

subtest 'the report' => sub {
    my $r = $api->get("$url/certificates");
    my ($shop) = entries('shop');

    is($r->{status}, 200, 'answered');
    is($shop->{source}, 'store', 'source');
    like($shop->{why}, qr/\w/, 'why');
    is_deeply($shop->{server}{names}, ['shop.example', 'www.shop.example'], 'names of the server');
    is_deeply($shop->{server}{listen}, ['127.0.0.1:' . $edge->port(1)], 'where it listens');
    like($shop->{server}{file}, qr/nginx\.conf$/, 'where it is configured');
    cmp_ok($shop->{server}{line}, '>', 1, 'in which line');
    is_deeply($shop->{served_names}, ['shop.example', 'www.shop.example'], 'for which names, as the default server');
    is(fingerprint($shop->{pem}), $shop->{fingerprint}, 'PEM and fingerprint');
    is(scalar(() = $shop->{pem} =~ /BEGIN CERT/g), 2, 'the whole chain');
    is_deeply($shop->{sans}, ['DNS:shop.example'], 'its names');
    is($shop->{kind}, 'ecdsa', 'kind');
    ok($shop->{has_private_key}, 'has its key');
    ok(!$shop->{is_ca}, 'no CA');
    is($shop->{issuer}, 'CN=Test CA', 'issuer');
    cmp_ok($shop->{handshakes}, '>=', 2, 'handshakes');
    like($shop->{last_served}, qr/^\d{4}-.*Z$/, 'last served');
    is($shop->{staple}{state}, 'fresh', 'its staple');
    cmp_ok($shop->{staple}{next_update_seconds}, '>', time, 'until when');

    my @www = grep { grep { $_ eq 'www.shop.example' } @{ $_->{served_names} // [] } }
        @{ $r->{json}{certificates} };
    is(join(' ', map { $_->{source} } @www), 'store', 'a name without a certificate is given the default server\'s');

    my ($own) = grep { ($_->{file} // '') =~ /static\.pem/ } @{ $r->{json}{certificates} };
    is($own->{source}, 'static', 'a static certificate');
    is($own->{fingerprint}, fingerprint($static), 'itself');
    is($own->{staple}{state}, 'fresh', 'with its staple');

    my ($spare) = $edge->give('spare', names => ['spare.example']);
    my ($other) = entries('spare');
    is_deeply($other->{served_names}, ['spare.example'], 'a name of no server_name: the default server serves it');
    is($other->{fingerprint}, fingerprint($spare), 'itself');

    $edge->give('address', names => ['IP:192.0.2.1']);
    my @left = @{ $api->get("$url/certificates")->{json}{unserved} };
    is(join(' ', map { $_->{name} } @left), 'address', 'stored, and served to nobody');
    $api->delete("$url/certificates/address");

    my $odd = "\x{dc}n\"q\" \\ \x{20ac}";
    utf8::encode(my $bytes = $odd);
    $edge->give('odd', names => ['odd.example'], cn => $bytes);
    my ($entry) = entries('odd');
    like($entry->{subject}, qr/^CN=\x{dc}n/, 'a subject that is not plain is still JSON');
    $api->delete("$url/certificates/odd");

    my $etag = $api->get("$url/certificates")->{headers}{etag};
    my $same = $api->get("$url/certificates", undef, 'if-none-match' => $etag);
    is($same->{status}, 304, 'nothing new: 304');
    is($same->{headers}{etag}, $etag, 'with the ETag');
    is($same->{content} // '', '', 'without a body');
    like($etag, qr{^W/"[0-9a-f]+-\d+-\d+"$}, 'a weak one: counters and the time are in the answer, too');

    my $strong = $etag =~ s{^W/}{}r;
    my @known = ([$strong, 304], ["\"a, b\",\t, $etag", 304], ["$strong,\"x\"", 304], ['*', 304],
        ['"x' . substr($strong, 1), 200], ["\"$etag\"", 200], ["\"x\" $etag", 200], ["w/$strong", 200],
        [substr($strong, 1), 200], ["*, $etag", 200]);

    for (@known) {
        my ($listed, $status) = @$_;
        is($api->get("$url/certificates", undef, 'if-none-match' => $listed)->{status}, $status,
            "If-None-Match: $listed");
    }

    is($api->get("$url/certificates", undef, 'if-none-match' => ['"x"', $etag])->{status}, 400,
        'NGINX takes no list on two lines');

    $api->delete("$url/certificates/spare");
    is($api->get("$url/certificates", undef, 'if-none-match' => $etag)->{status}, 200,
        'a change: 200');

    $etag = $api->get("$url/certificates")->{headers}{etag};
    $edge->reload(wait_old => 1);
    is($api->get("$url/certificates", undef, 'if-none-match' => $etag)->{status}, 200,
        'after a reload: 200');

    # a worker of before, whose client was just asking, answers as it was
    # configured: that is not what the next one would say
    my $slow = $edge->connection;
    print $slow "GET $url/certificates HTTP/1.0\r\nHost: x\r\n";
    ok(wait_until(10, sub { taken($slow) }), 'a request that has begun');
    my %old = map { ($_, 1) } $edge->workers;
    $edge->reload;
    ok(wait_until(10, sub { !grep { $old{$_} } $edge->workers }), 'and is held while its worker is told to go');
    print $slow "\r\n";
    my $late = do { local $/; <$slow> };
    like($late, qr{^HTTP/1\.\d 200}, 'is answered by the worker of before');
    ($etag) = $late =~ /^ETag: (\S+)/mi;
    is($api->get("$url/certificates", undef, 'if-none-match' => $etag)->{status}, 200,
        'whose ETag is not that of the next one');
};

subtest 'names of a request in its body' => sub {
    my $form = 'application/x-www-form-urlencoded';
    my @names = map { sprintf('n%02d-', $_) . 'x' x 55 . '.of-eighty.example.' . 'com' } 0 .. 99;
    my $sans = join ',', map { "DNS:$_" } @names;

    my $r = $api->post("$url/certificates/many/csr", "key=ec-p256&san=$sans", 'content-type' => $form);
    is($r->{status}, 200, '100 names of ' . length($names[0]) . ' characters') or diag $r->{content};
    is(Certctl::PKI::san_names($r->{content}), join(',', sort map { "DNS:$_" } @names), 'are in the request');

    my $again = $api->post("$url/certificates/many/csr?reuse_pending=1&key=ec-p256", "san=$sans", 'content-type' => $form);
    is($again->{content}, $r->{content}, 'partly in the query: the pending request again');

    is($api->post("$url/certificates/many/csr?key=ec-p256&san=DNS:few.example", '', 'content-type' => $form)->{status}, 200,
        'an empty form: all is in the query');

    my %bad = (
        'in both' => ['?san=DNS:a.example', 'key=ec-p256&san=DNS:a.example', qr/once|twice/],
        'unknown' => ['', 'key=ec-p256&san=DNS:a.example&days=1', qr/days|unknown|argument/],
        'another request\'s' => ['', 'key=ec-p256&san=DNS:a.example&keygen=server', qr/argument/],
        'no name' => ['', 'key=ec-p256', qr/argument san is required/],
        'not encoded' => ['', 'key=ec-p256&san=DNS:a.example,%zz', qr/percent/],
        'not text' => ['', "key=ec-p256&san=DNS:a.example\0", qr/percent/],
        '101 names' => ['', "key=ec-p256&san=$sans,DNS:one.more.example", qr/100/],
    );
    for my $what (sort keys %bad) {
        my ($query, $body, $rule) = @{ $bad{$what} };
        my $refused = $api->post("$url/certificates/many/csr$query", $body, 'content-type' => $form);

        is($refused->{status}, 400, "$what: refused") or diag $refused->{content};
        like($refused->{json}{error} // '', $rule, "$what: by its rule");
    }
    is($api->post("$url/certificates/many/csr", 'key=ec-p256&san=DNS:a.example', 'content-type' => 'text/plain')->{status},
        415, 'another media type');
    is($api->post("$url/certificates/many/csr", 'san=' . 'x' x 65600, 'content-type' => $form)->{status}, 413, 'too long');
};

subtest 'the listener\'s own identity' => sub {
    my $file = "$dir/store/certctl-agent.fingerprint";
    my $control = $edge->port('control');
    my ($before) = slurp($file) =~ /^([0-9a-f]{64})$/;
    my @client = (cert => "$dir/controller.pem", key => "$dir/controller.key");

    is(handshake($control, @client)->{fingerprint}, $before, 'the file tells it');
    like($edge->log, qr/notice.*fingerprint sha256:$before/, 'and the log');
    is((stat $file)[2] & 0777, 0644, 'everybody may read it');

    my $csr = csr('_agent', 'key=ec-p256&san=DNS:edge1.example,URI:urn:certctl:agent:ag-1');
    is($csr->{status}, 200, 'a key for the identity') or diag $csr->{content};
    write_file("$dir/fleet.key", $edge->{fleet}->key, 0600);
    my $crt = Certctl::PKI::openssl('x509', '-req', '-in',
        write_file("$dir/csr.pem", $csr->{content}), '-CA', "$dir/fleet.pem", '-CAkey',
        "$dir/fleet.key", '-days', '30', '-copy_extensions', 'copyall');

    my $r = put('_agent', $crt . $edge->{fleet}->cert);
    is($r->{status}, 200, 'installed') or diag $r->{content};
    is(handshake($control, @client)->{fingerprint}, fingerprint($crt),
        'the next connection shows it, without a reload') for 1 .. 6;
    is(slurp($file), fingerprint($crt) . "\n", 'the file tells the new one');
    isnt(served(1, 'edge1.example'), fingerprint($crt), 'no site serves it');
    is($api->delete("$url/certificates/_agent")->{status}, 403, 'it cannot be deleted');

    $edge->stop;
    $edge->start;
    is(handshake($control, @client)->{fingerprint}, fingerprint($crt), 'kept over a restart');
};

$edge->stop;
# beneath valgrind an RSA-4096 key may take the minute that NGINX is alarmed at
my $slow = valgrind() ? qr/.*control request is still running.*/ : qr/(?!)/;
unlike($edge->log =~ s/$slow//gr, qr/\[(?:alert|emerg|crit)\]/, 'no alarms in the log');
done_testing();
