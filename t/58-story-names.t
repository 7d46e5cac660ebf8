#!/usr/bin/perl
# A certificate with as many names as there may be, each as long as a name may be,
# is asked for, issued and served.

use strict;
use warnings;
use Certctl::Story;
use Test::More;

my $most  = 253;                                   # RFC 1035 2.3.4
my @names = map { name($_) } 1 .. 99;              # many.example is one, too

is join(' ', grep { length != $most } @names), '', 'names of 253 characters';

my $s  = Certctl::Story->new(names => ["many.example @names", name(100)],
    servers => "server_names_hash_bucket_size 512; server_names_hash_max_size 4096;\n");
my $id = $s->certificate('many.example', sans => \@names);

$s->renew($id);
$s->deployed($id);

my ($version) = $s->versions($id);
for my $name ('many.example', $names[0], $names[-1]) {
    is $s->shown($name)->{fingerprint}, $version->{fingerprint_sha256}, 'served: ' . substr $name, 0, 12;
}

# a host that is met elsewhere than it listens
$s->need($s->api->patch('/api/v1/agents/' . $s->agent, { probe_address => 'localhost:' . $s->nginx->port('tls') }));
$s->renew($id);
$s->deployed($id);
isnt $s->shown('many.example')->{fingerprint}, $version->{fingerprint_sha256}, 'confirmed at its probe_address';

# a commonName has at most 64 characters (RFC 5280 A.1), the name that it stands for has more
my $target = $s->post('targets', { name => 'long', agent_id => $s->agent, config => { record => '{common_name}' } })->{id};
my $long = $s->post('certificates', { common_name => name(100), issuer_id => 'iss-local', target_ids => [$target] })->{id};
$s->renew($long);
$s->deployed($long);
is $s->shown(name(100))->{fingerprint}, ($s->versions($long))[0]{fingerprint_sha256}, 'a common_name of 253 characters';

cmp_ok length($version->{csr_pem}), '>', 99 * $most, 'all of them were in one request';
is $s->stop, 0, 'SIGTERM ends the daemon well';
done_testing();

# A name of that length, of labels of at most 63 characters.
sub name {
    my ($i) = @_;
    my $n = sprintf 'n%03d', $i;
    my $rest = $most - length("$n..example");
    my @labels;

    while ($rest > 0) {
        my $len = $rest > 63 ? 50 : $rest;

        push @labels, 'a' x $len;
        $rest -= $len + 1;
    }
    return join '.', $n, @labels, 'example';
}
