#!/usr/bin/perl
# What the loops look after: the configuration of issuers in one process for all,
# the certificate of the API in each. A clock that is set forward and back stops none.

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
# what was put off by a clock that was ahead does not wait until that time comes again
ok(wait_until(60, sub { return sql($d, "SELECT count(*) FROM clock WHERE seen_at > now() - interval '5 minutes'") eq '1' }), 'the time is noted');
sql($d, "INSERT INTO jobs (id, type, subject, agent_id, scheduled_at) VALUES ('job-ahead', 'Enrolment', 'ag-none', 'ag-none', now() + interval '20 minutes')");
sql($d, "INSERT INTO agents (id, name, url, fingerprint, status, enrolled_at, identity_expires_at, next_poll_at)
    VALUES ('ag-ahead', 'ahead', 'https://127.0.0.1:1', repeat('a', 64), 'Online', now(), now() + interval '1 year', now() + interval '20 minutes')");
write_file($clock, "+0\n");
ok(wait_until(60, sub { return sql($d, "SELECT count(*) FROM jobs WHERE id = 'job-ahead' AND scheduled_at < now() + interval '1 hour'") eq '1' }),
    'the clock is set back: a job is not 21 days away');
is(sql($d, "SELECT count(*) FROM agents WHERE next_poll_at > now() + interval '1 hour'"), '0', 'nor the poll of an agent');
ok(wait_until(60, sub { return sql($d, 'SELECT count(*) FROM loops WHERE next_run > now() + interval \'1 day 1 hour\'') eq '0' }), 'nor any loop');

is(sql($d, "SELECT count(*) FROM loops WHERE last_error IS NOT NULL"), '0', 'no loop failed');

done_testing();
