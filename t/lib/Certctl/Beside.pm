package Certctl::Beside;

# Ways to serve certificates and to change one, each in a server of its own that
# holds the same names, so that they can be measured beside each other:
#
#   my $s = Certctl::Beside->new('lua', workers => 2, filled => $dir, count => 1000,
#       pems => { 'shop.bench.test' => $chain . $key });
#   handshake($s->port, sni => 'shop.bench.test', keep => 1);
#   $s->change('shop.bench.test', $chain . $key);       # answered, or dies
#
# filled is a folder of t/bench/fill with count names. An answer over HTTP says who
# gave it: the worker's process id, or HAProxy's thread. What is changed is what an
# operator of each would change:
#
#   static     files, then nginx -s reload
#   variables  a file, by rename
#   lua        PUT to a location that puts it in shared memory
#   certctl    PUT to the control listener, which stores it durably
#   haproxy    set ssl cert, commit ssl cert over its unix socket

use strict;
use warnings;
use Certctl::Bench qw(cpu_seconds memory_kb pin);
use Certctl::Edge;
use Certctl::Nginx;
use Certctl::Port 'free_port';
use Certctl::Process qw(adopt children finish run slurp temp_dir wait_until write_file);
use Cwd 'abs_path';
use File::Basename 'dirname';
use IO::Socket::INET;
use IO::Socket::SSL;
use IO::Socket::UNIX;

my $bench = abs_path(dirname(__FILE__) . '/../../bench');
my ($uid, $gid) = $> == 0 ? (getpwnam 'www-data')[2, 3] : ($>, (split ' ', $))[0]);

my %way = (
    static    => { conf => \&static,    change => \&reload },
    variables => { conf => \&variables, change => \&replace },
    lua       => { conf => \&lua,       change => \&put_lua },
    certctl   => { conf => \&certctl,   change => \&put_certctl },
    haproxy   => { start => \&haproxy,  change => \&commit },
);

sub new {
    my ($class, $how, %o) = @_;
    my $self = bless { how => $how, %o }, $class;

    ($way{$how}{start} // \&nginx)->($self);
    return $self;
}

sub owner { return ($uid, $gid) }

sub port { return $_[0]{port} // $_[0]{nginx}->port('tls') }

# Those that handshake.
sub workers { return $_[0]{pid} // $_[0]{nginx}->workers }

# Workers that are on their way out count, too.
sub memory_mb {
    my ($self) = @_;
    my $master = $self->{pid} // $self->{nginx}->pid;

    return memory_kb($master, children($master)) / 1024;
}

sub cpu { return cpu_seconds($_[0]->workers) }

sub change {
    my ($self, $name, $pem) = @_;
    return $way{ $self->{how} }{change}->($self, $name, $pem);
}

sub stop {
    my ($self) = @_;

    undef $self->{kept};
    return $self->{pid} ? finish($self->{pid}, 'TERM') : $self->{nginx}->stop('TERM');
}

# One worker has the first core for itself, the client has the other.
sub nginx {
    my ($self) = @_;
    my $main  = $self->{workers} == 1 ? "worker_cpu_affinity 01;\n" : '';
    my $edge  = $self->{how} eq 'certctl';
    my %o     = (workers => $self->{workers}, main => $main);
    my $nginx = $self->{nginx} = $edge
        ? Certctl::Edge->new(%o, conf => '') : Certctl::Nginx->new(%o, module => 0);

    $self->{dir} = $nginx->dir;
    $self->files;
    $way{ $self->{how} }{conf}->($self, $nginx, $main);
    $nginx->start;

    if ($edge) {
        $self->change($_, $self->{pems}{$_}) for sort keys %{ $self->{pems} };
    }

    return;
}

# crt/<name>.pem of each name: what is filled in, and what is measured.
sub files {
    my ($self) = @_;
    my $crt = "$self->{dir}/crt";

    mkdir $crt or die "$crt: $!";

    for my $n (0 .. $self->{count} - 1) {
        my $from = "$self->{filled}/static/s$n.pem";

        chown $uid, $gid, $from;
        link $from, "$crt/s$n.bench.test.pem" or die "$from: $!";
    }

    $self->replace($_, $self->{pems}{$_}) for keys %{ $self->{pems} };
    return;
}

sub replace {
    my ($self, $name, $pem) = @_;
    my $file = "$self->{dir}/crt/$name.pem";

    write_file("$file.new", $pem, 0600);
    chown $uid, $gid, "$file.new";
    rename "$file.new", $file or die "$file: $!";
    return;
}

sub http {
    my ($main, $text) = @_;
    return <<"CONF";
%%MAIN%%
$main
http {
    %%HTTP%%
    server_names_hash_max_size 131072;
    server_names_hash_bucket_size 128;
$text
}
CONF
}

# A server{} for each name.
sub static {
    my ($self, $nginx, $main) = @_;
    my $listen = '127.0.0.1:%%PORT_tls%%';
    my $option = ' reuseport';
    my $text   = '';

    for my $name (sort keys %{ $self->{pems} }) {
        $text .= <<"CONF";
    server {
        listen $listen ssl$option;
        server_name $name;
        ssl_certificate %%DIR%%/crt/$name.pem;
        ssl_certificate_key %%DIR%%/crt/$name.pem;
        return 200 "\$pid\\n";
    }
CONF
        $option = '';
    }

    (my $others = slurp("$self->{filled}/static.conf")) =~ s/\@LISTEN\@/$listen/g;
    return $nginx->configure(http($main, $text . $others));
}

sub reload {
    my ($self, $name, $pem) = @_;
    my $nginx = $self->{nginx};

    $self->replace($name, $pem);
    run($self->{dir} . '/reload.log', $nginx->command('-s', 'reload')) == 0
        or die 'nginx -s reload: ', slurp($self->{dir} . '/reload.log');
    return;
}

sub variables {
    my ($self, $nginx, $main) = @_;

    return $nginx->configure(http($main, <<'CONF'));
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        ssl_certificate %%DIR%%/crt/$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/crt/$ssl_server_name.pem;
        return 200 "$pid\n";
    }
CONF
}

sub lua {
    my ($self, $nginx, $main) = @_;
    my ($any) = sort keys %{ $self->{pems} };
    my $load  = join '', map { "load_module /usr/lib/nginx/modules/$_.so;\n" }
        qw(ndk_http_module ngx_http_lua_module);

    return $nginx->configure($load . http($main, <<"CONF"));
    lua_package_path "$bench/?.lua;;";
    lua_shared_dict pems 64m;
    lua_shared_dict versions 8m;
    init_by_lua_block { require("certificates").folder = "%%DIR%%/crt/" }
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        ssl_certificate %%DIR%%/crt/$any.pem;
        ssl_certificate_key %%DIR%%/crt/$any.pem;
        ssl_certificate_by_lua_block { require("certificates").serve() }
        return 200 "\$pid\\n";
    }
    server {
        listen 127.0.0.1:%%PORT_control%%;
        client_body_buffer_size 64k;
        location / { content_by_lua_block { require("certificates").put() } }
    }
CONF
}

sub put_lua {
    my ($self, $name, $pem) = @_;

    return $self->put("/$name", $pem, sub {
        return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $self->{nginx}->port('control'));
    });
}

