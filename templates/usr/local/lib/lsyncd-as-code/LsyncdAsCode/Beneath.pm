# All access of root below a volume: by handle, never by path. The user of the application can rename, link and swap
# entries there at any moment, so a name is looked up once, in a directory that is held open, and no link is followed.
#
#   my $directory = open_beneath($root, 'a/b', $identity);     # of a root and a path below it; undef: not there
#   my $file      = open_file($directory, $name);              # a regular file, to read; undef: not there, or none
#   my $file      = open_file($directory, $name, O_RDWR);      # to write in place; undef also when it has other names
#   my $file      = create_file($directory, $name, $mode);     # a new one (O_EXCL), to read and write
#   my $scratch   = scratch_file($directory);                  # a new one that never has a name; undef with $! set
#   my $made      = make_directory($directory, $name);         # an existing or a new one (0700), open
#   my $state     = status($directory, $name);                 # as lstat: uid gid mode ino nlink size mtime (ns) dev; undef
#   rename_file($from_directory, $name, $to_directory, $new);  remove_file($directory, $name);  # 0: was not there
#   remove_directory($directory, $name);                       # 0: not empty, or not there
#   make_link($directory, $name, $to);  read_link($directory, $name);                           # symbolic ones
#   set_link($directory, $name, $uid, $gid, $ns);               # of one in a directory that is root's alone
#   my @names = names($directory);                             # without . and ..
#   set_owner($handle, $uid, $gid);  set_mode($handle, $mode);  set_times($handle, $ns);        # of open files
#   sync_directory($directory);                                # its names last through a power cut
#
# A directory is always an open handle, a name always one component. Any failure other than a missing
# entry dies, with a message that names the directory and the entry.
package LsyncdAsCode::Beneath;
use strict;
use warnings;
use Errno qw(EEXIST EINVAL ELOOP ENAMETOOLONG ENOENT ENOSYS ENOTDIR ENOTEMPTY EPERM EXDEV);
use Fcntl qw(O_CREAT O_DIRECTORY O_EXCL O_NOFOLLOW O_NONBLOCK O_RDONLY O_RDWR O_WRONLY S_ISREG);
use LsyncdAsCode::System qw(fd_path fstat_ns number_of stat_at seconds_of O_CLOEXEC);
use Exporter qw(import);

our @EXPORT_OK = qw(
    open_beneath open_file create_file scratch_file make_directory status rename_file remove_file remove_directory
    make_link read_link set_link names set_owner set_mode set_times sync_directory open_source absent
    remove move
);

# linux/openat2.h: the path stays beneath its root, and goes through no link of any kind.
use constant { RESOLVE => 0x08 | 0x04 | 0x02, AT_REMOVEDIR => 0x200, AT_SYMLINK_NOFOLLOW => 0x100 };
# asm-generic/fcntl.h, __O_TMPFILE: with O_DIRECTORY it is O_TMPFILE.
use constant TMPFILE => 020000000;
# Called several times for each database.
my ($OPENAT, $UNLINKAT) = map { number_of($_) } qw(openat unlinkat);

# --- names -----------------------------------------------------------------------------------------------------------

