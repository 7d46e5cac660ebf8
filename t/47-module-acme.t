#!/usr/bin/perl
# A real ACME server validates names through this host, whatever stands in its
# servers, for a client of Debian's and for one that also does it wrong; what it
# issues for a key of this host is what the next handshake shows.

use strict;
use warnings;
use Certctl::ACME;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint pem_split san_names);
use Certctl::Pebble;
use Certctl::Process qw(alive spawn finish slurp wait_until);
use Certctl::TLS 'handshake';
use Digest::SHA 'sha256_hex';
use IO::Socket::IP;
use IO::Socket::SSL;
use Test::More;

my $why = Certctl::Pebble->missing;
plan skip_all => $why if $why;

my $url = '/certctl/v1';
my $ip6 = !!IO::Socket::IP->new(LocalHost => '::1', Listen => 1);

# what must not come before an answer: each has a name of its own
my %http = (
    'redirect.example' => 'return 301 https://redirect.example$request_uri;',
    'login.example'    => "auth_basic closed;\nauth_basic_user_file %%DIR%%/nobody;",
    'deny.example'     => 'deny all;',
    'rewrite.example'  => 'rewrite ^ /elsewhere permanent;',
    'limit.example'    => 'location / { limit_except POST { deny all; } }',
    'other.example'    => 'location ^~ /.well-known/ { return 404; }',
    '_'                => 'return 444;',
);

my $conf = <<"CONF" . join '', map { <<"SERVER" } sort keys %http;
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl http2;
        @{[ $ip6 ? 'listen [::1]:%%PORT_tls%% ssl http2;' : '' ]}
        server_name .tls.example .client.example;
        certctl on;
        location / { return 200 "site"; }
    }
    server {
        listen 127.0.0.2:%%PORT_tls%% ssl;
        ssl_reject_handshake on;
    }
    server {
        listen unix:%%DIR%%/private/control.sock;
        certctl_agent;
    }
CONF
    server {
        listen 127.0.0.1:%%PORT_http%%;
        @{[ $_ eq '_' ? 'listen 127.0.0.3:%%PORT_http%%;' : '' ]}
        server_name $_;
        $http{$_}
    }
SERVER

my $edge = Certctl::Edge->new(conf => $conf);
mkdir $edge->dir . '/private', 0700;
$edge->start;
my $pebble = Certctl::Pebble->start(http => $edge->port('http'), tls => $edge->port('tls'));
my $acme   = Certctl::ACME->new($pebble);
my $root   = $edge->file('root.pem', $pebble->root);

$pebble->host("$_.reject.example", '127.0.0.2') for qw(a wrong none);

sub control { my ($method, @rest) = @_; return $edge->control->$method(@rest) }
sub status  { return control(get => "$url/status")->{json} }

# A key made on this host, and the request for it.
sub csr {
    my ($record, @names) = @_;
    my $san = join ',', map { /^IP:/ ? $_ : "DNS:$_" } @names;
    my $r = control(post => "$url/certificates/$record/csr?key=ec-p256&san=$san");

    is($r->{status}, 200, "$record: a request") or diag $r->{content};
    return $r->{content};
}

