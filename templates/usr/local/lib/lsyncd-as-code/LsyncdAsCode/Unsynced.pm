# What may not be on the target's disk yet. After a power cut a file can have the size and the time of its source and another content,
# and rsync takes it for equal. So a record on the target says since when something may be missing. It is on the disk before a pass
# writes anything; the supervisor moves it on, and removes it, after a sync. One that another run of lsyncd has left means that it was
# not stopped in order: Recheck.pm. Why it is done this way: docs/decisions/0013-power-cuts.md.
package LsyncdAsCode::Unsynced;
use strict;
use warnings;
use Fcntl qw(:DEFAULT :flock);
use LsyncdAsCode::Beneath       qw(remove_file);
use LsyncdAsCode::Gate::Private qw(open_private read_file write_file);
use LsyncdAsCode::System        qw(read_at sync_file_system write_at);

# The record in the private directory of the target, "RUN SECONDS": the run of lsyncd that wrote it, and seconds since 1970.
use constant NAME => 'unsynced';
# Seconds by which the kernel's time of a change can be behind the clock, and the clock be set back unseen.
use constant MARGIN => 2;

# What the supervisor calls this run of lsyncd: no other has the same.
sub run { return $ENV{LSYNCD_RUN} // 'none' }

# Before a pass writes anything to the target. Returns { run, since } of the record that is on the disk then. Dies when it cannot be
# written.
sub begin {
    my ($settings, $root) = @_;
    my $lock = counted($settings->text('run_directory'), 1);
    my $have = record($root);
    my $now  = time;
    # A clock that was set back gives later changes an earlier time.
    return $have if $have && $have->{since} <= $now;
    return put($root, $have ? $have->{run} : run(), $now - MARGIN);
}

# What another run has left undone is done: from here on it is this run's.
sub adopt {
    my ($root, $since) = @_;
    return put($root, run(), $since);
}

# Brings the target to its disk and then moves the record on or, when nothing was written meanwhile, removes it. Returns whether nothing
# is left to do. Only for a record of this run. Dies when the disk refuses.
sub settle {
    my ($settings, $root) = @_;
    my $have = record($root) or return 1;
    return 0 if $have->{run} ne run();
    my $busy  = passes($settings);
    my $began = count($settings);
    # All that was changed before is on the disk after the sync. (A write leaves its time when it is made, not when it gets there.)
    my $since = time - MARGIN;
    sysopen my $top, $root, O_RDONLY | O_DIRECTORY or die "cannot open $root: $!\n";
    sync_file_system($top);
    # No pass begins while this is held: each has its mark, and then looks at the record.
    my $lock = counted($settings->text('run_directory'), 0);
    my $private = open_private($root, 0) or return 1;
    if ($busy || passes($settings) || count($settings) != $began) {
        put($root, run(), $since);
        return 0;
    }
    # Not synced: the record that a power cut brings back only costs a comparison.
    remove_file($private, NAME);
    return 1;
}

# How many passes have begun, as a number that rises.
sub count {
    my ($settings) = @_;
    open my $file, '<', $settings->text('run_directory') . '/passes-begun' or return 0;
    return (<$file> // '') =~ /\A(\d+)/ ? $1 + 0 : 0;
}

# Locks that number, and adds to it. Held until what this returns is gone.
sub counted {
    my ($directory, $more) = @_;
    my $path = "$directory/passes-begun";
    sysopen my $file, $path, O_RDWR | O_CREAT or die "cannot open $path: $!\n";
    flock $file, LOCK_EX or die "cannot lock $path: $!\n";
    return $file if !$more;
    my $count = read_at($file, 0, 32) =~ /\A(\d+)/ ? $1 + 1 : 1;
    # It never gets shorter.
    eval { write_at($file, 0, "$count\n"); 1 } or die "$path: $@";
    return $file;
}

# Whether a pass is under way.
sub passes { my ($settings) = @_; return scalar(my @marks = glob $settings->text('pass_prefix') . '*') }

# The record; undef when there is none.
sub record {
    my ($root) = @_;
    my $private = open_private($root, 0) // return undef;
    my $text = read_file($private, NAME) // return undef;
    return $text =~ /\A(\S+) (\d{1,12})\n\z/ ? { run => $1, since => $2 + 0 } : { run => '?', since => 0 };
}

sub put {
    my ($root, $run, $since) = @_;
    write_file(open_private($root, 1), NAME, "$run $since\n");
    return { run => $run, since => $since };
}

1;
