# Follows a source in WAL mode by its -wal alone: appends committed frames, or repeats a checkpoint of the source.
package LsyncdAsCode::Follow;
use strict;
use warnings;
use Fcntl qw(O_RDWR);
use LsyncdAsCode::Beneath qw(open_file rename_file set_times sync_directory);
use LsyncdAsCode::Install qw(checkpoint finish);
use LsyncdAsCode::Mark qw(mark_of mark_wal marked_frames set_mark sync_wal);
use LsyncdAsCode::Result qw(deferred need_space);
use LsyncdAsCode::System qw(fstat_ns read_at write_at CHUNK);
use LsyncdAsCode::Temporary qw(beside);
use LsyncdAsCode::Wal qw(closed_frames copy_frames ended_before same_generation sums_of valid_frames wal_header walk_closed WAL_HEADER);
use Exporter qw(import);

our @EXPORT_OK = qw(mirrored_wal append hand_over);

# Returns handle, header and number of valid frames of the mirror's -wal, and whether all of them are on the disk and the source's in this
# run of lsyncd; nothing if there is none. After a power cut any block of an append may be missing, even in the middle: frames that were not
# known to be on the disk are checked.
sub mirrored_wal {
    my ($target, $run) = @_;
    my $copy = open_file(@{ beside($target, '-wal') }, O_RDWR) or return;
    my $header = wal_header($copy) or return;
    my $have = int(((-s $copy) - WAL_HEADER) / $header->{frame});
    my ($synced, $known) = marked_frames($copy, $have, $run);
    return ($copy, $header, $have, $known) if $synced == $have;
    my $good = closed_frames($copy, $header, $synced, $copy);
    if ($good < $have) { truncate $copy, WAL_HEADER + $good * $header->{frame} or die "cannot truncate: $!\n" }
    return ($copy, $header, $good, $known && $good == $synced);
}

# Returns undef if the mirror's -wal is of another generation, or differs.
sub append {
    my ($unit, $now, $target, $options) = @_;
    my ($copy, $header, $have, $known) = mirrored_wal($target, $options->{run}) or return undef;
    same_generation($unit->{wal}, $header) or return undef;
    my $frames = $now->{frames};
    # A checkpoint closed the log, and all its frames are still there: the next log has not begun. Or a power cut took frames from the middle
    # of it: then fewer are valid than the mirror has, and those behind remain.
    if (!$frames) {
        return undef if $have && sums_of($copy, $header, $have) ne sums_of($unit->{wal}, $header, $have);
        return undef if !$known && valid_frames($unit->{wal}, $header, 0) < $have;
        $frames = closed_frames($unit->{wal}, $header, $have, $copy);
    }
    elsif ($now->{header}{raw} ne $header->{raw}) { return undef }
    return undef if $have > $frames || $have && sums_of($copy, $header, $have) ne sums_of($unit->{wal}, $header, $have);
    return { state => 'same', bytes => 0 } if $have == $frames && $known;
    copy_frames($unit->{wal}, $header, $have, $frames, $copy)
        or return deferred('changed', 'its WAL was restarted while it was copied');
    # Otherwise a power cut would lose what the kernel has not written yet: up to half a minute.
    if (my $batch = $options->{batch}) { $batch->later(sub { mark_wal($copy, $frames, $options->{run}) }) }
    else                               { sync_wal($copy, $frames, $options->{run}) }
    return { state => $frames > $have ? 'copied' : 'same', bytes => ($frames - $have) * $header->{frame} };
}

# The log was restarted once since the last look: the mirror has one generation, the source the next. If the old frames
# that the mirror lacks still exist behind the new ones, or provably none are missing, the mirror makes the checkpoint
# itself, without a copy of the main file. Returns undef if that is unknown; a copy is needed then. The new frames have overwritten old
# ones, so it cannot be seen whether the source has lost some of these in a power cut: in another run of lsyncd it is unknown.
sub hand_over {
    my ($unit, $now, $target, $temporary, $options) = @_;
    return undef unless $now->{frames};
    my ($new, $wal) = ($now->{header}, $unit->{wal});
    my ($copy, $old, $have, $known) = mirrored_wal($target, $options->{run}) or return undef;
    return undef unless $known;
    my ($old_salt, $new_salt) = map { unpack 'N', $_->{salts} } $old, $new;
    # A restart adds one to the first salt (walformat.html, "WAL Reset").
    return undef if $new_salt != (($old_salt + 1) & 0xffffffff) || $old->{page} != $new->{page} || !$have;
    # The mirror's last frame must still exist there: after a power cut the source may have continued differently.
    return undef if sums_of($copy, $old, $have) ne sums_of($wal, $old, $have);
    my ($frames, $end) = walk_closed($wal, $old, $have, $copy);
    return undef unless ended_before($wal, $old, $new, $end) && same_generation($wal, $new);
    my $lacking = need_space($target, ($frames - $have) * $old->{frame} + $now->{frames} * $new->{frame}, $options);
    return $lacking if $lacking;
    if ($frames > $have) {
        my $step = int(CHUNK / $old->{frame}) || 1;
        for (my $at = $have; $at < $frames; $at += $step) {
            my $offset = WAL_HEADER + $at * $old->{frame};
            write_at($copy, $offset, read_at($wal, $offset, ($frames - $at < $step ? $frames - $at : $step) * $old->{frame}));
        }
        # It was read twice, so the copy is what is validated. (A reader of the mirror also ignores frames that do not fit.)
        return undef if closed_frames($copy, $old, $have, $copy) != $frames || !same_generation($wal, $new);
    }
    my ($place, $next) = $temporary->file;
    write_at($next, 0, $new->{raw});
    copy_frames($wal, $new, 0, $now->{frames}, $next)
        or return deferred('changed', 'its WAL was restarted while it was copied');
    my $source = fstat_ns($unit->{main});
    # The order of the steps needs its own syncs.
    finish($next, $source, { %$options, batch => undef }, $now->{frames});

    my $main = open_file(@$target, O_RDWR) or return undef;
    checkpoint($copy, $old, $frames, $main, sub {
        set_times($main, $source->{mtime});
        # No time of the source corresponds to this state of the main file: 0.
        set_mark($main, mark_of(fstat_ns($main), { %$source, mtime => 0 }, 0, { frames => 0, complete => 0 }));
    });
    rename_file(@$place, @{ beside($target, '-wal') });
    sync_directory($target->[0]);
    return { state => 'copied', bytes => (2 * $frames - $have + $now->{frames}) * $new->{frame} };
}

1;