# Of TLS-ALPN-01 this host is told the digest alone.
sub push_challenge {
    my ($type, $name, $auth) = @_;
    my $r = $type eq 'http-01'
        ? control(put => "$url/challenges/http-01/" . $auth =~ s/\..*//r, $auth, 'content-type' => 'text/plain')
        : control(put => "$url/challenges/tls-alpn-01/$name", sha256_hex($auth), 'content-type' => 'text/plain');

    is($r->{status}, 200, "$name: $type is pushed") or diag $r->{content};
    return;
}

# Orders names and has each validated; what is => code is done while they are
# pending. The order, and the authorizations as the server has judged them. A server
# that gave up, as it waits 5 seconds for an answer whatever the machine does, is
# asked again.
sub validate {
    my ($names, $type, %o) = @_;
    my ($order, @judged);

    for (1 .. 20) {
        $order  = $acme->order(@$names);
        @judged = judge($order, $type, %o);
        last if !grep { gave_up(JSON::PP::encode_json($_)) } @judged;
    }

    return ($order, @judged);
}

sub gave_up { return $_[0] =~ /time-?out|deadline exceeded/i }

sub judge {
    my ($order, $type, %o) = @_;
    my @found = $acme->authorizations($order);
    my @judged;

    for my $a (@found) {
        push_challenge($type, $a->{identifier}, ($o{auth} // sub { $_[0] })->(
            $acme->key_authorization($a->{$type}{token}))) if !$o{nothing};
    }

    $o{is}->() if $o{is};

    for my $a (@found) {
        push @judged, $acme->validate($a, $type);
        control(delete => "$url/challenges/$type/" . ($type eq 'http-01' ? $a->{$type}{token} : $a->{identifier}));
    }

    return @judged;
}

sub valid {
    my ($what, @judged) = @_;

    is($_->{status}, 'valid', "$what: $_->{identifier}{value} is valid")
        or diag JSON::PP::encode_json($_), $pebble->log for @judged;
    return;
}

# The chain goes to the module; a client that trusts the CA sees it at once.
sub serve {
    my ($record, $chain, $name) = @_;
    my $r = control(put => "$url/certificates/$record", $chain, 'content-type' => 'application/x-pem-file');

    is($r->{status}, 200, "$record: the chain is taken") or diag $r->{content};
    served($record, $chain, $name);
    return;
}

sub served {
    my ($record, $chain, $name) = @_;

    is(handshake($edge->port('tls'), sni => $name)->{fingerprint}, fingerprint($chain),
        "$record: the next handshake shows it");

    my $client = IO::Socket::SSL->new(PeerHost => '127.0.0.1', PeerPort => $edge->port('tls'),
        SSL_ca_file => $root, SSL_hostname => $name, SSL_verifycn_name => $name,
        SSL_verifycn_scheme => 'http', SSL_verify_mode => SSL_VERIFY_PEER);
    ok($client, "$record: a client that trusts the CA and asks for $name is content") or diag $SSL_ERROR;
    return;
}

# What dehydrated calls: to have a challenge shown, and a certificate served. Its
# key is its own, and goes neither into arguments nor into a file.
my $hook = $edge->file('hook', <<"HOOK", 0755);
#!/bin/sh
# deploy_challenge|clean_challenge NAME TOKEN VALUE: the key authorization, or
# for TLS-ALPN-01 its digest with colons; deploy_cert NAME KEY CERT FULLCHAIN
set -eu

ask() {
    curl -sS --fail-with-body --unix-socket @{[ $edge->dir ]}/private/control.sock -X "\$1" \\
        -H "Content-Type: \$2" --data-binary \@- http://x$url/\$3
}

case \$1:\${4-} in
    deploy_challenge:*:*) echo "\$4" | tr -d ':\\n' | ask PUT text/plain challenges/tls-alpn-01/\$2 ;;
    deploy_challenge:*)   printf %s "\$4" | ask PUT text/plain challenges/http-01/\$3 ;;
    clean_challenge:*:*)  ask DELETE '' challenges/tls-alpn-01/\$2 < /dev/null ;;
    clean_challenge:*)    ask DELETE '' challenges/http-01/\$3 < /dev/null ;;
    deploy_cert:*)        cat "\$5" "\$3" | ask PUT application/x-pem-file "certificates/\$2?keygen=server" ;;
esac
HOOK

# Debian's client, for both types side by side, and for a request of this host.
my %client;

sub run_client {
    my ($how) = @_;
    my ($name, $dir) = @{ $client{$how} }{qw(name dir)};

    return $client{$how}{pid} = spawn("$dir/log", 'sh', '-ec',
        'export TMPDIR="$3"; dehydrated -f "$1" --register --accept-terms; '
            . ($how eq 'request' ? 'exec dehydrated -f "$1" --signcsr "$3/csr.pem" > "$3/chain.pem"'
                : 'exec dehydrated -f "$1" --cron --domain "$2"'),
        'sh', "$dir/config", $name, $dir);
}

