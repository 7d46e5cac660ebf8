#!/usr/bin/perl
# An issuer is a state machine whose state is stored: a connector made for this
# test (t/connector/) goes through every transition, with a real NGINX host that
# answers its challenges, and the controller is killed between all steps.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::HTTP;
use Certctl::PKI;
use Certctl::Process qw(alive slurp temp_dir wait_until write_file);
use Certctl::Story;
use POSIX 'strftime';
use Test::More;

# PLACES='stored:3' t/run t/59-story-issuer-steps.t    kills there only
my $places = $ENV{PLACES} // '.';

my $log = temp_dir() . '/points';
my $dir = temp_dir() . '/ca';
my $s   = Certctl::Story->new(points => 1,
    names   => [(map { "$_.example" } qw(shop days early held fault limit dead wait lock)), '*.slow.example'],
    config  => "job_lease = 3\nreaper_interval = 1\nmax_issuances_per_day = 1000\n"
        . "inventory_interval = 86400\nocsp_interval = 86400\nrenewal_interval = 1\n",
    servers => <<'CONF');
    server {
        listen 127.0.0.1:%%PORT_plain%%;
        server_name shop.example;
        return 404;
    }
CONF
my $d  = $s->daemon;
my $ca = Certctl::PKI->ca('Scripted CA');

mkdir $dir or die "$dir: $!";
write_file("$dir/ca.pem", $ca->cert);
write_file("$dir/ca.key", $ca->key);

# about what ACME does
my $whole = 'account order place check withdraw issue';
alone();
my $id    = issuer('iss-a', $whole, token => 'token-a');
my $shop  = $s->certificate('shop.example', issuer_id => 'iss-a');

issues();
killed($_) for grep { /$places/ } points();
waits_for_days();
deadline_passes();
account_is_locked();
faults();
rate_limited();
cancelled();
others_go_on();
revoked();

is $s->stop, 0, 'the daemon ends well';
done_testing();

sub issuer {
    my ($name, $script, %o) = @_;

    return $s->post('issuers', { id => $name, name => $name, type => 'scripted', config => {
        dir => $dir, script => $script, url => 'http://127.0.0.1:' . $s->nginx->port('plain'), %o } })->{id};
}

# How often the CA was asked for something, of one order or of all.
sub asked {
    my ($word, $order) = @_;
    my @lines = grep { /^\Q$word\E / } split /\n/, slurp("$dir/log") // '';

    return scalar grep { !defined $order || / \Q$order\E$/ } @lines;
}

sub order_of {
    my ($crt) = @_;
    return sql($d, "SELECT id FROM orders WHERE certificate_id = '$crt' ORDER BY created_at DESC LIMIT 1");
}

sub order { return sql($d, "SELECT $_[1] FROM orders WHERE id = '$_[0]'") }

sub job { return sql($d, "SELECT $_[1] FROM jobs WHERE certificate_id = '$_[0]' AND type IN ('Renewal', 'Issuance')") }

# The newest order as the API shows it.
sub shown {
    my ($crt) = @_;
    return $s->get("certificates/$crt/renewals")->{data}[0]{orders}[0];
}

sub answer {
    my ($token) = @_;
    return Certctl::HTTP->new(port => $s->nginx->port('plain'), scheme => 'http')
        ->get("/.well-known/acme-challenge/$token")->{status};
}

sub fault { write_file("$dir/$_[0]", ''); return }

sub no_fault { unlink "$dir/$_[0]"; return }

# The next step is due now.
sub due {
    my ($crt) = @_;

    sql($d, "UPDATE orders SET next_at = NULL WHERE certificate_id = '$crt'");
    sql($d, "UPDATE jobs SET scheduled_at = now() WHERE certificate_id = '$crt'");
    return;
}

# The job is due, its order is not.
sub early { sql($d, "UPDATE jobs SET scheduled_at = now() WHERE certificate_id = '$_[0]'"); return }

# A renewal has begun and its job waits.
sub begun {
    my ($crt, $what) = @_;

    $s->renew($crt);
    return ok wait_until(30, sub { return job($crt, 'status') eq 'Pending' && order_of($crt) ne ''
        && job($crt, 'scheduled_at > now()') eq 't' }), $what;
}

