# SQLite's locks, without SQLite: https://www.sqlite.org/lockingv3.html (database file and rollback journal) and
# https://www.sqlite.org/walformat.html (-wal and -shm). They need no key, so they work for encrypted databases too.
package LsyncdAsCode::Locks;
use strict;
use warnings;
use Errno qw(EACCES EAGAIN);
use Fcntl qw(:DEFAULT :seek);
use LsyncdAsCode::System qw(pause ticks);
use Exporter qw(import);

our @EXPORT_OK = qw(
    RESERVED_BYTE SHARED_FIRST SHARED_SIZE SHM_CKPT SHM_DMS flock_struct try_lock held_by_other poll_for lock_shared
);

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

1;
