#!/usr/bin/perl
# make demo ONCE=1 tells the whole story, and leaves nothing running.

use strict;
use warnings;
use Certctl::Process qw(temp_dir slurp run wait_until);
use Test::More;

my $log   = temp_dir() . '/demo.log';
my $place = temp_dir();
my $exit  = do {
    local $ENV{ONCE} = 1;
    local $ENV{TMPDIR} = $place;
    run($log, $^X, 't/demo');
};
my $told = slurp($log);

is $exit, 0, 'the story goes well' or diag $told;
like $told, qr/$_/, "it tells: $_" for
    'agent ag-\w+ is Online', 'observed -> managed', 'static\s+[0-9a-f]{16}',
    'before [0-9a-f]{64}', 'after  [0-9a-f]{64}', 'ms from push to the first handshake',
    '100 of 100 handshakes show the new certificates, stapled', 'reloads: 0, workers: the same',
    'connections, 0 dropped';

# what was told to end may take a moment to be gone
my @left;
wait_until(10, sub {
    @left = grep { (slurp("$_/cmdline") // '') =~ /\Q$place\E/ } glob '/proc/[0-9]*';
    return !@left;
});
is_deeply \@left, [], 'nothing is left running';
is_deeply [glob "$place/*"], [], 'no folder is left';

done_testing();
