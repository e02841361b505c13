# What root does with a single file below a volume whose entries belong to the application's user, who may put a link, a FIFO or a directory
# in the place of any of them at any moment: such as the file that goes through the mirror to show that it moves. Each step goes by the
# handle of the directory (Beneath.pm), follows nothing, waits for nothing, and makes a file only where nothing is. For programs in Bash:
# volume-file.
package LsyncdAsCode::Probe;
use strict;
use warnings;
use Errno ();
use LsyncdAsCode::Beneath qw(create_file open_beneath open_file remove_file status);
use LsyncdAsCode::Paths   ();

# Bytes of a file at most; and times that a name is freed before somebody else is taken to fill it again and again.
use constant { LONGEST => 4096, TRIES => 20 };

# The directory of a file below $root, undef when it is not there, and its name.
sub place {
    my ($root, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    return (open_beneath($root, $above), $name);
}

# A directory is left alone: what it holds is somebody's.
sub free {
    my ($directory, $name, $shown) = @_;
    return if eval { remove_file($directory, $name); 1 };
    die $!{EISDIR} ? "$shown is a directory\n" : $@;
}

# Makes a file of root's anew with this text. Dies when it cannot.
sub put {
    my ($root, $path, $text) = @_;
    my ($directory, $name) = place($root, $path);
    die "there is no directory for $path in $root\n" unless $directory;
    for (1 .. TRIES) {
        free($directory, $name, "$root/$path");
        my $file = eval { create_file($directory, $name) };
        if (!$file) { next if $!{EEXIST}; die $@ }
        return 1 if (syswrite($file, $text) // -1) == length $text && close $file;
        my $why = $!;
        remove_file($directory, $name);
        die "cannot write $root/$path: $why\n";
    }
    die "another process keeps creating $root/$path\n";
}

# The text of a file; undef when there is none, or something else has its name.
sub text {
    my ($root, $path) = @_;
    my ($directory, $name) = place($root, $path);
    my $file = $directory && open_file($directory, $name) or return undef;
    sysread($file, my $text, LONGEST) // return undef;
    return $text;
}

# Takes it away. Dies when it stays.
sub drop {
    my ($root, $path) = @_;
    my ($directory, $name) = place($root, $path);
    free($directory, $name, "$root/$path") if $directory;
    return;
}

# Whether anything has that name.
sub is_there {
    my ($root, $path) = @_;
    my ($directory, $name) = place($root, $path);
    return $directory && status($directory, $name) ? 1 : 0;
}

1;
