#!/usr/bin/perl
# What a report proves: which generation each worker goes by, what is live and
# for how long, what the disk has instead, what needs somebody; compact, by name
# and in pages, and the same as Prometheus reads it.

use strict;
use warnings;
use Test::More;
use Time::HiRes 'time';
use Certctl::Edge;
use Certctl::PKI 'fingerprint';
use Certctl::Process qw(clients wait_until write_file);
use Certctl::TLS 'handshake';

# a file's name may have bytes that are no UTF-8
my $edge = Certctl::Edge->new(workers => 2, conf => <<'CONF' =~ s/LATE/late\xff/r);
    server {
        listen 127.0.0.1:%%PORT_1%% ssl;
        server_name a.example b.example *.wild.example;
        certctl on;
    }
    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name static.example;
        certctl on;
        ssl_certificate '%%DIR%%/sta"tic.pem';
        ssl_certificate_key %%DIR%%/static.key;
    }
    server {
        listen 127.0.0.1:%%PORT_3%% ssl;
        server_name late.example;
        certctl on;
        ssl_certificate "%%DIR%%/LATE.pem";
        ssl_certificate_key %%DIR%%/late.key;
    }
CONF

my ($static, $static_key, $static_chain) = $edge->ca->issue(names => ['static.example']);
my ($late, $late_key, $late_chain) = $edge->ca->issue(names => ['late.example'],
    days => -1);

$edge->file('sta"tic.pem', $static_chain);
$edge->file('static.key', $static_key);
$edge->file("late\xff.pem", $late_chain);
$edge->file('late.key', $late_key);
$edge->start;

my $api = $edge->control;
my $url = '/certctl/v1';

