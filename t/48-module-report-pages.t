#!/usr/bin/perl
# A long report comes in pages: what a worker holds of it is bounded, pages together are
# the whole, whatever happens to records, clients and workers meanwhile.

use strict;
use warnings;
use Test::More;
use Certctl::Bench qw(resident_kb);
use Certctl::Edge;
use Certctl::HTTP;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(alive slurp taken valgrind wait_until write_file);
use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP ();
use POSIX ();

my $SERVERS = 200;                      # each serves the record with the long list of names
my $COUNT   = valgrind() ? 600 : 2400;  # records of no server
my $NAMES   = 600;                      # of one server, and of one record
my $PAGE    = 2097152;                  # bytes after which a page ends
my $ENTRY   = 131072;                   # and what the last certificate of it may be more

my $edge = Certctl::Edge->new(workers => 1, conf => '',
    http => "server_names_hash_max_size 8192;\nserver_names_hash_bucket_size 128;\n");
my $dir = $edge->dir;
my $url = '/certctl/v1/certificates';
my $pinned = join('', map { <<"CONF" } 1 .. $SERVERS) . <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name s$_.example;
        certctl on;
        certctl_certificate big;
    }
CONF
    server {
        listen 127.0.0.1:%%PORT_2%% ssl sndbuf=256k;
        certctl_agent;
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl http2;
        certctl_agent;
    }
CONF

