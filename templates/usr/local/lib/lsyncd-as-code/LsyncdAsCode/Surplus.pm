# Whether the mirror has a name that the source lacks. If it has none, rsync need not look for deletions: in a dry run over many files
# that takes it half as long again as the rest, while a comparison of names runs beside it.
package LsyncdAsCode::Surplus;
use strict;
use warnings;
use LsyncdAsCode::Private ();
use LsyncdAsCode::System  qw(leave);

# The most bytes of names of one side that are read; with more it is unknown. Perl needs some five times as much for them.
use constant MOST => 32 << 20;

# Starts a process that compares the names below two open directories, after $prepare->(), and returns its process ID. It exits with 0 if the mirror has no name
# that the source lacks, and with 1 if it has one, or if that is unknown. Undef if it cannot be started.
sub begin {
    my ($source, $target, $prepare) = @_;
    my $pid = fork // return undef;
    return $pid if $pid;
    $prepare->();
    local $SIG{__DIE__} = 'DEFAULT';
    my $none = eval { !surplus($source, $target, MOST) };
    leave($none ? 0 : 1);
}

# Waits for that process. Returns true if there is no such name.
sub none { my ($pid) = @_; return waitpid($pid, 0) == $pid && $? == 0 }

# Returns true if there is one. Dies if that is unknown.
sub surplus {
    my ($source, $target, $most) = @_;
    my %more;
    @more{ split /\0/, names($target, $most) } = ();
    # The gate ignores it (Gate/Names.pm).
    delete $more{'lost+found'};
    return 0 if !%more;
    delete @more{ split /\0/, names($source, $most) };
    return scalar %more;
}

# Returns the paths of all entries below an open directory, except our own, each with a NUL after it. Dies if there is one that cannot be read.
sub names {
    my ($directory, $most) = @_;
    my $pid = open(my $names, '-|') // die "fork: $!\n";
    if (!$pid) {
        open STDIN,  '<', '/dev/null';
        open STDERR, '>', '/dev/null';
        chdir $directory or leave(1);
        my @own = ('(', '-path', './' . LsyncdAsCode::Private::NAME, '-o', '-name', LsyncdAsCode::Private::NESTED, ')');
        exec 'find', '.', '-mindepth', '1', @own, '-prune', '-o', '-printf', '%P\0' or leave(1);
    }
    my $all = '';
    while (sysread $names, $all, 1 << 20, length $all) { die "too many names\n" if length $all > $most }
    close $names or die "the names cannot be listed\n";
    return $all;
}

1;
