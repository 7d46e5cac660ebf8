#!/usr/bin/perl
# Which certificate a handshake gets: the placeholder, then the store's for the
# name, in every worker at once; sessions survive; variables tell what it was.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::TLS 'handshake';
use IO::Socket::INET;

my $edge = Certctl::Edge->new(workers => 2, conf => <<'CONF');
    ssl_session_cache shared:sessions:1m;

    server {
        listen 127.0.0.1:%%PORT_1%% ssl reuseport;
        server_name ~^f.*t$ first.* first.example also.example;
        certctl on;
        location / {
            return 200 "$pid|$certctl_certificate|$certctl_source|$certctl_fingerprint|$certctl_not_after|$certctl_days_left|$certctl_staple|";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name pinned.example;
        certctl on;
        certctl_certificate pin-1;
    }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        listen 127.0.0.1:%%PORT_3%%;
        certctl on;
        location / { return 200 "$pid|$certctl_certificate|$certctl_source|"; }
    }

    # these cannot use keys of every kind
    server {
        listen 127.0.0.1:%%PORT_4%% ssl;
        certctl on;
        ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256;
    }
    server {
        listen 127.0.0.1:%%PORT_5%% ssl;
        certctl on;
        ssl_conf_command SignatureAlgorithms RSA-PSS+SHA256;
    }

    # this one takes no RSA key of 2048 bits
    server {
        listen 127.0.0.1:%%PORT_6%% ssl;
        server_name strong.example;
        certctl on;
        ssl_ciphers DEFAULT:@SECLEVEL=3;
        ssl_certificate %%DIR%%/$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/$ssl_server_name.key;
    }
CONF

my @field = qw(pid certificate source fingerprint not_after days_left staple);

