package Certctl::Story;

# A controller and an edge host that know each other, and what a story does with
# them: register, create, renew, look.
#
#   my $s = Certctl::Story->new(config => "renewal_interval = 1\n");
#   my $id = $s->certificate('shop.example');
#   $s->renew($id);   my $crt = $s->deployed($id);   $s->shown('shop.example');

use strict;
use warnings;
use Certctl::Daemon;
use Certctl::Nginx;
use Certctl::Process qw(slurp wait_until);
use Certctl::TLS 'handshake';

# config: of certctld; names: the servers with "certctl on" (shop.example);
# main: more directives outside of http; servers: more server blocks; control: more in that of the control listener; store: its folder; points => 1: both programs have crash points.
sub new {
    my ($class, %o) = @_;
    my $self = bless { names => ['shop.example'], servers => '', store => '%%DIR%%/store', %o },
        $class;

    $self->{daemon} = Certctl::Daemon->start(args => $o{args} // [], points => $o{points},
        config => "log_level = debug\n" . ($o{config} // ''));
    $self->{nginx} = Certctl::Nginx->new(workers => 2, points => $o{points});
    $self->{nginx}->file('fleet-ca.pem', slurp($self->{daemon}->ca));
    mkdir $self->{nginx}->dir . '/private', 0700;      # for a control socket
    $self->configure;
    $self->{nginx}->start;
    $self->{agent} = $self->register if $o{register} // 1;
    return $self;
}

sub daemon { return $_[0]{daemon} }
sub nginx  { return $_[0]{nginx} }
sub agent  { return $_[0]{agent} }
sub api    { return $_[0]{daemon}->api }

sub configure {
    my ($self) = @_;
    my $first = 1;
    my $servers = join '', map { my $once = $first-- > 0 ? ' reuseport' : ''; <<"SERVER" } @{ $self->{names} };
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl$once;
        server_name $_;
        certctl on;
        return 200 "\$certctl_fingerprint\\n";
    }
SERVER

    return $self->{nginx}->configure(<<"CONF");
%%MAIN%%
@{[ $self->{main} // '' ]}
http {
    %%HTTP%%
    certctl_store $self->{store};
    certctl_trust %%DIR%%/fleet-ca.pem;
$servers
    $self->{servers}
    server {
        listen 127.0.0.1:%%PORT_control%% ssl;
        certctl_agent;
        @{[ $self->{control} // '' ]}
    }
}
CONF
}

sub control_url { return 'https://127.0.0.1:' . $_[0]{nginx}->port('control') }

sub fingerprint {
    my ($self) = @_;
    (my $store = $self->{store}) =~ s/%%DIR%%/$self->{nginx}->dir/e;
    my $text = slurp("$store/certctl-agent.fingerprint");

    $text =~ s/\s+//g;
    return $text;
}

sub need {
    my ($self, $r) = @_;
    die "the API answers $r->{status}: $r->{content}\n" if $r->{status} !~ /^2/;
    return $r->{json};
}

sub get { my ($self, $path) = @_; return $self->need($self->api->get("/api/v1/$path")) }

sub post {
    my ($self, $path, $body) = @_;
    return $self->need($self->api->post("/api/v1/$path", $body // {}));
}

# Registers the edge by its pinned fingerprint; returns the agent's id.
sub register {
    my ($self, %o) = @_;
    my $id = $self->post('agents', { name => 'edge1', url => $self->control_url,
        fingerprint => $self->fingerprint, %o })->{id};

    $self->online($id) or die "the agent does not come online:\n", $self->events;
    return $id;
}

sub online {
    my ($self, $id) = @_;
    return wait_until(30, sub { return $self->get("agents/$id")->{status} eq 'Online' });
}

# A managed certificate for a name, with a target on the edge; returns its id.
sub certificate {
    my ($self, $name, %o) = @_;
    my $target = $self->post('targets', { name => "edge1: $name", type => 'nginx-module',
        agent_id => $self->{agent}, config => { record => $name } })->{id};

    return $self->post('certificates', { name => $name, common_name => $name,
        issuer_id => 'iss-local', renewal_policy_id => 'rp-default',
        target_ids => [$target], %o })->{id};
}

sub renew {
    my ($self, $id, %o) = @_;
    return $self->post("certificates/$id/renew" . ($o{force} ? '?force=true' : ''));
}

# Waits until the certificate's newest attempt is completed; returns its row.
sub deployed {
    my ($self, $id, %o) = @_;
    my $row;

    wait_until($o{timeout} // 40, sub {
        $row = eval { $self->get("certificates/$id") } // return 0;
        return $row->{status} eq 'Active' && !@{ $self->open_jobs($id) }
            && ($row->{last_deployment_at} // '') gt ($o{after} // '');
    }) or die "$id is not deployed: ", $row->{status} // 'no answer', "\n", $self->events;
    return $row;
}

# Of a certificate, or all.
sub open_jobs {
    my ($self, $id) = @_;
    my $jobs = $self->get('jobs?per_page=500' . (defined $id ? "&certificate_id=$id" : ''))->{data};

    return [grep { $_->{status} !~ /Completed|Failed|Cancelled/ } @$jobs];
}

sub versions {
    my ($self, $id) = @_;
    return @{ $self->get("certificates/$id/versions?per_page=500")->{data} };
}

# What a client is shown for a name now.
sub shown {
    my ($self, $name, %o) = @_;
    my $h = handshake($self->{nginx}->port('tls'), sni => $name, %o);

    die "handshake for $name: $h->{error}\n" if $h->{error};
    return $h;
}

# The daemon's log without its request lines.
sub events {
    my ($self) = @_;
    return join '', grep { !/ request=/ } $self->{daemon}->log =~ /(.*\n)/g;
}

sub stop {
    my ($self) = @_;
    $self->{nginx}->stop;
    return $self->{daemon}->stop;
}

1;
