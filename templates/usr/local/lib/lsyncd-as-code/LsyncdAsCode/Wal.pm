# SQLite's write-ahead log: headers, checksums, and the walk over its frames.
#   https://www.sqlite.org/fileformat2.html#walformat   https://www.sqlite.org/walformat.html
package LsyncdAsCode::Wal;
use strict;
use warnings;
use LsyncdAsCode::System qw(read_at write_at CHUNK);
use Exporter qw(import);

our @EXPORT_OK = qw(
    WAL_HEADER FRAME_HEADER checksum wal_header shm_header valid_frames apply_frames same_generation copy_frames sums_of
    closed_frames walk_closed ended_before
);

use constant { WAL_HEADER => 32, FRAME_HEADER => 24, SHM_VERSION => 3_007_000 };

# SQLite's running checksum over 32-bit words, two at a time (fileformat2.html, "Checksum Algorithm"), of $data, a multiple of 8 bytes.
# $big: the words are big-endian. It takes most of the time of a walk, so both words of a pair are unpacked as one number.
sub checksum {
    my ($big, undef, $sum1, $sum2) = @_;
    # In 64 bits: what lies above the lower 32 bits does not affect them, and they are returned.
    use integer;
    if ($big) { $sum2 += $_ + ($sum1 += $sum2 + ($_ >> 32)) for unpack 'q>*', $_[1] }
    else      { $sum2 += ($_ >> 32) + ($sum1 += $sum2 + $_) for unpack 'q<*', $_[1] }
    return ($sum1 & 0xffffffff, $sum2 & 0xffffffff);
}

# Returns the header of a -wal file, or undef if there is none yet.
sub wal_header {
    my ($handle) = @_;
    my $raw = read_at($handle, 0, WAL_HEADER);
    return undef if length $raw < WAL_HEADER;
    my ($magic, undef, $page, undef, undef, undef, $sum1, $sum2) = unpack 'N8', $raw;
    return undef if ($magic & ~1) != 0x377f0682 || $page < 512 || $page > 65536 || $page & ($page - 1);
    return {
        raw => $raw, page => $page, frame => $page + FRAME_HEADER, salts => substr($raw, 16, 8),
        sums => [$sum1, $sum2], big => $magic & 1,
    };
}

# Returns the wal-index header, which open connections keep in -shm. It is stored twice, with a checksum (in the
# machine's byte order, which is little-endian), so that a reader detects a torn one; undef then, and if no connection has initialised it.
sub shm_header {
    my ($handle) = @_;
    my $raw = read_at($handle, 0, 100);
    return undef if length $raw < 100 || substr($raw, 0, 48) ne substr($raw, 48, 48);
    my ($version, $initialised, $frames) = unpack 'L x8 C x3 L', $raw;
    return undef if $version != SHM_VERSION || !$initialised;
    my ($sum1, $sum2) = checksum(0, substr($raw, 0, 40), 0, 0);
    return undef if "$sum1 $sum2" ne join ' ', unpack 'x40 L2', $raw;
    # After the two copies: the number of frames that a checkpoint has written to the main file and synced.
    my $backfilled = unpack 'L', substr $raw, 96;
    return { frames => $frames, salts => substr($raw, 32, 8), backfilled => $backfilled };
}

# Walks the frames from $from (0 is the first) and returns how many, counted from the start of the file, are valid
# up to and including the last commit. Like SQLite's recovery, it compares salts and the running checksum.
sub valid_frames { return (walk(@_))[0] }

# Returns the same, and the number of valid frames, committed or not: the walk ended before the frame of that number.
sub walk {
    my ($handle, $header, $from, $sum1, $sum2) = @_;
    ($sum1, $sum2) = @{ $header->{sums} } unless $from;
    my $step      = int(CHUNK / $header->{frame}) || 1;
    my $committed = 0;
    while (1) {
        my $data = read_at($handle, WAL_HEADER + $from * $header->{frame}, $step * $header->{frame});
        my $count = int(length($data) / $header->{frame});
        for my $i (0 .. $count - 1) {
            my $frame = substr $data, $i * $header->{frame}, $header->{frame};
            return ($committed, $from) if substr($frame, 8, 8) ne $header->{salts};
            ($sum1, $sum2) = checksum($header->{big}, substr($frame, 0, 8) . substr($frame, FRAME_HEADER), $sum1, $sum2);
            my (undef, $size, undef, undef, $stored1, $stored2) = unpack 'N6', $frame;
            return ($committed, $from) if $sum1 != $stored1 || $sum2 != $stored2;
            $from++;
            $committed = $from if $size;
        }
        return ($committed, $from) if $count < $step;
    }
}

