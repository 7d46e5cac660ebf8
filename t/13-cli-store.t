#!/usr/bin/perl
# certctl store: what NGINX with the module has put into its sealed store, NGINX
# without it serves from the files and lines that `certctl store export` writes. The
# store is only read, and what cannot be opened is named.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(built slurp temp_dir write_file);
use Certctl::TLS 'handshake';
use Cwd 'abs_path';
use Digest::SHA 'sha256_hex';
use File::Find;
use JSON::PP;

my $certctl = built('certctl');
my $dir = abs_path(temp_dir());
my ($out, $err);

# --- a store that the module has filled

my $ca = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');
my $edge = Certctl::Edge->new(workers => 1, ca => $ca, conf => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name one.example both.example *.wild.example deep.wild.example shared.example;
        certctl on;
    }
    server { listen 127.0.0.1:%%PORT_2%% ssl; server_name 127.0.0.1; certctl on; }
CONF
my $store = $edge->dir . '/store';

$edge->start;

my %crt;
my $wide = 'w' . 'x' x 62;
my $long = join '.', ($wide) x 3, 'y' x 57, 'aa';

$crt{'one'}    = give('one', names => ['one.example', 'One.example', 'IP:127.0.0.1', 'IP:2001:db8::1']);
$crt{'both'}   = give('both', names => ['both.example']);
$crt{'rsa'}    = give('both.rsa', names => ['both.example'], key => 'rsa-2048', ocsp => 'http://127.0.0.1:1/');
$crt{'*'}      = give('*.wild.example', names => ['*.wild.example']);
$crt{'deep'}   = give('wild.example', names => ['deep.wild.example']);
$crt{'early'}  = give('early', names => ['early.example', 'shared.example'], from => -7200);
$crt{'late'}   = give('late', names => ['late.example', 'shared.example'], from => -3600);
$crt{'long'}   = give('n' x 253, names => [$long]);
give('stapled', names => ['stapled.example'], ocsp => 'http://127.0.0.1:1/');

my ($leaf, $key, $chain) = $ca->issue(names => ['secret.example'], ocsp => 'http://127.0.0.1:1/');
$crt{'secret'} = fingerprint($leaf);
$edge->commit('secret', $chain, $key);
is($edge->control->put('/certctl/v1/ocsp/' . fingerprint($leaf), $ca->ocsp($leaf),
    'content-type' => 'application/ocsp-response')->{status}, 200, 'a staple is stored');

# what a client that knows only RSA, and one that knows all, is shown
my @asked = (['one.example'], ['both.example'], ['both.example', tls => '1.2', ciphers => 'aRSA'],
    ['any.wild.example'], ['deep.wild.example'], ['shared.example']);
my %by_module = map { ("@$_", shown($edge->port(1), @$_)) } @asked;
my $without_name = shown($edge->port(2));

is($by_module{'one.example'}, $crt{one}, 'the module serves from the store');
is($by_module{'both.example tls 1.2 ciphers aRSA'}, $crt{rsa}, 'for a client that knows only RSA, too');
is($by_module{'any.wild.example'}, $crt{'*'}, 'a wildcard');
is($by_module{'shared.example'}, $crt{late}, 'of two records the newer');

# --- while NGINX runs, and when it has ended

my $before = tree($store);

is(store('list'), 0, 'list while NGINX runs') or diag $err;
like($out, qr/\ANAME +KEY TYPE +NOT AFTER +FINGERPRINT +STAPLE *\n/, 'list: titles');
like($out, qr/^one +ec-p256 +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ +$crt{one} +not_applicable$/m, 'list: a row');
like($out, qr/^both\.rsa +rsa-2048 .* missing$/m, 'list: one without its staple');
like($out, qr/^secret +ec-p256 .* fresh$/m, 'list: one with its staple');
like($out, qr/^_agent /m, 'list: the identity of the host');

$edge->stop;

is(store('list', '--format', 'json'), 0, 'list as JSON');
my $list = decode_json($out);
my ($one) = grep { $_->{name} eq 'one' } @{ $list->{data} };
is_deeply($one->{sans}, ['one.example', 'One.example', '127.0.0.1', '2001:db8::1'], 'list as JSON: names');
is($one->{fingerprint}, $crt{one}, 'list as JSON: fingerprint');
is($list->{total}, 11, 'list as JSON: how many');
is(join(' ', sort map { $_->{name} } @{ $list->{data} }), join(' ', map { $_->{name} } @{ $list->{data} }),
    'list: in the order of names');

