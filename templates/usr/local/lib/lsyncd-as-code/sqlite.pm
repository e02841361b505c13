# Copies one SQLite database into the mirror so that the mirror's files form a committed state at every instant.
#
# The order of the steps, and why each state in between opens, is docs/decisions/0005-sqlite-copy-order.md.
# Locks and formats are SQLite's documented ones:
#   https://www.sqlite.org/lockingv3.html   locks of the database file and the rollback journal
#   https://www.sqlite.org/walformat.html   locks and contents of -wal and -shm
#   https://www.sqlite.org/fileformat2.html headers of the database, the journal and the WAL
# None of this reads a page's content, so it is the same for encrypted databases.
#
# Never writes to the source. Only modules of Debian's perl-base (no Time::HiRes, no JSON).
package LsyncdAsCode::Sqlite;
use strict;
use warnings;
use Config ();
use Errno qw(ENOENT ENOTDIR ENOTEMPTY EEXIST EAGAIN EACCES ELOOP);
use Fcntl qw(:DEFAULT :mode :seek);
use IO::Handle ();
use POSIX  ();

# --- what perl-base lacks: nanosecond times, free space, extended attributes ---------------------------------

# System call numbers from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h).
my %NUMBERS = (
    x86_64  => { statx => 332, utimensat => 280, clock_gettime => 228, statfs => 137, fsetxattr => 190, getxattr => 191, ioprio_set => 251 },
    aarch64 => { statx => 291, utimensat => 88,  clock_gettime => 113, statfs => 43,  fsetxattr => 7,   getxattr => 8,   ioprio_set => 30 },
);
my $SYS = $NUMBERS{ (POSIX::uname())[4] };
die "This machine is neither x86_64 nor aarch64: SQLite databases can't be copied safely on it.\n"
    unless $SYS && $Config::Config{ptrsize} == 8;

use constant {
    AT_FDCWD            => -100,
    AT_SYMLINK_NOFOLLOW => 0x100,
    STATX_BASIC_STATS   => 0x7ff,
    CLOCK_REALTIME      => 0,
    CLOCK_MONOTONIC     => 1,
    O_CLOEXEC           => 02000000,
    NS                  => 1_000_000_000,
    CHUNK               => 1 << 20,
};

sub clock {
    my ($which) = @_;
    my $buffer = "\0" x 16;
    syscall($SYS->{clock_gettime}, $which + 0, $buffer) == 0 or die "clock_gettime: $!\n";
    my ($seconds, $nanos) = unpack 'qq', $buffer;
    return ($seconds, $nanos);
}

# Nanoseconds since 1970.
sub now_ns { my ($s, $n) = clock(CLOCK_REALTIME); return $s * NS + $n }

# Seconds of a clock that nobody sets.
sub ticks { my ($s, $n) = clock(CLOCK_MONOTONIC); return $s + $n / NS }

sub pause { my ($seconds) = @_; select undef, undef, undef, $seconds; return }

# lstat with nanoseconds; undef when there is no such file.
sub stat_ns {
    my ($path) = @_;
    my $buffer = "\0" x 256;
    if (syscall($SYS->{statx}, AT_FDCWD, "$path", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, $buffer) != 0) {
        return undef if $! == ENOENT || $! == ENOTDIR;
        die "cannot look at $path: $!\n";
    }
    my ($uid, $gid, $mode, $ino, $size) = unpack 'x20 L L S x2 Q Q', $buffer;
    my ($seconds, $nanos) = unpack 'x112 q L', $buffer;
    my ($major, $minor) = unpack 'x136 L L', $buffer;
    return {
        uid => $uid, gid => $gid, mode => $mode, ino => $ino, size => $size,
        mtime => $seconds * NS + $nanos, dev => "$major:$minor",
    };
}

sub fd_path { my ($handle) = @_; return '/proc/self/fd/' . fileno $handle }

# The state of an open file (a link of /proc is followed by the trailing "/." only for directories, so: by fstat's twin).
sub fstat_ns {
    my ($handle) = @_;
    my $buffer = "\0" x 256;
    syscall($SYS->{statx}, AT_FDCWD, fd_path($handle), 0, STATX_BASIC_STATS, $buffer) == 0 or die "statx: $!\n";
    my ($uid, $gid, $mode, $ino, $size) = unpack 'x20 L L S x2 Q Q', $buffer;
    my ($seconds, $nanos) = unpack 'x112 q L', $buffer;
    return { uid => $uid, gid => $gid, mode => $mode, ino => $ino, size => $size, mtime => $seconds * NS + $nanos };
}

sub set_mtime {
    my ($path, $ns) = @_;
    my $times = pack 'qqqq', int($ns / NS), $ns % NS, int($ns / NS), $ns % NS;
    syscall($SYS->{utimensat}, AT_FDCWD, "$path", $times, 0) == 0 or die "cannot set the time of $path: $!\n";
    return;
}

