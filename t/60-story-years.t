#!/usr/bin/perl
# Years go by: hosts, controller, API, OCSP responder and local root get their next
# certificates in time, without a restart; a host that was away too long comes back.
# All programs, and this test, see the same clock, which jumps.

use strict;
use warnings;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(preload run sanitized slurp temp_dir wait_until write_file);
use Certctl::Story;
use Certctl::TLS 'handshake';
use Test::More;
use Time::Local 'timegm';

my ($lib) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1';
plan skip_all => 'libfaketime is not installed' if !$lib;
plan skip_all => 'sanitized programs cannot be given this clock' if sanitized();

my $DAY   = 86400;
my @faked = qw(LD_PRELOAD FAKETIME_TIMESTAMP_FILE FAKETIME_NO_CACHE FAKETIME_DISABLE_SHM
    FAKETIME_DONT_FAKE_MONOTONIC DONT_FAKE_MONOTONIC NO_FAKE_STAT);

if (!$ENV{FAKETIME_TIMESTAMP_FILE}) {
    my $clock = temp_dir() . '/clock';

    write_file($clock, "+0\n");
    chmod 0644, $clock;
    # a child, since the folder goes when this process ends
    local @ENV{@faked} = (preload($lib), $clock, 1, 1, 1, 1, 1);
    my $status = system $^X, (map { "-I$_" } @INC), $0;
    exit($status ? 1 : 0);
}

my $clock = $ENV{FAKETIME_TIMESTAMP_FILE};
my $at = 0;

sub on {
    my ($days) = @_;
    $at += $days * $DAY;
    write_file("$clock.new", sprintf "%+d\n", $at);
    chmod 0644, "$clock.new";
    rename "$clock.new", $clock or die $!;
    return;
}

sub seconds {
    my @t = $_[0] =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/ or die "no time: $_[0]";
    return timegm(@t[5, 4, 3, 2], $t[1] - 1, $t[0]);
}

my $s = Certctl::Story->new(config => "inventory_interval = 1\nloop_tick = 1\nreaper_interval = 1\nmax_issuances_per_day = 100\n",
    main => join '', map { "env $_;\n" } @faked);

sub identity { return $s->get('agents/' . $s->agent) }
sub days_left { return (seconds($_[0]) - time) / $DAY }

sub api_leaf { return handshake($s->daemon->port, staple => 0)->{fingerprint} }

my $id = $s->certificate('shop.example');
$s->renew($id);
$s->deployed($id);

subtest 'a host has its next identity at half of the life of the last' => sub {
    my $first = identity();
    my $pid = $s->daemon->pid;

    cmp_ok days_left($first->{identity_expires_at}), '>', 179, 'an identity for 180 days';
    on(85);
    ok wait_until(30, sub { return seconds(identity()->{last_heartbeat_at}) > time - $DAY }), '85 days later it is Online';
    is identity()->{fingerprint}, $first->{fingerprint}, 'with the same identity';
    on(6);
    ok wait_until(30, sub { return identity()->{fingerprint} ne $first->{fingerprint} }), '6 days later it has the next'
        or diag $s->events;
    cmp_ok days_left(identity()->{identity_expires_at}), '>', 179, 'for 180 days again';
    is $s->daemon->pid, $pid, 'the controller, whose certificates live 2 and 30 days, was not restarted';
};

subtest 'the API has its next certificate for new connections' => sub {
    my $before = api_leaf();

    on(21);
    ok wait_until(90, sub { return api_leaf() ne $before }), 'another certificate';
    is $s->api->get('/health')->{status}, 200, 'which clients accept';
};

subtest 'a host that was away for longer than its identity lived' => sub {
    my $before = identity();

    $s->nginx->stop;
    ok wait_until(60, sub { return identity()->{status} eq 'Offline' }), 'is Offline';
    on(200);
    ok wait_until(30, sub { return days_left(identity()->{identity_expires_at}) < 0 }), 'its identity expires';
    $s->nginx->start;
    ok wait_until(60, sub {
        my $now = identity();
        return $now->{status} eq 'Online' && $now->{fingerprint} ne $before->{fingerprint};
    }), 'it comes back by the identity that was installed there, and gets the next'
        or diag $s->events;
    cmp_ok days_left(identity()->{identity_expires_at}), '>', 179, 'for 180 days';
};

