#!/usr/bin/perl
# A profile is kept whole: when a certificate is ordered, also by itself, and when
# a CA has issued it. Names of other scripts are served; what could not be renewed
# is not adopted.

use strict;
use warnings;
use utf8;
use Certctl::API qw(refused sql);
use Certctl::PKI;
use Certctl::Process qw(temp_dir wait_until write_file);
use Certctl::Story;
use JSON::PP ();
use Test::More;

my $idn = 'xn--bcher-kva.example';
my $dir = temp_dir() . '/ca';
my $ca  = Certctl::PKI->ca('Scripted CA');
my ($old, $old_key) = $ca->issue(names => ['ok.example', 'a_b.example'], days => 20);
my ($text, $text_key) = $ca->issue(cn => 'My Service', names => ['svc.example', '192.0.2.1'], days => 20);
my ($odd, $odd_key) = $ca->issue(cn => "a\x{202e}b", names => ['odd.example'], days => 20);
my ($suffix, $suffix_key) = $ca->issue(names => ['co.uk'], days => 20);

my $s = Certctl::Story->new(points => 1, names => ['shop.example', $idn, 'ca.example'],
    config => "renewal_interval = 1\ninventory_interval = 1\nmax_issuances_per_day = 1000\n",
    register => 0);

for (['ok.example', $old, $old_key], ['co.uk', $suffix, $suffix_key],
    ['svc.example', $text, $text_key], ['odd.example', $odd, $odd_key])
{
    $s->nginx->file("$_->[0].crt", $_->[1]);
    $s->nginx->file("$_->[0].key", $_->[2]);
    $s->{servers} .= <<"CONF";
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name $_->[0];
        certctl on;
        ssl_certificate %%DIR%%/$_->[0].crt;
        ssl_certificate_key %%DIR%%/$_->[0].key;
    }
CONF
}

$s->configure;
ok $s->nginx->reload, 'servers have certificates from elsewhere';
$s->{agent} = $s->register;

my $d = $s->daemon;
my $api = $s->api;
my $v1 = '/api/v1';

mkdir $dir or die "$dir: $!";
write_file("$dir/ca.pem", $ca->cert);
write_file("$dir/ca.key", $ca->key);

ordered();
international();
issued();
adopted();

is $s->stop, 0, 'the daemon ends well';
done_testing();

# A rule that is younger than the certificate ends its renewals, and says so.
sub ordered {
    $s->post('profiles', { id => 'prof-shop', name => 'Shop', required_san_patterns => ['shop\.example'] });
    my $id = $s->certificate('shop.example', certificate_profile_id => 'prof-shop');

    $s->renew($id);
    my $was = $s->deployed($id);
    $s->need($api->patch("$v1/profiles/prof-shop", { required_san_patterns => ['.*\.example\.com'] }));

    refused($api->post("$v1/certificates/$id/renew"), 422,
        qr/^$id: shop\.example matches none of required_san_patterns of profile prof-shop$/, 'Renew Now is refused at once');
    fails_by_itself($id, qr/^shop\.example matches none of required_san_patterns of profile prof-shop/);
    is scalar($s->versions($id)), 1, 'nothing was issued';

    $s->need($api->patch("$v1/profiles/prof-shop", { required_san_patterns => [], allowed_ekus => ['clientAuth'] }));
    refused($api->post("$v1/certificates/$id/renew"), 422, qr/does not allow the extended key usage serverAuth/, 'usages');
    fails_by_itself($id, qr/does not allow the extended key usage serverAuth/);

    $s->need($api->patch("$v1/profiles/prof-shop", { allowed_ekus => ['serverAuth'] }));
    $s->renew($id);
    $s->deployed($id, after => $was->{last_deployment_at});
    is scalar($s->versions($id)), 2, 'without the rules it is issued';
    return;
}

sub fails_by_itself {
    my ($id, $why) = @_;
    my $n = @{ $s->get("certificates/$id/renewals")->{data} };

    sql($d, "UPDATE managed_certificates SET renew_at = now(), next_retry_at = NULL WHERE id = '$id'");
    ok wait_until(20, sub { return $s->get("certificates/$id")->{consecutive_failures} > 0
            && @{ $s->get("certificates/$id/renewals")->{data} } > $n && !@{ $s->open_jobs($id) } }), 'the attempt has failed';
    like $s->get("certificates/$id/renewals")->{data}[0]{error}, $why, 'with the rule';
    sql($d, "UPDATE managed_certificates SET consecutive_failures = 0, next_retry_at = 'infinity' WHERE id = '$id'");
    return;
}

