# After an unclean stop (Unsynced.pm): compares the content of files that were written to the mirror since then with the
# source, if they have the same size and time. rsync would skip them.
package LsyncdAsCode::Recheck;
use strict;
use warnings;
use LsyncdAsCode::Beneath     qw(open_source);
use LsyncdAsCode::Gate::Names qw(is_own);
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Private ();
use LsyncdAsCode::System qw(date_time read_at CHUNK);

# The most names that are printed.
use constant NAMED => 20;

# Sets the time of files that differ to 0, so that the next pass mirrors them. $roots: source and target; $since: seconds since
# 1970; $is_database: a function that returns whether the copier mirrors a path and so syncs it (undef without a copier).
# Returns { path => 1 } of the files that differ.
sub compare {
    my ($roots, $since, $is_database) = @_;
    my ($source, $target) = map { LsyncdAsCode::Gate::Volume->new($_) } @$roots;
    my ($compared, $lost, %differs) = (0, 0);
    each_changed($roots->[1], $since, sub {
        my ($path) = @_;
        return if is_own($path) || $is_database && $is_database->($path);
        my $found = eval { look($source, $target, $path) // return 1 };
        # A file that cannot be read is mirrored again.
        $found = { differs => 1 } if !ref $found && $@;
        return if !ref $found;
        $compared++;
        return if !$found->{differs};
        if ($found->{empty}) {
            warn 'power cut: ' . LsyncdAsCode::Paths::printable($path) . " holds only zeros in the source, and other content in the mirror, with"
                . " the same size and time. The mirror keeps its copy: look at both, and copy it to the source if that is the right one\n" if $lost++ < NAMED;
            return;
        }
        look_different($target, $path);
        $differs{$path} = 1;
    });
    report($since, $compared, sort keys %differs);
    return \%differs;
}

# Calls $each with every file whose content, owner or name changed since then. Reads only names and times.
sub each_changed {
    my ($root, $since, $each) = @_;
    opendir my $top, "$root/." or die "cannot open $root: $!\n";
    # The root may be a link to a handle of this process.
    my $at = "/proc/$$/fd/" . fileno($top) . '/.';
    open my $find, '-|', 'find', $at, '-xdev', '-path', "$at/" . LsyncdAsCode::Private::NAME, '-prune', '-o', '-type', 'f', '-newerct', "\@$since", '-printf', '%P\0'
        or die "cannot run find: $!\n";
    local $/ = "\0";
    while (my $path = <$find>) { chomp $path; $each->($path) }
    # 1: a file vanished, or could not be read, which rsync reports.
    close $find;
    die "find was ended by a signal\n" if $? & 127;
    return;
}

# Returns undef if rsync detects itself that they differ; else { differs, empty }; empty: the source's file is all zeros.
sub look {
    my ($source, $target, $path) = @_;
    my ($here, $there) = map { $_->look($path) // return undef } $source, $target;
    return undef if $here->{type} ne 'f' || $there->{type} ne 'f' || $here->{size} != $there->{size} || $here->{size} == 0;
    # 0: found to differ before, in a pass that did not finish.
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
    warn sprintf "the mirror was not stopped cleanly: %d of its files changed since %s and looked like their source; %d differed, and are mirrored again%s\n",
        $compared, date_time(localtime $since), scalar @differs,
        join '', map { "\n  " . LsyncdAsCode::Paths::printable($_) } @differs[ 0 .. ($#differs < NAMED ? $#differs : NAMED - 1) ]
        if $compared;
    return;
}

1;
