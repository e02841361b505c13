# How long deleted files have been kept, in seconds for which the host was up. The clock does not count: after a boot with a wrong
# one, everything that is kept would be past its days. Time between two boots is left out, so files are rather kept for longer.
#
# The record is in root's own directory of the target: "BOOT UPTIME TOTAL", then a line "HOUR SINCE" for each hour of kept
# entries, where SINCE is the total at its last addition. An hour without a line begins when it is first seen.
package LsyncdAsCode::Gate::Age;
use strict;
use warnings;
use LsyncdAsCode::Private qw(read_file write_file);
use LsyncdAsCode::System  qw(clock start_time);

# The file; and the seconds for which it is left as it is, because each write is synced.
use constant { NAME => 'deleted.ages', EVERY => 3600 };
# Linux, include/uapi/linux/time.h: it goes on while a host is suspended.
use constant CLOCK_BOOTTIME => 7;

# Reads the record in an open private directory.
sub new {
    my ($class, $private) = @_;
    my $self = bless { private => $private, since => {}, total => 0, saved => 0, changed => 0 }, $class;
    my ($first, @lines) = split /\n/, read_file($private, NAME) // '';
    @$self{qw(boot uptime)} = (boot(), uptime());
    if (($first // '') =~ /\A(\S+) (\d{1,12}) (\d{1,12})\z/) {
        my ($boot, $uptime, $total) = ($1, $2, $3);
        $self->{saved} = $total;
        $self->{total} = $total + ($boot eq $self->{boot} && $self->{uptime} > $uptime ? $self->{uptime} - $uptime : 0);
        for (@lines) { $self->{since}{$1} = $2 + 0 if /\A(\S+) (\d{1,12})\z/ && $2 <= $self->{total} }
        # Otherwise this boot counts from its next record on.
        $self->{changed} = 1 if $boot ne $self->{boot};
    }
    return $self;
}

# Returns for how long the entries of an hour have been kept.
sub of {
    my ($self, $hour) = @_;
    if (!defined $self->{since}{$hour}) { $self->{since}{$hour} = $self->{total}; $self->{changed} = 1 }
    return $self->{total} - $self->{since}{$hour};
}

# Records an addition to an hour. A clock that was set back adds to one of the past.
sub added {
    my ($self, $hour) = @_;
    return if $self->of($hour) < EVERY;
    $self->{since}{$hour} = $self->{total};
    $self->{changed} = 1;
    return;
}

# Returns true if an hour has been kept for so many days. Its last addition may be a little younger than its record.
sub is_over { my ($self, $hour, $days) = @_; return $days == 0 || $self->of($hour) >= $days * 86_400 + EVERY ? 1 : 0 }

# Writes the record if it has changed, with the hours that still exist. Without room for it, files are kept for longer.
sub save {
    my ($self, @hours) = @_;
    return unless @hours && ($self->{changed} || $self->{total} - $self->{saved} >= EVERY);
    my $text = "$self->{boot} $self->{uptime} $self->{total}\n" . join '', map { "$_ $self->{since}{$_}\n" } grep { defined $self->{since}{$_} } @hours;
    eval { write_file($self->{private}, NAME, $text); 1 } or warn $@;
    @$self{qw(saved changed)} = ($self->{total}, 0);
    return;
}

# The name of this boot of the host. That of the kernel does not do in a container: lsyncd's unit reads its host's
# (ProtectKernelTunables=), which stays the same when the container boots. The start of process 1 changes then.
sub boot {
    open my $file, '<', '/proc/sys/kernel/random/boot_id' or die "cannot read the boot's name: $!\n";
    my ($name) = readline($file) =~ /\A(\S+)/;
    return "$name." . start_time(1);
}

# Whole seconds since the boot.
sub uptime { my ($seconds) = clock(CLOCK_BOOTTIME); return $seconds }

1;
