package Certctl::API;

# What tests of the REST API share: a daemon of their own and shorter words.
#
#   use Certctl::API;
#   my $d = api_daemon();
#   my $id = created($d->api, '/api/v1/teams', { name => 'A' });
#   refused($d->api->post(...), 422, qr/rule/, 'what it proves');
#   sql($d, 'SELECT count(*) FROM teams');

use strict;
use warnings;
use Certctl::Daemon;
use Exporter 'import';
use Test::More ();

our @EXPORT = qw(api_daemon created refused refused_at sql);

my $Test = Test::More->builder;

sub api_daemon { return Certctl::Daemon->start(@_) }

sub created {
    my ($api, $path, $body) = @_;
    my $r = $api->post($path, $body);

    $Test->is_num($r->{status}, 201, "POST $path") or $Test->diag($r->{content});
    return $r->{json};
}

# An error as every error is (RFC 9457): status, type, title, a sentence that names
# the rule, the request's id, and a pointer to each field that is at fault.
sub refused {
    my ($r, $status, $message, $name) = @_;
    my $json = $r->{json} // {};

    return $Test->ok($r->{status} == $status
        && ($json->{message} // '') =~ $message && $json->{error}
        && ($json->{request_id} // '') eq ($r->{headers}{'x-request-id'} // '-')
        && ($r->{headers}{'content-type'} // '') eq 'application/problem+json'
        && $json->{status} == $status && $json->{title} eq $json->{error} && $json->{detail} eq $json->{message}
        && $json->{type} =~ m{^/api/v1/problems/[a-z_]+$}
        && !grep({ $_->{pointer} !~ m{^/} || !$_->{detail} } @{ $json->{errors} // [] }),
        $name // "refused with $status")
        || $Test->diag("$r->{status} $r->{content}");
}

# 422 that points to this field alone.
sub refused_at {
    my ($r, $pointer, $message, $name) = @_;
    my @at = map { $_->{pointer} } @{ $r->{json}{errors} // [] };

    return refused($r, 422, $message, $name) && $Test->is_eq("@at", $pointer, ($name // 'refused') . ": at $pointer");
}

# The private cluster, as its owner.
sub sql {
    my ($d, $statement) = @_;
    my @command = ('psql', '-h', $d->data . '/postgresql', '-U', 'certctl', '-d',
        'postgres', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', $statement);

    open my $out, '-|', @command or die "psql: $!";
    local $/;
    my $text = <$out> // '';
    close $out or die "psql: $statement\n";
    $text =~ s/\n\z//;
    return $text;
}

1;
