#!/usr/bin/perl
# A certificate is revoked while its CA has an order: it is Revoked at once, its jobs
# end, and what the CA still issues is on the CRL when it arrives, and on no host.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::PKI;
use Certctl::Process qw(slurp temp_dir wait_until write_file);
use Certctl::Story;
use Test::More;

my $conf = "job_lease = 3\nreaper_interval = 1\nmax_issuances_per_day = 1000\nrenewal_interval = 1\n";
my $s    = Certctl::Story->new(points => 1, names => [map { "$_.example" } qw(days check local gone other forced host)], config => $conf);
my $d    = $s->daemon;
my $ca   = Certctl::PKI->ca('Scripted CA');
my $dir  = temp_dir() . '/ca';

mkdir $dir or die "$dir: $!";
write_file("$dir/ca.pem", $ca->cert);
write_file("$dir/ca.key", $ca->key);

waits_for_days();
has_a_challenge();
is_archived();
is_not_revoked();
is_forced();
is_being_signed();
loses_its_host();

is $s->stop, 0, 'the daemon ends well';
done_testing();

sub asked {
    my ($word) = @_;
    return scalar grep { /^\Q$word\E / } split /\n/, slurp("$dir/log") // '';
}

sub issuer {
    my ($name, $script) = @_;
    return $s->post('issuers', { id => $name, name => $name, type => 'scripted', config => { dir => $dir, script => $script, token => "token-$name" } })->{id};
}

