#!/usr/bin/perl
# Beside a static ssl_certificate: it serves first, the stored one replaces it
# when it is newer and valid, and never undoes a renewal by hand.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process qw(in_time wait_until);
use Certctl::TLS 'handshake';

my $ca   = Certctl::PKI->ca('Test CA');
my $edge = Certctl::Edge->new(ca => $ca, conf => '');
my (%crt, %fp);

# Static certificates: issued days ago, so that stored ones are newer.
sub static {
    my ($name, %o) = @_;
    my ($crt, $key, $chain) = $ca->issue(from => -5 * 86400, %o);

    $edge->file("$name.pem", $chain);
    $edge->file("$name.key", $key, 0600);
    $crt{$name} = $crt;
    $fp{$name}  = fingerprint($crt);
    return "ssl_certificate %%DIR%%/$name.pem; ssl_certificate_key %%DIR%%/$name.key;";
}

my $answer = 'location / { return 200 "$certctl_certificate|$certctl_source|"; }';
my $static = static('static', names => ['a.example']);
my $both   = static('ec', names => ['a.example']) . static('rsa', names => ['a.example'],
    key => 'rsa-2048');
my $only_rsa = static('old', names => ['rsa.example'], key => 'rsa-2048');
my $inherited = static('http', names => ['in.example']);
my $ended  = static('ended', names => ['ended.example'], days => -1, from => -9 * 86400);

my $wild   = static('wild', names => ['*.w.example', 'd.example'], from => -7200);

static('var', names => ['var.example']);

# Written into the configuration itself, the key behind the certificate.
my ($inline, $inline_key, $inline_chain) = $ca->issue(names => ['data.example'], from => -7200);

$edge->{http} = $inherited;
$edge->servers(<<"CONF");
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name a.example;
        certctl on;
        $static
        $answer
    }
    server { listen 127.0.0.1:%%PORT_1%% ssl; server_name off.example; $static $answer }
    server { listen 127.0.0.1:%%PORT_2%% ssl; certctl on; server_name a.example; $both }
    server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; server_name rsa.example; $only_rsa }
    server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; server_name in.example; $answer }
    server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; server_name ended.example; $ended }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name var.example;
        certctl on;
        ssl_certificate %%DIR%%/\$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/\$ssl_server_name.key;
        $answer
    }
    server { listen 127.0.0.1:%%PORT_4%% ssl; certctl on; server_name ~^regex *.w.example; $wild }
    server { listen 127.0.0.1:%%PORT_5%% ssl; certctl on; server_name .d.example; $wild }
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name data.example;
        certctl on;
        ssl_certificate "data:$inline_chain$inline_key";
        ssl_certificate_key "data:$inline_key";
        $answer
    }
    server { listen 127.0.0.1:%%PORT_6%% ssl; certctl on; server_name ~re.example; }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        server_name no.example;
        certctl on;
        ssl_reject_handshake on;
    }
    server { listen 127.0.0.1:%%PORT_3%% ssl; certctl on; server_name in.example; }
CONF

# variables make the workers read files, and they are not root
chmod 0644, $edge->dir . '/var.key';
rename $edge->dir . "/var.$_", $edge->dir . "/var.example.$_" for 'pem', 'key';
$edge->start;

sub served { return handshake($edge->port(1), sni => shift, @_)->{fingerprint} }
sub said   { return (handshake($edge->port(1), sni => shift, keep => 1)->{answer} =~ /\r\n\r\n(.*)/)[0] }

# Why the report says that a server of the first address gives what it gives.
sub why {
    my ($name) = @_;
    my $report = $edge->control->get("/certctl/v1/certificates?name=$name")->{json};
    my %why = map { ($_->{why}, 1) } grep { $_->{server}{listen}[0] eq '127.0.0.1:' . $edge->port(1) }
        @{ $report->{certificates} };

    return join '; ', sort keys %why;
}

# Adopted: served, known by its file, and replaced by a newer one.

is(served('a.example'), $fp{static}, 'the static certificate serves');
is(said('a.example'), $edge->dir . '/static.pem|static|', 'the variables name its file');
is(why('a.example'), 'no stored certificate covers this name', 'and the report says why');
is(said('off.example'), '||', 'certctl off: no variables');

