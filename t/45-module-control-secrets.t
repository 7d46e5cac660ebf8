#!/usr/bin/perl
# A private key that is sent to a host (keygen=server) goes nowhere but into the
# sealed record: no file, not with the smallest buffers and NGINX told to write
# bodies down; no memory of a worker once the request is over; no answer.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint pem_to_der);
use Certctl::Process qw(run sanitized slurp taken wait_until);
use Certctl::TLS 'handshake';
use MIME::Base64 'encode_base64';
use Time::HiRes 'stat';

my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
# http2 as NGINX 1.22 to 1.30 take it
my $edge = Certctl::Edge->new(workers => 1, ca => $ca, http => <<'HTTP', conf => <<'CONF');
    client_body_in_file_only on;
    client_body_buffer_size 128;
    client_header_buffer_size 1k;
    certctl_discover %%DIR%%/found;
HTTP
    server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }
    server { listen 127.0.0.1:%%PORT_2%% ssl http2; certctl_agent; }
    server {
        listen 127.0.0.1:%%PORT_3%%;
        location /upload { proxy_pass http://127.0.0.1:%%PORT_3%%/taken; }
        location /taken { return 204; }
    }
CONF
my $dir  = $edge->dir;
my $url  = '/certctl/v1';
my $PEM  = 'application/x-pem-file';
my $LONG = 60_000;

mkdir "$dir/found";
$edge->start;

my ($worker) = $edge->workers;
my $bodies = "$dir/client_body";

# A folder's time of change tells of a file that has come and gone, too.
sub bodies { return join ' ', (stat $bodies)[9], glob "$bodies/*" }

sub client {
    my ($port) = @_;
    return $edge->connection($port);
}

# The ways that a key may be seen in: as it was sent, and what one could make of
# it.
sub forms {
    my ($key) = @_;
    # SEC 1 and PKCS#8 alike: the private number stands behind this
    my ($secret) = pem_to_der($key) =~ /\x02\x01\x01\x04\x20(.{32})/s or die 'no P-256 key';

    return (PEM => substr($key, index($key, "\n") + 20, 40), number => $secret, hex => unpack('H*', $secret),
        base64 => substr(encode_base64($secret, ''), 0, 40));
}

# Which forms of the keys are in a text.
sub seen {
    my ($text, @keys) = @_;
    my %found;

    for my $key (@keys) {
        my %form = forms($key);
        index($text, $form{$_}) >= 0 and $found{$_} = 1 for keys %form;
    }

    return join ' ', sort keys %found;
}

# How many keys are in the memory of the worker as they were sent. Their numbers
# are, too: NGINX has to sign with them, and OpenSSL leaves them where it parsed.
sub memory {
    my @sent = map { { forms($_) }->{PEM} } @_;
    my %found;

    open my $mem, '<:raw', "/proc/$worker/mem" or die "/proc/$worker/mem: $!";
    for (split /\n/, slurp("/proc/$worker/maps")) {
        my ($from, $to, $how) = /^(\w+)-(\w+) (\S+)/ or next;
        next if $how !~ /^rw/ || /\[vv/;
        no warnings 'portable';
        ($from, $to) = map { hex } $from, $to;
        sysseek $mem, $from, 0 or next;
        my $got = sysread $mem, my $text, $to - $from or next;
        $found{$_} = 1 for grep { index($text, $_) >= 0 } @sent;
    }

    return scalar keys %found;
}

my $searchable = !sanitized() && open my $try, '<', "/proc/$worker/mem";
my @keys;                               # all that were sent

# A client has its answer a moment before the request is over. Nothing is asked
# meanwhile: what is left then stays.
sub forgotten {
    my ($what) = @_;
    return ok(wait_until(10, sub { memory(@keys) == 0 }), "$what: in no memory afterwards") || diag memory(@keys);
}

# A body with a key, as long as asked for; kept for the searches.
sub body {
    my ($name, $length) = @_;
    my ($crt, $key, $chain) = $ca->issue(names => ["$name.example"]);
    my $body = $chain . $key;

    push @keys, $key;
    $body .= "\n" x ($length - length $body) if $length;
    return ($body, fingerprint($crt));
}

sub live {
    my ($name, $fp, $what) = @_;
    return is(handshake($edge->port(1), sni => "$name.example")->{fingerprint}, $fp, "$what: live");
}

subtest 'NGINX itself would write a body down' => sub {
    my $before = bodies();
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $edge->port(3)) or die $!;

    print $s "PUT /upload HTTP/1.0\r\nHost: x\r\nContent-Length: $LONG\r\n\r\n", 'x' x $LONG;
    like(join('', <$s>), qr/^HTTP\S+ 204/, 'a body beside');
    isnt(bodies(), $before, 'went into a file: this test would see it');
    unlink glob "$bodies/*";
};

subtest 'HTTP/1.1' => sub {
    my $before = bodies();

    for (['in one piece', 0, 1], ['60 KB', $LONG, 1], ['60 KB in pieces', $LONG, 7]) {
        my ($what, $length, $pieces) = @$_;
        my ($body, $fp) = body('one', $length);
        my $s = client('control');
        my $step = int(length($body) / $pieces) + 1;
        my $held;

        print $s "PUT $url/certificates/one?keygen=server HTTP/1.1\r\nHost: x\r\nContent-Type: $PEM\r\n"
            . 'Content-Length: ' . length($body) . "\r\nConnection: close\r\n\r\n";

        for my $at (0 .. $pieces - 1) {
            print $s substr $body, $at * $step, $step;

            # while a request is under way its key is there: the search finds it
            $held //= wait_until(10, sub { memory($keys[-1]) }) if $searchable && $pieces > 1;
            wait_until(20, sub { taken($s) }) if $pieces > 1;
        }

        like(join('', <$s>), qr/^HTTP\S+ 200/, "$what: taken");
        live('one', $fp, $what);
        is(bodies(), $before, "$what: in no file");

        SKIP: {
            skip 'the memory of a worker cannot be read here', 1 if !$searchable;
            is($held, 1, "$what: in memory during the request") if $pieces > 1;
            forgotten($what);
        }
    }
};

subtest 'HTTP/2' => sub {
    my $before = bodies();

    for (['short', 0], ['60 KB', $LONG]) {
        my ($what, $length) = @$_;
        my ($body, $fp) = body('two', $length);

        $edge->file('body.key', $body, 0600);
        is(run("$dir/curl.log", 'curl', '-sk', '--http2', '--cert', "$dir/controller.pem", '--key', "$dir/controller.key",
            '-X', 'PUT', '-T', "$dir/body.key", '-H', "Content-Type: $PEM", '-w', '%{http_code} %{http_version}',
            'https://127.0.0.1:' . $edge->port(2) . "$url/certificates/two?keygen=server"), 0, "$what: sent");
        like(slurp("$dir/curl.log"), qr/200 2$/, "$what: taken");
        live('two', $fp, $what);
        is(bodies(), $before, "$what: in no file");
        unlink "$dir/body.key", "$dir/curl.log";

        SKIP: {
            skip 'the memory of a worker cannot be read here', 1 if !$searchable;
            forgotten($what);
        }
    }
};

subtest 'refused' => sub {
    my $before = bodies();
    my ($body) = body('three', 0);

    for (['another key', $body =~ s/-----BEGIN CERT.*?(?=-----BEGIN [^C])//sr . $ca->cert, 422],
        ['broken PEM behind it', "$body\n-----BEGIN RUBBISH", 422], ['without keygen=server', $body, 422, ''])
    {
        my ($what, $sent, $status, $query) = @$_;
        my $r = $edge->control->put("$url/certificates/three" . ($query // '?keygen=server'), $sent,
            'content-type' => $PEM);

        is($r->{status}, $status, "$what: refused") or diag $r->{content};
        is(seen($r->{content}, @keys), '', "$what: the answer does not show it");
        is(bodies(), $before, "$what: in no file");
        SKIP: {
            skip 'the memory of a worker cannot be read here', 1 if !$searchable;
            forgotten($what);
        }
    }

    # a client that goes away with its key half sent
    my $s = client('control');
    print $s "PUT $url/certificates/three?keygen=server HTTP/1.1\r\nHost: x\r\nContent-Type: $PEM\r\n"
        . 'Content-Length: ' . (1000 + length $body) . "\r\n\r\n$body";
    wait_until(10, sub { memory($keys[-1]) }) if $searchable;
    $s->close(SSL_no_shutdown => 1);

    SKIP: {
        skip 'the memory of a worker cannot be read here', 1 if !$searchable;
        forgotten('a client that goes away');
    }
};

# No request gives a key back: each one that answers is asked, with all it takes.

subtest 'no answer' => sub {
    $edge->file('found/mine.pem', $keys[0]);
    my @ask = ((map { (['GET', $_]) } '/status', '/metrics', '/certificates', '/certificates?form=compact',
        '/certificates?name=one', '/certificates/one', '/certificates/one/key', '/certificates/one?keygen=server'),
        ['POST', '/certificates/one/csr?reuse_key=1&san=DNS:one.example'], ['POST', "/discover?dir=$dir/found"],
        ['POST', '/certificates/one/rollback'], ['PUT', '/certificates/one'], ['DELETE', '/certificates/two']);

    for (@ask) {
        my ($method, $path) = @$_;
        my $r = $edge->control->request($method, "$url$path");

        cmp_ok($r->{status}, '<', 500, "$method $path: $r->{status}");
        is(seen(join("\n", $r->{content}, values %{ $r->{headers} }), @keys), '', "$method $path: no key");
        unlike($r->{content}, qr/PRIVATE KEY/, "$method $path: nor the word");
    }
};

is(join(' ', grep { seen(slurp($_), @keys) } grep { !/\.key$|found/ } split /\n/, `find $dir -type f`), '',
    'no file has any of ' . @keys . ' keys');
$edge->stop;
unlike($edge->log, qr/\[(?:alert|emerg|crit)\]|temporary file.*control/, 'no alarms in the log, no temporary file');
done_testing;
