#!/usr/bin/perl
# A report that has many records to read is helped by a second thread: what it says
# is the same, with a thread or without, and whatever happens to the records meanwhile.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(alive finish has_open slurp spawn taken valgrind wait_until);
use Fcntl qw(:flock O_CREAT O_RDWR);
use JSON::PP ();
use List::Util qw(min sum0);
use POSIX ();

my $COUNT = valgrind() ? 600 : 2400;    # more than are shared at a time
my $NAMES = 600;                        # of one server, and of one record
my $names = join ' ', map { "n$_.served.example" } 1 .. $NAMES;
my $conf  = <<"CONF";
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name $names;
        certctl on;
    }
CONF
my $edge = Certctl::Edge->new(workers => 1, conf => '',
    http => "server_names_hash_max_size 8192;\nserver_names_hash_bucket_size 128;\n");
my $url  = '/certctl/v1/certificates';
my $dir  = $edge->dir;
my $api;

# As many threads as asked for, and none that has read anything.
sub begin {
    my ($threads, $servers) = @_;

    $edge->{main} = "thread_pool default threads=$threads;\n";
    $edge->servers($servers // '');
    $edge->pid ? $edge->reload(wait_old => 1) : $edge->start;
    return $api = fresh();
}

# A client with a connection of its own.
sub fresh {
    delete $edge->{control};
    return $edge->control;
}

sub compact { return $api->get("$url?form=compact" . ($_[0] // '')) }
sub listed  { return [ map { $_->{name} } @{ $_[0]{json}{unserved} } ] }
sub missing { return scalar grep { !$_[1]{$_} } @{ $_[0] } }

# How often each thread of the worker opened a file of the store that $what fits, while
# $work was done.
sub opened {
    my ($what, $work) = @_;
    my ($pid) = $edge->workers;
    my $file  = "$dir/strace";

    unlink $file;
    my $strace = spawn("$dir/strace.log", qw(strace -f -q -o), $file, '-e', 'trace=openat', '-p', $pid);
    wait_until(20, sub { !grep { (slurp("$_/status") // '') =~ /^TracerPid:\s+0/m } glob "/proc/$pid/task/*" })
        or die "strace: ", slurp("$dir/strace.log");
    $work->();
    finish($strace, 'INT');

    my (%by, %file);
    for (split /\n/, slurp($file)) {
        # the second half of a call that another thread's came between has no name
        $by{$1}++, $file{$2}++ if /^(\d+) +openat\(\d+, "[0-9a-f]{2}\/($what)"/;
    }
    return (\%by, \%file);
}

# The same of a compact report of a new worker that two threads share, and the report. A
# thread that the machine has no time for is helped by none: so a part of a twentieth
# for each is looked for in several.
sub shared {
    my ($what, $servers) = @_;
    my ($by, $file, $r);

    for (1 .. 10) {
        begin(2, $servers);
        ($by, $file) = opened($what, sub { $r = compact() });
        last if keys %$by == 2 && min(values %$by) > sum0(values %$by) / 20;
    }

    return ($by, $file, $r);
}

begin(2);
my ($crt, $key, $chain) = $edge->ca->issue(names => ['many.example']);
my @records = map { "r$_" } 1 .. $COUNT;
my @left    = @records;

while (my @some = splice @left, 0, 500) {
    my $r = $api->post($url, join('', map { "\@$_ keygen=server\n$chain$key" } @some),
        'content-type' => 'application/x-certctl-bulk');
    is($r->{json}{live}, scalar @some, 'records are made') or diag $r->{content};
}

my $order = [ sort @records ];
my $want;

subtest 'two threads share the records' => sub {
    plan skip_all => 'there is one processor' if (`nproc` // 1) < 2;
    (my ($by, $file), $want) = shared('r\d+');

    is_deeply(listed($want), $order, 'all are listed, by name');
    is(scalar(grep { $_->{fingerprint} ne fingerprint($crt) } @{ $want->{json}{unserved} }), 0,
        'as they are');
    is(scalar keys %$by, 2, 'two threads have read them');
    is(scalar keys %$file, $COUNT, 'all of them');
    my $sum = sum0(values %$file);
    cmp_ok($sum - keys %$file, '<=', 2, 'and none twice but where they meet');
    cmp_ok($_, '>', $sum / 20, 'each has its part') for values %$by;

    ($by) = opened('r\d+', sub { is(compact()->{content}, $want->{content}, 'once more the same') });
    is(scalar keys %$by, 0, 'for which nothing is read');

    $api->put("$url/r77?keygen=server", $chain . $key);
    ($by, $file) = opened('r\d+', sub { compact() });
    is(join(' ', keys %$file), '', 'what is stored again as it was is not read');
    my $new = $edge->give('r77', names => ['many.example']);
    my $now;
    ($by, $file) = opened('r\d+', sub { $now = compact() });
    ok($file->{r77}, 'what has changed is');
    cmp_ok(scalar keys %$file, '<', 5, 'and hardly more');
    is((grep { $_->{name} eq 'r77' } @{ $now->{json}{unserved} })[0]{fingerprint}, fingerprint($new),
        'it is the new one');
    $want = $now;
};

subtest 'pages' => sub {
    begin(2);
    my ($after, @seen) = ('');

    for (1 .. 5) {
        my $r = compact("&limit=1000$after");
        push @seen, @{ listed($r) };
        last if !$r->{json}{next};
        $after = "&after=$r->{json}{next}";
    }

    is_deeply(\@seen, $order, 'together they are the whole');
};

subtest 'a pool of one thread' => sub {
    begin(1);
    my ($by) = opened('r\d+', sub {
        is(compact()->{content}, $want->{content}, 'says the same') });
    is(scalar keys %$by, 1, 'it has read all');

    begin(1);
    my @more = map { fresh() } 1 .. 3;
    my @busy = map { ask($edge->connection) } 1 .. 3;
    is($_->get('/certctl/v1/status')->{status}, 200, 'others are answered beside') for @more;
    is(answer($_), $want->{content}, 'three at once say the same') for @busy;
};

subtest 'threads that are at other work' => sub {
    begin(2);
    my $held = "$dir/store/writes/held";

    sysopen my $lock, $held, O_RDWR|O_CREAT, 0600 or die "$held: $!";
    chown((stat "$dir/store/writes")[4, 5], $held) or die "chown: $!";
    flock $lock, LOCK_EX or die "flock: $!";

    my $writer = $edge->connection;
    my $body   = $chain . $key;
    print $writer "PUT $url/held?keygen=server HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-pem-file\r\n"
        . 'Content-Length: ' . length($body) . "\r\nConnection: close\r\n\r\n$body";
    my ($worker) = $edge->workers;
    ok(wait_until(8, sub { has_open($held, $worker) }), 'a writer waits for a lock, on one of two threads');

    my ($by) = opened('r\d+', sub { is(compact()->{content}, $want->{content}, 'the report is whole') });
    is(scalar keys %$by, 1, 'of the other thread alone');

    unlink $held;
    close $lock;
    like(do { local $/; <$writer> } // '', qr{^HTTP/1\.1 20}, 'the writer had to wait');
    is($api->delete("$url/held")->{status}, 200, 'its record goes');
};

subtest 'names of a server' => sub {
    my @names = map { "n$_.served.example" } 1 .. $NAMES;
    my ($served) = $edge->give('served', names => \@names);

    my ($by, undef, $r) = shared('served', $conf);
    my @given = grep { ($_->{name} // '') eq 'served' } @{ $r->{json}{certificates} };
    is(scalar @given, 1, 'the record of all names is one entry');
    is($given[0]{fingerprint}, fingerprint($served), 'as it is');
    is_deeply(listed($r), $order, 'the others are as before');

    SKIP: {
        skip 'there is one processor', 1 if (`nproc` // 1) < 2;
        is(scalar keys %$by, 2, 'two threads have looked for them');
    }

    my ($entry) = grep { ($_->{name} // '') eq 'served' }
        @{ $api->get("$url?name=served")->{json}{certificates} };
    is(@{ $entry->{served_names} } + $entry->{served_names_left_out}, $NAMES, 'it has all the names');
    $api->delete("$url/served");
    is(scalar(grep { $_->{source} eq 'placeholder' } @{ compact()->{json}{certificates} }), 1,
        'without it they get the placeholder');
};

subtest 'a record that was damaged since' => sub {
    begin(2);
    is(compact()->{content}, $want->{content}, 'all is well');

    damage($_) for qw(r8 r9);
    # who removes what cannot be read cannot say what it was: all is looked at again
    is($api->delete("$url/r9")->{status}, 200, 'another one is deleted');
    my $r = compact();
    is_deeply(listed($r), [ grep { $_ ne 'r9' } @$order ], 'the copy of it is still told of');
    is(join(' ', map { "$_->{code} $_->{text}" } @{ $r->{json}{warnings} }),
        'record_unreadable "r8" is damaged on the disk: push its certificate again', 'with a warning');

    begin(2);
    $r = compact();
    is_deeply(listed($r), [ grep { !/^r[89]$/ } @$order ], 'another worker has no copy');
    is($r->{json}{warnings}[0]{code}, 'record_unreadable', 'and warns');

    $edge->commit($_, $chain, $key) for qw(r8 r9);
    is_deeply(listed(compact()), $order, 'pushed again they are there');
};

subtest 'records go and come while it reads' => sub {
    my %moving = map { ("r$_", 1) } map { $_ * int($COUNT / 41) } 1 .. 40;
    my $before = () = $edge->log =~ /is damaged/g;
    my ($rounds, @wrong) = (4);

    pipe my $end, my $go or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        close $go;
        my $bits = '';
        vec($bits, fileno $end, 1) = 1;
        my @turn = sort keys %moving;
        my ($bad, $status) = (0);
        for (my $i = 0; !select my $ready = $bits, undef, undef, 0; $i++) {
            my $name = $turn[$i % @turn];
            # a worker that is told to quit closes its connections: 599
            wait_until(10, sub { ($status = fresh()->delete("$url/$name")->{status}) != 599 });
            $bad++ if $status !~ /^(?:200|404)$/;
            wait_until(10, sub { ($status = fresh()->put("$url/$name?keygen=server", $chain . $key,
                'content-type' => 'application/x-pem-file')->{status}) != 599 });
            $bad++ if $status !~ /^20/;
        }
        POSIX::_exit($bad ? 1 : 0);
    }

    for (1 .. $rounds) {
        begin(2);
        my $r = compact();
        my @got = @{ listed($r) };
        my %seen;
        $seen{$_}++ for @got;
        push @wrong, 'twice' if grep { $_ > 1 } values %seen;
        push @wrong, 'order' if "@got" ne join ' ', sort @got;
        push @wrong, 'missing' if missing([ grep { !$moving{$_} } @$order ], \%seen);
        push @wrong, 'foreign' if grep { !/^r\d+$/ } @got;
        push @wrong, map { $_->{text} } @{ $r->{json}{warnings} };
    }

    close $go;
    waitpid $pid, 0;
    is($?, 0, 'each write was answered as it should');
    is("@wrong", '', "$rounds reports: what nobody touched once and in its place, nothing else");
    my $after = () = $edge->log =~ /is damaged/g;
    is($after, $before, 'nothing was taken for damaged');
    begin(2);
    is_deeply(listed(compact()), $order, 'in the end all are there');
};

subtest 'clients that go away, and workers' => sub {
    for (1 .. 2) {
        begin(2);
        my @gone = map { ask($edge->connection) } 1 .. 3;
        $_->close(SSL_no_shutdown => 1) for @gone;
        is_deeply(listed(compact()), $order, 'the next one is answered');
    }

    begin(2);
    my ($worker) = $edge->workers;
    my $client = ask($edge->connection);
    ok(wait_until(10, sub { taken($client) }), 'a worker has been asked');
    begin(2);
    is_deeply(JSON::PP::decode_json(answer($client))->{unserved}, compact()->{json}{unserved},
        'a worker that quits ends its answer');
    ok(wait_until(10, sub { !alive($worker) }), 'and goes');
};

unlike($edge->log, qr/\[(?:alert|emerg)\]|exited on signal/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends in peace');

done_testing();

# Asks for a compact report, and does not read it.
sub ask {
    my ($client) = @_;

    print $client "GET $url?form=compact HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    return $client;
}

# The body of what was asked for.
sub answer {
    my ($client) = @_;
    my $text = '';

    while (sysread $client, $text, 1 << 17, length $text) { }     # until it is closed
    my ($head, $body) = split /\r\n\r\n/, $text, 2;
    return $head =~ /^Transfer-Encoding: chunked/mi ? Certctl::HTTP::dechunk($body) : $body;
}

# Turns a bit of a record.
sub damage {
    my ($name) = @_;
    my ($file) = glob "$dir/store/certs/*/$name";
    my $text = slurp($file);

    substr($text, -20, 1) ^= "\x01";
    open my $out, '+<:raw', $file or die "$file: $!";
    print $out $text;
    close $out or die "$file: $!";
    return;
}
