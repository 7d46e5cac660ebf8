#!/usr/bin/perl
# ACME (RFC 8555) against pebble, a server that nobody here wrote: an account, orders
# that the module's hosts prove by HTTP-01 and TLS-ALPN-01, renewal, revocation, refused
# nonces, other chains, and what the server refuses.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Pebble;
use Certctl::Port 'free_port';
use Certctl::Process qw(wait_until write_file);
use Certctl::Story;
use Test::More;

my $missing = Certctl::Pebble->missing;
plan skip_all => $missing if $missing;

my @names = map { "$_.example" } qw(shop alpn chain eab refused many same);
my $s = Certctl::Story->new(names => [@names, '*.wild.example'],
    config  => "renewal_interval = 1\nmax_issuances_per_day = 1000\n",
    servers => <<"CONF");
    server {
        listen 127.0.0.1:%%PORT_plain%%;
        return 404;
    }
CONF
my $d      = $s->daemon;
my @ports  = (http => $s->nginx->port('plain'), tls => $s->nginx->port('tls'));
my $pebble = Certctl::Pebble->start(@ports, nonce_reject => 50, alternates => 2);
my $acme   = issuer('iss-acme', $pebble, email => 'admin@example.org');

first_and_renewal();
tls_alpn();
other_chain();
names_of_one_certificate();
same_names_at_once();
restarted();
external_account();
refused();
wildcard();
tried();
configuration();

$pebble->stop;
is $s->stop, 0, 'the daemon ends well';
done_testing;

sub issuer {
    my ($id, $server, %config) = @_;

    return $s->post('issuers', { id => $id, name => $id, type => 'ACME', config => {
        directory_url => $server->directory, ca_bundle => $server->ca, %config } })->{id};
}

sub certificate {
    my ($name, %o) = @_;
    return $s->certificate("$name.example", issuer_id => $acme, %o);
}

# The same with a record of another name.
sub in_record {
    my ($record, $name) = @_;
    my $target = $s->post('targets', { name => $record, type => 'nginx-module', agent_id => $s->agent,
        config => { record => $record } })->{id};

    return $s->post('certificates', { name => $record, common_name => $name, issuer_id => $acme,
        renewal_policy_id => 'rp-default', target_ids => [$target] })->{id};
}

# Issued, deployed, and what a client is shown.
sub issued {
    my ($crt, $what) = @_;

    $s->renew($crt);
    my $row = $s->deployed($crt, timeout => 90);
    my ($version) = $s->versions($crt);

    is $s->shown($row->{common_name})->{fingerprint}, $version->{fingerprint_sha256}, $what;
    return $version;
}

sub failed {
    my ($crt) = @_;
    my $row;

    $s->renew($crt);
    wait_until(60, sub {
        ($row) = @{ $s->get("certificates/$crt/renewals")->{data} };
        return $row->{status} eq 'failed';
    }) or die "$crt has not failed: $row->{status}\n", $s->events;
    return $row->{error};
}

sub accounts { my $log = $pebble->log; return scalar(() = $log =~ /There are now \d+ accounts in memory/g) }

