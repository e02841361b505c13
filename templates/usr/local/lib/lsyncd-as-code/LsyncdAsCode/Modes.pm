# Runs rsync so that it sets no mode by a path.
#
# rsync 3.5 sets modes through directories that it holds open, except those of symbolic links, which Linux does not have. For them it
# calls lchmod with the path. If the application's user exchanges a directory of that path for a link at this moment, a file outside of
# the volume gets the mode. So the kernel answers that there is no such function (seccomp(2)), which rsync accepts.
package LsyncdAsCode::Modes;
use strict;
use warnings;
use Fcntl qw(O_NOFOLLOW);
use LsyncdAsCode::System qw(number_of O_CLOEXEC);
use Exporter qw(import);

our @EXPORT_OK = qw(exec_rsync RSYNC);

# Tests use others, which this does not change.
use constant RSYNC => '/usr/bin/rsync';

# Operations of prctl(2), answers of a filter, and the C library's two ways to a link's mode: fchmodat2, which has the same number on all
# machines, or chmod through a handle that only names the file (O_PATH).
use constant { SET_SECCOMP => 22, SET_NO_NEW_PRIVS => 38, FILTER => 2, ALLOW => 0x7fff0000, NO_SUCH_CALL => 0x50000 | 38 };
use constant { FCHMODAT2 => 452, O_PATH => 1 << 21, AT_FDCWD => 0xffffff9c };
# Instructions of a filter, and where it finds a call's number, its first and its third argument.
use constant { LOAD => 0x20, EQUAL => 0x15, RETURN => 0x06, NUMBER => 0, DIRECTORY => 16, FLAGS => 32 };

# Runs rsync, or the program that is given in its place, instead of this process. Returns only if it cannot be run.
sub exec_rsync {
    my ($program, @arguments) = @_;
    without_lchmod() if $program eq RSYNC && !grep({ $_ eq '--dry-run' } @arguments) && has_handles(RSYNC);
    return exec { $program } $program, @arguments;
}

# Whether rsync sets all other modes through handles. Before 3.5 it sets all of them with lchmod.
sub has_handles {
    my ($rsync) = @_;
    open my $said, '-|', $rsync, '--version' or return 0;
    my ($major, $minor) = (readline($said) // '') =~ /\Arsync +version (\d+)[.](\d+)/;
    close $said;
    return defined $major && $major * 1000 + $minor >= 3005;
}

# Takes lchmod from this process and what it runs. Paths that begin at an open directory are not concerned.
sub without_lchmod {
    my @program = (
        [ LOAD, 0, 0, NUMBER ], [ EQUAL, 0, 2, number_of('openat') ],
        [ LOAD, 0, 0, FLAGS ], [ EQUAL, 1, 4, O_PATH | O_NOFOLLOW | O_CLOEXEC ],
        [ EQUAL, 0, 3, FCHMODAT2 ],
        [ LOAD, 0, 0, DIRECTORY ], [ EQUAL, 0, 1, AT_FDCWD ],
        [ RETURN, 0, 0, NO_SUCH_CALL ], [ RETURN, 0, 0, ALLOW ],
    );
    my $filter = join '', map { pack 'S C C L', @$_ } @program;
    my $header = pack 'S x6 P', scalar @program, $filter;
    syscall(number_of('prctl'), SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 or return;
    syscall(number_of('prctl'), SET_SECCOMP, FILTER, $header, 0, 0);
    return;
}

1;
