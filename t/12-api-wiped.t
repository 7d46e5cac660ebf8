#!/usr/bin/perl
# What requests carried is not in the memory of the daemon any more when they have
# been answered: a core dump, or who reads its memory later, finds no API key.

use strict;
use warnings;
no warnings 'portable';          # addresses have 64 bits
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process 'sanitized';
use Test::More;

plan skip_all => 'sanitized programs keep what is freed for a while' if sanitized();

my $d  = api_daemon();
my $v1 = '/api/v1';

# another process than the one that has made the first key
is($d->stop, 0, 'stopped');
$d->restart;

my $made = created($d->api, "$v1/auth/keys", { name => 'reader', permissions => ['team.read'] })->{key};
my %secret = (
    'the administrator key' => $d->key,
    'a key that was made'   => $made,
    'a wrong key'           => 'certctl_' . random(),
    'a secret of a body'    => random(),
    'a secret of a body that is no JSON' => random(),
    'a secret of a large body' => random(),
);
my $http = Certctl::HTTP->new(port => $d->port, ca => $d->ca);

sub random { return join '', map { sprintf '%02x', int rand 256 } 1 .. 32 }

sub ask {
    my ($key, $method, $path, $body, @more) = @_;

    return $http->request($method, "$v1/$path", $body, Authorization => "Bearer $key", @more)->{status};
}

for (1 .. 3) {
    is(ask($made, 'GET', 'teams'), 200, 'a key is used');
    is(ask($secret{'a wrong key'}, 'GET', 'teams'), 401, 'a wrong key is refused');
    is(ask($d->key, 'POST', 'issuers', qq({"name": "i", "type": "local", "config": {"ca_cert_path": "/nonexistent/$secret{'a secret of a body'}"}}),
        'Content-Type' => 'application/json'), 422, 'a body is refused');
    is(ask($d->key, 'POST', 'issuers', qq({"name": "$secret{'a secret of a body that is no JSON'}"), 'Content-Type' => 'application/json'), 400,
        'another is no JSON');
    like(ask($d->key, 'POST', 'teams', '{"name": "t", "description": "' . ' ' x 60_000 . $secret{'a secret of a large body'} . '"}',
        'Content-Type' => 'application/json'), qr/^4/, 'a large one');
}
created($d->api, "$v1/teams", { name => 'after' });

# one request more, after which each thread has answered something else
is($d->api->get("$v1/teams")->{status}, 200, 'the daemon goes on') for 1 .. 8;

my $memory = memory($d->pid);
cmp_ok(length $memory, '>', 1_000_000, 'its memory is read');
ok(index($memory, $d->data) > 0, 'and holds what it should');
is(scalar(() = $memory =~ /\Q$secret{$_}\E/g), 0, "$_ is not in it") for sort keys %secret;

is($d->stop, 0, 'it ends well');
done_testing();

# All that a process may write to.
sub memory {
    my ($pid) = @_;
    my $all = '';

    open my $maps, '<', "/proc/$pid/maps" or die "maps: $!";
    open my $mem, '<:raw', "/proc/$pid/mem" or die "mem: $!";
    while (<$maps>) {
        /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
        my ($from, $to) = (hex $1, hex $2);
        sysseek $mem, $from, 0;
        while ($from < $to) {
            my $n = sysread $mem, my $part, $to - $from > 1 << 20 ? 1 << 20 : $to - $from;
            last if !$n;
            $all .= $part;
            $from += $n;
        }
    }
    return $all;
}