for my $how (grep { -x '/usr/bin/dehydrated' } qw(http-01 tls-alpn-01 request)) {
    my $type = $how eq 'request' ? 'http-01' : $how;
    my $name = ($how =~ s/-.*//r) . '.client.example';
    my $dir  = $edge->dir . "/$how";

    mkdir $dir;
    $edge->file("$how/config", join "\n", "CA=@{[ $pebble->directory ]}", "HOOK=$hook",
        "BASEDIR=$dir", "WELLKNOWN=$dir", "CHALLENGETYPE=$type", 'KEYSIZE=2048', 'KEY_ALGO=prime256v1',
        "CURL_OPTS='--cacert @{[ $pebble->ca ]}'", '');
    $edge->file("$how/csr.pem", csr($name, $name)) if $how eq 'request';
    $client{$how} = { name => $name, dir => $dir };
    run_client($how);
}

# first of all: the server may take what it has found valid once for valid again
subtest 'what is wrong is not valid' => sub {
    my $swapped = sub { return $_[0] =~ s/[^.]*$/'A' x 43/er };
    my @wrong = (
        ['a wrong digest',            'tls-alpn-01', 'wrong.tls.example',    auth => $swapped],
        ['a wrong digest, rejecting', 'tls-alpn-01', 'wrong.reject.example', auth => $swapped],
        ['a wrong digest, address',   'tls-alpn-01', 'IP:127.0.0.1',         auth => $swapped],
        ['a wrong thumbprint',        'http-01',     'redirect.example',     auth => $swapped],
        ['nothing pushed, TLS',       'tls-alpn-01', 'none.tls.example',     nothing => 1],
        ['nothing pushed, rejecting', 'tls-alpn-01', 'none.reject.example',  nothing => 1],
        ['nothing pushed, HTTP',      'http-01',     'deny.example',         nothing => 1],
    );

    for my $wrong (@wrong) {
        my ($what, $type, $name, %o) = @$wrong;
        my (undef, $judged) = validate([$name], $type, %o);
        my ($error) = grep { defined } map { $_->{error}{type} } @{ $judged->{challenges} };

        is($judged->{status}, 'invalid', "$what: invalid");
        like($error, $o{nothing} ? qr/:(?:unauthorized|tls|connection)$/ : qr/:(?:unauthorized|incorrectResponse)$/,
            "$what: why");
    }
};

subtest 'HTTP-01' => sub {
    my @names = sort grep { /\./ } keys %http;
    my $csr   = csr('http', @names, 'IP:127.0.0.3');
    my $before = status()->{counters}{challenges_answered};

    my ($order, @judged) = validate([@names, 'IP:127.0.0.3'], 'http-01');
    valid('HTTP-01', @judged);
    cmp_ok(status()->{counters}{challenges_answered}, '>=', $before + @names + 1, 'answered by the module');

    my $chain = $acme->finalize($order, $csr);
    is(san_names($chain), join(',', sort 'IP:127.0.0.3', map { "DNS:$_" } @names), 'the CA has issued all of them');
};

subtest 'TLS-ALPN-01' => sub {
    my @names = ('shop.tls.example', 'a.reject.example', 'IP:127.0.0.1', 'IP:127.0.0.2', $ip6 ? 'IP:::1' : ());
    my $csr   = csr('tls', @names);
    my $site  = handshake($edge->port('tls'), sni => 'shop.tls.example')->{fingerprint};

    my ($order, @judged) = validate(\@names, 'tls-alpn-01', is => sub {
        for my $alpn (undef, ['h2', 'http/1.1'], ['http/1.1']) {
            my $h = handshake($edge->port('tls'), sni => 'shop.tls.example', alpn => $alpn, keep => !$alpn);
            my $what = join ' ', @{ $alpn // ['no ALPN'] };

            is($h->{fingerprint}, $site, "$what: the site's certificate, while a challenge is pending");
            is($h->{alpn}, $alpn && $alpn->[0], "$what: the site's protocol");
            like($h->{answer}, qr/^site$/m, "$what: the site's answer") if !$alpn;
        }

        isnt(handshake($edge->port('tls'), host => '127.0.0.2', sni => 'a.reject.example')->{error}, '',
            'ssl_reject_handshake rejects others');
    });

    valid('TLS-ALPN-01', @judged);
    my $chain = $acme->finalize($order, $csr);
    my @pem   = pem_split($chain);
    cmp_ok(scalar @pem, '>', 1, 'leaf and issuer');
    serve('tls', $chain, 'shop.tls.example');
};

for my $how (sort keys %client) {
    subtest "dehydrated, $how" => sub {
        my ($name, $dir, $pid) = @{ $client{$how} }{qw(name dir pid)};
        my $status;

        for (1 .. 20) {
            ok(wait_until(60, sub { return !alive($pid) }), 'it has ended');
            $status = finish($pid, 0);
            last if $status == 0 || !gave_up(slurp("$dir/log"));
            unlink "$dir/log";
            $pid = run_client($how);
        }

        is($status, 0, 'well') or diag slurp("$dir/log"), $pebble->log;
        like(slurp("$dir/log"), qr/Challenge is valid!/, 'the challenge was valid');

        if ($how eq 'request') {
            serve($name, join('', pem_split(slurp("$dir/chain.pem") // '')), $name);
            return;
        }

        served($name, slurp("$dir/certs/$name/fullchain.pem") // 'none', $name);
    };
}

is(status()->{challenges_pending}, 0, 'nothing is pending');
unlike($edge->log, qr/\[(?:alert|emerg|crit|error)\].*certctl/, 'nothing to alarm anybody');

$pebble->stop;
$edge->stop;

done_testing();
