#!/usr/bin/perl
# The command line against a real controller and a real module: what each command
# sends and shows, and how it fails.

use strict;
use warnings;
use Test::More;
use Certctl::Daemon;
use Certctl::PKI;
use Certctl::Nginx;
use Certctl::Process qw(built slurp wait_until write_file);
use IO::Socket::INET;
use JSON::PP;

my $certctl = built('certctl');
my $json = JSON::PP->new->utf8;
my ($out, $err);

my $daemon = Certctl::Daemon->start(config => "reaper_interval = 1\ninventory_interval = 1\n");
my $dir = $daemon->dir;
my $ngx = Certctl::Nginx->new(workers => 1, conf => <<'CONF');
%%MAIN%%
http {
    %%HTTP%%
    certctl_store %%DIR%%/store;
    certctl_trust %%DIR%%/fleet.pem;
    server { listen 127.0.0.1:%%PORT_tls%% ssl; server_name a.example; certctl on; }
    server { listen 127.0.0.1:%%PORT_agent%% ssl; certctl_agent; }
}
CONF

$ngx->file('fleet.pem', slurp($daemon->ca));
$ngx->start;
my $url = 'https://127.0.0.1:' . $ngx->port('agent');
my $fingerprint = slurp($ngx->dir . '/store/certctl-agent.fingerprint') =~ /([0-9a-f]{64})/ ? $1 : '';

%ENV = (%ENV, CERTCTL_SERVER_URL => 'https://127.0.0.1:' . $daemon->port,
    CERTCTL_SERVER_CA_BUNDLE_PATH => $daemon->ca, CERTCTL_API_KEY => $daemon->key);

# --- what it shows

is(run('status'), 0, 'status') or diag $err;
like($out, qr/^db +reachable$/m, 'status: database');
like($out, qr/^total_agents +0$/m, 'status: counts');

is(run('version'), 0, 'version');
like($out, qr/^client +(\S+)\nserver +\1$/m, 'version: of both');

is(run('agents', 'list'), 0, 'agents list');
like($out, qr/\AID +NAME +URL +STATUS .*\n\z/, 'agents list: only the titles');

is(run('agents', 'add', $url, '--fingerprint', uc $fingerprint), 0, 'agents add') or diag $err;
my ($id) = $out =~ /^id +(\S+)$/m;
like($out, qr/^name +127\.0\.0\.1$/m, 'agents add: named after the host');
like($out, qr/^status +Online$/m, 'agents add: waits for the first contact');

ok(wait_until(20, sub { run('agents', 'get', $id); return $out =~ /^status +Online$/m }),
    'the agent is online') or diag $out, $daemon->log, $ngx->log;
is(run('agents', 'list'), 0, 'agents list');
like($out, qr/^\Q$id\E +127\.0\.0\.1 +\Q$url\E +Online /m, 'agents list: a row');

is(run('agents', 'list', '--format', 'json'), 0, 'as JSON');
is($json->decode($out)->{data}[0]{id}, $id, 'as JSON: the envelope');
is(run('agents', 'get', $id, '--format=json'), 0, 'one as JSON');
is($json->decode($out)->{url}, $url, 'one as JSON: the object');

my $issuer = $daemon->api->get('/api/v1/issuers')->{json}{data}[0]{id};
for my $name (qw(a b c)) {
    my $r = $daemon->api->post('/api/v1/certificates', { id => "mc-$name", name => $name,
        common_name => "$name.example", sans => ["$name.example"], issuer_id => $issuer });
    is($r->{status}, 201, "certificate $name") or diag $r->{content};
}

is(run('certs', 'list', '--per-page', 2), 0, 'certs list');
is(() = $out =~ /^mc-/mg, 2, 'certs list: a page');
like($err, qr/^2 of 3 shown/m, 'certs list: says that there is more');
is(run('certs', 'list', '--per-page', 2, '--page=2'), 0, 'certs list: next page');
is(() = $out =~ /^mc-/mg, 1, 'certs list: the rest');
is(run('certs', 'list', '--status', 'Expired'), 0, 'certs list: filter');
is(() = $out =~ /^mc-/mg, 0, 'certs list: none has expired');
is(run('certs', 'get', 'mc-a'), 0, 'certs get');
like($out, qr/^common_name +a\.example$/m, 'certs get: its fields');

is(run('jobs', 'list'), 0, 'jobs list');
like($out, qr/\AID +TYPE +STATUS /, 'jobs list: titles');

