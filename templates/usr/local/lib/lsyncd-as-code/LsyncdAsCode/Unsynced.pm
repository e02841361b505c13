# Records what may not be on the target's disk yet. After a power cut a file can have the size and time of its source but other
# content, and rsync takes it for equal. So a record on the target holds the time since which data may be missing. It is on the
# disk before a pass writes anything; the supervisor updates or removes it after a sync. A record left by another run of lsyncd
# means an unclean stop: Recheck.pm. The reasons: docs/decisions/0013-power-cuts.md.
package LsyncdAsCode::Unsynced;
use strict;
use warnings;
use Fcntl qw(LOCK_EX O_CREAT O_DIRECTORY O_RDONLY O_RDWR);
use LsyncdAsCode::Beneath       qw(remove_file);
use LsyncdAsCode::Private       qw(private read_file write_file);
use LsyncdAsCode::System        qw(read_at sync_file_system write_at);

# The record in the private directory of the target, "RUN SECONDS": the run of lsyncd that wrote it, and seconds since 1970.
use constant NAME => 'unsynced';
# Seconds by which the kernel's time of a change can lag behind the clock, and by which setting the clock back goes unnoticed.
use constant MARGIN => 2;

# Returns the supervisor's unique name for this run of lsyncd.
sub run { return $ENV{LSYNCD_RUN} // 'none' }

# Called before a pass writes to the target. Returns { run, since } of the record, which is on the disk then. Dies if it cannot
# be written.
sub begin {
    my ($settings, $root) = @_;
    my $lock = counted($settings->text('run_directory'), 1);
    my $have = record($root);
    my $now  = time;
    # A clock that was set back gives later changes an earlier time.
    return $have if $have && $have->{since} <= $now;
    return put($root, $have ? $have->{run} : run(), $now - MARGIN);
}

# The work that another run left is done: from here on the record belongs to this run.
sub adopt {
    my ($root, $since) = @_;
    return put($root, run(), $since);
}

# Syncs the target, then updates the record or, if nothing was written meanwhile, removes it. Returns 1 if nothing is left to
# do. Only for a record of this run. Dies if the disk reports an error.
sub settle {
    my ($settings, $root) = @_;
    my $have = record($root) or return 1;
    return 0 if $have->{run} ne run();
    my $busy  = passes($settings);
    my $began = count($settings);
    # Changes made before the sync are on the disk after it. (A file's time is that of the write call, not of the disk write.)
    my $since = time - MARGIN;
    sysopen my $top, $root, O_RDONLY | O_DIRECTORY or die "cannot open $root: $!\n";
    sync_file_system($top);
    # No pass begins while this is held: each sets its mark first, and then reads the record.
    my $lock = counted($settings->text('run_directory'), 0);
    my $private = private($root, 0) or return 1;
    if ($busy || passes($settings) || count($settings) != $began) {
        put($root, run(), $since);
        return 0;
    }
    # Not synced: if a power cut restores the record, that only costs a comparison.
    remove_file($private, NAME);
    return 1;
}

# Returns the number of passes that have begun.
sub count {
    my ($settings) = @_;
    open my $file, '<', $settings->text('run_directory') . '/passes-begun' or return 0;
    return (<$file> // '') =~ /\A(\d+)/ ? $1 + 0 : 0;
}

# Locks that number, and increases it if $more. The lock is held until the returned handle is closed.
sub counted {
    my ($directory, $more) = @_;
    my $path = "$directory/passes-begun";
    sysopen my $file, $path, O_RDWR | O_CREAT or die "cannot open $path: $!\n";
    flock $file, LOCK_EX or die "cannot lock $path: $!\n";
    return $file if !$more;
    my $count = read_at($file, 0, 32) =~ /\A(\d+)/ ? $1 + 1 : 1;
    # The text never gets shorter.
    eval { write_at($file, 0, "$count\n"); 1 } or die "$path: $@";
    return $file;
}

# Returns true while a pass is running.
sub passes { my ($settings) = @_; return scalar(my @marks = glob $settings->text('pass_prefix') . '*') }

# Returns the record; undef if there is none.
sub record {
    my ($root) = @_;
    my $private = private($root, 0) // return undef;
    my $text = read_file($private, NAME) // return undef;
    return $text =~ /\A(\S+) (\d{1,12})\n\z/ ? { run => $1, since => $2 + 0 } : { run => '?', since => 0 };
}

sub put {
    my ($root, $run, $since) = @_;
    write_file(private($root, 1), NAME, "$run $since\n");
    return { run => $run, since => $since };
}

1;