sub checked {
    my ($name) = @_;
    die 'this is no name of an entry: ' . ($name // 'none') . "\n"
        if !defined $name || $name =~ tr{/\0}{} || $name eq '' || $name eq '.' || $name eq '..';
    return "$name";
}

# For messages: the current path of a directory.
sub place { my ($directory, $name) = @_; return (readlink(fd_path($directory)) // 'a directory') . "/$name" }

sub is_absent { return $! == ENOENT || $! == ENOTDIR || $! == ELOOP }

sub handle_of {
    my ($descriptor, $how) = @_;
    open my $handle, $how, $descriptor or die "cannot use an open file: $!\n";
    return $handle;
}

# openat(2) of one name; undef with the error in $!.
sub open_at {
    my ($directory, $name, $flags, $mode) = @_;
    my $descriptor = syscall $OPENAT, fileno($directory) + 0, checked($name), ($flags | O_NOFOLLOW | O_CLOEXEC) + 0, ($mode // 0) + 0;
    return $descriptor < 0 ? undef : handle_of($descriptor, $flags & O_RDWR ? '+<&=' : '<&=');
}

# --- directories -----------------------------------------------------------------------------------------------------

my $HAS_OPENAT2 = 1;

# Whether open_beneath lets the kernel walk (openat2, since Linux 5.6) or walks by itself; for tests.
sub use_openat2 { ($HAS_OPENAT2) = @_; return }

# Opens a directory below $root (a path, or a handle), going through real directories only. Undef means that the
# directory is not there, and nothing else (a missing root is an error): another error taken for that would delete good
# copies. With $identity (device:inode) the root must be that very directory, also after an unmount in between.
sub open_beneath {
    my ($root, $relative, $identity) = @_;
    my $handle = ref $root ? $root : undef;
    if (!$handle) { sysopen $handle, $root, O_RDONLY | O_DIRECTORY | O_CLOEXEC or die "cannot open $root: $!\n" }
    if (defined $identity) {
        my $s = fstat_ns($handle);
        die "$root is not the directory that lsyncd was started with; is the volume mounted?\n" unless "$s->{dev}:$s->{ino}" eq $identity;
    }
    my @parts = grep { length } split m{/}, $relative;
    for (@parts) { die "a path must not contain $_\n" if $_ eq '..' || $_ eq '.' || /\0/ }
    return $handle unless @parts;
    if ($HAS_OPENAT2) {
        my $how = pack 'Q3', O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE;
        my $descriptor = syscall number_of('openat2'), fileno($handle) + 0, join('/', @parts), $how, 24;
        return handle_of($descriptor, '<&=') if $descriptor >= 0;
        # An older kernel, or a container that forbids the call.
        if    ($! == ENOSYS || $! == EPERM) { $HAS_OPENAT2 = 0 }
        elsif (is_absent()) { return undef }
        elsif ($! != ENAMETOOLONG) { die "cannot open $relative below " . (readlink fd_path($handle)) . ": $!\n" }
    }
    for my $part (@parts) {
        my $next = open_at($handle, $part, O_RDONLY | O_DIRECTORY);
        if (!$next) { return undef if is_absent(); die 'cannot open ' . place($handle, $part) . ": $!\n" }
        $handle = $next;
    }
    return $handle;
}

# The directory $name, made if need be with mode 0700. Returns its handle, and whether it is new. Dies when something
# else has that name.
sub make_directory {
    my ($directory, $name) = @_;
    my $new = syscall(number_of('mkdirat'), fileno($directory) + 0, checked($name), 0700) == 0;
    $new || $! == EEXIST or die 'cannot make ' . place($directory, $name) . ": $!\n";
    my $handle = open_at($directory, $name, O_RDONLY | O_DIRECTORY) or die 'cannot open ' . place($directory, $name) . ": $!\n";
    # The owner of the directory above may have exchanged it: somebody else's is not new.
    $new &&= fstat_ns($handle)->{uid} == $>;
    return wantarray ? ($handle, $new) : $handle;
}

# The names in a directory.
sub names {
    my ($directory) = @_;
    # "/." because the handle may have been read before.
    opendir my $entries, fd_path($directory) . '/.' or die 'cannot list ' . readlink(fd_path($directory)) . ": $!\n";
    return grep { $_ ne '.' && $_ ne '..' } readdir $entries;
}

sub sync_directory {
    my ($directory) = @_;
    # Or the path of one of its entries.
    if (!ref $directory) {
        my ($path) = $directory =~ m{\A(.*)/}s;
        sysopen my $handle, "$path/.", O_RDONLY | O_DIRECTORY | O_CLOEXEC or die "cannot open $path: $!\n";
        $directory = $handle;
    }
    # Some file systems cannot (EINVAL); they keep names in an order of their own.
    LsyncdAsCode::System::fsync($directory) or $! == EINVAL or die 'cannot sync ' . readlink(fd_path($directory)) . ": $!\n";
    return;
}

# --- entries ---------------------------------------------------------------------------------------------------------

sub status { my ($directory, $name) = @_; return stat_at($directory, checked($name)) }

# Opens a regular file; undef when there is none of that name. One that is opened to be written must have one name only:
# with a second name, it may belong to another user's path.
sub open_file {
    my ($directory, $name, $flags) = @_;
    $flags //= O_RDONLY;
    my $handle = open_at($directory, $name, $flags | O_NONBLOCK);
    if (!$handle) {
        # A device or FIFO without a reader (ENXIO) is no file; a directory cannot be written (EISDIR).
        return undef if is_absent() || $!{ENXIO} || $!{EISDIR} || $!{ENODEV};
        die 'cannot open ' . place($directory, $name) . ": $!\n";
    }
    my $is = fstat_ns($handle);
    return undef if !S_ISREG($is->{mode}) || ($flags & (O_RDWR | O_WRONLY)) && $is->{nlink} != 1;
    return $handle;
}

# Makes a file that was not there. Its mode is 0600, unless another is given (and then within the umask).
sub create_file {
    my ($directory, $name, $mode) = @_;
    return open_at($directory, $name, O_RDWR | O_CREAT | O_EXCL, $mode // 0600) // die 'cannot create ' . place($directory, $name) . ": $!\n";
}

# Makes a file without a name, which is gone once it is closed (open(2), O_TMPFILE). Not every file system can: undef, with the error in $!.
sub scratch_file {
    my ($directory) = @_;
    my $descriptor = syscall $OPENAT, fileno($directory) + 0, my $here = '.', (O_RDWR | O_DIRECTORY | TMPFILE | O_CLOEXEC) + 0, 0600;
    return $descriptor < 0 ? undef : handle_of($descriptor, '+<&=');
}

sub rename_file {
    my ($from, $name, $to, $new) = @_;
    syscall(number_of('renameat2'), fileno($from) + 0, checked($name), fileno($to) + 0, checked($new), 0) == 0
        or die 'cannot rename ' . place($from, $name) . ' to ' . place($to, $new) . ": $!\n";
    return;
}

sub unlink_at {
    my ($directory, $name, $flags) = @_;
    return syscall($UNLINKAT, fileno($directory) + 0, checked($name), $flags) == 0;
}

# Removes a file, link or the like. 1 when it is gone by this, 0 when it was not there.
sub remove_file {
    my ($directory, $name) = @_;
    return 1 if unlink_at($directory, $name, 0);
    $! == ENOENT or die 'cannot remove ' . place($directory, $name) . ": $!\n";
    return 0;
}

# Removes an empty directory. 1 when it is gone by this, 0 when it was not there or has entries.
sub remove_directory {
    my ($directory, $name) = @_;
    return 1 if unlink_at($directory, $name, AT_REMOVEDIR);
    $! == ENOTEMPTY || $! == EEXIST || is_absent() or die 'cannot remove ' . place($directory, $name) . ": $!\n";
    return 0;
}

# A new symbolic link.
sub make_link {
    my ($directory, $name, $to) = @_;
    syscall(number_of('symlinkat'), "$to", fileno($directory) + 0, checked($name)) == 0 or die 'cannot make the link ' . place($directory, $name) . ": $!\n";
    return;
}

# Sets the owner of a symbolic link, and its time in nanoseconds since 1970. By its name, because a link cannot be opened to be changed: only
# in a directory where no other user can exchange it.
sub set_link {
    my ($directory, $name, $uid, $gid, $ns) = @_;
    syscall(number_of('fchownat'), fileno($directory) + 0, checked($name), $uid + 0, $gid + 0, AT_SYMLINK_NOFOLLOW) == 0
        or die 'cannot set the owner of ' . place($directory, $name) . ": $!\n";
    my $times = pack 'qqqq', (seconds_of($ns)) x 2;
    syscall(number_of('utimensat'), fileno($directory) + 0, checked($name), $times, AT_SYMLINK_NOFOLLOW) == 0
        or die 'cannot set the time of ' . place($directory, $name) . ": $!\n";
    return;
}

# The target of a symbolic link; undef if it is none, or missing.
sub read_link {
    my ($directory, $name) = @_;
    my $buffer = "\0" x 4096;
    my $length = syscall number_of('readlinkat'), fileno($directory) + 0, checked($name), $buffer, 4096;
    return substr $buffer, 0, $length if $length >= 0;
    return undef if $! == EINVAL || is_absent();
    die 'cannot read the link ' . place($directory, $name) . ": $!\n";
}

# --- by path: only for what is not below a volume, or with fd_path of a directory that is held open -----------------------

sub open_source {
    my ($path) = @_;
    if (sysopen my $handle, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) { return -f $handle ? $handle : undef }
    return undef if is_absent();
    die "cannot open $path: $!\n";
}

# Undef if the last error means that the entry is missing (or is no directory), else dies.
sub absent { my ($path) = @_; return undef if is_absent(); die "cannot open $path: $!\n" }

sub remove { my ($path) = @_; unlink $path or $! == ENOENT or die "cannot remove $path: $!\n"; return }

sub move { my ($from, $to) = @_; rename $from, $to or die "cannot rename $from to $to: $!\n"; return }

# --- open files ------------------------------------------------------------------------------------------------------

sub set_owner { my ($handle, $uid, $gid) = @_; chown $uid, $gid, $handle or die 'cannot set the owner of ' . readlink(fd_path($handle)) . ": $!\n"; return }

sub set_mode { my ($handle, $mode) = @_; chmod $mode, $handle or die 'cannot set the mode of ' . readlink(fd_path($handle)) . ": $!\n"; return }

# Both times, in nanoseconds since 1970.
sub set_times {
    my ($handle, $ns) = @_;
    my $times = pack 'qqqq', (seconds_of($ns)) x 2;
    # Without a path it is the open file's (futimens).
    syscall(number_of('utimensat'), fileno($handle) + 0, 0, $times, 0) == 0 or die 'cannot set the time of ' . readlink(fd_path($handle)) . ": $!\n";
    return;
}

1;
