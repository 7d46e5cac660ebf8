#!/usr/bin/perl
# What certctld says of its configuration, and what a first start makes: files,
# their modes, one private PostgreSQL that nobody else reaches.

use strict;
use warnings;
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::Port 'free_port';
use Certctl::Process qw(alive built children run slurp temp_dir wait_until write_file);
use Test::More;

my $dir    = temp_dir();
my $binary = built('certctld');

# -T prints the file's own form, secrets masked, and reads it again unchanged
write_file("$dir/good.conf", <<"CONF");
# a comment
data_dir = $dir/data
listen   = 127.0.0.1:9999
database = postgres://certctl:SeCrEt\@db.example/certctl
job_threads = 7
outgoing_networks = 127.0.0.0/8, ::1/128
CONF
my ($exit, $out) = certctld('-T', '--config', "$dir/good.conf");
is $exit, 0, '-T accepts a good file';
like $out, qr/^listen = 127\.0\.0\.1:9999$/m, 'what the file says';
like $out, qr/^job_threads = 7$/m,            'numbers too';
like $out, qr{^outgoing_networks = 127\.0\.0\.0/8, ::1/128$}m, 'and networks';
like $out, qr/^api_threads = 2$/m,            'defaults are shown';
like $out, qr/^database = \*+$/m,             'secrets are masked';
unlike $out, qr/SeCrEt/,                      'everywhere';
ok !-e "$dir/data", '-T makes nothing';

