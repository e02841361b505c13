# Paths that are too long for rsync (MAXPATHLEN, 4,096 bytes with the terminating NUL). In each full pass, rsync reports every one of
# them, exits with 23 and deletes nothing; a filter does not prevent this for the path itself. So the directory that holds such a
# path is left out, and reported once.
package LsyncdAsCode::Overlong;
use strict;
use warnings;
use LsyncdAsCode::Itemize ();
use LsyncdAsCode::Paths   ();

# The maximum number of paths that are left out (arguments are limited), and the bytes of a path that a message shows at each end.
use constant { MOST => 200, SHOWN => 120 };

# Parses rsync's messages (flist.c of rsync 3.2 to 3.5) for the skipped entries: the directories that hold such paths, and the entries whose path is too
# long only with that of the volume before it, $root.
sub entries {
    my ($root, @messages) = @_;
    my %found;
    for my $line (map { LsyncdAsCode::Itemize::unescape($_) } @messages) {
        my ($path) = $line =~ /\Arsync: \[sender\] \w+[ (]"\Q$root\E\/(.+)"\)? failed: File name too long \(/s;
        if (!defined $path) {
            ($path) = $line =~ /\Afilename overflows max-path len by [0-9]+: (.+)\z/s or next;
            ($path) = LsyncdAsCode::Paths::split_path($path);
        }
        # A pattern has one more slash, and the same limit.
        while (length($path) + 1 > LsyncdAsCode::Paths::LONGEST_PATTERN) { ($path) = LsyncdAsCode::Paths::split_path($path) }
        $found{$path} = 1 if $path ne '';
    }
    return sort keys %found;
}

sub exclusions {
    my @paths = @_;
    return map { '--exclude=' . LsyncdAsCode::Paths::pattern($_, '') } @paths;
}

# Reports the paths that were not reported before. The file $memory records them; without paths it is removed.
sub report {
    my ($memory, @paths) = @_;
    return unlink $memory if !@paths;
    my $text = join '', map { "$_\0" } sort @paths;
    my $known = do { local (@ARGV, $/) = ($memory); -e $memory ? <> : '' } // '';
    return if $known eq $text;
    if (open my $file, '>', $memory) { print {$file} $text; close $file }
    my %before = map { $_ => 1 } split /\0/, $known;
    for my $path (grep { !$before{$_} } sort @paths) {
        my $shown = LsyncdAsCode::Paths::printable($path);
        $shown = substr($shown, 0, SHOWN) . '…' . substr $shown, -SHOWN if length $shown > 2 * SHOWN;
        print {*STDERR} "rsync: not mirrored, because paths in it are longer than rsync supports (4,095 bytes): $shown. Shorten the name of a directory above it\n";
    }
    return;
}

1;