# Bytes that may still be written to the file system of $path.
sub free_bytes {
    my ($path) = @_;
    my $buffer = "\0" x 256;
    syscall($SYS->{statfs}, "$path", $buffer) == 0 or die "cannot ask for free space at $path: $!\n";
    my (undef, $block, undef, undef, $available) = unpack 'q5', $buffer;
    return $block * $available;
}

# Gives way to everybody else (ioprio.h: class idle is 3, in the upper bits).
sub be_idle {
    POSIX::nice(19);
    syscall($SYS->{ioprio_set}, 1, 0, 3 << 13);
    return;
}

my $MARK = 'user.lsyncd-as-code';

sub set_mark {
    my ($handle, $text) = @_;
    # A file system without extended attributes costs speed (every copy is a full one), not safety.
    syscall($SYS->{fsetxattr}, fileno($handle) + 0, "$MARK", "$text", length($text) + 0, 0);
    return;
}

sub get_mark {
    my ($path) = @_;
    my $buffer = "\0" x 256;
    my $length = syscall($SYS->{getxattr}, "$path", "$MARK", $buffer, 255);
    return $length > 0 ? substr($buffer, 0, $length) : '';
}

# --- locks ---------------------------------------------------------------------------------------------------

# Offsets in the database file (os.h; lockingv3.html) and in the -shm file (walformat.html, "WAL locks").
use constant {
    PENDING_BYTE  => 0x40000000,
    RESERVED_BYTE => 0x40000001,
    SHARED_FIRST  => 0x40000002,
    SHARED_SIZE   => 510,
    SHM_CKPT      => 121,    # held exclusively by a checkpoint, the only one who writes the main file in WAL mode
    SHM_DMS       => 128,    # held shared by every connection as long as it lives
};

# POSIX locks are the process's: closing ANY handle of the file drops them all. So while a lock is held, each file
# of the unit is open once, and nothing else here opens it. Read locks only: the files are never open for writing.
# A process that dies, in whatever way, leaves none behind.
sub flock_struct { my ($type, $start, $length) = @_; return pack 's s x4 q q i x4', $type, SEEK_SET, $start, $length, 0 }

sub try_lock {
    my ($handle, $type, $start, $length) = @_;
    return 1 if fcntl $handle, F_SETLK, flock_struct($type, $start, $length);
    return 0 if $! == EAGAIN || $! == EACCES;
    die "cannot lock: $!\n";
}

# Does another process hold a lock there that a write lock would meet?
sub held_by_other {
    my ($handle, $start) = @_;
    my $lock = flock_struct(F_WRLCK, $start, 1);
    fcntl $handle, F_GETLK, $lock or die "cannot ask for locks: $!\n";
    return (unpack 's', $lock) != F_UNLCK;
}

# Tries for $seconds without ever queueing: a waiting lock of ours would hold up nobody, but a killed wait is simpler.
sub poll_for {
    my ($seconds, $try) = @_;
    my $end = ticks() + $seconds;
    until ($try->()) {
        return 0 if ticks() > $end;
        pause(0.002);
    }
    return 1;
}

# SQLite's SHARED lock: nobody changes a rollback-journal database, or leaves WAL mode, while it is held.
sub lock_shared {
    my ($handle, $seconds) = @_;
    return poll_for($seconds, sub {
        try_lock($handle, F_RDLCK, PENDING_BYTE, 1) or return 0;
        my $shared = try_lock($handle, F_RDLCK, SHARED_FIRST, SHARED_SIZE);
        try_lock($handle, F_UNLCK, PENDING_BYTE, 1);
        return $shared;
    });
}

# --- files ---------------------------------------------------------------------------------------------------

sub open_source {
    my ($path) = @_;
    if (sysopen my $handle, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) {
        return -f $handle ? $handle : undef;
    }
    return undef if $! == ENOENT || $! == ELOOP || $! == ENOTDIR;
    die "cannot open $path: $!\n";
}

sub create {
    my ($path) = @_;
    unlink $path;
    sysopen my $handle, $path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600 or die "cannot create $path: $!\n";
    return $handle;
}

sub read_at {
    my ($handle, $offset, $length) = @_;
    sysseek $handle, $offset, SEEK_SET or die "cannot seek: $!\n";
    my ($data, $got) = ('', 0);
    while ($got < $length) {
        my $n = sysread $handle, $data, $length - $got, $got;
        die "cannot read: $!\n" unless defined $n;
        last if $n == 0;
        $got += $n;
    }
    return $data;
}

sub write_at {
    my ($handle, $offset, undef) = @_;
    sysseek $handle, $offset, SEEK_SET or die "cannot seek: $!\n";
    my ($done, $length) = (0, length $_[2]);
    while ($done < $length) {
        my $n = syswrite $handle, $_[2], $length - $done, $done;
        die "cannot write: $!\n" unless defined $n;
        $done += $n;
    }
    return;
}

sub sync { my ($handle) = @_; $handle->sync or die "cannot sync: $!\n"; return }

sub remove { my ($path) = @_; unlink $path or $! == ENOENT or die "cannot remove $path: $!\n"; return }