write_file("$dir/again.conf", $out =~ s/^database.*\n//mr);
is +(certctld('-T', '--config', "$dir/again.conf"))[1] =~ s/^database.*\n//mr,
    $out =~ s/^database.*\n//mr, 'its output is a configuration that says the same';

# later wins: file, environment, command line
{
    local $ENV{CERTCTL_JOB_THREADS} = 8;
    like +(certctld('-T', '--config', "$dir/good.conf"))[1], qr/^job_threads = 8$/m, 'the environment wins over the file';
    like +(certctld('-T', '--config', "$dir/good.conf", '--job-threads', 9))[1], qr/^job_threads = 9$/m,
        'the command line over both';
}

my %wrong = (
    'an unknown key'      => ["data_dir = $dir/data\ncolour = red\n", qr/wrong\.conf:2: unknown key "colour"/],
    'a word for a number' => ["\njob_threads = many\n", qr/wrong\.conf:2: job_threads must be an integer between 1 and 64/],
    'a number too large'  => ["job_threads = 65\n", qr/wrong\.conf:1: job_threads must be between 1 and 64/],
    'neither on nor off'  => ["demo = maybe\n", qr/wrong\.conf:1: demo must be on or off/],
    'an unknown level'    => ["log_level = loud\n", qr/wrong\.conf:1: log_level must be one of: error warn notice info debug/],
    'no equals sign'      => ["listen\n", qr/wrong\.conf:1: a line is "key = value"/],
    'no data_dir'         => ["demo = off\n", qr/data_dir is required/],
    'a host for a network' => ["outgoing_networks = 10.0.0.0/8, 127.0.0.1\n",
        qr{wrong\.conf:1: outgoing_networks: "127\.0\.0\.1" is not a network in CIDR notation, such as .* \(RFC 4632 3\.1\)}],
    'bits behind a prefix' => ["\noutgoing_networks = 127.0.0.1/8\n",
        qr{wrong\.conf:2: outgoing_networks: 127\.0\.0\.1/8 has bits behind its prefix: write 127\.0\.0\.0/8}],
    'all networks'        => ["outgoing_networks = 0.0.0.0/0\n", qr{outgoing_networks: 0\.0\.0\.0/0 is wider than /8: list}],
    'https for pki_url'   => ["data_dir = $dir/data\npki_url = https://pki.example\n", qr/wrong\.conf:2: pki_url: must begin with http:/],
    'a pki_url with a query' => ["pki_url = http://pki.example/?a\n", qr/wrong\.conf:1: pki_url: has a character/],
    'an address without a port' => ["listen = 127.0.0.1\n", qr/wrong\.conf:1: listen: not address:port or \[address\]:port/],
    'a port too large'    => ["pki_listen = 127.0.0.1:65536\n", qr/wrong\.conf:1: pki_listen: not address:port/],
    'a NUL byte'          => ["demo = on\0\n", qr/wrong\.conf:1: the line has a NUL byte/],
    'an octet that is not UTF-8' => ["data_dir = /tmp/\xff\n", qr/wrong\.conf:1: data_dir must be UTF-8/],
    'a secret too long'   => ["database = postgres:" . 'SeCrEt' x 200 . "\n", qr/wrong\.conf:1: database must have 0 to 1000 bytes$/m],
);
for my $what (sort keys %wrong) {
    my ($text, $rule) = @{ $wrong{$what} };

    write_file("$dir/wrong.conf", $text);
    ($exit, $out) = certctld('-T', '--config', "$dir/wrong.conf");
    is $exit, 2, "$what: refused";
    like $out, $rule, "$what: with place and rule";
    unlike $out, qr/SeCrEt/, "$what: and without a secret";
}

# a comment may be long, and what follows in it is no line of its own
write_file("$dir/long.conf", "data_dir = $dir/data\n# " . 'x' x 4000 . " job_threads = 3\n");
is +(certctld('-T', '--config', "$dir/long.conf"))[0], 0, 'a long comment is one line';

# as some editors write it
write_file("$dir/editor.conf", "\xef\xbb\xbfdata_dir = $dir/data\r\njob_threads = 3\r\n");
($exit, $out) = certctld('-T', '--config', "$dir/editor.conf");
like $out, qr{^data_dir = \Q$dir\E/data\n.*^job_threads = 3$}ms, 'a byte order mark and CRLF are no part of it';

# every key in every place, as --help lists them
my ($usage) = (certctld('--help'))[1];
my @keys = (certctld('-T', '--data-dir', "$dir/data"))[1] =~ /^(\w+) = /mg;
is join(' ', grep { $usage !~ /^  $_ /m } @keys), '', '--help lists every key';
($exit, $out) = certctld('--data-dir', "$dir/data", '--color');
like $out, qr/unknown argument "--color"/, 'an unknown argument is named';
($exit, $out) = certctld('--config', "$dir/none.conf");
like $out, qr/none\.conf: No such file/, 'a missing file too';

# a first start
my $d = Certctl::Daemon->start;
is mode($d->data . '/admin.key'), '0600', 'the administrator key is for its owner only';
is mode($d->data . '/seal.key'),  '0600', 'so is the sealing key';
like slurp($d->ca), qr/^-----BEGIN CERTIFICATE-----/, 'ca.crt is there to be trusted';
unlike slurp($d->ca), qr/PRIVATE/, 'without a key';
is $d->api->get('/api/v1/agents')->{status}, 200, 'the key opens the API';

my ($postgres) = grep { (slurp("/proc/$_/cmdline") // '') =~ /\bpostgres\b/ } children($d->pid);
ok $postgres, 'PostgreSQL is a child of the daemon';
isnt +(stat "/proc/$postgres")[4], 0, 'and is not root' if $> == 0;
is_deeply [tcp_listeners($postgres)], [], 'it listens on no TCP port';
is mode($d->data . '/postgresql'), '0700', 'its folder is closed to others';
is grep({ /CERTCTL|admin|SeCrEt|certctl_[0-9a-f]{8}/ } slurp('/proc/' . $d->pid . '/cmdline')), 0, 'no secret among the arguments';

# one daemon for a folder
($exit, $out) = certctld('--data-dir', $d->data, '--listen', '127.0.0.1:' . free_port(), '--pki-listen', '');
is $exit, 1, 'a second daemon on the same folder is refused';
like $out, qr/another certctld runs in/, 'and told why';

is $d->stop, 0, 'SIGTERM ends it well';
ok wait_until(10, sub { return !alive($postgres) }), 'and its PostgreSQL';

# lock files of PostgreSQL that say nothing, or name a process that is another's
my $cluster = $d->data . '/postgresql';
for my $text ('garbage', '', "$$\n$cluster/data\n1\n5432\n", "1\n") {
    write_file("$cluster/data/postmaster.pid", $text, 0600);
    write_file("$cluster/.s.PGSQL.5432.lock", $text, 0600);
    chown +(stat $cluster)[4, 5], "$cluster/data/postmaster.pid", "$cluster/.s.PGSQL.5432.lock";
    $d->restart;
    is $d->api->get('/api/v1/agents')->{status}, 200, 'it starts with a postmaster.pid of "' . ($text =~ /(\w*)/)[0] . '"';
    is $d->stop, 0, 'and ends well';
}

# what PostgreSQL says when it does not start, soon
write_file("$cluster/data/postgresql.auto.conf", "shared_buffers = many\n", 0600);
($exit, $out) = certctld('--data-dir', $d->data, '--listen', '127.0.0.1:' . free_port(), '--pki-listen', '');
is $exit, 1, 'PostgreSQL refuses its configuration: no start';
like $out, qr{PostgreSQL does not start: configuration file ".*" contains errors: see .*/server\.log}, 'and the reason is said';
write_file("$cluster/data/postgresql.auto.conf", '', 0600);

# a server that somebody else has started on the cluster
{
    my @as = $> == 0 ? ('runuser', '-u', 'postgres', '--') : ();
    my ($bin) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin';
    my @ctl = (@as, "$bin/pg_ctl", '-D', "$cluster/data", '-w', '-s');

    is run("$dir/ctl", @ctl, '-l', "$cluster/server.log", '-o', "-c listen_addresses= -c unix_socket_directories=$cluster", 'start'), 0,
        'a server is started by hand';
    my ($server) = slurp("$cluster/data/postmaster.pid") =~ /^(\d+)/;
    ($exit, $out) = certctld('--data-dir', $d->data, '--listen', '127.0.0.1:' . free_port(), '--pki-listen', '');
    like $out, qr/another PostgreSQL server \(process $server\) runs on/, 'it is named';
    ok alive($server), 'and left alone';
    is run("$dir/ctl", @ctl, '-m', 'fast', 'stop'), 0, 'it is stopped';
}

# a key file that others may read, and one that is lost
chmod 0644, $d->data . '/seal.key';
($exit, $out) = certctld('--data-dir', $d->data, '--listen', '127.0.0.1:' . free_port(), '--pki-listen', '');
like $out, qr/seal\.key must not be readable by others/, 'a sealing key that is open to others is refused';
chmod 0600, $d->data . '/seal.key';
rename $d->data . '/seal.key', "$dir/seal.key";
($exit, $out) = certctld('--data-dir', $d->data, '--listen', '127.0.0.1:' . free_port(), '--pki-listen', '');
like $out, qr/seal\.key is missing, but the database holds/, 'a lost sealing key is named';
ok !-e $d->data . '/seal.key', 'and not made anew';
rename "$dir/seal.key", $d->data . '/seal.key';

# --demo: no key on loopback, demo data
$d = Certctl::Daemon->start(args => ['--demo']);
my $anonymous = Certctl::HTTP->new(port => $d->port, ca => $d->ca);
is $anonymous->get('/api/v1/teams')->{status}, 200, '--demo: no key is needed on loopback';
cmp_ok $anonymous->get('/api/v1/certificates')->{json}{total}, '>=', 3, '--demo: there is something to look at';
my $digit = 'a';
for my $host ('127.0.0.1', '[::1]', 'localhost') {
    my $r = $d->api->post('/api/v1/agents', { name => $host, url => "https://$host:9", fingerprint => $digit++ x 64 });
    is $r->{status}, 201, "--demo: hosts may be at $host" or diag $r->{content};
}
is $d->stop, 0, 'it ends well';

done_testing();

sub certctld {
    my (@arguments) = @_;
    my $log = "$dir/out." . rand;
    my $status = run($log, $binary, @arguments);

    return ($status >> 8, slurp($log));
}

sub mode { return sprintf '%04o', (stat $_[0])[2] & 07777 }

# Ports that a process listens on, from the sockets it holds.
sub tcp_listeners {
    my ($pid) = @_;
    my %inode = map { (readlink($_) // '') =~ /socket:\[(\d+)\]/ ? ($1 => 1) : () } glob "/proc/$pid/fd/*";

    return grep { my @f = split; ($f[3] // '') eq '0A' && $inode{ $f[9] } }
        map { split /\n/, slurp($_) } '/proc/net/tcp', '/proc/net/tcp6';
}
