#!/usr/bin/perl
# Renewal goes on by itself, survives SIGKILL of either side, and never stops
# NGINX from serving.

use strict;
use warnings;
use Certctl::Story;
use POSIX 'strftime';
use Test::More;

my $s  = Certctl::Story->new(config => "renewal_interval = 1\njob_lease = 3\n"
    . "reaper_interval = 1\nmax_issuances_per_day = 100\n");
my $id = $s->certificate('shop.example', certificate_profile_id => 'prof-standard-tls');

my $placeholder = $s->shown('shop.example')->{fingerprint};
my $answer = $s->renew($id);
is $answer->{status}, 'renewal_triggered', 'a renewal is asked for';

my $row   = $s->deployed($id);
my $first = $s->shown('shop.example');
isnt $first->{fingerprint}, $placeholder, 'another certificate is live';
ok $first->{staple}, 'and stapled';
is scalar($s->versions($id)), 1, 'one version was issued';
is +($s->versions($id))[0]{fingerprint_sha256}, $first->{fingerprint}, 'it is the one that is served';
like +($s->get("audit?action=deployment_completed&resource_id=$id"))->{data}[0]{details}{fingerprint},
    qr/^$first->{fingerprint}$/, 'the audit tells its fingerprint';

# nobody presses anything: certificates of a minute follow each other
$s->need($s->api->patch('/api/v1/profiles/prof-standard-tls', { max_ttl_seconds => 60 }));
$s->renew($id);
$row = $s->deployed($id, after => $row->{last_deployment_at});
my $minute = $s->shown('shop.example')->{fingerprint};
isnt $minute, $first->{fingerprint}, 'a certificate of one minute took its place';

$s->need($s->api->patch('/api/v1/profiles/prof-standard-tls', { max_ttl_seconds => 90 * 86400 }));
my $long = strftime('%Y-%m-%d', gmtime(time + 80 * 86400));

# another one of a minute may have come between the two
do {
    $row = $s->deployed($id, after => $row->{last_deployment_at}, timeout => 80);
} until $row->{expires_at} gt $long || $s->versions($id) > 10;

my $second = $s->shown('shop.example')->{fingerprint};
isnt $second, $minute, 'before its end it is renewed by itself';
cmp_ok $row->{expires_at}, 'gt', $long, 'for another ninety days';

# the controller is gone for good: NGINX goes on, also over a restart
$s->daemon->kill9;
is $s->shown('shop.example')->{fingerprint}, $second, 'the controller is killed: the last good certificate is served';
$s->nginx->stop('KILL');
$s->nginx->start;
my $alone = $s->shown('shop.example');
is $alone->{fingerprint}, $second, 'NGINX is killed too and comes back alone: the same';
ok $alone->{staple}, 'stapled from the first handshake';

# and returns
$s->daemon->restart;
$s->renew($id);
$row = $s->deployed($id, after => $row->{last_deployment_at});
isnt $s->shown('shop.example')->{fingerprint}, $second, 'the controller returns and renews';
my @done = grep { $_->{status} eq 'completed' } @{ $s->get("certificates/$id/renewals")->{data} };
cmp_ok scalar(@done), '>=', 4, 'four renewals';
is scalar($s->versions($id)), @done, 'and as many versions';
ok $s->online($s->agent), 'the agent is online';

is $s->stop, 0, 'SIGTERM ends the daemon well';
done_testing();