is(run('ca', 'list'), 0, 'ca list');
like($out, qr/^fleet +current .* [0-9a-f]{64}$/m, 'ca list: the fleet CA');
is(run('ca', 'rotate', '--overlap-days', 'many'), 1, 'ca rotate: no number');
like($err, qr/overlap_days must be/, 'ca rotate: no number: the rule');
is(run('ca', 'rotate', '--overlap-days', 7, '--id', 'fleet-2'), 0, 'ca rotate') or diag $err;
like($out, qr/^overlap_days +7$/m, 'ca rotate: its days');
ok(wait_until(60, sub { run('ca', 'list'); return $out =~ /^fleet-2 +current /m }), 'the host learns it, and it is used') or diag $out;
is(run('ca', 'use', 'fleet-2'), 1, 'ca use: once');
like($err, qr/only the next one can be used/, 'ca use: the rule');
ok(wait_until(60, sub { run('ca', 'list'); return $out =~ /^fleet-2 +current +\S+ +1 +1 /m }), 'the host gets an identity of it') or diag $out;
is(run('ca', 'withdraw', 'fleet', '--force'), 0, 'ca withdraw') or diag $err;
like($out, qr/^state +withdrawn$/m, 'ca withdraw: its state');
is(run('issuers', 'list'), 0, 'issuers list');
like($out, qr/^ID +NAME +TYPE +ENABLED +TEST +PAUSED UNTIL +REASON\niss-local +Local CA +local +true +- /, 'issuers list: a table');
is(run('issuers', 'test', 'iss-local'), 0, 'issuers test');
like($out, qr/^status +success$/m, 'issuers test: the result');
is(run('issuers', 'get', 'iss-local'), 0, 'issuers get');
like($out, qr/^test_status +success$/m, 'issuers get: the result is kept');
{
    my $ca   = Certctl::PKI->ca('Own CA');
    my %file = map { ("ca_${_}_path" => "$dir/own-ca.$_") } qw(cert key);
    write_file($file{"ca_${_}_path"}, $ca->$_) for qw(cert key);
    is($daemon->api->post('/api/v1/issuers', { id => 'iss-own', name => 'Own', type => 'local', config => \%file })->{status}, 201,
        'an issuer in files');
    unlink $file{ca_key_path};
    is(run('issuers', 'test', 'iss-own'), 1, 'issuers test: a failure');
    like($out, qr/^message +\S+own-ca\.key: No such file/m, 'issuers test: the reason');
}
is(run('certs', 'renewals', 'mc-a'), 0, 'certs renewals');
like($out, qr/\AID +STATUS +CREATED +NEXT +ENDED +ERROR +CA ERROR$/m, 'certs renewals: titles');
is(run('jobs', 'get', 'job-none'), 1, 'jobs get');
like($err, qr/job "job-none" not found/, 'jobs get: of none');

# --- the key

{
    local $ENV{CERTCTL_API_KEY};
    is(run('certs', 'list'), 1, 'no key');
    like($err, qr/^certctl: 401 Unauthorized/, 'no key: says so');

    is(run('certs', 'list', '--api-key-file', $daemon->data . '/admin.key'), 0,
        'a key from a file');
    is(run('certs', 'list', '--api-key-file', "$dir/none"), 1, 'a file that is not there');
    like($err, qr/No such file/, 'a file that is not there: says so');
}

{
    local $ENV{CERTCTL_API_KEY} = 'not-the-key-canary';
    is(run('certs', 'list'), 1, 'wrong key');
    unlike($out . $err, qr/canary/, 'wrong key: not repeated');
}

# --- whom it believes

{
    local $ENV{CERTCTL_SERVER_CA_BUNDLE_PATH};
    is(run('status'), 1, 'a server of an unknown CA');
    like($err, qr/server certificate/, 'a server of an unknown CA: says so');
    is(run('status', '--ca-bundle', $daemon->ca), 0, 'a CA from a flag');
    is(run('--ca-bundle', $daemon->ca, 'status'), 0, 'a flag before the command');
    is(run('status', '--ca-bundle', write_file("$dir/empty", '')), 1, 'an empty bundle');
    like($err, qr/no certificate/, 'an empty bundle: says so');
}

# --- whom it tells the key

{
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die "listen: $!";
    my $place = '127.0.0.1:' . $listener->sockport;

    for my $server ("http://$place", "HTTP://$place/", "http:$place", $place, "ftp://$place", " http://$place", '') {
        is(run('--server', $server, 'certs', 'list'), 2, "the key is not sent to '$server'");
        like($err, qr/^certctl: the API key is sent over https:\/\/ only, also on loopback \(RFC 6750 5\.3\): correct --server/,
            "not to '$server': says so");
    }

    local $ENV{CERTCTL_SERVER_URL} = "http://$place";
    is(run(@$_), 2, "nor by @$_") for ['status'], ['version'], ['agents', 'add', $url, '--trust-on-first-use'];
    is(run('store', 'list', '--store', "$dir/none"), 1, 'who reads a store sends no key');

    local $ENV{CERTCTL_API_KEY};
    is(run('certs', 'list', '--api-key-file', "$dir/none"), 2, 'nor is a file with a key read');

    $listener->blocking(0);
    ok(!$listener->accept, 'nobody was connected to');
}

