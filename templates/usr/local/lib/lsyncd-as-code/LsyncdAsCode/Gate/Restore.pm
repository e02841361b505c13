# Restores deleted files: copies them from the kept files into the source, and never overwrites anything. Kept.pm copies with it, too.
package LsyncdAsCode::Gate::Restore;
use strict;
use warnings;
use Fcntl qw(O_CREAT O_DIRECTORY O_EXCL O_NOFOLLOW O_RDONLY O_WRONLY S_IMODE S_ISDIR S_ISLNK S_ISREG);
use LsyncdAsCode::Beneath qw(absent open_source);
use LsyncdAsCode::Sparse  qw(copy_sparse);
use LsyncdAsCode::System  qw(fd_path fstat_ns set_mtime space stat_ns O_CLOEXEC);

# Copies $path below the open directory $from to the same path below $to. Returns how many entries were created; reports those
# that cannot be restored (a socket, a device). Dies if something is already there. A process that was in a directory when it was
# deleted can still exchange its entries: what is copied, and its owner and mode, are of the same open file.
sub restore {
    my ($from, $to, $path) = @_;
    my @parts = grep { length } split m{/}, $path;
    die "a path must not contain . or ..\n" if !@parts || grep { $_ eq '.' || $_ eq '..' } @parts;
    my $name = pop @parts;
    for my $part (@parts) {
        $from = inside($from, $part) // die "$path is not kept\n";
        $to = parent($to, $part);
    }
    stat_ns(fd_path($from) . "/$name") // die "$path is not kept\n";
    return copy($from, $to, $name, $path);
}

sub inside {
    my ($above, $name) = @_;
    sysopen my $handle, fd_path($above) . "/$name", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return absent($name);
    return $handle;
}

# Returns a parent directory, created like the one above it if missing.
sub parent {
    my ($above, $name) = @_;
    my $there = inside($above, $name);
    return $there if $there;
    my @like = stat $above;
    my $handle = make_directory($above, $name);
    own($handle, @like[ 2, 4, 5 ]);
    return $handle;
}

sub make_directory {
    my ($above, $name) = @_;
    mkdir fd_path($above) . "/$name", 0700 or die "cannot make $name: $!\n";
    my $made = inside($above, $name);
    # The owner of the directory above can exchange it at any moment: somebody else's gets no other owner.
    die "$name was replaced while it was made\n" unless $made && fstat_ns($made)->{uid} == $>;
    return $made;
}

sub own {
    my ($handle, $mode, $user, $group) = @_;
    chown $user, $group, $handle or die "cannot set the owner: $!\n";
    chmod S_IMODE($mode), $handle or die "cannot set the mode: $!\n";
    return;
}

# $free: percent of the file system that a copy must leave free.
sub copy {
    my ($from, $to, $name, $path, $free) = @_;
    my ($old, $new) = map { fd_path($_) . "/$name" } $from, $to;
    my $found = stat_ns($old) // return 0;
    my $mode  = $found->{mode};
    die "$path already exists and is not overwritten\n" if stat_ns($new);
    if (S_ISLNK($mode)) {
        symlink readlink($old) // die("cannot read the link $path: $!\n"), $new or die "cannot make $path: $!\n";
        return 1;
    }
    if (S_ISDIR($mode)) {
        my $source = inside($from, $name) // return 0;
        my $made   = make_directory($to, $name);
        $found = fstat_ns($source);
        opendir my $names, fd_path($source) . '/.' or die "cannot read $path: $!\n";
        my $count = 1;
        $count += copy($source, $made, $_, "$path/$_", $free) for sort grep { $_ ne '.' && $_ ne '..' } readdir $names;
        own($made, @$found{qw(mode uid gid)});
        set_mtime(fd_path($made) . '/.', $found->{mtime});
        return $count;
    }
    if (!S_ISREG($mode)) { print {*STDERR} "$path is neither a file, a directory nor a link: skipped\n"; return 0 }
    my $in = open_source($old) // die "$path was replaced while it was restored\n";
    $found = fstat_ns($in);
    sysopen my $out, $new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600 or die "cannot make $path: $!\n";
    fill($in, $out, $path, $found->{size}, $free // 0);
    own($out, @$found{qw(mode uid gid)});
    set_mtime(fd_path($out), $found->{mtime});
    return 1;
}

# linux/fs.h, FICLONE: the copy shares the blocks, on btrfs also across subvolumes.
use constant FICLONE => 0x40049409;

# Copies the content; holes stay holes.
sub fill {
    my ($in, $out, $path, $bytes, $free) = @_;
    return if ioctl $out, FICLONE, fileno $in;
    my ($all, $left) = space(fd_path($out));
    die "$path has $bytes bytes, which would leave less than $free percent of the file system free\n" if $free && $left - $bytes < $all * $free / 100;
    copy_sparse($in, $out, sub { return undef });
    return;
}

1;
