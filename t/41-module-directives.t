#!/usr/bin/perl
# What may not be written in nginx.conf, and what the operator is told then.

use strict;
use warnings;
use Cwd 'abs_path';
use Certctl::Port 'free_port';
use Certctl::Process 'temp_dir';

BEGIN {
    # before it is loaded: it would use a folder and a port of its own choice
    $ENV{TEST_NGINX_SERVROOT} = $ENV{TEST_NGINX_DIR} = temp_dir();
    $ENV{TEST_NGINX_PORT}     = free_port();
    $ENV{TEST_NGINX_TLS}      = '127.0.0.1:' . free_port();
    $ENV{TEST_NGINX_MODULE}   = abs_path(($ENV{B} || 'build') . '/ngx_http_certctl_module.so');
    delete $ENV{TEST_NGINX_RANDOMIZE};
}

use Test::Nginx::Socket;

add_block_preprocessor(sub {
    my ($block) = @_;

    # nothing is bound, as each of these is refused
    $block->set_value('main_config', 'load_module $TEST_NGINX_MODULE;');
    $block->set_value('config', '')   if !defined $block->config;
    $block->set_value('must_die', '') if !defined $block->must_die;
    $block->set_value('ignore_stderr', 1);
    $block->set_value('suppress_stderr', 1);    # what NGINX says there stands in the log, too
});

# what is expected here is no reason for a warning
$SIG{__WARN__} = sub { warn @_ if $_[0] !~ /^WARNING: .*\[emerg\]/ };

no_shuffle();
plan('no_plan');
run_tests();

__DATA__

=== certctl takes on or off
--- http_config
certctl yes;
--- error_log
invalid value "yes" in "certctl" directive, it must be "on" or "off"

=== certctl without a store
--- http_config
server { listen $TEST_NGINX_TLS ssl; certctl on; }
--- error_log
no "certctl_store" is defined: add "certctl_store /var/lib/nginx/certctl;" to http

=== certctl_challenge takes on or off
--- http_config
certctl_challenge http-01;
--- error_log
invalid value "http-01" in "certctl_challenge" directive, it must be "on" or "off"

=== certctl_challenge twice
--- http_config
certctl_challenge on;
certctl_challenge off;
--- error_log
"certctl_challenge" directive is duplicate

=== certctl_ticket_keys takes on or off
--- http_config
certctl_ticket_keys 12h;
--- error_log
invalid value "12h" in "certctl_ticket_keys" directive, it must be "on" or "off"

=== certctl_ticket_keys without a store
--- http_config
certctl_ticket_keys on;
server { listen $TEST_NGINX_TLS ssl; ssl_reject_handshake on; }
--- error_log
no "certctl_store" is defined: add "certctl_store /var/lib/nginx/certctl;" to http

=== certctl_ticket_keys beside keys in files
--- http_config
certctl_store $TEST_NGINX_DIR/a;
certctl_ticket_keys on;
ssl_session_ticket_key $TEST_NGINX_SERVROOT/conf/tickets;
server { listen $TEST_NGINX_TLS ssl; certctl on; }
--- user_files eval
[['../conf/tickets' => 'x' x 80]]
--- error_log
"certctl_ticket_keys on" and "ssl_session_ticket_key" exclude each other: remove one of them from the server in

=== certctl_ticket_rotation needs a time
--- http_config
certctl_ticket_rotation often;
--- error_log
invalid rotation of ticket keys: write "time [keep=number]", how long a key encrypts, from 1s to 7d, and how many older ones are accepted, from 1 to 10

=== certctl_ticket_rotation of no time
--- http_config
certctl_ticket_rotation 0;
--- error_log
invalid rotation of ticket keys

=== certctl_ticket_rotation longer than a ticket may live
--- http_config
certctl_ticket_rotation 8d;
--- error_log
invalid rotation of ticket keys

=== certctl_ticket_rotation that keeps too few
--- http_config
certctl_ticket_rotation 1h keep=0;
--- error_log
invalid rotation of ticket keys

=== certctl_ticket_rotation that keeps too many
--- http_config
certctl_ticket_rotation 1h keep=11;
--- error_log
invalid rotation of ticket keys

=== certctl_ticket_rotation with another word
--- http_config
certctl_ticket_rotation 1h old=2;
--- error_log
invalid rotation of ticket keys

=== certctl_ticket_rotation twice
--- http_config
certctl_ticket_rotation 1h;
certctl_ticket_rotation 2h;
--- error_log
"certctl_ticket_rotation" directive is duplicate

=== certctl_ticket_rotation in a server
--- http_config
server { certctl_ticket_rotation 1h; }
--- error_log
"certctl_ticket_rotation" directive is not allowed here

=== certctl_store twice
--- http_config
certctl_store $TEST_NGINX_DIR/a;
certctl_store $TEST_NGINX_DIR/b;
--- error_log
"certctl_store" directive is duplicate

=== certctl_store in a server
--- http_config
server { certctl_store $TEST_NGINX_DIR/a; }
--- error_log
"certctl_store" directive is not allowed here