# Writes the first $frames frames of a WAL into a database file, as a checkpoint does.
sub apply_frames {
    my ($wal, $header, $frames, $database) = @_;
    my $step  = int(CHUNK / $header->{frame}) || 1;
    my $pages = 0;
    for (my $at = 0; $at < $frames; $at += $step) {
        my $count = $frames - $at < $step ? $frames - $at : $step;
        my $data = read_at($wal, WAL_HEADER + $at * $header->{frame}, $count * $header->{frame});
        die "the WAL is shorter than it was\n" if length $data != $count * $header->{frame};
        for my $i (0 .. $count - 1) {
            my ($page, $size) = unpack 'N2', substr $data, $i * $header->{frame}, 8;
            die "the WAL holds a page number of 0\n" unless $page;
            write_at($database, ($page - 1) * $header->{page}, substr $data, $i * $header->{frame} + FRAME_HEADER, $header->{page});
            $pages = $size if $size;
        }
    }
    truncate $database, $pages * $header->{page} or die "cannot truncate: $!\n" if $pages;
    return;
}

sub same_generation { my ($wal, $header) = @_; my $now = wal_header($wal); return $now && $now->{raw} eq $header->{raw} }

# Copies the frames [$from, $to) of the source's WAL to the same offset in another file. Committed frames do not
# change within a generation, so checking the header after each read shows whether the data belongs to it.
sub copy_frames {
    my ($wal, $header, $from, $to, $target) = @_;
    my $step = int(CHUNK / $header->{frame}) || 1;
    for (my $at = $from; $at < $to; $at += $step) {
        my $count = $to - $at < $step ? $to - $at : $step;
        my $offset = WAL_HEADER + $at * $header->{frame};
        my $data = read_at($wal, $offset, $count * $header->{frame});
        return 0 if length $data != $count * $header->{frame} || !same_generation($wal, $header);
        write_at($target, $offset, $data);
    }
    return 1;
}

# Returns the running checksum in the header of the last of $frames frames; if it is equal, all of them are.
sub sums_of { my ($wal, $header, $frames) = @_; return read_at($wal, WAL_HEADER + ($frames - 1) * $header->{frame} + 16, 8) }

# Returns how many frames of a closed log (restarted, or about to be) are committed, given that $have are known to be.
sub closed_frames { return (walk_closed(@_))[0] }

# Returns the same, and where the walk ended.
sub walk_closed {
    my ($wal, $header, $have, $copy) = @_;
    my @sums = $have ? unpack 'N2', sums_of($copy, $header, $have) : @{ $header->{sums} };
    my ($committed, $end) = walk($wal, $header, $have, @sums);
    return ($committed || $have, $end);
}

# The log $new has replaced $old once, and a walk over the rest of $old ended before frame $end. Returns 1 if $old really
# ended there. The frame at $end shows it. A frame of $new: the old one is lost. No frame: the file was truncated
# (journal_size_limit, at the first commit of $new), so unknown. A frame of $old that does not fit: a transaction that was
# rolled back wrote it, and $old had no frame after it. A frame of an older log: $old never got there.
sub ended_before {
    my ($wal, $old, $new, $end) = @_;
    my $frame = read_at($wal, WAL_HEADER + $end * $old->{frame}, $old->{frame});
    return 0 if length $frame < FRAME_HEADER;
    my $salts = substr $frame, 8, 8;
    return 0 if $salts eq $new->{salts} || $salts eq "\0" x 8;
    return $salts ne $old->{salts} || length $frame == $old->{frame} ? 1 : 0;
}

1;
