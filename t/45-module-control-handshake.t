#!/usr/bin/perl
# A certificate is accepted exactly if clients that obey the RFCs can complete a
# handshake with it at the server that it is for, and with a warning if only some
# can. Who is right is decided by the same certificate in a server without certctl.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process 'write_file';
use Certctl::TLS 'handshake';

# protocols, and what else stands in the server
my %servers = (
    both     => ['TLSv1.2 TLSv1.3'],
    old      => ['TLSv1.2'],
    new      => ['TLSv1.3'],
    rsa      => ['TLSv1.2', 'ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256;'],
    rsa13    => ['TLSv1.2 TLSv1.3', 'ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256;'],
    ecdsa    => ['TLSv1.2', 'ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;'],
    level3   => ['TLSv1.2 TLSv1.3', 'ssl_ciphers HIGH:!aNULL:@SECLEVEL=3;'],
    schemes  => ['TLSv1.3', 'ssl_conf_command SignatureAlgorithms RSA-PSS+SHA256:ECDSA+SHA384;'],
    curve    => ['TLSv1.2 TLSv1.3', 'ssl_ecdh_curve prime256v1;'],
);
my %keys = map { $_ => new_key($_) }
    qw(ec-p256 ec-p384 ec-p521 rsa-2048 ed25519 ed448 rsa-pss);
my %usages = (
    sign    => ['digitalSignature'],
    encrypt => ['keyEncipherment'],
    agree   => ['keyAgreement'],
);

# clients that refuse a certificate whose key usage does not fit (GnuTLS)
my %clients = (
    '1.3' => 'NORMAL:-VERS-ALL:+VERS-TLS1.3',
    '1.2' => 'NORMAL:-VERS-ALL:+VERS-TLS1.2',
    'RSA' => 'NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA',
);