my $new = fingerprint(scalar $edge->give('a', names => ['a.example', 'off.example']));
is(served('a.example'), $new, 'the stored one, newer, takes over');
is(said('a.example'), 'a|store|', 'and is named');
is(why('a.example'), 'stored for this name', 'and the report says why');
is(served('off.example'), $fp{static}, 'certctl off: the store changes nothing');

# The static one covers a.example only: it never answers for another name.

my $other = fingerprint(scalar $edge->give('b', names => ['b.example'], from => -30 * 86400));
is(served('b.example'), $other, 'older than the static one, but for a name that it lacks');

# Newer by hand.

my ($hand, $hand_key, $hand_chain) = $ca->issue(names => ['a.example'], from => -60);
$edge->give('a', names => ['a.example'], from => -3600);

# as files are replaced: NGINX since 1.27.2 takes one of the same inode and second
# for the same one at a reload
for (['pem', $hand_chain, 0644], ['key', $hand_key, 0600]) {
    my ($what, $text, $mode) = @$_;
    rename $edge->file("hand.$what", $text, $mode), $edge->dir . "/static.$what";
}

$edge->reload(wait_old => 1);
is(served('a.example'), fingerprint($hand), 'a static one that is newer wins');
like(said('a.example'), qr/\|static\|$/, 'and says so');
is(why('a.example'), 'newer than the stored certificate', 'and the report says why');

my $rsa_only = fingerprint(scalar $edge->give('a-rsa', names => ['a.example'], key => 'rsa-2048',
    from => -3600));
is(served('a.example'), fingerprint($hand), 'over a stored RSA one, too');
is(served('a.example', %$_), $rsa_only, 'which stays for clients that know only RSA')
    for { tls => '1.2', ciphers => 'aRSA:@SECLEVEL=1' }, { tls => '1.3', sigalgs => 'RSA-PSS+SHA256' };
is(why('a.example'), 'for clients that do not support the key type of the newer certificate; newer than the stored certificate',
    'and the report says so');
$edge->control->delete('/certctl/v1/certificates/a-rsa');

# CAs set notBefore back: five minutes do not make a file the newer one.

my $backdated = fingerprint(scalar $edge->give('a', names => ['a.example'], from => -240));
is(served('a.example'), $backdated, 'a stored one with a notBefore that is three minutes earlier wins');

my $newest = fingerprint(scalar $edge->give('a', names => ['a.example'], from => -30));
is(served('a.example'), $newest, 'until a newer one is stored');

# Kinds.

is(handshake($edge->port(2), sni => 'a.example')->{fingerprint}, $newest,
    'the stored ECDSA before both static ones');
is(handshake($edge->port(2), sni => 'a.example', tls => '1.2',
    ciphers => 'aRSA:@SECLEVEL=1')->{fingerprint}, $fp{rsa},
    'the static RSA for a client that knows only RSA');

my $ec = fingerprint(scalar $edge->give('r', names => ['rsa.example']));
is(served('rsa.example'), $ec, 'ECDSA beside a static RSA');
is(served('rsa.example', tls => '1.2', ciphers => 'aRSA:@SECLEVEL=1'), $fp{old},
    'which stays for clients that know only RSA');

# Inherited from http{}.

is(served('in.example'), $fp{http}, 'ssl_certificate of http serves');
my $in = fingerprint(scalar $edge->give('in', names => ['in.example']));
is(served('in.example'), $in, 'and is replaced');

# Expired ones.

is(served('ended.example'), $fp{ended}, 'an expired static one serves while there is no other');
my $long = fingerprint(scalar $edge->give('ended', names => ['ended.example'],
    from => -20 * 86400));
is(served('ended.example'), $long, 'a valid stored one wins, though it is older');

# Variables.

is(served('var.example'), $fp{var}, 'ssl_certificate with variables');
is(said('var.example'), '|variable|', 'is called so');

