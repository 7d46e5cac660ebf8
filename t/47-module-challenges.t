#!/usr/bin/perl
# ACME challenges: what was pushed is answered by every server of the host,
# whatever stands in it; everybody else is served as without them.

use strict;
use warnings;
use Certctl::Edge;
use Certctl::Process qw(run slurp wait_until alive);
use Certctl::TLS 'handshake';
use Digest::SHA qw(sha256 sha256_hex);
use IO::Socket::INET;
use MIME::Base64 'decode_base64';
use POSIX ();
use Test::More;

# after an answer to TLS-ALPN-01 the server has closed, also while we write
$SIG{PIPE} = 'IGNORE';

my $url   = '/certctl/v1/challenges';
my $thumb = 'Abc-_' . '0' x 38;
my $acme  = ['acme-tls/1'];
my $conf  = <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl http2;
        server_name shop.example;
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_reject%% ssl;
        ssl_reject_handshake on;
    }
    server {
        listen 127.0.0.1:%%PORT_mutual%% ssl;
        server_name shop.example;
        certctl on;
        ssl_protocols TLSv1.3;
        ssl_verify_client on;
        ssl_client_certificate %%DIR%%/fleet.pem;
    }
    server {
        listen 127.0.0.1:%%PORT_redirect%%;
        return 301 https://shop.example/;
    }
    server {
        listen 127.0.0.1:%%PORT_closed%%;
        auth_basic closed;
        auth_basic_user_file %%DIR%%/nobody;
        deny all;
        rewrite ^ /elsewhere last;
    }
    server {
        listen 127.0.0.1:%%PORT_own%%;
        location /.well-known/acme-challenge/ { return 200 "own $request_method"; }
    }
    server {
        listen 127.0.0.1:%%PORT_off%%;
        certctl_challenge off;
        return 204;
    }
    server {
        listen 127.0.0.1:%%PORT_offtls%% ssl;
        certctl on;
        certctl_challenge off;
    }
CONF

my $edge = Certctl::Edge->new(conf => $conf);
$edge->start;

sub put {
    my ($e, $path, $body, %headers) = @_;
    return $e->control->put("$url/$path", $body, 'content-type' => 'text/plain', %headers);
}