# The only issuer that has certificates: nobody else needs what it leaves. The local
# CA is enabled and has none.
sub alone {
    issuer('iss-alone', 'slow slow slow slow issue');
    my @crt  = map { $s->certificate("a$_.slow.example", issuer_id => 'iss-alone') } 1 .. 6;
    my $most = 0;

    $s->renew($_) for @crt;
    wait_until(20, sub {
        my $n = sql($d, "SELECT count(*) FROM jobs WHERE status = 'Running' AND issuer_id = 'iss-alone'");
        $most = $n if $n > $most;
        return $n >= 3;
    });
    is $most, 3, 'the only issuer with certificates has all threads but one';
    $s->api->post("/api/v1/jobs/$_->{id}/cancel", {}) for @{ $s->open_jobs };
    return;
}

sub issues {
    $s->renew($shop);
    $s->deployed($shop);

    is $s->shown('shop.example')->{fingerprint}, ($s->versions($shop))[0]{fingerprint_sha256},
        'issued in six steps and live';
    is asked('check'), 1, 'the CA has seen the challenge on the host';
    is sql($d, 'SELECT count(*) FROM challenges'), '0', 'it is withdrawn';
    is answer('token-a'), 404, 'on the host as well';
    is sql($d, 'SELECT order_id IS NULL FROM issuer_accounts'), 't', 'the account is given back';
    unlike sql($d, 'SELECT account FROM issuer_accounts'), qr/secret/, 'and sealed';
    return;
}

# Each place that this script passes, each time that it is passed.
sub points {
    my %times = (
        'order.step.before' => 1, 'order.step.returned' => 8, 'order.step.stored' => 8,
        map { ("challenge.$_" => 1) } qw(before_put put before_delete deleted),
    );

    return map { my $name = $_; map { "$name:$_" } 1 .. $times{$name} } sort keys %times;
}

sub killed {
    my ($point) = @_;

    # the account is made anew each time
    wait_until(30, sub { return !@{ $s->open_jobs } });
    sql($d, 'DELETE FROM issuer_accounts');

    my $before = $s->get("certificates/$shop")->{last_deployment_at};
    my $n      = scalar $s->versions($shop);

    $d->stop;
    $d->{env} = { CERTCTL_POINT => $point, CERTCTL_POINT_ACT => 'kill', CERTCTL_POINT_LOG => $log };
    $d->restart;

    my $pid = $d->pid;
    eval { $s->renew($shop) };
    my $died = wait_until(20, sub { return !alive($pid) });

    $d->kill9;
    $d->{env} = {};
    $d->restart;
    ok $died, "$point: killed there";
    $s->deployed($shop, after => $before, timeout => 60);

    my $order = order_of($shop);
    my $steps = order($order, 'steps');

    is scalar($s->versions($shop)), $n + 1, "$point: one version was issued";
    is sql($d, "SELECT count(*) FROM orders WHERE attempt_id = (SELECT attempt_id FROM orders WHERE id = '$order')"),
        '1', "$point: of one order";
    ok $steps >= 8 && $steps <= 9, "$point: $steps steps, only asking for the account's lock is repeated";
    ok asked('order', $order) <= ($point =~ /returned/ ? 2 : 1), "$point: it was ordered once";
    ok wait_until(20, sub { return sql($d, 'SELECT count(*) FROM challenges') eq '0' && answer('token-a') == 404 }),
        "$point: the challenge is withdrawn";
    return;
}

sub waits_for_days {
    issuer('iss-days', 'order days hold issue');
    my $crt = $s->certificate('days.example', issuer_id => 'iss-days');

    fault('hold');
    begun($crt, 'pending for days: the job waits');
    is job($crt, "scheduled_at > now() + interval '2 days' AND worker IS NULL AND lease_until IS NULL"), 't',
        'for three of them, without a thread';
    is job($crt, 'attempts'), 0, 'a pending order is no failed try';
    my $order = shown($crt);
    is_deeply [$order->{state}, $order->{issuer_id}, $order->{last_error}], ['ready', 'iss-days', undef], 'the API shows its order';
    cmp_ok $order->{next_at}, 'gt', strftime('%Y-%m-%dT', gmtime time + 2 * 86400), 'and when the next step is due';
    is $s->get("certificates/$crt/renewals")->{data}[0]{next_at}, $order->{next_at}, 'as its attempt does';
    cmp_ok $s->get('jobs/' . job($crt, 'id'))->{next_at}, 'ge', $order->{next_at}, 'so does its job';
    ok renewed_by_itself(), 'it takes nothing from the concurrency of others';

    $order = order_of($crt);
    my $steps = order($order, 'steps');
    early($crt);
    ok wait_until(20, sub { return job($crt, "scheduled_at > now() + interval '2 days'") eq 't' }),
        'a job that runs before finds its order not due';
    is order($order, 'steps'), $steps, 'and leaves the CA alone';
    $d->stop;
    $d->restart;
    due($crt);
    ok wait_until(30, sub { return order($order, 'steps') >= 4 }), 'after the days it is asked again and again';
    no_fault('hold');
    $s->deployed($crt);
    is asked('order', $order), 1, 'and was ordered once';
    return;
}

