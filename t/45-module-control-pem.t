#!/usr/bin/perl
# PEM files as people have them go live by PUT and by POST of many: what OpenSSL's
# own commands write, and keys of each kind that a server can use. What is
# ambiguous or cannot be used is refused, by block and line.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::TLS 'handshake';

my $PEM  = 'application/x-pem-file';
my $url  = '/certctl/v1';
my $ca   = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(ca => $ca, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name shop.example;
        certctl on;
    }
CONF

$edge->start;

my $dir = $edge->dir;

sub put {
    my ($body) = @_;
    return $edge->control->put("$url/certificates/shop?keygen=server", $body, 'content-type' => $PEM);
}

sub bulk {
    my ($body) = @_;
    my $r = $edge->control->post("$url/certificates", "\@shop keygen=server\n$body",
        'content-type' => 'application/x-certctl-bulk');
    return $r->{json}{certificates}[0];
}

sub served { return handshake($edge->port(1), sni => 'shop.example')->{fingerprint} }

my %text = (
    'openssl pkcs12 -nodes' => sub {
        my ($crt, $key) = @_;
        openssl('pkcs12', '-export', '-in', $edge->file('c.pem', $crt . $ca->chain),
            '-inkey', $edge->file('k.pem', $key), '-passout', 'pass:x', '-out', "$dir/p12");
        return openssl('pkcs12', '-in', "$dir/p12", '-passin', 'pass:x', '-nodes');
    },
    'openssl x509 -text' => sub {
        my ($crt, $key) = @_;
        return openssl('x509', '-text', '-in', $edge->file('c.pem', $crt)) . $ca->chain . $key;
    },
    'openssl ecparam, comments' => sub {
        my ($crt, $key) = @_;
        my $old = openssl('pkey', '-traditional', '-in', $edge->file('k.pem', $key));
        return "# the key\n" . openssl(qw(ecparam -name prime256v1)) . "$old# the chain\n$crt" . $ca->chain;
    },
    'a byte order mark and CR LF' => sub {
        return "\xef\xbb\xbf" . join('', @_, $ca->chain) =~ s/\n/ \r\n/gr;
    },
    'the key twice' => sub { return join '', $_[1], @_, $ca->chain },
);

for my $what (sort keys %text) {
    for my $how (\&put, \&bulk) {
        my ($crt, $key) = $ca->issue(names => ['shop.example']);
        my $body = $text{$what}->($crt, $key);
        my $r = $how->($body);

        unlike($body, qr/\A-----BEGIN CERTIFICATE-----\n[^\r]*\z/, "$what: is no plain PEM")
            if $what ne 'the key twice';
        is($r->{status}, 200, "$what: taken") or diag explain $r;
        is(served(), fingerprint($crt), "$what: served");
    }
}

# A certificate for a key that only OpenSSL's commands can sign.
sub certify {
    my ($key) = @_;
    return openssl('req', '-x509', '-new', '-key', $edge->file('k.pem', $key), '-days', 9,
        '-CA', $edge->file('ca.pem', $ca->cert), '-CAkey', $edge->file('ca.key', $ca->key),
        '-subj', '/CN=x', '-addext', 'subjectAltName=DNS:shop.example',
        '-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'keyUsage=digitalSignature');
}

for (['RSA-PSS',              'ok', 'RSA-PSS'],
    ['RSA-PSS for SHA-256',   'ok', 'RSA-PSS', '-pkeyopt', 'rsa_pss_keygen_md:sha256',
        '-pkeyopt', 'rsa_pss_keygen_mgf1_md:sha256', '-pkeyopt', 'rsa_pss_keygen_saltlen:32'],
    ['RSA-PSS for SHA-1', qr/PEM block 3 \(PRIVATE KEY\), line \d+: .*RFC 8446 4\.2\.3/, 'RSA-PSS',
        '-pkeyopt', 'rsa_pss_keygen_md:sha1', '-pkeyopt', 'rsa_pss_keygen_mgf1_md:sha1',
        '-pkeyopt', 'rsa_pss_keygen_saltlen:20'],
    ['Ed448',  'ok', 'ED448'],
    ['X25519', qr/the key must be RSA, RSA-PSS, ECDSA, Ed25519 or Ed448/, 'X25519'])
{
    my ($what, $rule, $type, @options) = @$_;
    my $key = openssl('genpkey', '-algorithm', $type,
        ($type eq 'RSA-PSS' ? ('-pkeyopt', 'rsa_keygen_bits:2048') : ()), @options);
    my $crt = $type eq 'X25519' || ref $rule ? ($ca->issue(names => ['shop.example']))[0] : certify($key);
    my $before = served();
    my $r = put($crt . $ca->chain . $key);

    if (ref $rule) {
        is($r->{status}, 422, "$what: refused");
        like($r->{json}{error}, $rule, "$what: by its rule");
        is(served(), $before, "$what: nothing has changed");

    } else {
        is($r->{status}, 200, "$what: taken") or diag $r->{content};
        my $hello = openssl_client();
        is($hello, fingerprint($crt), "$what: a client gets it");
    }
}

# What is in the way of a key: which form it is encrypted in does not matter.
my ($crt, $key) = $ca->issue(names => ['shop.example']);

$edge->file('k.pem', $key);

for (['pkey', 'ENCRYPTED PRIVATE KEY'], ['ec', 'EC PRIVATE KEY'])
{
    my ($command, $label) = @$_;
    my $locked = openssl($command, '-aes128', '-passout', 'pass:x', '-in', "$dir/k.pem");
    my $r = put($crt . $ca->cert . $locked);

    is($r->{status}, 422, "$label: refused");
    like($r->{json}{error}, qr/^PEM block 3 \($label\), line \d+: the private key is encrypted/,
        "$label: the sentence says so");
}

my $broken = $ca->cert =~ s/\A((?:.*\n){4})./$1*/r;
my $line   = 5 + ($crt =~ tr/\n//);

for my $how (\&put, \&bulk) {
    my $at = $line + ($how == \&bulk);        # the line that names it is its first
    my $r = $how->($crt . $broken . $key);

    is($r->{status}, 422, 'broken base64: refused');
    like($r->{error} // $r->{json}{error}, qr/^PEM block 2 \(CERTIFICATE\): line $at is not base64/,
        'by its block and line');
}

done_testing();

sub openssl { return Certctl::PKI::openssl(@_) }

# Perl's OpenSSL bindings offer neither RSA-PSS nor Ed448 by themselves. The last of
# the algorithms is the one that the certificate is signed with.
sub openssl_client {
    my $out = openssl('s_client', '-connect', '127.0.0.1:' . $edge->port(1), '-servername', 'shop.example',
        '-sigalgs', 'rsa_pss_pss_sha256:ed448:ecdsa_secp256r1_sha256', '-showcerts');
    return $out =~ /(-----BEGIN CERT.*?-----END CERTIFICATE-----\n)/s ? fingerprint($1) : '';
}
