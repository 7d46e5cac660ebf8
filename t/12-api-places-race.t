#!/usr/bin/perl
# Every way in which a certificate gets a place, two at a time, each pair in one
# moment: one of them gets it, the other is refused and told who has it.

use strict;
use warnings;
use Certctl::API;
use Certctl::HTTP;
use Certctl::Process qw(wait_until);
use IO::Handle;
use POSIX ();
use Test::More;

my $d   = api_daemon(config => "api_threads = 4\n");
my $api = $d->api;
my $v1  = '/api/v1';

created($api, "$v1/agents", { id => 'ag-a', name => 'a', url => 'https://127.0.0.1:9', fingerprint => 'a' x 64 });

# The transaction holds the table until both requests wait for it.
my @command = ('psql', '-h', $d->data . '/postgresql', '-U', 'certctl', '-d', 'postgres', '-X', '-q', '-A', '-t');

sub held {
    my ($run) = @_;

    open my $psql, '|-', @command or die "psql: $!";
    $psql->autoflush(1);
    print {$psql} "BEGIN; LOCK TABLE certificate_target_mappings IN ACCESS EXCLUSIVE MODE;\n";
    wait_until(20, sub { return sql($d, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted
        AND relation = 'certificate_target_mappings'::regclass") eq '1' }) or die 'no lock';
    my @pipes = $run->();
    my $both = wait_until(20, sub { return sql($d, "SELECT count(*) FROM pg_locks WHERE NOT granted") >= @pipes });
    print {$psql} "COMMIT;\n";
    close $psql or die 'psql failed';
    ok $both, 'both wait';
    return map { my $line = readline $_; close $_; chomp $line; $line } @pipes;
}

# One request in a process of its own; what it says is "status dependant".
sub request {
    my ($method, $path, $body) = @_;
    my $pid = open(my $out, '-|') // die "fork: $!";

    if (!$pid) {
        my $own = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $d->key);
        my $r;

        # on a busy machine the wait may take longer than a statement may
        wait_until(30, sub { $r = $own->$method("$v1/$path", $body); return $r->{status} != 503 });
        print "$r->{status} ", $r->{json}{dependants}[0]{id} // '', "\n";
        close STDOUT;
        POSIX::_exit(0);
    }
    return $out;
}

# Each way: what there is before, and the request that takes the record.
my %way = (
    'a new certificate' => sub {
        my ($n, $record) = @_;
        target("tgt-$n", record => $record);
        return [post => 'certificates', { id => "mc-$n", common_name => "c$n.example.com", issuer_id => 'iss-local', target_ids => ["tgt-$n"] }];
    },
    'targets of a certificate' => sub {
        my ($n, $record) = @_;
        target("tgt-$n", record => $record);
        certificate("mc-$n", "c$n.example.com");
        return [patch => "certificates/mc-$n", { target_ids => ["tgt-$n"] }];
    },
    'a common name' => sub {
        my ($n, $record) = @_;
        target("tgt-$n");
        certificate("mc-$n", "c$n.example.com", "tgt-$n");
        return [patch => "certificates/mc-$n", { common_name => $record }];
    },
    'a record of a target' => sub {
        my ($n, $record) = @_;
        target("tgt-$n", record => "r$n.example.com");
        certificate("mc-$n", "c$n.example.com", "tgt-$n");
        return [patch => "targets/tgt-$n", { config => { record => $record } }];
    },
    'an agent of a target' => sub {
        my ($n, $record) = @_;
        created($api, "$v1/agents", { id => "ag-$n", name => "a$n", url => "https://127.0.0.1:$n", fingerprint => sprintf '%064d', $n });
        created($api, "$v1/targets", { id => "tgt-$n", name => "tgt-$n", agent_id => "ag-$n", config => { record => $record } });
        certificate("mc-$n", "c$n.example.com", "tgt-$n");
        return [patch => "targets/tgt-$n", { agent_id => 'ag-a' }];
    },
    'a claim' => sub {
        my ($n, $record) = @_;
        sql($d, "INSERT INTO discovered_certificates (id, fingerprint_sha256, agent_id, place, source, record, common_name, serial_number,
            issuer_dn, subject_dn, not_before, not_after, pem_data) VALUES ('dcert-$n', repeat('$n', 8), 'ag-a', 'nginx.conf:$n x ec-p256',
            'static', NULL, '$record', '$n', 'CN=i', 'CN=s', now(), now() + interval '90 days', '')");
        return [post => "discovered-certificates/dcert-$n/claim", {}];
    },
    'targets of a policy' => sub {
        my ($n, $record) = @_;
        target("tgt-$n");
        created($api, "$v1/renewal-policies", { id => "rp-$n", name => "rp-$n", default_target_ids => ["tgt-$n"] });
        return [post => 'certificates', { id => "mc-$n", common_name => $record, issuer_id => 'iss-local', renewal_policy_id => "rp-$n" }];
    },
);

sub target {
    my ($id, %config) = @_;
    return created($api, "$v1/targets", { id => $id, name => $id, agent_id => 'ag-a', config => \%config });
}

sub certificate {
    my ($id, $name, @targets) = @_;
    return created($api, "$v1/certificates", { id => $id, common_name => $name, issuer_id => 'iss-local', target_ids => \@targets });
}

my $n = 1000;
my @ways = sort keys %way;

for my $i (0 .. $#ways) {
    for my $j ($i .. $#ways) {
        my $record = 'race' . ++$n . '.example.com';
        my @asks   = map { $way{$_}->(++$n, $record) } @ways[$i, $j];

        subtest "$ways[$i] and $ways[$j]" => sub {
            my @said  = sort(held(sub { return map { request(@$_) } @asks }));
            my $owner = sql($d, "SELECT string_agg(certificate_id, ',') FROM certificate_target_mappings WHERE agent_id = 'ag-a' AND place = '$record'");

            unlike $owner, qr/,/, 'one owner';
            like $said[0], qr/^20[01] $/, 'one gets the place';
            is $said[1], "409 $owner", 'the other is told who has it';
        };
    }
}

is sql($d, 'SELECT count(*) FROM (SELECT FROM certificate_target_mappings WHERE place IS NOT NULL GROUP BY agent_id, place HAVING count(*) > 1) x'),
    '0', 'no place has two owners';
done_testing();