sub http01 {
    my ($e, $token, $query) = @_;
    return put($e, "http-01/$token" . ($query // ''), "$token.$thumb");
}

sub status { return $_[0]->control->get('/certctl/v1/status')->{json} }

# One request as it is on the line: status, head, body; kept when the server
# keeps a connection that it was not asked to close.
sub ask {
    my ($e, $port, $path, $method, $keep) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $e->port($port),
        Timeout => 10) or return { status => 0 };

    print $s $method // 'GET', " $path HTTP/1.1\r\nHost: any.example\r\n",
        $keep ? '' : "Connection: close\r\n", "\r\n";
    local $SIG{ALRM} = sub { die "the connection is kept\n" };
    my $text = '';
    eval {
        alarm 10;
        while (sysread $s, my $more, 65536) { $text .= $more }
        alarm 0;
    };
    my $kept = $@ ? 1 : 0;
    alarm 0;
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    my ($status) = ($head // '') =~ m{^HTTP/1.1 (\d+)};
    return { status => $status // 0, head => $head // '', body => $body // '', kept => $kept };
}

sub well_known { return "/.well-known/acme-challenge/$_[0]" }

subtest 'HTTP-01' => sub {
    is(ask($edge, 'redirect', well_known('token-1'))->{status}, 301, 'nothing is pending: redirected');

    my $r = http01($edge, 'token-1');
    is($r->{status}, 200, 'pushed') or diag $r->{content};
    is($r->{json}{name}, 'token-1', 'answers the name');
    like($r->{json}{expires}, qr/^\d{4}-\d\d-\d\dT[\d:]+Z$/, 'and when it expires');
    is($r->{headers}{'cache-control'}, 'no-store', 'not to be kept');

    for my $port (qw(redirect closed own)) {
        my $a = ask($edge, $port, well_known('token-1'), 'GET', 1);
        is($a->{status}, 200, "$port: answered");
        is($a->{body}, "token-1.$thumb", "$port: the key authorization");
        like($a->{head}, qr{^Content-Type: application/octet-stream\r?$}m, "$port: type");
        like($a->{head}, qr/^Connection: close\r?$/m, "$port: close");
        ok(!$a->{kept}, "$port: closed");
    }

    my $head = ask($edge, 'redirect', well_known('token-1'), 'HEAD');
    is($head->{status}, 200, 'HEAD: answered');
    like($head->{head}, qr/^Content-Length: 51\r?$/m, 'HEAD: length');
    is($head->{body}, '', 'HEAD: no body');

    is(ask($edge, 'own', well_known('token-2'))->{body}, 'own GET', 'unknown token: falls through');
    is(ask($edge, 'own', well_known('token-1'), 'POST')->{body}, 'own POST', 'POST: falls through');
    is(ask($edge, 'own', well_known('token-1/x'))->{body}, 'own GET', 'a longer path: falls through');
    is(ask($edge, 'own', well_known('TOKEN-1'))->{body}, 'own GET', 'another case: falls through');
    is(ask($edge, 'own', well_known(''))->{body}, 'own GET', 'no token: falls through');
    is(ask($edge, 'own', well_known('a' x 1000))->{body}, 'own GET', 'a long token: falls through');
    is(ask($edge, 'redirect', '/')->{status}, 301, 'another path: redirected');
    is(ask($edge, 'closed', well_known('token-2'))->{status}, 403, 'unknown token: denied');
    is(ask($edge, 'off', well_known('token-1'))->{status}, 204, 'certctl_challenge off');
    is($edge->control->get(well_known('token-1'))->{status}, 404, 'not on the control listener');

    is($edge->control->delete("$url/http-01/token-1")->{json}{deleted}, 1, 'deleted');
    is(ask($edge, 'redirect', well_known('token-1'))->{status}, 301, 'redirected again');
    is($edge->control->delete("$url/http-01/token-1")->{status}, 200, 'deleted once more');
};

sub text_of {
    my ($pem, @what) = @_;
    $edge->file('leaf.pem', $pem);
    run($edge->dir . '/x509.txt', qw(openssl x509 -noout -in), $edge->dir . '/leaf.pem', @what);
    return slurp($edge->dir . '/x509.txt');
}

# A PUT that is sent once, whatever happens; its status, 0 without an answer.
sub put_once {
    my ($e, $token) = @_;
    my $s = $e->connection;
    my $body = "$token.$thumb";

    print $s join "\r\n", "PUT $url/http-01/$token HTTP/1.1", 'Host: x', 'Connection: close',
        'Content-Type: text/plain', 'Content-Length: ' . length $body, '', $body;
    my $line = <$s> // '';
    return $line =~ m{^HTTP/1.1 (\d+)} ? $1 : 0;
}

# The certificate is just what RFC 8737 3 asks for.
sub answers {
    my ($what, $h, $digest, $san) = @_;

    is($h->{error}, '', "$what: handshake") or return;
    is($h->{alpn}, 'acme-tls/1', "$what: acme-tls/1");
    is(scalar @{ $h->{chain} }, 1, "$what: one certificate");

    my $der  = decode_base64($h->{leaf} =~ s/-----.*?-----//gr);
    my $text = text_of($h->{leaf}, '-text');

    ok(index($der, "\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x1f\x01\x01\xff\x04\x22\x04\x20$digest") > 0,
        "$what: critical acmeIdentifier with the digest");
    like($text, qr/Subject Alternative Name:\s*\n\s*\Q$san\E\s*\n/, "$what: exactly its name");
    like($text, qr/NIST CURVE: P-256/, "$what: P-256");
    my ($issuer, $subject) = text_of($h->{leaf}, '-issuer', '-subject') =~ /^issuer=(.*)\nsubject=(.*)$/m;
    is($issuer, $subject, "$what: issued by itself");
    is(run($edge->dir . '/verify.txt', qw(openssl verify -ignore_critical -partial_chain -trusted),
        ($edge->dir . '/leaf.pem') x 2), 0, "$what: signed by itself") or diag slurp($edge->dir . '/verify.txt');
    return;
}

subtest 'TLS-ALPN-01' => sub {
    my $digest = sha256("token.$thumb");
    my %sni = ('shop.example' => ['shop.example', 'DNS:shop.example'],
        '192.0.2.7' => ['7.2.0.192.in-addr.arpa', 'IP Address:192.0.2.7'],
        '2001%3adb8::1' => ['1.' . '0.' x 23 . '8.b.d.0.1.0.0.2.ip6.arpa', 'IP Address:2001:DB8:0:0:0:0:0:1'],
        'Mixed.Example' => ['mixed.example', 'DNS:mixed.example']);
    my $before = handshake($edge->port('tls'), sni => 'shop.example')->{fingerprint};

    for my $port (qw(tls reject mutual)) {
        isnt(handshake($edge->port($port), sni => 'shop.example', alpn => $acme)->{error}, '',
            "$port: nothing is pending: no handshake");
    }

    for my $name (sort keys %sni) {
        my $r = put($edge, "tls-alpn-01/$name", unpack 'H*', $digest);
        is($r->{status}, 200, "$name: pushed") or diag $r->{content};
        my ($sni, $san) = @{ $sni{$name} };

        for my $port (qw(tls reject mutual)) {
            answers("$name on $port", handshake($edge->port($port), sni => $sni, alpn => $acme), $digest, $san);
        }
    }

    answers("TLS $_", handshake($edge->port('tls'), sni => 'SHOP.example', alpn => $acme, tls => $_),
        $digest, 'DNS:shop.example') for '1.2', '1.3';
    is(handshake($edge->port('tls'), sni => 'shop.example', alpn => $acme, keep => 1)->{answer}, undef,
        'no HTTP is spoken');
    unlike(slurp($edge->dir . '/error.log'), qr/\[(alert|emerg|crit)\]/, 'nothing to alarm anybody');

    my $h2 = handshake($edge->port('tls'), sni => 'shop.example', alpn => ['h2', 'http/1.1']);
    is($h2->{fingerprint}, $before, 'h2: the certificate of the site');
    is($h2->{alpn}, 'h2', 'h2: chosen');

    my $both = handshake($edge->port('tls'), sni => 'shop.example', alpn => ['acme-tls/1', 'http/1.1']);
    is($both->{fingerprint}, $before, 'one of two protocols: the certificate of the site');
    is($both->{alpn}, 'http/1.1', 'one of two protocols: the other is chosen');

    is(handshake($edge->port('tls'), sni => 'shop.example')->{fingerprint}, $before, 'no ALPN: the site');
    isnt(handshake($edge->port('tls'), sni => 'other.example', alpn => $acme)->{error}, '', 'another name: refused');
    isnt(handshake($edge->port('tls'), alpn => $acme)->{error}, '', 'no name: refused');
    isnt(handshake($edge->port('reject'), sni => 'shop.example')->{error}, '', 'rejected as before');
    isnt(handshake($edge->port('offtls'), sni => 'shop.example', alpn => $acme)->{error}, '', 'certctl_challenge off');

    # no session of the site becomes an answer, no answer a session
    my $kept = handshake($edge->port('tls'), sni => 'shop.example', tls => '1.2', keep => 1)->{session};
    my $again = handshake($edge->port('tls'), sni => 'shop.example', tls => '1.2', alpn => $acme, session => $kept);
    is($again->{reused}, 0, 'a session of the site is not resumed');
    is($again->{alpn}, 'acme-tls/1', 'but answered');

    my $other = sha256('another');
    put($edge, 'tls-alpn-01/shop.example', uc unpack 'H*', $other);
    answers('replaced', handshake($edge->port('tls'), sni => 'shop.example', alpn => $acme), $other, 'DNS:shop.example');

    is($edge->control->delete("$url/tls-alpn-01/SHOP.example")->{status}, 200, 'deleted');
    isnt(handshake($edge->port('tls'), sni => 'shop.example', alpn => $acme)->{error}, '', 'refused again');
    $edge->control->delete("$url/tls-alpn-01/$_") for keys %sni;
};

subtest 'refusals' => sub {
    my $hex = 'ab' x 32;
    my @bad = (
        ['http-01/a.b',                "a.b.$thumb",  400, qr/token/],
        ['http-01/' . 'a' x 129,       'x',           400, qr/token/],
        ['http-01/a%2fb',              'x',           400, qr/token/],
        ['http-01/t',                  "u.$thumb",    422, qr/8555/],
        ['http-01/t',                  't',           422, qr/8555/],
        ['http-01/t',                  't.',          422, qr/43/],
        ['http-01/t',                  "t.${thumb}x", 422, qr/43/],
        ['http-01/t',                  "t.$thumb\n",  422, qr/43/],
        ['http-01/t',                  't.' . '=' x 43, 422, qr/43/],
        ['http-01/t',                  'x' x 173,     413, qr/172/],
        ['http-01/t?ttl=0',            "t.$thumb",    400, qr/ttl/],
        ['http-01/t?ttl=86401',        "t.$thumb",    400, qr/ttl/],
        ['http-01/t?ttl=x',            "t.$thumb",    400, qr/ttl/],
        ['http-01/t?key=ec-p256',      "t.$thumb",    400, qr/argument/],
        ['tls-alpn-01/*.example',      $hex,          400, qr/identifier/],
        ['tls-alpn-01/a..b',           $hex,          400, qr/identifier/],
        ['tls-alpn-01/.a',             $hex,          400, qr/identifier/],
        ['tls-alpn-01/a.',             $hex,          400, qr/identifier/],
        ['tls-alpn-01/' . 'a' x 64,    $hex,          400, qr/identifier/],
        ['tls-alpn-01/2001:db8:::1',   $hex,          400, qr/identifier/],
        ['tls-alpn-01/a.example',      'ab' x 31,     422, qr/64 hex/],
        ['tls-alpn-01/a.example',      'gg' x 32,     422, qr/64 hex/],
        ['tls-alpn-01/a.example',      'ab' x 33,     413, qr/64 bytes/],
        ['tls-alpn-01/a.example',      "t.$thumb",    422, qr/SHA-256/],
    );

    for my $bad (@bad) {
        my ($path, $body, $status, $rule) = @$bad;
        my $r = put($edge, $path, $body);
        my $what = substr "$path <- $body", 0, 60;

        $what =~ tr/\n/ /;
        is($r->{status}, $status, "$what: $status") or diag $r->{content};
        like($r->{json}{error} // '', $rule, "$what: the rule");
    }

    is(put($edge, 'http-01/t', "t.$thumb", 'content-type' => 'application/json')->{status}, 415, 'another media type');
    is($edge->control->get("$url/http-01/t")->{status}, 405, 'what is pending cannot be read');
    is(status($edge)->{challenges_pending}, 0, 'nothing is pending');
};

subtest 'expiry, number, reload, restart' => sub {
    my $answered = status($edge)->{counters}{challenges_answered};

    is(http01($edge, 'short', '?ttl=1')->{status}, 200, 'one for a second');
    ok(wait_until(10, sub { ask($edge, 'redirect', well_known('short'))->{status} == 301 }), 'expired');

    is(put($edge, 'tls-alpn-01/short.example?ttl=1', 'ab' x 32)->{status}, 200, 'and of the other type');
    ok(wait_until(10, sub {
        return handshake($edge->port('reject'), sni => 'short.example', alpn => $acme)->{error} ne '';
    }), 'expired, whatever was shown before');

    # each worker has a clock of its own
    ok(wait_until(10, sub { return status($edge)->{challenges_pending} == 0 }), 'none is pending');

    my $refused = 0;
    http01($edge, "many-$_")->{status} == 200 or $refused++ for 1 .. 512;
    is($refused, 0, '512 are taken');
    is(status($edge)->{challenges_pending}, 512, 'and pending');

    my $r = http01($edge, 'one-more');
    is($r->{status}, 507, 'one more is too many');
    like($r->{json}{error}, qr/512 challenges/, 'by its rule');
    is(put($edge, 'tls-alpn-01/one.example', 'ab' x 32)->{status}, 507, 'of whatever type');
    is(http01($edge, 'many-7')->{status}, 200, 'one that is there is replaced');
    is(ask($edge, 'redirect', well_known("many-$_"))->{body}, "many-$_.$thumb", "many-$_ is answered") for 1, 7, 512;
    cmp_ok(status($edge)->{counters}{challenges_answered}, '>=', $answered + 3, 'answers are counted');

    $edge->control->delete("$url/http-01/many-9");
    is(http01($edge, 'brief', '?ttl=1')->{status}, 200, 'a place that was given back');
    ok(wait_until(10, sub { http01($edge, 'one-more')->{status} == 200 }), 'a place whose challenge has expired');

    put($edge, 'tls-alpn-01/late.example', 'ab' x 32);
    $edge->control->delete("$url/http-01/many-$_") for 2 .. 500;
    put($edge, 'tls-alpn-01/late.example', 'ab' x 32);

    my $pending = status($edge)->{challenges_pending};
    $edge->reload(wait_old => 1);
    is(status($edge)->{challenges_pending}, $pending, 'a reload keeps them');
    is(ask($edge, 'redirect', well_known('many-1'))->{status}, 200, 'HTTP-01 after a reload');
    is(handshake($edge->port('reject'), sni => 'late.example', alpn => $acme)->{error}, '', 'TLS-ALPN-01 after a reload');

    $edge->kill_worker(($edge->workers)[0]);
    is(ask($edge, 'redirect', well_known('many-1'))->{status}, 200, 'HTTP-01 after a worker was killed');

    my @say = slurp($edge->dir . '/error.log') =~ /(\Q$thumb\E)/g;
    is(scalar @say, 0, 'no key authorization in the log');

    $edge->stop;
    $edge->start;
    is(status($edge)->{challenges_pending}, 0, 'a restart forgets them');
};

$edge->stop;

# A process that has the number of one that is gone; undef where numbers cannot be
# chosen. The next ones are what they would have been: who looks for a process that
# has just ended shall not find another.
sub namesake {
    my ($pid) = @_;
    my $file = '/proc/sys/kernel/ns_last_pid';

    pipe my $end, my $open or die "pipe: $!";
    for (1 .. 200) {
        my $last = slurp($file) // return;
        open my $out, '>', $file or return;
        syswrite $out, $pid - 1 or return;

        my $new = fork // die "fork: $!";
        if (!$new) {
            close $open;
            sysread $end, my $nothing, 1;       # until the test closes it, or ends
            POSIX::_exit(0);
        }

        sysseek $out, 0, 0;
        syswrite $out, $last;
        return ($new, $open) if $new == $pid;
        kill 'KILL', $new;
        waitpid $new, 0;
    }

    return;
}

for my $place (qw(challenge.write.begun challenge.write.copied)) {
    subtest "killed at $place" => sub {
        my $e = Certctl::Edge->new(workers => 1, points => 1, conf => $conf,
            env => { CERTCTL_POINT => "$place:2", CERTCTL_POINT_ACT => 'kill' });
        $e->start;
        my ($worker) = $e->workers;

        is(http01($e, 'first')->{status}, 200, 'one before');
        is(put_once($e, 'second'), 0, 'no answer');
        ok(wait_until(10, sub { !alive($worker) && $e->workers == 1 }), 'the worker was killed, and replaced');
        my ($namesake, $open) = namesake($worker);
        note('without another process of its number') if !$namesake;

        is(ask($e, 'redirect', well_known('first'))->{status}, 200, 'the one before is answered');
        is(ask($e, 'redirect', well_known('second'))->{status}, 301, 'the half written one is not');
        is(status($e)->{challenges_pending}, 1, 'nor pending');
        is(http01($e, 'second')->{status}, 200, 'pushed again');
        is(ask($e, 'redirect', well_known('second'))->{body}, "second.$thumb", 'and answered');
        is(status($e)->{challenges_pending}, 2, 'both are pending');
        kill 'KILL', $namesake if $namesake;
        waitpid $namesake, 0 if $namesake;
        $e->stop;
    };
}

done_testing();