sub move { my ($from, $to) = @_; rename $from, $to or die "cannot rename $from to $to: $!\n"; return }

# --- the WAL -------------------------------------------------------------------------------------------------

use constant { WAL_HEADER => 32, FRAME_HEADER => 24, SHM_VERSION => 3_007_000 };

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

# The wal-index header, which the living connections keep in -shm. It is written twice so that a reader sees a torn
# one; undef then, and when no connection has set it up.
sub shm_header {
    my ($handle) = @_;
    my $raw = read_at($handle, 0, 100);
    return undef if length $raw < 100 || substr($raw, 0, 48) ne substr($raw, 48, 48);
    my ($version, $initialised, $frames) = unpack 'L x8 C x3 L', $raw;
    return undef if $version != SHM_VERSION || !$initialised;
    # Behind the two copies: how many frames a checkpoint has written to the main file, and synced.
    my $backfilled = unpack 'L', substr $raw, 96;
    return { frames => $frames, salts => substr($raw, 32, 8), backfilled => $backfilled };
}

# Walks the frames from $from (0 is the first) and returns how many, counted from the start of the file, are valid
# up to and with the last commit, as SQLite's own recovery does: salts and running checksum must match.
sub valid_frames {
    my ($handle, $header, $from, $sum1, $sum2) = @_;
    ($sum1, $sum2) = @{ $header->{sums} } unless $from;
    my $step      = int(CHUNK / $header->{frame}) || 1;
    my $committed = 0;
    while (1) {
        my $data = read_at($handle, WAL_HEADER + $from * $header->{frame}, $step * $header->{frame});
        my $count = int(length($data) / $header->{frame});
        for my $i (0 .. $count - 1) {
            my $frame = substr $data, $i * $header->{frame}, $header->{frame};
            return $committed if substr($frame, 8, 8) ne $header->{salts};
            my @words = unpack $header->{words}, substr($frame, 0, 8) . substr($frame, FRAME_HEADER);
            for (my $w = 0; $w < @words; $w += 2) {
                $sum1 = ($sum1 + $words[$w] + $sum2) & 0xffffffff;
                $sum2 = ($sum2 + $words[ $w + 1 ] + $sum1) & 0xffffffff;
            }
            my (undef, $size, undef, undef, $stored1, $stored2) = unpack 'N6', $frame;
            return $committed if $sum1 != $stored1 || $sum2 != $stored2;
            $from++;
            $committed = $from if $size;
        }
        return $committed if $count < $step;
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

# --- the source: one unit, looked at under its locks -----------------------------------------------------------

# Opens the files of a unit. {live} tells whether a connection in WAL mode lives now.
sub open_unit {
    my ($path) = @_;
    my $main = open_source($path) or return undef;
    my $unit = { path => $path, main => $main };
    open_wal($unit);
    return $unit;
}

sub open_wal {
    my ($unit) = @_;
    $unit->{$_} = open_source("$unit->{path}-$_") for qw(wal shm);
    $unit->{live} = $unit->{shm} && held_by_other($unit->{shm}, SHM_DMS) ? 1 : 0;
    return;
}

sub file_id { my ($path) = @_; my $s = stat_ns($path); return $s ? "$s->{dev} $s->{ino} $s->{size} $s->{mtime}" : '-' }

# Is the journal beside a database that we hold SHARED one that a crash left? Then the main file alone is no committed
# state. (A journal whose writer holds RESERVED is being built; the main file is untouched until EXCLUSIVE.)
sub hot_journal {
    my ($unit) = @_;
    my $journal = open_source("$unit->{path}-journal") or return 0;
    return 0 if held_by_other($unit->{main}, RESERVED_BYTE);
    my $first = read_at($journal, 0, 1);
    return 0 if $first eq '' || $first eq "\0";
    # A journal beside an empty database is a leftover that SQLite deletes (pager.c, hasHotJournal).
    return -s $unit->{main} ? 1 : 0;
}

# How many frames of the WAL are committed now, its header, and whether all of them are in the main file too.
# undef: cannot be told at this moment.
sub committed {
    my ($unit) = @_;
    return { frames => 0, complete => 1 } unless $unit->{wal};
    if ($unit->{live}) {
        my $found;
        poll_for(0.2, sub {
            my $index = shm_header($unit->{shm}) or return 0;
            if ($index->{frames} == 0) { $found = { frames => 0, complete => 1 }; return 1 }
            my $header = wal_header($unit->{wal}) or return 0;
            # They differ for a moment while the log is restarted: the index first, then the file.
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

sub same_generation { my ($wal, $header) = @_; my $now = wal_header($wal); return $now && $now->{raw} eq $header->{raw} }

# --- copying -----------------------------------------------------------------------------------------------------

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

# The mirror's main file bears what it was made from, its own identity first, so that a file that anything else wrote
# is never taken for ours. A time too close to now could hide a second write within one tick of the kernel's clock
# (10 ms at most; 2 s where the file system keeps whole seconds): such a source time is marked as unknown.
# $now tells the frames of the WAL that are in it.
sub mark_of {
    my ($mirror, $source, $time, $now) = @_;
    my $margin = $source->{mtime} % NS == 0 ? 2 * NS : NS / 20;
    my $settled = $time - $source->{mtime} > $margin ? $source->{mtime} : 0;
    my ($frames, $generation, $sums) = ($now->{frames}, '-', '-');
    ($generation, $sums) = (unpack('H*', $now->{header}{salts}), unpack 'H*', $now->{sums}) if $frames;
    return join ' ', 2, @$mirror{qw(ino mtime)}, $source->{ino}, $settled, $source->{size},
        $frames, $generation, $sums, $now->{complete} ? 1 : 0;
}

sub read_mark {
    my ($path) = @_;
    my $mirror = stat_ns($path) or return undef;
    return undef unless S_ISREG($mirror->{mode});
    my ($version, $ino, $mtime, @source) = split / /, get_mark($path);
    return undef unless defined $source[6] && $version eq '2' && $ino == $mirror->{ino} && $mtime == $mirror->{mtime};
    my %mark;
    @mark{qw(ino mtime size frames generation sums complete)} = @source;
    return \%mark;
}

# The running checksum in the header of the last of some frames: equal means that all of them are.
sub sums_of { my ($wal, $header, $frames) = @_; return read_at($wal, WAL_HEADER + ($frames - 1) * $header->{frame} + 16, 8) }

# Does the WAL as it is now continue what is in the mirror's main file, if the source's main file has not changed since?
sub continues {
    my ($mark, $unit, $now) = @_;
    # Of the same generation: all frames that the mirror has must still be there. (They need not: a power cut of the
    # source can take the last ones, and what is then written in their place are others.)
    if ($now->{frames} && $mark->{frames} && unpack('H*', $now->{header}{salts}) eq $mark->{generation}) {
        return $now->{frames} >= $mark->{frames}
            && unpack('H*', sums_of($unit->{wal}, $now->{header}, $mark->{frames})) eq $mark->{sums};
    }
    # Of another: only if the mirror has no frame that the main file lacked.
    return $mark->{complete};
}

sub temporary {
    my ($directory, $name) = @_;
    # 255 bytes is the longest name a file may have; the suffix keeps two long names apart.
    my $short = length $name > 200 ? substr($name, 0, 180) . sprintf('%08x%d', unpack('%32N*', "$name\0\0\0"), length $name) : $name;
    return "$directory/.lsyncd-rsync.$short";
}

use constant THROTTLED => 'it is big and busy: copying it takes its share of the time';

sub deferred { my ($why, $reason) = @_; return { state => 'deferred', why => $why, reason => $reason } }

# Brings one database of the mirror up to date.
#   $source, $target  directories (without a trailing slash)
#   $options          lock_seconds: how long writers may be held up; big: bytes from which the file is first copied
#                     without a lock; owner, group, perms: as rsync's options; reserve: bytes to leave free
#                     whole: a copy of more than "big" may be made now (an append always may)
# Returns { state, why, reason, bytes }; state is same, copied, deleted, or deferred (try again later).
# Dies when the target can't be written (full, read-only, …): the mirror is then as good as before.
sub sync_unit {
    my ($source, $target, $name, $options) = @_;
    my $main = stat_ns("$source/$name");
    return delete_unit($target, $name) unless $main;
    return sync_link($source, $target, $name) if S_ISLNK($main->{mode});
    return { state => 'same' } unless S_ISREG($main->{mode});
    my $temporary = temporary($target, $name);
    my $result = eval { sync_database("$source/$name", "$target/$name", $temporary, $options) };
    my $error = $@;
    unlink $temporary, "$temporary-wal";
    die $error unless $result;
    set_attributes("$target/$name", "$source/$name", $options) if $result->{state} ne 'deferred';
    return $result;
}

# Roughly how many bytes sync_unit will copy; undef when the database is gone.
sub expected_bytes {
    my ($source, $target) = @_;
    my $main = stat_ns($source) or return undef;
    return 0 unless S_ISREG($main->{mode});
    my ($wal, $mirrored) = map { open_source("$_-wal") } $source, $target;
    return $main->{size} unless $wal;
    my $header = $mirrored && wal_header($mirrored);
    return abs((-s $wal) - -s $mirrored) if $header && same_generation($wal, $header);
    return $main->{size} + -s $wal;
}

sub sync_database {
    my ($source, $target, $temporary, $options) = @_;
    my $unit = open_unit($source) or return deferred('changed', 'disappeared while it was opened');
    my $mark = read_mark($target);

    # WAL mode, and the mirror has a part of this very WAL: append what was committed since. No lock is needed, as
    # committed frames stay until the header changes; any prefix of them is a state that was committed.
    if ($mark && $unit->{wal} && $mark->{ino} == fstat_ns($unit->{main})->{ino}) {
        my $now = committed($unit) or return deferred('changed', 'its WAL is being set up');
        my $result = append($unit, $now, $target) // hand_over($unit, $now, $target, $temporary, $options);
        return $result if $result;
    }

    # From here on a lock is needed. SHARED in WAL mode is held by every connection all the time: it holds up nobody.
    lock_shared($unit->{main}, 0.03) or return deferred('locked', 'a writer holds the lock');
    my $since = ticks();
    # What was opened before the lock may have been removed or replaced meanwhile: an old WAL on a newer main file would
    # be no state at all. Under SHARED -wal and -shm stay (removing them needs EXCLUSIVE), so they are opened again.
    open_wal($unit);
    my $named = stat_ns($source);
    return deferred('changed', 'it was replaced') if !$named || $named->{ino} != fstat_ns($unit->{main})->{ino};
    return deferred('hot', 'a crash left a journal; the application must open the database to roll it back') if hot_journal($unit);
    return copy_wal_unit($unit, $target, $temporary, $mark, $options) if $unit->{wal} || $unit->{live};
    return copy_rollback_unit($unit, $target, $temporary, $mark, $options, $since);
}

# The mirror's -wal: its handle, header and number of whole frames; empty when there is none.
sub mirrored_wal {
    my ($target) = @_;
    sysopen my $copy, "$target-wal", O_RDWR | O_NOFOLLOW | O_CLOEXEC or return;
    my $header = wal_header($copy) or return;
    return ($copy, $header, int(((-s $copy) - WAL_HEADER) / $header->{frame}));
}

# How many frames of a log that is closed (it was restarted, or is about to be) are committed, if $have of them are known.
sub closed_frames {
    my ($wal, $header, $have, $copy) = @_;
    my @sums = $have ? unpack 'N2', sums_of($copy, $header, $have) : @{ $header->{sums} };
    return valid_frames($wal, $header, $have, @sums) || $have;
}

# Returns undef when the mirror's -wal is none of this generation, or differs.
sub append {
    my ($unit, $now, $target) = @_;
    my ($copy, $header, $have) = mirrored_wal($target) or return undef;
    same_generation($unit->{wal}, $header) or return undef;
    my $frames = $now->{frames};
    # A checkpoint closed the log, and its frames are all still there: nobody has begun the next one.
    if (!$frames) {
        return undef if $have && sums_of($copy, $header, $have) ne sums_of($unit->{wal}, $header, $have);
        $frames = closed_frames($unit->{wal}, $header, $have, $copy);
    }
    elsif ($now->{header}{raw} ne $header->{raw}) { return undef }
    return undef if $have > $frames || $have && sums_of($copy, $header, $have) ne sums_of($unit->{wal}, $header, $have);
    return { state => 'same', bytes => 0 } if $have == $frames;
    copy_frames($unit->{wal}, $header, $have, $frames, $copy)
        or return deferred('changed', 'its WAL was restarted while it was copied');
    return { state => 'copied', bytes => ($frames - $have) * $header->{frame} };
}

# The log was restarted once since the last look, so the mirror has one generation, the source the next. If what the
# mirror lacks of the old one still stands behind the new frames, or provably nothing is lacking, the mirror makes the
# checkpoint by itself: no copy of the main file is needed. Returns undef when that can't be told; then it is.
sub hand_over {
    my ($unit, $now, $target, $temporary, $options) = @_;
    return undef unless $now->{frames};
    my ($new, $wal) = ($now->{header}, $unit->{wal});
    my ($copy, $old, $have) = mirrored_wal($target) or return undef;
    my ($old_salt, $new_salt) = map { unpack 'N', $_->{salts} } $old, $new;
    # A restart adds one to the first salt (walformat.html, "WAL Reset").
    return undef if $new_salt != (($old_salt + 1) & 0xffffffff) || $old->{page} != $new->{page} || !$have;
    # The last frame we have must still stand there: after a power cut the source may have gone on differently.
    return undef if sums_of($copy, $old, $have) ne sums_of($wal, $old, $have);
    # Whose is the frame after it? The old log's: it goes on there. The new one's: what was there is
    # lost. Some older log's: the old one never got that far. No such frame: the file may have been cut, so unknown.
    my $slot = read_at($wal, WAL_HEADER + $have * $old->{frame}, FRAME_HEADER);
    return undef if length $slot < FRAME_HEADER || substr($slot, 8, 8) eq $new->{salts};
    my $frames = substr($slot, 8, 8) eq $old->{salts} ? closed_frames($wal, $old, $have, $copy) : $have;
    return undef unless same_generation($wal, $new);
    my $lacking = need_space($target, ($frames - $have) * $old->{frame} + $now->{frames} * $new->{frame}, $options);
    return $lacking if $lacking;
    if ($frames > $have) {
        my $offset = WAL_HEADER + $have * $old->{frame};
        write_at($copy, $offset, read_at($wal, $offset, ($frames - $have) * $old->{frame}));
        # Read twice, so judged by what has arrived. (A reader of the mirror ignores what does not fit, too.)
        return undef if closed_frames($copy, $old, $have, $copy) != $frames || !same_generation($wal, $new);
    }
    my $next = create("$temporary-wal");
    write_at($next, 0, $new->{raw});
    copy_frames($wal, $new, 0, $now->{frames}, $next)
        or return deferred('changed', 'its WAL was restarted while it was copied');
    finish("$temporary-wal", $next, $unit->{path}, $options);

    sync($copy);
    my $source = fstat_ns($unit->{main});
    sysopen my $main, $target, O_RDWR | O_NOFOLLOW | O_CLOEXEC or die "cannot open $target: $!\n";
    apply_frames($copy, $old, $frames, $main);
    sync($main);
    set_mtime($target, $source->{mtime});
    # No time of the source belongs to this state of the main file: 0.
    set_mark($main, mark_of(fstat_ns($main), { %$source, mtime => 0 }, 0, { frames => 0, complete => 0 }));
    move("$temporary-wal", "$target-wal");
    return { state => 'copied', bytes => (2 * $frames - $have + $now->{frames}) * $new->{frame} };
}

sub need_space {
    my ($target, $bytes, $options) = @_;
    my ($directory) = $target =~ m{\A(.*)/}s;
    my $free = free_bytes("$directory/.") - $options->{reserve};
    return $bytes <= $free ? undef
        : deferred('space', sprintf 'needs %d MB free in the mirror for its copy, there are %d', $bytes / 1e6 + 1, $free < 0 ? 0 : $free / 1e6);
}

# Copies the main file, calling $between after each chunk; stops when that returns a reason.
sub copy_main {
    my ($from, $to, $between) = @_;
    my $offset = 0;
    while (1) {
        my $data = read_at($from, $offset, CHUNK);
        write_at($to, $offset, $data) if length $data;
        $offset += length $data;
        return undef if length $data < CHUNK;
        my $reason = $between->();
        return $reason if $reason;
    }
}

# WAL mode. The checkpoint lock keeps the main file as it is, while writers append to the WAL.
sub copy_wal_unit {
    my ($unit, $target, $temporary, $mark, $options) = @_;
    my $path = $unit->{path};
    if ($unit->{live}) {
        poll_for($options->{lock_seconds}, sub { try_lock($unit->{shm}, F_RDLCK, SHM_CKPT, 1) })
            or return deferred('locked', 'a checkpoint is running');
        return deferred('changed', 'its connections changed') unless held_by_other($unit->{shm}, SHM_DMS);
    }
    my $source = fstat_ns($unit->{main});
    my @still = map { file_id("$path$_") } '', '-wal', '-shm';

    my $now = committed($unit) or return deferred('changed', 'its WAL is being set up');
    my $wal_bytes = $now->{frames} ? $now->{frames} * $now->{header}{frame} + WAL_HEADER : 0;

    if ($mark && $mark->{mtime} && $mark->{mtime} == $source->{mtime} && $mark->{ino} == $source->{ino}
        && continues($mark, $unit, $now)) {
        # No checkpoint has written the main file since it was copied: only the WAL is needed. (If the mirror has a WAL
        # of another generation, all of that is in the mirror's main file already.)
        if (!$now->{frames}) {
            return { state => 'same' } unless stat_ns("$target-wal");
            remove("$target-wal");
            return { state => 'copied', bytes => 0 };
        }
        my $lacking = need_space($target, $wal_bytes, $options);
        return $lacking if $lacking;
        my $copy = create("$temporary-wal");
        write_at($copy, 0, $now->{header}{raw});
        copy_frames($unit->{wal}, $now->{header}, 0, $now->{frames}, $copy)
            or return deferred('changed', 'its WAL was restarted while it was copied');
        finish("$temporary-wal", $copy, $path, $options);
        move("$temporary-wal", "$target-wal");
        return { state => 'copied', bytes => $wal_bytes };
    }

    return deferred('throttled', THROTTLED) if !$options->{whole} && $source->{size} + $wal_bytes >= $options->{big};
    my $lacking = need_space($target, $source->{size} + 2 * $wal_bytes, $options);
    return $lacking if $lacking;
    my $copy = create($temporary);
    my $stopped = copy_main($unit->{main}, $copy, sub {
        # Once the last connection is gone, the next one to come needs the checkpoint lock to recover the WAL.
        return $unit->{live} && !(held_by_other($unit->{shm}, SHM_DMS) && shm_header($unit->{shm})) ? 'its connections changed' : undef;
    });
    return deferred('changed', $stopped) if $stopped;

    # The WAL after the main file, so that it holds at least what a checkpoint had brought there.
    my $wal_copy;
    for my $try (1 .. 5) {
        $now = committed($unit) or return deferred('changed', 'its WAL is being set up');
        last unless $now->{frames};
        $wal_copy = create("$temporary-wal");
        write_at($wal_copy, 0, $now->{header}{raw});
        if (copy_frames($unit->{wal}, $now->{header}, 0, $now->{frames}, $wal_copy)) {
            $now->{sums} = sums_of($wal_copy, $now->{header}, $now->{frames});
            last;
        }
        return deferred('changed', 'its WAL was restarted while it was copied') if $try == 5;
    }
    # Without a living connection there is no lock that says no; then nothing may have changed, and nobody have come.
    # (Who came cannot have left without a trace: -shm is only removed under EXCLUSIVE, which our SHARED prevents.)
    if (!$unit->{live}) {
        my @after = map { file_id("$path$_") } '', '-wal', '-shm';
        return deferred('changed', 'it was opened while it was copied')
            if "@after" ne "@still" || ($unit->{shm} && held_by_other($unit->{shm}, SHM_DMS));
    }
    my $copied_at = now_ns();
    delete @$unit{qw(main wal shm)};    # closes the files: this drops the locks

    apply_frames($wal_copy, $now->{header}, $now->{frames}, $copy) if $now->{frames};
    seal($temporary, $copy, $source, $copied_at, $now, $path, $options);
    finish("$temporary-wal", $wal_copy, $path, $options) if $now->{frames};
    install($target, $temporary, $now->{frames} ? $now->{header} : undef);
    return { state => 'copied', bytes => (-s $copy) + $wal_bytes };
}

# Rollback journal (delete, truncate, persist, memory, off): SHARED keeps writers from the main file, for a bounded time.
sub copy_rollback_unit {
    my ($unit, $target, $temporary, $mark, $options, $since) = @_;
    my $path = $unit->{path};
    my $deadline = $since + $options->{lock_seconds};
    my @still = map { file_id("$path$_") } '-wal', '-shm';
    my $source = fstat_ns($unit->{main});
    if ($mark && $mark->{mtime} && $mark->{mtime} == $source->{mtime} && $mark->{ino} == $source->{ino}
        && $mark->{size} == $source->{size} && !stat_ns("$target-wal")) {
        return { state => 'same' };
    }
    return deferred('throttled', THROTTLED) if !$options->{whole} && $source->{size} >= $options->{big};
    my $lacking = need_space($target, $source->{size}, $options);
    return $lacking if $lacking;
    my $copy = create($temporary);
    my $bytes = $source->{size};
    if ($source->{size} < $options->{big}) {
        my $late = copy_main($unit->{main}, $copy, sub { return ticks() > $deadline ? 'late' : undef });
        return deferred('slow', "copying it takes longer than writers may be held up ($options->{lock_seconds} s)") if $late;
    }
    else {
        # A big one is first copied without a lock. If nobody wrote meanwhile, that is it; else only the chunks that
        # differ are copied under the lock.
        my $before = "$source->{ino} $source->{size} $source->{mtime}";
        my $settled = now_ns() - $source->{mtime} > NS / 20;
        try_lock($unit->{main}, F_UNLCK, SHARED_FIRST, SHARED_SIZE);
        copy_main($unit->{main}, $copy, sub { return undef });
        lock_shared($unit->{main}, 0.5) or return deferred('locked', 'a writer holds the lock');
        $deadline = ticks() + $options->{lock_seconds};
        return deferred('changed', 'a writer crashed while it was copied') if hot_journal($unit);
        $source = fstat_ns($unit->{main});
        if (!$settled || $before ne "$source->{ino} $source->{size} $source->{mtime}") {
            for (my $at = 0; $at < $source->{size}; $at += CHUNK) {
                return deferred('slow', "comparing it takes longer than writers may be held up ($options->{lock_seconds} s)")
                    if ticks() > $deadline;
                my $data = read_at($unit->{main}, $at, CHUNK);
                next if $data eq read_at($copy, $at, CHUNK);
                write_at($copy, $at, $data);
                $bytes += length $data;
            }
            truncate $copy, $source->{size} or die "cannot truncate: $!\n";
        }
    }
    # A database that turned to WAL mode meanwhile left its files behind (their removal needs EXCLUSIVE).
    my @after = map { file_id("$path$_") } '-wal', '-shm';
    return deferred('changed', 'it turned to WAL mode while it was copied') if "@after" ne "@still";
    my $named = stat_ns($path);
    return deferred('changed', 'it was replaced while it was copied') if !$named || $named->{ino} != $source->{ino};
    my $copied_at = now_ns();
    delete @$unit{qw(main wal shm)};
    seal($temporary, $copy, $source, $copied_at, { frames => 0, complete => 1 }, $path, $options);
    install($target, $temporary, undef);
    return { state => 'copied', bytes => $bytes };
}

# Makes a temporary file ready to be renamed into place: owner and mode of the source, on the disk.
sub finish {
    my ($path, $handle, $source, $options) = @_;
    set_attributes($path, $source, { %$options, new => 1 });
    sync($handle);
    return;
}

sub seal {
    my ($temporary, $handle, $source, $copied_at, $now, $path, $options) = @_;
    set_attributes($temporary, $path, { %$options, new => 1 });
    set_mtime($temporary, $source->{mtime});
    set_mark($handle, mark_of(fstat_ns($handle), $source, $copied_at, $now));
    sync($handle);
    return;
}

# As rsync's --owner, --group and --perms; without --perms a new file gets the source's mode within the umask.
sub set_attributes {
    my ($path, $source, $options) = @_;
    my $want = stat_ns($source) or return;
    my $have = stat_ns($path) or return;
    return unless S_ISREG($have->{mode}) && S_ISREG($want->{mode});
    my $uid = $options->{owner} ? $want->{uid} : $have->{uid};
    my $gid = $options->{group} ? $want->{gid} : $have->{gid};
    if ($uid != $have->{uid} || $gid != $have->{gid}) { chown $uid, $gid, $path or die "cannot set the owner of $path: $!\n" }
    my $mode = $options->{perms} ? $want->{mode} & 07777 : $options->{new} ? $want->{mode} & 0777 & ~umask : $have->{mode} & 07777;
    if ($mode != ($have->{mode} & 07777)) { chmod $mode, $path or die "cannot set the mode of $path: $!\n" }
    return;
}

# Puts a sealed main file, and its WAL if it has one, in the mirror. See the decision record for each state between.
sub install {
    my ($target, $temporary, $header) = @_;
    my $old = open_source("$target-wal");
    my $old_header = $old ? wal_header($old) : undef;
    remove("$target-shm");
    remove("$target-journal");
    if ($header && $old_header && $old_header->{raw} eq $header->{raw} && stat_ns($target)) {
        # The same generation, longer: it belongs to the old main file as well as to the new one.
        move("$temporary-wal", "$target-wal");
        move($temporary, $target);
        return;
    }
    absorb($old, $old_header, $target) if $old_header;
    remove("$target-wal");
    move($temporary, $target);
    move("$temporary-wal", "$target-wal") if $header;
    return;
}

# Writes the mirror's WAL into the mirror's main file, so that it can go without a step back in time. Until it is
# gone a reader takes those pages from the WAL, so a half-written main file is never seen.
sub absorb {
    my ($wal, $header, $target) = @_;
    sysopen my $main, $target, O_RDWR | O_NOFOLLOW | O_CLOEXEC or return;
    my $frames = valid_frames($wal, $header, 0) or return;
    apply_frames($wal, $header, $frames, $main);
    sync($main);
    return;
}

# A copy of a source database at $to, under its locks; as sync_unit, but into a directory of one's own.
sub snapshot {
    my ($source, $to, $options) = @_;
    my $result = eval { sync_database($source, $to, "$to.new", $options) };
    my $error = $@;
    unlink "$to.new", "$to.new-wal";
    return $result // die $error;
}

# Copies a unit of the mirror (which the worker may be replacing) to another directory and writes its WAL into it, so that
# two databases can be compared byte by byte. Returns 0 when it changed all the time.
sub image {
    my ($directory, $name, $to) = @_;
    for (1 .. 10) {
        remove("$to$_") for '', '-wal', '-shm';
        my $before = join ',', map { file_id("$directory/$name$_") } '', '-wal';
        my $main = open_source("$directory/$name") or return 0;
        my $wal = open_source("$directory/$name-wal");
        my $copy = create($to);
        copy_main($main, $copy, sub { return undef });
        my $header = $wal && wal_header($wal);
        my $frames = $header ? valid_frames($wal, $header, 0) : 0;
        apply_frames($wal, $header, $frames, $copy) if $frames;
        return 1 if $before eq join ',', map { file_id("$directory/$name$_") } '', '-wal';
        pause(0.3);
    }
    return 0;
}

# The main file first: what is left of the others is no database any more.
sub delete_unit {
    my ($target, $name) = @_;
    my $there = stat_ns("$target/$name");
    return { state => 'same' } if $there && S_ISDIR($there->{mode});
    remove("$target/$name$_") for '', '-wal', '-shm', '-journal';
    my $temporary = temporary($target, $name);
    unlink $temporary, "$temporary-wal";
    return { state => 'deleted' };
}

sub sync_link {
    my ($source, $target, $name) = @_;
    my $to = readlink "$source/$name";
    return deferred('changed', 'the link was replaced') unless defined $to;
    my $old = readlink "$target/$name";
    return { state => 'same' } if defined $old && $old eq $to;
    my $temporary = temporary($target, $name);
    unlink $temporary;
    symlink $to, $temporary or die "cannot create $temporary: $!\n";
    move($temporary, "$target/$name");
    remove("$target/$name$_") for '-wal', '-shm', '-journal';
    return { state => 'copied', bytes => 0 };
}

# Opens a directory below $root, going through real directories only (a link in the tree must not lead us out of it).
# Returns the handle, whose fd_path is the directory; undef when there is none.
sub open_beneath {
    my ($root, $relative) = @_;
    sysopen my $handle, $root, O_RDONLY | O_DIRECTORY | O_CLOEXEC or return undef;
    for my $part (grep { length } split m{/}, $relative) {
        return undef if $part eq '..' || $part eq '.';
        sysopen my $next, fd_path($handle) . "/$part", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return undef;
        $handle = $next;
    }
    return $handle;
}

1;
