# A file that goes through the mirror to show that it moves: made in the root of the source, looked for in that of the
# target. Who may write to a volume may have put anything there under its name, so nothing here follows a link, waits
# for a pipe, or writes to a file that was there before. The volumes' own paths are root's.
package LsyncdAsCode::Probe;
use strict;
use warnings;
use Errno qw(ENOENT);
use Fcntl qw(O_CREAT O_EXCL O_NOFOLLOW O_NONBLOCK O_RDONLY O_WRONLY);

# Bytes of a probe at most.
use constant LONGEST => 100;

# Makes the probe anew with this text. Dies when it cannot.
sub put {
    my ($directory, $name, $text) = @_;
    my $path = "$directory/$name";
    drop($directory, $name);
    sysopen my $file, $path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600 or die "$path: $!\n";
    my $written = syswrite $file, $text;
    return 1 if defined $written && $written == length $text && close $file;
    my $why = $!;
    unlink $path;
    die "$path: $why\n";
}

# The text of the probe; undef when there is none, or something else under its name.
sub text {
    my ($directory, $name) = @_;
    sysopen my $file, "$directory/$name", O_RDONLY | O_NOFOLLOW | O_NONBLOCK or return undef;
    return undef unless -f $file;
    sysread($file, my $text, LONGEST) // return undef;
    return $text;
}

# Takes the probe away. Dies when it stays.
sub drop {
    my ($directory, $name) = @_;
    unlink "$directory/$name" or $! == ENOENT or die "$directory/$name: $!\n";
    return;
}

1;
