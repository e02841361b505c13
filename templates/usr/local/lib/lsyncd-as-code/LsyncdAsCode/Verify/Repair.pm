# Makes lsyncd mirror faulty files again. Copies and deletes nothing itself: lsyncd does that in a full pass, through the same
# gate as always. Files that this pass would take for equal get another time first.
package LsyncdAsCode::Verify::Repair;
use strict;
use warnings;
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath qw(open_source);
use LsyncdAsCode::State   qw(say_error setting);
use LsyncdAsCode::System  qw(fd_path pause ticks);

# Seconds between two checks whether the repair is done.
use constant LOOK => 5;

# $look: for file and database, a function that takes paths and returns a reference to a hash of those that are still faulty.
# Returns { path => 1 } of the faults that remain after the timeout.
sub repair {
    my ($volumes, $option, $faults, $look) = @_;
    for my $fault (grep { $_->{same} } @$faults) {
        eval { look_different($volumes, $fault->{path}); 1 } or say_error($@ =~ s/\s+\z//r);
    }
    request_pass(setting('resync_file'));
    my @left = @$faults;
    my $end = ticks() + $option->{repair_timeout};
    while (@left && ticks() < $end) {
        pause(LOOK);
        @left = map { still($look->{$_}, $_, @left) } sort keys %$look;
    }
    return map { $_->{path} => 1 } @left;
}

# A file that cannot be checked counts as faulty.
sub still {
    my ($look, $of, @faults) = @_;
    my @these = grep { $_->{of} eq $of } @faults or return;
    my $wrong = eval { $look->(map { $_->{path} } @these) };
    return $wrong ? grep({ $wrong->{ $_->{path} } } @these) : @these;
}

# Sets the time of a file of the mirror to 0, so that rsync and the database copier take it for different from the source. Only
# for a regular file, reached without following a link.
sub look_different {
    my ($volumes, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $volumes->directory('target', $above) // return;
    my $file = open_source(fd_path($directory) . "/$name") // return;
    utime 0, 0, $file or die "cannot set the time of $path in the mirror: $!\n";
    return;
}

# Sets the mark on which the supervisor starts a full pass.
sub request_pass {
    my ($mark) = @_;
    open my $handle, '>', $mark or die "cannot write $mark: $!\n";
    close $handle;
    return;
}

1;
