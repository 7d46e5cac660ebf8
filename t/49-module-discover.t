#!/usr/bin/perl
# Certificates in an operator's own files: every format is read, keys are only
# compared, and nothing outside of the allowed directories is looked at.

use strict;
use warnings;
use Test::More;
use Certctl::Edge;
use Certctl::PKI qw(fingerprint new_key pem_to_der);
use Certctl::Process qw(patience temp_dir slurp valgrind write_file);
use JSON::PP ();
use POSIX ();

my $top = temp_dir();
my $ca  = Certctl::PKI->ca('Root CA')->sub_ca('Test CA');

chmod 0755, $top;
mkdir "$top/$_" for qw(pki pki/deep other pki-more);

symlink '/', "$top/all" or die "$top/all: $!";

my $edge = Certctl::Edge->new(workers => 1, ca => $ca, conf => '',
    http => "certctl_discover $top/pki $top/gone $top/all //;");
my ($crt, $key, $chain) = $ca->issue(names => ['shop.example', 'IP:192.0.2.1']);
my @secrets = ($key);

$edge->start;
my $api = $edge->control;

sub ask { return $api->post('/certctl/v1/discover' . ($_[0] // '')) }

# The walk of the whole folder, or of one below it.
sub walk {
    my ($below) = @_;
    my $r = ask("?dir=$top/pki" . ($below // ''));

    is($r->{status}, 200, 'walked') or diag $r->{content};
    no_secrets($r->{content});
    return $r->{json};
}

# Neither PEM nor DER of a key, in no answer.
sub no_secrets {
    my ($text) = @_;
    my @seen = grep { index($text, $_) >= 0 } map { lines($_) } @secrets;

    is("@seen" . ($text =~ /PRIVATE/ ? 'PRIVATE' : ''), '', 'no byte of a key in it');
    return;
}

sub lines { return grep { length > 20 && !/^-/ } split /\n/, $_[0] }

sub file {
    my ($walk, $name) = @_;
    my ($file) = grep { $_->{path} eq "$top/pki/$name" } @{ $walk->{files} };
    return $file;
}

sub left {
    my ($walk, $name) = @_;
    my ($left) = grep { $_->{path} eq "$top/pki/$name" } @{ $walk->{left_out} };
    return $left && $left->{why};
}

sub put {
    my ($name, $text, $mode) = @_;
    return write_file("$top/pki/$name", $text, $mode // 0644);
}

# Nothing of an earlier subtest stays.
sub fresh {
    system 'rm', '-rf', "$top/pki";
    mkdir "$top/pki" or die $!;
    return;
}

sub pkcs12 {
    my ($pass, @options) = @_;
    my $in = write_file("$top/other/in.pem", $key . $chain);
    return Certctl::PKI::openssl('pkcs12', '-export', '-in', $in, '-passout', "pass:$pass",
        @options);
}

subtest 'where it may look' => sub {
    write_file("$top/other/shop.pem", $crt);
    symlink "$top/other", "$top/pki/way-out";

    for my $dir ("$top/other", $top, '/', '/etc', "$top/pki/../other", "$top/pki/%2e%2e/other",
        "$top/pki/way-out", "$top/all", "$top/pki-more", "$top/gone", "$top/gone/deeper", "$top/nowhere")
    {
        my $r = ask("?dir=$dir");
        is($r->{status}, 403, "$dir: refused");
        is($r->{json}{error}, 'dir is not inside a certctl_discover directory',
            "$dir: the rule, and not whether it exists");
    }

    for my $query ('', '?dir=pki', '?dir=', "?dir=$top/pki%00", "?dir=$top/pki&dir=$top/pki",
        "?directory=$top/pki", '?dir=/' . 'a' x 5000)
    {
        my $r = ask($query);
        like($r->{status}, qr/^(?:400|414)$/, substr($query, 0, 20) . ': refused');
    }

    is(ask("?dir=$top/pki/deep")->{status}, 200, 'below it');
    is(ask("?dir=$top/pki/")->{status}, 200, 'with a slash');
    is(ask("?dir=$top/pki/deep/../deep")->{status}, 200, 'what stays in it');
    is($api->get("/certctl/v1/discover?dir=$top/pki")->{status}, 405, 'GET is refused');
    is_deeply($api->get('/certctl/v1/status')->{json}{discover}, ["$top/pki", "$top/gone", "$top/all", "//"],
        'status lists the directories');
};

subtest 'formats' => sub {
    fresh();
    my ($rsa) = $ca->issue(names => ['rsa.example'], key => 'rsa-2048');

    put('one.pem', $crt);
    put('bundle.pem', "Bag Attributes: text\n$chain\nmore text\n");
    put('both.pem', $key . $chain);
    put('shop.der', pem_to_der($rsa));
    put('shop.crt', $crt =~ s/\n/\r\n/gr);
    put('open.p12', pkcs12(''));
    put('legacy.p12', pkcs12('', '-nomac', '-keypbe', 'NONE', '-certpbe', 'NONE'));
    put('closed.p12', pkcs12('secret'));
    put('slow.p12', pkcs12('', '-iter', 200000));
    put('slower.p12', pkcs12('', '-iter', 200000, '-nomaciter'));
    put('empty.pem', '');
    put('text.txt', "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    put('der.bin', "\x30\x82\xff\xff" . 'x' x 100);

    my $walk = walk();
    my %fingerprint = (map({ ($_, $crt) } qw(one.pem bundle.pem both.pem shop.crt open.p12
        legacy.p12)), 'shop.der' => $rsa);
    my %format = ('shop.der' => 'der', 'open.p12' => 'pkcs12', 'legacy.p12' => 'pkcs12');
    my %count = (map({ ($_, 1 + (() = $ca->chain =~ /BEGIN/g)) }
        qw(bundle.pem both.pem open.p12 legacy.p12)));

    for my $name (sort keys %fingerprint) {
        my $file = file($walk, $name) or do { fail("$name: found"); next };
        my @certs = @{ $file->{certificates} };
        my ($leaf) = grep { $_->{leaf} } @certs;

        is($file->{format}, $format{$name} // 'pem', "$name: format");
        is(scalar @certs, $count{$name} // 1, "$name: all certificates");
        is(scalar(grep { $_->{leaf} } @certs), 1, "$name: one leaf");
        is($leaf->{fingerprint}, fingerprint($fingerprint{$name}), "$name: the leaf");
        is($leaf->{pem}, $fingerprint{$name}, "$name: its PEM");
        is(join(',', map { $_->{index} } @certs), join(',', 0 .. $#certs), "$name: index");
    }

    my ($leaf) = @{ file($walk, 'one.pem')->{certificates} };
    is_deeply([sort @{ $leaf->{sans} }], ['DNS:shop.example', 'IP:192.0.2.1'], 'sans');
    is($leaf->{key_type}, 'ec-p256', 'key_type');
    is($leaf->{is_ca}, JSON::PP::false, 'is_ca');
    like($leaf->{$_}, qr/^\d{4}-\d\d-\d\dT/, $_) for qw(not_before not_after);
    like($leaf->{issuer}, qr/Test CA/, 'issuer');
    like($leaf->{subject}, qr/shop\.example/, 'subject');
    like($leaf->{serial}, qr/^[0-9a-f]+$/, 'serial');

    is(file($walk, 'closed.p12'), undef, 'a PKCS#12 with a password');
    is(left($walk, 'closed.p12'), 'encrypted', 'is told as encrypted');
    is(left($walk, $_), 'encrypted', "$_: too many iterations are not tried")
        for qw(slow.p12 slower.p12);
    like(left($walk, 'text.txt'), qr/PEM|DER/, 'a broken certificate is told');
    is($walk->{certificates_found}, 3 + 4 * $count{'both.pem'}, 'counted');
    is_deeply($walk->{limits}, [], 'no limit was met');
};

# A file may be encrypted in a thousand parts, and each take its time to open.
subtest 'a PKCS#12 that would take minutes' => sub {
    fresh();
    my $p12 = pkcs12('', qw(-keypbe NONE -certpbe AES-256-CBC -iter 100000));
    my ($version, $data) = Certctl::PKI::der_children($p12);
    my ($oid, $content) = Certctl::PKI::der_children($data);
    my ($octets) = Certctl::PKI::der_take(Certctl::PKI::der_children($content));
    my ($encrypted, @rest) = Certctl::PKI::der_children($octets);

    put('many.p12', Certctl::PKI::tlv(0x30, $version, Certctl::PKI::tlv(0x30, $oid, Certctl::PKI::tlv(0xa0,
        Certctl::PKI::tlv(0x04, Certctl::PKI::tlv(0x30, ($encrypted) x 500, @rest))))));
    put('one.pem', $crt);

    my $walk = walk();
    is(left($walk, 'many.p12'), 'encrypted', 'what is over is not opened');

    SKIP: {
        skip 'what is spent on one file is beneath valgrind more than a walk may take', 2
            if valgrind() && "@{ $walk->{limits} }" eq 'time';
        is(scalar @{ file($walk, 'one.pem')->{certificates} }, 1, 'the walk goes on');
        is_deeply($walk->{limits}, [], 'within its time');
    }
};

subtest 'keys: found, mismatch, unknown, none' => sub {
    fresh();
    my $other = new_key('ec-p256');
    my $locked = Certctl::PKI::openssl('pkcs8', '-topk8', '-in',
        write_file("$top/other/key.pem", $key), '-passout', 'pass:secret');
    my $old = Certctl::PKI::openssl('ec', '-in', "$top/other/key.pem", '-aes128', '-passout',
        'pass:secret');

    push @secrets, $other, $locked, $old;
    mkdir "$top/pki/$_" for qw(same stem acme far wrong locked old none der);
    put('same/a.pem', $crt . $key, 0640);
    put('stem/a.crt', $crt);
    put('stem/a.key', $key, 0600);
    put('stem/b.key', $other, 0600);
    put('acme/fullchain.pem', $chain);
    put('acme/privkey.pem', $key, 0644);
    put('far/a.crt', $crt);
    put('far/z.key', $key, 0640);
    put('wrong/a.crt', $crt);
    put('wrong/a.key', $other, 0640);
    put('locked/a.crt', $crt);
    put('locked/a.key', $locked, 0640);
    put('old/a.crt', $crt);
    put('old/a.key', $old, 0640);
    put('none/a.crt', $crt);
    put('der/a.crt', $crt);
    put('der/a.key', pem_to_der($key), 0640);
    # the workers' user may read them by their group
    chown 0, (POSIX::getgid() == 0 ? scalar getgrnam 'www-data' : -1),
        map { glob "$top/pki/$_/*" } qw(same stem far wrong locked old der) if $> == 0;
    chown scalar getpwnam('www-data'), -1, glob "$top/pki/stem/*.key" if $> == 0;

    my $walk = walk();
    my @rows = (
        ['same/a.pem', 'found', 'a.pem', '0640'],
        ['stem/a.crt', 'found', 'a.key', '0600'],
        ['acme/fullchain.pem', 'found', 'privkey.pem', '0644', 'private key is readable by others'],
        ['far/a.crt', 'found', 'z.key', '0640'],
        ['wrong/a.crt', 'mismatch', 'a.key', '0640'],
        ['locked/a.crt', 'unknown', 'a.key', '0640'],
        ['old/a.crt', 'unknown', 'a.key', '0640'],
        ['none/a.crt', 'none', undef, undef],
        ['der/a.crt', 'found', 'a.key', '0640'],
    );

    for my $row (@rows) {
        my ($name, $match, $where, $mode, @warnings) = @$row;
        my $leaf = file($walk, $name)->{certificates}[0];

        is_deeply($leaf->{key}, { match => $match, $where ? (file => $where, mode => $mode) : () },
            "$name: $match");
        is_deeply($leaf->{warnings}, \@warnings, "$name: warnings");
    }

    is_deeply([map { $_->{key}{match} } @{ file($walk, 'acme/fullchain.pem')->{certificates} }],
        ['found', 'none'], "the CA's key is not expected beside it");

    my $file = file($walk, 'same/a.pem');
    my @stat = stat "$top/pki/same/a.pem";
    is($file->{mode}, '0640', 'mode');
    is($file->{uid}, $stat[4], 'uid');
    is($file->{gid}, $stat[5], 'gid');
    is($file->{owner}, scalar getpwuid $stat[4], 'owner');
    is($file->{group}, scalar getgrgid $stat[5], 'group');
    is($file->{mtime}, POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $stat[9]), 'mtime');
};

subtest 'links, loops, FIFO, large, unreadable, deep' => sub {
    fresh();
    mkdir "$top/pki/$_" for qw(live archive);
    put('archive/cert1.pem', $crt);
    symlink '../archive/cert1.pem', "$top/pki/live/cert.pem";
    symlink "$top/other/shop.pem", "$top/pki/out.pem";
    symlink '/etc/passwd', "$top/pki/passwd";
    symlink 'nothing', "$top/pki/dangling";
    symlink 'self', "$top/pki/self";
    symlink '..', "$top/pki/live/up";
    symlink '/dev/zero', "$top/pki/zero";
    POSIX::mkfifo("$top/pki/fifo.key", 0666) or die $!;
    symlink 'fifo.key', "$top/pki/to-fifo";
    put('large.pem', $crt . ' ' x (1024 * 1024));
    put('whole.pem', $crt . ' ' x (1024 * 1024 - length $crt));
    put('secret.pem', $crt, 0000);
    mkdir "$top/pki/shut", 0000;

    my $deep = "$top/pki";
    for my $n (1 .. 20) {
        mkdir($deep .= "/$n") or die $!;
        write_file("$deep/cert.pem", $crt);
    }

    my $walk = walk();

    ok(file($walk, 'live/cert.pem'), 'a link that stays in the directory');
    is(left($walk, 'out.pem'), 'symbolic link to a target outside the allowed directory', 'one that leaves it');
    is(left($walk, 'passwd'), 'symbolic link to a target outside the allowed directory', 'to a system file');
    is(left($walk, 'zero'), 'symbolic link to a target outside the allowed directory', 'to a device');
    is(left($walk, 'dangling'), 'broken symbolic link', 'a dangling one');
    is(left($walk, 'self'), 'broken symbolic link', 'to itself');
    is(left($walk, 'live/up'), 'symbolic link to a directory', 'a loop');
    is(left($walk, 'fifo.key'), 'not a regular file', 'a FIFO');
    is(left($walk, 'to-fifo'), 'not a regular file', 'a link to a FIFO');
    is(left($walk, 'large.pem'), 'larger than 1 MiB', 'too large');
    ok(file($walk, 'whole.pem'), 'just 1 MiB');

    SKIP: {
        skip 'everything may be read by this user', 2 if $> == 0 && !getpwnam 'www-data';
        is(left($walk, 'secret.pem'), "not readable by the workers' user", 'unreadable');
        is(left($walk, 'shut'), "not readable by the workers' user", 'a shut folder');
    }

    my $sixteen = join '/', 1 .. 16;
    ok(file($walk, "$sixteen/cert.pem"), '16 levels');
    is(left($walk, "$sixteen/17"), 'more than 16 levels deep', 'and no more');
    is_deeply($walk->{limits}, ['depth'], 'which is told');
    chmod 0700, "$top/pki/shut";
};

subtest '1,000 files, then more than 10,000' => sub {
    fresh();
    # what a walk has ten seconds for
    my $many = valgrind() ? 1000 / patience() : 1000;
    put("$_.pem", $crt) for 1 .. $many;

    my $walk = walk();
    is($walk->{files_seen}, $many, 'all are seen');
    is(scalar @{ $walk->{files} }, $many, 'and found');
    is_deeply($walk->{limits}, [], 'within the limits');

    write_file("$top/pki/x$_", '') for 1 .. 10000;
    $walk = walk();
    cmp_ok($walk->{files_seen}, '<=', 10000, 'no more than 10,000 files');
    like("@{ $walk->{limits} }", qr/^(?:files|time)$/, 'and what was met');
};

subtest 'one certificate too many' => sub {
    fresh();
    put("$_.pem", $crt x 1000) for 1 .. 21;

    my $walk = walk();
    my $n = 0;
    $n += @{ $_->{certificates} } for @{ $walk->{files} };

    cmp_ok($n, '<=', 20000, 'no more than 20,000');
    is($walk->{certificates_found}, $n, 'as many as it says');
    like("@{ $walk->{limits} }", qr/certificates|time/, 'and that it stopped');
};

subtest 'nothing in the log' => sub {
    my $log = $edge->log;

    no_secrets($log);
    unlike($log, qr/\[(?:alert|emerg|crit|error)\]/, 'and no error');
};

$edge->stop;

subtest 'without the directive' => sub {
    my $none = Certctl::Edge->new(workers => 1, ca => $ca, conf => '');
    $none->start;

    my $r = $none->control->post("/certctl/v1/discover?dir=$top/pki");
    is($r->{status}, 403, 'nothing is allowed');
    is_deeply($none->control->get('/certctl/v1/status')->{json}{discover}, [], 'status says so');
    $none->stop;
};

done_testing();
