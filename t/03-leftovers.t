#!/usr/bin/perl
# A test leaves nothing behind: no folder, no process, no reserved port. Not when it
# fails, is interrupted, or has forked a child that ends by itself; and a test that
# passes prints no line that looks like an alarm of NGINX's.

use strict;
use warnings;
use Test::More;
use Certctl::Process qw(finish slurp spawn temp_dir valgrind wait_until write_file);

my $small = write_file(temp_dir() . '/small.t', <<'TEST');
use strict;
use warnings;
use Test::More;
use Certctl::Nginx;
use Certctl::PKI;
use Certctl::Process 'temp_dir';
use POSIX ();

my $ngx = Certctl::Nginx->new(module => 0, workers => 1,
    conf => "%%MAIN%%\nhttp { %%HTTP%% server { listen 127.0.0.1:%%PORT_1%%; } }\n");
my $ca = Certctl::PKI->ca('CA');
my ($crt) = $ca->issue;

$ngx->start;
$ca->ocsp($crt);

my $pid = fork // die "fork: $!";
if ($pid == 0) {
    Certctl::PKI::scratch_anew();
    $ca->ocsp($crt);
    POSIX::_exit(0);
}
waitpid $pid, 0;

print "made ", join(' ', $ngx->port(1), glob "$ENV{TMPDIR}/*/*"), "\n";
ok($ARGV[0] ne 'fails', 'one check');
die "it dies\n" if $ARGV[0] eq 'dies';
kill 'STOP', $$ if $ARGV[0] =~ /^SIG/;
done_testing();
TEST

for my $how (qw(passes fails dies SIGINT SIGTERM SIGHUP)) {
    subtest "a test that ends by: $how" => sub {
        my ($place, $out) = (temp_dir(), temp_dir() . '/out');
        my ($signal) = $how =~ /^SIG(.*)/;
        my $pid = do {
            local $ENV{TMPDIR} = $place;
            spawn($out, $^X, '-It/lib', $small, $how);
        };
        my $done = sub { (slurp("/proc/$pid/stat") // ') Z') =~ /\) [TZ]/ };

        ok(wait_until(30, $done), 'it has done its work');

        if ($signal) {
            kill $_, $pid for $signal, 'CONT';
        }

        my $status = finish($pid, 0, 30);
        my $text = slurp($out);
        my ($port, @folders) = $text =~ /^made (.*)/m ? split(/ /, $1) : ();

        is(!!$status, $how ne 'passes', "wait status $status") or diag $text;
        cmp_ok(scalar @folders, '>=', 3, 'it has made folders, one by a child') or diag $text;
        gone($place);
        unlike(slurp('/proc/net/unix'), qr/\@certctl-port-$port$/m, 'no port stays reserved');
    };
}

SKIP: {
    skip 'it does not run beneath valgrind', 1 if valgrind();

    subtest 'what NGINX refuses' => sub {
        my ($place, $out) = (temp_dir(), temp_dir() . '/out');
        my $pid = do {
            local $ENV{TMPDIR} = $place;
            spawn($out, $^X, '-It/lib', 't/41-module-directives.t');
        };

        ok(wait_until(60, sub { (slurp("/proc/$pid/stat") // ') Z') =~ /\) Z/ }), 'it ends');
        is(finish($pid, 0), 0, 'it passes') or diag slurp($out);
        unlike(slurp($out), qr/\[(?:emerg|alert|crit)\]/, 'and prints no alarm');
        gone($place);
    };
}

done_testing();

sub gone {
    my ($place) = @_;
    my @running;

    is(join(' ', glob "$place/* $place/.[!.]*"), '', 'no file or folder is left');

    # a process that was killed may take a moment
    wait_until(5, sub {
        @running = grep { (slurp("$_/cmdline") // '') =~ /\Q$place\E/ } glob '/proc/[0-9]*';
        return !@running;
    });
    is("@running", '', 'no process is left');
    return;
}
