#!/usr/bin/perl
# Deployments that are ready together for one host go in one request. Each has its
# own result: one that is refused fails alone, and a controller that is killed in
# between goes on with each.

use strict;
use warnings;
use Certctl::Process qw(alive run slurp wait_until);
use Certctl::Story;
use Test::More;

my @names = map { sprintf 'n%02d.example', $_ } 1 .. 20;

# One thread: what people ask for comes before the deployments, which gather.
my $s = Certctl::Story->new(points => 1, names => \@names,
    config => "job_threads = 1\njob_lease = 3\nreaper_interval = 1\nmax_issuances_per_day = 100\n"
        . "inventory_interval = 86400\nocsp_interval = 86400\n",
    control => "access_log %%DIR%%/control.log;\n", servers => <<'CONF');
    server {
        listen unix:%%DIR%%/private/control.sock;
        certctl_agent;
    }
CONF
my $dir = $s->nginx->dir;
my %id  = map { ($_ => $s->certificate($_)) } @names;

# The requests that bring certificates, since the last call.
my $told = 0;

sub pushes {
    my @lines = (slurp("$dir/control.log") // '') =~ m{"((?:PUT|POST) /certctl/v1/certificates(?:/n\d+\.example)?) HTTP/[\d.]+" (\d+)}g;
    my @new = @lines[$told .. $#lines];
    my (@put, @post);

    $told = @lines;
    while (my ($what, $status) = splice @new, 0, 2) {
        push @{ $what =~ /^PUT/ ? \@put : \@post }, $status;
    }
    return (\@put, \@post);
}

# Those that do not show their newest version.
sub behind {
    return grep {
        my ($newest) = sort { $b->{created_at} cmp $a->{created_at} } $s->versions($id{$_});
        $s->shown($_)->{fingerprint} ne $newest->{fingerprint_sha256};
    } @names;
}

pushes();
$s->renew($id{$_}) for @names;
$s->deployed($id{$_}) for @names;
is join(' ', behind()), '', 'each shows its new certificate';

my ($put, $post) = pushes();

cmp_ok scalar(@$post), '>=', 1, 'certificates went together';
cmp_ok @$put + @$post, '<', @names, 'in fewer requests than there are certificates';
is join(' ', grep { $_ != 200 } @$put, @$post), '', 'all of them were taken';
is scalar(@{ $s->get('jobs?type=Deployment&status=Completed&per_page=100')->{data} }), 20,
    'and each has a job of its own in history';

# one of them is refused: its key on the host is gone
$s->daemon->kill9;
is run('/dev/null', 'curl', '-sSf', '--unix-socket', "$dir/private/control.sock", '-X', 'DELETE',
    'http://h/certctl/v1/certificates/n07.example'), 0, 'a record is deleted';
$s->daemon->restart;
together('deploy');
ok wait_until(60, sub { return !@{ $s->open_jobs } }), 'deployed once more' or diag $s->events;
($put, $post) = pushes();
cmp_ok scalar(@$post), '>=', 1, 'together again';

my @failed = @{ $s->get('jobs?type=Deployment&status=Failed&per_page=100')->{data} };
is join(' ', map { $_->{certificate_id} } @failed), $id{'n07.example'}, 'the one without its key failed';
like $failed[0]{last_error}, qr/the module refuses the certificate with 422: .*key/, 'by the rule of the module';
is scalar(@{ $s->get('jobs?type=Deployment&status=Completed&per_page=100')->{data} }), 39, 'and no other';

# killed between two of them: those that are left are done by the next
for my $place ('deployment.installed:2', 'deployment.confirmed:2', 'job.before_record:25') {
    $s->renew($id{'n07.example'});
    $s->deployed($id{'n07.example'});

    my %before = map { ($_ => scalar $s->versions($id{$_})) } @names;
    $s->daemon->stop;
    $s->daemon->{env} = { CERTCTL_POINT => $place, CERTCTL_POINT_ACT => 'kill' };
    $s->daemon->restart;

    my $pid = $s->daemon->pid;
    eval { together('renew') };
    ok wait_until(60, sub { return !alive($pid) }), "$place: the controller is killed";
    $s->daemon->kill9;
    $s->daemon->{env} = {};
    $s->daemon->restart;

    eval { $s->renew($id{$_}) } for grep { $s->versions($id{$_}) == $before{$_} } @names;
    ok wait_until(90, sub { return !@{ $s->open_jobs } }), "$place: and goes on to the end" or diag $s->events;

    my @odd = grep {
        $s->versions($id{$_}) != $before{$_} + 1
            || $s->get("certificates/$id{$_}")->{status} ne 'Active';
    } @names;
    is join(' ', @odd, behind()), '', "$place: each is issued once, live and Active";
}

is $s->stop, 0, 'SIGTERM ends the daemon well';
done_testing();

# The same for all of them, in one go.
sub together {
    my ($what) = @_;
    $s->post("certificates/$id{$_}/$what") for @names;
    return;
}
