#!/usr/bin/perl
# A host with hundreds of certificates is read in pages: as long as nothing changes
# one request is enough, and what is new is asked for by its page alone.

use strict;
use warnings;
use Certctl::PKI qw(fingerprint new_key);
use Certctl::Process qw(run slurp wait_until);
use Certctl::Story;
use Test::More;

my $COUNT = 600;
my @names = map { sprintf 'n%04d.example', $_ } 1 .. $COUNT;
my $s = Certctl::Story->new(names => [], config => "inventory_interval = 1\n", register => 0,
    control => "access_log %%DIR%%/control.log;\n", servers => servers('first'));

sub servers {
    my ($more) = @_;

    return <<"CONF";
    server_names_hash_max_size 8192;
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name $more.example @names;
        certctl on;
    }
    server {
        listen unix:%%DIR%%/private/control.sock;
        certctl_agent;
    }
CONF
}

my $ca  = Certctl::PKI->ca('Some CA');
my $key = new_key('ec-p256');
my $dir = $s->nginx->dir;
my %live;

# As an operator on the host does it.
sub command {
    my ($method, $path, $type, $body) = @_;
    my $file = $s->nginx->file('body', $body);

    return run('/dev/null', 'curl', '-sSf', '--unix-socket', "$dir/private/control.sock", '-X', $method,
        '-H', "Content-Type: $type", '--data-binary', "\@$file", "http://h/certctl/v1$path");
}

sub bulk {
    my (@of) = @_;
    my $body = '';

    for my $name (@of) {
        my ($crt) = $ca->issue(names => [$name], key => $key);
        $live{$name} = fingerprint($crt);
        $body .= "\@$name keygen=server\n$crt" . $ca->cert . $key;
    }

    return command('POST', '/certificates', 'application/x-certctl-bulk', $body);
}

my @load = @names;
while (my @part = splice @load, 0, 300) {
    is bulk(@part), 0, scalar(@part) . ' certificates are pushed';
}

# What the controller has of the host: fingerprint by record.
sub seen {
    my (%seen, $next);

    for my $page (1 .. 9) {
        my $rows = $s->get("discovered-certificates?per_page=500&page=$page")->{data};
        $seen{ $_->{record} // '' } = $_->{fingerprint_sha256} for @$rows;
        last if @$rows < 500;
    }

    return \%seen;
}

sub same { return join ' ', map { "$_ $_[0]{$_}" } grep { length } sort keys %{ $_[0] } }

# The requests for reports, in their order: what was asked for, and the status.
sub asked {
    my ($from) = @_;
    my @lines = (slurp("$dir/control.log") // '') =~ m{"GET /certctl/v1/certificates(\S*) HTTP/[\d.]+" (\d+)}g;
    my @asked;

    push @asked, "$1 $2" while "@lines[0 .. $#lines]" && @lines
        && join(' ', splice @lines, 0, 2) =~ /^(\S*) (\d+)$/;
    return @asked[$from // 0 .. $#asked];
}

# Everything that was asked for until the controller knows what is live.
sub settles {
    my ($what, $change) = @_;
    my $before = () = asked();

    $change->();
    ok wait_until(60, sub { return same(seen()) eq same(\%live) }), "$what: the controller knows it";
    ok wait_until(30, sub { return (asked())[-1] =~ / 304$/ }), "$what: until nothing is new";
    return asked($before);
}

my @first = settles('a new host', sub { $s->{agent} = $s->register });
is scalar(grep { /form=full/ } @first), 2, 'two pages in full' or diag join "\n", @first;
is scalar(grep { /form=(?!full|compact)|^ / } @first), 0, 'and nothing but pages';

my @idle = settles('nothing', sub {
    my $n = () = asked();
    wait_until(30, sub { my @now = asked(); return @now >= $n + 3 });
});
is scalar(grep { !/form=compact&limit=\d+ 304$/ } @idle), 0, 'as long as nothing changes: 304' or diag join "\n", @idle;

my $of = $s->get('discovered-certificates?per_page=1&sort=common_name')->{data}[0];
my @one = settles('one renewed certificate', sub { bulk('n0600.example') });
is scalar(grep { /form=full/ } @one), 1, 'one page is asked for in full' or diag join "\n", @one;
my $after = $s->get("discovered-certificates/$of->{id}");
is $after->{first_seen_at}, $of->{first_seen_at}, 'another certificate is the same row';
cmp_ok $after->{last_seen_at}, 'gt', $of->{last_seen_at}, 'that was seen again';

settles('a certificate that is deleted', sub {
    delete $live{'n0001.example'};
    command('DELETE', '/certificates/n0001.example', 'text/plain', '');
});

$s->{servers} = servers('second');
my @all = settles('another configuration', sub {
    $s->configure;
    $s->nginx->reload;
    wait_until(30, sub { return grep { /form=full/ } asked() });
});
ok wait_until(30, sub { return grep { grep { $_ eq 'second.example' } @{ $_->{server_names} } }
    @{ $s->get('discovered-certificates?per_page=500&page=2')->{data} } }), 'is read whole: names of servers may be others';

is $s->stop, 0, 'SIGTERM ends the daemon well';
done_testing();