my @variable = @{ $edge->control->get('/certctl/v1/certificates')->{json}{variable} };
is(scalar @variable, 1, 'the report has it among those with variables');
is_deeply($variable[0]{server}{names}, ['var.example'], 'which server');
is_deeply($variable[0]{expressions}, [$edge->dir . '/$ssl_server_name.pem'], 'with which expressions');
is(why('var.example'), '', 'and does not guess what it gives');

my $var = fingerprint(scalar $edge->give('v', names => ['var.example']));
is(served('var.example'), $var, 'the stored one serves instead');

# Without SNI the first server_name that is no regular expression counts.

$edge->give('w', names => ['*.w.example', 'd.example'],
    from => -86400);
is(handshake($edge->port($_))->{fingerprint}, $fp{wild}, 'no SNI: the newer static one')
    for 4, 5;
my $newer = fingerprint(scalar $edge->give('w', names => ['*.w.example', 'd.example']));
is(handshake($edge->port($_))->{fingerprint}, $newer, 'no SNI: the newer stored one') for 4, 5;

# A regular expression is no name that a certificate could have, whatever it looks like.

my $re = fingerprint(scalar $edge->give('re', names => ['re.example']));
is(handshake($edge->port(6), sni => 're.example')->{fingerprint}, $re, 'the name is asked for');
isnt(handshake($edge->port(6))->{fingerprint}, $re, 'no SNI, and no name to go by');

# What is written into nginx.conf may be a secret.

is(handshake($edge->port(1), sni => 'data.example')->{fingerprint}, fingerprint($inline),
    'ssl_certificate data:...');
is(said('data.example'), 'data:|static|', 'has no file name');

# What a report says of all that.

my $report = $edge->control->get('/certctl/v1/certificates');
my %by = map { ($_, 1) } map { "$_->{file}|@{ $_->{server}{names} }" =~ s{.*/}{}r }
    grep { $_->{file} } @{ $report->{json}{certificates} };

ok($by{'data:|data.example'}, 'the report names it so');
ok($by{'http.pem|~re.example'}, 'a regular expression as it was written');
unlike($_, qr/PRIVATE KEY|MIGHAgEA/, 'no key') for $report->{content},
    $edge->control->get('/certctl/v1/metrics')->{content}, $edge->log;

# Rejected handshakes stay rejected.

isnt(handshake($edge->port(3), sni => 'nobody.example')->{error}, '', 'rejected');
is(handshake($edge->port(3), sni => 'in.example')->{fingerprint}, $in, 'not rejected');

$edge->give('no', names => ['no.example']);
isnt(handshake($edge->port(3), sni => 'no.example')->{error}, '', 'rejected, with a certificate in the store');

$report = $edge->control->get('/certctl/v1/certificates?name=no.example')->{json};
my %given = map { ($_, 1) } map { @{ $_->{server}{listen} } } @{ $report->{certificates} };
ok(!$given{ '127.0.0.1:' . $edge->port(3) }, 'which the report does not say to be given there');
ok($given{ '127.0.0.1:' . $edge->port(1) }, 'but by the default server of another address');

# A stored one that ends gives way to a static one that is older, and valid.

my ($end, $brief, $shown) = in_time(3, sub {
    my ($crt, $crt_key, $crt_chain) = $ca->issue(names => ['data.example'], from => -60, until => $_[0]);
    $edge->commit('brief', $crt_chain, $crt_key);
    return (fingerprint($crt), served('data.example'));
});
is($shown, $brief, 'the stored one, newer');
ok(wait_until($end - time + 10, sub { served('data.example') eq fingerprint($inline) }), 'until it ends');
is(why('data.example'), 'the stored certificate has expired', 'and the report says why');

# By a wildcard.

my $any = fingerprint(scalar $edge->give('any', names => ['*.example']));
$edge->control->delete('/certctl/v1/certificates/brief');
is(served('data.example'), $any, 'a wildcard of the name');
is(why('data.example'), 'stored for a wildcard that covers this name', 'and the report says why');

unlike($edge->log, qr/\[(?:alert|emerg|crit)\]/, 'nothing alarming in the log');
$edge->stop;

done_testing;