# A certificate of another issuer that is due, while one renewal at a time is
# allowed.
sub renewed_by_itself {
    my $before = $s->get("certificates/$shop")->{last_deployment_at};

    sql($d, 'UPDATE renewal_policies SET max_concurrent_renewals = 1 WHERE is_default');
    sql($d, "UPDATE managed_certificates SET renew_at = now() WHERE id = '$shop'");
    my $row = eval { $s->deployed($shop, after => $before) };
    sql($d, 'UPDATE renewal_policies SET max_concurrent_renewals = 5 WHERE is_default');
    return $row;
}

sub deadline_passes {
    issuer('iss-dead', 'order place days issue', token => 'token-dead');
    my $crt = $s->certificate('dead.example', issuer_id => 'iss-dead');

    begun($crt, 'an order waits for its CA');
    is answer('token-dead'), 200, 'its challenge is on the host';

    my $order = order_of($crt);
    sql($d, "UPDATE orders SET deadline = now() WHERE id = '$order'");
    due($crt);
    ok wait_until(30, sub { return order($order, 'state') eq 'failed' }), 'at its deadline it has failed';
    ok wait_until(20, sub { return job($crt, 'count(*)') eq '0' }), 'the job has ended';
    like sql($d, "SELECT error FROM renewal_attempts WHERE certificate_id = '$crt'"), qr/deadline/, 'the attempt says why';
    ok wait_until(20, sub { return answer('token-dead') == 404 }), 'the challenge is withdrawn';
    return;
}

