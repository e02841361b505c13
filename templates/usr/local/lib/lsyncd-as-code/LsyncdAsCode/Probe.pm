# Root's access to a single file below a volume, such as the probe that proves that the mirror moves. The entries there belong to the
# application's user, who may replace any of them by a link, a FIFO or a directory at any moment. Each step uses the directory's
# handle (Beneath.pm), follows no link, waits for nothing, and creates a file only where there is none. Bash programs use volume-file.
package LsyncdAsCode::Probe;
use strict;
use warnings;
use Errno ();
use LsyncdAsCode::Beneath qw(create_file open_beneath open_file remove_file status);
use LsyncdAsCode::Paths   ();

# Bytes of a file at most; and how often a name is freed before this gives up, because another process keeps creating it.
use constant { LONGEST => 4096, TRIES => 20 };

# The directory of a file below $root, undef when it is not there, and its name.
sub place {
    my ($root, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    return (open_beneath($root, $above), $name);
}

# A directory is left alone: it may hold a user's data.
sub free {
    my ($directory, $name, $shown) = @_;
    return if eval { remove_file($directory, $name); 1 };
    die $!{EISDIR} ? "$shown is a directory\n" : $@;
}

# Creates or replaces a file owned by root with this text. Dies if it cannot.
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

# Removes it. Dies if it stays.
sub drop {
    my ($root, $path) = @_;
    my ($directory, $name) = place($root, $path);
    free($directory, $name, "$root/$path") if $directory;
    return;
}

# Whether an entry has that name.
sub is_there {
    my ($root, $path) = @_;
    my ($directory, $name) = place($root, $path);
    return $directory && status($directory, $name) ? 1 : 0;
}

1;
