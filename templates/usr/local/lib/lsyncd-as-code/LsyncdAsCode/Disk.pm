# Checks that the disk of a volume can still be read and written. The mount table does not show that: for an ext4 whose journal
# has failed it still reports "rw", like access(2), while each write is refused (Linux 6.12 and later, and 6.1.113 and later).
package LsyncdAsCode::Disk;
use strict;
use warnings;
use Errno qw(EIO ENODEV ENOTCONN ENXIO EOPNOTSUPP EISDIR EROFS ESHUTDOWN ESTALE EUCLEAN);
use Fcntl qw(O_RDONLY);
use LsyncdAsCode::Beneath       qw(create_file open_beneath remove_file scratch_file);
use LsyncdAsCode::Private       qw(private);
use LsyncdAsCode::System        qw(date_time fstat_ns read_anew);
use Exporter qw(import);

our @EXPORT_OK = qw(write_fault read_faults);

# Errors of a failed disk or file system. A full one works; the mirror handles that separately.
my %FAILED = map { $_ => 1 } EIO, EROFS, ENXIO, ENODEV, EUCLEAN, ESHUTDOWN, ESTALE, ENOTCONN;
# Bytes to read; seconds for which an error that the file system recorded is reported.
use constant { PAGE => 4096, RECENT => 86400 };

# Returns a sentence for people if a volume cannot be written, else undef. $root: its path, or a handle of it. Leaves nothing
# behind, and creates no name in the volume. Does not sync the file: on a busy disk that takes seconds, like on a dead one. If the
# disk refuses the write, the file system fails soon after, and the supervisor's sync reports it.
sub write_fault {
    my ($role, $path, $root) = @_;
    my $handle = open_beneath($root, '');
    my $error  = write_error($handle);
    return undef if !$FAILED{$error};
    return "the $role volume at $path cannot be written (" . text_of($error) . '): ' . disk($handle)
        . ' or its file system has failed. Look at `dmesg`, unmount it, repair or replace it, and mount it again';
}

# Returns the number of the error of writing a new file, 0 if there is none.
sub write_error {
    my ($directory) = @_;
    my $file = scratch_file($directory);
    return fill($file) if $file;
    return $! + 0 unless $! == EOPNOTSUPP || $! == EISDIR;
    # A file system that does not support unnamed files.
    my ($name, $error) = ("probe.$$");
    eval {
        my $private = private($directory, 1);
        remove_file($private, $name);
        $error = fill(create_file($private, $name));
        remove_file($private, $name);
        1;
    } or $error ||= $! + 0;
    return $error;
}

sub fill { my ($file) = @_; return defined syswrite($file, 'x') ? 0 : $! + 0 }

sub text_of { my ($error) = @_; local $! = $error; return "$!" }

# Returns sentences for people about a volume whose disk cannot be read, or whose file system has recently recorded errors.
sub read_faults {
    my ($role, $path, $now) = @_;
    my $handle = open_beneath($path, '');
    my @faults;
    my $error = read_error($handle);
    push @faults, "the $role volume at $path is on a disk that cannot be read (" . text_of($error) . '): ' . disk($handle) . '. Look at `dmesg`' if $FAILED{$error};
    my ($count, $last) = recorded($handle);
    push @faults, sprintf 'the file system of the %s volume at %s (%s) has recorded %d errors, the last at %s. Look at `dmesg`, unmount it and repair it (e2fsck)',
        $role, $path, disk($handle), $count, date_time(localtime $last)
        if $count && $now - $last < RECENT;
    return @faults;
}

# Returns the kernel's directory for the block device of a volume; undef if it has none, or several.
sub described {
    my ($handle) = @_;
    my $device = '/sys/dev/block/' . fstat_ns($handle)->{dev};
    return -d $device ? $device : undef;
}

# Returns the disk's name for people.
sub disk {
    my ($handle) = @_;
    my $device = described($handle) // return 'its disk';
    my $mapped = line("$device/dm/name");
    return length $mapped ? "/dev/mapper/$mapped" : '/dev/' . name_of($device);
}

# Returns the number of the error of reading a page in the middle of the disk, where the kernel caches no data of the file system;
# 0 if there is none, or if the disk may not be opened.
sub read_error {
    my ($handle) = @_;
    my $device = described($handle) // return 0;
    my $bytes  = (line("$device/size") || 0) * 512;
    return 0 if $bytes < 2 * PAGE || !sysopen my $disk, '/dev/' . name_of($device), O_RDONLY;
    return eval { read_anew($disk, int($bytes / 2 / PAGE) * PAGE, PAGE); 1 } ? 0 : $! + 0;
}

# Returns how many errors an ext4 has recorded since its last repair, and the time of the last one, in seconds since 1970.
sub recorded {
    my ($handle) = @_;
    my $device = described($handle) // return (0, 0);
    my $folder = '/sys/fs/ext4/' . (readlink($device) // '') =~ s{.*/}{}r;
    return map { line("$folder/$_") || 0 } qw(errors_count last_error_time);
}

sub name_of { my ($device) = @_; return (readlink($device) // '') =~ s{.*/}{}r =~ tr{!}{/}r }

# Returns the first line of a kernel file; empty if there is none.
sub line {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    my $line = <$file> // '';
    chomp $line;
    return $line;
}

1;
