# Functions that perl-base lacks (no Time::HiRes): system calls for nanosecond times, free space, extended attributes and
# priority; reads and writes at an offset of an open file. Also functions of POSIX and IO::Handle: loading those takes longer than
# the work of one call of lsyncd.
package LsyncdAsCode::System;
use strict;
use warnings;
use Config ();
use Errno qw(ENOENT ENOTDIR);
use Fcntl qw(SEEK_SET);
use Exporter qw(import);

our @EXPORT_OK = qw(
    clock now_ns ticks pause number_of known_number stat_ns stat_at fstat_ns fd_path seconds_of set_mtime space free_bytes be_idle set_attribute
    get_attribute read_at read_anew write_at sync fsync sync_file_system leave die_with_parent start_time date_time NS CHUNK O_CLOEXEC
);

# System call numbers from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h).
my %NUMBERS = (
    x86_64 => {
        statx => 332, utimensat => 280, clock_gettime => 228, statfs => 137, fsetxattr => 190, fgetxattr => 193, ioprio_set => 251,
        openat => 257, openat2 => 437, mkdirat => 258, unlinkat => 263, symlinkat => 266, readlinkat => 267, renameat2 => 316, syncfs => 306,
        fadvise64 => 221, fsync => 74, fchownat => 260, fallocate => 285, prctl => 157, exit_group => 231,
        chmod => 90, fchmod => 91, fchmodat => 268, setxattr => 188, lsetxattr => 189, removexattr => 197, lremovexattr => 198, unshare => 272, mount => 165, setsid => 112,
    },
    aarch64 => {
        statx => 291, utimensat => 88, clock_gettime => 113, statfs => 43, fsetxattr => 7, fgetxattr => 10, ioprio_set => 30,
        openat => 56, openat2 => 437, mkdirat => 34, unlinkat => 35, symlinkat => 36, readlinkat => 78, renameat2 => 276, syncfs => 267,
        fadvise64 => 223, fsync => 82, fchownat => 54, fallocate => 47, prctl => 167, exit_group => 94,
        fchmod => 52, fchmodat => 53, setxattr => 5, lsetxattr => 6, removexattr => 14, lremovexattr => 15, unshare => 97, mount => 40, setsid => 157,
    },
);
# The architecture of this perl, which may differ from the kernel's.
my $SYS = $NUMBERS{ $Config::Config{archname} =~ s/-.*//sr };
die "This machine is neither x86_64 nor aarch64: the numbers of its system calls are not known.\n"
    unless $SYS && length(pack 'p', undef) == 8;

use constant {
    AT_FDCWD            => -100,
    AT_SYMLINK_NOFOLLOW => 0x100,
    AT_EMPTY_PATH       => 0x1000,
    STATX_BASIC_STATS   => 0x7ff,
    CLOCK_REALTIME      => 0,
    CLOCK_MONOTONIC     => 1,
    O_CLOEXEC           => 02000000,
    NS                  => 1_000_000_000,
    CHUNK               => 1 << 20,
};

# The number of a system call, for the modules that make others than those below.
sub number_of { my ($name) = @_; return known_number($name) // die "the number of the system call $name is not known\n" }

# The same; undef if this architecture does not have it.
sub known_number { my ($name) = @_; return $SYS->{$name} }

sub clock {
    my ($which) = @_;
    my $buffer = "\0" x 16;
    syscall($SYS->{clock_gettime}, $which + 0, $buffer) == 0 or die "clock_gettime: $!\n";
    my ($seconds, $nanos) = unpack 'qq', $buffer;
    return ($seconds, $nanos);
}

# Nanoseconds since 1970.
sub now_ns { my ($s, $n) = clock(CLOCK_REALTIME); return $s * NS + $n }

# Returns seconds of a monotonic clock.
sub ticks { my ($s, $n) = clock(CLOCK_MONOTONIC); return $s + $n / NS }

sub pause { my ($seconds) = @_; select undef, undef, undef, $seconds; return }

# Where statx(2) puts its answer, and which parts of it are unpacked: nlink, uid, gid, mode, ino, size, blocks, the seconds of ctime, seconds and
# nanoseconds of mtime, and the device's numbers.
my $STATX = "\0" x 256;
use constant STATX_PARTS => 'x16 L3 S x2 Q3 x40 q x8 q L x12 L2';

# Calls statx(2). Returns uid gid mode ino nlink size, blocks (of 512 bytes), mtime (ns since 1970), ctime (s), dev (major:minor); undef sets $!. It is called for
# each database a dozen times.
sub statx {
    syscall($SYS->{statx}, $_[0] + 0, "$_[1]", $_[2], STATX_BASIC_STATS, $STATX) == 0 or return undef;
    my %is;
    (@is{qw(nlink uid gid mode ino size blocks ctime mtime)}, my ($nanos, $major, $minor)) = unpack STATX_PARTS, $STATX;
    $is{mtime} = $is{mtime} * NS + $nanos;
    $is{dev} = "$major:$minor";
    return \%is;
}

# Returns the status of a path, not following a link; undef if it does not exist. Below a volume, use stat_at.
sub stat_ns {
    my ($path) = @_;
    my $is = statx(AT_FDCWD, $path, AT_SYMLINK_NOFOLLOW);
    return $is if $is || $! == ENOENT || $! == ENOTDIR;
    die "cannot inspect $path: $!\n";
}

# The same for a name in an open directory.
sub stat_at {
    my ($directory, $name) = @_;
    my $is = statx(fileno $directory, $name, AT_SYMLINK_NOFOLLOW);
    return $is if $is || $! == ENOENT || $! == ENOTDIR;
    die "cannot inspect $name: $!\n";
}

sub fd_path { my ($handle) = @_; return '/proc/self/fd/' . fileno $handle }

# Returns the status of an open file.
sub fstat_ns { my ($handle) = @_; return statx(fileno $handle, '', AT_EMPTY_PATH) // die "statx: $!\n" }

# Returns seconds and nanoseconds as the kernel expects them: even before 1970 the second part is never negative. (In
# floating point the last nanoseconds of a second would round up to the next one.)
sub seconds_of { my ($ns) = @_; my $nanos = $ns % NS; return (($ns - $nanos) / NS, $nanos) }

sub set_mtime {
    my ($path, $ns) = @_;
    my $times = pack 'qqqq', (seconds_of($ns)) x 2;
    syscall($SYS->{utimensat}, AT_FDCWD, "$path", $times, 0) == 0 or die "cannot set the time of $path: $!\n";
    return;
}

# Returns the bytes that may still be written to the file system of $path.
sub free_bytes { my ($path) = @_; return (space($path))[1] }

# Returns the size of the file system of $path, and how much may still be written, in bytes.
sub space {
    my ($path) = @_;
    my $buffer = "\0" x 256;
    syscall($SYS->{statfs}, "$path", $buffer) == 0 or die "cannot read the free space at $path: $!\n";
    my (undef, $block, $blocks, undef, $available) = unpack 'q5', $buffer;
    return ($block * $blocks, $block * $available);
}

# Lowers this process's priority to idle (ioprio.h: class idle is 3, in the upper bits).
sub be_idle {
    setpriority 0, 0, 19;
    syscall($SYS->{ioprio_set}, 1, 0, 3 << 13);
    return;
}

# Sets an extended attribute of an open file. Returns true if it is set; some file systems have none.
sub set_attribute {
    my ($handle, $name, $text) = @_;
    return syscall($SYS->{fsetxattr}, fileno($handle) + 0, "$name", "$text", length($text) + 0, 0) == 0;
}

# Returns the first 255 bytes of an extended attribute of an open file; empty if there is none.
sub get_attribute {
    my ($handle, $name) = @_;
    my $buffer = "\0" x 256;
    my $length = syscall($SYS->{fgetxattr}, fileno($handle) + 0, "$name", $buffer, 255);
    return $length > 0 ? substr($buffer, 0, $length) : '';
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

# Like read_at, but reads from the disk: drops the kernel's cached data first (posix_fadvise(2); POSIX_FADV_DONTNEED is 4).
sub read_anew {
    my ($handle, $offset, $length) = @_;
    syscall $SYS->{fadvise64}, fileno($handle) + 0, $offset + 0, $length + 0, 4;
    return read_at($handle, $offset, $length);
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

# Syncs the whole file system of an open file (syncfs(2)). Dies also if a write failed since the file was opened.
sub sync_file_system {
    my ($handle) = @_;
    syscall($SYS->{syncfs}, fileno($handle) + 0) == 0 or die "cannot sync the file system: $!\n";
    return;
}

# Brings an open file or directory to the disk (fsync(2)). Returns whether it succeeded; otherwise $! holds the reason.
sub fsync { my ($handle) = @_; return syscall($SYS->{fsync}, fileno($handle) + 0) == 0 }

sub sync { my ($handle) = @_; fsync($handle) or die "cannot sync: $!\n"; return }

# Ends this process at once, without anything that it inherited being finished or removed: for a child that did not exec.
sub leave { my ($code) = @_; syscall $SYS->{exit_group}, $code + 0; die "exit_group: $!\n" }

# Asks the kernel to kill this process when its parent ends. It forgets that when the process changes its user or group. (prctl(2):
# PR_SET_PDEATHSIG is 1; signal(7): SIGKILL is 9.)
sub die_with_parent { syscall $SYS->{prctl}, 1, 9, 0, 0, 0; return }

# Returns the start time of a process, in the kernel's ticks; empty if there is none. It detects a reused pid.
sub start_time {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/stat" or return '';
    local $/ = undef;
    my @fields = split ' ', (readline($file) // '') =~ s/\A.*\)//sr;
    return $fields[19] // '';
}

# The result of localtime or gmtime, for people.
sub date_time { my ($s, $m, $h, $day, $month, $year) = @_; return sprintf '%04d-%02d-%02d %02d:%02d:%02d', $year + 1900, $month + 1, $day, $h, $m, $s }

1;
