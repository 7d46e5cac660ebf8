#!/usr/bin/perl
# Swaps, staples, removals and challenges of the same names at once, under load,
# with workers killed at random and reloads between: no handshake fails but those
# of a worker that was killed, each shows what was live at that moment, and each
# write that was acknowledged is there in the end.
#
# It runs in rounds: a worker is killed when the load has made some handshakes and
# each writer has finished an operation, however long that takes. CHAOS_SECONDS makes
# it longer. A handshake that failed is excused only by the port that it came from:
# a worker is stopped, its sockets are read, and then it is killed.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(alive built clients patience slurp spawn finish wait_until write_file);
use Certctl::TLS 'handshake';
use Digest::SHA 'sha256_hex';
use List::Util qw(max min);
use POSIX ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $client = ($ENV{B} || 'build') . '/t/bench/handshake';
plan skip_all => "the load client $client is not built" if !-x $client;

my $SECONDS = $ENV{CHAOS_SECONDS} // 0;
my $ROUNDS  = 12;                       # at least
my @RELOADS = map { int($_ * $ROUNDS / 4) } 1 .. 3;
my $RATE    = 1100;                     # handshakes a second, if the machine can: 1,000 and what a kill stops
my $BETWEEN = 50;                       # of them between two kills, at least
my $NAMES   = 4;

my @ocsp = (ocsp => 'http://127.0.0.1:1/');
my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(workers => 2, ca => $ca, http => <<'HTTP', conf => <<'CONF');
    # a worker that gets no processor is slow, its clients are not
    client_header_timeout 1h;
    client_body_timeout 1h;
    send_timeout 1h;
HTTP
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name *.example;
        certctl on;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
    }
    server {
        listen 127.0.0.1:%%PORT_http%%;
        location / { return 204; }
    }
CONF
my $dir  = $edge->dir;
my $url  = '/certctl/v1';
my @name = map { "c$_.example" } 0 .. $NAMES - 1;

