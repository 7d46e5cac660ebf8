package Certctl::HTTP;

# Requests to the control listener (mutual TLS) and the REST API (bearer key).
#
#   my $api = Certctl::HTTP->new(port => $port, ca => $file, bearer => $key);
#   my $r = $api->post('/api/v1/teams', { id => 't-a', name => 'A' });
#   is $r->{status}, 201;   $r->{json}{id};   $r->{headers}{location};

use strict;
use warnings;
use Certctl::Process 'patience';
use HTTP::Tiny;
use JSON::PP ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);

my $json = JSON::PP->new->canonical->utf8->allow_nonref;

# port, host (127.0.0.1), scheme (https); ca, cert, key: PEM files, without ca
# the server is not verified; bearer: API key; timeout: 30 seconds.
sub new {
    my ($class, %o) = @_;
    my $http = HTTP::Tiny->new(
        agent => 'certctl-test', timeout => $o{timeout} // 30 * patience(), max_redirect => 0,
        verify_SSL => $o{ca} ? 1 : 0, keep_alive => 1,
        SSL_options => {
            ($o{ca} ? (SSL_ca_file => $o{ca}) : (SSL_verify_mode => 0)),
            ($o{cert} ? (SSL_cert_file => $o{cert}, SSL_key_file => $o{key}) : ()),
        });
    my $host = $o{host} // '127.0.0.1';

    return bless { http => $http, headers => { $o{bearer}
        ? (authorization => "Bearer $o{bearer}") : () },
        base => ($o{scheme} // 'https') . "://$host:$o{port}", answers => $o{answers} }, $class;
}

# A body that is a reference goes as JSON, text as it is. status is 599 when
# there was no answer, content then says why.
sub request {
    my ($self, $method, $path, $body, %headers) = @_;
    my %all = (%{ $self->{headers} }, map { (lc, $headers{$_}) } keys %headers);

    if (ref $body) {
        $body = $json->encode($body);
        $all{'content-type'} //= 'application/json';
    }

    my $r = $self->{http}->request($method, $self->{base} . $path, {
        headers => \%all, defined $body ? (content => $body) : () });

    # head and body are two writes: from the next request on they do not wait
    # for each other's acknowledgement
    my $handle = $self->{http}{handle};
    setsockopt $handle->{fh}, IPPROTO_TCP, TCP_NODELAY, 1 if $handle && $handle->{fh};

    $r->{json} = eval { $json->decode($r->{content}) }
        if ($r->{headers}{'content-type'} // '') =~ /json/;

    # asked for by "answers": a file that each answer is appended to
    print { $self->{answers} } $json->encode({ method => $method, path => $path, status => $r->{status},
        type => $r->{headers}{'content-type'} // '', body => $r->{json} }), "\n"
        if $self->{answers} && $r->{status} != 599;

    return $r;
}

# The port that the connection of the last request comes from.
sub port { my ($self) = @_; return $self->{http}{handle}{fh}->sockport }

# A body that came in chunks (RFC 9112 7.1), undef when it was cut off.
sub dechunk {
    my ($text) = @_;
    my ($at, @body) = (0);

    while ((my $eol = index $text, "\r\n", $at) > 0) {
        my $size = hex substr $text, $at, $eol - $at;

        return join '', @body if $size == 0;
        push @body, substr $text, $eol + 2, $size;
        $at = $eol + 2 + $size + 2;
    }

    return;
}

sub get    { my ($self, @rest) = @_; return $self->request('GET',    @rest) }
sub post   { my ($self, @rest) = @_; return $self->request('POST',   @rest) }
sub put    { my ($self, @rest) = @_; return $self->request('PUT',    @rest) }
sub patch  { my ($self, @rest) = @_; return $self->request('PATCH',  @rest) }
sub delete { my ($self, @rest) = @_; return $self->request('DELETE', @rest) }

1;
