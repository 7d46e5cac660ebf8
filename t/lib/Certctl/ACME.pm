package Certctl::ACME;

# A small ACME client (RFC 8555) that does what a test says, also what is wrong.
#
#   my $acme  = Certctl::ACME->new($pebble);
#   my $order = $acme->order('a.example', 'IP:127.0.0.1');
#   for my $a ($acme->authorizations($order)) {
#       my $auth = $acme->key_authorization($a->{'http-01'}{token});
#       ...
#       $acme->validate($a, 'http-01')->{status};        # valid, invalid
#   }
#   my $chain = $acme->finalize($order, $csr);

use strict;
use warnings;
use Certctl::HTTP;
use Certctl::PKI qw(new_key pem_to_der);
use Certctl::Process qw(temp_dir wait_until write_file);
use Digest::SHA 'sha256';
use JSON::PP ();
use MIME::Base64 'encode_base64url';

my $json = JSON::PP->new->canonical;

# A new account of a Certctl::Pebble.
sub new {
    my ($class, $pebble) = @_;
    my $key = write_file(temp_dir() . '/account.key', new_key('ec-p256'), 0600);
    my ($x, $y) = unpack 'a32 a32', substr Certctl::PKI::openssl(qw(pkey -pubout -outform DER -in), $key), -64;
    my $self = bless { key => $key, http => Certctl::HTTP->new(port => $pebble->port, ca => $pebble->ca),
        jwk => { kty => 'EC', crv => 'P-256', x => encode_base64url($x), y => encode_base64url($y) } }, $class;

    $self->{urls} = $self->{http}->get('/dir')->{json};
    $self->{kid} = $self->ask($self->{urls}{newAccount}, { termsOfServiceAgreed => JSON::PP::true })
        ->{headers}{location};
    return $self;
}

# RFC 7638
sub thumbprint {
    my ($self) = @_;
    return encode_base64url(sha256($json->encode($self->{jwk})));
}

sub key_authorization { return "$_[1]." . $_[0]->thumbprint }

# Names as "a.example" and "IP:192.0.2.1". The order, with its url.
sub order {
    my ($self, @names) = @_;
    my @identifiers = map { /^IP:(.+)/ ? { type => 'ip', value => $1 } : { type => 'dns', value => $_ } } @names;
    my $r = $self->ask($self->{urls}{newOrder}, { identifiers => \@identifiers });

    return { %{ $r->{json} }, url => $r->{headers}{location} };
}

# Each with url, identifier (its value), and its challenges by their types.
sub authorizations {
    my ($self, $order) = @_;

    return map {
        my $a = $self->ask($_)->{json};
        { url => $_, identifier => $a->{identifier}{value}, map { ($_->{type}, $_) } @{ $a->{challenges} } };
    } @{ $order->{authorizations} };
}

# Has a challenge looked at; the authorization when that is done.
sub validate {
    my ($self, $authorization, $type) = @_;

    $self->ask($authorization->{$type}{url}, {});
    return $self->settled($authorization->{url}, 'pending');
}

# The chain for a request in PEM.
sub finalize {
    my ($self, $order, $csr) = @_;

    $self->ask($order->{finalize}, { csr => encode_base64url(pem_to_der($csr)) });
    my $done = $self->settled($order->{url}, 'processing', 'ready');
    return $self->ask($done->{certificate} // die 'no certificate: ', $json->encode($done))->{content};
}

sub settled {
    my ($self, $url, @not) = @_;
    my %not = map { ($_, 1) } @not;

    return wait_until(20, sub {
        my $what = $self->ask($url)->{json};
        return $not{ $what->{status} } ? undef : $what;
    }) || die "$url stays as it is\n";
}

# POST, or POST-as-GET without a payload. Dies when the server refuses it.
sub ask {
    my ($self, $url, $payload) = @_;
    my $nonce = delete $self->{nonce} // $self->{http}->request('HEAD', path($self->{urls}{newNonce}))
        ->{headers}{'replay-nonce'};
    my %who = $self->{kid} ? (kid => $self->{kid}) : (jwk => $self->{jwk});
    my %jws = (protected => encode_base64url($json->encode({ alg => 'ES256', nonce => $nonce, url => $url, %who })),
        payload => $payload ? encode_base64url($json->encode($payload)) : '');

    $jws{signature} = $self->sign("$jws{protected}.$jws{payload}");
    my $r = $self->{http}->post(path($url), \%jws, 'content-type' => 'application/jose+json');

    $self->{nonce} = $r->{headers}{'replay-nonce'};
    die "$url: $r->{status} $r->{content}\n" if $r->{status} !~ /^20/;
    return $r;
}

sub path { return $_[0] =~ m{^https://[^/]+(/.*)$} ? $1 : die "no URL: $_[0]\n" }

# RFC 7518, section 3.4: both numbers, 32 octets each.
sub sign {
    my ($self, $text) = @_;
    my $file = write_file("$self->{key}.text", $text);
    my $der = Certctl::PKI::openssl(qw(dgst -sha256 -sign), $self->{key}, $file);

    return encode_base64url(join '', map { substr "\0" x 32 . (Certctl::PKI::der_take($_))[0], -32 }
        Certctl::PKI::der_children($der));
}

1;
