# Deleted files that are kept for some days (setting keepDeletedDays): on the target, in root's own directory (Private.pm),
# below the hour of their deletion, under their former path. `lsyncd-undelete` lists and restores them. The hour is a name for people,
# by a clock that may have been wrong: Age.pm records how long they have been kept.
package LsyncdAsCode::Gate::Kept;
use strict;
use warnings;
use Errno qw(EXDEV);
use Fcntl qw(O_DIRECTORY O_NOFOLLOW O_RDONLY);
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath qw(absent);
use LsyncdAsCode::Gate::Age    ();
use LsyncdAsCode::Gate::Delete ();
use LsyncdAsCode::Gate::Restore ();
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Private qw(inside private read_file write_file);
use LsyncdAsCode::System  qw(fd_path stat_ns O_CLOEXEC);

# Their place in that directory, and the file that holds the number of entries.
use constant { PLACE => 'deleted', COUNT => 'deleted.count' };

# Percent of the target that they leave free.
use constant FREE => 5;

# $root: the target. $days: how long, 0 for not at all.
sub new {
    my ($class, $root, $days) = @_;
    my $private = private($root, $days > 0);
    my $self = bless { days => $days, private => $private, count => 0 }, $class;
    return $self unless $private;
    $self->{place} = inside($private, PLACE, $days > 0) // return $self;
    $self->{count} = (read_file($private, COUNT) // '') =~ /\A(\d+)$/ ? $1 + 0 : 0;
    $self->{age} = LsyncdAsCode::Gate::Age->new($private);
    return $self;
}

sub keeps { my ($self) = @_; return $self->{days} > 0 && $self->{place} ? 1 : 0 }

# The name of an hour.
sub hour_of { my ($time) = @_; my (undef, undef, $h, $day, $month, $year) = gmtime $time; return sprintf '%04d-%02d-%02dT%02d', $year + 1900, $month + 1, $day, $h }

# The number of entries kept here: they do not belong to the mirror.
sub count { my ($self) = @_; return $self->{count} }

# The hours with kept entries, those kept for the longest time first.
sub hours {
    my ($self) = @_;
    return () unless $self->{place};
    opendir my $names, fd_path($self->{place}) . '/.' or die "cannot read the kept files: $!\n";
    my @hours = grep { /\A\d{4}-\d\d-\d\dT\d\d(?:\.\d+)?\z/ } readdir $names;
    my %age = map { $_ => $self->{age}->of($_) } @hours;
    @hours = sort { $age{$b} <=> $age{$a} || $a cmp $b } @hours;
    return @hours;
}

# Moves an entry of the mirror here, with its content. Removes the oldest hours if there is no space. Returns whether it is kept.
sub take {
    my ($self, $target, $path, $entries) = @_;
    while (!eval { $self->move($target, $path, $entries); 1 }) {
        my $error = $@;
        die $error unless $!{ENOSPC} || $!{EDQUOT};
        defined $self->make_room or return 0;
    }
    return 1;
}

sub move {
    my ($self, $target, $path, $entries) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $from = $target->directory($above) // return;
    my $hour = hour_of(time);
    for (my $number = 1;; $number++) {
        my $into = $self->{place};
        my $below = $number == 1 ? $hour : "$hour.$number";
        for my $part ($below, grep { length } split m{/}, $above) { $into = $into && $self->directory($into, $part) }
        # A second deletion of a path within the hour is kept beside the first.
        next if !$into || stat_ns(fd_path($into) . "/$name");
        if (!rename fd_path($from) . "/$name", fd_path($into) . "/$name") {
            $!{EXDEV} or die "cannot keep $path: $!\n";
            $self->copy($target, $path, $entries, $from, $into, $name);
        }
        $self->{age}->added($below);
        last;
    }
    $self->{count} += $entries;
    return;
}

# Copies what is in a subvolume, from where nothing can be renamed to another, and removes it there. What cannot be copied stays in the mirror
# ($! is not the error of a full disk then: that would remove what is kept, and at last delete this without keeping it).
sub copy {
    my ($self, $target, $path, $entries, $from, $into, $name) = @_;
    my $volume = LsyncdAsCode::Gate::Volume->new(fd_path($into) . '/.');
    my $failed = eval { LsyncdAsCode::Gate::Restore::copy($from, $into, $name, $path, FREE); 1 } ? undef : $@ =~ s/\s+\z//r;
    if (defined $failed) {
        my $all = 1e15;
        eval { LsyncdAsCode::Gate::Delete::take($volume, $name, \$all, { leave => {}, everything => 1 }); 1 } or warn $@;
        $! = EXDEV;
        die "it is on another file system than the kept files, and cannot be copied there: $failed\n";
    }
    return if LsyncdAsCode::Gate::Delete::take($target, $path, \$entries, { leave => {} });
    $! = EXDEV;
    die "more was added to it while it was copied to the kept files\n";
}

# A directory above a kept entry; undef if something else has its name.
sub directory {
    my ($self, $into, $part) = @_;
    my $path = fd_path($into) . "/$part";
    if    (mkdir $path, 0700) { $self->{count}++ }
    elsif (!$!{EEXIST})       { die "cannot make a directory for the kept files: $!\n" }
    sysopen my $handle, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return absent($part);
    return $handle;
}

# Records the number of entries here.
sub save {
    my ($self) = @_;
    return unless $self->{private} && $self->{place};
    write_file($self->{private}, COUNT, "$self->{count}\n");
    $self->{age}->save($self->hours);
    return;
}

# Removes expired entries. Returns the number of removed hours.
sub purge {
    my ($self) = @_;
    my @hours = $self->hours;
    my $dropped = $self->drop(grep { $self->{age}->is_over($_, $self->{days}) } @hours);
    $self->{age}->save(@hours) if !$dropped;
    return $dropped;
}

# Removes the oldest hour; returns it, or undef when nothing is left. Prints a message in rsync's format, which the monitor
# reports from the journal. Each hour is tried once, because a process that was in a deleted directory can fill it again.
sub make_room {
    my ($self) = @_;
    for my $hour ($self->hours) {
        next if $self->{tried}{$hour}++;
        print {*STDERR} "rsync: the target is full: the deleted files of $hour (UTC) were removed early\n";
        return $hour if $self->drop($hour);
    }
    return undef;
}

# Removes hours, with everything in them. Returns how many are gone.
sub drop {
    my ($self, @hours) = @_;
    return 0 unless @hours;
    my $gone = 0;
    for my $hour (@hours) {
        my $budget = 1e15;
        my $before = $budget;
        my $volume = LsyncdAsCode::Gate::Volume->new($self->{place});
        eval { LsyncdAsCode::Gate::Delete::take($volume, $hour, \$budget, { leave => {}, everything => 1 }); 1 }
            or warn "cannot delete what was kept at $hour: $@";
        $self->{count} -= $before - $budget;
        $gone++ unless stat_ns(fd_path($self->{place}) . "/$hour");
    }
    $self->{count} = 0 if $self->{count} < 0 || !$self->hours;
    $self->save;
    return $gone;
}

1;
