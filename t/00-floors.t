#!/usr/bin/perl
# Every include goes down: a room may know the floors below it, not its
# neighbours, not the floors above. FLOORS in the Makefile is the plan.

use strict;
use warnings;
use Test::More;

# The client talks to the REST API only, so these are all that it may see; the
# module shares the ground floor's names and nothing else.
my %beside = (
    cli => { map { ($_, 1) } qw(http wire x509 util) },
    ngx_certctl_module => { map { ($_, 1) } qw(wire x509) },
);

my ($plan) = slurp('Makefile') =~ /^FLOORS\s*=\s*(.+)$/m or die 'no FLOORS';
my (%floor, $n);

for my $rooms (split ' ', $plan) {
    $n++;
    $floor{$_} = $n for split /,/, $rooms;
}

my @rooms = map { m{^controller/(\w+)/} } glob 'controller/*/';
is(join(' ', grep { !$floor{$_} && !$beside{$_} } @rooms), '', 'every room has a floor');

# one name, one header: all rooms are on the compiler's path
my %home;
push @{ $home{ (m{([^/]+)$})[0] } }, $_ for glob 'controller/*/*.h ngx_certctl_module/*.h';
is(join(' ', map { @{ $home{$_} } } grep { @{ $home{$_} } > 1 } sort keys %home), '',
    'no two headers of one name');

for my $file (sort glob 'controller/*/*.[ch] ngx_certctl_module/*.[ch]') {
    my $room = room($file);
    my @wrong;

    for my $header (slurp($file) =~ /^\s*#\s*include\s+"(.+?)"/mg) {
        push @wrong, $header unless allowed($room, $header);
    }

    is("@wrong", '', $file);
}

# the roof may see everything, and nobody sees the roof
# what one version of NGINX has and another has not stands in one place
is(join(' ', grep { !/compat\.h$/ && slurp($_) =~ /\bnginx_version\b/ }
    glob 'ngx_certctl_module/*.[ch]'), '', 'versions of NGINX are told apart in ngx_certctl_compat.h');

my @roof = grep { @{ $home{ (m{([^/]+)$})[0] } // [] } } glob 'controller/*.h';
is("@roof", '', 'no header on the roof that a room could take for its own');

done_testing();

sub allowed {
    my ($room, $header) = @_;

    return $room !~ /^(?:cli|ngx_certctl_module)$/ && $floor{$room} > $floor{util}
        if $header eq 'sql.h';          # generated from sql/: db and above

    my $to = $home{$header} ? room($home{$header}[0]) : return 0;

    return 1 if $to eq $room;
    return exists $beside{$room}{$to} if $beside{$room};
    return $floor{$to} && $floor{$to} < $floor{$room};
}

sub room {
    my ($file) = @_;
    return $file =~ m{^controller/(\w+)/} ? $1 : (split m{/}, $file)[0];
}

sub slurp {
    my ($file) = @_;

    open my $in, '<', $file or die "$file: $!";
    local $/;
    return scalar <$in>;
}
