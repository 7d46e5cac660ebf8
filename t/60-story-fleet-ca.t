#!/usr/bin/perl
# The fleet CA is replaced: hosts learn the next one before it is used, handshakes and
# deployments go on, whoever trusts the ca.crt of before is served until it is
# withdrawn, and a host that was off meanwhile comes back.

use strict;
use warnings;
use Certctl::API ();
use Certctl::Nginx;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(run slurp wait_until write_file);
use Certctl::Story;
use Certctl::TLS 'handshake';
use Test::More;

my $s = Certctl::Story->new(config => "inventory_interval = 1\nreaper_interval = 1\nloop_tick = 1\nmax_issuances_per_day = 100\n");
my $v1 = '/api/v1/authorities';
my $dir = $s->daemon->dir;
my $before = slurp($s->daemon->ca);

write_file("$dir/before.crt", $before);

# another host, which will be off during all of it
my $off = bless { %$s, nginx => Certctl::Nginx->new(workers => 1) }, 'Certctl::Story';
$off->nginx->file('fleet-ca.pem', $before);
$off->configure;
$off->nginx->start;
$off->{agent} = $off->register(name => 'edge2');

my $id = $s->certificate('shop.example');
$s->renew($id);
my $deployed = $s->deployed($id)->{last_deployment_at};

sub authorities { return map { ($_->{state} => $_) } @{ $s->get('authorities?per_page=500')->{data} } }

# Whether a client that trusts this file accepts the API's certificate.
sub accepted {
    my ($file) = @_;
    return run('/dev/null', 'curl', '-s', '--cacert', $file, '-o', '/dev/null',
        'https://127.0.0.1:' . $s->daemon->port . '/health') == 0;
}

sub served { my %h = handshake($s->daemon->port, staple => 0)->%*; return $h{fingerprint} }

# The certificate is deployed once more: key, chain and handshake by way of the host.
sub deploys {
    my ($when) = @_;

    $s->renew($id, force => 1);
    my $row = $s->deployed($id, after => $deployed);
    isnt $row->{last_deployment_at}, $deployed, "$when: a certificate is renewed and deployed";
    $deployed = $row->{last_deployment_at};
    return;
}

my %now = authorities();
is join(' ', sort keys %now), 'current', 'there is one fleet CA';
my $first = $now{current};
is $first->{fingerprint}, fingerprint($before), 'ca.crt has it';
ok wait_until(30, sub { return { authorities() }->{current}{hosts_trusting} == 2 }), 'both hosts trust it';
is $first->{hosts_identified}, 2, 'both have their identity of it';

is $s->api->post("$v1/$first->{id}/withdraw")->{status}, 409, 'the current one cannot be withdrawn';
is $s->api->post("$v1/$first->{id}/use")->{status}, 409, 'nor used once more';
is $s->api->post($v1, { overlap_days => 366 })->{status}, 422, 'days have a bound';

$off->nginx->stop;
ok wait_until(60, sub { return $s->get('agents/' . $off->agent)->{status} eq 'Offline' }), 'a host is off';

# the host that is off is waited for
my $r = $s->api->post($v1, {});
is $r->{status}, 201, 'the next one is made' or diag $r->{content};
is $r->{headers}{location}, "$v1/$r->{json}{id}", 'with its place';
my $next = $r->{json};
is $next->{state}, 'next', 'its state';
is $s->api->post($v1, {})->{status}, 409, 'no third one';
ok wait_until(30, sub { return { authorities() }->{next}{hosts_trusting} == 1 }), 'the host that answers learns it';
is_deeply { authorities() }->{next}{hosts_waiting}, [$off->agent], 'the other is waited for';
is { authorities() }->{current}{id}, $first->{id}, 'it is not used yet';
ok wait_until(90, sub { return slurp($s->daemon->ca) ne $before }), 'ca.crt changes';
my $both = slurp($s->daemon->ca);
is_deeply [map { fingerprint($_) } $both =~ /(-----BEGIN.*?-----END CERTIFICATE-----\n)/gs],
    [$first->{fingerprint}, $next->{fingerprint}], 'and holds both';
