package Certctl::Faults;

# A TLS proxy before an HTTP server, which spoils an answer when it is told to:
#
#   my $proxy = Certctl::Faults->start(ca => $ca, port => $pebble->port);
#   $proxy->next('/order-plz' => 'lost');      the next answer to this path
#
# What it can do: %kinds. Host and path go on as they came, so that a server that
# builds URLs of them leads back to the proxy.

use strict;
use warnings;
use Certctl::Port 'free_port';
use Certctl::Process qw(finish slurp temp_dir wait_until write_file);
use HTTP::Date 'time2str';
use IO::Socket::SSL;

my $problem = '{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}';

# What the client gets instead of the answer; "lost" and "cut" are asked of the server first.
my %kinds = (
    seconds   => sub { return answer('429 Too Many Requests', $problem, 'Retry-After: 2', 'Content-Type: application/problem+json') },
    date      => sub { return answer('429 Too Many Requests', $problem, 'Retry-After: ' . time2str(time + 2)) },
    bare      => sub { return answer('429 Too Many Requests', '<html>slow down</html>') },
    away      => sub { return answer('503 Service Unavailable', '', 'Retry-After: 1') },
    broken    => sub { return answer('500 Internal Server Error', '<html>oops</html>') },
    malformed => sub { return answer('200 OK', '{"status": ["val', 'Replay-Nonce: AAAA') },
    empty     => sub { return answer('200 OK', '{}') },
    huge      => sub { return answer('200 OK', '[' . '1,' x 2_000_000 . '1]') },
    redirect  => sub { return answer('302 Found', '', 'Location: https://127.0.0.1:1/') },
    cut       => sub { return substr $_[0], 0, length($_[0]) - 20 },
    lost      => sub { return '' },
);

sub kinds { my @all = sort keys %kinds; return @all }

sub answer {
    my ($status, $body, @headers) = @_;
    return join("\r\n", "HTTP/1.1 $status", @headers, 'Content-Length: ' . length $body, 'Connection: close', '', '') . $body;
}

sub start {
    my ($class, %o) = @_;
    my $dir = temp_dir();
    my ($crt, $key) = $o{ca}->issue(names => ['IP:127.0.0.1']);
    my $self = bless { dir => $dir, port => free_port(), server => $o{port} }, $class;

    write_file("$dir/crt.pem", $crt);
    write_file("$dir/key.pem", $key, 0600);
    write_file("$dir/ca.pem", $o{ca}->cert);
    $self->{pid} = fork // die "fork: $!";

    if ($self->{pid} == 0) {
        $self->serve;
        POSIX::_exit(0);
    }

    wait_until(10, sub { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}) })
        or die 'the proxy does not start';
    return $self;
}

sub ca   { return "$_[0]{dir}/ca.pem" }
sub port { return $_[0]{port} }
sub stop { return finish(delete $_[0]{pid}, 'KILL') }

# The next answer to a path that begins like this is spoiled, once.
sub next {
    my ($self, $path, $kind) = @_;

    die "no fault $kind" if !$kinds{$kind};
    write_file("$self->{dir}/fault.new", "$path $kind");
    rename "$self->{dir}/fault.new", "$self->{dir}/fault" or die $!;
    return;
}

sub hit { return !-e "$_[0]{dir}/fault" }

# One connection after the other: a test has one client.
sub serve {
    my ($self) = @_;
    my $listen = IO::Socket::SSL->new(LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 20, ReuseAddr => 1,
        SSL_cert_file => "$self->{dir}/crt.pem", SSL_key_file => "$self->{dir}/key.pem") or die $SSL_ERROR;

    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        my $client = $listen->accept or next;

        eval { $self->pass($client) };
        $client->close(SSL_no_shutdown => 1);
    }

    return;
}

sub message {
    my ($in) = @_;
    my $text = '';

    while (my $line = <$in>) {
        $text .= $line;
        last if $line =~ /^\r?\n$/;
    }

    read $in, my $body, $1 if $text =~ /^Content-Length:\s*(\d+)/mi && $1 > 0;
    return $text . ($body // '');
}

sub pass {
    my ($self, $client) = @_;
    my $request = message($client);
    my ($path) = $request =~ m{^\S+ (\S+)} or return;
    my ($at, $kind) = split / /, slurp("$self->{dir}/fault") // '';
    my $spoilt = defined $kind && index($path, $at) == 0 && unlink "$self->{dir}/fault";
    my $answer = '';

    if (!$spoilt || $kind =~ /cut|lost/) {
        my $server = IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $self->{server}, SSL_verify_mode => 0) or return;

        (my $sent = $request) =~ s/\r\n\r\n/\r\nConnection: close\r\n\r\n/;
        print $server $sent;
        local $/;
        $answer = <$server> // '';
        $answer =~ s/\r\n\r\n/\r\nConnection: close\r\n\r\n/ if $answer !~ /\r\nConnection: close/;
    }

    print $client $spoilt ? $kinds{$kind}->($answer) : $answer;
    return;
}

1;
