#!/usr/bin/perl
# The controller is lost and comes back from a backup on another machine: by a dump
# and by a base backup, with seal.key. It issues, renews and revokes, its CRL is
# newer than all that were published, and it finds on the hosts what was issued
# after the backup.

use strict;
use warnings;
no warnings 'portable';         # a CRL number has more than 32 bits
use Certctl::API qw(refused sql);
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::Process qw(run slurp temp_dir wait_until write_file);
use Certctl::Story;
use Test::More;

my $conf = "inventory_interval = 1\nmax_issuances_per_day = 100\n";
my $s    = Certctl::Story->new(names => ['*.example'], config => $conf);
my ($bin) = sort { $b cmp $a } glob '/usr/lib/postgresql/*/bin';
my $safe = temp_dir();                # where the backups are
my @as   = $> == 0 ? ('runuser', '-u', 'postgres', '--') : ();
my $key  = $s->daemon->key;

chmod 0777, $safe;

# before the backup: two certificates, one of them revoked, and CRLs
my %id = map { $_ => $s->certificate("$_.example") } qw(old gone);
$s->renew($_) for values %id;
$s->deployed($_) for values %id;
$s->post("certificates/$id{gone}/revoke", { reason => 'superseded' });
my %serial = map { $_ => ($s->versions($id{$_}))[0]{serial_number} } keys %id;
ok crl()->{revoked}{ $serial{gone} }, 'a certificate is revoked';

no_ids_of_a_cluster();

# Transactions that another cluster has not: a dump must not remember them.
sql($s->daemon, 'SELECT pg_current_xact_id()') for 1 .. 50;
$s->post("certificates/$id{old}/renew");
$s->deployed($id{old}, after => $s->get("certificates/$id{old}")->{last_deployment_at});

is pg('pg_dump', '-Fc', '-f', "$safe/certctl.dump", 'postgres'), 0, 'a dump';
is pg('pg_basebackup', '-D', "$safe/base"), 0, 'a base backup';
write_file("$safe/seal.key", slurp($s->daemon->data . '/seal.key'), 0600);
my $audited = $s->get('audit?per_page=1')->{total};

# after the backup: a certificate is renewed, another is new, CRLs are published
my $before = $s->shown('old.example')->{fingerprint};
$s->renew($id{old});
$s->deployed($id{old}, after => $s->get("certificates/$id{old}")->{last_deployment_at});
my $late = $s->certificate('late.example');
$s->renew($late);
$s->deployed($late);
my %live = map { $_ => $s->shown("$_.example")->{fingerprint} } qw(old late);
my $unknown = ($s->versions($late))[0]{serial_number};
isnt $live{old}, $before, 'after the backup a certificate is renewed';
sql($s->daemon, "UPDATE certificate_revocations SET reason_code = reason_code"), crl() for 1 .. 3;
my $published = crl()->{number};

my $lost = $s->daemon;
is $lost->stop, 0, 'the controller is lost';

for my $how (['a dump', \&from_dump], ['a base backup', \&from_base]) {
    subtest "from $how->[0]" => sub { restored(@$how) };
}

without_key();
is $s->nginx->stop // 0, 0, 'NGINX ends well';
done_testing();

# A program of PostgreSQL on the cluster of a daemon.
sub pg {
    my ($program, @arguments) = @_;

    return run("$safe/log", @as, "$bin/$program", '-h', $s->daemon->data . '/postgresql', '-U', 'certctl', @arguments);
}

