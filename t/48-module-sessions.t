#!/usr/bin/perl
# POST sessions/flush: what clients were given before is resumed no more, by any
# server of http{}, of stream{} or over QUIC, and any worker, over reload, restart
# and upgrade; what they are given later is.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Process qw(alive children finish slurp spawn temp_dir wait_until write_file);
use Certctl::TLS 'handshake';

my $nginx = Certctl::Nginx::binary();
my $h3 = `$nginx -V 2>&1` =~ /--with-http_v3_module/ && `openssl s_client -help 2>&1` =~ /^ -quic\b/m;
my $quic = $h3 ? <<'QUIC' : '';
    server {
        listen 127.0.0.1:%%PORT_4%% quic reuseport;
        server_name quic.example;
        certctl on;
        ssl_certificate %%DIR%%/quic.pem;
        ssl_certificate_key %%DIR%%/quic.key;
        ssl_session_ticket_key %%DIR%%/tickets;
        return 200 "x\n";
    }
QUIC
my $stream = Certctl::Nginx::stream_module() ? <<'STREAM' : undef;
stream {
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_timeout 1h;

    server {
        listen 127.0.0.1:%%PORT_5%% ssl reuseport;
        certctl on;
        ssl_certificate %%DIR%%/cached-stream.pem;
        ssl_certificate_key %%DIR%%/cached-stream.key;
        ssl_session_cache shared:streams:1m;
        ssl_session_tickets off;
        proxy_pass 127.0.0.1:%%PORT_7%%;
    }
    server {
        listen 127.0.0.1:%%PORT_6%% ssl reuseport;
        certctl on;
        ssl_certificate %%DIR%%/ticket-stream.pem;
        ssl_certificate_key %%DIR%%/ticket-stream.key;
        ssl_session_ticket_key %%DIR%%/tickets;
        proxy_pass 127.0.0.1:%%PORT_7%%;
    }
}
STREAM

my $edge = Certctl::Edge->new(workers => 2, stream => $stream, conf => <<'CONF' . $quic);
    # who is behind stream{}
    server {
        listen 127.0.0.1:%%PORT_7%%;
        return 200 "x\n";
    }

    ssl_protocols TLSv1.2 TLSv1.3;
    # what is resumed no more was flushed, and did not end
    ssl_session_timeout 1h;

    # a cache that workers share, and no tickets
    server {
        listen 127.0.0.1:%%PORT_1%% ssl reuseport;
        server_name cached.example;
        certctl on;
        ssl_certificate %%DIR%%/cached.pem;
        ssl_certificate_key %%DIR%%/cached.key;
        ssl_session_cache shared:sessions:1m;
        ssl_session_tickets off;
        return 200 "x\n";
    }

    # tickets whose key outlives a restart
    server {
        listen 127.0.0.1:%%PORT_2%% ssl reuseport;
        server_name ticket.example;
        certctl on;
        ssl_certificate %%DIR%%/ticket.pem;
        ssl_certificate_key %%DIR%%/ticket.key;
        ssl_session_ticket_key %%DIR%%/tickets;
        return 200 "x\n";
    }

    # the module looks after one of two: the other is the default server
    server {
        listen 127.0.0.1:%%PORT_3%% ssl reuseport;
        server_name plain.example;
        ssl_certificate %%DIR%%/plain.pem;
        ssl_certificate_key %%DIR%%/plain.key;
        ssl_session_ticket_key %%DIR%%/tickets;
        return 200 "x\n";
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        server_name second.example;
        certctl on;
        ssl_certificate %%DIR%%/second.pem;
        ssl_certificate_key %%DIR%%/second.key;
        ssl_session_ticket_key %%DIR%%/tickets;
        return 200 "x\n";
    }

    # variables that are not the same, and one cache
    server {
        listen 127.0.0.1:%%PORT_8%% ssl;
        ssl_certificate %%DIR%%/$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/$ssl_server_name.key;
        ssl_session_cache shared:variables:1m;
        ssl_session_tickets off;
        return 200 "x\n";
    }
    server {
        listen 127.0.0.1:%%PORT_9%% ssl;
        ssl_certificate %%DIR%%/./$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/./$ssl_server_name.key;
        ssl_session_cache shared:variables:1m;
        ssl_session_tickets off;
        return 200 "x\n";
    }
CONF

