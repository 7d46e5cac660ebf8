#!/usr/bin/perl
# TLS servers of stream{}: the same certificates, staples and challenges from the
# same store, wherever http{} stands; and what nginx -t says of a wrong one.

use strict;
use warnings;
use Certctl::Edge;
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(finish slurp spawn wait_until);
use Certctl::TLS 'handshake';
use Digest::SHA qw(sha256_hex sha256);
use Test::More;

plan skip_all => "this NGINX has no stream module" if !Certctl::Nginx::stream_module();

my ($version) = `${\ Certctl::Nginx::binary() } -v 2>&1` =~ m{nginx/([\d.]+)};
my $named = join('', map { sprintf '%03d', $_ } split /\./, $version) >= 1025005;

my $ca = Certctl::PKI->ca('Test Root')->sub_ca('Test CA', key => 'rsa-2048');
my @ocsp = (ocsp => 'http://127.0.0.1:1/ocsp');
my ($static, $key, $chain) = $ca->issue(names => ['static.example'], @ocsp, days => 5);
my $say = 'return "$certctl_certificate|$certctl_source|$certctl_fingerprint|$certctl_staple|";';
my $protocols = 'ssl_protocols TLSv1.2 TLSv1.3;';
my $name = $named ? 'server_name site.example;' : '';

my $servers = <<"CONF";
    $protocols
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        $name
        certctl on;
        $say
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        certctl on;
        certctl_certificate pin-1;
        $say
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        certctl on;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
        $say
    }
    server {
        listen 127.0.0.1:%%PORT_4%% ssl;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
        $say
    }
    server { listen 127.0.0.1:%%PORT_5%%; $say }
    server {
        listen 127.0.0.1:%%PORT_7%% ssl;
        certctl on;
        ssl_certificate %%DIR%%/\$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/\$ssl_server_name.key;
        $say
    }
CONF

my $http = <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_6%% ssl;
        server_name site.example;
        certctl on;
    }
CONF

my $edge = Certctl::Edge->new(ca => $ca, workers => 2, stream => "stream { $servers }",
    conf => $http);

$edge->file('static.pem', $chain);
$edge->file('static.key', $key, 0600);

# what variables name is read by the workers
my ($var, $var_key, $var_chain) = $ca->issue(names => ['var.example'], from => -7200);
$edge->file('var.example.pem', $var_chain);
$edge->file('var.example.key', $var_key, 0644);
$edge->start;

sub get { my ($port, @o) = @_; return handshake($edge->port($port), @o) }
sub served { return get(@_)->{fingerprint} }

sub variables {
    return [split /\|/, get(@_, keep => 1)->{answer} // '', -1]->@[0 .. 3];
}

# Nothing stored: a complete TLS server all the same.

my $placeholder = served(1, sni => 'site.example');
is(get(1)->{error}, '', 'a server without ssl_certificate answers');
is($placeholder, served(6, sni => 'site.example'), 'with the placeholder of http{}');
is_deeply([(variables(1))[0, 1]], ['certctl.invalid', 'placeholder'], 'and says so');
is(served(3), fingerprint($static), 'ssl_certificate serves');
is_deeply([(variables(3))[1, 2]], ['static', fingerprint($static)], 'and says so');
is_deeply([variables(4)], [('') x 4], 'where certctl is off there is nothing to say');
is(IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $edge->port(5))->getline,
    '||||', 'nor without TLS');

is(served(7, sni => 'var.example'), fingerprint($var), 'ssl_certificate with variables serves');
is((variables(7, sni => 'var.example'))[1], 'variable', 'and says so');
isnt(get(7, sni => 'missing.example')->{error}, '', 'a file that is not there: no handshake');

# Stored ones, live at the next handshake, in all workers.

my $first = fingerprint(scalar $edge->give('site', names => ['site.example', '*.wild.example']));
my $pin   = fingerprint(scalar $edge->give('pin-1', names => ['pin.example']));

for my $tls ('1.2', '1.3') {
    my @seen = map { served(1, sni => 'site.example', tls => $tls) } 1 .. 8;

    is_deeply(\@seen, [($first) x 8], "by SNI, TLS $tls");
    is(served(1, sni => 'any.wild.example', tls => $tls), $first, "by wildcard, TLS $tls");
    is(served(1, sni => 'other.example', tls => $tls), $named ? $first : $placeholder,
        "other names: as without SNI, TLS $tls");
    is(served(2, sni => 'site.example', tls => $tls), $pin, "the pinned one, TLS $tls");
}

is(served(2), $pin, 'the pinned one without SNI');
is(served(1), $named ? $first : $placeholder, 'without SNI: as for the first server_name');
is_deeply([(variables(1, sni => 'site.example'))[0 .. 2]], ['site', 'store', $first],
    'variables');