subtest 'another host at its address does not' => sub {
    my $before = identity();

    $s->nginx->stop;
    on(200);
    is run('/dev/null', 'rm', '-rf', $s->nginx->dir . '/store'), 0, 'its store is another';
    $s->nginx->start;
    ok wait_until(60, sub { return (identity()->{last_error} // '') =~ /pinned is \Q$before->{fingerprint}/ }),
        'the agent says which identity it should show' or diag identity()->{last_error};
    ok wait_until(30, sub { return identity()->{status} eq 'Offline' }), 'and is Offline';
    is identity()->{fingerprint}, $before->{fingerprint}, 'nothing was taken over';

    $s->need($s->api->patch('/api/v1/agents/' . $s->agent, { fingerprint => $s->fingerprint }));
    ok $s->online($s->agent), 'its new fingerprint is what a person gives';
};

subtest 'the local root, its OCSP responder, and what is issued' => sub {
    my $before = $s->get('issuers/iss-local')->{config};

    on(1320);
    ok wait_until(90, sub { return $s->get('issuers/iss-local')->{config}{ca_cert_pem} ne $before->{ca_cert_pem} }),
        'after half of its life there is another root certificate' or diag $s->events;
    my $now = $s->get('issuers/iss-local')->{config};
    isnt $now->{ocsp_responder_pem}, $before->{ocsp_responder_pem}, 'and another OCSP responder';

    my $last = $s->get("certificates/$id")->{last_deployment_at};
    $s->renew($id, force => 1);
    $s->deployed($id, after => $last);
    my $chain = $s->shown('shop.example');
    write_file($s->daemon->dir . "/$_->[0]", $_->[1])
        for ['leaf.pem', $chain->{leaf}], ['old.pem', $before->{ca_cert_pem}], ['new.pem', $now->{ca_cert_pem}];

    for my $root (qw(old new)) {
        is run('/dev/null', 'openssl', 'verify', '-CAfile', $s->daemon->dir . "/$root.pem", $s->daemon->dir . '/leaf.pem'), 0,
            "who trusts the $root root trusts a certificate issued now";
    }

    my @events = grep { $_->{action} eq 'issuer_refreshed' } @{ $s->get('audit?per_page=500')->{data} };
    ok((grep { grep { $_ eq 'ca_cert_pem' } @{ $_->{details}{fields} } } @events), 'the audit trail says so');
};

subtest 'no certificate outlives its CA' => sub {
    $s->post('issuers', { id => 'iss-short', name => 'Short', type => 'local', config => { ca_validity_days => 30 } });
    my $short = $s->certificate('short.example', issuer_id => 'iss-short');
    my @attempts = map { $_->{warning} } @{ $s->get("certificates/$id/renewals")->{data} };

    is_deeply [grep { defined } @attempts], [], 'no warning where there is time enough';
    $s->renew($short);
    my $row = $s->deployed($short);
    cmp_ok days_left($row->{expires_at}), '<=', 30, 'one of 90 days ends with its CA of 30';
    my $until = substr $row->{expires_at}, 0, 19;
    like $s->get("certificates/$short/renewals")->{data}[0]{warning}, qr/the CA issued it until \Q$until\E/,
        'the attempt says so';
};

subtest 'a CA in files that has expired does not stop the controller' => sub {
    my $corp = Certctl::PKI->ca('Corp', days => 10);
    my $dir  = $s->daemon->dir;

    write_file("$dir/corp.pem", $corp->cert);
    write_file("$dir/corp.key", $corp->key, 0600);
    $s->post('issuers', { id => 'iss-corp', name => 'Corp', type => 'local',
        config => { ca_cert_path => "$dir/corp.pem", ca_key_path => "$dir/corp.key" } });
    on(11);
    is $s->daemon->stop, 0, 'it stops';
    $s->daemon->restart;
    is $s->api->get('/ready')->{status}, 200, 'and starts again';
    like $s->daemon->log, qr/\[error\].*iss-corp.*expired/, 'and says what is wrong';
};

subtest 'the fleet CA' => sub {
    my $trusted = sub { my %row = map { ($_->{state} => $_) } @{ $s->get('authorities')->{data} }; return \%row };
    my $first = $trusted->()->{current};

    is_deeply [keys %{ $trusted->() }], ['current'], 'is one for years';
    on(1900);
    ok wait_until(60, sub { return (($trusted->()->{previous} // {})->{id} // q{}) eq $first->{id} }), 'after half of its life there is another'
        or diag $s->events;
    ok wait_until(60, sub { return $trusted->()->{current}{hosts_identified} == 1 }), 'of which the host has its identity';
    cmp_ok days_left($trusted->()->{current}{not_after}), '>', 19 * 365, 'which lives for 20 years';
    on(31);
    ok wait_until(60, sub { return $trusted->()->{withdrawn} }), 'a month later the one before is withdrawn' or diag $s->events;
    is $s->get('agents/' . $s->agent)->{status}, 'Online', 'the host is Online';
    ok wait_until(30, sub { return Certctl::PKI::fingerprint(slurp($s->daemon->ca)) eq $trusted->()->{current}{fingerprint} }),
        'and ca.crt has the other alone';
    is $s->daemon->api->get('/ready')->{status}, 200, 'of which the API is';
};

is $s->stop, 0, 'the daemon ends well';
done_testing();
