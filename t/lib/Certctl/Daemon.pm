package Certctl::Daemon;

# A real certctld with a data folder and a port of its own.
#
#   my $d = Certctl::Daemon->start(config => "renewal_interval = 1s\n");
#   my $r = $d->api->get('/api/v1/teams');
#   $d->kill9;  $d->restart;  $d->stop;

use strict;
use warnings;
use Certctl::HTTP;
use Certctl::Port 'free_port';
use Certctl::Process qw(built temp_dir spawn finish wait_until alive slurp write_file);
use Cwd 'abs_path';

my @daemons;

# dir: a folder that is there already; config: text of the configuration file;
# args: more arguments; outgoing: networks that it may call, instead of loopback, which
# --demo has anyway; points => 1 takes the one with crash points; env => { CERTCTL_POINT => ... } is its environment;
# wait => 0 does not wait for ready.
sub start {
    my ($class, %o) = @_;
    my $dir  = $o{dir} // temp_dir();
    my $self = bless { %o, dir => $dir, data => "$dir/data", port => free_port(),
        pki_port => free_port() }, $class;

    write_file("$dir/certctl.conf", $o{config}) if defined $o{config};
    push @daemons, $self;
    return $self->restart;
}

sub dir  { return $_[0]{dir} }
sub data { return $_[0]{data} }
sub port { return $_[0]{port} }
sub pki_port { return $_[0]{pki_port} }
sub pid  { return $_[0]{pid} }
sub ca   { return "$_[0]{data}/ca.crt" }
sub log  { return slurp("$_[0]{dir}/certctld.log") // '' }

sub key {
    my ($self) = @_;
    my $key = slurp("$self->{data}/admin.key") // return;

    $key =~ s/\s+$//;
    return $key;
}

# Starts it (again) on the same folder and port, and waits until it is ready.
sub restart {
    my ($self) = @_;
    my $binary = built('certctld', $self->{points});
    my @config = defined $self->{config}
        ? ('--config', "$self->{dir}/certctl.conf") : ();
    my @outgoing = grep({ $_ eq '--demo' } @{ $self->{args} // [] }) ? ()
        : ('--outgoing-networks', $self->{outgoing} // '127.0.0.0/8,::1/128');

    local %ENV = (%ENV, %{ $self->{env} // {} });
    delete $self->{api};
    $self->{pid} = spawn("$self->{dir}/certctld.log", $binary,
        '--data-dir', $self->{data}, '--listen', "127.0.0.1:$self->{port}",
        '--pki-listen', "127.0.0.1:$self->{pki_port}", @config,
        @outgoing, @{ $self->{args} // [] });

    return $self if defined $self->{wait} && !$self->{wait};

    $self->ready or die "certctld is not ready:\n", $self->log;
    return $self;
}

sub ready {
    my ($self, $timeout) = @_;

    return wait_until($timeout // 30, sub {
        return 0 if !-s $self->ca;
        my $r = Certctl::HTTP->new(port => $self->{port}, ca => $self->ca,
            timeout => 5)->get('/ready');
        return $r->{status} == 200 || !alive($self->{pid});
    }) && alive($self->{pid});
}

# With the administrator's key; the same connection is used again. When the test
# ends, every answer is held against the OpenAPI document.
sub api {
    my ($self, %o) = @_;

    return $self->{api} //= do {
        open my $answers, '>>:raw', "$self->{dir}/answers" or die "answers: $!";
        $answers->autoflush(1);
        my $api = Certctl::HTTP->new(port => $self->{port}, ca => $self->ca, bearer => $self->key,
            answers => $answers, %o);

        write_file("$self->{dir}/openapi.json", $api->get('/api/v1/openapi.json')->{content})
            if !-s "$self->{dir}/openapi.json";
        $api;
    };
}

# Whether the answers were as the document says; the reasons go to standard error.
sub answers_as_described {
    my ($self) = @_;
    my @files = map { "$self->{dir}/$_" } 'openapi.json', 'answers';

    return 1 if grep { !-s $_ } @files;
    open my $out, '-|', '/usr/bin/python3', 't/tool/openapi.py', 'answers', @files or die "openapi.py: $!";
    my $said = do { local $/; <$out> };
    return 1 if close $out;
    print STDERR "# not as the OpenAPI document says:\n", $said =~ s/^/# /gmr;
    return 0;
}

# SIGTERM: it finishes what it has in hand. Returns the wait status.
sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} // return;

    return finish($pid, $signal // 'TERM', 30);
}

# SIGKILL to the daemon alone; PostgreSQL is what it left behind.
sub kill9 {
    my ($self) = @_;
    return $self->stop('KILL');
}

# A test that ends with the daemon killed has PostgreSQL running still. The file
# names it, and only a process that works in that folder is ended.
sub end_postgres {
    my ($self) = @_;

    for my $file (glob("$self->{data}/postgresql/data/postmaster.pid")) {
        my ($pid) = (slurp($file) // '') =~ /^(\d+)/ or next;
        (my $dir = $file) =~ s{/[^/]+$}{};

        next if (readlink "/proc/$pid/cwd" // '') ne (abs_path($dir) // '-');
        kill 'QUIT', $pid;
        wait_until(10, sub { return !alive($pid) }) or kill 'KILL', $pid;
    }

    return;
}

my $owner = $$;

END {
    if ($$ == $owner) {
        my $status = $?;

        for my $daemon (@daemons) {
            $daemon->stop;
            $daemon->end_postgres;
            $status ||= 1 if !$daemon->answers_as_described;
        }

        $? = $status;
    }
}

1;
