# Has what is wrong mirrored again. Nothing is copied or deleted here: lsyncd does it in a pass over everything, through the same gate
# as always. Files that look equal to that pass are made to look different first.
package LsyncdAsCode::Verify::Repair;
use strict;
use warnings;
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath qw(open_source);
use LsyncdAsCode::State   qw(say_error setting);
use LsyncdAsCode::System  qw(fd_path pause ticks);

# Seconds between two looks at whether it is done.
use constant LOOK => 5;

# $look: by what a fault is of, a function that takes paths and returns a reference to a hash of those that are still wrong. Returns
# { path => 1 } of the faults that are still there when time is up.
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

# What cannot be looked at is not known to be right.
sub still {
    my ($look, $of, @faults) = @_;
    my @these = grep { $_->{of} eq $of } @faults or return;
    my $wrong = eval { $look->(map { $_->{path} } @these) };
    return $wrong ? grep({ $wrong->{ $_->{path} } } @these) : @these;
}

# Gives a file of the mirror the time 0: rsync, and the copier of databases, then take it for another than the source. Only what is
# a file there, reached without following a link.
sub look_different {
    my ($volumes, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $volumes->directory('target', $above) // return;
    my $file = open_source(fd_path($directory) . "/$name") // return;
    utime 0, 0, $file or die "cannot set the time of $path in the mirror: $!\n";
    return;
}

# The mark that makes the supervisor have everything mirrored again.
sub request_pass {
    my ($mark) = @_;
    open my $handle, '>', $mark or die "cannot write $mark: $!\n";
    close $handle;
    return;
}

1;
