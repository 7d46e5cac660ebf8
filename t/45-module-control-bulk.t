#!/usr/bin/perl
# Many certificates in one request: each is stored or refused by itself, what is
# refused leaves no trace, and a body that is not understood changes nothing.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint);
use Certctl::Process qw(has_open slurp wait_until write_file);
use Certctl::TLS 'handshake';
use Fcntl ':flock';
use Time::HiRes 'time';

my $BULK  = 'application/x-certctl-bulk';
my $COUNT = 150;                        # more than share one wait for the disk
my $edge  = Certctl::Edge->new(workers => 2, ca => Certctl::PKI->ca('Root')->sub_ca('CA'),
    conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        certctl on;
    }
CONF

$edge->start;
my $api = $edge->control;
my $url = '/certctl/v1/certificates';

sub bulk {
    my ($body, $type) = @_;
    return $api->post($url, $body, 'content-type' => $type // $BULK);
}

sub pair {
    my ($name) = @_;
    my (undef, $key, $chain) = $edge->ca->issue(names => [$name]);
    return ($chain, $key);
}

sub served { return handshake($edge->port(1), sni => $_[0])->{fingerprint} // '' }

sub commits { return $api->get('/certctl/v1/status')->{json}{counters}{commits} }

subtest 'many at once' => sub {
    my ($body, %want) = ('');

    for my $n (1 .. $COUNT) {
        my ($chain, $key) = pair("n$n.example");
        $want{"n$n.example"} = fingerprint($chain);
        $body .= "\@n$n.example keygen=server\n$chain$key";
    }

    my $r = bulk($body);
    is($r->{status}, 200, 'answered') or diag $r->{content};
    is("$r->{json}{live} $r->{json}{refused}", "$COUNT 0", 'all are live');
    is_deeply({ map { ($_->{name} => $_->{fingerprint}) } @{ $r->{json}{certificates} } },
        \%want, 'each with its fingerprint');
    is(scalar(grep { served($_) ne $want{$_} } map { "n$_.example" } 1, 64, 65, $COUNT), 0,
        'and served');
    unlike(slurp($edge->dir . '/error.log') // '', qr/PRIVATE KEY/, 'no key in the log');

    my $before = commits();
    $r = bulk($body);
    is($r->{json}{live}, $COUNT, 'once more: all are live');
    is(commits(), $before, 'without a write');
    is(join(' ', glob $edge->dir . '/store/writes/*'), '', 'no lock is left');
};

subtest 'a renewal: its key waits on the host' => sub {
    my $dir = $edge->dir;
    my $csr = $api->post("$url/renew/csr?key=ec-p256&san=DNS:renew.example")->{content};

    $edge->file('csr.pem', $csr);
    $edge->file('ca.pem', $edge->ca->cert);
    $edge->file('ca.key', $edge->ca->key, 0600);
    my $chain = Certctl::PKI::openssl('x509', '-req', '-in', "$dir/csr.pem", '-CA', "$dir/ca.pem",
        '-CAkey', "$dir/ca.key", '-days', '30', '-copy_extensions', 'copyall') . $edge->ca->cert;
    my ($other, $key) = pair('other.example');

    my $r = bulk("\@renew\n$chain\@other.example keygen=server\n$other$key");
    is($r->{json}{live}, 2, 'both are live') or diag $r->{content};
    is(served('renew.example'), fingerprint($chain), 'with the key that waited');
};

subtest 'one that is refused, between others' => sub {
    my ($good, $good_key) = pair('good.example');
    my ($bad)  = pair('bad.example');
    my ($old, $old_key) = pair('n1.example');
    my $before = served('n1.example');

    my $r = bulk("\@bad.example\n$bad" . "\@good.example keygen=server\n$good$good_key"
        . "\@n1.example keygen=server if_match=1\n$old$old_key"
        . "\@_agent keygen=server\n$good$good_key" . "\@_good.example keygen=server\n$good$good_key"
        . "\@empty.example\n");
    is($r->{status}, 200, 'answered') or diag $r->{content};
    is(join(' ', map { $_->{status} } @{ $r->{json}{certificates} }), '422 200 412 403 403 422',
        'each has its own status');
    like($_->{error} // '', qr/\w/, "$_->{name}: says why")
        for grep { $_->{status} != 200 } @{ $r->{json}{certificates} };
    is("$r->{json}{live} $r->{json}{refused}", '1 5', 'counted');
    is(served('good.example'), fingerprint($good), 'the good one is served');
    is(served('n1.example'), $before, 'what did not match is as it was');
    is($api->post("$url/$_/rollback")->{status}, 404, "$_: no trace") for qw(bad.example empty.example);
};

subtest 'the same name twice: the later one is live' => sub {
    my ($one, $one_key) = pair('twice.example');
    my ($two, $two_key) = pair('twice.example');
    my $r = bulk("\@twice.example keygen=server\n$one$one_key"
        . "\@twice.example keygen=server\n$two$two_key");

    is($r->{json}{live}, 2, 'both were stored') or diag $r->{content};
    is(served('twice.example'), fingerprint($two), 'the later is served');
};

subtest 'a body that is not understood changes nothing' => sub {
    my ($chain, $key) = pair('never.example');
    my $part = "\@never.example keygen=server\n$chain$key";
    my $before = commits();

    for (['no line', $chain, 400], ['nothing', '', 400], ['no name', "$part\@\n$chain", 400],
        ['a wrong name', "$part\@a/b\n$chain", 400], ['a path', "$part\@..\n$chain", 400],
        ['an unknown word', "$part\@a.example force=1\n$chain", 400],
        ['a word twice', "$part\@a.example keygen=server keygen=server\n$chain", 400],
        ['two blanks', "$part\@a.example  keygen=server\n$chain", 400],
        ['a long If-Match', "$part\@a.example if_match=" . '1' x 99 . "\n$chain", 400],
        ['more than 1,000', $part . "\@a\n" x 1000, 413],
        ['more than a body may hold', "\n" x 1_048_577, 413])
    {
        my ($what, $body, $status) = @$_;
        my $r = bulk($body);

        is($r->{status}, $status, $what) or diag $r->{content};
    }

    is(bulk($part, 'application/x-pem-file')->{status}, 415, 'another media type');
    is($api->put($url, $part, 'content-type' => $BULK)->{status}, 405, 'another method');
    is(commits(), $before, 'nothing was committed');
    is($api->post("$url/never.example/rollback")->{status}, 404, 'nothing is there');
};

# Threads give way to an event loop that is late: one that is about to end, too, says
# that it is not. Or each certificate would wait 5 ms, which are 1.5 s and more here.
subtest 'a worker that quits is no slower' => sub {
    my @pairs = map { [pair("r$_.example")] } 1 .. 300;
    my ($took, $alone);

    # what else the machine does falls on either of the two
    for my $try (1 .. 30) {
        $alone = bulk_seconds("a$try", sub { }, @pairs);
        $took = bulk_seconds("b$try", sub {
            my $from = length $edge->log;
            my ($worker) = @_;

            kill 'HUP', $edge->pid;
            ok($edge->logged(qr/ $worker#\d+: gracefully shutting down/, $from), 'it is told to quit');
        }, @pairs);
        last if $took < $alone + 0.75;
        diag(sprintf 'try %d: %.2f s, alone %.2f s', $try, $took, $alone);
    }

    cmp_ok($took, '<', $alone + 0.75, 'than one that goes on');
};

# How long a bulk takes under names of its own, from when the first may be written;
# $meanwhile is done before, with the worker that waits for that.
sub bulk_seconds {
    my ($prefix, $meanwhile, @pairs) = @_;
    my $body = join '', map { "\@$prefix-$_ keygen=server\n$pairs[$_][0]$pairs[$_][1]" } 0 .. $#pairs;
    my $file = $edge->dir . "/store/writes/$prefix-0";
    my $worker;

    open my $lock, '+<', write_file($file, '', 0666) or die $!;
    flock $lock, LOCK_EX or die $!;

    my $c = $edge->connection;
    print $c join "\r\n", "POST $url HTTP/1.1", 'Host: x', "Content-Type: $BULK", 'Connection: close',
        'Content-Length: ' . length $body, '', $body;
    ok(wait_until(8, sub { return ($worker) = grep { has_open($file, $_) } $edge->workers }), 'a bulk waits');
    $meanwhile->($worker);

    my $begin = time;
    close $lock;
    my $answer = join '', <$c>;
    like($answer, qr/"live":300\b/, 'all are live');
    return time - $begin;
}

delete $edge->{control};                # its worker may be gone
$api = $edge->control;

like($api->get('/certctl/v1/metrics')->{content},
    qr/^certctl_event_loop_lag_max_us\{worker="1"\} \d+$/m, 'the lag of the event loops');

done_testing();
