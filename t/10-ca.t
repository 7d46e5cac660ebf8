#!/usr/bin/perl
# What the CA makes convinces two other implementations, OpenSSL's command line
# and GnuTLS: chains, CRLs and OCSP responses, and requests made by them.

use strict;
use warnings;
use Test::More;
use Certctl::Process qw(temp_dir slurp);

my $tool = ($ENV{B} || 'build') . '/t/ca_tool';

plan skip_all => "$tool is not built: make test" if !-x $tool;

my $gnutls = grep { -x "$_/certtool" } split /:/, $ENV{PATH};
my $dir;

for my $type (qw(ec-p256 ec-p384 rsa-2048 ed25519)) {
    $dir = temp_dir();
    is(run($tool, 'make', $dir, $type), '', "$type: made");

    chains($type);
    crls($type);
    responses($type);
    requests($type);
    gnutls_chains($type) if $gnutls;
    gnutls_ocsp($type) if $gnutls;
}

ok($gnutls, 'GnuTLS took part');

done_testing();

# Output of a command, both streams.
sub run {
    my (@command) = @_;

    open my $pipe, '-|', sub_command(@command) or die "$command[0]: $!";
    local $/;
    return scalar <$pipe> // '';
}

# In a shell of its own, each word quoted.
sub sub_command {
    return 'exec ' . join(' ', map { s/'/'\\''/gr =~ s/.*/'$&'/sr } @_) . ' 2>&1';
}

sub openssl { return run('openssl', @_) }

# The two CRLs as PEM, as OpenSSL wants them with the trusted certificates.
sub crl_pem {
    return join '', map {
        openssl('crl', '-inform', 'DER', '-in', "$dir/$_.crl")
    } qw(root sub);
}

sub write_file {
    my ($name, $text) = @_;

    open my $file, '>', "$dir/$name" or die "$name: $!";
    print {$file} $text;
    close $file or die "$name: $!";
    return;
}

