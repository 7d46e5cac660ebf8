package Certctl::Pebble;

# A real ACME server (RFC 8555), pebble, and the DNS that it asks.
#
#   plan skip_all => $why if $why = Certctl::Pebble->missing;
#   my $pebble = Certctl::Pebble->start(http => $port, tls => $port);
#   $pebble->host('b.example', '127.0.0.2');
#   my $acme = Certctl::ACME->new($pebble);
#
# nonce_reject: percent of nonces that it refuses; alternates: other roots; reuse:
# percent of valid authorizations that it uses again; eab => { kid => key }.
# It validates at the ports given, of the addresses that its DNS answers:
# 127.0.0.1 for every name that host() does not name.

use strict;
use warnings;
use Certctl::HTTP;
use Certctl::PKI;
use Certctl::Port 'free_port';
use Certctl::Process qw(temp_dir spawn finish wait_until slurp write_file);
use IO::Socket::INET;
use JSON::PP 'encode_json';

# What is not installed, or nothing.
sub missing {
    for my $program (qw(pebble pebble-challtestsrv)) {
        return "$program is not installed" if !grep { -x "$_/$program" } split /:/, $ENV{PATH};
    }

    return;
}

sub start {
    my ($class, %o) = @_;
    my $dir  = temp_dir();
    my %port = map { ($_, free_port()) } qw(acme manage dns names);
    my $self = bless { dir => $dir, port => \%port }, $class;
    my $ca   = Certctl::PKI->ca('pebble itself');
    my ($crt, $key) = $ca->issue(names => ['IP:127.0.0.1']);

    write_file("$dir/ca.pem", $ca->cert);
    write_file("$dir/pebble.json", encode_json({ pebble => {
        listenAddress => "127.0.0.1:$port{acme}",
        managementListenAddress => "127.0.0.1:$port{manage}",
        certificate => write_file("$dir/pebble.pem", $crt),
        privateKey  => write_file("$dir/pebble.key", $key, 0600),
        httpPort => 0 + $o{http}, tlsPort => 0 + $o{tls},
        $o{eab} ? (externalAccountBindingRequired => JSON::PP::true, externalAccountMACKeys => $o{eab}) : () } }));

    # newer ones have more that is listened on unless it is said not to, and
    # another name for this
    my $usage = `pebble-challtestsrv -h 2>&1`;
    my ($dns) = $usage =~ /^\s+(-dns01|-dnsserver)\b/m;
    my @off = map { ("-$_", '') } grep { $usage =~ /^\s+-$_\b/m }
        qw(http01 https01 tlsalpn01 doh defaultIPv6);

    $self->{dns} = ['pebble-challtestsrv', @off, '-defaultIPv4', '127.0.0.1', $dns, "127.0.0.1:$port{dns}",
        '-management', "127.0.0.1:$port{names}"];
    $self->{options} = \%o;
    return $self->run;
}

sub run {
    my ($self) = @_;
    my ($dir, $o, %port) = ($self->{dir}, $self->{options}, %{ $self->{port} });

    # each validation is made, at once, and for each order again
    local %ENV = (%ENV, PEBBLE_VA_NOSLEEP => 1, PEBBLE_VA_ALWAYS_VALID => 0,
        PEBBLE_WFE_NONCEREJECT => $o->{nonce_reject} // 0, PEBBLE_AUTHZREUSE => $o->{reuse} // 0,
        PEBBLE_ALTERNATE_ROOTS => $o->{alternates} // 0);

    $self->{pids} = [
        spawn("$dir/dns.log", @{ $self->{dns} }),
        spawn("$dir/pebble.log", 'pebble', '-config', "$dir/pebble.json",
            '-dnsserver', "127.0.0.1:$port{dns}")];

    wait_until(20, sub {
        return !grep { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_) }
            @port{qw(acme manage names)};
    }) or die 'pebble did not start: ', map { slurp("$dir/$_.log") // '' } qw(dns pebble);
    return $self;
}

sub port      { return $_[0]{port}{acme} }
sub ca        { return "$_[0]{dir}/ca.pem" }
sub directory { return "https://127.0.0.1:$_[0]{port}{acme}/dir" }
sub log       { return slurp("$_[0]{dir}/pebble.log") // '' }

# Where a name leads, for the validator.
sub host {
    my ($self, $name, @addresses) = @_;
    my $names = Certctl::HTTP->new(port => $self->{port}{names}, scheme => 'http');
    my $r = $names->post('/add-a', { host => $name, addresses => \@addresses });

    die "add-a: $r->{status} $r->{content}" if $r->{status} != 200;
    return;
}

sub manage {
    my ($self, $path) = @_;
    my $r = Certctl::HTTP->new(port => $self->{port}{manage}, ca => $self->ca)->get($path);

    die "$path: $r->{status}" if $r->{status} != 200;
    return $r->{content};
}

# PEM of the root that what it issues chains to, or of an alternate one.
sub root { return $_[0]->manage('/roots/' . ($_[1] // 0)) }

# What it says of a certificate: Valid or Revoked.
sub status { return JSON::PP::decode_json($_[0]->manage("/cert-status-by-serial/$_[1]"))->{Status} }

# It forgets accounts, orders and keys.
sub restart { my ($self) = @_; $self->stop; return $self->run }

sub stop {
    my ($self) = @_;

    finish($_, 'TERM') for @{ delete $self->{pids} // [] };
    return;
}

1;