sub crl {
    my $r = Certctl::HTTP->new(scheme => 'http', port => $s->daemon->pki_port)->get('/.well-known/pki/crl/iss-local');

    write_file("$safe/crl", $r->{content});
    my $text = `openssl crl -inform DER -in $safe/crl -noout -text 2>&1`;
    my ($number) = $text =~ /CRL Number:\s+(?:0x)?(\w+)/;

    return { status => $r->{status}, number => hex($number // 0),
        revoked => { map { lc $_ => 1 } $text =~ /Serial Number: (\w+)/g } };
}

# good, revoked or unknown
sub ocsp {
    my ($serial) = @_;
    my $r = Certctl::HTTP->new(scheme => 'http', port => $s->daemon->pki_port)
        ->get("/.well-known/pki/ocsp/iss-local/$serial");

    write_file("$safe/ocsp", $r->{content});
    return `openssl ocsp -respin $safe/ocsp -resp_text -noverify 2>&1` =~ /Cert Status: (\w+)/ ? $1 : $r->{status};
}

# No column, default or function keeps what is of one cluster.
sub no_ids_of_a_cluster {
    is sql($s->daemon, q{SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns
        WHERE table_schema = 'public' AND udt_name ~ '^_?(xid|xid8|cid|tid|oid|pg_snapshot|txid_snapshot|pg_lsn|reg\w+)$'}), '',
        'no column holds ids of a cluster';

    my $odd = q{'pg_current_xact_id|pg_current_snapshot|pg_snapshot_|txid_|pg_current_wal|pg_control_|\mxmin\M|\mctid\M'};
    is sql($s->daemon, "SELECT string_agg(proname, ' ') FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname = 'public' AND prosrc ~ $odd"), '', 'no function writes them';
    is sql($s->daemon, "SELECT string_agg(adrelid::regclass::text, ' ') FROM pg_attrdef WHERE pg_get_expr(adbin, adrelid) ~ $odd"),
        '', 'no default does';
    is join(' ', grep { slurp($_) =~ /pg_current_xact_id|pg_current_snapshot|pg_visible_in_snapshot|txid_current|pg_current_wal/ }
        glob 'sql/query/*.sql'), '', 'no statement does';
    return;
}

# A machine with nothing but seal.key.
sub machine {
    my ($seal) = @_;
    my $dir = temp_dir();

    mkdir "$dir/data", 0711;
    write_file("$dir/data/seal.key", $seal, 0600) if defined $seal;
    return $dir;
}

sub daemon {
    my ($dir, %o) = @_;

    return $s->{daemon} = Certctl::Daemon->start(dir => $dir, config => "log_level = debug\n$conf", %o);
}

# As docs/install.md says.
sub from_dump {
    my ($dir) = @_;
    my $d = daemon($dir);
    my $socket = $d->data . '/postgresql';

    is $d->stop, 0, 'an empty cluster is made';
    is run("$safe/log", @as, "$bin/pg_ctl", '-D', "$socket/data", '-w', '-s', '-l', "$socket/server.log",
        '-o', "-c listen_addresses= -c unix_socket_directories=$socket", 'start'), 0, 'and started by itself';
    is pg('dropdb', '--maintenance-db=template1', 'postgres'), 0, 'its database is deleted';
    is pg('createdb', '--maintenance-db=template1', '-T', 'template0', 'postgres'), 0, 'and made anew';
    is pg('pg_restore', '-d', 'postgres', '--exit-on-error', "$safe/certctl.dump"), 0, 'the dump is restored';
    is run("$safe/log", @as, "$bin/pg_ctl", '-D', "$socket/data", '-w', '-s', '-m', 'fast', 'stop'), 0, 'it is stopped';
    return $d->restart;
}

sub from_base {
    my ($dir, %o) = @_;

    run("$safe/log", 'install', '-d', '-m', '0700', "$dir/data/postgresql");
    run("$safe/log", 'cp', '-a', "$safe/base", "$dir/data/postgresql/data");
    run("$safe/log", 'chown', '-R', 'postgres:postgres', "$dir/data/postgresql") if $> == 0;
    return daemon($dir, %o);
}

sub restored {
    my ($how, $restore) = @_;
    my $d = $restore->(machine(slurp("$safe/seal.key")));

    # the keys of the backup are valid
    write_file($d->data . '/admin.key', "$key\n", 0600);
    delete $d->{api};

    my $crl = crl();
    is $crl->{status}, 200, 'the CRL is answered at once';
    cmp_ok $crl->{number}, '>', $published, 'its number is higher than all that were published';
    ok $crl->{revoked}{ $serial{gone} }, 'what was revoked is on it';
    is ocsp($serial{gone}), 'revoked', 'and so says OCSP';
    is ocsp($serial{old}), 'good', 'the other is good';
    is ocsp($unknown), 'unknown', 'what was issued after the backup is unknown';

    ok $s->online($s->agent), 'the host is Online';
    cmp_ok $s->get('audit?per_page=1')->{total}, '>=', $audited, 'the audit trail is there';
    ok wait_until(20, sub { return @{ found(values %live) } == 2 }), 'what was issued after the backup is found on the host';

    my $id = $s->certificate("new-$how.example" =~ tr/ /-/r);
    $s->renew($id);
    $s->deployed($id);
    pass 'a certificate is issued and deployed';

    $s->renew($id{old});
    $s->deployed($id{old}, after => $s->get("certificates/$id{old}")->{last_deployment_at});
    isnt $s->shown('old.example')->{fingerprint}, $live{old}, 'another is renewed';

    my ($new) = map { $_->{serial_number} } $s->versions($id);
    is ocsp($new), 'good', 'OCSP knows it';
    $s->post("certificates/$id/revoke", { reason => 'keyCompromise' });
    is ocsp($new), 'revoked', 'it is revoked';
    my $next = crl();
    ok $next->{revoked}{$new}, 'and on the CRL';
    cmp_ok $next->{number}, '>', $crl->{number}, 'whose number has grown';
    $published = $next->{number};
    $live{old} = $s->shown('old.example')->{fingerprint};

    is $s->get("audit?action=certificate_revoked&resource_id=$id&per_page=1")->{total} > 0, 1, 'the audit trail goes on';
    is sql($d, 'SELECT count(*) FROM loops WHERE last_error IS NOT NULL'), '0', 'no loop failed';
    is $d->stop, 0, 'it ends well';
    return;
}

# Rows of observed certificates by fingerprint.
sub found {
    my %wanted = map { $_ => 1 } @_;

    return [grep { $wanted{ $_->{fingerprint_sha256} } } @{ $s->get('discovered-certificates?per_page=500')->{data} }];
}

# The reason is said before anything is changed.
sub without_key {
    for (['no seal.key', undef, qr/seal\.key is missing, but the database holds/],
        ['another seal.key', join('', map { chr int rand 256 } 1 .. 32), qr/seal\.key is not the key that the database was sealed with/]) {
        my ($what, $seal, $reason) = @$_;
        my $dir = machine($seal);

        from_base($dir, wait => 0);
        ok wait_until(20, sub { return (slurp("$dir/certctld.log") // q{}) =~ $reason }), "$what: the reason is said"
            or diag slurp("$dir/certctld.log");
        is -e "$dir/data/seal.key" ? 1 : 0, defined $seal ? 1 : 0, "$what: none is made";
    }

    return;
}
