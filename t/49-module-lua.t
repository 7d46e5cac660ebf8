#!/usr/bin/perl
# Lua beside certctl, server by server: where certctl is off, the callbacks of
# ngx_http_lua_module work as if we were not there; where it is on, the store
# decides. Whichever module is loaded first.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process 'built';
use Certctl::TLS 'handshake';

my @modules = map { "/usr/lib/nginx/modules/$_.so" } 'ndk_http_module', 'ngx_http_lua_module';

plan skip_all => "$_ is not installed" for grep { !-e } @modules;

my $ca  = Certctl::PKI->ca('Test CA');
my %pem = map { ($_, [$ca->issue(names => ["$_.example"])]) } qw(file lua);
my %fp  = map { ($_, fingerprint($pem{$_}[0])) } keys %pem;

# Lua serves lua.pem, whatever the client asks for, and writes a line.
my $by_lua = <<'CONF';
        ssl_certificate %%DIR%%/file.pem;
        ssl_certificate_key %%DIR%%/file.key;
        ssl_certificate_by_lua_block {
            local ssl = require "ngx.ssl"
            ngx.log(ngx.NOTICE, "lua chooses for ", ssl.server_name() or "nobody")
            assert(ssl.clear_certs())
            assert(ssl.set_cert(chain))
            assert(ssl.set_priv_key(key))
        }
CONF

my $servers = <<"CONF";
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    init_by_lua_block {
        local ssl = require "ngx.ssl"
        local function read(name)
            local file = assert(io.open("%%DIR%%/" .. name))
            return file:read("*a"), file:close()
        end
        chain = assert(ssl.parse_pem_cert((read("lua.pem"))))
        key = assert(ssl.parse_pem_priv_key((read("lua.key"))))
    }

    # the default server is Lua's here,
    server { listen 127.0.0.1:%%PORT_1%% ssl; server_name lua.example; $by_lua }
    server { listen 127.0.0.1:%%PORT_1%% ssl; server_name ours.example; certctl on; }

    # ours there,
    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name ours.example;
        certctl on;
        location / {
            content_by_lua_block { ngx.print(ngx.var.certctl_source, "|", ngx.var.certctl_certificate, "|") }
        }
    }
    server { listen 127.0.0.1:%%PORT_2%% ssl; server_name lua.example; $by_lua }

    # and this one has both
    server { listen 127.0.0.1:%%PORT_3%% ssl; server_name both.example; certctl on; $by_lua }

    # ClientHello callbacks: certctl_challenge off keeps Lua's
    server {
        listen 127.0.0.1:%%PORT_4%% ssl;
        server_name hello.example;
        certctl on;
        certctl_challenge off;
        ssl_client_hello_by_lua_block {
            local name = require("ngx.ssl.clienthello").get_client_hello_server_name()
            ngx.log(ngx.NOTICE, "lua greets ", name or "nobody")
            if name == "unwanted.example" then ngx.exit(ngx.ERROR) end
        }
    }
    server {
        listen 127.0.0.1:%%PORT_5%% ssl;
        server_name hello.example;
        certctl on;
        ssl_client_hello_by_lua_block { ngx.exit(ngx.ERROR) }
    }
CONF


for my $first (0, 1) {
    my $when = $first ? 'Lua loaded first' : 'certctl loaded first';
    my $ours = built('ngx_http_certctl_module.so');
    my $edge = Certctl::Edge->new(workers => 2, ca => $ca, conf => $servers,
        module => $first ? [@modules, $ours] : [$ours, @modules]);

    for (keys %pem) {
        $edge->file("$_.pem", $pem{$_}[2]);
        $edge->file("$_.key", $pem{$_}[1], 0600);
    }

    $edge->start;
    like($edge->log, qr/\[notice\].*"ssl_certificate_by_lua\*" needs "certctl off"/,
        "$when: the log says what Lua needs");
    subtest $when => \&together, $edge;
    $edge->stop;
}

sub together {
    my ($edge) = @_;

    my $served = sub {
        my ($port, $name) = @_;
        my $h = handshake($edge->port($port), sni => $name && "$name.example");
        return $h->{fingerprint} // $h->{error};
    };

    # Where certctl is off, Lua decides, also when the store has the name.

    # A server without a certificate gets what its default server gives, which is
    # Lua's callback here: as in NGINX without certctl it fails for this server.

    my $refused = handshake($edge->port(1), sni => 'ours.example')->{error};
    isnt($refused, '', 'ours: the callback of the default server fails, until something is stored');
    $edge->give('lua', names => ['lua.example']);

    is($served->(1, 'lua'), $fp{lua}, 'certctl off: Lua decides');
    is($served->(1),        $fp{lua}, 'without a name, too');
    is($served->(2, 'lua'), $fp{lua}, 'also beside a default server of ours');
    like($edge->log, qr/lua chooses for $_\b/, "and was asked: $_") for 'lua.example', 'nobody';

    # Where it is on, the store does, next to Lua's server on both sides.

    for my $try ('first', 'swapped') {
        my $new = fingerprint(scalar $edge->give('ours', names => ['ours.example']));
        is($served->($_, 'ours'), $new, "certctl on, port $_: $try") for 1, 2;
        is($served->(2), $new, "without a name: $try");
        is($served->($_, 'lua'), $fp{lua}, "Lua's, port $_: $try") for 1, 2;
    }

    is((handshake($edge->port(2), sni => 'ours.example', keep => 1)->{answer} =~ /\r\n\r\n.*?(\w[^\r\n]+)\|/s)[0],
        'store|ours', 'Lua reads our variables');

    # Both in one server: certctl has it, with its file as the first and last.

    is($served->(3, 'both'), $fp{file}, 'both: the file of ssl_certificate');
    my $both = fingerprint(scalar $edge->give('both', names => ['both.example']));
    is($served->(3, 'both'), $both, 'both: then the store');
    like($edge->control->delete('/certctl/v1/certificates/both')->{status}, qr/^20/, 'deleted');
    is($served->(3, 'both'), $fp{file}, 'both: the file again');
    unlike($edge->log, qr/lua chooses for both/, 'Lua was not asked');

    # ClientHello callbacks.

    my $hello = fingerprint(scalar $edge->give('hello', names => ['hello.example']));
    is($served->(4, 'hello'), $hello, 'certctl_challenge off: the store decides');
    like($edge->log, qr/lua greets hello\.example/, 'after Lua has seen the ClientHello');
    isnt(handshake($edge->port(4), sni => 'unwanted.example')->{error}, '', 'and may refuse it');
    is($served->(5, 'hello'), $hello, 'certctl_challenge on: Lua does not see it');

    ok($edge->reload(wait_old => 1), 'reload');
    is($served->(1, 'lua'), $fp{lua}, 'after a reload: Lua decides');
    like($served->(1, 'ours'), qr/^[0-9a-f]{64}\z/, 'after a reload: the store decides');
    is($served->(3, 'both'), $fp{file}, 'after a reload: both');

    my $log = $edge->log =~ s/^.*no ssl_certificate_by_lua\* defined in server ours\.example.*\n//mgr;
    unlike($log, qr/\[(?:alert|emerg|crit)\]|lua entry thread aborted/, 'nothing else alarming in the log');
}

done_testing;
