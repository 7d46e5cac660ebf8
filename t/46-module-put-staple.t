#!/usr/bin/perl
# A certificate and its staple come in one PUT and go live together; a response
# that may not be stapled is refused, and nothing changes.

use strict;
use warnings;
use Certctl::Edge;
use Certctl::PKI qw(der_to_pem fingerprint);
use Certctl::TLS 'handshake';
use MIME::Base64 'encode_base64';
use Test::More;

my $edge = Certctl::Edge->new(conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name shop.example;
        certctl on;
    }
CONF
$edge->start;

my $ca = $edge->ca;
my ($crt, $key, $chain) = $ca->issue(names => ['shop.example'], ocsp => 'http://127.0.0.1:1/');
my ($other) = $ca->issue(names => ['shop.example'], ocsp => 'http://127.0.0.1:1/');
my $issuer  = $ca->cert;
my $full    = $chain =~ /\Q$issuer\E/ ? $chain : $chain . $issuer;

sub put {
    my ($body) = @_;
    return $edge->control->put('/certctl/v1/certificates/shop.example?keygen=server', $body,
        'content-type' => 'application/x-pem-file');
}

sub block {
    my ($der) = @_;
    return "-----BEGIN OCSP RESPONSE-----\n" . encode_base64($der) . "-----END OCSP RESPONSE-----\n";
}

sub live { return handshake($edge->port('tls'), sni => 'shop.example') }

my $placeholder = live()->{fingerprint};
my $good = block($ca->ocsp($crt));
my %refused = (
    'of another certificate' => [$full . block($ca->ocsp($other)) . $key, qr/certificate/i],
    'revoked'                => [$full . block($ca->ocsp($crt, status => 'revoked')) . $key, qr/good|revoked/i],
    'past its nextUpdate'    => [$full . block($ca->ocsp($crt, from => time - 7200, until => time - 3600)) . $key, qr/nextUpdate/],
    'garbage'                => [$full . block('garbage') . $key, qr/OCSP|6960/],
    'unauthorized'           => [$full . block("\x30\x03\x0a\x01\x06") . $key, qr/unauthorized: .*RFC 6960 2\.3/],
    'tryLater'               => [$full . block("\x30\x03\x0a\x01\x03") . $key, qr/tryLater: .*RFC 6960 2\.3/],
    'broken PEM'             => ["$full-----BEGIN OCSP RESPONSE-----\n$key", qr/./],
    'twice'                  => [$full . $good . $good . $key, qr/more than one/],
    'without the issuer'     => [$crt . $good . $key, qr/issuer/],
);

for my $what (sort keys %refused) {
    my ($body, $rule) = @{ $refused{$what} };
    my $r = put($body);

    is $r->{status}, 422, "$what: refused" or diag $r->{content};
    like $r->{json}{error}, $rule, "$what: by its rule";
    is live()->{fingerprint}, $placeholder, "$what: nothing has changed";
}

my $r = put($full . $good . $key);
like $r->{status}, qr/^20[01]$/, 'taken with its staple' or diag $r->{content};

my $h = live();
is $h->{fingerprint}, fingerprint($crt), 'live at the next handshake';
ok $h->{staple}, 'stapled in that handshake';

my ($next, $next_key, $next_chain) = $ca->issue(names => ['shop.example'], ocsp => 'http://127.0.0.1:1/');
$next_chain .= $issuer if $next_chain !~ /\Q$issuer\E/;
like put($next_chain . $next_key)->{status}, qr/^20[01]$/, 'the next one comes without';
is live()->{staple}, undef, 'and never carries the staple of the one before';

my $der = $ca->ocsp($next);
like put($next_chain . block($der) . $next_key)->{status}, qr/^20[01]$/, 'its staple comes with the chain that is live';
is live()->{staple}, $der, 'and is stapled';
my $generation = put($next_chain . block($der) . $next_key)->{json}{generation};
is put($next_chain . $next_key)->{json}{generation}, $generation, 'both again, or without it, are no change';
is live()->{staple}, $der, 'what was there stays';

$edge->stop;
done_testing();
