# Puts a finished copy in the mirror, and writes the mirror's -wal into its main file. What a reader sees in each
# intermediate state is in docs/decisions/0005-sqlite-copy-order.md.
#
# A $target is a place (Temporary.pm): directory and name.
package LsyncdAsCode::Install;
use strict;
use warnings;
use Fcntl qw(O_RDWR S_ISREG);
use LsyncdAsCode::Beneath qw(open_file remove_file rename_file set_mode set_owner set_times sync_directory);
use LsyncdAsCode::Mark qw(mark_of mark_wal marked_frames read_mark set_mark sync_wal);
use LsyncdAsCode::System qw(fstat_ns sync);
use LsyncdAsCode::Temporary qw(beside);
use LsyncdAsCode::Unit qw(settled);
use LsyncdAsCode::Wal qw(apply_frames valid_frames wal_header);
use Exporter qw(import);

our @EXPORT_OK = qw(finish seal set_attributes follow_attributes install install_wal absorb checkpoint);

# Prepares a temporary -wal for the rename into place: sets owner and mode like the source's database, and syncs it.
sub finish {
    my ($handle, $source, $options, $frames) = @_;
    set_attributes($handle, $source, $options, 1);
    # A batch syncs all its files before it puts them in place.
    if ($options->{batch}) { mark_wal($handle, $frames, $options->{run}) }
    else                   { sync_wal($handle, $frames, $options->{run}) }
    return;
}

sub seal {
    my ($handle, $source, $copied_at, $now, $options) = @_;
    set_attributes($handle, $source, $options, 1);
    # rsync's next comparison of sizes and times must detect a write that left the time unchanged, so the mirror does not
    # get a time that can hide one.
    set_times($handle, settled($source->{mtime}, $copied_at) ? $source->{mtime} : $source->{mtime} - 1);
    set_mark($handle, mark_of(fstat_ns($handle), $source, $copied_at, $now, $options->{run}));
    sync($handle) unless $options->{batch};
    return;
}

# Applies rsync's --owner, --group and --perms to an open file; without --perms a $new one gets the source's mode, less the umask.
sub set_attributes {
    my ($handle, $want, $options, $new) = @_;
    my $have = fstat_ns($handle);
    return unless S_ISREG($have->{mode}) && S_ISREG($want->{mode});
    my $uid = $options->{owner} ? $want->{uid} : $have->{uid};
    my $gid = $options->{group} ? $want->{gid} : $have->{gid};
    if ($uid != $have->{uid} || $gid != $have->{gid}) { set_owner($handle, $uid, $gid) }
    # With another owner, no setuid or setgid bit: it must not run with that owner's rights.
    my $kept = $uid == $want->{uid} && $gid == $want->{gid} ? 07777 : 0777;
    my $mode = $options->{perms} ? $want->{mode} & $kept : $new ? $want->{mode} & 0777 & ~umask : $have->{mode} & 07777;
    if ($mode != ($have->{mode} & 07777)) { set_mode($handle, $mode) }
    return;
}

# The same for a database in the mirror, and its -wal. A file with several hard links may be unrelated.
sub follow_attributes {
    my ($target, $want, $options) = @_;
    for my $place ($target, beside($target, '-wal')) {
        my $handle = open_file(@$place) or next;
        set_attributes($handle, $want, $options) if fstat_ns($handle)->{nlink} == 1;
    }
    return;
}

sub move { my ($from, $to) = @_; rename_file(@$from, @$to); return }

# Puts a sealed main file, and its WAL if it has one, in the mirror. The decision record describes each intermediate state.
# With a batch this happens once the batch is on the disk.
sub install {
    my ($target, $temporary, $main, $wal, $header, $options) = @_;
    if (my $batch = $options->{batch}) {
        $temporary->{held} = 1;
        $batch->later(sub { put($target, $main, $wal, $header, $options->{run}); $temporary->discard($main, $header ? $wal : ()) }, sub { $temporary->discard });
        return;
    }
    put($target, $main, $wal, $header, $options->{run});
    sync_directory($target->[0]);
    return;
}

sub put {
    my ($target, $main, $wal, $header, $run) = @_;
    my $target_wal = beside($target, '-wal');
    my $old        = open_file(@$target_wal);
    my $old_header = $old ? wal_header($old) : undef;
    remove_file(@{ beside($target, $_) }) for '-shm', '-journal';
    if ($header && $old_header && $old_header->{raw} eq $header->{raw} && is_of_run($old, $target, $run)) {
        # The same generation, longer: it fits the old main file as well as the new one. (In another run of lsyncd a power cut may have taken
        # frames that the old main file has, and others are in their place.)
        move($wal, $target_wal);
        move($main, $target);
    }
    else {
        absorb($old, $old_header, $target) if $old_header;
        remove_file(@$target_wal);
        move($main, $target);
        move($wal, $target_wal) if $header;
    }
    return;
}

# Returns true if the mirror has a main file, and this and its -wal were made in this run of lsyncd.
sub is_of_run {
    my ($wal, $target, $run) = @_;
    my $main = open_file(@$target) or return 0;
    my $mark = read_mark($main, $run);
    return $mark && $mark->{known} && (marked_frames($wal, -s $wal, $run))[1];
}

# Puts a finished -wal beside the main file that it belongs to.
sub install_wal {
    my ($target, $temporary, $wal, $options) = @_;
    if (my $batch = $options->{batch}) {
        $temporary->{held} = 1;
        $batch->later(sub { move($wal, beside($target, '-wal')); $temporary->discard($wal) }, sub { $temporary->discard });
        return;
    }
    move($wal, beside($target, '-wal'));
    sync_directory($target->[0]);
    return;
}

# Writes the mirror's WAL into the mirror's main file, so that removing it does not revert changes. Until it is
# removed, a reader takes those pages from the WAL, so it never sees a half-written main file.
sub absorb {
    my ($wal, $header, $target) = @_;
    my $main = open_file(@$target, O_RDWR) or return;
    my $frames = valid_frames($wal, $header, 0) or return;
    checkpoint($wal, $header, $frames, $main);
    return;
}

# Writes the frames of the mirror's WAL into the mirror's main file, in place. Until the main file is on the disk, readers
# need the WAL, so the WAL is synced first. The mark is cleared: a power cut may set back the main file's time, and the
# mark would then match a state that the file no longer has.
sub checkpoint {
    my ($wal, $header, $frames, $main, $finish) = @_;
    set_mark($main, '-');
    sync($main);
    sync($wal);
    apply_frames($wal, $header, $frames, $main);
    $finish->() if $finish;
    sync($main);
    return;
}

1;