write_file("$dir/both.crt", $both);
deploys('two are trusted');

# a person does not wait
is $s->api->post("$v1/$next->{id}/use")->{status}, 200, 'it is used';
ok wait_until(30, sub { return { authorities() }->{current}{hosts_identified} == 1 }), 'the host gets an identity of it'
    or diag $s->events;
ok((grep { $_ eq $next->{fingerprint} } map { fingerprint($_) } host_chain($s)), 'which its listener shows');
deploys('the next one is used');
ok accepted("$dir/before.crt"), 'who trusts the ca.crt of before is served';
ok accepted("$dir/both.crt"), 'who trusts both, too';

# The certificates that the control listener of a host shows.
sub host_chain {
    my ($story) = @_;
    my $text = "$dir/shown.txt";

    run($text, 'sh', '-c', 'openssl s_client -connect "$1" -showcerts </dev/null 2>/dev/null', 'sh',
        '127.0.0.1:' . $story->nginx->port('control'));
    return slurp($text) =~ /(-----BEGIN.*?-----END CERTIFICATE-----\n)/gs;
}

# a new host, whose administrator has the ca.crt of before
my $new = bless { %$s, nginx => Certctl::Nginx->new(workers => 1) }, 'Certctl::Story';
$new->nginx->file('fleet-ca.pem', $before);
$new->configure;
$new->nginx->start;
$new->{agent} = $new->register(name => 'edge3');
pass 'a new host that trusts only the previous one is registered';
ok wait_until(30, sub { return { authorities() }->{current}{hosts_identified} == 2 }), 'with an identity of the current one';

$r = $s->api->post("$v1/$first->{id}/withdraw");
is $r->{status}, 200, 'the previous one is withdrawn' or diag $r->{content};
is $r->{json}{state}, 'withdrawn', 'its state';
deploys('one is trusted');
ok wait_until(90, sub { return slurp($s->daemon->ca) ne $both }), 'ca.crt changes';
is fingerprint(slurp($s->daemon->ca)), $next->{fingerprint}, 'and holds the current one alone';
write_file("$dir/after.crt", slurp($s->daemon->ca));
ok wait_until(90, sub { return accepted("$dir/after.crt") && !accepted("$dir/before.crt") }), 'the API is of the current one';

# the host comes back: it trusts, and shows, only the withdrawn one
my $old = $s->get('agents/' . $off->agent)->{fingerprint};
$off->nginx->start;
ok wait_until(90, sub {
    my $row = $s->get('agents/' . $off->agent);
    return $row->{status} eq 'Online' && $row->{fingerprint} ne $old;
}), 'a host that was off meanwhile comes back, and gets an identity' or diag $s->events;
ok wait_until(30, sub { return { authorities() }->{current}{hosts_identified} == 3 }), 'of the current one';
is_deeply { authorities() }->{current}{hosts_waiting}, [], 'nobody is waited for';

my @events = map { $_->{action} } grep { $_->{resource_type} eq 'authority' } @{ $s->get('audit?per_page=500')->{data} };
is join(' ', sort @events), 'authority_created authority_used authority_withdrawn', 'the audit trail has each step';

# with hosts that all answer it goes by itself
$s->post('authorities', { overlap_days => 0 });
ok wait_until(90, sub {
    my %row = authorities();
    return !$row{next} && !$row{previous} && $row{current}{id} ne $next->{id};
}), 'the next replacement needs nobody' or diag $s->events;
deploys('after it');

for my $story ($off, $new) {
    ok wait_until(30, sub { return $s->get('agents/' . $story->agent)->{status} eq 'Online' }), 'each host is Online';
    $story->nginx->stop;
}
is $s->stop, 0, 'the daemon ends well';
done_testing();
