# Records, in an extended attribute of a file of the mirror, what it was made from.
package LsyncdAsCode::Mark;
use strict;
use warnings;
use LsyncdAsCode::System qw(fstat_ns get_attribute set_attribute sync);
use LsyncdAsCode::Unit qw(settled);
use LsyncdAsCode::Wal qw(sums_of);
use Exporter qw(import);

our @EXPORT_OK = qw(set_mark get_mark mark_of read_mark unchanged continues mark_wal marked_frames sync_wal);

my $NAME = 'user.lsyncd-as-code';

# A file system without extended attributes costs speed (every copy is a full one), not safety.
sub set_mark { my ($handle, $text) = @_; set_attribute($handle, $NAME, $text); return }

sub get_mark { my ($handle) = @_; return get_attribute($handle, $NAME) }

# The mark of a main file: a version, the file's own inode and time, the source's inode, size, these flags, then only what the flags say: the
# source's time if it is not the file's, the frames of the WAL that it contains with their salts and checksums; last the run of lsyncd. It is
# packed, because 56 bytes fit into an inode of ext4 (with 256 bytes, its default), and a longer one takes a block of 4 kB for itself. With frames
# it is longer.
use constant { VERSION => 3, FIXED => 'C Q a8 Q Q C', COMPLETE => 1, SAME_TIME => 2, OTHER_TIME => 4, FRAMES => 8, SHORT_RUN => 16 };

# A run as the supervisor names it: seconds since 1970, a process, and the first 8 hexadecimal digits of the boot.
use constant RUN => 'L L H8';

# Returns the mark of the mirror's main file: its own identity, so that a file written by another program never matches,
# and what it was made from. A source time that can hide a later write is recorded as unknown: 0.
# $now identifies the frames of the WAL that it contains, $run the run of lsyncd (undef: unknown).
sub mark_of {
    my ($mirror, $source, $time, $now, $run) = @_;
    my $flags = $now->{complete} ? COMPLETE : 0;
    my $more = '';
    if (settled($source->{mtime}, $time)) {
        if ($source->{mtime} == $mirror->{mtime}) { $flags |= SAME_TIME }
        else { $flags |= OTHER_TIME; $more .= pack 'q', $source->{mtime} }
    }
    if ($now->{frames}) { $flags |= FRAMES; $more .= pack 'Q a8 a8', $now->{frames}, $now->{header}{salts}, $now->{sums} }
    my $named = $run // '';
    if ($named =~ /\A([1-9][0-9]{0,8}|[1-3][0-9]{9})[.]([1-9][0-9]{0,8})[.]([0-9a-f]{8})\z/) { $flags |= SHORT_RUN; $named = pack RUN, $1, $2, $3 }
    return pack(FIXED, VERSION, $mirror->{ino}, pack('q', $mirror->{mtime}), @$source{qw(ino size)}, $flags) . $more . $named;
}

# Whether two names of a run of lsyncd are known and the same.
sub same_run { my ($run, $other) = @_; return defined $run && defined $other && $run eq $other ? 1 : 0 }

# {known}: whether it was made in this run of lsyncd.
sub read_mark {
    my ($handle, $run) = @_;
    my $mirror = fstat_ns($handle);
    # The file's owner can write its attributes: anything may be there.
    my ($ino, $mtime, $mark) = parsed(get_mark($handle)) or return undef;
    return undef unless $ino == $mirror->{ino} && $mtime == $mirror->{mtime};
    $mark->{known} = same_run(delete $mark->{run}, $run);
    return $mark;
}