is(run('status', '--server', 'https://127.0.0.1:1'), 1, 'nobody there');
like($err, qr/127\.0\.0\.1:1.*connect/, 'nobody there: says so');

# --- how it fails

is(run('certs', 'get', 'mc-none'), 1, 'unknown certificate');
like($err, qr/^certctl: 404 Not Found: .*mc-none|404 Not Found: no certificate/, 'unknown certificate: says so');
is(run('certs', 'get', '../jobs'), 1, 'an id is one segment of the path');
is(run('agents', 'add', $url, '--fingerprint', $fingerprint), 1, 'a host twice');
like($err, qr/^certctl: 409 Conflict/, 'a host twice: says so');

my $before = $daemon->api->get('/api/v1/agents')->{json}{total};
my @wrong = (
    ['agents'], ['agents', 'delete', 'x'], ['bogus'], ['agents', 'list', 'x'],
    ['certs', 'get'], ['certs', 'get', ''], ['certs', 'renew', 'a', 'b'],
    ['agents', 'list', '--bogus'], ['agents', 'list', '--page'],
    ['agents', 'list', '--status', 'x'], ['--format', 'xml', 'status'],
    ['agents', 'add', $url], ['agents', 'add', 'http://x', '--trust-on-first-use'],
    ['agents', 'add', $url, '--fingerprint', 'abc'],
    ['agents', 'add', $url, '--fingerprint', $fingerprint . 'x'],
    ['agents', 'add', $url, '--trust-on-first-use', '--fingerprint', $fingerprint],
    ['agents', 'add', $url, '--trust-on-first-use=yes'],
);

for my $words (@wrong) {
    is(run(@$words), 2, "usage: @$words");
    like($err, qr/^certctl: .+ \(certctl help\)\n\z/, "usage: @$words: says what is wrong");
    is($out, '', "usage: @$words: nothing else");
}

is($daemon->api->get('/api/v1/agents')->{json}{total}, $before, 'nothing was sent');

# --- words that are not known to the controller

for my $words ([qw(certs list --status Bogus)], [qw(jobs list --status Bogus)], [qw(jobs list --type Bogus)],
    [qw(certs list --status active)], ['certs', 'list', '--status', ''])
{
    is(run(@$words), 1, "@$words: a monitor that asks for it fails");
    like($err, qr/^certctl: 4\d\d [^\n]*$words->[2] *(?:must|is)|^certctl: 4\d\d .*(?:status|type)/, 'and says why') or diag($err);
    is($out, '', 'without an empty table');
}
is(run('certs', 'get', $_), 1, "certs get '$_'"), like($err, qr/RFC 3986 3\.3/, 'is no path') for '.', '..';

# --- where the controller is

for my $tail ('/', '///', '/?a=b', '#x') {
    is(run('--server', "$ENV{CERTCTL_SERVER_URL}$tail", 'certs', 'get', 'mc-a'), 0, "a URL that ends with $tail") or diag($err);
}

# --- forms of a fingerprint

my $colons = uc join ':', $fingerprint =~ /../g;
my $second = free_listener();

for my $form ("sha256:$fingerprint", "SHA256:" . uc $fingerprint, $colons, "sha256 Fingerprint=$colons", "sha256:$colons") {
    is(run('agents', 'set', $id, '--fingerprint', $form), 0, "set: $form") or diag($err);
    like($out, qr/^fingerprint +$fingerprint$/m, 'as the API writes it');
}

my %kind = (MD5 => 32, 'SHA-1' => 40, 'SHA-512' => 128);
for my $name (sort keys %kind) {
    is(run('agents', 'add', $url, '--fingerprint', 'a' x $kind{$name}), 2, "a $name");
    like($err, qr/an? $name: take the SHA-256, it is in certctl-agent\.fingerprint/, 'is named, with the remedy');
}
is(run('agents', 'add', $url, '--fingerprint', 'SHA256:' . 'q' x 43), 2, 'base64');
like($err, qr/64 hex digits.*certctl-agent\.fingerprint/, 'what it must be, and where it is');

# --- a second host at one address, and a wrong fingerprint

ok(wait_until(30, sub { run('agents', 'get', $id); return $out =~ /^status +Online$/m }), 'the first is online again') or diag($out);
is(run('agents', 'add', $second, '--fingerprint', 'b' x 64), 1, 'a host that is not there');
my ($other) = $out =~ /^id +(\S+)$/m;
like($out, qr/^name +127\.0\.0\.1:\d+$/m, 'has a name of its own');
like($err, qr/^certctl: \Q$other\E is registered, but the first contact failed: .*certctl agents set \Q$other\E$/m, 'says why, and what to do');

