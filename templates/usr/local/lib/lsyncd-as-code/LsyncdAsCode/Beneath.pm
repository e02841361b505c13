# Walks below a directory by handle: root never follows a link there, and never goes by a path twice.
package LsyncdAsCode::Beneath;
use strict;
use warnings;
use Errno qw(EINVAL ELOOP ENOENT ENOTDIR);
use Fcntl qw(:DEFAULT :mode);
use LsyncdAsCode::System qw(stat_ns fd_path O_CLOEXEC);
use Exporter qw(import);

our @EXPORT_OK = qw(open_beneath absent open_source create remove move sync_directory);

# Opens a directory below $root, going through real directories only (a link in the tree must not lead us out of it).
# Returns the handle, whose fd_path is the directory. Undef means that the directory is not there, and nothing else (a
# missing root is an error): another error taken for that would delete good copies. With $identity (device:inode) the
# root must be that very directory, also after an unmount in between.
sub open_beneath {
    my ($root, $relative, $identity) = @_;
    sysopen my $handle, $root, O_RDONLY | O_DIRECTORY | O_CLOEXEC or die "cannot open $root: $!\n";
    if (defined $identity) {
        my $s = stat_ns(fd_path($handle) . '/.');
        die "$root is not the directory that lsyncd was started with; is the volume mounted?\n"
            unless $s && "$s->{dev}:$s->{ino}" eq $identity;
    }
    for my $part (grep { length } split m{/}, $relative) {
        die "a path must not contain $part\n" if $part eq '..' || $part eq '.';
        sysopen my $next, fd_path($handle) . "/$part", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return absent($part);
        $handle = $next;
    }
    return $handle;
}

# Undef when the last error says that something is not there (or is no directory), else dies.
sub absent {
    my ($path) = @_;
    return undef if $! == ENOENT || $! == ENOTDIR || $! == ELOOP;
    die "cannot open $path: $!\n";
}

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

sub remove { my ($path) = @_; unlink $path or $! == ENOENT or die "cannot remove $path: $!\n"; return }

sub move { my ($from, $to) = @_; rename $from, $to or die "cannot rename $from to $to: $!\n"; return }

# Makes the names beside $path last through a power cut: without it, what was renamed is back for some seconds.
sub sync_directory {
    my ($path) = @_;
    my ($directory) = $path =~ m{\A(.*)/}s;
    sysopen my $handle, "$directory/.", O_RDONLY | O_DIRECTORY | O_CLOEXEC or die "cannot open $directory: $!\n";
    # Some file systems cannot (EINVAL); they keep names in an order of their own.
    $handle->sync or $! == EINVAL or die "cannot sync $directory: $!\n";
    return;
}

1;
