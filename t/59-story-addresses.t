#!/usr/bin/perl
# Where a controller lets itself be sent: in a network of its own, in which each
# address answers, it calls hosts in private networks and connects to no reserved
# address, also by a name or a redirect; what an unknown server answers is not shown.

use strict;
use warnings;
use Certctl::Daemon;
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Port 'free_port';
use Certctl::Process qw(adopt slurp temp_dir wait_until write_file);
use IO::Socket::INET;
use IO::Socket::IP;
use POSIX ();
use Socket 'SOMAXCONN';
use Test::More;

# Nothing of this leaves the machine: the network has no interface but lo.
if (!$ENV{CERTCTL_OWN_NETWORK}) {
    my @own = ('unshare', '--net', '--mount');
    plan skip_all => 'a network of its own needs root' if system("@own true 2>/dev/null") != 0;

    local @ENV{'CERTCTL_OWN_NETWORK', 'PERL5LIB'} = (1, join ':', grep { !ref } @INC);
    exec @own, $^X, $0 or die "unshare: $!";
}

my @reserved = qw(169.254.169.254 169.254.1.1 100.100.100.200 168.63.129.16 fd00:ec2::254);
my @private  = qw(10.1.2.3 100.64.0.5 fd12::1);

command('ip', 'link', 'set', 'lo', 'up');
command('ip', 'addr', 'add', $_ . (/:/ ? '/128' : '/32'), 'dev', 'lo', /:/ ? 'nodad' : ())
    for @reserved, @private;

# What the names of a zone lead to: each question gets the next answer.
my %zone = (
    'meta.test'   => [['169.254.169.254']],
    'mapped.test' => [['::ffff:169.254.169.254']],
    'any.test'    => [['0.0.0.0']],
    'mixed.test'  => [['169.254.169.254', '10.1.2.3', '127.0.0.1']],
    'rebind.test' => [['10.1.2.3'], ['169.254.169.254'], ['127.0.0.1']],
    'edge.test'   => [['10.1.2.3']],
);
my $dir  = temp_dir();
my $trap = trap();
name_server();

my $ca = Certctl::PKI->ca('Somebody');
my ($crt, $key, $chain) = $ca->issue(names => ['edge.test'], cn => 'edge.test');
my $stranger = stranger();
my $daemon = Certctl::Daemon->start(outgoing => '',
    config => "inventory_interval = 1\nocsp_interval = 1\nlog_level = debug\n");
my $edge = edge();
my $n = 0;

subtest 'each of them answers here' => sub {
    for my $host (@reserved, '127.0.0.1') {
        ok(IO::Socket::IP->new(PeerHost => $host, PeerPort => $trap), $host);
        ok(wait_until(20, sub { return connections() eq "$host\n" }), 'and tells') or diag(connections());
        truncate "$dir/connections", 0;
    }
};

subtest 'an address that is written down is refused at once' => sub {
    for my $host (qw(127.0.0.1 0.0.0.0 0 2130706433 0x7f.1 017700000001 127.1 localhost
        169.254.169.254 2852039166 169.254.1.1 100.100.100.200 168.63.129.16 224.0.0.1
        255.255.255.255 [::] [::1] [fe80::1] [fd00:ec2::254] [ff02::1] [::ffff:127.0.0.1]
        [::ffff:a9fe:a9fe] [::a9fe:a9fe] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::]))
    {
        refused(add("https://$host:$trap", trust_on_first_use => \1),
            qr/^url: address \S+ is reserved \(.+\) and outgoing_networks does not list it/, $host);
    }

    refused(add("https://10.1.2.3:$trap", trust_on_first_use => \1, probe_address => "169.254.169.254:$trap"),
        qr/^probe_address: address 169\.254\.169\.254 is reserved/, 'probe_address');
    is(api('get', 'agents')->{json}{total}, 0, 'none of them was made');
};

