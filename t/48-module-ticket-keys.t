#!/usr/bin/perl
# certctl_ticket_keys: session tickets are of one key, which this host makes and
# rotates, or a controller pushes to a group of hosts; and are resumed in every
# worker, server, TLS version and binary, on each host of the group, until their
# key is gone or sessions are flushed.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Process qw(in_time run slurp temp_dir wait_until write_file);
use Certctl::TLS 'handshake';
use Time::HiRes 'time';

my $stream = Certctl::Nginx::stream_module() ? <<'STREAM' : undef;
stream {
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_timeout 1h;
    certctl_ticket_keys on;

    server {
        listen 127.0.0.1:%%PORT_5%% ssl reuseport;
        certctl on;
        proxy_pass 127.0.0.1:%%PORT_7%%;
    }
}
STREAM
my $http = <<'HTTP';
    ssl_protocols TLSv1.2 TLSv1.3;
    # what is resumed no more has lost its key
    ssl_session_timeout 1h;
    certctl_ticket_keys on;
HTTP
my $servers = <<'CONF';
    # who is behind stream{}
    server {
        listen 127.0.0.1:%%PORT_7%%;
        return 200 "x\n";
    }

    # each host has a placeholder, or a certificate, of its own
    server {
        listen 127.0.0.1:%%PORT_1%% ssl reuseport;
        server_name a.example;
        certctl on;
        return 200 "x\n";
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl reuseport;
        server_name b.example;
        ssl_certificate %%DIR%%/b.pem;
        ssl_certificate_key %%DIR%%/b.key;
        ssl_session_cache shared:b:1m;
        return 200 "x\n";
    }
    # another one at the address, whose default server has the keys
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name c.example;
        certctl on;
        return 200 "x\n";
    }
    # the same site at another address
    server {
        listen 127.0.0.1:%%PORT_3%% ssl reuseport;
        server_name a.example;
        certctl on;
        return 200 "x\n";
    }
    server {
        listen 127.0.0.1:%%PORT_4%% ssl reuseport;
        server_name off.example;
        certctl on;
        certctl_ticket_keys off;
        return 200 "x\n";
    }
CONF

sub host {
    my ($text) = @_;
    my $host = Certctl::Edge->new(workers => 2, stream => $stream, http => $text, conf => $servers);
    my (undef, $key, $chain) = $host->ca->issue(names => ['b.example']);

    $host->file('b.pem', $chain);
    $host->file('b.key', $key, 0600);
    return $host->start;
}

my $one   = host($http . 'certctl_ticket_rotation 1h keep=3;');
my @where = ([1, 'a.example'], [1, 'c.example'], [2, 'b.example'], $stream ? [5, 'stream.example'] : ());
my @cases = map { my $tls = $_; map { [$tls, @$_] } @where } qw(1.2 1.3);

# What a command prints.
sub output {
    my $log = temp_dir() . '/output';

    run($log, @_) == 0 or die "@_: ", slurp($log);
    return slurp($log);
}

sub label { my ($tls, undef, $name) = @{ $_[0] }; return "TLS $tls, $name" }