=== certctl_store where there is no place for it
--- http_config
certctl_store $TEST_NGINX_DIR/none/store;
server { listen $TEST_NGINX_TLS ssl; certctl on; }
--- error_log eval
qr/"certctl_store": ".*none\/store" cannot be made: No such file or directory/

=== certctl_store that is a file
--- http_config
certctl_store $TEST_NGINX_MODULE;
server { listen $TEST_NGINX_TLS ssl; certctl on; }
--- error_log eval
qr/"certctl_store": ".*module\.so" cannot be opened: Not a directory/

=== certctl_certificate takes a name
--- http_config
certctl_store $TEST_NGINX_DIR/a;
server { listen $TEST_NGINX_TLS ssl; certctl on; certctl_certificate ../a; }
--- error_log
invalid certificate name "../a": write the name of a record, up to 253 letters, digits and "._*-"

=== the agent's identity cannot be pinned
--- http_config
certctl_store $TEST_NGINX_DIR/a;
server { listen $TEST_NGINX_TLS ssl; certctl on; certctl_certificate _agent; }
--- error_log
invalid certificate name "_agent"

=== certctl_certificate twice
--- http_config
certctl_store $TEST_NGINX_DIR/a;
server { listen $TEST_NGINX_TLS ssl; certctl on; certctl_certificate a; certctl_certificate b; }
--- error_log
"certctl_certificate" directive is duplicate

=== certctl_certificate where certctl is off
--- http_config
certctl_store $TEST_NGINX_DIR/a;
server { listen $TEST_NGINX_TLS ssl; certctl_certificate a; }
--- error_log
"certctl_certificate" has no effect while certctl is off: add "certctl on;" to the server in

=== certctl_certificate of the control listener
--- http_config
certctl_store $TEST_NGINX_DIR/a;
certctl on;
server { listen $TEST_NGINX_TLS ssl; certctl_agent; certctl_certificate a; }
--- error_log
"certctl_certificate" has no effect beside "certctl_agent", which serves the identity of this host: remove it from the server in

=== certctl_certificate in http
--- http_config
certctl_certificate a;
--- error_log
"certctl_certificate" directive is not allowed here

=== certctl_cache takes max=number
--- http_config
certctl_cache 100;
--- error_log
invalid parameter "100": write "max=number", the names kept parsed in each worker, at least 16

=== certctl_cache of nothing
--- http_config
certctl_cache max=0;
--- error_log
invalid parameter "max=0": write "max=number"

=== certctl_cache too small
--- http_config
certctl_cache max=15;
--- error_log
at least 16

=== certctl_cache twice
--- http_config
certctl_cache max=16;
certctl_cache max=16;
--- error_log
"certctl_cache" directive is duplicate

=== certctl_trust that is missing
--- http_config
certctl_store $TEST_NGINX_DIR/a;
certctl_trust $TEST_NGINX_DIR/none.pem;
server { listen $TEST_NGINX_TLS ssl; certctl on; }
--- error_log eval
qr/"certctl_trust": cannot read certificates from ".*none\.pem", write the name of a PEM file with the CA of your controller/

=== certctl_agent without TLS
--- http_config
certctl_store $TEST_NGINX_DIR/a;
server { listen $TEST_NGINX_TLS; certctl_agent; }
--- error_log eval
qr/"certctl_agent" .* needs TLS: write "listen [\d.:]+ ssl;", or listen on a unix socket/

=== certctl_agent without certctl_trust
--- http_config
certctl_store $TEST_NGINX_DIR/a;
server { listen $TEST_NGINX_TLS ssl; certctl_agent; }
--- error_log
needs "certctl_trust <file>;"

=== certctl_agent_users that nobody is
--- http_config
certctl_agent_users nobody no-such-user;
--- error_log
invalid user "no-such-user": write the name of a user who may send control requests over a unix socket

=== certctl_agent_users twice
--- http_config
certctl_agent_users nobody;
certctl_agent_users nobody;
--- error_log
"certctl_agent_users" directive is duplicate

=== certctl_agent_users without a name
--- http_config
certctl_agent_users;
--- error_log
invalid number of arguments in "certctl_agent_users" directive

=== certctl_thread_pool that is nowhere defined
--- http_config
certctl_store $TEST_NGINX_DIR/a;
certctl_thread_pool nowhere;
certctl_trust /etc/ssl/certs/ca-certificates.crt;
server { listen $TEST_NGINX_TLS ssl; certctl_agent; }
--- error_log
unknown thread pool "nowhere"

=== certctl_discover takes full paths
--- http_config
certctl_discover /etc/ssl ssl;
--- error_log
invalid directory "ssl": write the full path of a directory below "/"

=== certctl_discover is not for everything
--- http_config
certctl_discover /;
--- error_log
invalid directory "/": write the full path of a directory below "/"

=== certctl_discover twice
--- http_config
certctl_discover /etc/ssl;
certctl_discover /etc/pki;
--- error_log
"certctl_discover" directive is duplicate
