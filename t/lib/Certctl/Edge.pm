package Certctl::Edge;

# An edge host: NGINX with the module, a fleet CA, and a controller's identity
# to command it with.
#
#   my $edge = Certctl::Edge->new(conf => <<'CONF');
#       server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }
#   CONF
#   $edge->start;
#   my $crt = $edge->give('shop', names => ['shop.example']);
#
# conf is what stands in http{} beside certctl_store and the control listener;
# store => another place for the store (a mount);
# main => text before http{}, http => text in it before the servers;
# stream => a stream{} that stands before http{}, stream_last => one behind it.

use strict;
use warnings;
use parent 'Certctl::Nginx';
use Certctl::HTTP;
use Certctl::PKI;
use Certctl::Process 'wait_until';
use IO::Socket::SSL;

sub new {
    my ($class, %o) = @_;
    my $fleet = Certctl::PKI->ca('Fleet CA');
    my $ca    = delete $o{ca} // Certctl::PKI->ca('Test CA');
    my $conf  = delete $o{conf};
    my $self  = $class->SUPER::new(%o, fleet => $fleet, ca => $ca);
    my ($crt, $key) = $fleet->issue(names => ['URI:urn:certctl:controller'],
        cn => 'controller', eku => ['clientAuth']);

    $self->file('fleet.pem', $fleet->cert);
    $self->file('controller.pem', $crt);
    $self->file('controller.key', $key, 0600);
    $self->servers($conf);
    return $self;
}

# Other servers, for a reload.
sub servers {
    my ($self, $conf) = @_;

    return $self->configure(($self->{main} // '') . <<"CONF"
%%MAIN%%
@{[ $self->{stream} // '' ]}
http {
    %%HTTP%%
    certctl_store @{[ $self->{store} // "%%DIR%%/store" ]};
    certctl_trust %%DIR%%/fleet.pem;
    @{[ $self->{http} // '' ]}

    server {
        listen 127.0.0.1:%%PORT_control%% ssl;
        certctl_agent;
    }
CONF
        . "$conf\n}\n" . ($self->{stream_last} // ''));
}

sub ca { return $_[0]{ca} }

# A client of the control listener; keep-alive ties it to one worker.
sub control {
    my ($self) = @_;
    my $dir = $self->dir;

    return $self->{control} //= Certctl::HTTP->new(port => $self->port('control'),
        cert => "$dir/controller.pem", key => "$dir/controller.key");
}

# The same as a bare connection, for who writes its requests byte by byte, or
# wants more than one.
sub connection {
    my ($self, $port) = @_;
    my $dir = $self->dir;

    return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $self->port($port // 'control'),
        SSL_verify_mode => 0, SSL_cert_file => "$dir/controller.pem",
        SSL_key_file => "$dir/controller.key") || die "connect: $SSL_ERROR\n";
}

# Issues a certificate (issue()'s options) and commits it under $name; returns
# its PEM, key and chain. Dies when the module refuses it.
sub give {
    my ($self, $name, %o) = @_;
    my ($crt, $key, $chain) = $self->ca->issue(%o);

    $self->commit($name, $chain, $key);
    return wantarray ? ($crt, $key, $chain) : $crt;
}

sub commit {
    my ($self, $name, $chain, $key) = @_;
    my $r = $self->control->put("/certctl/v1/certificates/$name?keygen=server",
        $chain . $key, 'content-type' => 'application/x-pem-file');

    die "PUT $name: $r->{status} $r->{content}\n" if $r->{status} !~ /^20/;
    return $r;
}

1;
