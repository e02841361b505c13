# Puts a finished copy in the mirror, and writes the mirror's -wal into its main file. What each state in between reads
# as is in docs/decisions/0005-sqlite-copy-order.md.
#
# A $target is a place (Temporary.pm): directory and name.
package LsyncdAsCode::Install;
use strict;
use warnings;
use Fcntl qw(:DEFAULT :mode);
use LsyncdAsCode::Beneath qw(open_file remove_file rename_file set_mode set_owner set_times status sync_directory);
use LsyncdAsCode::Mark qw(mark_of mark_wal set_mark sync_wal);
use LsyncdAsCode::System qw(fstat_ns sync);
use LsyncdAsCode::Temporary qw(beside);
use LsyncdAsCode::Unit qw(settled);
use LsyncdAsCode::Wal qw(apply_frames valid_frames wal_header);
use Exporter qw(import);

our @EXPORT_OK = qw(finish seal set_attributes follow_attributes install install_wal absorb checkpoint);

# Makes a temporary -wal ready to be renamed into place: owner and mode of the source's database, on the disk.
sub finish {
    my ($handle, $source, $options, $frames) = @_;
    set_attributes($handle, $source, { %$options, new => 1 });
    # In a batch, what was written is on the disk before it is put in place.
    if ($options->{batch}) { mark_wal($handle, $frames) }
    else                   { sync_wal($handle, $frames) }
    return;
}

sub seal {
    my ($handle, $source, $copied_at, $now, $options) = @_;
    set_attributes($handle, $source, { %$options, new => 1 });
    # A write that left the time as it was must be seen by the next look at sizes and times, which is rsync's: so a time
    # that can hide one is not the mirror's.
    set_times($handle, settled($source->{mtime}, $copied_at) ? $source->{mtime} : $source->{mtime} - 1);
    set_mark($handle, mark_of(fstat_ns($handle), $source, $copied_at, $now));
    sync($handle) unless $options->{batch};
    return;
}

# As rsync's --owner, --group and --perms, on an open file; without --perms a new file gets the source's mode within the umask.
sub set_attributes {
    my ($handle, $want, $options) = @_;
    my $have = fstat_ns($handle);
    return unless S_ISREG($have->{mode}) && S_ISREG($want->{mode});
    my $uid = $options->{owner} ? $want->{uid} : $have->{uid};
    my $gid = $options->{group} ? $want->{gid} : $have->{gid};
    if ($uid != $have->{uid} || $gid != $have->{gid}) { set_owner($handle, $uid, $gid) }
    # Of another owner it must not run with that one's rights.
    my $kept = $uid == $want->{uid} && $gid == $want->{gid} ? 07777 : 0777;
    my $mode = $options->{perms} ? $want->{mode} & $kept : $options->{new} ? $want->{mode} & 0777 & ~umask : $have->{mode} & 07777;
    if ($mode != ($have->{mode} & 07777)) { set_mode($handle, $mode) }
    return;
}

# The same for a database that is in the mirror already, with its -wal. One with other names may be somebody else's file.
sub follow_attributes {
    my ($target, $want, $options) = @_;
    for my $place ($target, beside($target, '-wal')) {
        my $handle = open_file(@$place) or next;
        set_attributes($handle, $want, $options) if fstat_ns($handle)->{nlink} == 1;
    }
    return;
}

sub move { my ($from, $to) = @_; rename_file(@$from, @$to); return }

# Puts a sealed main file, and its WAL if it has one, in the mirror. See the decision record for each state between. With a
# batch that is done when the batch is on the disk.
sub install {
    my ($target, $temporary, $main, $wal, $header, $options) = @_;
    if (my $batch = $options->{batch}) {
        $temporary->{held} = 1;
        $batch->later(sub { put($target, $main, $wal, $header); $temporary->discard }, sub { $temporary->discard });
        return;
    }
    put($target, $main, $wal, $header);
    sync_directory($target->[0]);
    return;
}

sub put {
    my ($target, $main, $wal, $header) = @_;
    my $target_wal = beside($target, '-wal');
    my $old        = open_file(@$target_wal);
    my $old_header = $old ? wal_header($old) : undef;
    remove_file(@{ beside($target, $_) }) for '-shm', '-journal';
    if ($header && $old_header && $old_header->{raw} eq $header->{raw} && status(@$target)) {
        # The same generation, longer: it belongs to the old main file as well as to the new one.
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

# Puts a finished -wal beside the main file that it belongs to.
sub install_wal {
    my ($target, $temporary, $wal, $options) = @_;
    if (my $batch = $options->{batch}) {
        $temporary->{held} = 1;
        $batch->later(sub { move($wal, beside($target, '-wal')); $temporary->discard }, sub { $temporary->discard });
        return;
    }
    move($wal, beside($target, '-wal'));
    sync_directory($target->[0]);
    return;
}

# Writes the mirror's WAL into the mirror's main file, so that it can go without a step back in time. Until it is
# gone a reader takes those pages from the WAL, so a half-written main file is never seen.
sub absorb {
    my ($wal, $header, $target) = @_;
    my $main = open_file(@$target, O_RDWR) or return;
    my $frames = valid_frames($wal, $header, 0) or return;
    checkpoint($wal, $header, $frames, $main);
    return;
}

# Writes the frames of the mirror's WAL into the mirror's main file, in place. Until that is on the disk the WAL is what
# counts, so it must be there first; and a main file whose time a power cut has set back must not be taken for what its
# mark says.
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
