#!/usr/bin/perl
# Forms of requests that a proxy before the server may read differently: refused with
# 400 and the end of the connection, on both listeners, whole and byte by byte; and
# the forms beside them that are right.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process 'patience';
use IO::Select;
use IO::Socket::INET;
use IO::Socket::SSL;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More;

my $d    = api_daemon(config => "api_threads = 1\n");
my $crl  = '/.well-known/pki/crl/iss-local';
my $ocsp = '/.well-known/pki/ocsp/iss-local';
my $get  = "GET $crl HTTP/1.1\r\n";
my $post = "POST $ocsp HTTP/1.1\r\nHost: a\r\n";
my $next = "GET $crl HTTP/1.1\r\nHost: a\r\nX-Next: 1\r\n\r\n";

# A name, the bytes, and the rule that its refusal names.
my @refused = (
    # the request line
    ['two spaces behind the method', "GET  $crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['two spaces before the version', "GET $crl  HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112/],
    ['a tab behind the method', "GET\t$crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['a tab before the version', "GET $crl\tHTTP/1.1\r\nHost: a\r\n\r\n", qr/9112/],
    ['a blank before the method', " GET $crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['a blank behind the version', "GET $crl HTTP/1.1 \r\nHost: a\r\n\r\n", qr/9112/],
    ['a vertical tab between the words', "GET\x0b$crl\x0bHTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['a blank in the path', "GET $crl x HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112/],
    ['no version', "GET $crl\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['no path', "GET HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['version 1.2', "GET $crl HTTP/1.2\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['version 1.10', "GET $crl HTTP/1.10\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['version 2.0', "GET $crl HTTP/2.0\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['version 0.9', "GET $crl HTTP/0.9\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['a version in small letters', "GET $crl http/1.1\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['a version with zeros', "GET $crl HTTP/01.1\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['another protocol', "GET $crl ICAP/1.1\r\nHost: a\r\n\r\n", qr/9112 2\.3/],
    ['the preface of HTTP/2', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", qr/9112 2\.3/],
    ['a method with a colon', "GET: $crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['a method in quotes', "\"GET\" $crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['a method of 100 letters', 'G' x 100 . " $crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3/],
    ['two empty lines before it', "\r\n\r\n${get}Host: a\r\n\r\n", qr/9112 3/],
    ['a path without its slash', "GET health HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3\.2/],
    ['a fragment', "GET $crl#x HTTP/1.1\r\nHost: a\r\n\r\n", qr/3986/],
    ['a backslash in the path', "GET /.well-known\\pki HTTP/1.1\r\nHost: a\r\n\r\n", qr/3986/],
    ['a byte of no ASCII in the path', "GET $crl\xff HTTP/1.1\r\nHost: a\r\n\r\n", qr/3986/],
    ['a control character in the path', "GET $crl\x01 HTTP/1.1\r\nHost: a\r\n\r\n", qr/3986/],
    ['a quote in the query', "GET $crl?a=\" HTTP/1.1\r\nHost: a\r\n\r\n", qr/3986/],
    ['CONNECT', "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", qr/9112 3\.2/],
    ['"*" without OPTIONS', "GET * HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3\.2/],
    ['a URL with another host', "GET http://b$crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3\.2\.2/],
    ['a URL with a user', "GET http://a\@b$crl HTTP/1.1\r\nHost: b\r\n\r\n", qr/9112 3\.2\.2/],
    ['a URL of another scheme', "GET file://a$crl HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3\.2/],
    ['a URL without a path', "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", qr/9112 3\.2\.2/],

    # ends of lines
    ['a bare LF behind the request line', "GET $crl HTTP/1.1\nHost: a\r\n\r\n", qr/9112 2\.2/],
    ['a bare LF behind a header', "${get}Host: a\nX: b\r\n\r\n", qr/9112 2\.2/],
    ['a bare LF as the last line', "${get}Host: a\r\n\n", qr/9112 2\.2/],
    ['bare LFs only', "GET $crl HTTP/1.1\nHost: a\n\n", qr/9112 2\.2/],
    ['a bare CR in a value', "${get}Host: a\r\nX: b\rc\r\n\r\n", qr/9112 2\.2/],
    ['a bare CR between headers', "${get}Host: a\rX: b\r\n\r\n", qr/9112 2\.2/],
    ['two CRs', "${get}Host: a\r\r\n\r\n", qr/9112 2\.2/],
    ['a bare LF before the request line', "\n${get}Host: a\r\n\r\n", qr/9112 2\.2/],
    ['a NUL in the request line', "GET $crl\0 HTTP/1.1\r\nHost: a\r\n\r\n", qr/9110 5\.5/],
    ['a NUL in a name', "${get}Host: a\r\nX\0: b\r\n\r\n", qr/9110 5\.5/],
    ['a NUL in a value', "${get}Host: a\r\nX: b\0c\r\n\r\n", qr/9110 5\.5/],

    # lines of the head
    ['a blank before the colon', "${get}Host : a\r\n\r\n", qr/9112 5/],
    ['a tab before the colon', "${get}Host: a\r\nX\t: b\r\n\r\n", qr/9112 5/],
    ['a blank in a name', "${get}Host: a\r\nX Y: b\r\n\r\n", qr/9112 5/],
    ['an empty name', "${get}Host: a\r\n: b\r\n\r\n", qr/9112 5/],
    ['a line without a colon', "${get}Host: a\r\nnothing\r\n\r\n", qr/9112 5/],
    ['a name in brackets', "${get}Host: a\r\n(X): b\r\n\r\n", qr/9112 5/],
    ['a name with no ASCII', "${get}Host: a\r\nX\xe9: b\r\n\r\n", qr/9112 5/],
    ['a form feed before the colon', "${get}Host: a\r\nX\x0c: b\r\n\r\n", qr/9112 5/],
    ['a folded line', "${get}Host: a\r\nX: b\r\n c\r\n\r\n", qr/9112 5\.2/],
    ['a line folded with a tab', "${get}Host: a\r\nX: b\r\n\tc\r\n\r\n", qr/9112 5\.2/],
    ['a blank before the first header', "$get Host: a\r\n\r\n", qr/9112 5\.2/],
    ['a line of blanks', "${get}Host: a\r\n  \r\n\r\n", qr/9112 5\.2/],
    ['a control character in a value', "${get}Host: a\r\nX: b\x01\r\n\r\n", qr/9110 5\.5/],
    ['a DEL in a value', "${get}Host: a\r\nX: b\x7f\r\n\r\n", qr/9110 5\.5/],
    ['101 headers', "${get}Host: a\r\n" . "X: b\r\n" x 100 . "\r\n", qr/at most 100/],

    # what is there once
    ['no Host', "$get\r\n", qr/9112 3\.2/],
    ['two Hosts', "${get}Host: a\r\nHost: b\r\n\r\n", qr/9110 5\.3/],
    ['the same Host twice', "${get}Host: a\r\nhost: a\r\n\r\n", qr/9110 5\.3/],
    ['an empty Host', "${get}Host:\r\n\r\n", qr/9112 3\.2/],
    ['two names in Host', "${get}Host: a, b\r\n\r\n", qr/9112 3\.2/],
    ['a user in Host', "${get}Host: a\@b\r\n\r\n", qr/9112 3\.2/],
    ['a path in Host', "${get}Host: a/b\r\n\r\n", qr/9112 3\.2/],
    ['a port of letters in Host', "${get}Host: a:b\r\n\r\n", qr/9112 3\.2/],
    ['an open bracket in Host', "${get}Host: [::1\r\n\r\n", qr/9112 3\.2/],
    ['two Authorizations', "${get}Host: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", qr/9110 5\.3/],
    ['two Content-Types', "${post}Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 1\r\n\r\nx", qr/9110 5\.3/],
    ['two Idempotency-Keys', "${post}Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 1\r\n\r\nx", qr/9110 5\.3/],
    ['two If-Matches', "${get}Host: a\r\nIf-Match: \"a\"\r\nIf-Match: \"b\"\r\n\r\n", qr/9110 5\.3/],
    ['Authorization in Connection', "${get}Host: a\r\nConnection: close, authorization\r\n\r\n", qr/9110 7\.6\.1/],
    ['Content-Length in Connection', "${post}Connection: Content-Length\r\nContent-Length: 1\r\n\r\nx", qr/9110 7\.6\.1/],
    ['another expectation', "${post}Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", qr/9110 10\.1\.1/],

    # how long it is
    ['two lengths', "${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", qr/9110 5\.3/],
    ['the same length twice', "${post}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", qr/9110 5\.3/],
    ['a list of lengths', "${post}Content-Length: 1, 1\r\n\r\nx", qr/9110 8\.6/],
    ['a length with a plus', "${post}Content-Length: +1\r\n\r\nx", qr/9110 8\.6/],
    ['a length with a minus', "${post}Content-Length: -1\r\n\r\nx", qr/9110 8\.6/],
    ['a hexadecimal length', "${post}Content-Length: 0x1\r\n\r\nx", qr/9110 8\.6/],
    ['a length with a fraction', "${post}Content-Length: 1.0\r\n\r\nx", qr/9110 8\.6/],
    ['a length with a blank inside', "${post}Content-Length: 1 2\r\n\r\nx", qr/9110 8\.6/],
    ['an empty length', "${post}Content-Length:\r\n\r\nx", qr/9110 8\.6/],
    ['a length of letters', "${post}Content-Length: one\r\n\r\nx", qr/9110 8\.6/],
    ['a length beyond 64 bits', "${post}Content-Length: 18446744073709551617\r\n\r\nx", qr/9110 8\.6/],
    ['a length and chunks', "${post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", qr/9112 6\.3/],
    ['chunks and a length', "${post}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nx", qr/9112 6\.3/],
    ['chunks in HTTP/1.0', "POST $ocsp HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", qr/9112 6\.1/],
    map { ["Transfer-Encoding: $_", "${post}Transfer-Encoding: $_\r\n\r\n0\r\n\r\n", qr/9112 6\.1/] }
        'identity', 'gzip, chunked', 'chunked, chunked', 'chunked, identity', 'xchunked', 'chunked;a=b', '"chunked"',
        'chunked,', ', chunked', '',
);

push @refused, ['two Transfer-Encodings', "${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", qr/9110 5\.3/],
    ['a Transfer-Encoding with a blank', "${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", qr/9112 5/],
    ['a folded Transfer-Encoding', "${post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", qr/9112 5\.2/];

# chunks
my $chunks = "${post}Transfer-Encoding: chunked\r\n\r\n";
push @refused, map { ["a chunk size \"$_->[0]\"", "$chunks$_->[0]\r\nx\r\n0\r\n\r\n", $_->[1] // qr/9112 7\.1/] }
    ['0x1'], ['+1'], ['-1'], [' 1'], ['1 '], ["1\t"], ['1g'], [''], ['1,1'], ['000000001'], ['10000000000000001'],
    ['1 ;a=b'], ['1; a=b'], ["1;a=\x01"], ["1;a=b\xff"], ["1\0", qr/9110 5\.5/];
push @refused,
    ['a chunk size that ends with LF', "${chunks}1\nx\r\n0\r\n\r\n", qr/9112 2\.2/],
    ['a chunk extension that ends with LF', "${chunks}1;a\nx\r\n0\r\n\r\n", qr/9112 2\.2/],
    ['a chunk that ends with LF', "${chunks}1\r\nx\n0\r\n\r\n", qr/9112 (?:2\.2|7\.1)/],
    ['a chunk that is longer than its size', "${chunks}1\r\nxy\r\n0\r\n\r\n", qr/9112 7\.1/],
    ['a chunk without its end', "${chunks}1\r\nx0\r\n\r\n", qr/9112 7\.1/],
    ['a chunk extension of 600 bytes', "${chunks}1;" . 'a' x 600 . "\r\nx\r\n0\r\n\r\n", qr/9112 7\.1/],
    ['the last chunk ends with LF', "${chunks}0\r\n\n", qr/9112 2\.2/],
    ['a trailer without a colon', "${chunks}0\r\nnothing\r\n\r\n", qr/9112 5/],
    ['a trailer with a blank before its colon', "${chunks}0\r\nX : b\r\n\r\n", qr/9112 5/],
    ['a folded trailer', "${chunks}0\r\nX: b\r\n c\r\n\r\n", qr/9112 5\.2/],
    ['Content-Length as a trailer', "${chunks}0\r\nContent-Length: 5\r\n\r\n", qr/9110 6\.5\.1/],
    ['Authorization as a trailer', "${chunks}0\r\nAuthorization: Bearer a\r\n\r\n", qr/9110 6\.5\.1/],
    ['trailers of 5,000 bytes', "${chunks}0\r\n" . ('X: ' . 'b' x 95 . "\r\n") x 50 . "\r\n", qr/at most 4096/];

cmp_ok(scalar @refused, '>=', 72, scalar(@refused) . ' shapes');

for my $listener (qw(TLS plain)) {
    for my $pieces (0, 1) {
        subtest "refused: $listener, " . ($pieces ? 'byte by byte' : 'at once') => sub {
            for my $case (@refused) {
                my ($name, $bytes, $rule) = @$case;
                next if $pieces && length $bytes > 400;
                my @replies = replies($listener, $bytes . $next, $pieces);

                ok(@replies == 1 && $replies[0]{status} eq '400' && $replies[0]{head} =~ /^Connection: close\r$/m
                    && $replies[0]{head} =~ m{^Content-Type: application/problem\+json\r$}m
                    && $replies[0]{body} =~ $rule && $replies[0]{ended}, $name)
                    or diag map { "$_->{status}: $_->{head}$_->{body}\n" } @replies;
            }
        };
    }
}

subtest 'right, with another request behind it' => sub {
    my %right = (
        'a path' => "${get}Host: a\r\n\r\n",
        'a header in odd letter case' => "${get}hOsT:a\r\n\r\n",
        'a port' => "${get}Host: a.example.com:8443\r\n\r\n",
        'an IPv6 address' => "${get}Host: [::1]:8443\r\n\r\n",
        'tabs and blanks around a value' => "${get}Host: \t a \t \r\n\r\n",
        'an empty value' => "${get}Host: a\r\nX:\r\n\r\n",
        'bytes beyond ASCII in a value' => "${get}Host: a\r\nX: \xc3\xa9\r\n\r\n",
        'one empty line before it' => "\r\n${get}Host: a\r\n\r\n",
        'the URL' => "GET http://A$crl HTTP/1.1\r\nHost: a\r\n\r\n",
        'a query' => "GET $crl?a=b/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
        'two headers of one name' => "${get}Host: a\r\nAccept: a/b\r\nAccept: c/d\r\n\r\n",
        '100 headers' => "${get}Host: a\r\n" . "X: b\r\n" x 99 . "\r\n",
        'a length' => "${post}Content-Length: 3\r\n\r\nxyz",
        'a length with zeros' => "${post}Content-Length: 0003\r\n\r\nxyz",
        'no body' => "${post}Content-Length: 0\r\n\r\n",
        'chunks' => "${chunks}1\r\nx\r\n0002\r\nyz\r\n0\r\n\r\n",
        'chunks in odd letter case' => "${post}transfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        'a chunk extension' => "${chunks}1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n",
        'a trailer' => "${chunks}1\r\nx\r\n0\r\nX-Sum: 5\r\n\r\n",
        'a body of a GET' => "${get}Host: a\r\nContent-Length: 40\r\n\r\n" . substr($next, 0, 40),
        'OPTIONS *' => "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        'Expect' => "${post}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        'Connection with other names' => "${get}Host: a\r\nConnection: keep-alive, X\r\n\r\n",
    );

    for my $listener (qw(TLS plain)) {
        for my $name (sort keys %right) {
            my @replies = grep { $_->{status} ne '100' }
                replies($listener, $right{$name} . ($next =~ s/X-Next: 1/Connection: close/r), 0);

            ok(@replies == 2 && $replies[1]{status} eq '200' && $replies[0]{body} !~ /RFC 9[01]\d\d/
                && $replies[0]{head} !~ /^Connection: close/m, "$listener: $name")
                or diag map { "$_->{status}: $_->{head}" . substr($_->{body}, 0, 300) . "\n" } @replies;
        }
    }
};

subtest 'HTTP/1.0' => sub {
    my @replies = replies('plain', "GET $crl HTTP/1.0\r\n\r\n$next", 0);
    is(scalar @replies, 1, 'one request');
    is($replies[0]{status}, '200', 'is answered, without a Host');
    like($replies[0]{head}, qr/^Connection: close\r$/m, 'and is the only one');

    @replies = replies('plain', "GET $crl HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET $crl HTTP/1.0\r\n\r\n", 0);
    is(join(' ', map { $_->{status} } @replies), '200 200', 'unless it asks for more');
};

subtest 'too much' => sub {
    my %large = (
        'a head of 20,000 bytes' => "${get}Host: a\r\nX: " . 'x' x 20000 . "\r\n\r\n",
        'a request line of 20,000 bytes' => 'GET /' . 'x' x 20000,
        'a name of 20,000 bytes' => $get . 'X' x 20000,
        'a length of 2 MB' => "${post}Content-Length: 2000000\r\n\r\nx",
        'a length of 18 digits' => "${post}Content-Length: 999999999999999999\r\n\r\nx",
        'a chunk of 2 GB' => "${chunks}7fffffff\r\nx",
        'a chunk of 4 GB' => "${chunks}ffffffff\r\nx",
        'chunks of 2 MB' => $chunks . ("10000\r\n" . 'x' x 65536 . "\r\n") x 32,
    );

    for my $name (sort keys %large) {
        for my $listener (qw(TLS plain)) {
            my @replies = replies($listener, $large{$name} . $next, 0);
            ok(@replies == 1 && $replies[0]{status} eq '413' && $replies[0]{head} =~ /^Connection: close\r$/m,
                "$listener: $name") or diag map { "$_->{status}: $_->{body}\n" } @replies;
        }
    }
};

is($d->api->get('/health')->{status}, 200, 'the server goes on');
unlike($d->log, qr/X-Next|0123456789/, 'nothing of them is in the log');
done_testing();

sub replies {
    my ($listener, $bytes, $pieces) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', Timeout => 30 * patience(),
        PeerPort => $listener eq 'TLS' ? $d->port : $d->pki_port) or die "connect: $!";
    my ($text, $ended, @replies) = ('', 0);

    local $SIG{PIPE} = 'IGNORE';
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    IO::Socket::SSL->start_SSL($socket, SSL_ca_file => $d->ca, SSL_verifycn_name => '127.0.0.1')
        || die "TLS: $SSL_ERROR" if $listener eq 'TLS';

    for (my $at = 0; $at < length $bytes; ) {
        my $n = syswrite $socket, $bytes, $pieces || 16384, $at;
        last if !$n;
        $at += $n;
    }

    while (1) {
        last if !($socket->can('pending') && $socket->pending)
            && !IO::Select->new($socket)->can_read(10 * patience());
        my $n = sysread $socket, $text, 65536, length $text;
        $ended = 1, last if defined $n && $n == 0;
        last if !defined $n;
    }

    while ($text =~ s{\A(HTTP/1\.1 (\d+) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*)\r\n}{}) {
        my ($head, $status) = ($1, $2);
        my $length = $head =~ /^Content-Length: (\d+)\r$/mi ? $1 : 0;

        push @replies, { status => $status, head => $head, body => substr($text, 0, $length, ''), ended => $ended };
    }

    push @replies, { status => 'rest', head => $text, body => '', ended => $ended } if length $text;
    return @replies;
}
