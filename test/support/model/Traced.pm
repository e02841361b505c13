# Kills a child of this process at its Nth system call of some kinds, before the kernel carries it out. strace can do that
# too, but starting it takes longer than a copy. ptrace(2), seccomp(2).
package Traced;
use strict;
use warnings;
use Config ();
use Fcntl qw(O_CREAT);
use Exporter qw(import);

our @EXPORT_OK = qw(count_calls traced);

# Numbers of system calls.
my %NUMBERS = (
    x86_64 => {
        write => 1, pwrite64 => 18, openat => 257, mkdirat => 258, unlinkat => 263, renameat2 => 316, ftruncate => 77, fchmod => 91, fchown => 93,
        utimensat => 280, fsetxattr => 190, fallocate => 285, ptrace => 101, wait4 => 61, prctl => 157,
    },
    aarch64 => {
        write => 64, pwrite64 => 68, openat => 56, mkdirat => 34, unlinkat => 35, renameat2 => 276, ftruncate => 46, fchmod => 52, fchown => 55,
        utimensat => 88, fsetxattr => 7, fallocate => 47, ptrace => 117, wait4 => 260, prctl => 167,
    },
);
my $SYS = $NUMBERS{ $Config::Config{archname} =~ s/-.*//sr } or die "no numbers of system calls for this machine\n";

use constant { TRACEME => 0, CONT => 7, SETOPTIONS => 0x4200, TRACESECCOMP => 1 << 7, EXITKILL => 1 << 20, TRAP => 5 };
use constant { SET_SECCOMP => 22, SET_NO_NEW_PRIVS => 38, FILTER => 2, ALLOW => 0x7fff0000, TRACE => 0x7ff00000 };
# Instructions, and where a call's number and its third argument are.
use constant { LOAD => 0x20, EQUAL => 0x15, BITS => 0x45, RETURN => 0x06, NUMBER => 0, FLAGS => 32 };

# Carries the number of the call at which a child is to be killed.
pipe my $receive, my $send or die "cannot make a pipe: $!\n";

# In a child: from here on it counts its system calls of these names, and those that may create a file, and is killed at the one of number
# $at.
sub count_calls {
    my ($at, @names) = @_;
    syscall($SYS->{ptrace}, TRACEME, 0, 0, 0) == 0 or die "ptrace: $!\n";
    syswrite $send, pack 'L', $at;
    # Until the parent knows.
    kill STOP => $$;
    # A program for the kernel (seccomp(2)): loads the number of the call, and stops for the parent if it is one of these; for openat, if it
    # may create a file.
    my @tests = map { [ EQUAL, @names + 1 - $_, 0, $SYS->{ $names[ $_ - 1 ] } ] } 1 .. @names;
    my @program = (
        [ LOAD, 0, 0, NUMBER ], [ EQUAL, 0, 2, $SYS->{openat} ], [ LOAD, 0, 0, FLAGS ], [ BITS, @names + 1, scalar @names, O_CREAT ], @tests,
    );
    my $filter = join '', map { pack 'S C C L', @$_ } @program, [ RETURN, 0, 0, ALLOW ], [ RETURN, 0, 0, TRACE ];
    my $header = pack 'S x6 P', @program + 2, $filter;
    syscall($SYS->{prctl}, SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 or die "prctl: $!\n";
    syscall($SYS->{prctl}, SET_SECCOMP, FILTER, $header, 0, 0) == 0 or die "seccomp: $!\n";
    return;
}

# In the parent: waits for the end of a child, whether it counts its calls or not. Returns its exit code and the signal that ended it.
sub traced {
    my ($pid) = @_;
    my $left;
    while (1) {
        # Perl's waitpid does not say why a child has stopped.
        my $status = "\0" x 4;
        syscall($SYS->{wait4}, $pid, $status, 0, 0) == $pid or die "wait4: $!\n";
        $status = unpack 'L', $status;
        # It has ended, or stopped at a signal, which is TRAP at a call that counts.
        return ($status >> 8, $status & 0x7f) if ($status & 0xff) != 0x7f;
        my $signal = $status >> 8 & 0xff;
        if (!defined $left) {
            sysread $receive, my $at, 4;
            $left = unpack 'L', $at;
            ptrace($pid, SETOPTIONS, TRACESECCOMP | EXITKILL);
            $signal = 0;
        } elsif ($signal == TRAP) {
            if (--$left == 0) { kill KILL => $pid; next }
            $signal = 0;
        }
        ptrace($pid, CONT, $signal);
    }
}

sub ptrace { my ($pid, $request, $data) = @_; syscall($SYS->{ptrace}, $request, $pid, 0, $data) == 0 or die "ptrace: $!\n"; return }

1;
