#!/usr/bin/perl
# A CA whose certificate and key are in files: a root as "openssl req -x509" makes
# it, without keyUsage, issues, revokes and is verified; an error names the file.

use strict;
use warnings;
use Certctl::API 'refused';
use Certctl::HTTP;
use Certctl::PKI;
use Certctl::Process qw(slurp temp_dir write_file);
use Certctl::Story;
use Test::More;

my $dir = temp_dir();
my $s = Certctl::Story->new;
my $d = $s->daemon;

write_file("$dir/cnf", "[req]\ndistinguished_name = dn\n[dn]\n[ca]\nbasicConstraints = critical, CA:TRUE\n"
    . "subjectKeyIdentifier = hash\n");
Certctl::PKI::openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', 100,
    '-subj', '/CN=Old Root', '-config', "$dir/cnf", '-extensions', 'ca', '-keyout', "$dir/root.key", '-out', "$dir/root.pem");
Certctl::PKI::openssl('pkcs8', '-topk8', '-in', "$dir/root.key", '-out', "$dir/pkcs8.key", '-passout', 'pass:secret');
Certctl::PKI::openssl('ec', '-in', "$dir/root.key", '-aes256', '-out', "$dir/older.key", '-passout', 'pass:secret');
write_file("$dir/both.pem", slurp("$dir/root.pem") . slurp("$dir/pkcs8.key"));
unlike Certctl::PKI::openssl('x509', '-in', "$dir/root.pem", '-noout', '-text'), qr/X509v3 Key Usage/, 'the root has no keyUsage';

# certificate, key => the file that is at fault, and why
my @bad = (
    ['root.pem', 'pkcs8.key', 'pkcs8.key', 'the private key is encrypted'],
    ['root.pem', 'older.key', 'older.key', 'the private key is encrypted'],
    ['both.pem', 'both.pem', 'both.pem', 'PEM block 2 .*: the private key is encrypted'],
    ['root.key', 'root.key', 'root.key', 'no certificate'],
    ['root.pem', 'root.pem', 'root.pem', 'key'],
    ['root.pem', 'none.key', 'none.key', 'No such file'],
    ['none.pem', 'root.key', 'none.pem', 'No such file'],
);

for my $case (@bad) {
    my ($cert, $key, $file, $why) = @$case;

    refused($s->api->post('/api/v1/issuers', issuer($cert, $key)), 422, qr/^\Q$dir\E\/\Q$file\E: .*$why/, "$cert and $key");
}

# a file with a key, too, of which the key is of no interest
$s->post('issuers', issuer('both.pem', 'root.key'));
my $id = $s->certificate('shop.example', issuer_id => 'iss-files');
$s->renew($id);
$s->deployed($id);

my ($version) = $s->versions($id);
is $s->shown('shop.example')->{fingerprint}, $version->{fingerprint_sha256}, 'served';
write_file("$dir/leaf.pem", $version->{pem_chain});
like Certctl::PKI::openssl('verify', '-purpose', 'sslserver', '-CAfile', "$dir/root.pem", "$dir/leaf.pem"), qr/: OK$/,
    'and verified';

$s->post("certificates/$id/revoke", { reason => 'superseded' });
my $crl = Certctl::HTTP->new(scheme => 'http', port => $d->pki_port)->get('/.well-known/pki/crl/iss-files');
write_file("$dir/crl.der", $crl->{content});
my $text = Certctl::PKI::openssl('crl', '-inform', 'DER', '-in', "$dir/crl.der", '-CAfile', "$dir/root.pem", '-noout', '-text');
like $text, qr/Serial Number: \Q@{[ uc $version->{serial_number} ]}\E/, 'its CRL has what was revoked';

is $s->stop, 0, 'the daemon ends well';
done_testing();

sub issuer {
    my ($cert, $key) = @_;

    return { id => 'iss-files', name => 'Files', type => 'local',
        config => { ca_cert_path => "$dir/$cert", ca_key_path => "$dir/$key" } };
}
