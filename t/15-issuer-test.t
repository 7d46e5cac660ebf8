#!/usr/bin/perl
# An issuer is tried on request: what was tried, the result and when are answered,
# stored and audited, and nothing is issued.

use strict;
use warnings;
use Certctl::API;
use Certctl::PKI;
use Certctl::Process qw(slurp temp_dir write_file);
use JSON::PP ();
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $dir = temp_dir();

subtest 'the local CA works' => sub {
    my $r = tried('iss-local', 'success');

    is($r->{message}, 'the issuer works', 'in words');
    is(join(', ', map { $_->{step} } @{ $r->{steps} }),
        'CA certificate, chain and key, sign a certificate, sign an OCSP response, chain and profiles', 'what was tried');
    is(sql($d, 'SELECT count(*) FROM certificate_versions'), 0, 'nothing was issued');
};

subtest 'a CA in files' => sub {
    my $ca = Certctl::PKI->ca('Files CA', days => 400);
    my $other = Certctl::PKI->ca('Other CA');

    write_file("$dir/ca.pem", $ca->cert);
    write_file("$dir/ca.key", $ca->key);
    created($api, "$v1/issuers", { id => 'iss-files', name => 'Files', type => 'local',
        config => { ca_cert_path => "$dir/ca.pem", ca_key_path => "$dir/ca.key", validity_days => 3650 } });

    my $r = tried('iss-files', 'success');
    like((grep { $_->{step} eq 'sign a certificate' } @{ $r->{steps} })[0]{detail},
        qr/^the CA, or one above it, ends in \d+ days: certificates end with it, before validity_days$/, 'it ends before its certificates');

    created($api, "$v1/profiles", { id => 'prof-long', name => 'Long', max_ttl_seconds => 316224000 });
    $r = tried('iss-files', 'success');
    like($r->{steps}[-1]{detail}, qr/^certificates end with the CA, in \d+ days, before these profiles allow: .*prof-long/,
        'and before a profile allows');

    write_file("$dir/ca.key", $other->key);
    $r = tried('iss-files', 'failed');
    like($r->{message}, qr{^\Q$dir\E/ca\.key: .*key}, 'a key of another CA');
    is(scalar @{ $r->{steps} }, 1, 'it ends with the first fault');
    ok(!$r->{steps}[0]{ok}, 'which is said');
    like($r->{steps}[0]{detail}, qr{ca\.key}, 'with the reason');

    unlink "$dir/ca.pem";
    like(tried('iss-files', 'failed')->{message}, qr{^\Q$dir\E/ca\.pem: No such file}, 'a file that is gone');

    write_file("$dir/ca.pem", $ca->cert);
    write_file("$dir/ca.key", $ca->key);
    $api->patch("$v1/issuers/iss-files", { enabled => JSON::PP::false });
    tried('iss-files', 'success');
};

subtest 'what cannot be tried' => sub {
    refused($api->post("$v1/issuers/iss-none/test"), 404, qr/^issuer "iss-none" not found$/, 'none');
    refused($api->post("$v1/issuers/iss-local/test", { x => 1 }), 422, qr/^x is an unknown field$/, 'an unknown field');

    my $reader = created($api, "$v1/auth/keys", { name => 'reader', permissions => ['issuer.read'] });
    my $own = Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $reader->{key});
    refused($own->post("$v1/issuers/iss-local/test", {}), 403, qr/issuer\.edit/, 'who may only read');
};

is($d->stop, 0, 'the daemon ends well');
done_testing();

sub tried {
    my ($id, $status) = @_;
    my $r = $api->post("$v1/issuers/$id/test");
    my $stored = $api->get("$v1/issuers/$id")->{json};
    my ($event) = @{ $api->get("$v1/audit?resource_id=$id&action=issuer_tested&per_page=1")->{json}{data} // [] };

    is($r->{status}, 200, "$id is tried") or return diag($r->{content});
    is($r->{json}{status}, $status, "$id: $status") or diag($r->{content});
    is_deeply([@$stored{qw(test_status last_tested_at)}], [$status, $r->{json}{tested_at}], 'which is stored');
    delete $event->{details}{request_id};
    is_deeply($event->{details}, { status => $status, message => $r->{json}{message} }, 'and audited');
    return $r->{json};
}
