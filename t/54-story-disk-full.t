#!/usr/bin/perl
# A full disk on the edge: a clear error, the last good certificate is served,
# and the renewal goes through when there is room again.

use strict;
use warnings;
use Certctl::Process qw(run temp_dir wait_until);
use Certctl::Story;
use Test::More;

plan skip_all => 'a small file system is mounted for this: root only' if $> != 0;

my $disk = temp_dir() . '/disk';
mkdir $disk;
plan skip_all => 'no tmpfs can be mounted here'
    if run('/dev/null', 'mount', '-t', 'tmpfs', '-o', 'size=1m,mode=0755', 'tmpfs', $disk) != 0;

my $s = Certctl::Story->new(store => "$disk/store", config => "max_issuances_per_day = 100\n");
my $id = $s->certificate('shop.example');

$s->renew($id);
my $row  = $s->deployed($id);
my $good = $s->shown('shop.example')->{fingerprint};

# every block is taken, with room left for nothing
open my $fill, '>', "$disk/fill" or die $!;
syswrite $fill, "\0" x 4096 or last for 1 .. 1024;
close $fill;

$s->renew($id);
my $attempt;
ok wait_until(60, sub {
    ($attempt) = @{ $s->get("certificates/$id/renewals")->{data} };
    return $attempt->{status} eq 'failed';
}), 'the renewal fails';
like $attempt->{error}, qr/507|no space|full/i, 'the reason is clear: ' . ($attempt->{error} // '');

my $crt = $s->get("certificates/$id");
is $crt->{consecutive_failures}, 0, 'it was asked for: no failure of the schedule';
is $crt->{renew_at}, $row->{renew_at}, 'which stays';
is $s->shown('shop.example')->{fingerprint}, $good, 'the last good certificate is served';

$s->nginx->stop;
$s->nginx->start;
my $h = $s->shown('shop.example');
is $h->{fingerprint}, $good, 'also after a restart on the full disk';
ok $h->{staple}, 'stapled';

unlink "$disk/fill";
$s->renew($id);
$row = $s->deployed($id, after => $row->{last_deployment_at});
isnt $s->shown('shop.example')->{fingerprint}, $good, 'with room again it is renewed';

is $s->stop, 0, 'the daemon ends well';
done_testing();

END {
    my $status = $?;
    run('/dev/null', 'umount', '-l', $disk) if defined $disk;
    $? = $status;
}