# The variables as the server prints them.
sub variables {
    my ($h) = @_;
    my ($body) = ($h->{answer} // '') =~ /\r\n\r\n(.*)/s;
    my %v;

    @v{@field} = split /\|/, $body // '', -1;
    return \%v;
}

sub get { return handshake($edge->port(1), keep => 1, @_) }

# The fingerprints that every worker serves for a name, by worker.
sub by_worker {
    my (%o) = @_;
    my %seen;

    for (1 .. 200) {
        my $h = get(%o);
        $seen{ variables($h)->{pid} }{ $h->{fingerprint} }++;
        last if keys %seen == $edge->{workers};
    }

    return \%seen;
}

$edge->start;

# Nothing stored: a complete TLS server all the same.

my $h = get(sni => 'first.example');
is($h->{error}, '', 'a server without ssl_certificate answers');
my $placeholder = $h->{fingerprint};
my $v = variables($h);
is($v->{source}, 'placeholder', '$certctl_source: placeholder');
is($v->{certificate}, 'certctl.invalid', '$certctl_certificate: placeholder');
is($v->{fingerprint}, $placeholder, '$certctl_fingerprint: placeholder');
cmp_ok($v->{days_left}, '>', 3600, 'it is valid for years');
is(handshake($edge->port(2))->{fingerprint}, $placeholder,
    'one placeholder for all servers');
is(get(sni => 'first.example', tls => '1.2')->{fingerprint}, $placeholder, 'TLS 1.2');

# A stored certificate, live in every worker when PUT has answered.

by_worker(sni => 'first.example');
my ($crt) = $edge->give('site', names => ['first.example', '*.wild.example', 'www.wild.example']);
my $first = fingerprint($crt);
my $seen  = by_worker(sni => 'first.example');

is(keys %$seen, 2, 'both workers answered');
is_deeply([map { keys %$_ } values %$seen], [$first, $first],
    'each serves the stored certificate');

for my $name ('first.example', 'FIRST.example', 'www.wild.example', 'any.wild.example',
    'ANY.wild.example')
{
    is(get(sni => $name)->{fingerprint}, $first, "served for $name");
}

is(get()->{fingerprint}, $first, 'without SNI: of the first server_name that can have a certificate');
is(get(sni => $_)->{fingerprint}, $first, "for $_ as without SNI") for 'unknown.example', 'a.b.wild.example';

my $label = fingerprint(scalar $edge->give('label', names => ['*.label.example']));
is(get(sni => 'any.label.example')->{fingerprint}, $label, 'a wildcard');
is(get(sni => $_)->{fingerprint}, $first, "not for $_") for 'label.example', 'a.b.label.example';

$v = variables(get(sni => 'any.wild.example'));
is($v->{certificate}, 'site',   '$certctl_certificate');
is($v->{source},      'store',  '$certctl_source');
is($v->{fingerprint}, $first,   '$certctl_fingerprint');
like($v->{days_left}, qr/^(?:89|90)$/, '$certctl_days_left');
like($v->{not_after}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, '$certctl_not_after');
is($v->{staple}, 'not_applicable', '$certctl_staple: it names no responder');

# Exact before wildcard.

my $exact = fingerprint(scalar $edge->give('exact', names => ['one.wild.example']));
is(get(sni => 'one.wild.example')->{fingerprint}, $exact, 'exact before wildcard');
is(get(sni => 'two.wild.example')->{fingerprint}, $first, 'wildcard for the others');

# ECDSA and RSA by what the client can verify.

my $rsa = fingerprint(scalar $edge->give('site-rsa', names => ['first.example'],
    key => 'rsa-2048'));
is(get(sni => 'first.example')->{fingerprint}, $first, 'ECDSA where both are there');
is(get(sni => 'first.example', tls => '1.2', ciphers => 'aRSA:@SECLEVEL=1')->{fingerprint},
    $rsa, 'RSA for a client that knows only RSA');
is(get(sni => 'first.example', tls => '1.2', ciphers => 'aECDSA')->{fingerprint},
    $first, 'ECDSA for one that knows only ECDSA');

for (['ssl_ciphers', 4, '1.2', $rsa], ['ssl_ciphers', 4, '1.3', $first],
    ['signature algorithms', 5, '1.2', $rsa], ['signature algorithms', 5, '1.3', $rsa])
{
    my ($what, $port, $tls, $kind) = @$_;
    is(handshake($edge->port($port), sni => 'first.example', tls => $tls)->{fingerprint}, $kind,
        "TLS $tls: what $what of the server allow");
}

# In TLS 1.2 a client's groups tell which curves of keys it knows.

$edge->give("p384-$_->[0]", names => ['p384.example'], key => $_->[1])
    for ['ec', 'ec-p384'], ['rsa', 'rsa-2048'];

for (['P-256:P-384', 'ECDSA'], ['P-256', 'RSA']) {
    my ($groups, $kind) = @$_;
    my $out = `openssl s_client -connect 127.0.0.1:@{[ $edge->port(1) ]} -servername p384.example -tls1_2 -groups $groups </dev/null 2>&1`;
    like($out, qr/Peer signature type: $kind/i, "$kind for a client of $groups");
}

# What their certificates may be signed with clients may say apart: by an
# extension that OpenSSL's never send, so this one is written by hand.

sub extension { return pack 'n n/a*', @_ }

# 22 when the answer is a ServerHello, 21 for an alert.
sub hello {
    my ($sni, @signed) = @_;
    my $body = "\x03\x03" . 'r' x 32 . "\0" . pack('n/a* n', "\x13\x01", 0x0100) . pack 'n/a*', join '',
        extension(0, pack 'n/a*', "\0" . pack 'n/a*', $sni),
        extension(10, pack 'n n', 2, 29),
        extension(13, pack 'n n n', 4, 0x0403, 0x0804),
        extension(43, "\x02\x03\x04"),
        extension(50, pack 'n/a*', pack 'n*', @signed),
        extension(51, pack 'n/a*', pack 'n n/a*', 29, 'k' x 32);
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $edge->port(1)) or die "connect: $!\n";

    syswrite $socket, "\x16\x03\x01" . pack 'n/a*', "\x01" . substr(pack('N', length $body), 1) . $body;
    sysread $socket, my $type, 1;
    return ord $type;
}

my ($by_rsa, $by_rsa_key) = Certctl::PKI->ca('RSA CA', key => 'rsa-2048')
    ->issue(names => ['first.example'], key => 'rsa-2048');