my $again = Certctl::Nginx->new(workers => 1, conf => <<'CONF');
%%MAIN%%
http {
    %%HTTP%%
    certctl_store %%DIR%%/store;
    certctl_trust %%DIR%%/fleet.pem;
    server { listen 127.0.0.1:%%PORT_agent%% ssl; certctl_agent; }
}
CONF
$again->file('fleet.pem', slurp($daemon->ca));
$again->start;
my $pin = slurp($again->dir . '/store/certctl-agent.fingerprint') =~ /([0-9a-f]{64})/ ? $1 : '';
is(run('agents', 'set', $other, '--url', 'https://127.0.0.1:' . $again->port('agent'), '--fingerprint', 'c' x 64,
    '--name', 'second'), 0, 'its URL, its name and another fingerprint') or diag($err);
ok(wait_until(30, sub { run('agents', 'get', $other); return $out =~ /^last_error +.*fingerprint/m }), 'is not believed') or diag($out);
like($out, qr/fingerprint $pin, pinned is c{64}/, 'both are shown');
is(run('agents', 'set', $other, '--fingerprint', "sha256:$pin"), 0, 'the right one');
ok(wait_until(30, sub { run('agents', 'get', $other); return $out =~ /^status +Online$/m }), 'and it is online') or diag($out);
like($out, qr/^name +second$/m, 'under its name');
is(run('agents', 'set', $other, '--probe-address', '127.0.0.1:1'), 0, 'a probe address');
like($out, qr/^probe_address +127\.0\.0\.1:1$/m, 'is set');
is(run('agents', 'set', $other, '--probe-address', ''), 0, 'an empty one');
like($out, qr/^probe_address +-$/m, 'takes it away');
is(run('agents', 'set', $other), 2, 'set without anything to change');
is(run('agents', 'set', $other, '--url', 'http://x'), 2, 'set with http://');

# --- retirement

my $target = $daemon->api->post('/api/v1/targets', { id => 'tgt-a', name => 'a', agent_id => $other })->{json}{id};
$daemon->api->patch('/api/v1/certificates/mc-a', { target_ids => [$target] });
is(run('agents', 'remove', $other), 1, 'a host with targets stays');
like($err, qr/^certctl: 409 .*"active_certificates": ?1/, 'and they are counted');
is(run('agents', 'remove', $other, '--force'), 2, 'force without a reason');
is(run('agents', 'remove', $other, '--force', '--reason', 'gone & lost'), 0, 'with one') or diag($err);
like($out, qr/active_certificates": ?1/, 'what stood on it is shown');
is(run('agents', 'get', $other), 0, 'it is kept');
like($out, qr/^retired_reason +gone & lost$/m, 'with the reason');
$again->stop;

# --- who reads the output

for my $words (['certs', 'list'], ['--version'], ['help'], ['status'], ['certs', 'get', 'mc-a', '--format', 'json']) {
    is(run({ to => '/dev/full' }, @$words), 1, "@$words > /dev/full");
    like($err, qr/^certctl: standard output cannot be written: No space left on device$/m, 'says so');
}
pipe my $reader, my $writer or die "pipe: $!";
close $reader;
{
    local $SIG{PIPE} = 'IGNORE';
    is(run({ to => $writer }, 'certs', 'list'), 1, 'a closed pipe');
    like($err, qr/^certctl: standard output cannot be written: Broken pipe$/m, 'says so');
}

for my $words (['-h'], ['--help'], ['agents', 'add', '-h'], ['certs', 'list', '--help'], ['--version']) {
    is(run(@$words), 0, "@$words");
    is($err, '', 'is no error');
}
like($out, qr/\Acertctl \d+\.\d+\.\d+\n\z/, '--version: without a server');

is(run('help'), 0, 'help');
like($out, qr/agents add +URL/, 'help: commands');
is(run(), 2, 'no command');
like($err, qr/^usage: certctl/, 'no command: usage');

$ngx->stop;
is($daemon->stop, 0, 'the daemon stops');
done_testing();

# A URL where nobody listens.
sub free_listener {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1') or die "bind: $!";

    return 'https://127.0.0.1:' . $socket->sockport;
}

# Exit code; output in $out and $err. to: a file or handle instead of $out.
sub run {
    my $o = ref $_[0] ? shift : {};
    my (@words) = @_;

    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        ref $o->{to} ? open STDOUT, '>&', $o->{to} : open STDOUT, '>', $o->{to} // "$dir/out";
        open STDERR, '>', "$dir/err";
        exec { $certctl } $certctl, @words;
    }

    waitpid $pid, 0;
    ($out, $err) = (slurp("$dir/out"), slurp("$dir/err"));
    return $? & 127 ? "signal " . ($? & 127) : $? >> 8;
}