for my $name (qw(cached ticket plain second quic cached-stream ticket-stream vary)) {
    my (undef, $key, $chain) = $edge->ca->issue(names => ["$name.example"]);
    $edge->file("$name.pem", $chain);
    $edge->file("$name.key", $key, $name eq 'vary' ? 0644 : 0600);    # workers read that one
}
$edge->file('tickets', join('', map { chr int rand 256 } 1 .. 80), 0600);
$edge->start;

my $url   = '/certctl/v1';
my @where = ([1, 'cached.example'], [2, 'ticket.example'], [3, 'plain.example'], [3, 'second.example']);
push @where, [5, 'cached-stream.example'], [6, 'ticket-stream.example'] if $stream;
my @cases = map { my $tls = $_; map { [$tls, @$_] } @where } qw(1.2 1.3);
push @cases, ['QUIC', 4, 'quic.example'] if $h3;

sub ask { my ($method, $path) = @_; return $edge->control->$method("$url$path") }

sub get {
    my ($tls, $port, $name, $session) = @_;

    return quic($port, $name, $session) if $tls eq 'QUIC';

    my $h = handshake($edge->port($port), sni => $name, tls => $tls, keep => 1, staple => 0,
        $session ? (session => $session) : ());

    die "$name: $h->{error}\n" if $h->{error};
    return $h;
}

