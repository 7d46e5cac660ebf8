#!/usr/bin/perl
# Live is a state: a certificate that clients no longer get is shown as such at the
# next report of its host, with what they get instead and why, and is renewed where
# its policy renews, a few times, and never against a newer valid certificate.

use strict;
use warnings;
use Certctl::API;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process qw(run wait_until);
use Certctl::Story;
use Test::More;

my %mode = map { $_ => 'certctl on;' } qw(shop www);
my $s = Certctl::Story->new(names => [], servers => servers(),
    config => "inventory_interval = 1\nrenewal_interval = 1\nmax_issuances_per_day = 100\n");
my $d  = $s->daemon;
my $ca = Certctl::PKI->ca('Some CA');

sub servers {
    return join('', map { <<"CONF" } sort keys %mode) . <<'CONF';
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name $_.example;
        $mode{$_}
    }
CONF
    server {
        listen unix:%%DIR%%/private/control.sock;
        certctl_agent;
    }
CONF
}

sub serve {
    my (%as) = @_;

    %mode = (%mode, %as);
    $s->{servers} = servers();
    $s->configure;
    $s->nginx->reload;
    return;
}

# As an operator on the host does it.
sub command {
    my ($method, $path, $body) = @_;
    my $file = $s->nginx->file('body', $body // '');

    return run('/dev/null', 'curl', '-sSf', '--unix-socket', $s->nginx->dir . '/private/control.sock', '-X', $method,
        '-H', 'Content-Type: application/x-pem-file', '--data-binary', "\@$file", "http://h/certctl/v1$path");
}

# A certificate of the operator's own, valid since some seconds, its key and its
# fingerprint. Ours are valid since 5 minutes before they were issued.
sub foreign {
    my ($from, @names) = @_;
    my $key = new_key('ec-p256');
    my ($crt) = $ca->issue(names => \@names, key => $key, from => $from);

    return ($crt . $ca->cert, $key, fingerprint($crt));
}

sub becomes {
    my ($id, $live, $what, $timeout) = @_;
    my $row;

    ok wait_until($timeout // 40, sub { $row = $s->get("certificates/$id"); return $row->{live} eq $live }), $what
        or diag join "\n", (explain $row), grep { !/type=Discovery/ } split /\n/, $s->events;
    return $row;
}

sub listed {
    my ($live) = @_;
    return join ' ', sort map { $_->{id} } @{ $s->get("certificates?live=$live")->{data} };
}

sub attempts { return scalar @{ $s->get("certificates/$_[0]/renewals")->{data} } }

# Once more reports of the host have come: what has not happened by then does not.
sub rest {
    my $seen = $s->get('agents/' . $s->agent)->{last_heartbeat_at};
    for (1 .. 3) {
        wait_until(20, sub { return $s->get('agents/' . $s->agent)->{last_heartbeat_at} gt $seen });
        $seen = $s->get('agents/' . $s->agent)->{last_heartbeat_at};
    }
    return;
}

sub quiet {
    my ($id, $n, $what) = @_;

    rest();
    is attempts($id), $n, $what;
    return;
}

$s->post('renewal-policies', { id => 'rp-hand', name => 'By hand', auto_renew => \0 });

my $shop = $s->certificate('shop.example');
my $www  = $s->certificate('www.example', renewal_policy_id => 'rp-hand');

is $s->get("certificates/$shop")->{live}, 'unknown', 'nothing was deployed: unknown';
is_deeply $s->get("certificates/$shop")->{live_differs}, [], 'and no host differs';
$s->renew($_) for $shop, $www;
$s->deployed($_) for $shop, $www;
becomes($_, 'yes', 'deployed: clients get it') for $shop, $www;
is listed('yes'), join(' ', sort $shop, $www), 'the list has them';
is $s->get('stats/summary')->{live_certificates}, 2, 'the summary counts them';
is $s->get("certificates/$shop/deployments")->{data}[0]{live}, 'yes', 'each of its places says so';

subtest 'a deleted record, where the policy renews' => sub {
    my $old = $s->shown('shop.example')->{fingerprint};
    my $n   = attempts($shop);

    is command('DELETE', '/certificates/shop.example'), 0, 'an operator deletes the record';
    ok wait_until(40, sub { return attempts($shop) > $n }), 'it is renewed';
    becomes($shop, 'yes', 'and clients get it again');
    isnt $s->shown('shop.example')->{fingerprint}, $old, 'with another key, as the old one is gone';
    my @said = map { $_->{details} } grep { $_->{action} eq 'certificate_live_changed' }
        @{ $s->get("audit?resource_id=$shop&per_page=100")->{data} };
    my ($no) = grep { $_->{live} eq 'no' } @said;
    is $no->{before}, 'yes', 'the audit trail has the change';
    my $host = $no->{differs}[0];
    is $host->{agent_id}, $s->agent, 'the host';
    is $host->{expected}, $old, 'the certificate that should be there';
    is $host->{served}[0]{source}, 'placeholder', 'what clients got instead';
    like $host->{why}, qr/^the host has no record "shop\.example"/, 'and why';
    quiet($shop, $n + 1, 'once is enough');

    $s->deployed($shop);
    is command('DELETE', '/certificates/shop.example'), 0, 'somebody deletes it again';
    my $row = becomes($shop, 'no', 'which is shown');
    ok $row->{live_differs}[0]{renewal_at} gt $row->{live_differs}[0]{since}, 'the next try is later';
    quiet($shop, $n + 1, 'there is no fight');
    $s->renew($shop);
    becomes($shop, 'yes', 'a person renews it at once');
};

subtest 'a deleted record, where the policy does not renew' => sub {
    my $n = attempts($www);

    is command('DELETE', '/certificates/www.example'), 0, 'an operator deletes the record';
    my $row = becomes($www, 'no', 'clients do not get it');
    is $row->{status}, 'Active', 'its status is about its dates';
    is $row->{live_differs}[0]{renewal_at}, undef, 'nothing will renew it';
    is listed('no'), $www, 'the list finds it';
    like $s->api->get('/api/v1/metrics/prometheus')->{content},
        qr/^# TYPE certctl_certificate_live gauge\ncertctl_certificate_live\{live="yes"\} 1\ncertctl_certificate_live\{live="partly"\} 0\ncertctl_certificate_live\{live="no"\} 1\n/m,
        'the metric counts it';
    is $s->get('stats/summary')->{not_live_certificates}, 1, 'the summary counts it';
    quiet($www, $n, 'it is left to a person');
    $s->renew($www);
    becomes($www, 'yes', 'who renews it');
};

subtest 'a certificate that somebody put there' => sub {
    my ($chain, $key, $print) = foreign(-7200, 'shop.example');
    my $n = attempts($shop);

    is command('PUT', '/certificates/shop.example?keygen=server', $chain . $key), 0, 'into the record';
    my $row = becomes($shop, 'no', 'clients do not get ours');
    is $row->{live_differs}[0]{served}[0]{fingerprint_sha256}, $print, 'but that one';
    like $row->{live_differs}[0]{why}, qr/^somebody has put another certificate into record "shop\.example"/, 'why';
    quiet($shop, $n, 'it is not fought');
    is $s->shown('shop.example')->{fingerprint}, $print, 'it stays';
    $s->renew($shop);
    becomes($shop, 'yes', 'until a person renews');
};

subtest 'another record takes the place' => sub {
    my ($chain, $key, $print) = foreign(0, 'shop.example', 'more.example');
    my $n = attempts($shop);

    is command('PUT', '/certificates/other?keygen=server', $chain . $key), 0, 'a record with the same name';
    my $row = becomes($shop, 'no', 'clients do not get ours');
    is $row->{live_differs}[0]{served}[0]{record}, 'other', 'but that record';
    like $row->{live_differs}[0]{why}, qr/^the host serves a newer certificate/, 'which is newer';
    quiet($shop, $n, 'it is not fought');
    is command('DELETE', '/certificates/other'), 0, 'it goes';
    becomes($shop, 'yes', 'and ours is back by itself');
};

subtest 'certctl off' => sub {
    my $n = attempts($shop);

    my ($chain, $key) = foreign(-7200, 'shop.example');
    $s->nginx->file('own.pem', $chain);
    $s->nginx->file('own.key', $key);
    serve(shop => "certctl off; ssl_certificate %%DIR%%/own.pem; ssl_certificate_key %%DIR%%/own.key;");
    my $row = becomes($shop, 'no', 'clients do not get it');
    like $row->{live_differs}[0]{why}, qr/^the certificate is stored on the host, but no server block serves it/, 'why';
    quiet($shop, $n, 'it is not renewed');
    serve(shop => 'certctl on;');
    becomes($shop, 'yes', 'on again');
};

subtest 'a record that no server block serves' => sub {
    my $n = attempts($shop);

    serve(shop => 'ssl_reject_handshake on;');
    my $row = becomes($shop, 'no', 'no client gets it');
    is_deeply $row->{live_differs}[0]{served}, [], 'nor anything else';
    like $row->{live_differs}[0]{why}, qr/^the certificate is stored on the host, but no server block serves it/, 'why';
    quiet($shop, $n, 'another certificate would not help');
    serve(shop => 'certctl on;');
    becomes($shop, 'yes', 'on again');
};

subtest 'one of two names' => sub {
    my $both = $s->certificate('both.example', sans => ['one.example', 'two.example']);

    serve(one => 'certctl on;', two => 'certctl on;');
    $s->renew($both);
    $s->deployed($both);
    becomes($both, 'yes', 'two server blocks');
    my $issued = time;
    wait_until(10, sub { return time > $issued + 1 });     # a file has to be newer by 5 minutes
    my ($chain, $key, $print) = foreign(0, 'two.example');
    $s->nginx->file('two.pem', $chain);
    $s->nginx->file('two.key', $key);
    serve(two => "certctl on; ssl_certificate %%DIR%%/two.pem; ssl_certificate_key %%DIR%%/two.key;");
    my $row = becomes($both, 'partly', 'one has a newer file');
    is $row->{live_differs}[0]{served}[0]{fingerprint_sha256}, $print, 'which is named';
    is listed('partly'), $both, 'the list finds it';
    is $s->get('stats/summary')->{partly_live_certificates}, 1, 'the summary counts it';
    serve(two => 'certctl on;');
    becomes($both, 'yes', 'the file is gone');
};

subtest 'a host that does not answer' => sub {
    $s->nginx->stop;
    my $row = becomes($shop, 'unknown', 'after ten intervals nobody knows', 90);
    like $row->{live_differs}[0]{why}, qr/^agent \S+ has not answered since \d{4}-/, 'why';
    cmp_ok $s->get('stats/summary')->{live_unknown_certificates}, '>=', 2, 'the summary counts them';
    $s->nginx->start;
    becomes($_, 'yes', 'it answers again, with the same report') for $shop, $www;
};

subtest 'a host whose store is lost' => sub {
    $s->nginx->stop;
    is run('/dev/null', 'rm', '-rf', $s->nginx->dir . '/store'), 0, 'the store is gone';
    $s->nginx->start;
    sql($d, "UPDATE certificate_target_mappings SET live_tries = 0, live_since = now() - interval '2 days'");
    ok wait_until(60, sub { return $s->get('agents/' . $s->agent)->{status} eq 'Offline' }), 'its identity is not believed';
    $s->need($s->api->patch('/api/v1/agents/' . $s->agent, { fingerprint => $s->fingerprint }));
    becomes($www, 'no', 'the one that nobody renews');
    becomes($shop, 'yes', 'the one that its policy renews', 60);
    like $s->get("certificates/$www")->{live_differs}[0]{why}, qr/its store was lost/, 'why';
};

is sql($d, "SELECT count(*) FROM loops WHERE last_error IS NOT NULL"), '0', 'no loop failed';
is $s->stop, 0, 'the daemon ends well';
done_testing();
