#!/usr/bin/perl
# Strangers learn what was revoked at once: CRL, OCSP by POST and GET, and the
# CA's certificate, over plain HTTP, as OpenSSL and GnuTLS read them.

use strict;
use warnings;
no warnings 'portable';         # a CRL number has more than 32 bits
use Test::More;
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::PKI 'der_to_pem';
use Certctl::Process qw(slurp write_file wait_until);
use MIME::Base64 'encode_base64';
use POSIX ();

my $daemon = Certctl::Daemon->start;
my $port   = $daemon->pki_port;
my $http   = Certctl::HTTP->new(scheme => 'http', port => $port);
my $dir    = $daemon->dir;
my $base   = '/.well-known/pki';
my $number;                 # of the CRL that was seen last
my $gnutls = grep { -x "$_/ocsptool" } split /:/, $ENV{PATH};

# A CA from files, so that this test can issue what the daemon answers for.
my $root = Certctl::PKI->ca('PKI Root');
my $ca   = $root->sub_ca('PKI CA');
my %serial = (good => 0x41000001, bad => 0x41000002, late => 0x41000003);

write_file("$dir/root.pem", $root->cert);
write_file("$dir/ca.pem", $ca->cert);
write_file("$dir/ca.key", $ca->key);
write_file("$dir/chain.pem", $ca->cert . $root->cert);

for my $name (sort keys %serial) {
    my ($cert) = $ca->issue(names => ["$name.example"], serial => $serial{$name});
    write_file("$dir/$name.pem", $cert);
}

own_ca();
prepare();
not_for_strangers();

first_crl();
ocsp_answers();
ocsp_by_get();
ocsp_refusals();

revoked_at_once();
late_commit();
changed();
together();
future();
after_kill();
disabled();

done_testing();

sub run {
    my (@command) = @_;

    open my $pipe, '-|', join(' ', map { s/'/'\\''/gr =~ s/.*/'$&'/sr } @command)
        . ' 2>&1' or die "$command[0]: $!";
    local $/;
    return scalar <$pipe> // '';
}

sub openssl { return run('openssl', @_) }

sub psql_command {
    return ('psql', '-qAt', '-v', 'ON_ERROR_STOP=1', '-h',
        $daemon->data . '/postgresql', '-U', 'certctl', 'postgres');
}

sub psql {
    my ($sql) = @_;
    my $said = run(psql_command(), '-c', $sql);

    $said =~ s/\s+$//;
    return $said;
}