# The session is a file then.
sub quic {
    my ($port, $name, $session) = @_;
    my $dir = temp_dir();
    my $pid = spawn("$dir/log", 'sh', '-c', 'mkfifo "$1/in"; exec 3<> "$1/in"; exec openssl s_client -quic -alpn h3 '
        . '-connect "$2" -servername "$3" -sess_out "$1/session" ${4:+-sess_in "$4"} <&3', 'sh', $dir,
        '127.0.0.1:' . $edge->port($port), $name, $session // ());

    # a ticket comes behind the handshake, and with a second one the file is
    # written again
    my $came;
    wait_until(10, sub {
        my $text = slurp("$dir/session") // '';
        return 0 if $text !~ /^-----END/m || slurp("$dir/log") !~ /^(New|Reused), /m;
        return $came = $text;
    });
    my ($how) = slurp("$dir/log") =~ /^(New|Reused), /m;
    finish($pid, 'TERM');

    die "$name: ", slurp("$dir/log") if !$came;
    write_file("$dir/kept", $came);
    return { session => "$dir/kept", reused => $how eq 'Reused' ? 1 : 0 };
}

sub label { my ($tls, undef, $name) = @{ $_[0] }; return ($tls =~ s/^(?=\d)/TLS /r) . ", $name" }

# A session of each case, and how many of some attempts resume it.
sub sessions { return { map { (label($_), get(@$_)->{session}) } @cases } }

sub resumed {
    my ($sessions, $case) = @_;
    my $n = 0;

    $n += get(@$case, $sessions->{ label($case) })->{reused} for 1 .. 8;
    return $n;
}

# TLS 1.3's sessions of a cache are good for one time each.
sub all_resumed {
    my ($sessions, $what) = @_;

    for my $case (@cases) {
        my $fresh = $case->[0] eq '1.3' && $case->[2] =~ /^cached/;
        my $n = $fresh ? get(@$case, get(@$case)->{session})->{reused} * 8 : resumed($sessions, $case);
        is($n, 8, "$what: " . label($case));
    }
    return;
}

sub none_resumed {
    my ($sessions, $what) = @_;

    is(resumed($sessions, $_), 0, "$what: " . label($_)) for @cases;
    return;
}

# One server's sessions are no other's, be there one cache for both.
sub apart {
    my ($when) = @_;
    my $session = get('1.2', 8, 'vary')->{session};

    is(get('1.2', 8, 'vary', $session)->{reused}, 1, "$when: its own session");
    is(get('1.2', 9, 'vary', $session)->{reused}, 0, "$when: of a server with other variables");
    return;
}

my $old = sessions();
apart('before');
my $sure = wait_until(20, sub { my $s = ask(get => '/status')->{json}; return $s->{sessions}{all_workers} && $s });
is($sure->{sessions}{epoch}, 0, 'never flushed');
is($sure->{sessions}{flushed}, undef, 'nor a time of it');
all_resumed($old, 'before');

is(ask(get => '/sessions/flush')->{status}, 405, 'GET flushes nothing');
is(ask(post => '/sessions/flush?name=x')->{status}, 400, 'nor does one with an argument');
all_resumed($old, 'still');

my $r = ask(post => '/sessions/flush');
is($r->{status}, 200, 'flushed') or diag $r->{content};
cmp_ok(abs($r->{json}{epoch} / 1e6 - time), '<', 30, 'its epoch is the time');
ok(wait_until(20, sub {
    my $s = ask(get => '/status')->{json}{sessions};
    return $s->{all_workers} && $s->{epoch} == $r->{json}{epoch} && $s->{flushed};
}), 'every worker follows, and status says so');

none_resumed($old, 'flushed');
apart('flushed');
my $new = sessions();
all_resumed($new, 'what was made since');

$edge->reload(wait_old => 1);
delete $edge->{control};
none_resumed($old, 'after a reload');

# what resumes without the module's doing: tickets of a key file
my @kept = grep { $_->[2] !~ /^cached/ } @cases;
is(resumed($new, $_), 8, 'made since, after a reload: ' . label($_)) for @kept;

my $again;
my $flush = sub {
    $again = ask(post => '/sessions/flush')->{json}{epoch};
    cmp_ok($again, '>', $r->{json}{epoch}, 'once more: a later epoch');
    ok(wait_until(20, sub { ask(get => '/status')->{json}{sessions}{all_workers} }), 'followed');
};

# Each of these has begun its ClientHello before, and ends it after.
my @begun = grep { $_->[0] ne 'QUIC' } @kept;
my %half;

for my $case (@begun) {
    my ($tls, $port, $name) = @$case;
    my $inner = $flush;

    $flush = sub {
        $half{ label($case) } = handshake($edge->port($port), sni => $name, tls => $tls, keep => 1,
            staple => 0, session => $new->{ label($case) }, pause => $inner);
    };
}
$flush->();

for my $case (@begun) {
    my $h = $half{ label($case) };
    is($h->{error}, '', 'half before the flush: ' . label($case));
    is($h->{reused}, 0, '... resumes nothing of before it');
    is(get(@$case, $h->{session})->{reused}, 1, '... and what it was given is resumed') if !$h->{error};
}

none_resumed($new, 'flushed again');

$new = sessions();
$edge->upgrade;
delete $edge->{control};
ok(wait_until(20, sub { my $s = ask(get => '/status')->{json}{sessions}; $s->{all_workers} && $s->{epoch} == $again }),
    'a new binary knows');
none_resumed($old, 'after an upgrade');
is(resumed($new, $_), 8, 'made since, after an upgrade: ' . label($_)) for @kept;

# The way back: the old binary's workers have gone, the new one's are told to flush,
# and then the old one has workers again. Its memory is its own.
my $master = $edge->pid;
kill 'USR2', $master;
my $next = wait_until(20, sub {
    my $pid = $edge->pid;
    return $pid && $pid != $master && $edge->workers == 2 && $pid;
});
ok($next, 'another binary');
kill 'WINCH', $master;
ok(wait_until(20, sub { !grep { $_ != $next } children($master) }), 'takes over');
delete $edge->{control};
$again = ask(post => '/sessions/flush')->{json}{epoch};
kill 'HUP', $master;
ok(wait_until(20, sub { 2 == grep { $_ != $next } children($master) }), 'the old one comes back');
kill 'QUIT', $next;
ok(wait_until(20, sub { !alive($next) && ($edge->pid // 0) == $master }), 'the other one goes');
delete $edge->{control};
ok(wait_until(20, sub { my $s = ask(get => '/status')->{json}{sessions}; $s->{all_workers} && $s->{epoch} == $again }),
    'who comes back knows');
none_resumed($new, 'flushed while it was away');
$new = sessions();

$edge->stop('QUIT');
$edge->start;
delete $edge->{control};
none_resumed($old, 'after a restart');
is(resumed($new, $_), 8, 'made since, after a restart: ' . label($_)) for @kept;

subtest 'the time of the flush is damaged' => sub {
    my $file = $edge->dir . '/store/sessions/flushed';
    my $bytes = slurp($file);

    $edge->stop('QUIT');
    substr $bytes, 20, 1, chr(1 ^ ord substr $bytes, 20, 1);
    write_file($file, $bytes);
    $edge->start;
    delete $edge->{control};
    none_resumed($old, 'not to be believed');
    none_resumed($new, 'rather too many than none');
    cmp_ok(ask(get => '/status')->{json}{sessions}{epoch}, '>', $again, 'a later epoch');
};

$edge->stop;
done_testing;
