# The only code that deletes files from the mirror. It deletes what the gate has counted and allowed, by handle, and no more than
# was counted; before that, it checks each path once more in the source.
package LsyncdAsCode::Gate::Delete;
use strict;
use warnings;
use Errno qw(EEXIST ENOENT ENOTEMPTY);
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath     qw(remove);
use LsyncdAsCode::Gate::Names qw(base_of);
use LsyncdAsCode::Private     qw(is_private);

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
    my $budget = $item->{entries};
    return take($target, $path, \$budget, { %how, leave => $leave });
}

# Deletes a path of a volume, and all its contents, within the budget. Returns true if it is gone, except for files left to the
# worker. Few directories are open at a time: a user can nest them deeper than the number of files that a process can open.
# $how: see `all`; everything: also directories of ours.
sub take {
    my ($volume, $path, $budget, $how) = @_;
    my ($all, @next) = (1, $path);
    while (defined(my $one = pop @next)) {
        if (ref $one) {
            my $place = $volume->place($$one) // next;
            rmdir $place or $! == ENOTEMPTY or $! == EEXIST or $! == ENOENT or die "cannot remove the directory $$one: $!\n";
            next;
        }
        my $there = $volume->look($one) // next;
        next if !$how->{everything} && is_private($one) || is_left($one, $how->{leave});
        if (--$$budget < 0) { $all = 0; next }
        # A directory comes again after its content.
        if    ($there->{type} eq 'd') { push @next, \"$one", map { "$one/$_" } $volume->names($one) }
        elsif (!$how->{kept} || !$how->{kept}->take($volume, $one, 1)) { remove($volume->place($one) // next) }
    }
    return $all;
}

sub is_left {
    my ($path, $leave) = @_;
    return 1 if $leave->{$path};
    my $base = base_of($path) // return 0;
    return $leave->{$base} ? 1 : 0;
}

1;