# One server{} for all of the store's names.
sub certctl {
    my ($self, $nginx) = @_;

    rename "$self->{filled}/store", "$self->{dir}/store" or die "$self->{filled}/store: $!";
    return $nginx->servers(<<'CONF');
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        certctl on;
        return 200 "$pid\n";
    }
CONF
}

sub put_certctl {
    my ($self, $name, $pem) = @_;

    return $self->put("/certctl/v1/certificates/$name?keygen=server", $pem, sub {
        return IO::Socket::SSL->new(PeerAddr => '127.0.0.1', SSL_verify_mode => 0,
            PeerPort => $self->{nginx}->port('control'),
            SSL_cert_file => "$self->{dir}/controller.pem",
            SSL_key_file => "$self->{dir}/controller.key");
    });
}

# In one piece over a kept connection, as curl does it.
sub put {
    my ($self, $path, $pem, $connect) = @_;
    my $answer = '';

    $self->{kept} //= $connect->() or die "connect: $!\n";
    syswrite $self->{kept}, "PUT $path HTTP/1.1\r\nHost: edge\r\n"
        . "Content-Type: application/x-pem-file\r\nContent-Length: " . length($pem)
        . "\r\n\r\n$pem" or die "PUT $path: $!\n";

    until ($answer =~ /\r\n\r\n(.*)/s
        && length $1 >= (($answer =~ /^Content-Length: (\d+)/mi)[0] // 0)) {
        sysread $self->{kept}, $answer, 65536, length $answer
            or die "PUT $path: closed after: $answer\n";
    }

    undef $self->{kept} if $answer =~ /^Connection: close/mi;
    die "PUT $path: $answer\n" if $answer !~ m{^HTTP/1\.1 20};
    return;
}

# For the time between two measurements, as an idle connection may be closed.
sub hang_up { undef $_[0]{kept}; return }

# Its threads are NGINX's workers. OpenSSL's first group, as NGINX has it: by
# default this HAProxy takes P-256 only, and asks each client to begin again.
sub haproxy {
    my ($self) = @_;
    my $dir  = $self->{dir}  = temp_dir();
    my $port = $self->{port} = free_port();
    my @core = $self->{workers} == 1 ? pin(0) : ();

    $self->files;
    write_file("$dir/haproxy.cfg", <<"CONF");
global
    nbthread $self->{workers}
    maxconn 1024
    stats socket $dir/haproxy.sock mode 600 level admin
    ssl-default-bind-curves X25519:P-256
    ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
    mode http
    timeout client 10s
    timeout connect 10s
    timeout server 10s

frontend tls
    bind 127.0.0.1:$port ssl crt $dir/crt/
    http-request return status 200 content-type text/plain lf-string "%[thread]"
CONF
    # in the background, as NGINX: a session of its own is scheduled by itself
    run("$dir/haproxy.log", @core, 'haproxy', '-D', '-p', "$dir/haproxy.pid", '-f',
        "$dir/haproxy.cfg") == 0 or die 'haproxy: ', slurp("$dir/haproxy.log");
    ($self->{pid}) = (slurp("$dir/haproxy.pid") // '') =~ /(\d+)/ or die "haproxy: no pid\n";
    adopt($self->{pid}, "$dir/haproxy.log");
    wait_until(30, sub { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) })
        or die 'haproxy: ', slurp("$dir/haproxy.log");
    return;
}

sub commit {
    my ($self, $name, $pem) = @_;
    my $file = "$self->{dir}/crt/$name.pem";

    $self->tell("set ssl cert $file <<\n$pem\n", qr/Transaction (?:created|updated)/);
    return $self->tell("commit ssl cert $file\n", qr/Success/);
}

sub tell {
    my ($self, $command, $wanted) = @_;
    my $socket = IO::Socket::UNIX->new(Peer => "$self->{dir}/haproxy.sock")
        or die "haproxy.sock: $!\n";

    syswrite $socket, $command or die "haproxy.sock: $!\n";
    local $/;
    my $answer = <$socket> // '';
    die "haproxy said: $answer\n" if $answer !~ $wanted;
    return;
}

1;
