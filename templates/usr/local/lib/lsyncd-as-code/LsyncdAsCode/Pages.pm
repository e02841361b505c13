# Updates a database in rollback mode page by page if the mirror has no room for a second copy of it. The pages that differ
# become a -wal beside the mirror's main file, in one rename, and are then written into it:
# docs/decisions/0005-sqlite-copy-order.md.
package LsyncdAsCode::Pages;
use strict;
use warnings;
use Fcntl qw(F_UNLCK O_RDWR);
use LsyncdAsCode::Beneath qw(open_file remove_file rename_file status sync_directory);
use LsyncdAsCode::Install qw(absorb checkpoint finish seal);
use LsyncdAsCode::Locks qw(lock_shared try_lock SHARED_FIRST SHARED_SIZE);
use LsyncdAsCode::Result qw(deferred);
use LsyncdAsCode::System qw(fd_path free_bytes fstat_ns now_ns read_at ticks write_at CHUNK);
use LsyncdAsCode::Temporary qw(beside);
use LsyncdAsCode::Unit qw(file_id hot_journal settled);
use LsyncdAsCode::Wal qw(checksum wal_header FRAME_HEADER WAL_HEADER);
use Exporter qw(import);

our @EXPORT_OK = qw(update_pages);

# For a unit that is locked SHARED. Returns a result like sync_unit; undef if this method cannot be used: there is no copy yet,
# the page size differs from the mirror's, or it is unknown because the database is encrypted.
sub update_pages {
    my ($unit, $target, $temporary, $options) = @_;
    my $mirror = open_file(@$target) // return undef;
    my $page   = page_size($unit->{main}) // return undef;
    return undef if fstat_ns($mirror)->{nlink} != 1 || $page != (page_size($mirror) // 0);
    my $earlier = finish_earlier($unit, $target);
    return $earlier if $earlier;

    my @still  = map { file_id($unit->{directory}, "$unit->{name}$_") } '-wal', '-shm';
    my $source = fstat_ns($unit->{main});
    my ($before, $settled) = ("$source->{ino} $source->{size} $source->{mtime}", settled($source->{mtime}, now_ns()));
    # First without a lock; if no process wrote meanwhile, the comparison is done.
    try_lock($unit->{main}, F_UNLCK, SHARED_FIRST, SHARED_SIZE);
    my ($place, $log) = $temporary->file;
    my $free  = free_bytes(fd_path($target->[0]) . '/.') - $options->{reserve};
    my $found = differing($unit->{main}, $mirror, $page, $log, $free);
    return $found if $found->{state};
    lock_shared($unit->{main}, 0.5) or return deferred('locked', 'a writer holds the lock');
    my $deadline = ticks() + $options->{lock_seconds};
    return deferred('changed', 'a writer crashed while it was compared') if hot_journal($unit);
    $source = fstat_ns($unit->{main});
    if (!$settled || $before ne "$source->{ino} $source->{size} $source->{mtime}") {
        $found = differing($unit->{main}, $mirror, $page, $log, $free, $deadline);
        return deferred('slow', "comparing it takes longer than writers may be blocked for ($options->{lock_seconds} s)") if !$found;
        return $found if $found->{state};
    }
    my @after = map { file_id($unit->{directory}, "$unit->{name}$_") } '-wal', '-shm';
    my $named = status($unit->{directory}, $unit->{name});
    return deferred('changed', 'it was replaced or switched to WAL mode while it was compared')
        if "@after" ne "@still" || !$named || $named->{ino} != $source->{ino};
    my $copied_at = now_ns();
    delete @$unit{qw(main wal shm)};

    write_log($log, $page, $found);
    # Its order needs syncs of its own.
    my $alone = { %$options, batch => undef };
    finish($log, $source, $alone, $found->{many});
    my $wal = beside($target, '-wal');
    rename_file(@$place, @$wal);
    sync_directory($target->[0]);
    my $main = open_file(@$target, O_RDWR) // return undef;
    # Synced by checkpoint, after this.
    my $seal = sub { seal($main, $source, $copied_at, { frames => 0, complete => 1 }, { %$options, batch => 1 }) };
    checkpoint($log, wal_header($log), $found->{many}, $main, $seal);
    remove_file(@$wal);
    sync_directory($target->[0]);
    return { state => 'copied', bytes => $found->{many} * $page };
}

# Finishes an update that was interrupted: writes its log into the main file. Returns undef if there was none.
sub finish_earlier {
    my ($unit, $target) = @_;
    my $place = beside($target, '-wal');
    my $log = open_file(@$place) // return undef;
    # The lock is not needed for this.
    try_lock($unit->{main}, F_UNLCK, SHARED_FIRST, SHARED_SIZE);
    my $header = wal_header($log);
    absorb($log, $header, $target) if $header;
    remove_file(@$place);
    sync_directory($target->[0]);
    return deferred('changed', 'an interrupted update has been completed');
}

# Returns the page size in the header of a plain database (fileformat2.html, 1.3.2); undef for others, and if the file's size
# is not a multiple of it.
sub page_size {
    my ($handle) = @_;
    my ($page) = map { $_ == 1 ? 65_536 : $_ } read_at($handle, 0, 100) =~ /\ASQLite format 3\0(..)/s ? unpack 'n', $1 : return undef;
    return $page < 512 || $page & ($page - 1) || (-s $handle) % $page ? undef : $page;
}

# Writes the pages that differ into frames of $log, without headers. Returns { many, numbers (packed), pages (of the whole) },
# a deferral if there is no room for them, or undef after the deadline.
sub differing {
    my ($from, $mirror, $page, $log, $free, $deadline) = @_;
    my %found = (many => 0, numbers => '');
    my $frame = $page + FRAME_HEADER;
    truncate $log, 0 or die "cannot truncate: $!\n";
    my $at = 0;
    while (1) {
        return undef if $deadline && ticks() > $deadline;
        my $data = read_at($from, $at, CHUNK);
        my $have = read_at($mirror, $at, CHUNK);
        for (my $in = 0; ($data ne $have || $at == 0) && $in < length $data; $in += $page) {
            my $content = substr $data, $in, $page;
            # The last frame records the number of pages, so at least one is needed: the first page.
            next if $at + $in > 0 && $in < length $have && $content eq substr $have, $in, $page;
            my $place = WAL_HEADER + $found{many} * $frame;
            return deferred('space', sprintf 'needs more than %d MB free in the mirror for the pages that changed', $free / 1e6) if $place + $frame > $free;
            write_at($log, $place + FRAME_HEADER, $content);
            $found{numbers} .= pack 'N', ($at + $in) / $page + 1;
            $found{many}++;
        }
        $at += length $data;
        last if length $data < CHUNK;
    }
    $found{pages} = $at / $page;
    return \%found;
}

# Turns these frames into a log with one commit (fileformat2.html, 4.1).
sub write_log {
    my ($log, $page, $found) = @_;
    my $salts = pack 'N2', map { int rand 2**32 } 1, 2;
    my $start = pack 'N4 a8', 0x377f0682, 3_007_000, $page, 0, $salts;
    my @sums  = checksum(0, $start, 0, 0);
    write_at($log, 0, $start . pack 'N2', @sums);
    for my $i (0 .. $found->{many} - 1) {
        my $place = WAL_HEADER + $i * ($page + FRAME_HEADER);
        my $head  = substr($found->{numbers}, 4 * $i, 4) . pack 'N', $i == $found->{many} - 1 ? $found->{pages} : 0;
        @sums = checksum(0, $head . read_at($log, $place + FRAME_HEADER, $page), @sums);
        write_at($log, $place, $head . $salts . pack 'N2', @sums);
    }
    return;
}

1;
