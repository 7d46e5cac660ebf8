#!/usr/bin/perl
# Every include and every call goes down: a room may know the floors below it,
# not its neighbours, not the floors above.  FLOORS and MODULE_FLOORS in the
# Makefile are the plan of the controller and of the module.

use strict;
use warnings;
use Test::More;

# The client talks to the REST API and reads the sealed store of its host, so these
# are all that it may see.
my %client = map { ($_, 1) } qw(http wire x509 util store/store.h);

# What both programs share, below the module's own floors.
my %shared = map { ($_, 1) } qw(wire x509);

# The identity of a module is what NGINX's own macros take to find a
# configuration, in any file of the module.
my %identity = map { ($_, 1) } qw(ngx_http_certctl_module ngx_stream_certctl_module);

my %floor  = floors('FLOORS');
my %module = floors('MODULE_FLOORS');

is(join(' ', grep { !$floor{$_} && $_ ne 'cli' } rooms('controller')), '',
    'every room of the controller has a floor');
is(join(' ', grep { !$module{$_} } rooms('ngx_certctl_module')), '',
    'every room of the module has a floor');
is(join(' ', glob 'ngx_certctl_module/*.[ch]'), '', 'no file of the module stands outside of a room');

for my $room (map({ "controller/$_" } rooms('controller')),
    map { "ngx_certctl_module/$_" } rooms('ngx_certctl_module'))
{
    my $lines = -e "$room/README.md" ? () = slurp("$room/README.md") =~ /\n/g : 0;
    ok($lines > 0 && $lines <= 20, "$room/README.md has at most 20 lines") or diag("$lines lines");
}

# All rooms of the controller are on the compiler's path: one name, one header.
my %home;
push @{ $home{ base($_) } }, $_ for glob 'controller/*/*.h';
is(join(' ', map { @{ $home{$_} } } grep { @{ $home{$_} } > 1 } sort keys %home), '',
    'no two headers of one name in the controller');
is(join(' ', grep { $home{ base($_) } } glob 'controller/*.h'), '',
    'no header beside the rooms has the name of one inside');

# Objects of an NGINX add-on are named by their last folder and their base name,
# debuggers and logs by the base name.
my %base;
$base{ base($_) }++ for glob 'ngx_certctl_module/*/*.[ch]';
is(join(' ', grep { $base{$_} > 1 } sort keys %base), '', 'no two files of one name in the module');

for my $file (sort glob 'controller/*/*.[ch]') {
    my $room = room($file);
    is(join(' ', grep { !controller_allows($room, $_) } includes($file)), '', $file);
}

for my $file (sort glob 'ngx_certctl_module/*/*.[ch]') {
    my $room = room($file);
    is(join(' ', grep { !module_allows($room, $_) } includes($file)), '', $file);
}

# what one version of NGINX has and another has not stands in one place
is(join(' ', grep { !/compat\.h$/ && slurp($_) =~ /\bnginx_version\b/ }
    glob 'ngx_certctl_module/*/*.[ch]'), '', 'versions of NGINX are told apart in zone/compat.h');

calls();

done_testing();

# A call needs no include, so the object files say who calls whom.
sub calls {
    my $objects = ($ENV{B} // 'build') . '/nginx/objs/addon';
    my (%defined, %needed);

    for my $object (glob "$objects/*/*.o") {
        my $room = (split m{/}, $object)[-2];
        next if !$module{$room};

        open my $nm, '-|', 'nm', '-P', '-g', $object or die "nm: $!";

        while (<$nm>) {
            my ($symbol, $kind) = split;
            $kind eq 'U' ? push(@{ $needed{$room}{$symbol} }, base($object))
                         : ($defined{$symbol} = $room);
        }

        close $nm or die "nm $object";
    }

    is(join(' ', sort keys %needed), join(' ', sort keys %module), 'the objects of every room are there');

    for my $room (sort keys %needed) {
        my @wrong;

        for my $symbol (sort keys %{ $needed{$room} }) {
            my $to = $defined{$symbol} // next;
            next if $to eq $room || $module{$to} < $module{$room} || $identity{$symbol};
            push @wrong, "$symbol of $to in @{ $needed{$room}{$symbol} }";
        }

        is(join(', ', @wrong), '', "$room calls only floors below its own");
    }

    return;
}

sub controller_allows {
    my ($room, $header) = @_;

    return $room ne 'cli' && $floor{$room} > $floor{util}
        if $header =~ /^sql_\w+\.h$/;        # generated from sql/: above util

    return $room eq 'cli' && exists $client{$header} if $header =~ m{/};

    my $to = $home{$header} ? room($home{$header}[0]) : return 0;

    return 1 if $to eq $room;
    return exists $client{$to} if $room eq 'cli';
    return $floor{$to} && $floor{$to} < $floor{$room};
}

sub module_allows {
    my ($room, $header) = @_;

    return $home{$header} && $shared{ room($home{$header}[0]) } if $header !~ m{/};

    my ($to) = split m{/}, $header;

    return 0 if !-e "ngx_certctl_module/$header" || !$module{$to};
    return $to eq $room || $module{$to} < $module{$room};
}

# The rooms of a plan, with their floors from 1.
sub floors {
    my ($name) = @_;
    my ($line) = slurp('Makefile') =~ /^\Q$name\E\s*=\s*(.+)$/m or die "no $name";
    my (%plan, $n);

    for my $rooms (split ' ', $line) {
        $n++;
        $plan{$_} = $n for split /,/, $rooms;
    }

    return %plan;
}

sub rooms { my ($top) = @_; return map { m{([^/]+)/$} } glob "$top/*/" }

sub room { my ($file) = @_; return (split m{/}, $file)[1] }

sub base { my ($file) = @_; return (split m{/}, $file)[-1] }

sub includes { my ($file) = @_; return slurp($file) =~ /^\s*#\s*include\s+"(.+?)"/mg }

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "$file: $!";
    local $/;
    return scalar <$in>;
}
