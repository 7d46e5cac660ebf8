#!/usr/bin/perl
# What README.md tells a newcomer to paste works as it stands there, and shows
# what is said there.

use strict;
use warnings;
use Certctl::Nginx;
use Certctl::Port 'free_port';
use Certctl::Process qw(built temp_dir adopt finish wait_until alive slurp write_file);
use Test::More;

my $port = free_port();
my $dir  = temp_dir();
my ($told) = slurp('README.md') =~ /^## The module by hand\n(.*?)^## /ms;
my @block  = $told =~ /^```(\w+)\n(.*?)^```$/msg;
my @sh;

while (my ($language, $text) = splice @block, 0, 2) {
    $text =~ s/\b8443\b/$port/g;

    if ($language eq 'nginx') {
        my $module = built('ngx_http_certctl_module.so');

        # the folder is another one, and NGINX is not always Debian's, nor root's
        $text =~ s/^http \{\n/join '', "http {\n", map { "${_}_temp_path $_;\n" } qw(client_body proxy fastcgi uwsgi scgi)/me;
        ok($text =~ s{\.\./ngx_http_certctl_module\.so}{$module}, 'it loads what make has built');
        $text .= sprintf "env ASAN_OPTIONS;\nenv UBSAN_OPTIONS;\n%s", $> ? '' : "user www-data;\n";
        write_file("$dir/nginx.conf", $text);

    } else {
        push @sh, $text;
    }
}

is(scalar @sh, 5, 'five steps');

my ($build, $start, $push, $look, $stop) = @sh;
my $openssl = qr/^openssl (?:.*\\\n)*.*\n/m;

like($build, qr/\Amake deps\nmake\nmkdir -m 700 (\S+)\ncd \1\n\z/, 'built, and a folder that lets nobody in');
chmod 0700, $dir;

my $placeholder = sh($start);
my $pid = wait_until(10, sub { return (slurp("$dir/nginx.pid") // '') =~ /^(\d+)$/m && $1 });
adopt($pid, "$dir/error.log") if $pid;

like($placeholder, qr/\Aplaceholder [0-9a-f]{64}\n\z/, 'the placeholder is served') or BAIL_OUT(slurp("$dir/error.log"));
like($push, $openssl, 'a certificate is made');

my ($fingerprint) = sh($push) =~ /"fingerprint":"([0-9a-f]{64})"/;
ok($fingerprint, 'it is stored, and its fingerprint answered');

my $shown = sh($look);
like($shown, qr/\Astore $fingerprint\n/, 'the next handshake shows it, verified');
like($shown, qr/"certificates":\[\{.*"name":"shop\.example\.com","source":"store","why":"[^"]+"/, 'the report says why');
like($shown, qr/^certctl_certificate_not_after_seconds\{certificate="shop\.example\.com",source="store"/m, 'metrics');

sh($stop);
ok(wait_until(20, sub { return !alive($pid) }), 'it ends');
finish($pid, 'KILL') if alive($pid);

done_testing();

# What a shell in that folder prints; each command must succeed.
sub sh {
    my ($commands) = @_;
    my $nginx = Certctl::Nginx::binary();

    write_file("$dir/step.sh", "set -e\ncd $dir\nnginx() { $nginx -e error.log \"\$@\"; }\n$commands");
    my $said = `/bin/sh $dir/step.sh 2>$dir/stderr`;
    is($?, 0, $commands =~ s/\n.*//sr) or diag slurp("$dir/stderr");
    return $said;
}