sub begin {
    my ($servers) = @_;

    $edge->servers($servers // '');
    $edge->pid ? $edge->reload(wait_old => 1) : $edge->start;
    delete $edge->{control};
    return $edge->control;
}

sub get { return $edge->control->get("$url?" . join '&', @_) }
sub unserved { return [ map { $_->{name} } map { @{ $_->{json}{unserved} } } @_ ] }

# All pages of a report.
sub pages {
    my (@args) = @_;
    my @page = get(@args);

    for (1 .. 2 * $COUNT) {
        my $next = $page[-1]{json}{next} // return @page;
        push @page, get(@args, "after=$next");
    }

    die "the pages do not end\n";
}

begin($pinned);
my @san = map { sprintf 'a-name-that-is-rather-long-%03d.shop.example', $_ } 1 .. 250;
$edge->give('big', names => \@san, days => 30);

subtest 'a page ends when it is large' => sub {
    my @page = pages('limit=10000');

    cmp_ok(scalar @page, '>', 1, 'more than one page, though none has as many certificates');
    for (@page) {
        cmp_ok(length $_->{content}, '<', $PAGE + $ENTRY, 'of bounded size');
        is($_->{headers}{'content-length'}, length $_->{content}, 'which is known');
    }
    is(scalar(grep { ($_->{name} // '') eq 'big' } map { @{ $_->{json}{certificates} } } @page), $SERVERS,
        'together they have each server');
    is(scalar(grep { !$_->{json}{variable} || !$_->{json}{warnings} } @page), 0, 'each has all members');
};

my $first = get('limit=10000')->{content};

subtest 'every version of HTTP' => sub {
    open my $curl, '-|', 'curl', '-sk', '--http2', '-m', '60', '--cert', "$dir/controller.pem",
        '--key', "$dir/controller.key", 'https://127.0.0.1:' . $edge->port(3) . "$url?limit=10000"
        or die "curl: $!";
    my $text = do { local $/; <$curl> };
    close $curl;
    ok(same($text, $first), 'the same over HTTP/2');
    ok(same((rest(client('1.0')))[1], $first), 'the same over HTTP/1.0');
    is($edge->control->request('HEAD', $url)->{status}, 200, 'HEAD');
};

subtest 'clients that do not read' => sub {
    my ($worker) = $edge->workers;
    my $before   = resident_kb($worker);
    my @slow     = map { client() } 1 .. 4;

    ok(wait_until(20, sub { taken($_) }), 'a worker has been asked') for @slow;
    is(get('form=compact')->{status}, 200, 'others are answered');
    SKIP: {
        skip 'what a sanitizer keeps is no measure', 1 if $ENV{SAN};
        cmp_ok(resident_kb($worker) - $before, '<', (1 + @slow) * 2 * $PAGE / 1024,
            'the worker has grown by pages, not by reports');
    }

    $_->close(SSL_no_shutdown => 1) for @slow[1 .. 3];
    ok($edge->reload, 'a reload');
    delete $edge->{control};
    ok(alive($worker), 'a worker that is told to quit stays for one that reads slowly');
    ok(same((rest($slow[0]))[1], $first), 'it gets its page');
    ok(wait_until(20, sub { !alive($worker) }), 'then the worker quits');
};

$edge->control->delete("$url/big");
begin();

my ($crt, $key, $chain) = $edge->ca->issue(names => ['many.example']);
my @records = map { "r$_" } 1 .. $COUNT;
my $order   = [ sort @records ];

while (my @some = splice @records, 0, 500) {
    my $r = $edge->control->post($url, join('', map { "\@$_ keygen=server\n$chain$key" } @some),
        'content-type' => 'application/x-certctl-bulk');
    is($r->{json}{live}, scalar @some, 'records are made') or diag $r->{content};
}

subtest 'pages of records' => sub {
    my $r = get('form=compact');
    is(scalar @{ unserved($r) }, $COUNT > 1000 ? 999 : $COUNT, 'without a limit the first 1000: the identity, and records');
    is(scalar(grep { $_->{fingerprint} ne fingerprint($crt) } @{ $r->{json}{unserved} }), 0, 'as they are');

    is_deeply(unserved(pages('form=compact', "limit=$_")), $order, "pages of $_") for 100, 1000;
    my @whole = pages('form=compact', 'limit=10000');
    is(scalar @whole, 1, 'a page has up to 10,000');
    is_deeply(unserved(@whole), $order, 'all of them, by name');
    is_deeply(unserved(pages('limit=500')), $order, 'the same in full');
    ok(!$whole[0]{json}{changed_meanwhile}, 'nothing has changed meanwhile');
};

subtest 'names of a server' => sub {
    my @names = map { "n$_.served.example" } 1 .. $NAMES;

    begin("server { listen 127.0.0.1:%%PORT_1%% ssl; server_name @names; certctl on; }\n");
    my ($served) = $edge->give('served', names => \@names);
    my @page  = pages('form=compact', 'limit=700');
    my @given = grep { ($_->{name} // '') eq 'served' } map { @{ $_->{json}{certificates} } } @page;
    is(scalar @given, 1, 'the record of all names is one entry');
    is($given[0]{fingerprint}, fingerprint($served), 'as it is');

    my ($entry) = grep { ($_->{name} // '') eq 'served' } @{ get('name=served')->{json}{certificates} };
    is(@{ $entry->{served_names} } + $entry->{served_names_left_out}, $NAMES + 1,
        'it has all the names, and the one that was asked for: the default server serves it, too');
    $edge->control->delete("$url/served");
    is(scalar(grep { $_->{source} eq 'placeholder' } @{ get('form=compact')->{json}{certificates} }), 1,
        'without it they get the placeholder');
    begin();
};

subtest 'a record that was damaged since' => sub {
    damage($_) for qw(r8 r9);
    # whoever deletes what cannot be read cannot say what it was: all is looked at again
    is($edge->control->delete("$url/r9")->{status}, 200, 'another one is deleted');

    get('form=compact', 'limit=10000');
    begin();
    for my $form (qw(compact full)) {
        my @page = pages("form=$form", 'limit=2000');
        is_deeply(unserved(@page), [ grep { !/^r[89]$/ } @$order ], "$form: it is left out");
        is(join(' ', map { "$_->{code} $_->{text}" } map { @{ $_->{json}{warnings} } } @page),
            'record_unreadable "r8" is damaged on disk: push its certificate again', "$form: with a warning");
    }

    $edge->commit($_, $chain, $key) for qw(r8 r9);
    is_deeply(unserved(pages('form=compact')), $order, 'pushed again they are there');

    damage($_) for qw(r8 r9);
    $edge->control->delete("$url/r9");
    my @page = pages('form=compact');
    is_deeply(unserved(@page), [ grep { $_ ne 'r9' } @$order ], 'a worker that has read it has a copy');
    is(join(' ', map { $_->{code} } map { @{ $_->{json}{warnings} } } @page), 'record_unreadable', 'and warns');
    $edge->commit($_, $chain, $key) for qw(r8 r9);
};

subtest 'records come and go between pages' => sub {
    my %moving = map { ("r$_", 1) } map { $_ * int($COUNT / 41) } 1 .. 40;
    my $before = () = $edge->log =~ /is damaged/g;
    my (@wrong, %seen);

    pipe my $end, my $go or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        close $go;
        my ($bits, $bad, @turn) = ('', 0, sort keys %moving);
        delete $edge->{control};
        vec($bits, fileno $end, 1) = 1;
        for (my $i = 0; !select my $ready = $bits, undef, undef, 0; $i++) {
            my $name = $turn[$i % @turn];
            $bad++ if $edge->control->delete("$url/$name")->{status} !~ /^(?:200|404)$/;
            $bad++ if $edge->control->put("$url/$name?keygen=server", $chain . $key,
                'content-type' => 'application/x-pem-file')->{status} !~ /^20/;
        }
        POSIX::_exit($bad ? 1 : 0);
    }

    for (1 .. 4) {
        my @page = pages('form=compact', 'limit=300');
        my @got  = @{ unserved(@page) };
        my %seen;
        $seen{$_}++ for @got;
        push @wrong, 'twice' if grep { $_ > 1 } values %seen;
        push @wrong, 'order' if "@got" ne join ' ', sort @got;
        push @wrong, 'missing' if grep { !$moving{$_} && !$seen{$_} } @$order;
        push @wrong, 'foreign' if grep { !/^r\d+$/ } @got;
        push @wrong, map { $_->{text} } map { @{ $_->{json}{warnings} } } @page;
    }

    close $go;
    waitpid $pid, 0;
    is($?, 0, 'each write was answered as it should');
    is("@wrong", '', 'what nobody touched is there once and in its place, nothing else');
    my $after = () = $edge->log =~ /is damaged/g;
    is($after, $before, 'nothing was taken for damaged');
    is_deeply(unserved(pages('form=compact')), $order, 'in the end all are there');
};

unlike($edge->log, qr/\[(?:alert|emerg)\]|exited on signal/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends in peace');
done_testing;

# The same but for what the control listener's own handshakes change.
sub same {
    my @text = map { s/"handshakes":\d+,"last_served":[^}]+//gr } @_;
    return $text[0] eq $text[1];
}

# A client that has asked for a page and reads nothing, with small buffers.
sub client {
    my ($version) = @_;
    my $s = IO::Socket::INET->new(Proto => 'tcp') or die "socket: $!";

    setsockopt $s, SOL_SOCKET, SO_RCVBUF, 32768 or die "SO_RCVBUF: $!";
    connect $s, pack_sockaddr_in($edge->port(2), inet_aton('127.0.0.1')) or die "connect: $!";
    $s = IO::Socket::SSL->start_SSL($s, SSL_verify_mode => 0,
        SSL_cert_file => "$dir/controller.pem", SSL_key_file => "$dir/controller.key")
        or die "TLS: $SSL_ERROR";
    print $s "GET $url?limit=10000 HTTP/@{[ $version // '1.1' ]}\r\nHost: x\r\nConnection: close\r\n\r\n";
    return $s;
}

# Head and body of a client's answer.
sub rest {
    my ($s) = @_;
    my $text = '';

    while (sysread $s, $text, 1 << 17, length $text) { }     # until it is closed
    return split /\r\n\r\n/, $text, 2;
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
