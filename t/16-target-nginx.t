#!/usr/bin/perl
# A target of type nginx is taken as others write it, replaced and deleted; what
# cannot be deployed to it is said when that is tried.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process 'wait_until';
use JSON::PP ();
use Test::More;

my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $ssl = '/etc/nginx/certs';

created($api, "$v1/agents", { id => 'ag-web-prod', name => 'web-prod', url => 'https://127.0.0.1:9', fingerprint => 'a' x 64 });

subtest 'type nginx in any letter case, with paths and reload command' => sub {
    for my $type (qw(nginx NGINX Nginx)) {
        my $made = created($api, "$v1/targets", { id => "tgt-$type", name => "API $type", type => $type, agent_id => 'ag-web-prod',
            config => { cert_path => "$ssl/$type.crt", key_path => "$ssl/$type.key", reload_command => 'systemctl reload nginx' },
            enabled => JSON::PP::true });

        is($made->{type}, 'nginx', "$type is nginx");
        is_deeply($made->{config}, { cert_path => "$ssl/$type.crt", key_path => "$ssl/$type.key",
            reload_command => 'systemctl reload nginx' }, 'the configuration is as it was sent');
    }
};

subtest 'PUT replaces the target' => sub {
    my $r = $api->put("$v1/targets/tgt-nginx", { name => 'API NGINX (updated)', type => 'nginx', agent_id => 'ag-web-prod',
        config => { cert_path => "$ssl/api.crt" }, enabled => JSON::PP::true });

    is($r->{status}, 200, 'with a part of its configuration') or diag($r->{content});
    is_deeply([@{ $r->{json} }{qw(name type enabled)}], ['API NGINX (updated)', 'nginx', JSON::PP::true], 'its fields');
    is($r->{json}{config}{cert_path}, "$ssl/api.crt", 'and its path');
    is_deeply($api->get("$v1/targets/tgt-nginx")->{json}, $r->{json}, 'which GET answers');
};

subtest 'DELETE answers 204' => sub {
    is($api->delete("$v1/targets/tgt-NGINX")->{status}, 204, 'deleted');
    is($api->get("$v1/targets/tgt-NGINX")->{status}, 404, 'it is gone');
};

subtest 'its configuration is tried when it is deployed to' => sub {
    created($api, "$v1/certificates", { id => 'mc-a', common_name => 'a.example.com', issuer_id => 'iss-local', target_ids => ['tgt-nginx'] });
    is($api->post("$v1/certificates/mc-a/renew", {})->{status}, 202, 'a renewal begins');
    ok(wait_until(60, sub { return ($api->get("$v1/certificates/mc-a/renewals")->{json}{data}[0]{status} // '') eq 'failed' }),
        'and fails');
    like($api->get("$v1/certificates/mc-a/renewals")->{json}{data}[0]{error}, qr/tgt-nginx.*nginx/, 'with the reason');
};

is($d->stop, 0, 'the daemon ends well');
done_testing();
