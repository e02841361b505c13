# Whether the mirror has a name that the source lacks. If it has none, rsync need not look for deletions: in a dry run over many files
# that takes it half as long again as the rest, while a comparison of names runs beside it.
package LsyncdAsCode::Surplus;
use strict;
use warnings;
use LsyncdAsCode::Private ();
use LsyncdAsCode::System  qw(leave);

# The most bytes of names of one side that are read, and the most names; with more it is unknown. Perl needs up to 150 MB for so many.
use constant { MOST => 32 << 20, MOST_NAMES => 500_000 };

# Starts a process that compares the names below two open directories, after $prepare->(), and returns its process ID. It exits with 0 if the mirror has no name
# that the source lacks, and with 1 if it has one, or if that is unknown. Undef if it cannot be started.
sub begin {
    my ($source, $target, $prepare) = @_;
    my $pid = fork // return undef;
    return $pid if $pid;
    $prepare->();
    local $SIG{__DIE__} = 'DEFAULT';
    my $none = eval { !surplus($source, $target, $prepare, MOST, MOST_NAMES) };
    leave($none ? 0 : 1);
}

# Waits for that process. Returns true if there is no such name.
sub none { my ($pid) = @_; return waitpid($pid, 0) == $pid && $? == 0 }

# Returns true if there is one. Dies if that is unknown.
sub surplus {
    my ($source, $target, $prepare, @most) = @_;
    my %more;
    names($target, $prepare, @most, sub { @more{@_} = () });
    # The gate ignores it (Gate/Names.pm).
    delete $more{'lost+found'};
    return 0 if !%more;
    names($source, $prepare, @most, sub { delete @more{@_} });
    return scalar %more;
}

# Calls $some with the paths of the entries below an open directory, except our own, many at a time. Dies if there is one that cannot be read,
# or too many.
sub names {
    my ($directory, $prepare, $most, $most_names, $some) = @_;
    my $pid = open(my $names, '-|') // die "fork: $!\n";
    if (!$pid) {
        # It holds the volume: it must end with this process, and when nobody reads what it writes. systemd has it ignore that.
        $prepare->();
        $SIG{PIPE} = 'DEFAULT';
        open STDIN,  '<', '/dev/null';
        open STDERR, '>', '/dev/null';
        chdir $directory or leave(1);
        my @own = ('(', '-path', './' . LsyncdAsCode::Private::NAME, '-o', '-name', LsyncdAsCode::Private::NESTED, ')');
        exec 'find', '.', '-mindepth', '1', @own, '-prune', '-o', '-printf', '%P\0' or leave(1);
    }
    my ($text, $bytes, $many) = ('', 0, 0);
    while (my $got = sysread($names, $text, 1 << 20, length $text) // die "the names cannot be read: $!\n") {
        $bytes += $got;
        my $end = 1 + rindex $text, "\0";
        my @names = split /\0/, substr $text, 0, $end;
        $many += @names;
        $some->(@names);
        $text = substr $text, $end;
        next if $bytes <= $most && $many <= $most_names;
        kill 'KILL', $pid;
        die "too many names\n";
    }
    die "a name is incomplete\n" if length $text;
    close $names or die "the names cannot be listed\n";
    return;
}

1;