subtest 'a host in a private network is managed' => sub {
    my $id = agent('https://edge.test:' . $edge->port('control'), fingerprint =>
        slurp($edge->dir . '/store/certctl-agent.fingerprint') =~ s/\s+//gr);

    ok(wait_until(30, sub { return row($id)->{status} eq 'Online' }), 'it is Online')
        or diag($daemon->log);

    for my $url ("https://169.254.169.254:$trap", "https://[::1]:$trap") {
        refused(api('patch', "agents/$id", { url => $url }), qr/^url: address \S+ is reserved/, "it cannot move to $url");
    }

    is(api('get', "agents/$id")->{json}{status}, 'Online', 'and stays what it was');

    # where a deployment is confirmed is for the target to say
    my %target = (name => 'edge', type => 'nginx-module', agent_id => $id);
    for my $probe ('169.254.169.254', '[::ffff:a9fe:a9fe]', '127.0.0.1', '2130706433') {
        my $r = api('post', 'targets', { %target, config => { record => 'new.example', probe => "$probe:$trap" } });

        refused($r, qr/^config\.probe: address \S+ is reserved/, "no target is confirmed at $probe");
        is($r->{json}{errors}[0]{pointer}, '/config/probe', 'its pointer');
    }

    my $target = api('post', 'targets', { %target, config => { record => 'new.example', probe => "meta.test:$trap" } })->{json}{id};
    refused(api('patch', "targets/$target", { config => { probe => "[fe80::1]:$trap" } }), qr/^config\.probe: address/,
        'nor moves there');
    my $certificate = api('post', 'certificates', { name => 'new', common_name => 'new.example',
        issuer_id => 'iss-local', renewal_policy_id => 'rp-default', target_ids => [$target] })->{json}{id};

    api('post', "certificates/$certificate/renew");
    ok(wait_until(60, sub { return grep { ($_->{last_error} // '') =~ /address 169\.254\.169\.254 is reserved/ }
        @{ api('get', "jobs?per_page=500&certificate_id=$certificate")->{json}{data} } }),
        'a deployment is not confirmed at a reserved address') or diag($daemon->log);
    is(connections(), '', 'nobody went there');
};

subtest 'a name that leads to a reserved address' => sub {
    my $hosts = 0;

    for my $name (qw(meta.test mapped.test any.test)) {
        for my $first ([trust_on_first_use => \1], [fingerprint => sprintf '%064x', ++$hosts]) {
            my $id = agent("https://$first->[0].$name:$trap", @$first);

            like(failed($id), qr/address \S+ is reserved \((?:cloud metadata|unspecified)\)/, "$name, $first->[0]");
        }
    }

    is(connections(), '', 'nobody went there');
};

subtest 'a name with several addresses, or another one each time' => sub {
    my @id = map { agent("https://$_:$trap", trust_on_first_use => \1) } 'mixed.test', map { "r$_.rebind.test" } 1 .. 4;

    ok(wait_until(60, sub { return 4 == grep { failed($_) =~ /is reserved/ } @id[1 .. 4] }),
        'sooner or later each has led to a reserved one') or diag(map { failed($_) . "\n" } @id);
    like(failed($id[0]), qr/TLS handshake/, 'what became of an address that is allowed is what is told');
    like(connections(), qr/\A(?:10\.1\.2\.3\n)+\z/, 'only that one was connected to');
};

subtest 'what a stranger answers is shown to nobody' => sub {
    my $url = 'https://100.64.0.5:' . $stranger->port('tls');
    my $other = $url =~ s/100\.64\.0\.5/[fd12::1]/r;

    my $id = agent($url, trust_on_first_use => \1);
    like(failed($id), qr/not a certificate of the module/, 'first use');
    is(row($id)->{fingerprint}, undef, 'its fingerprint is not pinned');

    $id = agent($other, fingerprint => fingerprint($crt));
    like(failed($id), qr/server certificate: not a certificate of the module/, 'its own fingerprint');
    is(slurp($stranger->dir . '/requests'), '', 'it is asked nothing');
};

subtest 'an OCSP responder that a certificate names' => sub {
    my $place = 'http://10.1.2.3:' . $stranger->port('plain');

    ok(wait_until(30, sub { return $daemon->log =~ /\Q$place\E\S*: address 10\.1\.2\.3 is reserved \(private\)$/m }),
        'is not asked in a private network') or diag($daemon->log);
    is(slurp($stranger->dir . '/requests'), '', 'it is asked nothing');

    $daemon->stop;
    $daemon->{args} = ['--ocsp-private-addresses'];
    $daemon->restart;
    ok(wait_until(60, sub { return $daemon->log =~ /the OCSP responder does not answer with an OCSP response/ }),
        'with ocsp_private_addresses it is') or diag($daemon->log);
    like(slurp($stranger->dir . '/requests'), qr/^(?:::ffff:)?10\.1\.2\.3 POST /, 'and has said something');
};

unlike($daemon->log, qr/\b418\b|canary/, 'no log says what a stranger answered');
unlike($_, qr/\b418\b|canary/, 'nor does the API')
    for map { $_->{content} } api('get', 'agents?per_page=500'), api('get', 'jobs?per_page=500');
is(connections() =~ s/^10\.1\.2\.3\n//mgr, '', 'no reserved address was connected to');

is($daemon->stop, 0, 'the daemon stops');
$edge->stop;
$stranger->stop;
done_testing();

sub command { system(@_) == 0 or die "@_ failed\n"; return }

sub api {
    my ($method, $path, @body) = @_;
    return $daemon->api->$method("/api/v1/$path", @body);
}

sub add {
    my ($url, %o) = @_;
    return api('post', 'agents', { name => 'host' . ++$n, url => $url, %o });
}

sub refused {
    my ($r, $rule, $name) = @_;

    ok($r->{status} == 422 && $r->{json}{message} =~ $rule, "$name is refused") or diag("$r->{status} $r->{content}");
    return;
}

sub agent {
    my $r = add(@_);

    is($r->{status}, 201, "$_[0] is a place to look") or diag($r->{content});
    return $r->{json}{id};
}

sub row { my ($id) = @_; return api('get', "agents/$id")->{json} }

# Why the first contact with it failed.
sub failed {
    my ($id) = @_;

    wait_until(30, sub { return row($id)->{last_error} });
    return row($id)->{last_error} // '';
}

# A process of its own, until the test ends.
sub child {
    my ($run) = @_;
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        setpgrp 0, 0;
        $run->();
        POSIX::_exit(1);
    }

    setpgrp $pid, $pid;
    adopt($pid, "$dir/child");
    return;
}

# Takes connections on every address, notes at which, and closes them.
sub trap {
    my $port = free_port();
    my $socket = IO::Socket::IP->new(LocalHost => '::', LocalPort => $port, V6Only => 0, Listen => SOMAXCONN,
        ReuseAddr => 1) or die "listen: $@";

    write_file("$dir/connections", '');
    child(sub {
        open my $out, '>>', "$dir/connections" or die;
        $out->autoflush;

        while (my $client = $socket->accept) {
            print $out $client->sockhost =~ s/^::ffff://r, "\n";
            close $client;
        }
    });

    return $port;
}

sub connections { return slurp("$dir/connections") }

# The zone, for glibc (RFC 1035 4.1): A and AAAA, valid for no second.
sub name_server {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.53', LocalPort => 53, Proto => 'udp')
        or die "bind: $!";

    command('mount', '--bind', write_file("$dir/resolv.conf", "nameserver 127.0.0.53\noptions timeout:1\n"),
        '/etc/resolv.conf');

    child(sub {
        my (%asked, $question);

        while (defined $socket->recv($question, 512)) {
            my @labels = unpack '(C/a)*', (unpack 'x12 a*', $question) =~ s/\0.*//sr;
            my $end = 12 + length(join '.', @labels) + 2;
            my $type = unpack 'n', substr $question, $end, 2;
            my $answers = $zone{ join '.', @labels[-2, -1] } // [[]];
            my $turn = $asked{"@labels $type"}++;
            my @found = grep { (/:/ ? 28 : 1) == $type } @{ $answers->[$turn % @$answers] };

            $socket->send(substr($question, 0, 2) . pack('n n n n n', 0x8180, 1, scalar @found, 0, 0)
                . substr($question, 12, $end + 4 - 12)
                . join '', map { pack 'n n n N n/a*', 0xc00c, $type, 1, 0,
                    Socket::inet_pton(/:/ ? Socket::AF_INET6() : Socket::AF_INET(), $_) } @found);
        }
    });

    return;
}

# A server that is no host of ours, with a certificate for edge.test of its own CA.
sub stranger {
    my $nginx = Certctl::Nginx->new(module => 0, workers => 1);

    $nginx->file('crt.pem', $chain);
    $nginx->file('key.pem', $key, 0600);
    $nginx->file('requests', '', 0666);

    return $nginx->configure(<<'CONF')->start;
%%MAIN%%
http {
    %%HTTP%%
    log_format at '$server_addr $request';

    server {
        access_log %%DIR%%/requests at;
        listen [::]:%%PORT_tls%% ipv6only=off ssl;
        listen [::]:%%PORT_plain%% ipv6only=off;
        ssl_certificate %%DIR%%/crt.pem;
        ssl_certificate_key %%DIR%%/key.pem;
        return 418 '{"error": "canary"}';
    }
}
CONF
}

# A host of ours, which serves a certificate with a responder in a private network.
sub edge {
    my $nginx = Certctl::Nginx->new(workers => 1);
    my ($cert, $its_key, $its_chain) = $ca->issue(names => ['shop.example'],
        ocsp => 'http://10.1.2.3:' . $stranger->port('plain'));

    $nginx->file('shop.pem', $its_chain . $ca->cert);
    $nginx->file('shop.key', $its_key, 0600);
    $nginx->file('fleet-ca.pem', slurp($daemon->ca));

    return $nginx->configure(<<'CONF')->start;
%%MAIN%%
http {
    %%HTTP%%
    certctl_store %%DIR%%/store;
    certctl_trust %%DIR%%/fleet-ca.pem;

    server {
        listen 0.0.0.0:%%PORT_tls%% ssl;
        server_name shop.example;
        ssl_certificate %%DIR%%/shop.pem;
        ssl_certificate_key %%DIR%%/shop.key;
        certctl on;
    }

    server {
        listen 0.0.0.0:%%PORT_tls%% ssl;
        server_name new.example;
        certctl on;
    }

    server {
        listen 0.0.0.0:%%PORT_control%% ssl;
        certctl_agent;
    }
}
CONF
}