is(served(7, sni => 'site.example'), $first, 'before what variables name');
is(served(7, sni => 'var.example'), fingerprint($var), 'which serve the other names');

my $second = fingerprint(scalar $edge->give('site', names => ['site.example', '*.wild.example']));
isnt($second, $first, 'another certificate');
is_deeply([map { served(1, sni => 'site.example') } 1 .. 8], [($second) x 8],
    'swapped without a reload');
is(served(6, sni => 'site.example'), $second, 'in http{} too');

# Each kind of key for who can verify it.

my $rsa = fingerprint(scalar $edge->give('site-rsa', names => ['site.example'], key => 'rsa-2048'));
is(served(1, sni => 'site.example', tls => '1.2', ciphers => 'ECDHE-RSA-AES128-GCM-SHA256'),
    $rsa, 'RSA for a client that knows no other');
is(served(1, sni => 'site.example'), $second, 'ECDSA for the others');

# A static certificate is adopted, and replaced by a newer one.

my $staple = $ca->ocsp($static);
is($edge->control->put('/certctl/v1/ocsp/' . fingerprint($static), $staple,
    'content-type' => 'application/ocsp-response')->{status}, 200, 'a staple for a static one');
is(sha256_hex(get(3)->{staple} // ''), sha256_hex($staple), 'is stapled');
is(get(4)->{staple}, undef, 'not where certctl is off');
is_deeply([(variables(3))[3]], ['fresh'], 'and says so');

my $renewed = fingerprint(scalar $edge->give('static', names => ['static.example'], days => 90));
is(served(3, sni => 'static.example'), $renewed, 'the stored one replaces it');

# The report knows stream servers.

my $report = $edge->control->get('/certctl/v1/certificates')->{content};
like($report, qr/"protocol":\s*"stream"/, 'the report has stream servers');
like($report, qr/"protocol":\s*"stream"[^{}]*127\.0\.0\.1:@{[ $edge->port(2) ]}/,
    'with their addresses');

# TLS-ALPN-01, also where certctl is off.

my $digest = sha256_hex('key authorization');
is($edge->control->put('/certctl/v1/challenges/tls-alpn-01/acme.example', $digest,
    'content-type' => 'text/plain')->{status}, 200, 'a challenge is pushed');

for my $port (1, 4) {
    my $h = get($port, sni => 'acme.example', alpn => ['acme-tls/1']);

    is($h->{alpn}, 'acme-tls/1', "server $port answers it");
    is($h->{error}, '', 'with a handshake');
    isnt($h->{fingerprint}, $_, 'and its own certificate') for $placeholder, fingerprint($static);
}

# A client whose answer is there before NGINX looks for it: its handshake ends
# within one call, and the servers' handlers are not for it either.

my $slow = 'write,sendto';
my @traced = map { spawn($edge->dir . '/strace.log', qw(strace -q -o), $edge->dir . "/strace.$_",
    '-p', $_, '-e', "trace=$slow", '-e', "inject=$slow:delay_exit=30000") } $edge->workers;

for my $pid ($edge->workers) {
    ok(wait_until(10, sub { slurp("/proc/$pid/status") =~ /^TracerPid:\s+[1-9]/m }),
        'a worker is slow to return from a write');
}

for my $port (1, 4, 6) {
    my $h = get($port, sni => 'acme.example', alpn => ['acme-tls/1'], keep => 1);

    is($h->{alpn}, 'acme-tls/1', "server $port answers a quick client");
    is($h->{answer} // '', '', 'and closes');
}

like((variables(1, sni => 'site.example'))[0], qr/^site$/, 'others are answered');
finish($_, 'TERM') for @traced;

is(served(1, sni => 'site.example'), $second, 'others are served as before');
ok($edge->logged(qr/a TLS-ALPN-01 challenge is answered/), 'it is in the log');

# A restart, and stream{} behind http{}.

$edge->stop;
delete $edge->{stream};
$edge->{stream_last} = "stream { $servers }";
$edge->servers($http);
$edge->start;

is(served(1, sni => 'site.example'), $second, 'after a restart, stream{} behind http{}');
is(get(3, sni => 'static.example')->{staple}, undef, 'no staple of the one before it');
is(sha256_hex(get(3)->{staple} // ''), sha256_hex($staple), 'which has its own still');
ok($edge->reload(wait_old => 1), 'reload');
is(served(2), $pin, 'after a reload');
my $third = fingerprint(scalar $edge->give('pin-1', names => ['pin.example']));
is(served(2), $third, 'swapped after a reload');
# a client that writes while "return" closes is NGINX's own to complain of
unlike($edge->log =~ s/^.*SSL_shutdown\(\) failed.*\n//gmr, qr/\[(?:alert|crit|emerg)\]/,
    'nothing to complain of');
$edge->stop;

# By name, where stream has names.

SKIP: {
    skip "stream has no server_name in NGINX $version", 6 if !$named;

    my $virtual = Certctl::Edge->new(ca => $ca, stream => <<"CONF", conf => '');
    stream {
        $protocols
        server {
            listen 127.0.0.1:%%PORT_1%% ssl;
            server_name one.example;
            certctl on;
            certctl_certificate one;
            return one;
        }
        server {
            listen 127.0.0.1:%%PORT_1%% ssl;
            server_name two.example;
            certctl on;
            certctl_certificate two;
            return two;
        }
        server {
            listen 127.0.0.1:%%PORT_1%% ssl;
            server_name no.example;
            ssl_reject_handshake on;
            certctl on;
            return no;
        }
        server {
            listen 127.0.0.1:%%PORT_2%% ssl;
            server_name first.example;
            ssl_certificate %%DIR%%/static.pem;
            ssl_certificate_key %%DIR%%/static.key;
            return first;
        }
        server {
            listen 127.0.0.1:%%PORT_2%% ssl;
            server_name bare.example;
            certctl on;
            return bare;
        }
    }
CONF
    $virtual->file('static.pem', $chain);
    $virtual->file('static.key', $key, 0600);
    $virtual->start;
    my %crt = map { ($_, fingerprint(scalar $virtual->give($_, names => ["$_.example"]))) }
        qw(one two no);

    is(handshake($virtual->port(1), sni => "$_.example")->{fingerprint}, $crt{$_},
        "the server of $_.example") for qw(one two);
    isnt(handshake($virtual->port(1), sni => 'no.example')->{error}, '',
        'ssl_reject_handshake rejects');

    my %bare = (sni => 'bare.example', keep => 1);
    my $h = handshake($virtual->port(2), %bare);
    is_deeply([@$h{qw(fingerprint answer)}], [fingerprint($static), 'bare'],
        'a server without a certificate: the default server\'s');
    my $bare = fingerprint(scalar $virtual->give('bare', names => ['bare.example']));
    is(handshake($virtual->port(2), %bare)->{fingerprint}, $bare, 'stored: its own');
    $virtual->control->delete('/certctl/v1/certificates/bare');
    is(handshake($virtual->port(2), %bare)->{fingerprint}, fingerprint($static), 'deleted: as before');
    $virtual->stop;
}

# What nginx -t refuses.

sub refused {
    my ($what, $pattern, %o) = @_;
    my ($ok, $text) = Certctl::Edge->new(ca => $ca, conf => '', %o)->test;

    ok(!$ok, "$what is refused");
    like($text, $pattern, "$what: what to write");
    return;
}

my $tls = 'listen 127.0.0.1:%%PORT_1%% ssl; return ok;';

refused('a name of no record', qr/invalid certificate name "no\/name": write the name/,
    stream => "stream { server { $tls certctl on; certctl_certificate no/name; } }");
refused('certctl_certificate alone', qr/has no effect while certctl is off: add "certctl on;"/,
    stream => "stream { server { $tls certctl_certificate name; ssl_certificate x; } }");

my ($ok, $text) = Certctl::Edge->new(ca => $ca, conf => '',
    stream => 'stream { server { listen 127.0.0.1:%%PORT_1%%; certctl on; return ok; } }')->test;
ok($ok, 'certctl on without TLS is accepted');
like($text, qr/has no effect without "listen ... ssl;"/, 'with a warning');

my $alone = Certctl::Nginx->new(stream => 1, conf => <<"CONF");
%%MAIN%%
stream { $protocols server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; return ok; } }
CONF
($ok, $text) = $alone->test;
ok(!$ok, 'a stream server without a store is refused');
like($text, qr/no "certctl_store" is defined for the stream server in \S+: add it to the http block/, 'and told what it needs');

$alone->configure(<<"CONF")->start;
%%MAIN%%
stream { $protocols server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; return ok; } }
http { certctl_store %%DIR%%/store; }
CONF
is(handshake($alone->port(1))->{error}, '', 'an http block with certctl_store is enough');
$alone->stop;

$alone->{module} = 0;
$alone->configure("%%MAIN%%\nstream { }\n");
($ok, $text) = $alone->test;
ok(!$ok, 'our stream module without our HTTP module is refused');
like($text, qr/needs ngx_http_certctl_module: put "load_module/, 'and told what it needs');

done_testing();
