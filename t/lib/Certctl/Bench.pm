package Certctl::Bench;

# Measures variants side by side and keeps what was found as JSON.
#
#   my $b = Certctl::Bench->new('handshake', variants => [qw(static stored)]);
#   $b->rounds(7, sub { my ($round, $variant) = @_; return { rate => ... } });
#   $b->compare('stored/static, handshakes', rate => qw(stored static), least => 0.95);
#   $b->figure('PUT p99', $ms, unit => 'ms', most => 20);
#   $b->finish;
#
# or, when many variants stand beside each other, as a table of them:
#
#   $b->table('static', 'stored', 'lua');
#   $b->row('handshakes a second', rate => [qw(static stored lua)],
#       wanted => [[1, 0, least => 0.98]]);
#
# The variants of a round follow each other, each round in another order, so
# that what else the machine does hits all of them.

use strict;
use warnings;
use Certctl::Nginx;
use Certctl::Process qw(slurp write_file);
use Exporter 'import';
use IO::Handle;
use JSON::PP ();
use List::Util ();
use POSIX ();
use Time::HiRes 'time';

our @EXPORT_OK = qw(median percentile cpu_seconds memory_kb own_kb resident_kb disk_ms tool short
    pin);

my $root = $ENV{B} || 'build';

sub new {
    my ($class, $name, %o) = @_;

    $| = 1;
    printf "%s\n", $name;
    return bless { name => $name, title => $o{title} // $name,
        variants => $o{variants}, note => $o{note},
        packages => $o{packages} // [], load => [load()], begun => time, rounds => [], figures => [] }, $class;
}

# BENCH_SHORT=1 is for who writes a benchmark: its figures mean nothing.
sub short { return !!$ENV{BENCH_SHORT} }

# Calls $run for each variant in each of $count rounds; it returns
# { measure => number } (or nothing: the variant sits this round out).
sub rounds {
    my ($self, $count, $run, @variants) = @_;

    @variants = @{ $self->{variants} } if !@variants;
    $count = 2 if short() && $count > 2;

    for my $round (1 .. $count) {
        my %found;

        for my $variant (@variants) {
            my $got = $run->($round, $variant) or next;
            $found{$variant} = $got;
            $self->say('round %d  %-14s %s', $round, $variant, join '  ', map {
                "$_ " . readable($got->{$_}) } sort keys %$got);
        }

        push @{ $self->{rounds} }, \%found;
        push @variants, shift @variants;
    }

    return;
}

sub say {
    my ($self, $format, @values) = @_;
    printf "  %6.1f s  $format\n", time - $self->{begun}, @values;
    return;
}

# Values of a measure in all rounds.
sub values_of {
    my ($self, $variant, $measure) = @_;
    return grep { defined } map { $_->{$variant}{$measure} } @{ $self->{rounds} };
}

sub median_of {
    my ($self, $variant, $measure) = @_;
    return median($self->values_of($variant, $measure));
}

# The ratio of two variants: the median of each round's own ratio.
sub compare {
    my ($self, $label, $measure, $one, $other, %o) = @_;
    my @ratio = map { $_->{$one}{$measure} / $_->{$other}{$measure} }
        grep { $_->{$one}{$measure} && $_->{$other}{$measure} } @{ $self->{rounds} };

    return $self->figure($label, scalar median(@ratio), unit => 'ratio', %o);
}

# A figure of its own; least or most is its target.
sub figure {
    my ($self, $label, $value, %o) = @_;

    push @{ $self->{figures} }, { label => $label, value => $value, %o };
    return $value;
}

# From now on rows: what stands at their heads.
sub table {
    my ($self, @columns) = @_;

    $self->{table} = { columns => \@columns, rows => [] };
    return;
}

# The variants' medians of a measure, each with its ratio to the first one's unless
# ratio => 0; wanted: [column, other column, least or most => ratio].
sub row {
    my ($self, $label, $measure, $variants, %o) = @_;
    my $columns = $self->{table}{columns};
    my (@cells, @said);

    for my $n (0 .. $#$variants) {
        my $value = $self->median_of($variants->[$n], $measure);

        push @cells, defined $value ? readable($value) : '';
        next if !defined $value;
        $self->figure("$label: $columns->[$n]", $value, unit => $measure);
        next if $n == 0 || !($o{ratio} // 1);
        my $ratio = $self->compare("$label: $columns->[$n] / $columns->[0]", $measure,
            $variants->[$n], $variants->[0]);
        $cells[-1] .= ' (' . small($ratio) . ')' if defined $ratio;
    }

    for my $want (@{ $o{wanted} // [] }) {
        my ($one, $other, %target) = @$want;

        $self->compare("$label: $columns->[$one] / $columns->[$other], wanted",
            $measure, @$variants[$one, $other], %target);
        push @said, verdict($self->{figures}[-1], "/ $columns->[$other] ");
    }

    push @{ $self->{table}{rows} }, [$label, @cells, join '; ', @said];
    return;
}

# A measure's sum over all rounds, of the sum of another.
sub sum {
    my ($self, $label, $measure, $of, $variants, %o) = @_;
    my $columns = $self->{table}{columns};
    my (@cells, @said);

    for my $n (0 .. $#$variants) {
        my $all = List::Util::sum0($self->values_of($variants->[$n], $of));
        my $sum = List::Util::sum0($self->values_of($variants->[$n], $measure));
        my ($want) = grep { $_->[0] == $n } @{ $o{wanted} // [] };

        push @cells, $all ? "$sum of $all" : '';
        next if !$all;
        $self->figure("$label: $columns->[$n]", $sum, unit => "of $all",
            $want ? @$want[1 .. $#$want] : ());
        push @said, verdict($self->{figures}[-1], '') if $want;
    }

    push @{ $self->{table}{rows} }, [$label, @cells, join '; ', @said];
    return;
}

sub verdict {
    my ($figure, $what) = @_;

    return if !defined $figure->{value};        # not measured
    return sprintf '%s%s (%s %s)%s', $what, small($figure->{value}),
        defined $figure->{least} ? '>=' : '<=', readable($figure->{least} // $figure->{most}),
        met($figure) ? '' : ' NOT MET';
}

sub met {
    my ($figure) = @_;
    my ($value, $least, $most) = @$figure{qw(value least most)};

    return undef if !defined $least && !defined $most;      ## no critic
    return 0 if !defined $value;
    return (!defined $least || $value >= $least) && (!defined $most || $value <= $most) ? 1 : 0;
}

# Writes build/bench/<name>.json and prints the figures.
sub finish {
    my ($self) = @_;
    my (%unit, %ratio, %target, %met, %median);

    for my $f (@{ $self->{figures} }) {
        my $label = $f->{label};
        my $met   = met($f);

        $unit{$label}   = $f->{unit} // 'ratio';
        $ratio{$label}  = defined $f->{value} ? 0 + $f->{value} : undef;
        $target{$label} = defined $f->{least} ? ">= $f->{least}" : "<= $f->{most}" if defined $met;
        $met{$label}    = $met ? JSON::PP::true() : JSON::PP::false() if defined $met;
    }

    for my $round (@{ $self->{rounds} }) {
        for my $variant (keys %$round) {
            $median{$variant}{$_} //= $self->median_of($variant, $_)
                for keys %{ $round->{$variant} };
        }
    }

    mkdir "$root/bench";
    write_file("$root/bench/$self->{name}.json", JSON::PP->new->canonical->pretty->encode({
        name => $self->{name}, title => $self->{title}, date => POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime),
        seconds => int(time - $self->{begun}), machine => machine($self->{load}),
        versions => versions(@{ $self->{packages} }), table => $self->{table}, note => $self->{note}, short => short() ? 1 : 0,
        variants => $self->{variants}, rounds => $self->{rounds}, median => \%median,
        order => [map { $_->{label} } @{ $self->{figures} }],
        unit => \%unit, ratio => \%ratio, target => \%target, met => \%met }));
    return;
}

sub machine {
    my ($before) = @_;
    my ($cpu)   = (slurp('/proc/cpuinfo') // '') =~ /^model name\s*:\s*(.+)$/m;
    my @cores   = (slurp('/proc/cpuinfo') // '') =~ /^processor\s*:/mg;
    my ($total) = (slurp('/proc/meminfo') // '') =~ /MemTotal:\s*(\d+)/;

    return { cpu => $cpu, cores => scalar @cores, kernel => (POSIX::uname())[2],
        memory_mb => int($total / 1024), load => { before => $before, after => [load()] } };
}

sub load { return map { 0 + $_ } (split ' ', slurp('/proc/loadavg'))[0 .. 2] }

sub versions {
    my %version = (
        nginx    => said(qr{nginx/(\S+)}, Certctl::Nginx::binary(), '-v'),
        openssl  => said(qr{OpenSSL (\S+)}, 'openssl', 'version'),
        postgres => said(qr{\) (\S+)}, (glob '/usr/lib/postgresql/*/bin/postgres')[-1], '-V'),
        certctl  => said(qr{CERTCTL_VERSION\s+"(.+?)"}, 'grep', '-r', 'CERTCTL_VERSION', 'controller/wire'),
        map { ("package $_" => said(qr{(\S+)}, 'dpkg-query', '-W', '-f', '${Version}', $_)) } @_,
    );

    return \%version;
}

sub said {
    my ($pattern, @command) = @_;

    open my $out, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command or return;
    local $/;
    my ($found) = <$out> =~ $pattern;
    close $out;
    return $found;
}

sub median { return percentile(50, @_) }

# Nearest rank; the middle of two for the median of an even count.
sub percentile {
    my ($percent, @values) = @_;
    my @sorted = sort { $a <=> $b } @values or return;
    my $rank   = $percent / 100 * @sorted;

    return ($sorted[@sorted / 2 - 1] + $sorted[@sorted / 2]) / 2
        if $percent == 50 && @sorted % 2 == 0;
    return $sorted[POSIX::ceil($rank) - 1];
}

sub readable {
    my ($value) = @_;

    return 'none' if !defined $value;
    return $value =~ /^-?\d+$/ ? $value : sprintf abs $value >= 100 ? '%.0f' : '%.3f', $value;
}

# A ratio may be a thousandth.
sub small {
    my ($value) = @_;
    return defined $value && $value && abs $value < 0.1 ? sprintf '%.2g', $value : readable($value);
}

# What processes have used of a processor, by the scheduler's own account.
sub cpu_seconds {
    my $sum = 0;

    for my $pid (@_) {
        $sum += (split ' ', $_)[0] for grep { defined } map { slurp($_) }
            glob "/proc/$pid/task/*/schedstat";
    }

    return $sum / 1e9;
}

# Proportional set size: pages that processes share count once in the sum.
sub memory_kb {
    my $sum = 0;

    for my $pid (@_) {
        my ($kb) = (slurp("/proc/$pid/smaps_rollup") // '') =~ /^Pss:\s+(\d+)/m;
        $sum += $kb // 0;
    }

    return $sum;
}

# The same without pages of files: a library's share of them grows when another
# process that has it mapped ends, also one that is not ours.
sub own_kb {
    my $sum = 0;

    for my $pid (@_) {
        $sum += $_ for (slurp("/proc/$pid/smaps_rollup") // '') =~ /^Pss_(?:Anon|Shmem):\s+(\d+)/mg;
    }

    return $sum;
}

sub resident_kb {
    my ($pid) = @_;
    my ($kb)  = (slurp("/proc/$pid/status") // '') =~ /^VmRSS:\s+(\d+)/m;
    return $kb // 0;
}

# What no durable write can do without, in this folder: write, fsync, rename, fsync.
sub disk_ms {
    my ($dir, $bytes) = @_;
    my $data  = 'x' x $bytes;
    my $begin = time;

    open my $out, '>', "$dir/disk.new" or die "disk: $!";
    print $out $data;
    $out->flush && $out->sync or die "disk: $!";
    close $out;
    rename "$dir/disk.new", "$dir/disk" or die "disk: $!";
    open my $folder, '<', $dir or die "disk: $!";
    $folder->sync or die "disk: $!";
    close $folder;
    return (time - $begin) * 1000;
}

# A program of t/bench, as make has built it.
sub tool {
    my ($name) = @_;

    die "$root/t/bench/$name is not built: make bench\n" if !-x "$root/t/bench/$name";
    return "$root/t/bench/$name";
}

# A command on one core; on a machine that has only one, as it is.
sub pin {
    my ($core, @command) = @_;
    my @cores = (slurp('/proc/cpuinfo') // '') =~ /^processor\s*:/mg;

    return @cores > 1 ? ('taskset', '-c', $core, @command) : @command;
}

1;
