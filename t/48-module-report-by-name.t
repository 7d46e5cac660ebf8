#!/usr/bin/perl
# What the report says of a name is what a client that asks for it is given, at each
# address and for each form of server_name; and "unserved" is what no client is given.

use strict;
use warnings;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process 'slurp';
use Certctl::TLS 'handshake';
use Test::More;

my ($minor, $patch) = `${\ Certctl::Nginx->binary } -v 2>&1` =~ m{nginx/1\.(\d+)\.(\d+)};
my $named = $minor * 1000 + $patch >= 25005;     # stream has server names

# address, server_name, record that it is pinned to or a directive
my @server = (
    ['1 default_server', 'default.example'],
    [1, 'exact.example re5.example',             'pin-exact'],
    [1, '.pat.example'],
    [1, '*.b.pat.example',                       'pin-long'],
    [1, '~^re\d+\.example$',                     'pin-regex'],
    [1, '"~^(?<label>re|sub)\w*\.example$"',     'pin-second'],
    [1, 'www.tail.*',                            'pin-tail'],
    [1, 'www.tail.example.*',                    'pin-longer'],
    [1, 'off.example',                           'certctl off; ssl_certificate %%DIR%%/off.pem; ssl_certificate_key %%DIR%%/off.key;'],
    [1, 'reject.example',                        'ssl_reject_handshake on;'],
    [1, 'bare.example',                          'certctl off;'],
    [2, '_'],
    [3, '',                                      'ssl_certificate %%DIR%%/own.pem; ssl_certificate_key %%DIR%%/own.key;'],
    [4, '127.0.0.1 ip.example'],
    ['4', 'ip-other.example'],
    [5, '*.only.example'],
    ['5 default_server', '',                     'pin-five'],
);

# name of the record, names of its certificate
my %record = (
    (map { ($_, ["$_.invalid"]) } qw(pin-exact pin-long pin-regex pin-second pin-tail pin-longer pin-five pin-stream)),
    default  => ['default.example'],        exact    => ['exact.example'],
    wa       => ['wa.pat.example'],         pat      => ['pat.example'],
    deep     => ['x.b.pat.example'],        mid      => ['a.x.pat.example'],
    wild     => ['*.wild.example'],         regex    => ['re12.example'],
    sub      => ['subject.example'],        nobody   => ['nobody.example', 'nobody2.example'],
    off      => ['off.example'],            reject   => ['reject.example'],
    bare     => ['bare.example'],           ip       => ['IP:127.0.0.1'],
    only     => ['x.only.example'],         upper    => ['Upper.Example'],
    ip6      => ['IP:2001:db8::a'],
);

my @names = qw(default.example exact.example wa.pat.example pat.example PAT.example. y.pat.example x.b.pat.example
    b.pat.example a.x.pat.example z.wild.example re12.example re5.example rest.example subject.example
    www.tail.org www.tail.example.org tail.org off.example reject.example bare.example nobody.example
    unknown.example upper.example x.only.example only.example ip.example localhost);

sub block {
    my ($listen, $names, $what) = @{ $_[0] };
    my ($n, $flags) = $listen =~ /(\d+)(.*)/;

    $what //= '';
    $what = "certctl_certificate $what;" if $what =~ /^pin/;
    return "server { listen 127.0.0.1:%%PORT_$n%% ssl$flags; " . ($names ne '' ? "server_name $names; " : '')
        . ($what =~ /certctl off/ ? '' : 'certctl on; ') . "$what $_[1] }\n";
}

# in stream: no rejected handshakes before there are names
my @stream = $named ? (map { my ($l, @rest) = @$_; ['2' . $l, @rest] } @server) : (['21', ''], ['25', '', 'pin-stream']);
my $edge = Certctl::Edge->new(http => "server_names_hash_bucket_size 128;\n",
    stream => 'stream { ' . join('', map { block($_, 'return ok;') } @stream) . "}\n",
    conf => join '', map { block($_, '') } @server);

for (qw(off own)) {
    my (undef, $key, $chain) = Certctl::PKI->ca('CA')->issue(names => ["$_.invalid"]);
    $edge->file("$_.pem", $chain);
    $edge->file("$_.key", $key, 0600);
}

$edge->start;
my %print = map { ($_, fingerprint(scalar $edge->give($_, names => $record{$_}))) } sort keys %record;
my %is    = reverse %print;

my @ports = map { [$_, $edge->port($_)] } (1 .. 5, map { $_->[0] =~ /(\d+)/ } grep { $_->[0] !~ /default/ } @stream);
my %once;
@ports = grep { !$once{ $_->[1] }++ } @ports;

sub report {
    my ($args) = @_;
    my $r = $edge->control->get("/certctl/v1/certificates?limit=10000&$args");

    is($r->{status}, 200, "$args: answered") or diag $r->{content};
    return $r->{json};
}

# What certctl has nothing to do with: a server that is off, no certificate at all.
my $off = fingerprint(slurp($edge->dir . '/off.pem'));

sub given {
    my ($port, $sni) = @_;
    my $print = handshake($port, defined $sni ? (sni => $sni) : ())->{fingerprint} // '';

    return $print eq $off ? '' : $print;
}