# What a name has while nothing is stored for it: older than anything that will be.
my ($static, $static_key, $static_chain) = $ca->issue(names => ['*.example'], from => -30 * 86400);
$edge->file('static.pem', $static_chain);
$edge->file('static.key', $static_key, 0600);
$edge->start;
mkdir "$dir/live";

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# How often a writer's operation was answered with 200.
sub count { return scalar(() = (slurp("$dir/ops.$_[0]") // '') =~ / 200$/mg) }

# Each writer notes its operations in a file of its own: sent, answered, kind,
# name, certificate, staple, status. A status of 599 is no answer: it may have
# happened or not.
my ($ops, $stop);
sub noted {
    printf {$ops} "%.6f %.6f %s %s %s %s %d\n", @_;
    $ops->flush;
    return;
}

# Why there was none is kept beside.
sub timed {
    my ($request) = @_;
    my $sent = now();
    my $r = $request->();
    my $got = now();

    if ($r->{status} == 599) {
        open my $why, '>>', "$dir/why.$$" or die $!;
        printf {$why} "%.6f %.6f %s\n", $sent, $got, $r->{content} =~ s/\s+/ /gr;
    }

    return ($sent, $got, $r);
}

# A name's certificate, and a staple that may refresh it: made beforehand, as
# another certificate is soon there.
sub live {
    my ($name, @pair) = @_;

    return split / /, slurp("$dir/live/$name") // '' if !@pair;
    write_file("$dir/live/$name.$$", join ' ', @pair);
    return rename "$dir/live/$name.$$", "$dir/live/$name";
}

# Waits until there have been so many swaps for each time that it was called.
my $paces = 0;
sub pace {
    my ($swaps) = @_;

    $paces++;
    wait_until(60, sub { $stop || count('swap') >= $paces * $swaps });
    return;
}

my %writer = (
    swap => sub {
        my ($api, $name) = @_;
        my ($crt, $key, $chain) = $ca->issue(names => [$name], @ocsp);
        my $staple = rand() < 0.5 ? $ca->ocsp($crt) : undef;
        my $body = $chain . ($staple ? Certctl::PKI::der_to_pem($staple, 'OCSP RESPONSE') : '') . $key;
        my ($sent, $got, $r) = timed(sub { $api->put("$url/certificates/$name?keygen=server", $body,
            'content-type' => 'application/x-pem-file') });

        noted($sent, $got, 'swap', $name, fingerprint($crt), $staple ? sha256_hex($staple) : '-', $r->{status});
        live($name, fingerprint($crt), unpack 'H*', $ca->ocsp($crt)) if $r->{status} == 200;
    },
    staple => sub {
        my ($api, $name) = @_;
        my ($crt, $hex) = live($name) or return pace(1);
        my $staple = pack 'H*', $hex;
        my ($sent, $got, $r) = timed(sub { $api->put("$url/ocsp/$crt?name=$name", $staple,
            'content-type' => 'application/ocsp-response') });

        noted($sent, $got, 'staple', $name, $crt, sha256_hex($staple), $r->{status});
        pace(1);
    },
    remove => sub {
        my ($api, $name) = @_;
        my ($sent, $got, $r) = timed(sub { $api->delete("$url/certificates/$name") });

        noted($sent, $got, 'remove', $name, fingerprint($static), '-', $r->{status});
        pace(3);
    },
    # pushed, answered by whichever worker, withdrawn, not answered any more
    challenge => sub {
        my ($api, $name) = @_;
        my $digest = sha256_hex(rand);
        my %says = (1 => '', 0 => '');
        my $begin = now();
        my $ok = 200;

        for my $there (1, 0) {
            my $r = $there ? $api->put("$url/challenges/tls-alpn-01/$name", $digest, 'content-type' => 'text/plain')
                : $api->delete("$url/challenges/tls-alpn-01/$name");
            my $h = handshake($edge->port(1), sni => $name, alpn => ['acme-tls/1'], staple => 0,
                timeout => 60 * patience());
            my $der = $h->{leaf} ? Certctl::PKI::pem_to_der($h->{leaf}) : '';
            my $shown = index($der, pack 'H*', $digest) >= 0 ? 1 : 0;

            $ok = $r->{status} if $r->{status} != 200;
            $ok = "5$there" if $ok == 200 && $shown != $there;
        }

        noted($begin, now(), 'challenge', $name, '-', '-', $ok);
        $api->get("$url/$_") for qw(certificates metrics);
    },
);

sub writer {
    my ($kind) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;

    # ends by _exit: what this test has started is its parent's to end
    eval {
        $SIG{TERM} = sub { $stop = 1 };
        $SIG{PIPE} = 'IGNORE';          # a worker that is killed
        POSIX::nice(5);                 # the load comes first
        srand $$;
        Certctl::PKI::scratch_anew();   # others of us have theirs
        open $ops, '>', "$dir/ops.$kind" or die $!;
        my $api = Certctl::HTTP->new(port => $edge->port('control'), cert => "$dir/controller.pem",
            key => "$dir/controller.key");
        $writer{$kind}->($api, $name[rand @name]) until $stop;
        1;
    } or write_file("$dir/died.$kind", $@);
    POSIX::_exit(-e "$dir/died.$kind" ? 1 : 0);
}

my @killed;                             # { stopped, begin, end, ports } of each
# A worker is stopped before, so that its clients are all that its death can break.
sub kill_one {
    my @workers = $edge->workers or return;
    my $pid = $workers[rand @workers];
    my $stopped = now();

    kill 'STOP', $pid or return;
    wait_until(60, sub { !grep { (slurp("$_/stat") // ') T') !~ /\) [TZX]/ } glob "/proc/$pid/task/*" });
    return if !alive($pid);             # one of before a reload, that has just ended
    my %k = (stopped => $stopped, begin => now(), ports => clients($pid));
    kill 'KILL', $pid;
    wait_until(60, sub { !alive($pid) && $edge->workers >= $edge->{workers} });
    push @killed, { %k, end => now() };
    return 1;
}

# An old worker closes its idle connections, also one on which a request is just
# coming (later versions of NGINX have keepalive_min_timeout for that).
my @reloaded;                           # { begin, end, old } of each
sub reload_one {
    my %r = (begin => now(), end => 9**9**9, old => [$edge->workers]);

    push @reloaded, \%r;
    ok($edge->reload, 'reload');
    return;
}

sub note_ends {
    my $now = now();

    for my $r (grep { $_->{end} > $now } @reloaded) {
        $r->{end} = now() if !grep { alive($_) } @{ $r->{old} };
    }

    return;
}

my @kinds = sort keys %writer;
my %pid = map { ($_, writer($_)) } @kinds;
my $load = spawn("$dir/load.log", $client, '-p', $edge->port(1), '-s', 'c#.example', '-k', $NAMES, '-c', 24,
    '-r', $RATE, '-t', 1e6, '-w', 60 * patience(), '-o', "$dir/load");
my $begin = now();

# How many lines the load has written: often asked, so each is read once.
my ($read, $lines) = (0, 0);
sub handshakes {
    open my $in, '<:raw', "$dir/load" or return 0;
    seek $in, $read, 0;

    while (my $got = read $in, my $text, 1 << 20) {
        $read  += $got;
        $lines += $text =~ tr/\n//;
    }

    return $lines;
}

# Each has done one more, and the load so many handshakes.
sub progress {
    my ($before, $handshakes) = @_;

    return wait_until(60, sub {
        return handshakes() >= $handshakes && !grep { count($_) <= $before->{$_} } @kinds;
    });
}

my $rounds = 0;
while ($rounds < $ROUNDS || now() - $begin < $SECONDS) {
    progress({ map { ($_, count($_)) } @kinds }, handshakes() + $BETWEEN) or last;
    progress({ map { ($_, -1) } @kinds }, handshakes() + rand 200) or last;
    note_ends();
    kill_one() or next;
    $rounds++;
    reload_one() if grep { $_ == $rounds } @RELOADS;
}

kill 'TERM', values %pid;
for my $kind (@kinds) {
    waitpid $pid{$kind}, 0;
    is($?, 0, "$kind: the writer has not died") or diag slurp("$dir/died.$kind") // '';
}
is(finish($load, 'TERM', 30), 0, 'nor has the load') or diag slurp("$dir/load.log");
cmp_ok($rounds, '>=', $ROUNDS, "$rounds rounds: each writer and the load went on in each");

diag sprintf '%.1f s, %d handshakes, %d kills, %d reloads, %s', now() - $begin, handshakes(),
    scalar @killed, scalar @reloaded, join ', ', map { "$_ " . count($_) } @kinds;

# The operations, and what their answers may be.

my @ops = map { my %o; @o{qw(sent got kind name crt staple status)} = split; \%o }
    map { split /\n/ } map { slurp($_) } glob "$dir/ops.*";
# 503: another writer held the name for long
my %allowed = (swap => [200, 409, 503], staple => [200, 404, 409, 503], remove => [200, 404, 409, 503],
    challenge => [200]);

# Whether a worker was killed, or old ones went, in this time.
sub struck {
    my ($from, $to) = @_;
    return grep { ($_->{stopped} // $_->{begin}) <= $to && $_->{end} >= $from } @killed, @reloaded;
}

my @odd = grep { my $o = $_; !grep { $o->{status} == $_ } @{ $allowed{ $o->{kind} } } } @ops;
is(join('; ', map { "$_->{kind} $_->{name} $_->{status}" } grep { !struck($_->{sent}, $_->{got}) } @odd), '',
    'each answer is one that may be (' . @odd . ' were cut off by a kill or a reload)')
    or diag map { slurp($_) } glob "$dir/why.*";

# What a name was at each time. An operation that was answered with 200 has
# happened between its request and its answer, another one may have: also one that
# was refused, if a worker was killed meanwhile. HTTP::Tiny sends again what was
# cut off, and what the first worker did another write may have undone by then.

sub refused {
    my ($o) = @_;
    return $o->{status} =~ /^40[49]$/ && $o->{kind} ne 'remove' && !struck($o->{sent}, $o->{got});
}

my (%versions, %staples, %done);
$_->{got} = 9**9**9, push @{ $versions{$_->{name}}{ $_->{crt} } }, { %$_, sent => 0, got => 0 }
    for map { { name => $_, crt => fingerprint($static), staple => '-' } } @name;

for my $o (grep { $_->{kind} ne 'challenge' && !refused($_) } @ops) {
    if ($o->{kind} eq 'staple') {
        push @{ $staples{ $o->{crt} } }, $o;
        next;
    }

    push @{ $versions{ $o->{name} }{ $o->{crt} } }, $o;
    push @{ $done{ $o->{name} } }, $o if $o->{status} == 200;
}

# For binary search: until when, the latest request among those answered by then.
my %edge = map { ($_, later($done{$_})) } @name;

sub later {
    my ($ops) = @_;
    my $sent = 0;
    return [map { $sent = max($sent, $_->{sent}); [$_->{got}, $sent] } sort { $a->{got} <=> $b->{got} } @{ $ops // [] }];
}

sub replaced_by {
    my ($list, $time) = @_;
    my ($low, $high) = (0, scalar @$list);

    while ($low < $high) {
        my $mid = int(($low + $high) / 2);
        $list->[$mid][0] < $time ? ($low = $mid + 1) : ($high = $mid);
    }

    return $low ? $list->[$low - 1][1] : 0;
}

# '' when name had this certificate and staple at some time from $from to $to.
sub judge {
    my ($name, $crt, $staple, $from, $to) = @_;
    my $versions = $versions{$name}{$crt} // return 'a certificate that nobody gave it';
    my $after = replaced_by($edge{$name}, $from);
    my @can = grep { $_->{sent} <= $to && $_->{got} >= $after } @$versions
        or return 'a certificate that was replaced before, or not yet there';
    my @given = grep { $_->{sent} <= $to } @{ $staples{$crt} // [] };
    my $newest = max(0, map { $_->{sent} } grep { $_->{got} < $from && $_->{status} == 200 } @given);

    return '' if grep { $_->{staple} eq $staple && $_->{got} >= $newest } @can;
    return '' if grep { $_->{staple} eq $staple && $_->{got} >= $newest } @given;
    return $staple eq '-' ? 'without its staple' : 'a staple that is not its own, or an old one';
}

my (%lie, @unexplained, $failed, $stapled);
for (split /\n/, slurp("$dir/load")) {
    my ($from, $to, $port, $name, $crt, $staple, $result) = split ' ', $_, 7;

    if ($result eq 'ok') {
        my $why = judge($name, $crt, $staple, $from, $to);
        push @{ $lie{$why} }, $_ if $why;
        $stapled++ if $staple ne '-';
        next;
    }

    $failed++;
    push @unexplained, $_
        if !grep { $_->{ports}{$port} && $from <= $_->{begin} && $to >= $_->{begin} } @killed;
}

is(scalar @unexplained, 0, 'no handshake failed but of clients of a killed worker (' . ($failed // 0) . ')')
    or diag join "\n", @unexplained[0 .. min(9, $#unexplained)];
is(scalar(map { @$_ } values %lie), 0, 'each handshake showed what was live at its time')
    or diag map { "$_:\n  " . join("\n  ", @{ $lie{$_} }[0 .. min(4, $#{ $lie{$_} })]) . "\n" } keys %lie;
cmp_ok($stapled // 0, '>', 0, 'some with a staple: ' . ($stapled // 0));

# A worker that was killed may have left one there, nobody else.

my $mine = $edge->control;
is(scalar(grep { $mine->delete("$url/challenges/tls-alpn-01/$_")->{status} != 200 } @name), 0, 'challenges are withdrawn');
is($mine->get("$url/status")->{json}{challenges_pending}, 0, 'and none is left');

# In the end, in each worker, after a reload, and from the disk.

my %last;
for my $when ('in the end', 'after a reload', 'after a restart') {
    $edge->reload(wait_old => 1) if $when =~ /reload/;
    do { $edge->stop; delete $edge->{control}; $edge->start } if $when =~ /restart/;

    for my $name (@name) {
        my %seen = map { my $h = handshake($edge->port(1), sni => $name);
            ("$h->{fingerprint} " . (defined $h->{staple} ? sha256_hex($h->{staple}) : '-'), 1) } 1 .. 12;
        my ($one, @more) = sort keys %seen;

        is(scalar @more, 0, "$when: $name: all workers agree") or diag join "\n", $one, @more;
        $last{$name} //= $one;
        is($one, $last{$name}, "$when: $name: is what it was") if $when ne 'in the end';
        is(judge($name, split(/ /, $one), now(), now()), '', "$when: $name: no acknowledged write is lost");
    }
}

my @half = split /\n/, `find $dir/store -name '[+%=]*' ; find $dir/store/writes $dir/store/damaged -type f`;
is("@half", '', 'nothing half written is left, nothing was damaged');
is(join('', grep { /\[(?:alert|emerg|crit)\]/ && !/exited on signal 9$/ } $edge->log =~ /(.*\n)/g), '',
    'nothing else alarming in the log');
is(scalar(() = $edge->log =~ /worker process \d+ exited on signal 9$/mg), scalar @killed, 'who was killed was killed by us');
unlike($edge->log =~ s/^src\/\S+ runtime error:.*//gmr, qr/Sanitizer:|runtime error:/, 'no sanitizer spoke');
is($edge->stop, 0, 'NGINX ends in peace');
done_testing;
