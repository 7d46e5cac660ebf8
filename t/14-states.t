#!/usr/bin/perl
# The states of certificates, orders, attempts, jobs and fleet CAs: the rows of the program are
# those of the database, which refuses every other change.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process 'slurp';
use Test::More;

my $d = api_daemon();

my %machine = (
    certificate => { table => 'managed_certificates', column => 'status', check => ['certificate_status'] },
    order       => { table => 'orders', column => 'state', check => ['order_state'] },
    attempt     => { table => 'renewal_attempts', column => 'status', check => ['attempt_status'] },
    job         => { table => 'jobs', column => 'status', check => ['job_status', 'job_end'] },
    authority   => { table => 'authorities', column => 'state', check => ['authority_state'] },
);

sub lines { return split /\n/, sql($d, $_[0]) }

my $source = slurp('controller/core/states.c');

for my $name (sort keys %machine) {
    my ($rows) = $source =~ /${name}_transitions\[\] = \{\n(.*?)\n    \{ NULL, NULL, NULL \}/s or die $name;
    $machine{$name}{rows} = [$rows =~ /^    \{ ("\w+", "\w+", "\w+") \},$/mg];
    s/"//g, s/, /|/g for @{ $machine{$name}{rows} };
}

for my $name (sort keys %machine) {
    subtest "$name: program and database agree" => sub {
        my $m = $machine{$name};

        is(join("\n", sort @{ $m->{rows} }),
            join("\n", sort(lines("SELECT source, event, target FROM transitions WHERE machine = '$name'"))), 'each row');
        my %known  = map { $_ => 1 } map { (split /\|/)[0, 2] } @{ $m->{rows} };
        my $checks = join ',', map { "'$_'" } @{ $m->{check} };
        my %stored = map { $_ => 1 } map { /'(\w+)'::text/g }
            lines("SELECT DISTINCT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname IN ($checks)");
        is(join(' ', sort keys %known), join(' ', sort keys %stored), 'each state');
        $m->{states} = [map { /'(\w+)'::text/g } lines("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '$m->{check}[0]'")];
    };
}

sql($d, <<'SQL');
INSERT INTO managed_certificates (id, name, common_name, issuer_id) VALUES ('mc', 'mc', 'mc', 'iss-local');
INSERT INTO renewal_attempts (id, certificate_id, method, requested_by) VALUES ('ra', 'mc', 'issuer', 'test');
INSERT INTO orders (id, attempt_id, certificate_id, issuer_id, key_type, sans) VALUES ('ord', 'ra', 'mc', 'iss-local', 'ec-p256', 'DNS:mc');
INSERT INTO jobs (id, type, subject, scheduled_at) VALUES ('job', 'Notification', 'test', 'infinity');
SQL

# Each change from each state to each other one, on a row of its own that is not kept.
for my $name (sort keys %machine) {
    subtest "$name: no other change" => sub {
        my ($table, $column, $states, $rows) = @{ $machine{$name} }{qw(table column states rows)};
        my %may = map { join('|', (split /\|/)[0, 2]) => 1 } @$rows;
        my $id  = { certificate => 'mc', attempt => 'ra', order => 'ord', job => 'job', authority => 'fleet' }->{$name};
        my $all = join ',', map { "'$_'" } @$states;

        my @said = lines(<<"SQL");
CREATE FUNCTION pg_temp.try() RETURNS SETOF text LANGUAGE plpgsql AS \$\$
DECLARE a text; b text; said text;
BEGIN
    FOREACH a IN ARRAY ARRAY[$all] LOOP
        FOREACH b IN ARRAY ARRAY[$all] LOOP
            BEGIN
                SET LOCAL session_replication_role = replica;
                UPDATE $table SET $column = a WHERE id = '$id';
                SET LOCAL session_replication_role = origin;
                UPDATE $table SET $column = b WHERE id = '$id';
                RAISE EXCEPTION 'done';
            EXCEPTION WHEN OTHERS THEN
                said := SQLERRM;
            END;
            RETURN NEXT a || '|' || b || '|' || said;
        END LOOP;
    END LOOP;
END \$\$;
SELECT pg_temp.try();
SQL
        is(scalar @said, @$states ** 2, 'every pair');
        for my $line (@said) {
            my ($from, $to, $message) = split /\|/, $line;
            is($message, $from eq $to || $may{"$from|$to"} ? 'done' : "$name $id is $from: it cannot become $to", "$from to $to");
        }
    };
}

subtest 'a job ends once, as its state allows' => sub {
    my $close = sub { return sql($d, "WITH gone AS (DELETE FROM jobs WHERE id = 'job' RETURNING jobs AS job)
        INSERT INTO job_history SELECT h.* FROM gone, job_close(job, '$_[0]', 'why') h RETURNING status, last_error") };

    # psql says why
    open my $stderr, '>&', \*STDERR or die "standard error: $!";
    open STDERR, '>', '/dev/null' or die "/dev/null: $!";
    my $closed = eval { $close->('Completed') };
    open STDERR, '>&', $stderr or die "standard error: $!";
    ok(!$closed, 'one that is not running is not completed');
    is(sql($d, "SELECT status FROM jobs WHERE id = 'job'"), 'Pending', 'and stays');
    is($close->('Cancelled'), 'Cancelled|why', 'it can be cancelled');
    is(sql($d, "SELECT row_to_json(h)::jsonb - 'completed_at' - 'created_at' FROM job_history h WHERE id = 'job'") =~ /"subject": "test"/, 1, 'with all it had');
};

done_testing();
