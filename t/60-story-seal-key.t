#!/usr/bin/perl
# The sealing key of the controllers is replaced while they work: a key that only one
# replica has is not used, what the old one has sealed is sealed again, also after a
# kill, and a start without a key that is needed is refused.

use strict;
use warnings;
use Certctl::API 'sql';
use Certctl::Daemon;
use Certctl::HTTP;
use Certctl::Port 'free_port';
use Certctl::Process qw(alive built run slurp temp_dir wait_until write_file);
use Certctl::Story;
use Test::More;

my $conf = "reaper_interval = 1\nmax_issuances_per_day = 100\n";
my $s    = Certctl::Story->new(points => 1, config => $conf);
my $file = $s->daemon->data . '/seal.key';
my $id   = $s->certificate('shop.example');

$s->renew($id);
my $deployed = $s->deployed($id)->{last_deployment_at};

# another replica, which has the database and the sealing key of the first
my $dir = temp_dir();
mkdir "$dir/data", 0711;
write_file("$dir/data/seal.key", slurp($file), 0600);
my $twin = Certctl::Daemon->start(dir => $dir,
    config => "${conf}database = host=" . $s->daemon->data . "/postgresql user=certctl dbname=postgres\n");

sub keys_now { return map { ($_->{id} => $_) } @{ $s->get('seal-keys')->{data} } }

sub certctl {
    my $out = temp_dir() . '/out';
    my $status = run($out, built('certctl'), @_);
    return ($status >> 8, slurp($out));
}

sub deploys {
    my ($when) = @_;
    $s->renew($id, force => 1);
    my $row = $s->deployed($id, after => $deployed);
    isnt $row->{last_deployment_at}, $deployed, "$when: a certificate is renewed and deployed";
    $deployed = $row->{last_deployment_at};
    return;
}

# A start that must not succeed: what the daemon says.
sub refused {
    my $out = temp_dir() . '/out';
    isnt run($out, 'timeout', 60, built('certctld'), '--data-dir', "$dir/data", '--listen', '127.0.0.1:' . free_port(),
        '--pki-listen', '', '--config', "$dir/certctl.conf"), 0, 'a start is refused';
    return slurp($out);
}

my %key = keys_now();
my ($old) = keys %key;
is scalar(keys %key), 1, 'there is one key';
ok $key{$old}{current}, 'which seals';
cmp_ok $key{$old}{sealed_values}, '>=', 2, 'the keys of the CAs';
ok wait_until(30, sub { return @{ { keys_now() }->{$old}{held_by} } == 2 }), 'both replicas have it';
unlike sql($s->daemon, 'SELECT string_agg(key, chr(10)) FROM authorities'), qr/^(?!v2\.\Q$old\E\.)/m, 'a value names its key';

my ($status, $new) = certctl('seal', 'add', $file);
is $status, 0, 'a key is added' or diag $new;
chomp $new;
is length slurp($file), 64, 'behind the other';
is((stat $file)[2] & 0777, 0600, 'for the owner only');
ok wait_until(30, sub { return @{ ({ keys_now() }->{$new} // { held_by => [] })->{held_by} } == 1 }), 'it is read without a restart';
my $r = $s->api->post("/api/v1/seal-keys/$new/use");
is $r->{status}, 409, 'it is not used while a replica lacks it';
like $r->{json}{message}, qr/processes without the sealing key \Q$new\E: \S+; copy seal\.key to them first/, 'which is named';
is $s->api->post('/api/v1/seal-keys/00000000/use')->{status}, 404, 'a key that nobody has';

write_file("$dir/data/seal.key", slurp($file), 0600);
ok wait_until(30, sub { return @{ { keys_now() }->{$new}{missing_in} } == 0 }), 'the other replica has it';

# killed when the first value is sealed again
is $twin->stop, 0, 'the other replica ends';
like refused_with(substr slurp($file), 32), qr/seal\.key has no key \Q$old\E, which \d+ sealed values need \(authorities/,
    'without the old key, which values need: the count and the places';
$s->daemon->stop;
$s->daemon->{env} = { CERTCTL_POINT => 'seal.before_replace', CERTCTL_POINT_ACT => 'kill', CERTCTL_POINT_LOG => "$dir/points" };
$s->daemon->restart;
my $pid = $s->daemon->pid;
eval { $s->api->post("/api/v1/seal-keys/$new/use") };
ok wait_until(30, sub { return !alive($pid) }), 'killed while values are sealed again';
$s->daemon->kill9;
$s->daemon->{env} = {};
$s->daemon->restart;
ok wait_until(30, sub { my %now = keys_now(); return $now{$new}{current} && !$now{$old}{sealed_values} }), 'it goes on: nothing is left to the old key'
    or diag explain({ keys_now() }), $s->events;
cmp_ok { keys_now() }->{$new}{sealed_values}, '>=', 2, 'all is of the new one';
is sql($s->daemon, 'SELECT count(*) FROM sealed_values WHERE seal_key_of(sealed) <> ' . "'$new'"), 0, 'every value';

$twin->restart;
deploys('with two keys');
is(Certctl::HTTP->new(port => $twin->port, ca => $twin->ca)->get('/ready')->{status}, 200, 'the other replica is ready');
is $twin->stop, 0, 'and ends';

is((certctl('seal', 'drop', $file, '--key', '00000000'))[0], 1, 'a key that is not there is not removed');
is((certctl('seal', 'drop', $file, '--key', $old))[0], 0, 'the old one is');
is length slurp($file), 32, 'one is left';
is((certctl('seal', 'drop', $file, '--key', $new))[0], 1, 'the last one stays');
$s->daemon->stop;
$s->daemon->restart;
deploys('with the new key alone');
is join(' ', map { $_->{action} } grep { $_->{resource_type} eq 'seal_key' } @{ $s->get('audit?per_page=500')->{data} }), 'seal_key_used',
    'the audit trail has it';
like refused_with(substr slurp("$dir/data/seal.key"), 0, 32), qr/seal\.key has no key \Q$new\E, which \d+ sealed values need/,
    'with the old key alone: refused';
is $s->stop, 0, 'the daemon ends well';
done_testing();

# What a start of the other replica says with this file, which is put back.
sub refused_with {
    my ($part) = @_;
    my $is = slurp("$dir/data/seal.key");

    write_file("$dir/data/seal.key", $part, 0600);
    my $said = refused();
    write_file("$dir/data/seal.key", $is, 0600);
    return $said;
}