# A connection of openssl s_client: the session it was given is a file, and the
# first 16 octets of its ticket are the name of the key. With TLS 1.2 a resumed
# session may go on without another one.
sub get {
    my ($host, $case, $session, %o) = @_;
    my ($tls, $port, $name) = @$case;
    my $file = temp_dir() . '/session';
    my $log = output('sh', '-c', 'printf "GET / HTTP/1.0\r\n\r\n" | openssl s_client -ign_eof -connect "$1" '
        . '-servername "$2" "$3" -sess_out "$4" ${5:+-sess_in "$5"}', 'sh',
        '127.0.0.1:' . $host->port($o{port} // $port), $name, '-tls' . $tls =~ s/\./_/r, $file, $session // ());
    my ($how) = $log =~ /^(New|Reused), /m or die "$name: $log\n";
    my @keys  = $log =~ /TLS session ticket:\n\s+0000 - ([0-9a-f -]{47})/g;

    return { reused => $how eq 'Reused' ? 1 : 0, session => $file, key => ($keys[-1] // 'none') =~ s/[ -]//gr };
}

# How many of some attempts resume, on both workers.
sub resumed {
    my ($host, $case, $session, @o) = @_;
    return scalar grep { get($host, $case, $session, @o)->{reused} } 1 .. 3;
}

sub sessions { my ($host) = @_; return { map { (label($_), get($host, $_)->{session}) } @cases } }

sub all_resumed {
    my ($host, $sessions, $what) = @_;
    is(resumed($host, $_, $sessions->{ label($_) }), 3, "$what: " . label($_)) for @cases;
    return;
}

sub none_resumed {
    my ($host, $sessions, $what) = @_;
    is(resumed($host, $_, $sessions->{ label($_) }), 0, "$what: " . label($_)) for @cases;
    return;
}

sub status { my ($host) = @_; return $host->control->get('/certctl/v1/status')->{json} }

# Keys of this host.

my $own = status($one)->{ticket_keys};
is($own->{source}, 'host', 'a host makes keys of its own');
is($own->{generation}, 0, '... of no generation');
my $old = sessions($one);
is(get($one, $_)->{key}, $own->{current}, 'one key for all: ' . label($_)) for @cases;
isnt(get($one, ['1.3', 4, 'off.example'])->{key}, $own->{current}, 'but where it is off');
all_resumed($one, $old, 'in every worker');
is(resumed($one, $cases[0], $old->{ label($cases[0]) }, port => 3), 3, 'and at another address of the site');
is(resumed($one, $cases[0], $old->{ label($cases[0]) }, port => 2), 0, 'but not of another site');

$one->reload(wait_old => 1);
delete $one->{control};
all_resumed($one, $old, 'after a reload');
$one->upgrade;
delete $one->{control};
all_resumed($one, $old, 'after a binary upgrade');
$one->stop('QUIT');
$one->start;
delete $one->{control};
all_resumed($one, $old, 'after a restart');
is(status($one)->{ticket_keys}{current}, $own->{current}, 'it is the same key');

sub flush {
    my ($host) = @_;
    my $epoch = $host->control->post('/certctl/v1/sessions/flush')->{json}{epoch};
    ok(wait_until(20, sub { status($host)->{sessions}{all_workers} }), 'flushed');
    return $epoch;
}

flush($one);
none_resumed($one, $old, 'after a flush');
isnt(status($one)->{ticket_keys}{current}, $own->{current}, 'with another key');
all_resumed($one, $old = sessions($one), 'what was made since');

# A set of a controller: $set->(generation => 1, keys => [[name, from, until, accept]]),
# in seconds from now.

sub set {
    my (%o) = @_;
    my $now = int time;

    return pack('a7 C Q> Q>', 'tickets', 1, $o{generation}, $o{flushed} // 0) . join '', map {
        my ($name, $from, $until, $accept) = @$_;
        pack 'q> q> q> a16 a32 a32', $now + $from, $now + $until, $now + $accept, $name, "aes $name" x 9, "hmac $name" x 9;
    } @{ $o{keys} };
}

sub identity {
    my ($host) = @_;
    return handshake($host->port('control'), cert => $host->dir . '/controller.pem',
        key => $host->dir . '/controller.key')->{leaf};
}

# Encrypted as anybody would, for one host or several.
sub seal {
    my ($text, $hosts, @how) = @_;
    my $dir = temp_dir();
    my $n = 0;

    write_file("$dir/set", $text, 0600);
    output('openssl', 'cms', '-encrypt', '-binary', '-outform', 'DER', @how ? @how : '-aes-256-gcm', '-in', "$dir/set",
        '-out', "$dir/sealed", map { ('-recip', write_file("$dir/" . $n++, identity($_))) } @$hosts);
    return slurp("$dir/sealed");
}

sub put {
    my ($host, $body) = @_;
    return $host->control->put('/certctl/v1/ticket-keys', $body, 'content-type' => 'application/cms');
}

sub push_set {
    my ($what, %o) = @_;
    my $body = seal(set(%o), $o{hosts});

    for my $host (@{ $o{hosts} }) {
        my $r = put($host, $body);
        is($r->{status}, 200, "$what: taken") or diag $r->{content};
    }
    return $body;
}

sub hex_name { return unpack 'H*', pack 'a16', $_[0] }

my $two   = host($http);
my @both  = ($one, $two);
my $long  = 86400;
my $other = sessions($two);

none_resumed($two, $old, 'two hosts do not know each other');
push_set('a set for both', generation => 10, keys => [['k1', -60, $long, $long]], hosts => \@both);
none_resumed($one, $old, 'the key of before is gone');
none_resumed($two, $other, 'on the other host as well');

# the first has been flushed alone
my $k1 = sessions($one);
none_resumed($two, $k1, 'until both have flushed');
my $epoch = flush($one);
push_set('a set with the epoch', generation => 11, flushed => $epoch + 1, keys => [['k1', -60, $long, $long]], hosts => \@both);
is(status($_)->{sessions}{epoch}, $epoch + 1, 'both follow it') for @both;
none_resumed($one, $k1, 'what was made before the flush');
$k1 = sessions($one);
is(get($one, $_)->{key}, hex_name('k1'), 'its key: ' . label($_)) for @cases;
all_resumed($one, $k1, 'on the host itself');
all_resumed($two, $k1, 'on the other host');
all_resumed($one, sessions($two), 'and the other way round');
is(status($two)->{ticket_keys}{source}, 'controller', 'status says whose keys they are');
is(status($two)->{ticket_keys}{generation}, 11, '... and their generation');

# A newer key: tickets of the older one are resumed, and renewed.

push_set('the next set', generation => 12, hosts => \@both,
    keys => [['k1', -120, -1, $long], ['k2', -1, $long, $long]]);

for my $case (@cases) {
    my $again = get($two, $case, $k1->{ label($case) });
    is($again->{reused}, 1, 'an older key: resumed: ' . label($case));
    is($again->{key}, hex_name('k2'), '... with a new ticket of the newer key');
}

my $k2 = sessions($one);
my $last = push_set('without the older key', generation => 13, hosts => \@both, keys => [['k2', -60, $long, $long]]);
none_resumed($two, $k1, 'the older key is gone');
all_resumed($two, $k2, 'the newer one stays');

# What is refused, and changes nothing.

is(put($one, $last)->{status}, 200, 'the same set again is no change');
my %refused = (
    'an older generation' => [409, set(generation => 12, keys => [['k3', -60, $long, $long]]), qr/generation 12.*generation 13/],
    'other keys of the same generation' => [409, set(generation => 13, keys => [['k3', -60, $long, $long]]), qr/other keys/],
    'generation 0' => [422, set(generation => 0, keys => [['k3', -60, $long, $long]]), qr/generation/],
    'no key that is in use' => [422, set(generation => 14, keys => [['k3', 60, $long, $long]]), qr/in use now/],
    'no key' => [422, set(generation => 14, keys => []), qr/not a set/],
    'seventeen keys' => [422, set(generation => 14, keys => [map { ["k$_", -60, $long, $long] } 1 .. 17]), qr/at most 16/],
    'two of a name' => [422, set(generation => 14, keys => [map { ['k3', -60, $_, $long] } 60, 61]), qr/same name/],
    'an end before its start' => [422, set(generation => 14, keys => [['k3', 60, -60, $long]]), qr/until a later/],
    'accepted for too long' => [422, set(generation => 14, keys => [['k3', -60, 60, 8 * $long]]), qr/8446 4\.6\.1/],
    'an epoch to come' => [422, set(generation => 14, flushed => (time + 9000) * 1e6, keys => [['k3', -60, $long, $long]]), qr/future/],
    'octets behind it' => [422, set(generation => 14, keys => [['k3', -60, $long, $long]]) . 'x', qr/not a set/],
    'another format' => [422, 'nothing', qr/not a set/],
);

for my $what (sort keys %refused) {
    my ($status, $text, $why) = @{ $refused{$what} };
    my $r = put($one, seal($text, [$one]));
    is($r->{status}, $status, "$what: refused");
    like($r->{json}{error}, $why, '... and says why');
}

my $fine = set(generation => 14, keys => [['k3', -60, $long, $long]]);
my $sealed = seal($fine, [$one]);
my %broken = (
    'plain text'              => $fine,
    'for another host'        => seal($fine, [$two]),
    'not authenticated (CBC)' => seal($fine, [$one], '-aes-256-cbc'),
    'cut'                     => substr($sealed, 0, -1),
    'more behind it'          => $sealed . 'x',
    (map { ("octet $_ of the end changed", do {
        my $c = $sealed;
        substr $c, -$_, 1, chr(1 ^ ord substr $c, -$_, 1);
        $c;
    }) } 1, 10, 40, 100),
);

for my $what (sort keys %broken) {
    my $r = put($one, $broken{$what});
    is($r->{status}, 422, "$what: refused");
    like($r->{json}{error}, qr/CMS|decrypt/, '... and says why');
}

is($one->control->put('/certctl/v1/ticket-keys', $sealed, 'content-type' => 'text/plain')->{status}, 415,
    'another Content-Type: refused');
all_resumed($one, $k2, 'what was there stays');

# A key that is there before it is used.

my ($start, $next) = in_time(4, sub {
    my ($at) = @_;
    my $from = $at - int time;
    push_set('a key for later', generation => 20 + $at, hosts => \@both,
        keys => [['k2', -60, $from, $long], ['k4', $from, $long, $long]]);
    return get($one, $cases[0])->{key};
});
is($next, hex_name('k2'), 'is not used before its time');
ok(wait_until(30, sub { get($one, $cases[0])->{key} eq hex_name('k4') }), 'and then, without a word');
all_resumed($two, $k2, 'tickets of the one before are resumed');

# A set that ends.

my ($end, $ends) = in_time(4, sub {
    my ($at) = @_;
    my $until = $at - int time;
    push_set('a set that ends', generation => 20 + $start + $at, hosts => \@both,
        keys => [['k5', -60, $until, $long]]);
    return get($one, $cases[0])->{session};
});
ok(wait_until(30, sub { status($one)->{ticket_keys}{source} eq 'host' }), 'then the host makes keys of its own');
ok(wait_until(30, sub { get($one, $cases[0])->{key} eq status($one)->{ticket_keys}{current} }), '... and uses them');
is(resumed($two, $cases[0], $ends), 3, 'tickets of the set are resumed until its end');
is(put($one, $last)->{status}, 409, 'an older set is refused then, too');
$one->stop('QUIT');
$one->start;
delete $one->{control};
is(put($one, $last)->{status}, 409, '... and after a restart');

# Two sets at the same time: the later one, in both workers.

my $final = push_set('the last set', generation => 9_000_000_000, hosts => \@both, keys => [['k6', -60, $long, $long]]);
is(get($one, $_)->{key}, hex_name('k6'), 'live: ' . label($_)) for @cases, @cases;

# Nothing of a key is where it could be read.

for my $host (@both) {
    my @files = split /\n/, output('find', $host->dir, '-type', 'f');
    my @bad = grep { my $text = slurp($_) // ''; $text =~ /aes k\d|hmac k\d/ || $text =~ /61657320 ?6b/ } @files;
    is("@bad", '', 'no key in any file: ' . scalar(@files) . ' files');
    unlike($host->control->get('/certctl/v1/status')->{content}, qr/aes k|6b36616573/, 'nor in an answer');
}

# A host that does not use them.

my $none = Certctl::Edge->new(workers => 1, conf => 'server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }')->start;
my $r = put($none, seal($fine, [$none]));
is($r->{status}, 409, 'without certctl_ticket_keys a set is refused');
like($r->{json}{error}, qr/certctl_ticket_keys on/, '... and says what is missing');
ok(!exists status($none)->{ticket_keys}, 'nor is there anything in status');
$none->stop;

# Rotation: the next key is used, tickets of the one before are resumed and renewed,
# until it is too old.

my $fast = host($http . 'certctl_ticket_rotation 4s keep=4;');
my $first = get($fast, $cases[0]);
ok(wait_until(30, sub { status($fast)->{ticket_keys}{current} ne $first->{key} }), 'another key');
my $renewed = get($fast, $cases[0], $first->{session});
is($renewed->{reused}, 1, 'a ticket of the one before is resumed');
isnt($renewed->{key}, $first->{key}, '... and renewed');
ok(wait_until(60, sub { !get($fast, $cases[0], $first->{session})->{reused} }), '... until its key is too old');
my $n = status($fast)->{ticket_keys}{keys};
cmp_ok($n, '<=', 6, 'old keys are dropped') or diag $n;
$fast->stop;

for my $host (@both, $fast) {
    unlike($host->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
}

# The file is damaged: tickets of before are lost, and the rest goes on.

$two->stop;
$one->stop('QUIT');
my $file = $one->dir . '/store/sessions/tickets';
my $bytes = slurp($file);
substr $bytes, 200, 1, chr(1 ^ ord substr $bytes, 200, 1);
write_file($file, $bytes);
$one->start;
delete $one->{control};
all_resumed($one, sessions($one), 'with a damaged file');
like($one->log, qr/\[alert\].*ticket keys was damaged/, '... which the log tells');
$one->stop;

done_testing;
