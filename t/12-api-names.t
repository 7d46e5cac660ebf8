#!/usr/bin/perl
# Which names a certificate may have: other scripts, absolute names, rules of
# profiles and organizations, names that no host has, and who may choose them.

use strict;
use warnings;
use utf8;
use Certctl::API;
use JSON::PP ();
use Test::More;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $d   = api_daemon();
my $api = $d->api;
my $v1  = '/api/v1';
my $n   = 0;

binmode $_, ':utf8' for Test::More->builder->output, Test::More->builder->failure_output;

subtest 'a name has one spelling' => sub {
    my @same = (
        ['bücher.example',        'xn--bcher-kva.example'],
        ['*.BÜCHER.example',      '*.xn--bcher-kva.example'],
        ['straße.example',        'xn--strae-oqa.example'],          # IDNA2008 keeps it
        ['例え。テスト',            'xn--r8jz45g.xn--zckzah'],         # UTS 46: an ideographic full stop
        ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
        ['XN--LS8H.example',      'xn--ls8h.example'],               # registered, though IDNA2008 has no symbols
        ['shop.example.com.',     'shop.example.com'],
        ['*.shop.example.com.',   '*.shop.example.com'],
        ['2001:DB8:0:0::1',       '2001:db8::1'],
        ['192.0.2.1',             '192.0.2.1'],
    );

    for my $case (@same) {
        my ($sent, $stored) = @$case;

        is(created($api, "$v1/certificates", least($sent))->{common_name}, $stored, $sent);
        is_deeply(created($api, "$v1/certificates", least('x.example', sans => ['y.example', $sent]))->{sans},
            ['y.example', $stored], "$sent in sans");
    }

    is($api->get("$v1/certificates?common_name=$_")->{json}{total}, 2, "found as $_")
        for 'xn--bcher-kva.example', 'b%C3%BCcher.example', 'B%C3%9CCHER.example.';
    is($api->get("$v1/certificates?common_name=$_")->{json}{total}, 0, "$_ finds nothing") for 'a_b', '%20';

    # 100 names, when they are told apart as they are stored
    my @most = ((map { "a$_.example" } 1 .. 98), 'bücher.example', 'XN--BCHER-KVA.example');
    is($api->post("$v1/certificates", least('x.example', sans => \@most))->{status}, 201, 'one name, twice');
};

subtest 'what is no name' => sub {
    my @bad = (
        ['a_b.example',          qr/letters, digits/],
        ['_acme.example',        qr/letters, digits/],
        ['xn--a.example',        qr/RFC 5891/],
        ['xn--bcher-kv.example', qr/RFC 5891/],
        ['☃.example',            qr/RFC 5891/],                      # IDNA2008 has no symbols
        ["a\x{202e}b.example",   qr/RFC 5891|letters, digits/],
        ["\x{200f}.example",     qr/RFC 5891|1 to 63/],
        ['bücher..example',      qr/RFC 5891|1 to 63/],
        ['a..',                  qr/1 to 63/],
        ['.',                    qr/1 to 63/],
        ['..',                   qr/1 to 63/],
        ['*.',                   qr/two labels|1 to 63/],
        ['192.0.2.1.',           qr/neither a host name/],
        ['１９２.0.2.1',           qr/neither a host name/],             # digits of another script
        ["2001:db8::\x{ad}1",    qr/neither a host name/],
        ['*.192.0.2.1',          qr/neither a host name/],
        [('ü' x 60) . '.example', qr/RFC 5891|1 to 63/],
        [('a' x 64) . '.example', qr/1 to 63/],
        [join('.', ('a' x 49) x 6), qr/253|0 to|1 to 253/],
    );

    for my $case (@bad) {
        my ($name, $why) = @$case;

        refused_at($api->post("$v1/certificates", least($name)), '/common_name', $why, "\"$name\"");
        refused_at($api->post("$v1/certificates", least('x.example', sans => ['y.example', $name])), '/sans/1', $why,
            "\"$name\" in sans");
    }
};