my $conf = '';
for my $name (sort keys %servers) {
    my ($protocols, $more) = @{ $servers{$name} };
    my $settings = "ssl_protocols $protocols; " . ($more // '');

    $conf .= <<"CONF";
    server {
        listen 127.0.0.1:%%PORT_$name%% ssl;
        server_name $name.example;
        $settings
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_stock_$name%% ssl;
        $settings
        ssl_certificate %%DIR%%/stock/\$ssl_server_name.pem;
        ssl_certificate_key %%DIR%%/stock/\$ssl_server_name.pem;
    }
CONF
}

my $edge = Certctl::Edge->new(conf => $conf);
my $dir  = $edge->dir;
mkdir "$dir/stock" or die "mkdir: $!";
chmod 0755, "$dir/stock";
$edge->start;

# Which kinds of clients get through.
sub connects {
    my ($port, $sni) = @_;
    my (%pipe, %can);

    for my $client (keys %clients) {
        open $pipe{$client}, '-|', "gnutls-cli --insecure --priority '$clients{$client}'"
            . " --sni-hostname $sni --port $port 127.0.0.1 < /dev/null 2>&1" or die "gnutls-cli: $!";
    }

    for my $client (keys %clients) {
        1 while readline $pipe{$client};
        $can{$client} = close $pipe{$client} ? 1 : 0;
    }

    # GnuTLS lets RSA key exchange use a key for agreement, RFC 5246 7.4.2 does not
    $can{RSA} = 0 if $sni =~ /agree/;
    return \%can;
}

sub put {
    my ($record, $body) = @_;
    return $edge->control->put("/certctl/v1/certificates/$record?keygen=server", $body,
        'content-type' => 'application/x-pem-file');
}

my %seen;

for my $server (sort keys %servers) {
    my ($protocols) = @{ $servers{$server} };
    my ($good, $good_key, $good_chain) = $edge->ca->issue(names => ["$server.example"],
        key => $server =~ /^rsa/ ? $keys{'rsa-2048'} : $keys{'ec-p384'});

    is put($server, $good_chain . $good_key)->{status}, 200, "$server: a certificate that fits" or next;

    for my $type (sort keys %keys) {
        for my $usage (sort keys %usages) {
            next if $usage eq 'agree' && $type !~ /256|2048/;
            my $what = "$server, $type, $usage";
            my ($crt, $key, $chain) = $edge->ca->issue(names => ["$server.example"],
                key => $keys{$type}, ku => $usages{$usage});
            my $stock = "$server-$type-$usage.example";
            my $file  = write_file("$dir/stock/$stock.pem", $chain . $key, 0644);
            my $can   = connects($edge->port("stock_$server"), $stock);
            my $live  = handshake($edge->port($server), sni => "$server.example")->{fingerprint};
            my $r     = put($server, $chain . $key);

            if (!grep { $_ } values %$can) {
                $seen{refused}++;
                is $r->{status}, 422, "$what: refused, as no client can connect" or diag $r->{content};
                like $r->{json}{error}, qr/RFC (8446|5246)/, "$what: by its rule";
                is handshake($edge->port($server), sni => "$server.example")->{fingerprint}, $live,
                    "$what: what was served is served";
                next;
            }

            is $r->{status}, 200, "$what: accepted, as clients can connect" or diag $r->{content};
            is handshake($edge->port($server), sni => "$server.example",
                $can->{'1.3'} || !$can->{'1.2'} ? () : (tls => '1.2'))->{fingerprint}, fingerprint($crt), "$what: live";

            is_deeply connects($edge->port($server), "$server.example"), $can,
                "$what: the same clients as without certctl";

            my @lost = grep { $protocols =~ /\Q$_\E/ && !$can->{$_} } '1.2', '1.3';

            is !!@{ $r->{json}{warnings} // [] }, !!@lost, "$what: a warning if clients are lost (@lost)"
                or diag explain $r->{json};
            $seen{ @lost ? 'warned' : 'clean' }++;
        }
    }
}

cmp_ok $seen{$_} // 0, '>', 5, "$_: $seen{$_}" for qw(refused warned clean);

subtest 'extended key usage' => sub {
    for my $eku ('serverAuth', 'anyExtendedKeyUsage', 'clientAuth', 'serverAuth,clientAuth',
        'emailProtection,codeSigning')
    {
        my ($crt, $key, $chain) = $edge->ca->issue(names => ['both.example'], eku => [],
            ext => [{ sn => 'extendedKeyUsage', data => $eku }]);
        my $r = put('both', $chain . $key);
        my $serves = $eku =~ /serverAuth|any/;

        is $r->{status}, $serves ? 200 : 422, $eku or diag $r->{content};
        like $r->{json}{error}, qr/RFC 5280 4\.2\.1\.12/, "$eku: the rule" if !$serves;
        is scalar(grep { /anyExtendedKeyUsage/ } @{ $r->{json}{warnings} // [] }),
            $eku eq 'anyExtendedKeyUsage' ? 1 : 0, "$eku: warnings";
    }
};

subtest 'a key that is too small' => sub {
    my ($crt, $key, $chain) = $edge->ca->issue(names => ['both.example'], key => 'rsa-1024');
    my $r = put('both', $chain . $key);

    is $r->{status}, 422, 'refused';
    like $r->{json}{error}, qr/2048 bits/, 'the rule';
};

subtest 'more than one server' => sub {
    my ($crt, $key, $chain) = $edge->ca->issue(names => ['both.example', 'rsa.example']);
    my $r = put('shared', $chain . $key);

    is $r->{status}, 200, 'accepted, as one server can use it' or diag $r->{content};
    is @{ $r->{json}{warnings} // [] }, 1, 'with a warning';
    like $r->{json}{warnings}[0] // '', qr/^no client can .*nginx\.conf:\d+ .*ECDSA, 256 bits/, 'that says which cannot';
    is $edge->control->delete('/certctl/v1/certificates/shared')->{status}, 200, 'deleted';

    ($crt, $key, $chain) = $edge->ca->issue(names => ['nowhere.example']);
    $r = put('nowhere', $chain . $key);
    is $r->{status}, 200, 'one that no server is for is accepted' or diag $r->{content};
};

subtest 'bulk' => sub {
    my ($ec, $ec_key, $ec_chain) = $edge->ca->issue(names => ['rsa.example']);
    my ($rsa, $rsa_key, $rsa_chain) = $edge->ca->issue(names => ['old.example'],
        key => $keys{'rsa-2048'}, ku => ['keyEncipherment']);
    my $r = $edge->control->post('/certctl/v1/certificates',
        "\@rsa keygen=server\n$ec_chain$ec_key\@old keygen=server\n$rsa_chain$rsa_key",
        'content-type' => 'application/x-certctl-bulk');
    my ($first, $second) = @{ $r->{json}{certificates} };

    is $first->{status}, 422, 'no client can connect: refused';
    like $first->{error}, qr/no client can/, 'by the rule';
    is $second->{status}, 200, 'some can: accepted';
    like $second->{warnings}[0] // '', qr/digitalSignature.*RFC 8446 4\.4\.2\.2/, 'with a warning';
};

$edge->stop;
done_testing();
