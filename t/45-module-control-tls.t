#!/usr/bin/perl
# Who may command a host: only the controller, over TLS 1.3 without resumption,
# or whoever the file system lets to a unix socket; and how a listener that
# would let others in is refused before it listens.

use strict;
use warnings;
use Cwd ();
use Test::More;
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI qw(fingerprint);
use Certctl::Process qw(run slurp wait_until);
use Certctl::TLS 'handshake';
use IO::Socket::UNIX;
use JSON::PP ();

my $edge = Certctl::Edge->new(workers => 1, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name shop.example;
        certctl on;
    }
    server {
        listen unix:%%DIR%%/private/control.sock;
        location /certctl/ { certctl_agent; }
        location / { return 204; }
    }
CONF
my $dir = $edge->dir;

mkdir "$dir/private", 0700 or die "$dir/private: $!";
$edge->start;

my $fleet   = $edge->{fleet};
my $control = $edge->port('control');
my $serial  = 0;

# A client with a certificate of its own.
sub client {
    my ($ca, %o) = @_;
    my $base = "$dir/client" . $serial++;
    my ($crt, $key) = $ca->issue(eku => ['clientAuth'], cn => 'client', %o);

    $edge->file($base =~ s{.*/}{}r . '.pem', $crt . $ca->chain);
    $edge->file($base =~ s{.*/}{}r . '.key', $key, 0600);
    return (cert => "$base.pem", key => "$base.key");
}

sub rejects {
    return $edge->control->get('/certctl/v1/status')->{json}{counters}{rejects};
}

