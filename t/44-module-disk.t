#!/usr/bin/perl
# The store's disk is full, or has become read-only: a control request says so and
# changes nothing, the last good certificate is served through reload, killed
# workers and restart, and with room again everything goes on.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(run slurp temp_dir);
use Certctl::TLS 'handshake';

plan skip_all => 'a small file system is mounted for this: root only' if $> != 0;

my $disk = temp_dir() . '/disk';
mkdir $disk;
plan skip_all => 'no tmpfs can be mounted here'
    if run('/dev/null', 'mount', '-t', 'tmpfs', '-o', 'size=1m,mode=0755', 'tmpfs', $disk) != 0;

my $edge = Certctl::Edge->new(workers => 2, store => "$disk/store",
    ca => Certctl::PKI->ca('Root CA')->sub_ca('Test CA'), conf => <<'CONF');
    server { listen 127.0.0.1:%%PORT_1%% ssl reuseport; certctl on; }
CONF
my @ocsp = (ocsp => 'http://127.0.0.1:1/');
my $url  = '/certctl/v1';
my $PEM  = 'application/x-pem-file';

$edge->start;

my ($crt, $key, $chain) = $edge->give('a', names => ['a.example'], @ocsp);
my $staple = $edge->ca->ocsp($crt);
is(staple($crt, $staple)->{status}, 200, 'a certificate with a staple');
my $two = fingerprint(scalar $edge->give('two', names => ['two.example']));
my $csr = $edge->control->post("$url/certificates/a/csr?key=ec-p256&san=DNS:a.example")->{content};
like($csr, qr/BEGIN CERTIFICATE REQUEST/, 'and a request that waits');

sub staple {
    my ($c, $der) = @_;
    return $edge->control->put("$url/ocsp/" . fingerprint($c), $der,
        'content-type' => 'application/ocsp-response');
}

# What both workers serve under a name, each half of all connections: "certificate staple", once if they agree.
sub serves {
    my ($name) = @_;
    my %seen = map { my $h = handshake($edge->port(1), sni => "$name.example");
        ("$h->{error}$h->{fingerprint} " . (defined $h->{staple} ? $h->{staple} eq $staple ? 'ours' : 'other' : 'none'), 1)
    } 1 .. 12;
    return join ', ', sort keys %seen;
}

# Files of the store with their contents; an empty folder means nothing.
sub picture {
    return { map { ($_, slurp($_)) } split /\n/, `find $disk/store ! -type d` };
}

sub same {
    my ($what) = @_;
    is(serves('a'), fingerprint($crt) . ' ours', "$what: certificate and staple are served");
    is(serves('two'), "$two none", "$what: so is the other name");
    return;
}

# Every request that writes; the staple differs from the one that is there.
my ($next, $next_key, $next_chain) = $edge->ca->issue(names => ['a.example'], @ocsp);
my %write = (
    put      => sub { $edge->control->put("$url/certificates/a?keygen=server", $next_chain . $next_key,
        'content-type' => $PEM) },
    new      => sub { my ($c, $k, $all) = $edge->ca->issue(names => ['b.example']);
        $edge->control->put("$url/certificates/b?keygen=server", $all . $k, 'content-type' => $PEM) },
    csr      => sub { $edge->control->post("$url/certificates/a/csr?key=rsa-2048&san=DNS:a.example") },
    csr_new  => sub { $edge->control->post("$url/certificates/c/csr?key=ec-p256&san=DNS:c.example") },
    staple   => sub { staple($crt, $edge->ca->ocsp($crt, until => time + 7200)) },
);

# What the disk does, which status a write gets, and how it is undone.
my %trouble = (
    full => {
        begin  => sub {
            open my $fill, '>', "$disk/fill" or die $!;
            syswrite $fill, "\0" x 4096 or last for 1 .. 1024;
            close $fill;
        },
        status => 507,
        end    => sub { unlink "$disk/fill" },
    },
    'read-only' => {
        begin  => sub { remount('ro') },
        status => 500,
        write  => { remove => sub { $edge->control->delete("$url/certificates/two") } },
        end    => sub { remount('rw') },
    },
);

sub remount {
    my ($how) = @_;
    return is(run('/dev/null', 'mount', '-o', "remount,$how", $disk), 0, "remounted $how");
}

for my $what (sort keys %trouble) {
    my $t = $trouble{$what};
    my $before = picture();

    $t->{begin}->();

    my %all = (%write, %{ $t->{write} // {} });
    for my $name (sort keys %all) {
        my $r = $all{$name}->();
        is($r->{status}, $t->{status}, "$what: $name: $t->{status}") or diag $r->{content};
        like($r->{json}{error} // '', qr/\w{3}/, "$what: $name: says why");
        unlike($r->{content}, qr/PRIVATE KEY/, "$what: $name: tells no key");
    }

    same($what);
    is_deeply(picture(), $before, "$what: the store is what it was, nothing half written");

    ok($edge->kill_worker($_), "$what: a worker killed, and replaced") for ($edge->workers)[0];
    same("$what, a worker killed");
    ok($edge->reload(wait_old => 1), "$what: reload");
    same("$what, reload");

    $edge->stop('KILL');
    delete $edge->{control};
    $edge->start;
    same("$what, restart");
    is($edge->control->get("$url/certificates")->{status}, 200, "$what: the report");

    $t->{end}->();
    ok(scalar $edge->give('again', names => ['again.example']), "$what, over: a write succeeds");
    is($edge->control->delete("$url/certificates/again")->{status}, 200, "$what, over: so does a removal");
    same("$what, over");
}

# The key that waited all the time is still the one that fits.

$edge->file('csr.pem', $csr);
$edge->file('ca.pem', $edge->ca->cert);
$edge->file('ca.key', $edge->ca->key, 0600);
my $dir = $edge->dir;
my $signed = Certctl::PKI::openssl('x509', '-req', '-in', "$dir/csr.pem", '-CA', "$dir/ca.pem", '-CAkey', "$dir/ca.key",
    '-days', 30, '-copy_extensions', 'copyall') . $edge->ca->cert;
is($edge->control->put("$url/certificates/a", $signed, 'content-type' => $PEM)->{status}, 200,
    'the request that waited is answered');
is(serves('a'), fingerprint($signed) . ' none', 'and live');

is(join('', grep { /\[alert\]/ && !/exited on signal 9/ } $edge->log =~ /(.*\n)/g), '', 'none crashed');
is($edge->stop, 0, 'NGINX ends in peace');
done_testing;

END {
    my $status = $?;
    run('/dev/null', 'umount', '-l', $disk) if defined $disk;
    $? = $status;
}
