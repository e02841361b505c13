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

# SQLite's running checksum over 32-bit words, two at a time (fileformat2.html, "Checksum Algorithm").
sub checksum {
    my ($words, $sum1, $sum2) = @_;
    # In 64 bits: what is lost at their upper end is no part of the 32 that count.
    use integer;
    my $second = 1;
    for (@$words) {
        if ($second ^= 1) { $sum2 += $_ + $sum1 }
        else              { $sum1 += $_ + $sum2 }
    }
    return ($sum1 & 0xffffffff, $sum2 & 0xffffffff);
}

# The header of a -wal file, or undef when there is none yet.
sub wal_header {
    my ($handle) = @_;
    my $raw = read_at($handle, 0, WAL_HEADER);
    return undef if length $raw < WAL_HEADER;
    my ($magic, undef, $page, undef, undef, undef, $sum1, $sum2) = unpack 'N8', $raw;
    return undef if ($magic & ~1) != 0x377f0682 || $page < 512 || $page > 65536 || $page & ($page - 1);
    return {
        raw => $raw, page => $page, frame => $page + FRAME_HEADER, salts => substr($raw, 16, 8),
        sums => [$sum1, $sum2], words => $magic & 1 ? 'N*' : 'V*',
    };
}

# The wal-index header, which the living connections keep in -shm. It is written twice, with a checksum (in the
# machine's byte order), so that a reader sees a torn one; undef then, and when no connection has set it up.
sub shm_header {
    my ($handle) = @_;
    my $raw = read_at($handle, 0, 100);
    return undef if length $raw < 100 || substr($raw, 0, 48) ne substr($raw, 48, 48);
    my ($version, $initialised, $frames) = unpack 'L x8 C x3 L', $raw;
    return undef if $version != SHM_VERSION || !$initialised;
    my ($sum1, $sum2) = checksum([ unpack 'L10', $raw ], 0, 0);
    return undef if "$sum1 $sum2" ne join ' ', unpack 'x40 L2', $raw;
    # Behind the two copies: how many frames a checkpoint has written to the main file, and synced.
    my $backfilled = unpack 'L', substr $raw, 96;
    return { frames => $frames, salts => substr($raw, 32, 8), backfilled => $backfilled };
}

# Walks the frames from $from (0 is the first) and returns how many, counted from the start of the file, are valid
# up to and with the last commit, as SQLite's own recovery does: salts and running checksum must match.
sub valid_frames { return (walk(@_))[0] }

# The same, and the number of valid ones, committed or not: the walk has ended before the frame of that number.
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
            ($sum1, $sum2) = checksum([ unpack $header->{words}, substr($frame, 0, 8) . substr($frame, FRAME_HEADER) ], $sum1, $sum2);
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

# Copies the frames [$from, $to) of the source's WAL to the same place in another file. Frames that were committed
# do not change within a generation, so the header decides after every read whether what was read is theirs.
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

# The running checksum in the header of the last of some frames: equal means that all of them are.
sub sums_of { my ($wal, $header, $frames) = @_; return read_at($wal, WAL_HEADER + ($frames - 1) * $header->{frame} + 16, 8) }

# How many frames of a log that is closed (it was restarted, or is about to be) are committed, if $have of them are known.
sub closed_frames { return (walk_closed(@_))[0] }

# The same, and where the walk has ended.
sub walk_closed {
    my ($wal, $header, $have, $copy) = @_;
    my @sums = $have ? unpack 'N2', sums_of($copy, $header, $have) : @{ $header->{sums} };
    my ($committed, $end) = walk($wal, $header, $have, @sums);
    return ($committed || $have, $end);
}

# The log $old was restarted once since, by $new, and a walk over what is left of $old has ended before frame number $end:
# is that where it really ended? The frame there shows it. One of the new log: what was there is lost. None:
# the file was cut (journal_size_limit, at the first commit of the new log), so unknown. One of $old that does not fit: a
# transaction that was rolled back had written it, and nothing of $old came after. One of an older log: $old never got there.
sub ended_before {
    my ($wal, $old, $new, $end) = @_;
    my $frame = read_at($wal, WAL_HEADER + $end * $old->{frame}, $old->{frame});
    return 0 if length $frame < FRAME_HEADER;
    my $salts = substr $frame, 8, 8;
    return 0 if $salts eq $new->{salts} || $salts eq "\0" x 8;
    return $salts ne $old->{salts} || length $frame == $old->{frame} ? 1 : 0;
}

1;
