package Certctl::Nginx;

# A real NGINX with the module, in a folder and on ports of its own.
#
#   my $ngx = Certctl::Nginx->new(workers => 2, conf => <<'CONF');
#       %%MAIN%%
#       http {
#           %%HTTP%%
#           certctl_store %%DIR%%/store;
#           server { listen 127.0.0.1:%%PORT_1%% ssl; certctl on; }
#       }
#   CONF
#   $ngx->start;   handshake($ngx->port(1));   $ngx->stop;

use strict;
use warnings;
use Certctl::Port 'free_port';
use Certctl::Process qw(built temp_dir run adopt finish wait_until alive children slurp
    valgrind write_file);
use Cwd ();
use IO::Socket::INET;

# conf: text of nginx.conf; workers (2); module => 0 leaves it out, or a path, or
# [paths] of several in the order in which they are loaded;
# stream => 1 loads NGINX's stream module and ours for it;
# debug => 1 logs at debug level; points => 1 takes the module with crash points;
# env => { CERTCTL_POINT => ... } is NGINX's environment.
sub new {
    my ($class, %o) = @_;
    my $self = bless { workers => 2, binary => binary(), ports => {}, %o,
        dir => temp_dir() }, $class;

    $self->{module} //= built('ngx_http_certctl_module.so', $self->{points});
    $self->configure($o{conf}) if defined $o{conf};
    return $self;
}

# With its path, because a binary upgrade executes argv[0].
sub binary {
    return $ENV{TEST_NGINX_BINARY} // (grep { -x } map { "$_/nginx" }
        split(/:/, $ENV{PATH}), '/usr/sbin')[0] // die "nginx is not installed\n";
}