# The CRL as the plain listener gives it now.
sub crl {
    my ($issuer) = @_;
    my $r = $http->get("$base/crl/$issuer");

    write_file("$dir/$issuer.crl", $r->{content});
    $r->{text} = openssl('crl', '-inform', 'DER', '-in', "$dir/$issuer.crl",
        '-noout', '-text', '-CAfile', "$dir/ca.pem");
    ($r->{number}) = $r->{text} =~ /CRL Number:\s+(\w+)/;
    $r->{number} = hex $1 if ($r->{number} // '') =~ /^0x(\w+)/i;
    return $r;
}

# RFC 5280 5.2.3: higher than that of every CRL before.
sub next_number {
    my ($crl, $what) = @_;

    cmp_ok($crl->{number}, '>', $number, $what);
    $number = $crl->{number};
    return;
}

sub entries { return join "\n", $_[0]{text} =~ /Serial Number: (\w+)/g }

sub ocsp {
    my ($name, @more) = @_;

    return openssl('ocsp', '-url', "http://127.0.0.1:$port$base/ocsp/iss-sub",
        '-issuer', "$dir/ca.pem", '-CAfile', "$dir/root.pem", '-cert',
        "$dir/$name.pem", @more);
}

# What OpenSSL sees in a DER response.
sub response {
    my ($der) = @_;

    write_file("$dir/response.der", $der);
    return openssl('ocsp', '-respin', "$dir/response.der", '-resp_text',
        '-issuer', "$dir/ca.pem", '-CAfile', "$dir/root.pem");
}

sub own_ca {
    my $r = $http->get("$base/ca/iss-local");

    is($r->{status}, 200, 'certificate of the local CA');
    is($r->{headers}{'content-type'}, 'application/pkix-cert', 'its type');
    write_file("$dir/local.pem", der_to_pem($r->{content}, 'CERTIFICATE'));
    like(openssl('x509', '-in', "$dir/local.pem", '-noout', '-text'),
        qr/CA:TRUE.*Certificate Sign, CRL Sign/s, 'a CA');

    $r = $http->get("$base/crl/iss-local");
    is($r->{headers}{'content-type'}, 'application/pkix-crl', 'CRL of the local CA');
    write_file("$dir/local.crl", $r->{content});
    like(openssl('crl', '-inform', 'DER', '-in', "$dir/local.crl", '-CAfile',
        "$dir/local.pem", '-noout'), qr/verify OK/, 'signed by it');
    is(Certctl::HTTP->new(port => $daemon->port, ca => $daemon->ca)
        ->get("$base/crl/iss-local")->{content}, $r->{content},
        'the API listener answers the same, without a key');
    return;
}

# An issuer through the API; certificates as if it had issued them.
sub prepare {
    my $r = $daemon->api->post('/api/v1/issuers', { id => 'iss-sub',
        name => 'Sub CA', type => 'local', config => {
            ca_cert_path => "$dir/ca.pem", ca_key_path => "$dir/ca.key" } });

    is($r->{status}, 201, 'an issuer with a CA from files') or diag $r->{content};

    for my $name (qw(good bad)) {
        $r = $daemon->api->post('/api/v1/certificates', { id => "mc-$name",
            name => $name, common_name => "$name.example",
            issuer_id => 'iss-sub' });
        is($r->{status}, 201, "certificate $name") or diag $r->{content};
        version($name, "mc-$name");
    }

    version('late', 'mc-good');
    return;
}

sub version {
    my ($name, $id) = @_;
    my $hex = sprintf '%x', $serial{$name};

    is(psql("INSERT INTO certificate_versions (certificate_id, issuer_id,
        serial_number, not_before, not_after, fingerprint_sha256, spki_sha256,
        pem_chain) VALUES ('$id', 'iss-sub', '$hex', now(), now() + '90 days',
        '$name', '', '')"), '', "version $hex");
    return;
}

sub not_for_strangers {
    for my $path ("$base/crl/iss-none", "$base/ca/iss-none",
        "$base/ocsp/iss-none/41") {
        my $r = $http->get($path);
        is($r->{status}, 404, "no issuer: $path");
        like($r->{json}{message} // '', qr/issuer "iss-none" not found/, 'and it says so');
    }

    is($http->get('/api/v1/issuers')->{status}, 404,
        'the plain listener has nothing but this');
    is($http->post("$base/crl/iss-sub", 'x')->{status}, 405, 'a CRL is not written');
    is($http->get("$base/crl/")->{status}, 404, 'no issuer named');
    return;
}

sub first_crl {
    my $r = crl('iss-sub');

    is($r->{status}, 200, 'a CRL');
    cmp_ok($r->{number}, '>', (time - 60) * 1000, 'its number is the time in milliseconds');
    $number = $r->{number};
    like($r->{text}, qr/verify OK/, 'signed by the CA');
    like($r->{text}, qr/No Revoked Certificates/, 'with nothing on it');
    like($r->{headers}{'last-modified'}, qr/^\w{3}, \d\d \w{3} \d{4} .* GMT$/,
        'Last-Modified');
    like($r->{headers}{'cache-control'}, qr/max-age=\d+/, 'Cache-Control');

    my $tag = $r->{headers}{etag};
    my $again = $http->request('GET', "$base/crl/iss-sub", undef,
        'If-None-Match' => $tag);
    is($again->{status}, 304, 'not modified');
    is($again->{content} // '', '', 'and so not sent');
    is($http->request('HEAD', "$base/crl/iss-sub")->{headers}{etag}, $tag, 'HEAD');
    is(crl('iss-sub')->{content}, $r->{content}, 'the same octets again');

    like(openssl('verify', '-x509_strict', '-crl_check', '-CAfile',
        "$dir/chain.pem", '-CRLfile', crl_pem(), "$dir/bad.pem"), qr/: OK$/,
        'nothing revoked yet');
    return;
}

sub crl_pem {
    my $pem = openssl('crl', '-inform', 'DER', '-in', "$dir/iss-sub.crl");

    return write_file("$dir/iss-sub-crl.pem", $pem) && "$dir/iss-sub-crl.pem";
}

sub ocsp_answers {
    for my $digest ('-sha1', '-sha256') {
        my $said = openssl('ocsp', '-url',
            "http://127.0.0.1:$port$base/ocsp/iss-sub", '-issuer', "$dir/ca.pem",
            '-CAfile', "$dir/root.pem", $digest, '-cert', "$dir/good.pem",
            $digest, '-serial', '0x4199');

        like($said, qr/Response verify OK/, "OpenSSL asks with $digest");
        unlike($said, qr/nonce/i, 'its nonce comes back');
        like($said, qr/good\.pem: good/, 'good');
        like($said, qr/0x4199: unknown/, 'what was never issued is unknown');
    }

    like(run('ocsptool', "--ask=http://127.0.0.1:$port$base/ocsp/iss-sub",
        '--load-issuer', "$dir/ca.pem", '--load-cert', "$dir/good.pem",
        '--load-trust', "$dir/chain.pem"), qr/Certificate Status: good/,
        'GnuTLS asks') if $gnutls;
    return;
}

# RFC 6960 A.1: base64 has "/", "+" and "=", and may come with or without escapes.
sub ocsp_by_get {
    openssl('ocsp', '-issuer', "$dir/ca.pem", '-serial',
        '0x41424344454647484950515253545556', '-no_nonce', '-reqout',
        "$dir/request.der");

    my $der = slurp("$dir/request.der");
    my $at  = index $der, pack('H*', '41424344454647484950515253545556');
    my $text;

    ok($at > 0, 'a request to change');
    do {
        substr($der, $at + 1, 15) = join '', map { chr int rand 256 } 1 .. 15;
        $text = encode_base64($der, '');
    } until $text =~ m{//} && $text =~ /\+/;

    for ([plain => $text], [escaped => $text =~ s{([/+=])}{sprintf '%%%02X', ord $1}ger],
        ['without padding' => $text =~ s/=+$//r]) {
        my ($form, $path) = @$_;
        my $r = $http->get("$base/ocsp/iss-sub/$path");

        is($r->{status}, 200, "GET, $form");
        is($r->{headers}{'content-type'}, 'application/ocsp-response', 'its type');
        like(response($r->{content}),
            qr/^(?=.*Cert Status: unknown)(?=.*verify OK)/s, 'answered');
    }

    my $hex = sprintf '%x', $serial{good};
    for my $form ($hex, uc $hex, "0$hex", "0000$hex") {
        my $r = $http->get("$base/ocsp/iss-sub/$form");

        like(response($r->{content}), qr/Serial Number: $hex\s+Cert Status: good/i,
            "GET by serial $form");
        like($r->{headers}{'cache-control'},
            qr/max-age=\d+, public, no-transform, must-revalidate/, 'to be kept');
        like($r->{headers}{expires}, qr/GMT$/, 'until nextUpdate');
        like($r->{headers}{etag}, qr/^"/, 'with a tag');
    }

    is($http->get("$base/ocsp/iss-sub/" . '7' x 41)->{status}, 400,
        'a serial that is too long');
    return;
}

sub ocsp_refusals {
    my %type = ('Content-Type' => 'application/ocsp-request');
    my $ask = sub {
        return $http->request('POST', "$base/ocsp/iss-sub", $_[0], %type);
    };

    is($http->request('POST', "$base/ocsp/iss-sub", 'x',
        'Content-Type' => 'text/plain')->{status}, 415, 'another type of body');

    for (['garbage', 'garbage'], ['nothing', ''], ['17 KiB', 'x' x 17408]) {
        my $r = $ask->($_->[1]);

        is($r->{status}, 200, "$_->[0] is answered");
        is($r->{content}, pack('H*', '30030a0101'), 'malformedRequest');
        is($r->{headers}{'cache-control'}, 'no-store', 'not to be kept');
    }

    is($http->get("$base/ocsp/iss-sub/$_")->{content}, pack('H*', '30030a0101'),
        "GET $_: malformedRequest") for 'MA', 'M', 'M===', '!!!!', 'MAAA=MAAA';

    openssl('ocsp', '-issuer', "$dir/root.pem", '-serial', '0x41', '-reqout',
        "$dir/foreign.der");
    is($ask->(slurp("$dir/foreign.der"))->{content}, pack('H*', '30030a0106'),
        "another CA's: unauthorized");
    return;
}

sub revoked_at_once {
    my $hex = sprintf '%X', $serial{bad};

    like(ocsp('bad'), qr/bad\.pem: good/, 'good before');

    my $r = $daemon->api->post('/api/v1/certificates/mc-bad/revoke',
        { reason => 'keyCompromise' });
    like($r->{status}, qr/^20[02]$/, 'revoked by the API') or diag $r->{content};

    like(ocsp('bad'), qr/^(?=.*verify OK).*bad\.pem: revoked.*Reason: keyCompromise/s,
        'OCSP says so');

    my $crl = crl('iss-sub');
    next_number($crl, 'the next CRL');
    like($crl->{text}, qr/^(?=.*verify OK).*Serial Number: $hex\s.*Key Compromise/s,
        'names it');
    like(openssl('verify', '-crl_check', '-CAfile', "$dir/chain.pem", '-CRLfile',
        crl_pem(), "$dir/bad.pem"), qr/certificate revoked/, 'OpenSSL refuses it');
    like(openssl('verify', '-crl_check', '-CAfile', "$dir/chain.pem", '-CRLfile',
        crl_pem(), "$dir/good.pem"), qr/: OK$/, 'and no other');
    is(crl('iss-sub')->{number}, $number, 'made once');
    return;
}

# A revocation that began before the CRL was made and is committed after it.
sub late_commit {
    my $hex = sprintf '%x', $serial{late};
    my $pid = open my $session, '|-', psql_command() or die "psql: $!";

    $session->autoflush(1);
    print {$session} "BEGIN; INSERT INTO certificate_revocations (certificate_id,
        issuer_id, serial_number, reason, reason_code, not_after, revoked_by)
        VALUES ('mc-good', 'iss-sub', '$hex', 'superseded', 4,
        now() + '90 days', 'test');\n";
    ok(wait_until(10, sub {
        return psql("SELECT count(*) FROM pg_stat_activity
            WHERE state = 'idle in transaction'
              AND query LIKE 'INSERT INTO certificate_revocations%'") eq '1';
    }), 'a revocation is under way');

    psql("UPDATE crls SET generated_at = now() - interval '1 day'");
    next_number(crl('iss-sub'), 'a CRL that is too old is made anew');
    like(ocsp('late'), qr/late\.pem: good/, 'nobody sees it yet');

    print {$session} "COMMIT;\n";
    close $session or die "psql: $?";
    like(ocsp('late'), qr/late\.pem: revoked/, 'now OCSP does');

    my $crl = crl('iss-sub');
    next_number($crl, 'and the CRL that was made meanwhile is not current');
    like($crl->{text}, qr/Serial Number: \U$hex\E\s.*Superseded/s, 'the next is');
    return;
}

# What else changes the list asks for the next CRL, what does not leaves it.
sub changed {
    psql("UPDATE certificate_revocations SET issuer_notified = true");
    is(crl('iss-sub')->{number}, $number, 'that the CA was told changes no CRL');

    psql("UPDATE certificate_revocations SET reason_code = 5 WHERE certificate_id = 'mc-good'");
    my $crl = crl('iss-sub');
    next_number($crl, 'another reason does');
    like($crl->{text}, qr/Cessation Of Operation/, 'and is in it');

    psql("DELETE FROM certificate_revocations WHERE certificate_id = 'mc-good'");
    next_number(crl('iss-sub'), 'an entry less too');
    is(psql('SELECT count(*) FROM crl_changes'), '0', 'no change is left');
    return;
}

# A clock that was wrong has made a CRL of next year: it is not served for a year.
sub future {
    psql("UPDATE crls SET generated_at = now() + interval '1 year', this_update = now() + interval '1 year',
        number = number + 31536000000");
    my $crl = crl('iss-sub');

    cmp_ok($crl->{number}, '>', $number + 31536000000, 'a CRL of the future: the next number is higher all the same');
    $number = $crl->{number};
    like($crl->{text}, qr/verify OK/, 'and it is signed');
    is(crl('iss-sub')->{number}, $number, 'made once');
    return;
}

# Many ask while one CRL is made: it is made once.
sub together {
    my @pipes;

    psql("UPDATE crls SET generated_at = now() - interval '1 day'");

    for (1 .. 8) {
        my $pid = open(my $pipe, '-|') // die "fork: $!";
        if (!$pid) {
            syswrite STDOUT, Certctl::HTTP->new(scheme => 'http', port => $port)
                ->get("$base/crl/iss-sub")->{content};
            POSIX::_exit(0);
        }
        binmode $pipe;
        push @pipes, $pipe;
    }

    my %seen = map { my $pipe = $_; local $/; (scalar <$pipe>, 1) } @pipes;

    is(scalar keys %seen, 1, 'eight at once get the same CRL');
    next_number(crl('iss-sub'), 'the next');
    is(crl('iss-sub')->{number}, $number, 'made once');
    return;
}

sub after_kill {
    my $before = entries(crl('iss-sub'));

    $daemon->kill9;
    $daemon->restart;
    my $crl = crl('iss-sub');
    next_number($crl, 'the next CRL after a start, which may be one after a restore');
    is(entries($crl), $before, 'with the same entries');
    is(crl('iss-sub')->{content}, $crl->{content}, 'made once');
    like(ocsp('bad'), qr/bad\.pem: revoked/, 'the same answer');
    return;
}

# What a CA has issued does not become good when it stops issuing.
sub disabled {
    my $r = $daemon->api->patch('/api/v1/issuers/iss-sub', { enabled => \0 });

    is($r->{status}, 200, 'the issuer is disabled') or diag $r->{content};
    like(ocsp('bad'), qr/bad\.pem: revoked/, 'OCSP goes on');
    is(crl('iss-sub')->{status}, 200, 'and the CRL');

    rename "$dir/ca.key", "$dir/ca.key.away" or die "rename: $!";
    psql("UPDATE issuers SET name = 'Sub CA without key' WHERE id = 'iss-sub'");
    $r = $http->get("$base/ca/iss-sub");
    is($r->{status}, 500, 'its key is gone');
    unlike($r->{content}, qr/\Q$dir\E/, 'a stranger does not learn where it was');
    like($daemon->log, qr/issuer=iss-sub.*ca\.key: No such file/, 'the log says it');
    return;
}
