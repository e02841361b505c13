# SQLite's locks, without SQLite: https://www.sqlite.org/lockingv3.html (database file and rollback journal) and
# https://www.sqlite.org/walformat.html (-wal and -shm). They need no key, so they work for encrypted databases too.
package LsyncdAsCode::Locks;
use strict;
use warnings;
use Errno qw(EACCES EAGAIN);
use Fcntl qw(F_GETLK F_RDLCK F_SETLK F_UNLCK F_WRLCK SEEK_SET);
use LsyncdAsCode::System qw(pause ticks);
use Exporter qw(import);

our @EXPORT_OK = qw(
    RESERVED_BYTE SHARED_FIRST SHARED_SIZE SHM_CKPT SHM_DMS flock_struct try_lock try_shared held_by_other lock_of_other poll_for lock_shared
);

# Offsets in the database file (os.h; lockingv3.html) and in the -shm file (walformat.html, "WAL locks").
use constant {
    PENDING_BYTE  => 0x40000000,
    RESERVED_BYTE => 0x40000001,
    SHARED_FIRST  => 0x40000002,
    SHARED_SIZE   => 510,
    SHM_CKPT      => 121,    # held exclusively by a checkpoint; only checkpoints write the main file in WAL mode
    SHM_DMS       => 128,    # held shared by every open connection, and exclusively by the first one until it has emptied the file
};

# POSIX locks belong to the process: closing ANY handle of the file drops them all. So while a lock is held, each file
# of the unit is open once, and nothing else here opens it. Read locks only: the files are never open for writing.
# The kernel drops the locks of a process that dies.
sub flock_struct { my ($type, $start, $length) = @_; return pack 's s x4 q q i x4', $type, SEEK_SET, $start, $length, 0 }

sub try_lock {
    my ($handle, $type, $start, $length) = @_;
    return 1 if fcntl $handle, F_SETLK, flock_struct($type, $start, $length);
    return 0 if $! == EAGAIN || $! == EACCES;
    die "cannot lock: $!\n";
}

# Returns the type of a lock that another process holds there: F_RDLCK, F_WRLCK, or F_UNLCK for none.
sub lock_of_other {
    my ($handle, $start) = @_;
    my $lock = flock_struct(F_WRLCK, $start, 1);
    fcntl $handle, F_GETLK, $lock or die "cannot query locks: $!\n";
    return unpack 's', $lock;
}

# Returns true if another process holds a lock there that conflicts with a write lock.
sub held_by_other { my ($handle, $start) = @_; return lock_of_other($handle, $start) != F_UNLCK }

# Retries for $seconds instead of queueing. A queued lock would block no one either, but polling is simpler to end.
sub poll_for {
    my ($seconds, $try) = @_;
    return 1 if $try->();
    my $end = ticks() + $seconds;
    do {
        return 0 if ticks() > $end;
        pause(0.002);
    } until $try->();
    return 1;
}

# Takes SQLite's SHARED lock: while it is held, no process changes a rollback-journal database or leaves WAL mode.
sub lock_shared {
    my ($handle, $seconds) = @_;
    return poll_for($seconds, sub { return try_shared($handle) });
}

# The same, without waiting.
sub try_shared {
    my ($handle) = @_;
    try_lock($handle, F_RDLCK, PENDING_BYTE, 1) or return 0;
    my $shared = try_lock($handle, F_RDLCK, SHARED_FIRST, SHARED_SIZE);
    try_lock($handle, F_UNLCK, PENDING_BYTE, 1);
    return $shared;
}

1;