sub account_is_locked {
    my $crt = $s->certificate('lock.example', issuer_id => 'iss-a');

    sql($d, "DELETE FROM issuer_accounts WHERE issuer_id = 'iss-a';
        INSERT INTO issuer_accounts (issuer_id, order_id, locked_until) VALUES ('iss-a', 'ord-other', now() + interval '1 hour')");
    begun($crt, 'the account is locked by another order');

    my $order = order_of($crt);
    my $made  = asked('account');
    ok wait_until(30, sub { return order($order, 'steps') >= 2 }), 'it asks again';
    is asked('account'), $made, 'and leaves the account alone';
    sql($d, "UPDATE issuer_accounts SET locked_until = now() WHERE issuer_id = 'iss-a'");
    $s->deployed($crt);
    is asked('account'), $made + 1, 'when the lock is gone, it makes the account';
    return;
}

sub faults {
    issuer('iss-fault', 'temporary order temporary permanent issue');
    my $crt = $s->certificate('fault.example', issuer_id => 'iss-fault');

    fault('temporary');
    $s->renew($crt);
    ok wait_until(60, sub { return job($crt, 'count(*)') eq '0' }), 'temporary, nothing ordered: given up after some tries';
    is asked('temporary', order_of($crt)), 3, 'after three';
    is order(order_of($crt), 'state'), 'failed', 'the order has failed';

    no_fault('temporary');
    fault('permanent');
    $s->renew($crt);
    ok wait_until(60, sub { return job($crt, 'count(*)') eq '0' }), 'permanent: the job has ended';
    my $order = order_of($crt);
    is asked('permanent', $order), 1, 'at once';
    like order($order, 'last_error'), qr/permanent/, 'the order says why';
    like order($order, 'problem'), qr/urn:test:fault/, "in the CA's own words as well";
    is_deeply [@{ shown($crt) }{qw(state last_error problem)}], ['failed', 'the scripted CA: permanent',
        { type => 'urn:test:fault', detail => 'permanent' }], 'as the API shows it';
    is $s->get("certificates/$crt/renewals")->{data}[0]{last_error}, 'the scripted CA: permanent', 'and its attempt';
    is_deeply +(sort { $b->{created_at} cmp $a->{created_at} } @{ $s->get("jobs?certificate_id=$crt")->{data} })[0]{problem},
        { type => 'urn:test:fault', detail => 'permanent' }, 'and its job';

    no_fault('permanent');
    issuer('iss-later', 'order temporary issue');
    $s->api->patch("/api/v1/certificates/$crt", { issuer_id => 'iss-later' });
    fault('temporary');
    $s->renew($crt);
    ok wait_until(60, sub { return (asked('temporary', order_of($crt))) >= 4 }),
        'temporary, ordered: tried on and on';
    $order = order_of($crt);
    is job($crt, 'last_error'), 'the scripted CA: temporary', 'the job says why';
    no_fault('temporary');
    due($crt);
    $s->deployed($crt);
    is asked('order', $order), 1, 'the same order is issued';
    return;
}

sub rate_limited {
    issuer('iss-limit', 'limited order issue');
    my $crt   = $s->certificate('limit.example', issuer_id => 'iss-limit');
    my $other = $s->certificate('wait.example', issuer_id => 'iss-limit');

    fault('limited');
    begun($crt, 'rate limited: the job waits');
    is sql($d, "SELECT paused_until > now() + interval '59 minutes' FROM issuer_accounts WHERE issuer_id = 'iss-limit'"),
        't', 'and its issuer for as long as the CA says';
    my $paused = $s->get('issuers/iss-limit');
    cmp_ok $paused->{paused_until}, 'gt', strftime('%Y-%m-%dT%H:%M', gmtime time + 59 * 60), 'which the API shows';
    is $paused->{pause_reason}, 'the scripted CA: limited', 'with the reason';
    no_fault('limited');
    $s->renew($other);
    $s->renew($shop);
    $s->deployed($shop, after => $s->get("certificates/$shop")->{last_deployment_at});
    my $waits = $s->get('jobs/' . job($other, 'id'));
    is $waits->{waits_for}, 'issuer iss-limit is paused: the scripted CA: limited', 'its job says what it waits for';
    is $waits->{next_at}, $paused->{paused_until}, 'and until when';
    is job($other, 'attempts'), 0, 'no other job of the issuer begins, those of others do';
    ok renewed_by_itself(), 'also those that begin by themselves';
    sql($d, "UPDATE issuer_accounts SET paused_until = now() WHERE issuer_id = 'iss-limit'");
    is_deeply [@{ $s->get('issuers/iss-limit') }{qw(paused_until pause_reason)}], [undef, undef], 'a pause ends';
    due($crt);
    $s->deployed($_) for $crt, $other;
    pass('then both are issued');
    return;
}

# A job that is cancelled leaves a challenge; the loop finds it.
sub cancelled {
    issuer('iss-early', 'order place days issue', token => 'token-early');
    my $crt = $s->certificate('early.example', issuer_id => 'iss-early');

    begun($crt, 'an order has a challenge');
    is answer('token-early'), 200, 'on the host';
    is $s->api->post('/api/v1/jobs/' . job($crt, 'id') . '/cancel', {})->{status}, 200, 'its job is cancelled';
    ok wait_until(30, sub { return answer('token-early') == 404 }), 'the challenge is withdrawn';
    ok wait_until(30, sub { return sql($d, 'SELECT count(*) FROM challenges') eq '0' }), 'and forgotten';
    return;
}

# Ten jobs of a slow CA leave a thread to others, and not all begin at once.
sub others_go_on {
    issuer('iss-slow', 'slow slow slow slow slow issue');
    my @slow = map { $s->certificate("$_.slow.example", issuer_id => 'iss-slow') } 1 .. 6;
    my $most = 0;

    $s->renew($_) for @slow;
    ok wait_until(20, sub { return asked('slow') > 0 }), 'a slow CA is at work';
    $s->renew($shop);
    my $after = $s->get("certificates/$shop")->{last_deployment_at};

    ok wait_until(40, sub {
        my $n = sql($d, "SELECT count(*) FROM jobs WHERE status = 'Running' AND issuer_id = 'iss-slow'");
        $most = $n if $n > $most;
        return ($s->get("certificates/$shop")->{last_deployment_at} // '') gt $after;
    }), 'a job of another issuer is done meanwhile';
    cmp_ok sql($d, "SELECT count(*) FROM jobs WHERE issuer_id = 'iss-slow'"), '>', 0, 'while jobs of the slow one wait';
    is $most, 2, 'of four threads it had two';
    $s->api->post("/api/v1/jobs/$_->{id}/cancel", {}) for @{ $s->open_jobs };
    return;
}

sub revoked {
    my $asked = asked('revoke');

    $s->post("certificates/$shop/revoke", { reason => 'superseded' });
    ok wait_until(30, sub { return asked('revoke') > $asked }), 'the CA is told of a revocation, with the certificate';
    return;
}
