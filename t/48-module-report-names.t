#!/usr/bin/perl
# Of servers that share an address and a name NGINX takes the first: the report
# says of each name what clients who ask for it are given, and of no name what
# nobody is.

use strict;
use warnings;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::TLS 'handshake';
use Test::More;

# Each server has a record of its own: a handshake tells which one it was.
my @server = (
    # name           listens                     server_name                  given for
    ['first',        [1],                        'a.example .dot.example',    'a.example dot.example *.dot.example'],
    ['second',       [1],                        'a.example b.example',       'b.example'],
    ['elsewhere',    [1, 2],                     'a.example c.example',       'a.example c.example'],
    ['nobody',       [1],                        'a.example b.example',       undef],
    ['nameless',     [1],                        '',                          undef],
    ['below a dot',  [1],                        'dot.example d.example',     'd.example'],
    ['wildcard',     [1],                        '*.dot.example e.example',   'e.example'],
    ['dot',          [1],                        '.e.example',                undef],
    ['behind one',   [1],                        'off.example f.example',     'f.example'],
    ['twice',        [1],                        'g.example g.example',       'g.example'],
    ['regex',        [1],                        '~^h h.example',             '~^h h.example'],
    ['before',       [3],                        'i.example',                 'i.example'],
    ['default',      ['3 default_server'],       'i.example',                 ''],
    ['one',          [4],                        '',                          ''],
);

my $off = <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name off.example;
        ssl_certificate %%DIR%%/off.pem;
        ssl_certificate_key %%DIR%%/off.key;
    }
CONF
my ($crt, $key, $chain) = Certctl::PKI->ca('CA')->issue(names => ['off.example']);

sub record { return $_[0] =~ tr/ /-/r }

sub conf {
    my ($what, $listens, $names) = @{ $_[0] };
    my @listen = map { /(\d+)(.*)/; "listen 127.0.0.1:%%PORT_$1%% ssl$2;" } @$listens;

    return "server { @listen " . ($names ne '' ? "server_name $names; " : '')
        . 'certctl on; certctl_certificate ' . record($what) . "; }\n";
}

# In stream, which has names since 1.25.5.
my ($minor, $patch) = `${\ Certctl::Nginx->binary } -v 2>&1` =~ m{nginx/1\.(\d+)\.(\d+)};
my $named = $minor * 1000 + $patch >= 25005;
my @stream;

for (grep { $_->[2] !~ /off/ } $named ? @server[0 .. 9] : ()) {
    my ($what, $listens, @names) = @$_;
    push @stream, ["stream $what", [map { "5$_" } @$listens], @names];
}

my $edge = Certctl::Edge->new(
    ($named ? (stream => 'stream { ' . join('', map { conf($_) =~ s/(?=certctl on)/return ok; /r } @stream) . '}') : ()),
    conf => join '', conf($server[0]), $off, map { conf($_) } @server[1 .. $#server]);

$edge->file('off.pem', $chain);
$edge->file('off.key', $key, 0600);
$edge->start;

my %is = map { (fingerprint(scalar $edge->give(record($_->[0]), names => [record($_->[0]) . '.invalid'])), $_->[0]) } @server, @stream;

my $report = $edge->control->get('/certctl/v1/certificates')->{json};
my %given  = map { ($is{ $_->{fingerprint} }, $_) } grep { !$_->{server}{agent} } @{ $report->{certificates} };

for (@server, @stream) {
    my ($what, undef, undef, $names) = @$_;

    is($given{$what} && join(' ', @{ $given{$what}{served_names} }), $names,
        "$what: " . (defined $names ? "given for \"$names\"" : 'given to nobody'));
}

is(join(' ', sort map { $_->{name} } @{ $report->{unserved} }),
    join(' ', sort map { record($_->[0]) } grep { !defined $_->[3] } @server, @stream), 'what nobody is given is listed apart');

# The same as clients see it.

for my $what (sort keys %given) {
    for my $name (map { s/^\*/x/r } grep { !/^~/ } @{ $given{$what}{served_names} }) {
        my %seen = map { ($is{ $_ // '' } // 'another', 1) }
            map { handshake($_, sni => $name)->{fingerprint} }
            map { /:(\d+)$/ } @{ $given{$what}{server}{listen} };

        ok($seen{$what}, "$what: a client who asks for $name is given it") or diag join ' ', keys %seen;
    }
}

is($is{ handshake($edge->port(1))->{fingerprint} }, 'first', 'without SNI: the first');
is($is{ handshake($edge->port(3))->{fingerprint} }, 'default', 'or the default one');
is($is{ handshake($edge->port(3), sni => 'i.example')->{fingerprint} }, 'before', 'which its name does not lead to');
is($is{ handshake($edge->port(1), sni => 'x.e.example')->{fingerprint} }, 'first', 'nor ".e.example", as "e.example" is taken');

my @ignored = $edge->log =~ /conflicting server name "(\S+?)" on \S+:(\d+), ignored/g;
cmp_ok(scalar @ignored, '>', 0, 'NGINX says of some that it ignores them');
$edge->stop;
done_testing();
