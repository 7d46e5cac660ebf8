package Certctl::PKI;

# Certificate authorities, certificates and OCSP responses for tests, good and
# bad ones. PEM everywhere.
#
#   my $ca = Certctl::PKI->ca('Test CA');
#   my ($crt, $key) = $ca->issue(names => ['a.example', 'IP:192.0.2.1'], days => 5);
#   my $der = $ca->ocsp($crt, status => 'good', until => time + 3600);

use strict;
use warnings;
use Certctl::Process qw(temp_dir slurp write_file);
use Digest::SHA 'sha1', 'sha256_hex';
use Exporter 'import';
use IO::Socket::SSL::Utils;
use MIME::Base64;
use POSIX 'strftime';

our @EXPORT_OK = qw(fingerprint new_key pem_to_der der_to_pem pem_split
    san_names not_after);

my $serial = 0x1000 + int rand 0x7fff0000;
my $dir;

# A self-signed CA; key => type as in issue(), days => its life.
sub ca {
    my ($class, $name, %o) = @_;

    my ($cert, $key) = make(%o, CA => 1, subject => { commonName => $name },
        days => $o{days} // 3650);
    return bless { cert => $cert, key => $key, chain => '' }, $class;
}

# A CA below this one; its chain() is what a server adds behind the leaf.
sub sub_ca {
    my ($self, $name, %o) = @_;

    my ($cert, $key) = make(%o, CA => 1, subject => { commonName => $name },
        days => $o{days} // 1825, issuer => $self);
    return bless { cert => $cert, key => $key,
        chain => $cert . $self->{chain} }, ref $self;
}

sub cert  { return $_[0]{cert} }
sub key   { return $_[0]{key} }
sub chain { return $_[0]{chain} }

# A leaf: names => ['a.example', 'IP:192.0.2.1', 'URI:urn:x'], days => 90 (may
# be negative: expired), from => seconds from now, key => PEM or a type as
# new_key() takes it, eku => ['serverAuth'], ku => ['digitalSignature'], csr's public key through key,
# ocsp => URL, ext => [{ sn, data } of OpenSSL's configuration], must_staple => 1, cn => 'x', serial => n, size => bytes of a comment.
# Returns the PEM of the leaf, its key, and leaf and chain together.
sub issue {
    my ($self, %o) = @_;

    my @san = map { /^(DNS|IP|URI|email):(.+)/s ? [$1, $2] : ['DNS', $_] }
        @{ $o{names} // ['localhost'] };
    my @ext = @{ $o{ext} // [] };

    push @ext, { sn => 'authorityInfoAccess', data => "OCSP;URI:$o{ocsp}" } if $o{ocsp};
    push @ext, { sn => 'tlsfeature', data => 'status_request' } if $o{must_staple};

    push @ext, comment($o{size}) if $o{size};

    my ($cert, $key) = make(%o, CA => 0, issuer => $o{self_signed} ? undef : $self,
        subject => { commonName => $o{cn} // $san[0][1] },
        san => \@san, ext => \@ext, days => $o{days} // 90);
    return ($cert, $key, $cert . $self->{chain});
}

# An extension that makes a certificate large.
sub comment { return { sn => 'nsComment', data => 'x' x $_[0] } }

sub make {
    my (%o) = @_;
    my $key = $o{key} // 'ec-p256';

    $key = new_key($key) if $key !~ /-----BEGIN/;

    my $handle = PEM_string2key($key);
    my $issuer = $o{issuer};
    my ($issuer_cert, $issuer_key) = $issuer
        ? (PEM_string2cert($issuer->{cert}), PEM_string2key($issuer->{key})) : ();
    my $from = time + ($o{from} // -3600 - ($o{days} < 0 ? 90 * 86400 : 0));
    my @purpose = $o{CA} ? (purpose => 'cRLSign,keyCertSign,digitalSignature')
        : (purpose => { map { ($_, 1) } @{ $o{ku} // ['digitalSignature'] },
            @{ $o{eku} // ['serverAuth'] } });

    my ($cert) = CERT_create(
        subject => $o{subject}, CA => $o{CA}, key => $handle, version => 2,
        serial => $o{serial} // $serial++, digest => 'sha256',
        not_before => $from, not_after => $o{until} // time + $o{days} * 86400,
        ($o{san} ? (subjectAltNames => $o{san}) : ()), @purpose,
        ext => [@{ $o{ext} // [] },
            { sn => 'subjectKeyIdentifier', data => 'hash' }],
        ($issuer ? (issuer_cert => $issuer_cert, issuer_key => $issuer_key) : ()));
    my $pem = PEM_cert2string($cert);

    CERT_free($_) for grep { defined } $cert, $issuer_cert;
    KEY_free($_)  for grep { defined } $handle, $issuer_key;
    return ($pem, $key);
}

# PEM of a new key: ec-p256, ec-p384, ec-p521, rsa-2048, rsa-1024 ..., ed25519.
sub new_key {
    my ($type) = @_;

    if ($type =~ /^ec-p(\d+)$/) {
        my $key = KEY_create_ec({ 256 => 'prime256v1', 384 => 'secp384r1', 521 => 'secp521r1' }->{$1});
        my $pem = PEM_key2string($key);
        KEY_free($key);
        return $pem;
    }

    my @how = $type =~ /^rsa-(\d+)$/ ? ('RSA', '-pkeyopt', "rsa_keygen_bits:$1")
        : ($type);
    return openssl('genpkey', '-algorithm', @how);
}

# A DER OCSP response (RFC 6960) for $cert, PEM, issued by this CA. status:
# good, revoked, unknown; from and until: thisUpdate and nextUpdate in seconds
# since 1970 (until 0: absent); signer: another Certctl::PKI that signs;
# for: another certificate's PEM whose CertID is put in; also: a list of
# [certificate, status] that it answers for, too, behind the first.
sub ocsp {
    my ($self, $cert, %o) = @_;
    my $now    = time;
    my $signer = $o{signer} // $self;
    my $until  = $o{until} // $now + 86400;
    my %status = (good => "\x80\x00", unknown => "\x82\x00",
        revoked => tlv(0xa1, time_der($o{revoked_at} // $now - 60)));

    my @singles = map { tlv(0x30, $self->cert_id($_->[0]), $status{ $_->[1] },
        time_der($o{from} // $now - 60),
        $until ? tlv(0xa0, time_der($until)) : ()) }
        [$o{for} // $cert, $o{status} // 'good'], @{ $o{also} // [] };
    my $data = tlv(0x30, tlv(0xa1, subject_der($signer->{cert})),
        time_der($o{from} // $now - 60), tlv(0x30, @singles));
    my $file = write_file(scratch('data'), $data);
    my $signature = openssl('dgst', '-sha256', '-sign',
        write_file(scratch('key'), $signer->{key}, 0600), $file);
    # ecdsa-with-SHA256, or sha256WithRSAEncryption
    my $algorithm = $signer->{key} =~ /BEGIN RSA/ || rsa($signer->{cert})
        ? pack 'H*', '300d06092a864886f70d01010b0500'
        : pack 'H*', '300a06082a8648ce3d040302';
    my $basic = tlv(0x30, $data, $algorithm, tlv(0x03, "\0", $signature),
        tlv(0xa0, tlv(0x30, pem_to_der($signer->{cert}))));

    return tlv(0x30, "\x0a\x01\x00", tlv(0xa0, tlv(0x30,
        pack('H*', '06092b0601050507300101'), tlv(0x04, $basic))));
}

# CertID (4.1.1), as OpenSSL asks for it: with SHA-1.
sub cert_id {
    my ($self, $cert) = @_;
    my $der = openssl('ocsp', '-issuer', write_file(scratch('issuer'), $self->{cert}),
        '-cert', write_file(scratch('cert'), $cert), '-no_nonce',
        '-reqout', '-');
    my @path = der_children($der);      # OCSPRequest, tbs, requestList, Request

    @path = der_children($path[0]) for 1 .. 3;
    return $path[0];
}

sub rsa {
    my ($pem) = @_;
    return index(pem_to_der($pem), pack 'H*', '06092a864886f70d010101') >= 0;
}

# The subject's DER: the field behind validity.
sub subject_der {
    my ($pem) = @_;
    my ($tbs) = der_children(pem_to_der($pem));
    my @field = der_children($tbs);

    shift @field if ord $field[0] == 0xa0;
    return $field[4];
}

sub time_der { return tlv(0x18, strftime('%Y%m%d%H%M%SZ', gmtime $_[0])) }

sub tlv {
    my ($tag, @parts) = @_;
    my $body = join '', @parts;
    my $len  = length $body;
    my $head = $len < 128 ? chr $len : do {
        (my $n = pack 'N', $len) =~ s/^\0+//;
        chr(0x80 | length $n) . $n;
    };

    return chr($tag) . $head . $body;
}

# The elements inside a constructed DER value.
sub der_children {
    my ($der) = @_;
    my ($body) = der_take($der);
    my @found;

    while (length $body) {
        my (undef, $whole) = der_take($body);
        push @found, $whole;
        substr $body, 0, length $whole, '';
    }

    return @found;
}

# Body and whole of the first element.
sub der_take {
    my ($der) = @_;
    my $len  = ord substr $der, 1, 1;
    my $head = 2;

    if ($len & 0x80) {
        my $n = $len & 0x7f;
        $len  = unpack 'N', substr "\0\0\0\0" . substr($der, 2, $n), -4;
        $head += $n;
    }

    return (substr($der, $head, $len), substr $der, 0, $head + $len);
}

# SHA-256 of the first certificate of a PEM text, or of DER, lower-case hex.
sub fingerprint {
    my ($text) = @_;
    return sha256_hex($text =~ /-----BEGIN/ ? pem_to_der($text) : $text);
}

sub pem_to_der {
    my ($pem) = @_;
    my ($base64) = $pem =~ /-----BEGIN [^-]+-----\s*(.+?)-----END/s or die "not PEM";

    return decode_base64($base64);
}

sub der_to_pem {
    my ($der, $label) = @_;

    (my $base64 = encode_base64($der, '')) =~ s/(.{1,64})/$1\n/g;
    return "-----BEGIN $label-----\n$base64-----END $label-----\n";
}

sub pem_split { return $_[0] =~ /(-----BEGIN .+?-----END [^\n]+\n)/sg }

# "DNS:a,IP:192.0.2.1" of a certificate or request, sorted.
sub san_names {
    my ($pem) = @_;
    my $text = openssl($pem =~ /REQUEST/ ? 'req' : 'x509', '-noout', '-text', '-in',
        write_file(scratch('names'), $pem));
    my ($line) = $text =~ /Subject Alternative Name:[^\n]*\n\s*([^\n]+)/ or return '';

    $line =~ s/IP Address:/IP:/g;
    return join ',', sort split /,\s*/, $line;
}

sub not_after {
    my ($pem) = @_;
    my $cert = PEM_string2cert($pem);
    my $time = CERT_asHash($cert)->{not_after};

    CERT_free($cert);
    return $time;
}

# Output of an openssl command.
sub openssl {
    my (@command) = @_;

    open my $pipe, '-|', 'sh', '-c', 'exec openssl "$@" 2>/dev/null', 'sh', @command
        or die "openssl: $!";
    binmode $pipe;
    local $/;
    my $out = <$pipe>;
    close $pipe or die "openssl @command: exit $?";
    return $out;
}

# For a child process, whose files would be its parent's else.
sub scratch_anew { $dir = undef; return }

sub scratch {
    my ($name) = @_;

    $dir //= temp_dir();
    chmod 0700, $dir;
    return "$dir/$name";
}

1;