subtest 'names that no host has' => sub {
    my %reserved = (
        'com' => 'public suffix', 'co.uk' => 'public suffix', '*.CO.uk' => 'public suffix',
        'xn--p1ai' => 'public suffix', '公司.cn' => 'public suffix', 'anything.ck' => 'public suffix', '*.github.io' => 'public suffix',
        '0.0.0.0' => 'unspecified', '::' => 'unspecified', '169.254.1.1' => 'link-local', 'fe80::1' => 'link-local',
        '::ffff:169.254.1.1' => 'link-local', '224.0.0.1' => 'multicast', 'ff02::1' => 'multicast',
        '255.255.255.255' => 'broadcast', '169.254.169.254' => 'cloud metadata',
    );

    created($api, "$v1/profiles", { id => 'prof-lab', name => 'Lab', allow_reserved_names => $true });

    for my $name (sort keys %reserved) {
        my $why = qr/ is (a )?$reserved{$name}: no host has it; only a profile with allow_reserved_names/;

        refused_at($api->post("$v1/certificates", least($name)), '/common_name', $why, $name);
        refused_at($api->post("$v1/certificates", least('x.example', sans => [$name])), '/sans/0', $why, "$name in sans");
        created($api, "$v1/certificates", least($name, certificate_profile_id => 'prof-lab'));
    }

    created($api, "$v1/certificates", least($_)) for 'localhost', 'intranet', '*.corp.internal', 'www.ck', 'me.github.io',
        'example.co.uk', '127.0.0.1', '::1', '10.0.0.1', 'fd12::1', '192.0.2.9';
};

subtest 'rules of a profile and of an organization' => sub {
    created($api, "$v1/profiles", { id => 'prof-shop', name => 'Shop',
        required_san_patterns => ['(.+\.)?shop\.example', 'xn--bcher-kva\.example'], denied_san_patterns => ['admin\..*'] });
    created($api, "$v1/organizations", { id => 'org-shop', name => 'Shop', allowed_san_patterns => ['.*\.example'],
        denied_san_patterns => ['.*\.internal\..*'] });

    my %shop = (certificate_profile_id => 'prof-shop', organization_id => 'org-shop');
    my $id = created($api, "$v1/certificates", least('A.Shop.example', %shop, sans => ['bücher.example']))->{id};

    my @bad = (
        ['shop.example.org', qr/^shop\.example\.org matches none of required_san_patterns of profile prof-shop$/],
        ['eshop.example', qr/none of required_san_patterns of profile prof-shop$/],
        ['Admin.shop.example', qr/^admin\.shop\.example matches "admin\\\.\.\*" of denied_san_patterns of profile prof-shop$/],
        ['a.internal.shop.example', qr/of denied_san_patterns of organization org-shop$/],
    );

    for my $case (@bad) {
        refused_at($api->post("$v1/certificates", least($case->[0], %shop)), '/common_name', $case->[1], $case->[0]);
        refused_at($api->patch("$v1/certificates/$id", { sans => ['b.shop.example', $case->[0]] }), '/sans/1', $case->[1],
            "$case->[0] by a change");
    }

    refused_at($api->post("$v1/certificates", least('shop.org', organization_id => 'org-shop')), '/common_name',
        qr/none of allowed_san_patterns of organization org-shop/, 'an organization alone');

    # hosts, but no wildcards
    created($api, "$v1/profiles", { id => 'prof-hosts', name => 'Hosts', required_san_patterns => ['.*\.host\.example'],
        denied_san_patterns => ['\*\..*'] });
    refused_at($api->post("$v1/certificates", least('*.host.example', certificate_profile_id => 'prof-hosts')), '/common_name',
        qr/^\*\.host\.example matches ".+" of denied_san_patterns of profile prof-hosts$/, 'a wildcard');
    created($api, "$v1/certificates", least('a.host.example', certificate_profile_id => 'prof-hosts'));

    # moved below a rule with the names that it has
    my $free = created($api, "$v1/certificates", least('free.example'))->{id};
    refused_at($api->patch("$v1/certificates/$free", { certificate_profile_id => 'prof-shop' }), '/common_name',
        qr/^free\.example matches none of/, 'another profile');
    created($api, "$v1/renewal-policies", { id => 'rp-shop', name => 'Shop', certificate_profile_id => 'prof-shop' });
    refused_at($api->patch("$v1/certificates/$free", { renewal_policy_id => 'rp-shop' }), '/common_name',
        qr/^free\.example matches none of/, 'a policy with a profile');

    # a later rule leaves alone what is not about names
    is($api->patch("$v1/profiles/prof-shop", { denied_san_patterns => ['a\..*'] })->{status}, 200, 'a stricter rule');
    my $was = $api->get("$v1/certificates/$id")->{json};
    is($api->put("$v1/certificates/$id", { %$was, environment => 'test' })->{status}, 200, 'an object as it was may be sent back');
    refused_at($api->patch("$v1/certificates/$id", { sans => [] }), '/common_name', qr/denied_san_patterns/, 'other names are judged');

    # a pattern that takes too long allows nothing and denies everything
    created($api, "$v1/profiles", { id => 'prof-slow', name => 'Slow', denied_san_patterns => ['(([a-z]+)+)+\.nowhere'] });
    my $slow = join '.', ('a' x 30) x 4, 'example';
    refused_at($api->post("$v1/certificates", least($slow, certificate_profile_id => 'prof-slow')), '/common_name',
        qr/of denied_san_patterns of profile prof-slow/, 'undecided');
    created($api, "$v1/profiles", { id => 'prof-slow2', name => 'Slow 2', required_san_patterns => ['(([a-z]+)+)+\.nowhere'] });
    refused_at($api->post("$v1/certificates", least($slow, certificate_profile_id => 'prof-slow2')), '/common_name',
        qr/none of required_san_patterns of profile prof-slow2/, 'undecided');
};