$edge->commit('site-rsa', $by_rsa, $by_rsa_key);
is(hello('first.example', 0x0403), 22, 'a client that takes what is signed by ECDSA');
is(hello('first.example', 0x0401), 22, 'by RSA: it is given that one');
is(hello('first.example', 0x0603), 21, 'by neither');
$rsa = fingerprint($by_rsa);

# Each kind is swapped by itself; clients say what they can verify in their
# signature algorithms, with TLS 1.3 there alone.

my %kind = (ec => 'ECDSA+SHA256:RSA+SHA256', rsa => 'RSA-PSS+SHA256');
my %now  = (ec => $first, rsa => $rsa);
my @site = ('first.example', '*.wild.example', 'www.wild.example');
my @swap = (['site-rsa', rsa => names => ['first.example'], key => 'rsa-2048'],
    ['site', ec => names => \@site]);

for my $swap (@swap) {
    my ($name, $swapped, @issue) = @$swap;

    $now{$swapped} = fingerprint(scalar $edge->give($name, @issue));

    for my $kind (sort keys %kind) {
        my %seen = map { ($_ => 1) } map { keys %$_ } values %{ by_worker(sni => 'first.example',
            tls => '1.3', sigalgs => $kind{$kind}) };

        is_deeply([keys %seen], [$now{$kind}], "$name is swapped: what clients of $kind get");
    }
}

($first, $rsa) = @now{qw(ec rsa)};

# Pinned.

my $pinned = fingerprint(scalar $edge->give('pin-1', names => ['elsewhere.example']));
my $byname = fingerprint(scalar $edge->give('pin-2', names => ['pinned.example']));
is(get(sni => 'pinned.example')->{fingerprint}, $pinned, 'certctl_certificate pins');
is($edge->control->get('/certctl/v1/certificates?name=pinned.example')->{json}{certificates}[0]{why},
    'named by certctl_certificate', 'and the report says why');
like($edge->control->delete('/certctl/v1/certificates/pin-1')->{status}, qr/^20/,
    'the pinned record is deleted');
is(get(sni => 'pinned.example')->{fingerprint}, $byname, 'then the name decides');

# A swap: new handshakes get the new one, sessions are resumed.

for my $tls ('1.2', '1.3') {
    my $old = get(sni => 'first.example', tls => $tls);
    my $new = fingerprint(scalar $edge->give('site', names =>
        ['first.example', '*.wild.example', 'www.wild.example']));
    my %stale;

    $stale{ get(sni => 'first.example', tls => $tls)->{fingerprint} }++ for 1 .. 40;
    is_deeply(\%stale, { $new => 40 }, "TLS $tls: none of 40 handshakes is stale");

    my $again = get(sni => 'first.example', tls => $tls, session => $old->{session});
    is($again->{reused}, 1, "TLS $tls: a session from before the swap is resumed");
    is(variables($again)->{fingerprint}, $new,
        "TLS $tls: its variables tell what is served now");
}

# Deleted: what was there before serves again.

$edge->control->delete("/certctl/v1/certificates/$_") for 'site', 'site-rsa';
is_deeply([map { keys %$_ } values %{ by_worker(sni => 'first.example') }],
    [$placeholder, $placeholder], 'deleted: the placeholder serves again, in each worker');

# A name that is not one.

for my $name ('_agent', '-', 'x' x 250, 'a..b', '*.wild.example') {
    my $h = get(sni => $name);
    ok($h->{error} ne '' || $h->{fingerprint} eq $placeholder,
        'SNI "' . substr($name, 0, 20) . '" gets nothing of ours');
}

is(get(sni => 'first.example')->{error}, '', 'and the worker lives');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');

# What the server cannot use, and variables that name another.

my ($strong, $strong_key) = $edge->ca->issue(names => ['strong.example']);
$edge->file('strong.example.pem', $strong);
$edge->file('strong.example.key', $strong_key, 0644);    # workers read it
$edge->give('weak', names => ['strong.example', 'first.example'], key => 'rsa-2048');
is(handshake($edge->port(6), sni => 'strong.example')->{fingerprint}, fingerprint($strong),
    'a stored key that is too weak for the server: what the variables name');
like($edge->log, qr/\[crit\].*SSL_use_cert_and_key\(\) failed for the stored certificate "weak"/, 'and the log says so');
$edge->stop;

done_testing;
