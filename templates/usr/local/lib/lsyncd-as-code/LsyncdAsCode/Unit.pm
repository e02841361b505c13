# Inspects one database of the source, with the files beside it, under its locks. Never writes to them.
package LsyncdAsCode::Unit;
use strict;
use warnings;
use Fcntl qw(F_WRLCK);
use LsyncdAsCode::Beneath qw(open_file status);
use LsyncdAsCode::Locks qw(held_by_other lock_of_other poll_for RESERVED_BYTE SHM_DMS);
use LsyncdAsCode::System qw(read_at NS);
use LsyncdAsCode::Wal qw(shm_header valid_frames wal_header);
use Exporter qw(import);

our @EXPORT_OK = qw(open_main open_wal settled file_id hot_journal committed);

# Opens the main file of a unit in an open directory; undef if it is not there.
sub open_main {
    my ($directory, $name) = @_;
    my $main = open_file($directory, $name) or return undef;
    return { directory => $directory, name => $name, main => $main };
}

# Opens, or opens again, its -wal and -shm. {live} is 1 if a connection in WAL mode is open now.
sub open_wal {
    my ($unit) = @_;
    $unit->{$_} = open_file($unit->{directory}, "$unit->{name}-$_") for qw(wal shm);
    $unit->{live} = $unit->{shm} && held_by_other($unit->{shm}, SHM_DMS) ? 1 : 0;
    # A log beside an empty database is a leftover that SQLite deletes (pager.c, pagerOpenWalIfPresent).
    delete $unit->{wal} if !$unit->{live} && !-s $unit->{main};
    return;
}

# Returns true if a file's time distinguishes every write up to $at from later ones. Two writes within one tick of the kernel's
# clock (at most 10 ms), or within a second where the file system stores whole seconds, set the same time. A time in the
# future is fine: a write now sets another one.
sub settled {
    my ($mtime, $at) = @_;
    return abs($at - $mtime) > ($mtime % NS == 0 ? 2 * NS : NS / 20);
}

# Returns the identity and state of a file; '-' if it does not exist.
sub file_id { my ($directory, $name) = @_; my $s = status($directory, $name); return $s ? "$s->{dev} $s->{ino} $s->{size} $s->{mtime}" : '-' }

# Returns 1 if a crash left the journal beside a database that is locked SHARED: the main file alone is not a committed
# state then. (A journal whose writer holds RESERVED is being built; the main file is untouched until EXCLUSIVE.)
sub hot_journal {
    my ($unit) = @_;
    my $journal = open_file($unit->{directory}, "$unit->{name}-journal") or return 0;
    return 0 if held_by_other($unit->{main}, RESERVED_BYTE);
    my $first = read_at($journal, 0, 1);
    return 0 if $first eq '' || $first eq "\0";
    # A journal beside an empty database is a leftover that SQLite deletes (pager.c, hasHotJournal).
    return -s $unit->{main} ? 1 : 0;
}

# Returns how many frames of the WAL are committed now, its header, and whether the main file also contains all of them;
# undef if that is unknown at this moment.
sub committed {
    my ($unit) = @_;
    return { frames => 0, complete => 1 } unless $unit->{wal};
    if ($unit->{live}) {
        my $found;
        poll_for(0.2, sub {
            # The index is from before a crash then.
            return 0 if lock_of_other($unit->{shm}, SHM_DMS) == F_WRLCK;
            my $index = shm_header($unit->{shm}) or return 0;
            if ($index->{frames} == 0) { $found = { frames => 0, complete => 1 }; return 1 }
            my $header = wal_header($unit->{wal}) or return 0;
            # They differ briefly while the log is restarted: the index is written first, then the file.
            return 0 if $header->{salts} ne $index->{salts};
            $found = { frames => $index->{frames}, header => $header, complete => $index->{backfilled} == $index->{frames} };
            return 1;
        });
        return $found;
    }
    my $header = wal_header($unit->{wal}) or return { frames => 0, complete => 1 };
    my $frames = valid_frames($unit->{wal}, $header, 0);
    return { frames => $frames, header => $header, complete => $frames == 0 };
}

1;
