#!/usr/bin/perl
# What the loops look after: the configuration of issuers in one process for all,
# the certificate of the API in each.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(preload sanitized temp_dir wait_until write_file);
use IO::Socket::SSL;
use Test::More;

my ($lib) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' if !$lib;
plan skip_all => 'sanitized programs cannot be given this clock' if sanitized();

my $clock = temp_dir() . '/clock';
write_file($clock, "+0\n");

my $d = api_daemon(env => { LD_PRELOAD => preload($lib), FAKETIME_TIMESTAMP_FILE => $clock, FAKETIME_NO_CACHE => 1 });

sub certificate {
    my $peer = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $d->port, SSL_verify_mode => SSL_VERIFY_NONE,
        SSL_reuse_ctx => undef, SSL_session_cache => undef) or return '';
    return $peer->get_fingerprint('sha256');
}

ok(wait_until(20, sub { return sql($d, "SELECT count(*) FROM loops WHERE name = 'issuers'") eq '1' }), 'issuers are looked after');
my $first = certificate();
ok($first, 'a certificate');
is(certificate(), $first, 'stays');

write_file($clock, "+21d\n");
ok(wait_until(60, sub { return certificate() ne $first && certificate() }), 'another after two thirds of its life, without a restart');
my $second = certificate();
is(certificate(), $second, 'which stays');
is(sql($d, "SELECT count(*) FROM loops WHERE last_error IS NOT NULL"), '0', 'no loop failed');

done_testing();