sub title { return $is{ $_[0] } // ($_[0] eq '' ? 'nothing' : "another ($_[0])") }

for my $name (@names, undef) {
    my $arg = $name // '127.0.0.1';

    for my $form (qw(full compact)) {
        my $json = report("form=$form&name=$arg");
        my %all  = map { ($_->{fingerprint}, 1) } @{ $json->{certificates} };
        my %want = map { ($_, 1) } grep { $_ ne '' } map { given($_->[1], $name) } @ports;

        is(join(' ', sort map { title($_) } keys %all), join(' ', sort map { title($_) } keys %want),
            "$arg, $form: what clients are given");
    }

    my @entries = @{ report("name=$arg")->{certificates} };
    for (@ports) {
        my ($n, $port) = @$_;
        my ($entry, @more) = grep { grep { /:$port$/ } @{ $_->{server}{listen} } } @entries;

        is(title($entry->{fingerprint} // ''), title(given($port, $name)), "$arg at address $n");
        is(scalar @more, 0, 'one server of it');
    }
}

# An IPv6 address in any spelling: clients that connect to it send no SNI either.
for my $spelled (qw(2001:db8::a 2001:DB8:0:0::000A)) {
    my $json = report("name=$spelled");

    is(join(' ', map { title($_->{fingerprint}) } @{ $json->{certificates} }),
        join(' ', map { title($_->{fingerprint}) } @{ report('name=127.0.0.1')->{certificates} }), "name=$spelled: what clients are given");
    is(join(' ', map { $_->{name} } @{ $json->{unserved} }), 'ip6', 'the record for it is not served');
    is_deeply($json->{warnings}, report('name=127.0.0.1')->{warnings}, 'and it is no record that cannot be read');
}
is($edge->control->get("/certctl/v1/certificates?name=$_")->{status}, 400, "name=$_ is refused") for qw(2001:db8::g : a:b [::1]);

# Of each record: a client of any address that asks for a name of it.
sub records {
    my ($what) = @_;
    my $all = report('form=full');
    my %unserved = map { ($_->{name}, $_) } @{ $all->{unserved} };
    my %served   = map { ($_->{name}, $_) } grep { ($_->{source} // '') eq 'store' } @{ $all->{certificates} };
    my $compact  = report('form=compact');

    for my $record (sort keys %record) {
        my @hosts = ((map { s/^\*/www/r } @{ $record{$record} }), $record =~ /^pin/ ? @names : ());
        my $given = grep { $_ eq $print{$record} }
            map { my $port = $_->[1]; map { given($port, /^IP:/ ? undef : $_) } @hosts } @ports;

        is(exists $served{$record}, !!$given, "$what: $record is " . ($given ? 'served' : 'not served'));
        is(exists $unserved{$record}, !$given, 'and listed once');
        is($unserved{$record}{why}, 'no server block uses this record', 'why') if !$given;
    }

    is(join(' ', map { $_->{name} // $_->{file} } @{ $compact->{$_} }), join(' ', map { $_->{name} // $_->{file} } @{ $all->{$_} }),
        "$what: the compact form has the same in $_") for qw(certificates unserved);
    return (\%served, \%unserved);
}

my ($served) = records('several addresses');
is("@{ $served->{nobody}{served_names} }", 'nobody.example nobody2.example', 'which names a server serves it for');
is($served->{nobody}{why}, 'stored for a name that this server block serves', 'why');

# Records that share a name: which one is served changes with the other.
$edge->give('nobody-too', names => ['nobody.example', 'nobody2.example']);
for my $form (qw(compact full)) {
    is(join(' ', map { $_->{name} } grep { $_->{name} =~ /^nobody/ } @{ report("form=$form")->{unserved} }), 'nobody',
        "$form: of two records for one name one is unserved");
}
$edge->control->delete('/certctl/v1/certificates/nobody-too');
$print{nobody} = fingerprint(scalar $edge->give('nobody', names => $record{nobody}));
%is = reverse %print;

sub warned { my ($form) = @_; return grep { $_->{code} eq 'ip_needs_default_server' } @{ report("form=$form")->{warnings} } }
is(scalar warned('full'), 0, 'an address is the first name of a default server');

# The answer of a PUT of a new certificate for that address.
sub put_ip {
    my (undef, $key, $chain) = $edge->ca->issue(names => $record{ip});
    my $json = $edge->commit('ip', $chain, $key)->{json};

    $print{ip} = $json->{fingerprint};
    %is = reverse %print;
    return ($json->{warnings}, $edge->commit('ip', $chain, $key)->{json}{warnings});
}
is_deeply([put_ip()], [undef, undef], 'nor does a PUT of it warn');

# Nobody is given what is stored for other names than those of the servers.
@ports = ([1, $edge->port(1)]);
$edge->{stream} = '';
$edge->servers(join '', map { block($_, '') } ['1 default_server', 'default.example', $server[8][2]],
    ['1', '', 'certctl off;'], @server[1 .. 7, 9, 10], [1, '127.0.0.1']);
$edge->reload(wait_old => 1);
delete $edge->{control};
for my $form (qw(compact full)) {
    my @warned = warned($form);
    is(scalar @warned, 1, "$form: a certificate for an IP address that is not the default server's");
    like($warned[0]{text}, qr/^"ip" is for 127\.0\.0\.1, but .* no SNI/, 'is warned of');
}
for my $warnings (put_ip()) {
    is(scalar @{ $warnings // [] }, 1, 'a PUT of it, also again,');
    like($warnings->[0], qr/^the certificate is for 127\.0\.0\.1, but .* no SNI.* no default server serves it/, 'warns, too');
}
isnt(handshake($edge->port(1))->{fingerprint}, $print{ip}, 'clients of the address do not get it');
# one that sends the address all the same
is(handshake($edge->port(1), sni => '127.0.0.1')->{fingerprint}, $print{ip}, 'but those that send the address');
@{ $record{ip} } = ('127.0.0.1');
records('one address');
is(join(' ', map { $_->{file} // $_->{name} } @{ report('name=unknown.example')->{certificates} }), '',
    'a server without certctl is not reported');

unlike($edge->log, qr/\[(?:alert|emerg)\]|exited on signal/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends');
done_testing();
