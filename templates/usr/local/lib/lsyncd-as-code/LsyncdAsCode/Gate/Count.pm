# Counts what a pass would take from the mirror and add to it, in files and directories.
package LsyncdAsCode::Gate::Count;
use strict;
use warnings;

# Whether a path exists, and whether it is a directory, without following a link.
sub present { return lstat $_[0] ? 1 : 0 }
sub is_directory { my ($path) = @_; return !-l $path && -d _ }

# The entries of a directory tree, itself included; of anything else 1.
sub entries {
    my ($path) = @_;
    my ($count, @open) = (1, $path);
    return 1 if !is_directory($path);
    while (defined(my $folder = pop @open)) {
        opendir my $handle, $folder or next;
        for my $name (grep { $_ ne '.' && $_ ne '..' } readdir $handle) {
            $count++;
            push @open, "$folder/$name" if is_directory("$folder/$name");
        }
        closedir $handle;
    }
    return $count;
}

# What these entries of lsyncd's list (LsyncdAsCode::Paths) take from the mirror and add to it.
sub of_list {
    my ($source, $target, @entries) = @_;
    my ($removed, $added, %counted) = (0, 0);
    # Shorter paths first: what is counted as part of a directory is not counted again.
    for my $path (sort { length $a <=> length $b } map { "/$_->{path}" } @entries) {
        next if $path eq '/' || $counted{$path};
        my ($parent, $inside) = ($path, 0);
        $inside ||= $counted{$parent} while $parent =~ s{/[^/]*\z}{} && !$inside;
        next if $inside;
        my ($here, $there) = (present("$source$path"), present("$target$path"));
        next if !$here && !$there;
        if ($here && $there) {
            # A directory that became a file or a link takes all that was in it along.
            next if is_directory("$source$path") || !is_directory("$target$path");
            $removed += entries("$target$path") - 1;
        }
        elsif ($here) { $added   += entries("$source$path") }
        else          { $removed += entries("$target$path") }
        $counted{$path} = 1;
    }
    return ($removed, $added);
}

# The same out of what rsync would do in a pass over everything (LsyncdAsCode::Itemize).
sub of_plan {
    my @items = @_;
    my $removed = grep { $_->{action} eq 'delete' } @items;
    my $added   = grep { $_->{new} } @items;
    return ($removed, $added);
}

# The entries of the file system at a path, or undef where it does not say (btrfs).
sub used {
    my ($path) = @_;
    open my $df, '-|', 'df', '--output=iused', '--', $path or return undef;
    my (undef, $line) = <$df>;
    close $df;
    return $line && $line =~ /(\d+)/ && $1 > 0 ? $1 : undef;
}

1;
