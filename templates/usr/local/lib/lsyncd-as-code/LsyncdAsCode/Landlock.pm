# Limits what this process, and every program that it runs, can do with files, with the kernel's Landlock (landlock(7)).
package LsyncdAsCode::Landlock;
use strict;
use warnings;
use Exporter qw(import);

our @EXPORT_OK = qw(confine EXECUTE WRITE READ LIST CHANGE);

# Rights, of include/uapi/linux/landlock.h. CHANGE: to write, to remove files and directories, to make entries of every type, to link and
# rename between directories (version 2) and to truncate (version 3).
use constant {
    EXECUTE => 1 << 0, WRITE => 1 << 1, READ => 1 << 2, LIST => 1 << 3, TRUNCATE => 1 << 14,
    CHANGE => 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14,
};

# System calls, the same on all machines, and their constants.
my ($CREATE, $ADD, $RESTRICT) = (444, 445, 446);
my ($VERSION, $BENEATH)       = (1, 1);

# Takes $handled from this process, except what the rules allow: [handle of a file or directory, rights for it and what is in it].
# Returns whether the kernel does that.
sub confine {
    my ($handled, @rules) = @_;
    my $version = syscall $CREATE, 0, 0, $VERSION;
    # Without version 2 (Linux 5.19) no hard link between directories could be made.
    return 0 if $version < 2;
    $handled &= ~TRUNCATE if $version < 3;
    my $attribute = pack 'Q', $handled;
    my $set = syscall $CREATE, $attribute, length $attribute, 0;
    return 0 if $set < 0;
    for my $rule (@rules) {
        my $beneath = pack 'Q l', $rule->[1] & $handled, fileno $rule->[0];
        return 0 if syscall($ADD, $set, $BENEATH, $beneath, 0) != 0;
    }
    return syscall($RESTRICT, $set, 0) == 0 ? 1 : 0;
}

1;