sub orders { my $log = $pebble->log; return scalar(() = $log =~ m{Added order "}g) }

sub first_and_renewal {
    my $crt = certificate('shop');
    my $one = issued($crt, 'HTTP-01: issued and live');

    like sql($d, "SELECT ca_state->>'order' FROM orders WHERE certificate_id = '$crt'"),
        qr{^https://127\.0\.0\.1:\d+/my-order/}, "the order's URL is stored";
    is sql($d, "SELECT count(*) FROM challenges"), '0', 'no challenge is left';

    my $two = issued($crt, 'renewed');
    isnt $two->{serial_number}, $one->{serial_number}, 'by another certificate';
    is accounts(), 1, 'of the same account';
    is orders(), 2, 'with one order each';
    unlike sql($d, 'SELECT account FROM issuer_accounts'), qr/PRIVATE|my-account/, 'which is sealed';

    $s->post("certificates/$crt/revoke", { reason => 'keyCompromise' });
    ok wait_until(30, sub { $pebble->status(lc $two->{serial_number}) eq 'Revoked' }), 'revoked at the CA'
        or diag $s->events;
    is $pebble->status(lc $one->{serial_number}), 'Revoked', 'as the older one';
    return;
}

sub tls_alpn {
    my $other = Certctl::Pebble->start(http => free_port(), tls => $s->nginx->port('tls'));

    issuer('iss-alpn', $other, challenge_type => 'tls-alpn-01');
    issued(certificate('alpn', issuer_id => 'iss-alpn'), 'TLS-ALPN-01: issued and live, port 80 is closed');
    $other->stop;
    return;
}

# The roots' names are drawn anew at each start of pebble.
sub other_chain {
    my $file = write_file($s->nginx->dir . '/root1.pem', $pebble->root(1));
    my ($name) = `openssl x509 -noout -subject -in $file` =~ /CN = (.*)/ or die 'no name';

    issuer('iss-chain', $pebble, preferred_chain => $name);
    my $version = issued(certificate('chain', issuer_id => 'iss-chain'), 'the preferred chain: issued and live');
    my $last = ($version->{pem_chain} =~ /(-----BEGIN.*?-----END CERTIFICATE-----\n?)/sg)[-1];
    write_file($file, $last);
    like `openssl x509 -noout -issuer -in $file`, qr/\Q$name\E/, 'is that of the root that was named';
    return;
}

# More names than a step asks for.
sub names_of_one_certificate {
    my @sans = map { "n$_.many.example" } 1 .. 24;

    issued(certificate('many', sans => \@sans), '25 names: issued and live');
    return;
}

# Two certificates for the same names, in flight at once.
sub same_names_at_once {
    my @crt = map { in_record("same$_", 'same.example') } 1, 2;

    $s->renew($_) for @crt;
    ok wait_until(60, sub { return 2 == grep { $s->versions($_) } @crt }), 'two orders for the same names: both are issued';
    isnt +($s->versions($crt[0]))[0]{serial_number}, ($s->versions($crt[1]))[0]{serial_number},
        'another certificate for each';
    return;
}

# pebble forgets everything: the account is registered again, with its key.
sub restarted {
    my ($crt, $before) = (in_record('again', 'again.shop.example'), accounts());

    $pebble->restart;
    $s->renew($crt);
    $s->deployed($crt, timeout => 90);
    is accounts() - $before, 1, 'a server that has forgotten the account: registered again, and issued';
    return;
}

sub external_account {
    my $key = 'zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W';
    my $other = Certctl::Pebble->start(@ports, eab => { 'kid-1' => $key });

    issuer('iss-eab', $other);
    my $crt = certificate('eab', issuer_id => 'iss-eab');
    like failed($crt), qr/requires external account binding: configure eab_kid/, 'without a key it says what is missing';
    my $r = $s->api->patch('/api/v1/issuers/iss-eab', { config => { eab_kid => 'kid-1', eab_hmac => $key } });
    is $r->{status}, 200, 'the key';
    unlike $r->{content}, qr/\Q$key\E/, 'is not answered';
    issued($crt, 'external account binding: issued and live');
    $other->stop;
    return;
}

# A name that leads elsewhere.
sub refused {
    my $crt = certificate('refused');

    $pebble->host('refused.example', '127.0.0.77');
    like failed($crt), qr/the CA refuses refused\.example: connection: /, 'the reason of the CA is the reason of the attempt';
    is sql($d, "SELECT problem->>'type' FROM orders WHERE certificate_id = '$crt'"),
        'urn:ietf:params:acme:error:connection', 'its problem is kept';
    is sql($d, 'SELECT count(*) FROM challenges'), '0', 'and no challenge is left';
    return;
}

sub wildcard {
    my $before = orders();
    my $crt = $s->certificate('*.wild.example', issuer_id => $acme);

    like failed($crt), qr/http-01 cannot prove a wildcard name/, 'a wildcard by HTTP-01 is refused';
    is orders(), $before, 'before anything is ordered';
    return;
}

# Without an order and without an account.
sub tried {
    my $before = accounts();
    my $r = $s->api->post("/api/v1/issuers/$acme/test", {});

    is $r->{status}, 200, 'a test of the issuer';
    is $r->{json}{status}, 'success', 'works' or diag $r->{content};
    like $r->{json}{steps}[1]{detail}, qr{^https://127\.0\.0\.1:\d+/my-account/}, 'with the account that it has';

    issuer('iss-new', $pebble);
    $r = $s->api->post('/api/v1/issuers/iss-new/test', {});
    is $r->{json}{status}, 'success', 'of one without an account as well';
    is accounts(), $before, 'and none is made';

    issuer('iss-none', $pebble, directory_url => $pebble->directory . '/none');
    $r = $s->api->post('/api/v1/issuers/iss-none/test', {});
    is $r->{json}{status}, 'failed', 'no directory there';
    like $r->{json}{steps}[0]{detail}, qr/^directory: the CA answers 404/, 'says so';
    return;
}

sub configuration {
    for (['eab_kid alone', { eab_kid => 'k' }, '/config/eab_hmac', qr/eab_kid and eab_hmac go together/],
        ['http', { directory_url => 'http://127.0.0.1/dir' }, '/config/directory_url', qr/directory_url/],
        ['another challenge', { challenge_type => 'dns-02' }, '/config/challenge_type', qr/http-01.*tls-alpn-01/],
        ['a profile that is required, and none', { profile_required => JSON::PP::true }, '/config/profile', qr/needs a profile/],
        ['an unknown field', { server => 'x' }, '/config/server', qr/server/])
    {
        my ($what, $config, $pointer, $why) = @$_;
        my $r = $s->api->post('/api/v1/issuers', { name => $what, type => 'acme',
            config => { directory_url => $pebble->directory, %$config } });

        is $r->{status}, 422, "$what: refused";
        is $r->{json}{errors}[0]{pointer}, $pointer, "$what: with the field";
        like $r->{json}{errors}[0]{detail}, $why, "$what: and the rule";
    }
    return;
}