sub dir  { return $_[0]{dir} }
sub pid  { return (slurp("$_[0]{dir}/nginx.pid") // '') =~ /(\d+)/ ? $1 : undef }
sub log  { return slurp("$_[0]{dir}/error.log") // '' }
sub port { my ($self, $name) = @_; return $self->{ports}{$name} //= free_port() }

# A file below the folder, made for the configuration to name.
sub file {
    my ($self, $name, $text, $mode) = @_;
    return write_file("$self->{dir}/$name", $text, $mode);
}

# Writes nginx.conf; for another one before reload().
sub configure {
    my ($self, $conf) = @_;
    my $dir  = $self->{dir};
    my $user = $> == 0 ? 'user www-data;' : '';
    my $load = join "\n", map { "load_module $_;" } $self->modules;
    my $level = $self->{debug} ? 'debug' : 'info';
    my $temp = join "\n", map { "${_}_temp_path $dir/$_;" }
        qw(client_body proxy fastcgi uwsgi scgi);
    my %value = (
        DIR  => $dir,
        # a new binary would not see what the old one was started with
        MAIN => "$load\n$user\nenv ASAN_OPTIONS;\nenv UBSAN_OPTIONS;\ndaemon on;\nmaster_process on;\n"
            . "worker_processes $self->{workers};\npid $dir/nginx.pid;\n"
            . "error_log $dir/error.log $level;\n"
            . "events { worker_connections 1024; }",
        HTTP => "$temp\naccess_log off;\nssl_protocols TLSv1.2 TLSv1.3;",
    );

    $conf =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
    $conf =~ s/%%(\w+)%%/$value{$1} \/\/ die "unknown placeholder $1"/ge;
    $self->file('nginx.conf', $conf);
    return $self;
}

# The shared objects to load, in this order.
sub modules {
    my ($self) = @_;
    my @modules = grep { $_ } ref $self->{module} ? @{ $self->{module} } : $self->{module};

    if (grep { defined $self->{$_} } qw(stream stream_last)) {
        unshift @modules, stream_module();
        push @modules, built('ngx_stream_certctl_module.so', $self->{points});
    }

    return @modules;
}

# Where NGINX's own dynamic stream module is: beside a server that was built here,
# else where its package has it; undef without it.
sub stream_module {
    my $own = binary() =~ s{/nginx$}{/ngx_stream_module.so}r;
    my ($folder) = `${\ binary() } -V 2>&1` =~ /--modules-path=(\S+)/;

    return (grep { defined && -f } $own, map { "$_/ngx_stream_module.so" } $folder // ())[0];
}

sub command {
    my ($self, @arguments) = @_;
    return ($self->watcher, $self->{binary}, '-p', $self->{dir}, '-e', "$self->{dir}/error.log",
        '-c', "$self->{dir}/nginx.conf", @arguments);
}

# Valgrind's memcheck, with VALGRIND=1. A process that ends by itself and one
# that another binary replaces are watched like the first.
sub watcher {
    my ($self) = @_;

    return () if !valgrind();
    return ('valgrind', '-q', '--trace-children=yes', '--vgdb=no', '--leak-check=no', '--gen-suppressions=all',
        '--num-callers=30', '--suppressions=' . Cwd::abs_path('t/valgrind.supp'), "--log-file=$self->{dir}/valgrind.%p");
}

# nginx -t: (whether it is accepted, what it said).
sub test {
    my ($self) = @_;
    my $ok  = run("$self->{dir}/test.log", $self->command('-t')) == 0;
    my $say = slurp("$self->{dir}/test.log");
    unlink "$self->{dir}/test.log";
    Certctl::Process::inspect_valgrind($self->{dir}) if valgrind() && !$self->pid;
    return ($ok, $say);
}

# Starts and waits for all workers and ports. Dies with the log if it cannot.
sub start {
    my ($self) = @_;

    unlink "$self->{dir}/nginx.pid";

    local %ENV = (%ENV, %{ $self->{env} // {} });

    # in the background, as NGINX upgrades its binary only there
    my $exit = run("$self->{dir}/stderr.log", $self->command);
    wait_until(20, sub { return $self->pid }) if $exit == 0;
    adopt($self->pid, "$self->{dir}/error.log") if $self->pid;

    die "nginx did not start:\n", slurp("$self->{dir}/stderr.log"), $self->log
        if $exit != 0 || !wait_until(20, sub { return $self->accepts });
    return $self;
}

sub accepts {
    my ($self) = @_;

    return 0 if $self->workers < $self->{workers};
    return !grep { !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_) }
        grep { slurp("$self->{dir}/nginx.conf") =~ /listen(?![^;]*\bquic\b)[^;]*\b$_\b/ }
        values %{ $self->{ports} };
}

# Process ids of the workers that take connections.
sub workers {
    my ($self) = @_;
    my $master = $self->pid // return;

    # beneath valgrind the title that NGINX gives itself is not to be seen
    my $log = valgrind() ? $self->log : '';

    return grep { valgrind() ? $log =~ /start worker process $_$/m && $log !~ / $_#\d+: gracefully shutting down/
        : (slurp("/proc/$_/cmdline") // '') =~ /worker process(?! is)/ }
        children($master);
}

# Reads the configuration again; returns when the new workers are there and,
# with wait_old => 1, the old ones gone.
sub reload {
    my ($self, %o) = @_;
    my %old = map { ($_, 1) } $self->workers;
    my $master = $self->pid;

    kill 'HUP', $master;
    return wait_until(30, sub {
        my @new = grep { !$old{$_} } $self->workers;
        return @new >= $self->{workers}
            && (!$o{wait_old} || !grep { alive($_) } keys %old);
    });
}

# SIGKILL to one worker; returns when the master has replaced it.
sub kill_worker {
    my ($self, $pid) = @_;

    kill 'KILL', $pid;
    return wait_until(20, sub {
        return !alive($pid) && $self->workers >= $self->{workers};
    });
}

# Another binary (or the same) takes over, as an operator does it: USR2, then
# QUIT to the old master. Returns the new master's id.
sub upgrade {
    my ($self) = @_;
    my $old = $self->pid;

    kill 'USR2', $old;
    wait_until(20, sub {
        my $new = $self->pid;
        return $new && $new != $old && $self->workers >= $self->{workers};
    }) or die "no new master:\n", $self->log;
    kill 'QUIT', $old;
    wait_until(20, sub { return !alive($old) });
    return $self->pid;
}

# Waits until the log matches; what stood there before is not looked at when $from
# is how long it was.
sub logged {
    my ($self, $pattern, $from) = @_;
    return wait_until(20, sub { return substr($self->log, $from // 0) =~ $pattern });
}

# The process group of a process that lives: NGINX's master leads one, in the
# background.
sub group {
    my ($pid) = @_;
    my ($state, $group) = (slurp("/proc/$pid/stat") // '') =~ /\) (\w) \d+ (\d+)/ or return;

    return $state eq 'Z' || $group == getpgrp ? () : $group;
}

# signal: QUIT (default), TERM or KILL. Processes that a killed master leaves
# behind are killed too, unless orphans => 1.
sub stop {
    my ($self, $signal, %o) = @_;
    my $pid = $self->pid // return;
    my @workers = children($pid);
    my ($group) = group($pid);
    my $status = finish($pid, $signal // 'QUIT');

    # also one that the master was just making
    if (($signal // '') eq 'KILL' && !$o{orphans}) {
        wait_until(20, sub {
            my @left = grep { (group($_) // 0) == ($group // -1) } map { m{(\d+)$} } glob '/proc/[0-9]*';
            kill 'KILL', @left if @left;
            return !@left && !grep { alive($_) } @workers;
        });
    }

    Certctl::Process::inspect("$self->{dir}/stderr.log");
    Certctl::Process::inspect_valgrind($self->{dir}) if valgrind();
    return $status;
}

1;