sub report { return $api->get("$url/certificates" . ($_[0] // '')) }
sub all { my ($r) = @_; return (@{ $r->{json}{certificates} }, @{ $r->{json}{unserved} }) }
sub names { return join ' ', map { $_->{name} // $_->{file} =~ s{.*/}{}r } all($_[0]) }
sub metrics { return $api->get("$url/metrics") }

my %crt = map { ($_, scalar $edge->give($_, names => [$_])) }
    qw(a.example b.example *.wild.example z.example m.example);

subtest 'all workers at one generation' => sub {
    my $s = wait_until(20, sub {
        my $status = $api->get("$url/status")->{json};
        return $status->{all_at_generation} ? $status : undef;
    });

    ok($s, 'all_at_generation, without a handshake');
    is(scalar @{ $s->{worker_states} }, 2, 'two workers');
    is(join(' ', sort map { $_->{pid} } @{ $s->{worker_states} }), join(' ', sort $edge->workers),
        'their process ids');
    is($_->{generation}, $s->{generation}, 'the generation of the store') for @{ $s->{worker_states} };
    like($_->{last_active}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'last active')
        for @{ $s->{worker_states} };

    # a worker that is stuck: the other one, which has our connection, tells (a new
    # one would wait for whom the kernel wakes)
    my $port = $api->port;
    my ($stuck) = grep { !clients($_)->{$port} } $edge->workers;
    kill 'STOP', $stuck;
    $edge->give('m.example', names => ['m.example']);
    ok(wait_until(20, sub {
        return $edge->control->get("$url/metrics")->{content} =~ /^certctl_workers_at_generation 1$/m;
    }), 'metrics: one of two');
    $s = $edge->control->get("$url/status")->{json};
    my ($state) = grep { $_->{pid} == $stuck } @{ $s->{worker_states} };
    ok(!$s->{all_at_generation}, 'status: not all');
    cmp_ok($state->{generation}, '<', $s->{generation}, 'whose generation is an older one');

    kill 'CONT', $stuck;
    ok(wait_until(20, sub { $edge->control->get("$url/status")->{json}{all_at_generation} }), 'it follows');
};

subtest 'compact' => sub {
    my $full    = report();
    my $compact = report('?form=compact');

    is($compact->{status}, 200, 'answered');
    is(names($compact), names($full), 'the same certificates in the same order');
    is(join(' ', map { $_->{fingerprint} } all($compact)),
        join(' ', map { $_->{fingerprint} } all($full)), 'the same fingerprints');
    is(join(' ', map { $_->{not_after} } all($compact)),
        join(' ', map { $_->{not_after} } all($full)), 'the same times');
    is(join(' ', map { $_->{staple} } all($compact)),
        join(' ', map { $_->{staple}{state} } all($full)), 'the same staples');
    is(join(' ', map { $_->{staple_next_update} // '' } all($compact)),
        join(' ', map { $_->{staple}{next_update_seconds} // '' } all($full)), 'until the same times');
    is(join(' ', map { $_->{line} // '' } all($compact)),
        join(' ', map { $_->{server}{line} // '' } all($full)), 'of the same servers');

    my ($a) = grep { ($_->{name} // '') eq 'a.example' } all($compact);
    is(join(' ', sort keys %$a), 'fingerprint line name not_after source staple', 'no more than that');

    my $new = $edge->give('a.example', names => ['a.example']);
    ($a) = grep { ($_->{name} // '') eq 'a.example' } all(report('?form=compact'));
    is($a->{fingerprint}, fingerprint($new), 'a swap is seen at once');

    $api->delete("$url/certificates/m.example");
    unlike(names(report('?form=compact')), qr/m\.example/, 'and a deletion');

    is($api->get("$url/certificates?form=compact", undef, 'if-none-match' =>
        report('?form=compact')->{headers}{etag})->{status}, 304, 'ETag');
};

# The servers are the default ones of their addresses: each has an answer for any name.
subtest 'by name' => sub {
    for my $form (qw(full compact)) {
        is(names(report("?form=$form&name=b.example")), "b.example b.example b.example", "$form: a record");
        is(names(report("?form=$form&name=x.wild.example")), '*.wild.example *.wild.example *.wild.example',
            "$form: below a wildcard");
        is(names(report("?form=$form&name=static.example")), "a.example sta\"tic.pem late\x{fffd}.pem", "$form: a file");
        is(names(report("?form=$form&name=nobody.example")), "a.example sta\"tic.pem late\x{fffd}.pem",
            "$form: what the default servers give");
        is(names(report("?form=$form&name=_agent")), "_agent a.example sta\"tic.pem late\x{fffd}.pem", "$form: the identity, which is for no host name");
    }
};

subtest 'pages' => sub {
    for my $form (qw(full compact)) {
        my ($after, @seen) = ('');

        for (1 .. 20) {
            my $r = report("?form=$form&limit=2$after");
            is($r->{status}, 200, "$form: a page") or diag $r->{content};
            cmp_ok(scalar(all($r)), '<=', 2, "$form: at most two");
            push @seen, map { $_->{fingerprint} } all($r);
            last if !$r->{json}{next};
            $after = "&after=$r->{json}{next}";
        }

        is(join(' ', sort @seen), join(' ', sort map { $_->{fingerprint} } all(report())),
            "$form: together they are the whole");
    }

    for my $bad (qw(limit=0 limit=10001 limit=x after=x after=s after=sxyz after=u after=u~
        form=short form= name= limit=-1 limit=2&limit=3 key=ec-p256)) {
        my $r = report("?$bad");
        is($r->{status}, 400, "$bad is refused");
        ok($r->{json}{error}, 'with the rule');
    }
};

subtest 'what needs somebody' => sub {
    my $w = report()->{json}{warnings};
    is(join(' ', map { $_->{code} } @$w), 'certificate_expired', 'expired')
        or diag explain $w;
    like($w->[0]{text}, qr/late\x{fffd}\.pem/, 'which');

    $edge->give('b.example', names => ['b.example'], must_staple => 1);

    for my $form (qw(full compact)) {
        my ($must) = grep { $_->{code} eq 'must_staple_without_staple' }
            @{ report("?form=$form")->{json}{warnings} };
        like($must->{text} // '', qr/^"b\.example" must be stapled/, "$form: must-staple");
    }

    my ($entry) = grep { ($_->{file} // '') =~ /sta"tic/ } all(report());
    is($entry->{file_fingerprint}, fingerprint($static), 'the file is what is served');
    ok(!$entry->{file_differs}, 'it does not differ');

    my ($newer) = $edge->ca->issue(names => ['static.example']);
    $edge->file('sta"tic.pem', $newer);
    my $r = report();
    ($entry) = grep { ($_->{file} // '') =~ /sta"tic/ } all($r);
    is($entry->{fingerprint}, fingerprint($static), 'what is served stays');
    is($entry->{file_fingerprint}, fingerprint($newer), 'the file has another one');
    ok($entry->{file_differs}, 'it differs');
    ok((grep { $_->{code} eq 'file_differs' } @{ $r->{json}{warnings} }), 'and a warning');

    unlink $edge->dir . '/sta"tic.pem';
    ($entry) = grep { ($_->{file} // '') =~ /sta"tic/ } all(report());
    ok(!exists $entry->{file_differs}, 'a file that is gone says nothing');
};

subtest 'a certificate that some clients cannot use' => sub {
    $edge->give('z.example', names => ['z.example'], key => 'rsa', ku => ['keyEncipherment']);
    my ($usage) = grep { $_->{code} eq 'key_usage' } @{ report()->{json}{warnings} };
    like($usage->{text} // '', qr/^"z\.example" loses clients: .*digitalSignature/, 'a warning');
    $edge->give('z.example', names => ['z.example']);
    is(scalar(grep { $_->{code} eq 'key_usage' } @{ report()->{json}{warnings} }), 0, 'the next one has none');
};

subtest 'metrics' => sub {
    handshake($edge->port(1), sni => 'a.example') for 1 .. 3;

    my $swaps = 11;                      # so many PUTs until here, with the next one
    my ($crt, $key, $chain) = $edge->ca->issue(names => ['staple.example'],
        ocsp => 'http://ocsp.example/');

    $edge->commit('staple.example', $chain . $edge->ca->cert, $key);
    is($api->put("$url/ocsp/" . fingerprint($crt) . '?name=staple.example',
        $edge->ca->ocsp($crt, from => time - 90), 'content-type' => 'application/ocsp-response')->{status},
        200, 'a staple');

    my $r = metrics();
    is($r->{status}, 200, 'answered');
    is($r->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'its type');

    my ($series, $faults) = parse($r->{content});
    is("@$faults", '', 'every line is of the text format');

    ($key) = grep { /^certctl_certificate_not_after_seconds\{certificate="a\.example",source="store",kind="ecdsa"\}/ }
        keys %$series;
    ok($key, 'expiry by certificate');
    cmp_ok($series->{$key} // 0, '>', time, 'in Unix time');
    is($series->{'certctl_certificate_handshakes_total{certificate="a.example",source="store",kind="ecdsa"}'},
        3, 'handshakes by certificate and source');
    is($series->{'certctl_certificate_staple{certificate="b.example",source="store",kind="ecdsa",state="not_applicable"}'}
        // $series->{'certctl_certificate_staple{certificate="b.example",source="store",kind="ecdsa",state="missing"}'},
        1, 'the state of staples');
    ok((grep { /certificate="[^"]*sta\\"tic\.pem"/ } keys %$series), 'labels are escaped');
    ok((grep { /certificate="[^"]*late\xef\xbf\xbd\.pem"/ } keys %$series), 'and UTF-8');
    is($series->{certctl_store_records}, 6, 'records: five and the identity');
    is($series->{certctl_certificates_left_out}, 0, 'none left out');
    is($series->{certctl_workers}, 2, 'workers');
    ok(exists $series->{"certctl_worker_generation{worker=\"$_\"}"}, "worker $_") for 0, 1;

    my $status = $api->get("$url/status")->{json};
    is($series->{certctl_generation}, $status->{generation}, 'generation');
    is($series->{certctl_commits_total}, $status->{counters}{commits}, 'commits');
    is($series->{certctl_swaps_total}, $swaps, 'swaps: no deletion and no staple among them');
    is($series->{certctl_store_bytes}, bytes($edge->dir . '/store'), 'the size of the store');
    my ($age) = map { $series->{$_} } grep { /^certctl_certificate_staple_age_seconds\{certificate="staple\.example"/ } keys %$series;
    ok(defined $age && $age >= 60 && $age < 600, 'the age of a staple') or diag $age;
    is(scalar(grep { /^certctl_certificate_staple_age_seconds/ } keys %$series), 1, 'only of what has one');
    ok(exists $series->{"certctl_${_}_total"}, $_) for qw(rejects errors handshakes staples);

    is($api->get("$url/metrics?name=x")->{status}, 400, 'takes no argument');

    SKIP: {
        my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};
        skip 'no promtool', 1 if !$promtool;
        write_file($edge->dir . '/metrics', $r->{content});
        my $said = `$promtool check metrics < @{[ $edge->dir ]}/metrics 2>&1`;
        is($?, 0, 'promtool is content') or diag $said;
    }
};

subtest 'many certificates' => sub {
    my $count = 1100;
    my ($crt, $key, $chain) = $edge->ca->issue(names => ['many.example']);

    $edge->commit("many$_", $chain, $key) for 1 .. $count;

    for my $form (qw(compact compact full)) {
        my $start = time;
        my $r = report("?form=$form&limit=2000");
        diag sprintf '%s: %d bytes, %.0f ms', $form, length $r->{content}, 1e3 * (time - $start);
        is(scalar(grep { ($_->{name} // '') =~ /^many/ } all($r)), $count, "$form: all of them");
    }

    my ($series, $faults) = parse(metrics()->{content});
    is("@$faults", '', 'metrics are well formed');
    is(scalar(grep { /^certctl_certificate_not_after_seconds/ } keys %$series), 1000,
        'at most 1000 of each family');
    cmp_ok($series->{certctl_certificates_left_out}, '>=', $count - 1000, 'the rest is counted');
};

unlike($edge->log, qr/\[(?:alert|emerg)\]/, 'nothing alarming in the log');
is($edge->stop, 0, 'NGINX ends in peace');

done_testing;

sub bytes {
    my ($dir) = @_;
    my $sum = 0;

    $sum += -s $_ for grep { -f } split /\n/, `find $dir/certs $dir/pending $dir/staples $dir/damaged $dir/sessions -type f`;
    return $sum;
}

# Prometheus' text format 0.0.4: series and what breaks a rule of it. HELP and
# TYPE stand before a family's samples, which stand together; no sample twice.
sub parse {
    my ($text) = @_;
    my (%series, %type, %closed, @faults, $family);
    my $label = qr/[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"/;

    push @faults, 'no line feed at the end' if $text !~ /\n\z/;

    for my $line (split /\n/, $text) {
        if ($line =~ /^# (HELP|TYPE) ([a-z_]+) (\S.*)$/) {
            my ($what, $name, $rest) = ($1, $2, $3);
            push @faults, $line if $closed{$name};
            push @faults, $line if $what eq 'TYPE'
                && ($type{$name} || $rest !~ /^(?:counter|gauge)$/
                    || ($rest eq 'counter') != ($name =~ /_total$/));
            $type{$name} = $rest if $what eq 'TYPE';
            $closed{$family} = 1 if defined $family && $family ne $name;
            $family = $name;
        }
        elsif ($line =~ /^([a-z_]+)((?:\{$label(?:,$label)*\})?) (-?\d+)$/) {
            push @faults, $line if $1 ne ($family // '') || !$type{$1} || exists $series{"$1$2"};
            $series{"$1$2"} = $3;
        }
        else {
            push @faults, $line;
        }
    }

    return (\%series, \@faults);
}
