# What perl-base lacks (no Time::HiRes): system calls for nanosecond times, free space, extended attributes, priority;
# and reads and writes at a place in an open file.
package LsyncdAsCode::System;
use strict;
use warnings;
use Config ();
use Errno qw(ENOENT ENOTDIR);
use Fcntl qw(SEEK_SET);
use IO::Handle ();
use POSIX ();
use Exporter qw(import);

our @EXPORT_OK = qw(
    clock now_ns ticks pause stat_ns fstat_ns fd_path seconds_of set_mtime free_bytes be_idle set_attribute get_attribute read_at
    write_at sync NS CHUNK O_CLOEXEC
);

# System call numbers from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h).
my %NUMBERS = (
    x86_64  => { statx => 332, utimensat => 280, clock_gettime => 228, statfs => 137, fsetxattr => 190, getxattr => 191, ioprio_set => 251 },
    aarch64 => { statx => 291, utimensat => 88,  clock_gettime => 113, statfs => 43,  fsetxattr => 7,   getxattr => 8,   ioprio_set => 30 },
);
my $SYS = $NUMBERS{ (POSIX::uname())[4] };
die "This machine is neither x86_64 nor aarch64: the numbers of its system calls are not known.\n"
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
    my ($changed, $seconds, $nanos) = unpack 'x96 q x8 q L', $buffer;
    my ($major, $minor) = unpack 'x136 L L', $buffer;
    return {
        uid => $uid, gid => $gid, mode => $mode, ino => $ino, size => $size,
        mtime => $seconds * NS + $nanos, ctime => $changed, dev => "$major:$minor",
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

# Seconds and nanoseconds, as the kernel takes them: also before 1970 the second part is never negative. (In floating
# point the last nanoseconds of a second would round to the next one.)
sub seconds_of { my ($ns) = @_; my $nanos = $ns % NS; return (($ns - $nanos) / NS, $nanos) }

sub set_mtime {
    my ($path, $ns) = @_;
    my $times = pack 'qqqq', (seconds_of($ns)) x 2;
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

# Bytes of the file system of $path: all of them, and those that may still be written.
sub space {
    my ($path) = @_;
    my $buffer = "\0" x 256;
    syscall($SYS->{statfs}, "$path", $buffer) == 0 or die "cannot ask for free space at $path: $!\n";
    my (undef, $block, $blocks, undef, $available) = unpack 'q5', $buffer;
    return ($block * $blocks, $block * $available);
}

# Gives way to everybody else (ioprio.h: class idle is 3, in the upper bits).
sub be_idle {
    POSIX::nice(19);
    syscall($SYS->{ioprio_set}, 1, 0, 3 << 13);
    return;
}

# Sets an extended attribute of an open file. Returns whether it is set: a file system need not have any.
sub set_attribute {
    my ($handle, $name, $text) = @_;
    return syscall($SYS->{fsetxattr}, fileno($handle) + 0, "$name", "$text", length($text) + 0, 0) == 0;
}

# The first 255 bytes of an extended attribute; empty when there is none.
sub get_attribute {
    my ($path, $name) = @_;
    my $buffer = "\0" x 256;
    my $length = syscall($SYS->{getxattr}, "$path", "$name", $buffer, 255);
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

1;