sub international {
    my $target = $s->post('targets', { name => 'books', agent_id => $s->agent, config => { record => $idn } })->{id};
    my $id = $s->post('certificates', { common_name => 'Bücher.example', issuer_id => 'iss-local',
        sans => ['BÜCHER.example.', '2001:DB8:0::1'], target_ids => [$target] })->{id};

    $s->renew($id);
    $s->deployed($id);
    is $s->shown($idn)->{fingerprint}, ($s->versions($id))[0]{fingerprint_sha256}, 'served under its A-label';
    is join(' ', Certctl::PKI::san_names(($s->versions($id))[0]{pem_chain})), "DNS:$idn,IP:2001:DB8:0:0:0:0:0:1",
        'with each name once';
    return;
}

# The CA gives something else than was ordered.
sub issued {
    my @cases = (
        ['usages', {}, qr/is for the extended key usage clientAuth, which profile prof-ca does not allow/],
        ['any', {}, qr/is for the extended key usage anyExtendedKeyUsage, which profile prof-ca does not allow/],
        ['longer', {}, qr/is valid for 172800 seconds: profile prof-ca allows 86400/],
        ['plain', { must_staple => JSON::PP::true }, qr/lacks the feature status_request \(RFC 7633\), which profile prof-ca asks for/],
    );

    $s->post('profiles', { id => 'prof-ca', name => 'CA', max_ttl_seconds => 86400 });
    $s->post('issuers', { id => 'iss-ca', name => 'CA', type => 'scripted', config => { dir => $dir, script => 'order issue' } });
    my $id = $s->certificate('ca.example', issuer_id => 'iss-ca', certificate_profile_id => 'prof-ca');

    for my $case (@cases) {
        my ($file, $change, $why) = @$case;

        $s->need($api->patch("$v1/profiles/prof-ca", $change)) if %$change;
        write_file("$dir/$file", '');
        my $job = $s->renew($id)->{job_id};
        ok wait_until(30, sub { return $s->get("jobs/$job")->{status} eq 'Failed' }), "$file: the job has failed";
        like $s->get("jobs/$job")->{last_error}, $why, "$file: the reason";
        is $s->get("jobs/$job")->{attempts}, 1, "$file: it is not tried again";
        unlink "$dir/$file";
    }

    is scalar($s->versions($id)), 0, 'none of them became a version';
    $s->renew($id);
    $s->deployed($id);
    is scalar($s->versions($id)), 1, 'what keeps the profile does';

    $s->need($api->patch("$v1/profiles/prof-ca", { allowed_ekus => ['serverAuth', 'clientAuth'] }));
    write_file("$dir/usages", '');
    my $before = $s->get("certificates/$id")->{last_deployment_at};
    $s->renew($id);
    $s->deployed($id, after => $before);
    is scalar($s->versions($id)), 2, 'both usages, where the profile allows both';
    return;
}

sub adopted {
    my %why = (
        'ok.example' => qr/could not be renewed: a_b\.example: a DNS name may hold letters, digits/,
        'co.uk'      => qr/could not be renewed: co\.uk is a public suffix/,
    );

    for my $name (sort keys %why) {
        my $found;
        ok wait_until(30, sub { ($found) = grep { ($_->{sans}[0] // '') eq $name || $_->{common_name} eq $name }
            @{ $s->get('discovered-certificates?per_page=100')->{data} }; return $found }), "$name is found on the host";
        refused($api->post("$v1/discovered-certificates/$found->{id}/claim"), 422, $why{$name}, "$name is not adopted");
        is $s->get("discovered-certificates/$found->{id}")->{status}, 'Unmanaged', 'and stays as it was';
    }

    is sql($d, q{SELECT count(*) FROM managed_certificates WHERE source = 'Discovery'}), 0, 'no certificate was made';

    # a commonName that is a text for people
    my ($found) = grep { $_->{common_name} eq 'My Service' } @{ $s->get('discovered-certificates?per_page=100')->{data} };
    my ($odd) = grep { ($_->{sans}[0] // '') eq 'odd.example' } @{ $s->get('discovered-certificates?per_page=100')->{data} };
    is $odd->{common_name}, "a\x{202e}b", 'a commonName with a direction mark';
    is $s->get('certificates/' . $s->post("discovered-certificates/$odd->{id}/claim")->{managed_certificate_id})->{name},
        'odd.example', 'is nobody\'s name';
    my $id = $s->post("discovered-certificates/$found->{id}/claim")->{managed_certificate_id};
    my $crt = $s->get("certificates/$id");
    is "$crt->{name}: $crt->{common_name}, @{ $crt->{sans} }", 'My Service: svc.example, svc.example 192.0.2.1',
        'it is adopted with the names that clients read';
    $s->renew($id);
    $s->deployed($id);
    is join(' ', Certctl::PKI::san_names(($s->versions($id))[0]{pem_chain})), 'DNS:svc.example,IP:192.0.2.1', 'and renewed';
    return;
}