is(store('verify'), 0, 'verify') or diag $err;
like($out, qr/^records +11$/m, 'verify: how many');

is(store('export', "$dir/rescue"), 0, 'export') or diag $err;
like($out, qr/^records +10$/m, 'export: all but the identity of the host');
is($err, '', 'export: nothing to complain about');
silent('export');
is(tree($store), $before, 'nothing in the store is another');

# --- the files

my %mode;
find({ no_chdir => 1, wanted => sub { $mode{$_} = sprintf '%o %d', (stat)[2] & 0xfff, (stat)[4] } }, "$dir/rescue");
is(join(' ', grep { $mode{$_} ne (-d $_ ? '700' : '600') . " $>" } sort keys %mode), '',
    'folders are 0700, files 0600, all ours');
is(slurp("$dir/rescue/records/secret/fullchain.pem"), $chain, 'the chain as it was put');
is(Certctl::PKI::openssl('pkey', '-in', "$dir/rescue/records/secret/privkey.pem"), openssl_key($key), 'and its key');
ok(-f "$dir/rescue/records/+.wild.example/privkey.pem", 'a record whose name has a "*"');
ok(-f "$dir/rescue/names/$long", 'a name as long as names may be');
is(join(' ', grep { /_agent/ } keys %mode), '', 'the identity of the host is not among them');

# --- NGINX without the module

