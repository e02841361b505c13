# The directory at the root of a volume that only root can enter: what this program keeps there, out of reach of the owner of the
# volume's files. It is looked at on each use, because the root directory itself may be somebody else's.
package LsyncdAsCode::Gate::Private;
use strict;
use warnings;
use Fcntl qw(:DEFAULT :mode);
use LsyncdAsCode::Beneath qw(absent move sync_directory);
use LsyncdAsCode::Gate::Names qw(PRIVATE);
use LsyncdAsCode::System  qw(fd_path sync write_at O_CLOEXEC);
use Exporter qw(import);

our @EXPORT_OK = qw(open_private below read_file write_file);

# A handle of it below $root; undef when there is none and $make is not given. Dies when it is not root's alone.
sub open_private {
    my ($root, $make) = @_;
    sysopen my $top, $root, O_RDONLY | O_DIRECTORY | O_CLOEXEC or die "cannot open $root: $!\n";
    return below($top, PRIVATE, $make);
}

# A directory in an open one, ours as well.
sub below {
    my ($above, $name, $make) = @_;
    my $path = fd_path($above) . "/$name";
    if ($make) { mkdir $path, 0700 or $!{EEXIST} or die "cannot make $name: $!\n" }
    sysopen my $handle, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return absent($name);
    my @is = stat $handle;
    die "$name is not for root alone (owner $is[4]): somebody else made it, or changed it; look at it and remove it\n"
        if $is[4] != $> || ($is[2] & 0077);
    return $handle;
}

# The text of a file of ours; undef when there is none, or when it is not ours.
sub read_file {
    my ($directory, $name) = @_;
    sysopen my $file, fd_path($directory) . "/$name", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC or return absent($name);
    my @is = stat $file;
    return undef unless S_ISREG($is[2]) && $is[4] == $> && $is[3] == 1;
    local $/ = undef;
    return readline($file) // '';
}

# Writes it so that it is there whole after a power cut, in its old state or the new one.
sub write_file {
    my ($directory, $name, $text) = @_;
    my $path = fd_path($directory) . "/$name";
    unlink "$path.new";
    sysopen my $file, "$path.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600 or die "cannot write $name: $!\n";
    eval { write_at($file, 0, $text); sync($file); 1 } or die "$name: $@";
    close $file or die "cannot write $name: $!\n";
    move("$path.new", $path);
    sync_directory($directory);
    return;
}

1;
