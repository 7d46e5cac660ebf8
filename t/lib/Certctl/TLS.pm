package Certctl::TLS;

# TLS handshakes as a client sees them.
#
#   my $h = handshake($port, sni => 'a.example');
#   is $h->{fingerprint}, fingerprint($cert);
#
# In the answer: error ('' when the handshake succeeded), fingerprint, chain
# (fingerprints, leaf first), leaf (PEM), staple (DER or undef), protocol,
# cipher, alpn, reused, ms, session (with keep => 1, to be passed as session => ...).

use strict;
use warnings;
use Certctl::PKI 'fingerprint';
use Certctl::Process 'patience';
use Exporter 'import';
use IO::Socket::INET;
use Net::SSLeay;
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_RCVTIMEO SO_SNDTIMEO TCP_NODELAY);
use Time::HiRes 'time';

our @EXPORT_OK = ('handshake');

Net::SSLeay::initialize();

my %version = ('1.2' => 0x0303, '1.3' => 0x0304);

# Options: sni, host (127.0.0.1), tls => '1.2' or '1.3', ciphers (TLS 1.2),
# sigalgs => 'RSA-PSS+SHA256' (what the client can verify), alpn => [...],
# cert and key (PEM files), staple => 0 asks for none, session => an earlier
# one, keep => 1 asks once over HTTP and keeps the session, timeout (10 seconds),
# pause => sub { ... } to be called when half of the ClientHello is written.
sub handshake {
    my ($port, %o) = @_;
    my $begin = time;
    my %h = (error => 'connect', chain => []);

    # who closes while we still write is an error, not our end
    local $SIG{PIPE} = 'IGNORE';

    my $socket = IO::Socket::INET->new(PeerAddr => $o{host} // '127.0.0.1',
        PeerPort => $port, Timeout => $o{timeout} // 10 * patience())
        or return { %h, error => "connect: $!" };
    my $wait = pack 'l!l!', $o{timeout} // 10 * patience(), 0;

    setsockopt $socket, SOL_SOCKET, $_, $wait for SO_RCVTIMEO, SO_SNDTIMEO;

    # the end of a handshake and what is asked are two writes (see HTTP.pm)
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;

    my $ctx = context(\%o, \%h);
    my $ssl = Net::SSLeay::new($ctx);

    Net::SSLeay::set_tlsext_host_name($ssl, $o{sni}) if defined $o{sni};
    Net::SSLeay::set_tlsext_status_type($ssl, Net::SSLeay::TLSEXT_STATUSTYPE_ocsp())
        if $o{staple} // 1;
    Net::SSLeay::set_session($ssl, $o{session}) if $o{session};
    begin($ssl, $socket, $o{pause}) if $o{pause};
    Net::SSLeay::set_fd($ssl, fileno $socket);

    Net::SSLeay::ERR_clear_error();
    my $ok = Net::SSLeay::connect($ssl);

    $h{ms}    = (time - $begin) * 1000;
    $h{error} = $ok == 1 ? '' : reason();

    if ($ok == 1) {
        look($ssl, \%h);
        ask($ssl, $o{sni} // 'localhost', \%h) if $o{keep};
        $h{session} = Net::SSLeay::get1_session($ssl) if $o{keep};
        Net::SSLeay::shutdown($ssl);
    }

    Net::SSLeay::free($ssl);
    Net::SSLeay::CTX_free($ctx);
    close $socket;
    return \%h;
}

sub begin {
    my ($ssl, $socket, $pause) = @_;
    my ($in, $out) = map { Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()) } 1 .. 2;

    Net::SSLeay::set_bio($ssl, $in, $out);
    Net::SSLeay::connect($ssl);

    my $hello = Net::SSLeay::BIO_read($out);
    my $half  = length($hello) / 2;

    syswrite $socket, substr $hello, 0, $half;
    $pause->();
    syswrite $socket, substr $hello, $half;
    return;
}

sub context {
    my ($o, $h) = @_;
    my $ctx = Net::SSLeay::CTX_new_with_method(Net::SSLeay::TLS_client_method());

    Net::SSLeay::CTX_set_cipher_list($ctx, $o->{ciphers} // 'ALL:@SECLEVEL=1');

    # SSL_CTX_set1_sigalgs_list(), which is a control
    Net::SSLeay::CTX_ctrl($ctx, 98, 0, $o->{sigalgs}) == 1 or die "sigalgs: $o->{sigalgs}\n"
        if $o->{sigalgs};

    if ($o->{tls}) {
        Net::SSLeay::CTX_set_min_proto_version($ctx, $version{ $o->{tls} });
        Net::SSLeay::CTX_set_max_proto_version($ctx, $version{ $o->{tls} });
    }

    Net::SSLeay::CTX_set_alpn_protos($ctx, $o->{alpn}) if $o->{alpn};

    if ($o->{cert}) {
        Net::SSLeay::CTX_use_certificate_chain_file($ctx, $o->{cert});
        Net::SSLeay::CTX_use_PrivateKey_file($ctx, $o->{key}, 1);
    }

    Net::SSLeay::CTX_set_tlsext_status_cb($ctx, sub {
        my ($ssl, $response) = @_;
        $h->{staple} = Net::SSLeay::i2d_OCSP_RESPONSE($response) if $response;
        return 1;
    });
    return $ctx;
}

sub look {
    my ($ssl, $h) = @_;
    my @certs = map { Net::SSLeay::PEM_get_string_X509($_) }
        Net::SSLeay::get_peer_cert_chain($ssl);

    # a resumed TLS 1.2 session carries no chain, only the leaf it began with
    if (!@certs and my $leaf = Net::SSLeay::get_peer_certificate($ssl)) {
        @certs = (Net::SSLeay::PEM_get_string_X509($leaf));
        Net::SSLeay::X509_free($leaf);
    }

    $h->{chain}       = [map { fingerprint($_) } @certs];
    $h->{fingerprint} = $h->{chain}[0];
    $h->{leaf}        = $certs[0];
    $h->{protocol}    = Net::SSLeay::get_version($ssl);
    $h->{cipher}      = Net::SSLeay::get_cipher($ssl);
    $h->{alpn}        = Net::SSLeay::P_alpn_selected($ssl);
    $h->{reused}      = Net::SSLeay::session_reused($ssl) ? 1 : 0;
    return;
}

# TLS 1.3 sends its tickets after the handshake: read an answer to get them.
sub ask {
    my ($ssl, $host, $h) = @_;

    Net::SSLeay::write($ssl, "GET / HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n");

    while (defined(my $part = Net::SSLeay::read($ssl))) {
        last if $part eq '';
        $h->{answer} .= $part;
    }

    return;
}

sub reason {
    my $system = "$!";
    my @errors;

    while (my $code = Net::SSLeay::ERR_get_error()) {
        push @errors, Net::SSLeay::ERR_error_string($code);
    }

    return @errors ? "@errors" : "closed: $system";
}

1;