my $stock = Certctl::Nginx->new(workers => 1, module => 0, conf => <<"CONF");
%%MAIN%%
http {
    %%HTTP%%
    server { listen 127.0.0.1:%%PORT_2%% ssl; include $dir/rescue/names/127.0.0.1; }
    @{[ map { <<"SERVER" } qw(one.example both.example *.wild.example deep.wild.example shared.example) ]}
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name $_;
        include $dir/rescue/names/@{[ tr/*/+/r ]};
    }
SERVER
}
CONF
$stock->start;

is(shown($stock->port(1), @$_), $by_module{"@$_"}, "NGINX without the module: @$_") for @asked;
is(shown($stock->port(2)), $without_name, 'NGINX without the module: no SNI');
$stock->stop;

# --- what is refused, and leaves what is there

is(store('export', "$dir/rescue"), 1, 'export twice');
like($err, qr/not empty/, 'export twice: says so');
mkdir "$dir/open" or die;
chmod 0755, "$dir/open";
is(store('export', "$dir/open"), 1, 'a directory that others may read');
like($err, qr/another user/, 'a directory that others may read: says so');
symlink "$dir/elsewhere", "$dir/link" or die;
mkdir "$dir/elsewhere", 0700 or die;
is(store('export', "$dir/link"), 1, 'a link');
is(store('export', "$dir/none/there"), 1, 'a folder that is not there');
is(store('export', "$dir/a \$b"), 1, 'a path that nginx.conf would take for a variable');
like($err, qr/nginx\.conf/, 'a path that nginx.conf would take for a variable: says so');
is(join(' ', glob("$dir/open/* $dir/elsewhere/* $dir/a*b/*")), '', 'and nothing is written');

mkdir "$dir/empty", 0700 or die;
is(store('export', "$dir/empty"), 0, 'an empty directory of our own will do') or diag $err;

is(run('store', 'list', '--store', "$dir/none"), 1, 'no store');
like($err, qr/no store "\Q$dir\E\/none".*certctl_store/, 'no store: says where it should be');
is(run('store', 'list', '--store', $dir), 1, 'a folder that is none');
like($err, qr/is not a store/, 'a folder that is none: says so');
is(run(@$_), 2, "usage: @$_")
    for ['store'], ['store', 'export'], ['store', 'list', 'x'], ['store', 'verify', '--bogus', 'x'];

SKIP: {
    skip 'not root: no other user to be', 3 if $> != 0;

    local $> = getpwnam 'www-data';
    is(run('store', 'export', "$dir/stolen", '--store', $store), 1, 'another user than root');
    like($err, qr/belongs to root: run certctl as that user/, 'another user: says who may');
    ok(!-e "$dir/stolen", 'another user: nothing is written');
}

# --- a copy, elsewhere, with damage

sub copy {
    my ($to) = @_;
    system('cp', '-a', $store, $to) == 0 or die "cp: $?\n";
    return $to;
}

my $copy = copy("$dir/copy");
my ($file) = glob "$copy/certs/*/one";
my $bytes = slurp($file);
substr($bytes, 700, 1) ^= "\1";
write_file($file, $bytes);

is(run('store', 'verify', '--store', $copy), 1, 'verify: a damaged record');
like($err, qr/^certctl: record "one" cannot be opened: it is damaged/m, 'verify: named');
like($out, qr/^records +11$/m, 'verify: the others are read');
is(run('store', 'verify', '--store', $copy, '--format', 'json'), 1, 'verify as JSON');
is_deeply(decode_json($out)->{damaged}, ['one'], 'verify as JSON: named');
is(run('store', 'list', '--store', $copy), 1, 'list: a damaged record');
like($out, qr/^both +ec-p256/m, 'list: the others are shown');
is(run('store', 'export', "$dir/part", '--store', $copy), 1, 'export: a damaged record');
like($err, qr/record "one"/, 'export: named');
ok(!-e "$dir/part/records/one" && -f "$dir/part/records/both/privkey.pem", 'export: the others are written');
is(slurp($file), $bytes, 'and the damaged one lies where it was');

# --- another key, and none

my $other = Certctl::Edge->new(workers => 1, conf => '');
$other->start;
$other->stop;
my $stranger = copy("$dir/stranger");
unlink "$stranger/seal.key";
write_file("$stranger/seal.key", slurp($other->dir . '/store/seal.key'), 0400);
is(run('store', 'verify', '--store', $stranger), 1, 'verify: the key of another host');
like($err, qr/no record can be opened: seal\.key is not the one/, 'verify: says that it is the key');
is(run('store', 'export', "$dir/stranger-out", '--store', $stranger), 1, 'export: the key of another host');
ok(!-e "$dir/stranger-out", 'export: nothing is written');
unlink "$stranger/seal.key";
is(run('store', 'verify', '--store', $stranger), 1, 'no key');
like($err, qr/seal\.key is missing/, 'no key: says so');
ok(!-e "$stranger/seal.key", 'no key: and none is made');

silent('all of it');
done_testing();

sub give {
    my ($name, %o) = @_;
    return fingerprint(scalar $edge->give($name, %o));
}

sub shown {
    my ($port, $name, %o) = @_;
    my $h = handshake($port, ($name ? (sni => $name) : ()), %o);
    return $h->{fingerprint} // $h->{error};
}

sub openssl_key { return Certctl::PKI::openssl('pkey', '-in', write_file("$dir/key.pem", $_[0], 0600)) }

# Everything below a folder: names, modes, times, what is in it.
sub tree {
    my ($top) = @_;
    my @lines;

    find({ no_chdir => 1, wanted => sub {
        my @st = lstat;
        push @lines, join ' ', $_, @st[2, 4, 5, 7, 9, 10], -l _ ? readlink : -f _ ? sha256_hex(slurp($_)) : '';
    } }, $top);
    return join "\n", sort @lines;
}

my ($said, $secret);

# No private key on what a terminal or a log keeps.
sub silent {
    my ($what) = @_;

    $secret //= (split /\n/, openssl_key($key))[1];
    ok(length $secret > 40, "$what: a line of the key is known");
    unlike($said, qr/PRIVATE|\Q$secret\E/, "$what: no key on standard output or error");
    return;
}

sub store { return run('store', @_, '--store', $store) }

# Exit code; output in $out and $err.
sub run {
    my (@words) = @_;

    pipe my $read_out, my $write_out or die;
    pipe my $read_err, my $write_err or die;
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        # the effective user alone would be taken back
        ($<, $>) = ($>, $>);
        open STDOUT, '>&', $write_out;
        open STDERR, '>&', $write_err;
        exec { $certctl } $certctl, @words;
    }

    close $_ for $write_out, $write_err;
    ($out, $err) = map { local $/; scalar <$_> // '' } $read_out, $read_err;
    waitpid $pid, 0;
    $said .= $out . $err;
    return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}