sub chains {
    my ($type) = @_;

    write_file('crls.pem', crl_pem());

    my @verify = ('verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile',
        "$dir/root.pem", '-untrusted', "$dir/sub.pem", '-CRLfile',
        "$dir/crls.pem", '-crl_check_all');

    like(openssl(@verify, "$dir/good.pem"), qr/: OK$/, "$type: a strict chain");
    like(openssl(@verify, '-verify_hostname', 'a.example', "$dir/good.pem"),
        qr/: OK$/, "$type: for the host named");
    like(openssl(@verify, '-verify_ip', '2001:db8::1', "$dir/good.pem"),
        qr/: OK$/, "$type: for the address named");
    like(openssl(@verify, '-verify_hostname', 'c.example', "$dir/good.pem"),
        qr/hostname mismatch/, "$type: and for no other");
    like(openssl(@verify, "$dir/revoked.pem"), qr/certificate revoked/,
        "$type: revoked by the CRL");

    my $text = openssl('x509', '-in', "$dir/good.pem", '-noout', '-text');

    like($text, qr/Subject Alternative Name: critical/, "$type: critical SAN");
    like($text, qr/TLS Feature:\s+status_request/, "$type: must-staple");
    like($text, qr{OCSP - URI:http://127\.0\.0\.1:1/ocsp}, "$type: OCSP URL");
    like($text, qr{CA Issuers - URI:http://127\.0\.0\.1:1/ca}, "$type: CA URL");
    like($text, qr{Full Name:\s+URI:http://127\.0\.0\.1:1/crl}, "$type: CRL URL");
    return;
}

sub crls {
    my ($type) = @_;
    my $text = openssl('crl', '-inform', 'DER', '-in', "$dir/sub.crl", '-noout',
        '-text', '-CAfile', "$dir/sub.pem");

    like($text, qr/^verify OK$/m, "$type: CRL signature");
    like($text, qr/Version 2/, "$type: CRL version");
    like($text, qr/CRL Number:\s+1\b/, "$type: CRL number");
    like($text, qr/Serial Number: 22\s.*Key Compromise/s, "$type: CRL entry");
    return;
}

sub responses {
    my ($type) = @_;
    my @ask = ('ocsp', '-issuer', "$dir/sub.pem", '-CAfile', "$dir/root.pem",
        '-no_nonce');

    for (['good', 'good'], ['good', 'direct-good'], ['revoked', 'revoked']) {
        my ($cert, $response) = @$_;
        my $said = openssl(@ask, '-cert', "$dir/$cert.pem", '-respin',
            "$dir/$response.der");

        like($said, qr/Response verify OK/, "$type: $response.der is verified");
        like($said, qr/\Q$cert.pem\E: $cert\b/, "$type: $response.der says $cert");
        like($said, qr/Reason: keyCompromise/, "$type: and why")
            if $cert eq 'revoked';
    }

    return;
}

# OpenSSL sends a nonce of 16 octets and two certificates.
sub requests {
    my ($type) = @_;
    my @certs = map { ('-cert', "$dir/$_.pem") } qw(good revoked responder);

    for my $digest (qw(-sha1 -sha256)) {
        openssl('ocsp', '-issuer', "$dir/sub.pem", $digest, @certs, '-reqout',
            "$dir/request.der");
        is(run($tool, 'answer', $dir, 'request.der', 'answer.der'), '',
            "$type: a request of OpenSSL's, $digest");

        my $said = openssl('ocsp', '-issuer', "$dir/sub.pem", $digest, @certs,
            '-no_nonce', '-CAfile', "$dir/root.pem", '-respin',
            "$dir/answer.der", '-resp_text');

        like($said, qr/Response verify OK/, "$type: verified");
        like($said, qr/good\.pem: good/, "$type: good");
        like($said, qr/revoked\.pem: revoked/, "$type: revoked");
        like($said, qr/responder\.pem: unknown/, "$type: unknown");

        my $sent = openssl('ocsp', '-reqin', "$dir/request.der", '-req_text',
            '-noverify');
        my ($nonce) = $sent =~ /OCSP Nonce:\s+([0-9A-F]+)/;

        ok($nonce && $said =~ /OCSP Nonce:\s+$nonce/, "$type: the nonce");
    }

    return;
}

sub gnutls_chains {
    my ($type) = @_;
    my @root = ('--load-ca-certificate', "$dir/root.pem");

    write_file('chain.pem', slurp("$dir/good.pem") . slurp("$dir/sub.pem"));
    write_file('revoked-chain.pem',
        slurp("$dir/revoked.pem") . slurp("$dir/sub.pem"));

    like(run('certtool', '--verify', @root, '--infile', "$dir/chain.pem",
        '--verify-hostname', 'a.example'), qr/Verified\. The certificate is trusted/,
        "$type: GnuTLS verifies the chain");
    like(run('certtool', '--verify', @root, '--infile', "$dir/chain.pem",
        '--verify-hostname', 'c.example'), qr/Not verified/,
        "$type: for the host named only");
    write_file('sub-crl.pem', openssl('crl', '-inform', 'DER', '-in',
        "$dir/sub.crl"));
    like(run('certtool', '--verify-crl', '--load-ca-certificate',
        "$dir/sub.pem", '--infile', "$dir/sub-crl.pem"),
        qr/Verification output: Verified/, "$type: GnuTLS verifies the CRL");
    like(run('certtool', '--crl-info', '--inder', '--infile', "$dir/sub.crl"),
        qr/Revoked certificates \(1\).*Serial Number \(hex\): 22/s,
        "$type: and reads it");
    return;
}

sub gnutls_ocsp {
    my ($type) = @_;
    my @issuer = ('--load-issuer', "$dir/sub.pem");

    like(run('ocsptool', '--verify-response', '--load-trust', "$dir/sub.pem",
        '--load-response', "$dir/$_.der"), qr/Verifying OCSP Response: Success/,
        "$type: GnuTLS verifies $_.der") for qw(good revoked direct-good);

    run('ocsptool', '--generate-request', @issuer, '--load-cert',
        "$dir/revoked.pem", '--outfile', "$dir/gnutls.der");
    is(run($tool, 'answer', $dir, 'gnutls.der', 'answer.der'), '',
        "$type: a request of GnuTLS's");
    like(run('ocsptool', '--response-info', '--load-response',
        "$dir/answer.der"), qr/Serial Number: 22\s+Certificate Status: revoked/,
        "$type: is answered");
    return;
}