sub open_order {
    my ($crt) = @_;
    $s->renew($crt);
    return ok wait_until(30, sub { return sql($d, "SELECT count(*) FROM orders o JOIN jobs j ON j.attempt_id = o.attempt_id
        WHERE o.certificate_id = '$crt' AND o.state = 'ready' AND o.steps >= 2 AND j.status = 'Pending'") eq '1' }), 'its CA has an order';
}

sub order_id { return sql($d, "SELECT id FROM orders WHERE certificate_id = '$_[0]' ORDER BY created_at DESC LIMIT 1") }

sub history { return sql($d, "SELECT string_agg(type || ' ' || status || ': ' || coalesce(last_error, ''), ', ' ORDER BY created_at) FROM job_history
    WHERE certificate_id = '$_[0]' AND type IN ('Issuance', 'Renewal', 'Deployment')") }

# The next step of its order and its job are due.
sub due {
    my ($crt) = @_;
    sql($d, "UPDATE orders SET next_at = NULL WHERE certificate_id = '$crt'");
    sql($d, "UPDATE jobs SET scheduled_at = now() WHERE certificate_id = '$crt'");
    return;
}

sub on_no_host {
    my ($crt, $name, $what) = @_;
    my $shown = $s->shown($name)->{fingerprint};
    return ok $shown && !grep({ $_->{fingerprint_sha256} eq $shown } $s->versions($crt)), $what;
}

sub waits_for_days {
    issuer('iss-days', 'order hold issue');
    my $crt = $s->certificate('days.example', issuer_id => 'iss-days');
    my $was = asked('revoke');

    write_file("$dir/hold", '');
    open_order($crt);
    my $order = order_id($crt);
    my $r = $s->post("certificates/$crt/revoke", { reason => 'keyCompromise' });
    is_deeply $r, { status => 'revoked', serials => [], open_orders => [$order], still_served => [] }, 'it is revoked, and its order is named';
    is $s->get("certificates/$crt")->{status}, 'Revoked', 'at once';
    is history($crt), 'Issuance Cancelled: the certificate was revoked', 'its job ends with the reason';
    is sql($d, "SELECT status || ': ' || error FROM renewal_attempts WHERE certificate_id = '$crt'"), 'failed: the certificate was revoked', 'so does the attempt';
    is_deeply [map { $_->{type} } @{ $s->open_jobs($crt) }], ['Revocation'], 'its revocation goes on';

    $d->stop;
    $d->restart;
    unlink "$dir/hold";
    due($crt);
    ok wait_until(40, sub { return $s->versions($crt) }), 'the CA issues, days later and after a restart';
    my ($v) = $s->versions($crt);
    is sql($d, "SELECT reason || ' ' || reason_code FROM certificate_revocations WHERE serial_number = '$v->{serial_number}'"), 'keyCompromise 1', 'it is revoked for the same reason';
    ok wait_until(30, sub { return asked('revoke') > $was }), 'its CA is told';
    ok wait_until(30, sub { return !@{ $s->open_jobs($crt) } }), 'then nothing is left to do';
    is asked('issue'), 1, 'it was issued once';
    is history($crt), 'Issuance Cancelled: the certificate was revoked', 'and never deployed';
    is $s->get("certificates/$crt")->{status}, 'Revoked', 'it stays revoked';
    is sql($d, "SELECT details ->> 'serial_number' FROM audit_events WHERE resource_id = '$crt' AND action = 'certificate_revoked' AND actor = 'system'"),
        $v->{serial_number}, 'the audit trail has the serial number';
    on_no_host($crt, 'days.example', 'no host has it');
    return;
}

sub has_a_challenge {
    issuer('iss-check', 'order place hold issue');
    my $crt = $s->certificate('check.example', issuer_id => 'iss-check');

    write_file("$dir/hold", '');
    open_order($crt);
    ok wait_until(20, sub { return sql($d, 'SELECT state FROM challenges') eq 'placed' }), 'a host has its challenge';
    $s->post("certificates/$crt/revoke");
    due($crt);
    ok wait_until(30, sub { return sql($d, 'SELECT count(*) FROM challenges') eq '0' }), 'the challenge is withdrawn';
    sql($d, "UPDATE orders SET deadline = now() WHERE certificate_id = '$crt'");
    due($crt);
    ok wait_until(30, sub { return !@{ $s->open_jobs($crt) } }), 'an order that the CA does not answer ends at its deadline';
    is sql($d, "SELECT state FROM orders WHERE certificate_id = '$crt'"), 'failed', 'as failed';
    is scalar($s->versions($crt)), 0, 'without a certificate';
    unlink "$dir/hold";
    return;
}

sub is_archived {
    my $crt = $s->certificate('gone.example', issuer_id => 'iss-days');

    write_file("$dir/hold", '');
    open_order($crt);
    is $s->api->delete("/api/v1/certificates/$crt")->{status}, 204, 'an archived one';
    is history($crt), 'Issuance Cancelled: the certificate was archived', 'its job ends with the reason';
    is_deeply $s->open_jobs($crt), [], 'and nobody asks the CA for it';
    unlink "$dir/hold";
    return;
}

# A host is revoked, and others serve the certificate too: its CA is told of versions,
# while a renewal goes on.
sub is_not_revoked {
    my $crt = $s->certificate('other.example', issuer_id => 'iss-days');

    write_file("$dir/hold", '');
    open_order($crt);
    sql($d, "UPDATE jobs SET scheduled_at = 'infinity' WHERE certificate_id = '$crt'");
    my $steps = sql($d, "SELECT steps FROM orders WHERE certificate_id = '$crt'");
    sql($d, "UPDATE orders SET next_at = NULL WHERE certificate_id = '$crt'");
    sql($d, "INSERT INTO jobs (type, subject, certificate_id) VALUES ('Revocation', '$crt', '$crt')");
    ok wait_until(30, sub { return sql($d, "SELECT count(*) FROM jobs WHERE certificate_id = '$crt' AND type = 'Revocation'") eq '0' }), 'a revocation of versions ends';
    is sql($d, "SELECT steps FROM orders WHERE certificate_id = '$crt'"), $steps, 'and leaves the order to the renewal';
    unlink "$dir/hold";
    due($crt);
    $s->deployed($crt);
    pass('which ends well');
    return;
}

# A forced renewal takes the place of one whose CA has an order; then it is revoked.
sub is_forced {
    my $crt = $s->certificate('forced.example', issuer_id => 'iss-days');

    write_file("$dir/hold", '');
    open_order($crt);
    my $first = order_id($crt);
    $s->renew($crt, force => 1);
    ok wait_until(30, sub { return sql($d, "SELECT count(*) FROM orders WHERE certificate_id = '$crt' AND state = 'ready' AND steps >= 2") eq '2' }), 'its CA has two orders';
    is_deeply [sort @{ $s->post("certificates/$crt/revoke")->{open_orders} }], [sort $first, order_id($crt)], 'revoking it names both';
    unlink "$dir/hold";
    due($crt);
    ok wait_until(40, sub { return $s->versions($crt) == 2 && !@{ $s->open_jobs($crt) } }), 'both are issued';
    is sql($d, "SELECT count(*) FROM certificate_revocations WHERE certificate_id = '$crt' AND issuer_notified"), 2, 'and revoked, which their CA knows';
    return;
}

# A replica stands still with a certificate that its CA has signed and nobody has
# stored; another one revokes.
sub is_being_signed {
    my $crt  = $s->certificate('local.example');
    my $twin = temp_dir();

    mkdir "$twin/data", 0711;
    write_file("$twin/data/seal.key", slurp($d->data . '/seal.key'), 0600);
    $d->stop;
    $d->{env} = { CERTCTL_POINT => 'order.step.returned', CERTCTL_POINT_ACT => 'stop' };
    $d->restart;
    eval { $s->renew($crt) };
    ok wait_until(20, sub { return (slurp('/proc/' . $d->pid . '/stat') =~ /\) (\w)/)[0] eq 'T' }), 'a replica stands still';

    my $other = Certctl::Daemon->start(points => 1, dir => $twin,
        config => $conf . 'database = host=' . $d->data . "/postgresql user=certctl dbname=postgres\n");
    my $api = Certctl::HTTP->new(port => $other->port, ca => $other->ca, bearer => $d->key);
    my $r   = $api->post("/api/v1/certificates/$crt/revoke", { reason => 'superseded' });

    is $r->{status}, 200, 'another one revokes' or diag $r->{content};
    is $api->get("/api/v1/certificates/$crt")->{json}{status}, 'Revoked', 'at once';
    my $serial;
    ok wait_until(30, sub { return $serial = sql($d, "SELECT serial_number FROM certificate_revocations WHERE certificate_id = '$crt'") }),
        'the certificate of the open order is revoked';
    like crl($other), qr/Serial Number: \Q$serial\E\n/i, 'and on the CRL';

    kill CONT => $d->pid or die "SIGCONT: $!";
    $d->{env} = {};
    ok wait_until(30, sub { return eval { $s->get('agents')->{total} } }), 'the first one goes on';
    ok wait_until(30, sub { return !@{ $s->open_jobs($crt) } }), 'no job is open';
    is scalar($s->versions($crt)), 1, 'one version was stored';
    is sql($d, "SELECT count(*) FROM jobs WHERE certificate_id = '$crt'"), 0, 'nothing deploys it';
    is history($crt), 'Issuance Cancelled: the certificate was revoked', 'its job was cancelled';
    is $s->get("certificates/$crt")->{status}, 'Revoked', 'it stays revoked';
    on_no_host($crt, 'local.example', 'no host has it');
    $other->stop;
    return;
}

# The host that an order's key belongs to is revoked; another one is to serve the
# certificate.
sub loses_its_host {
    my $crt   = $s->certificate('host.example', issuer_id => 'iss-days');
    my $other = $s->post('agents', { name => 'other', url => 'https://127.0.0.1:9', fingerprint => 'a' x 64 })->{id};
    my $there = $s->post('targets', { name => 'other', agent_id => $other, config => { record => '{id}' } })->{id};

    write_file("$dir/hold", '');
    open_order($crt);
    my $order = order_id($crt);
    is $s->api->patch("/api/v1/certificates/$crt", { target_ids => [@{ $s->get("certificates/$crt")->{target_ids} }, $there] })->{status}, 200, 'another host';
    my $r = $s->post('agents/' . $s->agent . '/revoke');
    ok grep({ $_ eq $crt } @{ $r->{replaced} }), 'the host is revoked, and its certificate renewed for the other one';
    is sql($d, "SELECT state FROM orders WHERE id = '$order'"), 'ready', 'the order for its key goes on';
    unlink "$dir/hold";
    due($crt);
    my $serial;
    ok wait_until(40, sub { return $serial = sql($d, "SELECT v.serial_number FROM certificate_versions v WHERE v.order_id = '$order'") }), 'until the CA has issued';
    is sql($d, "SELECT reason || ' ' || reason_code FROM certificate_revocations WHERE serial_number = '$serial'"), 'keyCompromise 1', 'which is revoked';
    is sql($d, "SELECT count(*) FROM all_jobs j JOIN certificate_versions v ON v.id = j.version_id WHERE v.order_id = '$order'"), 0, 'and not deployed';
    isnt $s->get("certificates/$crt")->{status}, 'Revoked', 'the certificate lives on';
    return;
}

sub crl {
    my ($other) = @_;
    my $r = Certctl::HTTP->new(port => $other->port, ca => $other->ca)->get('/.well-known/pki/crl/iss-local');
    write_file("$dir/crl.der", $r->{content});
    return scalar `openssl crl -inform DER -noout -text -in '$dir/crl.der'`;
}
