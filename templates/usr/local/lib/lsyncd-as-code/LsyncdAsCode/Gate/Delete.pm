# The only code that deletes files from the mirror. It deletes what the gate has counted and allowed, by handle, and no more than
# was counted; before that, it checks each path once more in the source.
package LsyncdAsCode::Gate::Delete;
use strict;
use warnings;
use Errno qw(EEXIST ENOTEMPTY);
use Fcntl qw(:DEFAULT :mode);
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath qw(absent remove);
use LsyncdAsCode::Gate::Names qw(base_of is_temporary);
use LsyncdAsCode::System  qw(fd_path stat_ns O_CLOEXEC);

# Deletes a list of { path, entries }. $replaced: the source has something else in their place. $leave: a set of databases that
# the worker deletes. $kept: where they are kept, undef for nowhere (Gate/Kept.pm). Returns the paths that were left, because
# they exist again, contain more than was counted, or cannot be deleted (an immutable file); that blocks nothing else.
sub all {
    my ($source, $target, $items, %how) = @_;
    my @left;
    for my $item (@$items) {
        my $gone = eval { one($source, $target, $item, %how) };
        warn 'cannot delete ' . LsyncdAsCode::Paths::printable($item->{path}) . " from the mirror: $@" if !defined $gone;
        push @left, $item->{path} unless $gone;
    }
    $target->forget;
    return @left;
}

sub one {
    my ($source, $target, $item, %how) = @_;
    my $path = $item->{path};
    my $there = $target->look($path) // return 1;
    my $here = $source->look($path);
    return 0 if $here && !($how{replaced} && ($here->{type} ne $there->{type}));
    my $leave = $how{leave} // {};
    my $whole = !grep { $_ eq $path || index($_, "$path/") == 0 } keys %$leave;
    return 1 if $how{kept} && $whole && $how{kept}->take($target, $path, $item->{entries});
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $budget = $item->{entries};
    my $directory = $target->directory($above) // return 1;
    return take($directory, $name, $path, \$budget, { %how, leave => $leave, target => $target });
}

# Deletes one name in an open directory, and all its contents, within the budget. Returns true if it is gone, except for files
# left to the worker.
sub take {
    my ($directory, $name, $path, $budget, $how) = @_;
    my $place = fd_path($directory) . "/$name";
    my $there = stat_ns($place) // return 1;
    return 1 if is_temporary($path) || is_left($path, $how->{leave});
    return 0 if --$$budget < 0;
    if (!S_ISDIR($there->{mode})) {
        remove($place) unless $how->{kept} && $how->{kept}->take($how->{target}, $path, 1);
        return 1;
    }
    sysopen my $inside, $place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return !defined absent($path);
    opendir my $names, fd_path($inside) . '/.' or die "cannot read $path: $!\n";
    my @names = grep { $_ ne '.' && $_ ne '..' } readdir $names;
    closedir $names;
    my $all = 1;
    for my $one (@names) { take($inside, $one, "$path/$one", $budget, $how) or $all = 0 }
    rmdir $place or $! == ENOTEMPTY or $! == EEXIST or die "cannot remove the directory $path: $!\n";
    return $all;
}

sub is_left {
    my ($path, $leave) = @_;
    return 1 if $leave->{$path};
    my $base = base_of($path) // return 0;
    return $leave->{$base} ? 1 : 0;
}

1;