subtest 'patterns compile' => sub {
    my %fields = (profiles => ['required_san_patterns', 'denied_san_patterns'],
        organizations => ['allowed_san_patterns', 'denied_san_patterns']);

    for my $path (sort keys %fields) {
        for my $field (@{ $fields{$path} }) {
            refused_at($api->post("$v1/$path", { name => 'X', $field => ['.*', $_] }), "/$field/1",
                qr/^$field\[1\]: not a regular expression of PCRE2: .+, at character \d/, "$field $_")
                for '(', '[a', '*a', 'a{2,1}', '(?<n', '\\', '(?P=x)', '\C';
        }
    }
};

subtest 'the rest of a profile' => sub {
    created($api, "$v1/profiles", { id => 'prof-mail', name => 'Mail', allowed_ekus => ['emailProtection'] });
    created($api, "$v1/profiles", { id => 'prof-rsa', name => 'RSA', allowed_key_algorithms => [{ algorithm => 'RSA', min_size => 3072 }] });
    created($api, "$v1/profiles", { id => 'prof-off', name => 'Off', enabled => $false });

    my @bad = (
        ['prof-mail', {}, qr/profile prof-mail does not allow the extended key usage serverAuth/],
        ['prof-rsa', {}, qr/profile prof-rsa does not allow keys of type ec-p256/],
        ['prof-rsa', { key_type => 'rsa-2048' }, qr/profile prof-rsa does not allow keys of type rsa-2048/],
        ['prof-off', {}, qr/profile prof-off is disabled/],
    );
    my $id = created($api, "$v1/certificates", least('free.example'))->{id};

    for my $case (@bad) {
        my ($profile, $more, $why) = @$case;
        my %body = (certificate_profile_id => $profile, %$more);

        refused($api->post("$v1/certificates", least('x.example', %body)), 422, $why, "$profile, created");
        refused($api->patch("$v1/certificates/$id", \%body), 422, $why, "$profile, changed");
    }

    created($api, "$v1/certificates", least('x.example', certificate_profile_id => 'prof-rsa', key_type => 'rsa-3072'));
};

subtest 'names need the permission to issue' => sub {
    my $id = created($api, "$v1/certificates", least('a.example', sans => ['b.example']))->{id};
    my $editor = with_key('cert.read', 'cert.edit');
    my $c = "$v1/certificates/$id";

    refused($editor->patch($c, { common_name => 'c.example' }), 403, qr/needs the permission cert\.issue/, 'common_name');
    refused($editor->patch($c, { sans => [] }), 403, qr/needs the permission cert\.issue/, 'sans');
    refused($editor->put($c, { common_name => 'a.example', issuer_id => 'iss-local' }), 403, qr/cert\.issue/, 'PUT without the sans');
    is_deeply($api->get($c)->{json}{sans}, ['b.example'], 'nothing has changed');

    is($editor->patch($c, { environment => 'test', sans => ['b.example'] })->{status}, 200, 'the rest may be changed');
    is(with_key('cert.*')->patch($c, { sans => ['c.example'] })->{status}, 200, 'with both');
};

done_testing();

sub least {
    my ($name, %more) = @_;

    $n++;
    return { id => "mc-$n", common_name => $name, issuer_id => 'iss-local', %more };
}

sub with_key {
    my $made = created($api, "$v1/auth/keys", { name => 'key ' . ++$n, permissions => [@_] });

    return Certctl::HTTP->new(port => $d->port, ca => $d->ca, bearer => $made->{key});
}
