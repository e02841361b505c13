# Answers some system calls of this process, and of every program that it runs, in the kernel's place (seccomp(2)).
package LsyncdAsCode::Seccomp;
use strict;
use warnings;
use LsyncdAsCode::System qw(number_of);
use Exporter qw(import);

our @EXPORT_OK = qw(rule limit_calls EQUAL BITS FIRST SECOND THIRD NO_SUCH_CALL REFUSED PRETENDED);

# Answers: an error (ENOSYS, EPERM), or nothing is done but reported as done. All other calls are allowed.
use constant { NO_SUCH_CALL => 0x50000 | 38, REFUSED => 0x50000 | 1, PRETENDED => 0x50000, ALLOW => 0x7fff0000 };
# Checks of an argument: its lower 32 bits have a value, or one of some bits; and where the kernel puts the first three arguments.
use constant { EQUAL => 0x15, BITS => 0x45, FIRST => 16, SECOND => 24, THIRD => 32 };
# Other instructions, and where the kernel puts the number of the call.
use constant { LOAD => 0x20, RETURN => 0x06, NUMBER => 0 };
# Operations of prctl(2).
use constant { SET_SECCOMP => 22, SET_NO_NEW_PRIVS => 38, FILTER => 2 };

# Returns the instructions that give this answer to a call whose arguments pass all checks, each [EQUAL or BITS, argument, value].
sub rule {
    my ($number, $answer, @checks) = @_;
    my @rule = ([ LOAD, 0, 0, NUMBER ], [ EQUAL, 0, 0, $number ], (map { [ LOAD, 0, 0, $_->[1] ], [ $_->[0], 0, 0, $_->[2] ] } @checks), [ RETURN, 0, 0, $answer ]);
    # A check that fails leads behind the rule.
    for my $at (0 .. $#rule - 1) { $rule[$at][2] = $#rule - $at if $rule[$at][0] != LOAD }
    return @rule;
}

# Puts rules in force, for good. Returns whether the kernel does that.
sub limit_calls {
    my @program = (@_, [ RETURN, 0, 0, ALLOW ]);
    my $filter = join '', map { pack 'S C C L', @$_ } @program;
    my $header = pack 'S x6 P', scalar @program, $filter;
    syscall(number_of('prctl'), SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 or return 0;
    return syscall(number_of('prctl'), SET_SECCOMP, FILTER, $header, 0, 0) == 0 ? 1 : 0;
}

1;
