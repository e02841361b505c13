# After a stop that was not in order (Unsynced.pm): files of the mirror that were written since then and look like their source are
# compared with it. rsync would leave them as they are.
package LsyncdAsCode::Recheck;
use strict;
use warnings;
use LsyncdAsCode::Beneath     qw(open_source);
use LsyncdAsCode::Gate::Names qw(is_own is_temporary PRIVATE);
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Paths ();
use LsyncdAsCode::System qw(date_time read_at CHUNK);

# Names that are printed at most.
use constant NAMED => 20;

# Makes those that differ look different, so that the next pass mirrors them: their time becomes 0. $roots: source and target; $since:
# seconds since 1970; $is_database: whether a path is one of the copier's, which syncs what it copies (undef without a copier). Returns
# { path => 1 } of those that differ.
sub compare {
    my ($roots, $since, $is_database) = @_;
    my ($source, $target) = map { LsyncdAsCode::Gate::Volume->new($_) } @$roots;
    my ($compared, $lost, %differs) = (0, 0);
    each_changed($roots->[1], $since, sub {
        my ($path) = @_;
        return if is_own($path) || is_temporary($path) || $is_database && $is_database->($path);
        my $found = eval { look($source, $target, $path) // return 1 };
        # What cannot be read is mirrored again.
        $found = { differs => 1 } if !ref $found && $@;
        return if !ref $found;
        $compared++;
        return if !$found->{differs};
        if ($found->{empty}) {
            warn 'power cut: ' . LsyncdAsCode::Paths::printable($path) . " holds nothing but zeros in the source, and something else in the mirror, with"
                . " the same size and time. The mirror keeps its copy: look at both, and copy it to the source if that is the right one\n" if $lost++ < NAMED;
            return;
        }
        look_different($target, $path);
        $differs{$path} = 1;
    });
    report($since, $compared, sort keys %differs);
    return \%differs;
}

# Calls $each with every file whose content, owner or name was changed since then. Reads no more than names and times.
sub each_changed {
    my ($root, $since, $each) = @_;
    open my $find, '-|', 'find', "$root/.", '-xdev', '-path', "$root/./" . PRIVATE, '-prune', '-o', '-type', 'f', '-newerct', "\@$since", '-printf', '%P\0'
        or die "cannot run find: $!\n";
    local $/ = "\0";
    while (my $path = <$find>) { chomp $path; $each->($path) }
    # 1: something vanished, or could not be read, which rsync reports.
    close $find;
    die "find was ended by a signal\n" if $? & 127;
    return;
}

# Undef when rsync sees by itself that the two differ; else { differs, empty }: whether they do, and whether the source holds nothing.
sub look {
    my ($source, $target, $path) = @_;
    my ($here, $there) = map { $_->look($path) // return undef } $source, $target;
    return undef if $here->{type} ne 'f' || $there->{type} ne 'f' || $here->{size} != $there->{size} || $here->{size} == 0;
    # 0: found to differ before, in a pass that did not come to its end.
    return undef if $here->{mtime} != $there->{mtime} && $there->{mtime} != 0;
    my ($one, $other) = map { open_source($_->place($path) // return undef) // return undef } $source, $target;
    my ($differs, $empty) = (0, 1);
    for (my $at = 0; $at < $here->{size} && ($empty || !$differs); $at += CHUNK) {
        my ($a, $b) = map { read_at($_, $at, CHUNK) } $one, $other;
        $differs ||= $a ne $b;
        $empty &&= $a !~ /[^\0]/;
    }
    return { differs => $differs, empty => $empty };
}

sub look_different {
    my ($target, $path) = @_;
    my $file = open_source($target->place($path) // return) // return;
    utime 0, 0, $file or warn 'cannot set the time of ' . LsyncdAsCode::Paths::printable($path) . " in the mirror: $!\n";
    return;
}

sub report {
    my ($since, $compared, @differs) = @_;
    warn sprintf "the mirror was not stopped in order: %d of its files changed since %s and looked like their source; %d were not, and are mirrored again%s\n",
        $compared, date_time(localtime $since), scalar @differs,
        join '', map { "\n  " . LsyncdAsCode::Paths::printable($_) } @differs[ 0 .. ($#differs < NAMED ? $#differs : NAMED - 1) ]
        if $compared;
    return;
}

1;