# A handshake that must not succeed: an answer never comes.
sub fails {
    my ($what, $log, %o) = @_;
    my $before = rejects();
    my $h = handshake($control, keep => 1, %o);

    is($h->{answer} // '', '', "$what: no answer");
    ok($edge->logged($log), "$what: the log tells why");
    is(rejects(), $before + 1, "$what: counted once");
    return;
}

my @controller = ('URI:urn:certctl:controller');
my $other = Certctl::PKI->ca('Fleet CA');            # the same name, another key

subtest 'who may not connect' => sub {
    fails('no certificate', qr/refused: no client certificate/);
    fails('another CA', qr/refused: .*(?:signature|issuer|certificate)/i, client($other, names => \@controller));
    fails('expired', qr/refused: certificate has expired/, client($fleet, names => \@controller, days => -1));
    fails('not yet valid', qr/refused: certificate is not yet valid/,
        client($fleet, names => \@controller, from => 86400));
    fails('for servers only', qr/refused: .*purpose/,
        client($fleet, names => \@controller, eku => ['serverAuth']));
    fails('self-signed', qr/refused: self-signed certificate/,
        client($fleet, names => \@controller, self_signed => 1));

    my $deep = $fleet;
    $deep = $deep->sub_ca("CA $_") for 1 .. 5;
    fails('a chain too deep', qr/refused: .*(?:chain too long|issuer)/, client($deep, names => \@controller));
};

subtest 'who may connect, but not command' => sub {
    my %who = (
        'an agent' => [['URI:urn:certctl:agent:ag-1'], qr/an agent may not send control requests/],
        'an agent that calls itself controller' =>
            [['URI:urn:certctl:agent:ag-1', @controller], qr/an agent may not send control requests/],
        'nobody' => [['DNS:edge1.example'], qr/urn:certctl:controller/],
        'a lookalike' => [['URI:urn:certctl:controllers'], qr/urn:certctl:controller/],
        'a prefix' => [['URI:urn:certctl:control'], qr/urn:certctl:controller/],
        'a DNS name' => [['DNS:urn.certctl.controller'], qr/urn:certctl:controller/],
    );

    for my $what (sort keys %who) {
        my ($names, $rule) = @{ $who{$what} };
        my $api = Certctl::HTTP->new(port => $control, client($fleet, names => $names));

        for (['GET', 'status'], ['DELETE', 'certificates/shop'], ['GET', 'nothing'],
            ['POST', 'certificates/x/csr?key=ec-p256&san=DNS:x.example'])
        {
            my $r = $api->request($_->[0], "/certctl/v1/$_->[1]");
            is($r->{status}, 403, "$what: $_->[0] $_->[1]");
            like($r->{json}{error}, $rule, "$what: the rule");
        }
    }

    my $api = Certctl::HTTP->new(port => $control, client($fleet->sub_ca('Fleet 2'), names => \@controller));
    is($api->get('/certctl/v1/status')->{status}, 200, 'a controller of an intermediate of the fleet CA may');
};

subtest 'TLS' => sub {
    my @who = (cert => "$dir/controller.pem", key => "$dir/controller.key");
    my $h = handshake($control, @who, keep => 1);

    is($h->{protocol}, 'TLSv1.3', 'TLS 1.3');
    ok(!Net::SSLeay::SESSION_is_resumable($h->{session}), 'no ticket') if defined &Net::SSLeay::SESSION_is_resumable;
    is(handshake($control, @who, keep => 1, session => $h->{session})->{reused}, 0, 'no resumption');
    isnt(handshake($control, @who, tls => '1.2')->{error}, '', 'no TLS 1.2');

    my $out = `openssl s_client -connect 127.0.0.1:$control -cert $dir/controller.pem -key $dir/controller.key -sess_out $dir/session </dev/null 2>&1`;
    unlike($out, qr/Post-Handshake New Session Ticket/, 'openssl: no ticket arrived');
    unlike($out, qr/Max Early Data: [1-9]/, 'openssl: no early data');
    like($out, qr/Acceptable client certificate CA names\nCN ?= ?Fleet CA/, 'it says which CA it wants');

    # a verified session of another listener is none here
    my $site = handshake($edge->port(1), @who, keep => 1);
    is(handshake($control, session => $site->{session}, keep => 1)->{answer} // '', '',
        'a session of another server is no way in');
};

subtest 'unix socket' => sub {
    my $get = sub {
        my $s = IO::Socket::UNIX->new(Peer => "$dir/private/control.sock") or die "socket: $!";
        print $s "GET $_[0] HTTP/1.0\r\n\r\n";
        local $/;
        return scalar <$s>;
    };

    like($get->('/certctl/v1/status'), qr{^HTTP/1\.1 200 .*"version"}s, 'answers without TLS');
    like($get->('/else'), qr{^HTTP/1\.1 204 }, 'and its other locations');
};

subtest 'what the configuration may not say' => sub {
    my $agent = 'listen 127.0.0.1:%%PORT_2%% ssl; certctl_agent;';
    my %bad = (
        'no TLS' => ['server { listen 127.0.0.1:%%PORT_2%%; certctl_agent; }',
            qr/needs TLS: write "listen 127\.0\.0\.1:\d+ ssl;"/],
        'no listen at all' => ['server { certctl_agent; }', qr/needs TLS: write "listen/],
        'one listen without TLS' => ['server { listen 127.0.0.1:%%PORT_3%%; ' . "$agent }",
            qr/needs TLS/],
        # 1.22 knows no QUIC
        'over QUIC' => ['server { listen 127.0.0.1:%%PORT_3%% quic; ' . "$agent }",
            qr/needs TLS: write "listen 127\.0\.0\.1:\d+ ssl;"|parameter (?:"quic"|requires)/],
        'in a location without TLS' =>
            ['server { listen 127.0.0.1:%%PORT_2%%; location /c { certctl_agent; } }', qr/needs TLS/],
        'a shared address' => ["server { $agent } server { listen 127.0.0.1:%%PORT_2%% ssl; server_name b; certctl on; }",
            qr/shares 127\.0\.0\.1:\d+ with another server/],
        'ssl_verify_client' => ["server { $agent ssl_verify_client optional_no_ca; }",
            qr/remove "ssl_verify_client"/],
        'twice' => ["server { $agent certctl_agent; }", qr/is duplicate/],
        'beside another handler' => ["server { $agent location / { stub_status; certctl_agent; } }",
            qr/another handler/],
        'a socket in an open folder' => ['server { listen unix:%%DIR%%/open.sock; certctl_agent; }',
            qr/every user can enter the directory .*: run "chmod o-x/],
        'a pinned certificate' => ["certctl on; server { $agent certctl_certificate a.example; }",
            qr/"certctl_certificate" has no effect beside "certctl_agent"/],
    );

    for my $what (sort keys %bad) {
        my ($conf, $rule) = @{ $bad{$what} };
        my ($ok, $say) = $edge->servers($conf)->test;

        ok(!$ok, "$what: refused");
        like($say, $rule, "$what: says what to write");
    }

    # a socket without a folder is in the one that NGINX is started in
    my @command = $edge->servers('server { listen unix:open.sock; certctl_agent; }')->command('-t');
    my $house = Cwd::getcwd();

    chdir $dir;
    isnt(run("$dir/test.log", @command), 0, 'a socket in the open folder it is started in: refused');
    chdir $house;
    like(slurp("$dir/test.log"), qr/every user can enter the directory "\." of its unix socket/, 'and says so');

    for (['no certctl_trust', qr/certctl_trust [^;]*;/, '', qr/certctl_agent.*needs "certctl_trust <file>;".*ca\.crt/],
        ['no such file', qr/certctl_trust [^;]*;/, "certctl_trust $dir/none.pem;", qr/certctl_trust.*none\.pem/s],
        ['no certificate in it', qr/certctl_trust [^;]*;/, "certctl_trust $dir/controller.key;", qr/certctl_trust/])
    {
        my ($what, $from, $to, $rule) = @$_;
        my $conf = "%%MAIN%%\nhttp {\n%%HTTP%%\ncertctl_store %%DIR%%/store;\n"
            . "certctl_trust %%DIR%%/fleet.pem;\nserver { $agent }\n}\n";

        $conf =~ s/$from/$to/;
        my ($ok, $say) = $edge->configure($conf)->test;
        ok(!$ok, "$what: refused");
        like($say, $rule, "$what: says so");
    }

    is($edge->control->get('/certctl/v1/status')->{status}, 200, 'what runs goes on');
};

$edge->stop;
# NGINX itself takes a client that is not verified for critical
unlike($edge->log =~ s/.*SSL_do_handshake\(\) failed.*//gr, qr/\[(?:alert|crit)\]/,
    'no alarms in the log');
done_testing();