# Returns the file's own inode and time, and the rest; nothing if it is no mark.
sub parsed {
    my ($text) = @_;
    return parsed_2($text) if $text =~ /\A2 /;
    my $fixed = length pack FIXED, (0) x 6;
    return if length $text < $fixed || ord $text != VERSION;
    my (undef, $ino, $mtime, $source, $size, $flags) = unpack FIXED, $text;
    $mtime = time_of($mtime);
    my %mark = (ino => $source, size => $size, mtime => $flags & SAME_TIME ? $mtime : 0, frames => 0, generation => '-', sums => '-', complete => $flags & COMPLETE ? 1 : 0);
    my $at = $fixed;
    if ($flags & OTHER_TIME) { return if length $text < $at + 8; $mark{mtime} = time_of(substr $text, $at, 8); $at += 8 }
    if ($flags & FRAMES) {
        return if length $text < $at + 24;
        @mark{qw(frames generation sums)} = unpack "x$at Q H16 H16", $text;
        $at += 24;
    }
    my $run = substr $text, $at;
    if ($flags & SHORT_RUN) { return if length $run != length pack RUN, 0, 0, ''; $run = join '.', unpack RUN, $run }
    $mark{run} = length $run ? $run : undef;
    return ($ino, $mtime, \%mark);
}

# Returns a packed time. Below -3e18 it is one after 2262, which has no sign; ext4 and XFS have no time before 1901, which is -2.2e18.
sub time_of { my ($packed) = @_; my $time = unpack 'q', $packed; return $time < -3_000_000_000_000_000_000 ? unpack 'Q', $packed : $time }

# The same for a mark of an earlier version of this program: words.
sub parsed_2 {
    my ($version, $ino, $mtime, @source) = split / /, $_[0];
    return if !defined $source[6] || grep { !/\A-?[0-9]+\z/ } $ino, $mtime, @source[ 0 .. 3, 6 ];
    my %mark;
    @mark{qw(ino mtime size frames generation sums complete run)} = @source;
    return ($ino, $mtime, \%mark);
}

# Returns true if the source's main file ($source: its status) is the one that the mirror's was made from, unchanged. Its time shows that only
# within a run of lsyncd: SQLite syncs the data without the time (fdatasync), and a power cut can leave new pages with the old one.
sub unchanged {
    my ($mark, $source) = @_;
    return $mark && $mark->{known} && $mark->{mtime} && $mark->{mtime} == $source->{mtime} && $mark->{ino} == $source->{ino};
}

# Returns true if the current WAL continues the mirror's main file, given that the source's main file has not changed.
sub continues {
    my ($mark, $unit, $now) = @_;
    # The same generation: all frames that the mirror has must still be there. (A power cut of the source can lose the last
    # ones, and others are then written in their place.)
    if ($now->{frames} && $mark->{frames} && unpack('H*', $now->{header}{salts}) eq $mark->{generation}) {
        return $now->{frames} >= $mark->{frames}
            && unpack('H*', sums_of($unit->{wal}, $now->{header}, $mark->{frames})) eq $mark->{sums};
    }
    # Another generation: only if the source's main file contained every frame that the mirror has.
    return $mark->{complete};
}

# Syncs a -wal of the mirror, then records how many of its frames are on the disk.
sub sync_wal {
    my ($handle, $frames, $run) = @_;
    sync($handle);
    mark_wal($handle, $frames, $run);
    return;
}

# Records how many frames of a -wal are on the disk, or will be before it is put in place, and the run of lsyncd in which they are the
# source's (undef: unknown).
sub mark_wal {
    my ($handle, $frames, $run) = @_;
    set_mark($handle, join ' ', 'wal', fstat_ns($handle)->{ino}, $frames, $run // ());
    return;
}

# Returns how many frames of a -wal were recorded, and whether in this run of lsyncd: then the source has not lost any in a power cut since.
# (0, 0) if there is no valid record of at most $most frames.
sub marked_frames {
    my ($handle, $most, $run) = @_;
    my ($word, $ino, $frames, $then) = split / /, get_mark($handle);
    # The file's owner can write its attributes, so each field is checked.
    return (0, 0) unless defined $frames && $word eq 'wal' && $frames =~ /\A[0-9]+\z/ && $ino =~ /\A[0-9]+\z/ && $ino == fstat_ns($handle)->{ino} && $frames <= $most;
    return ($frames, same_run($then, $run));
}

1;
