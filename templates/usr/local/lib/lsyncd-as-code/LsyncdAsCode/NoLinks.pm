# Makes the kernel follow no symbolic link of some volumes, for this process and what it runs: in a mount namespace of its own, where the volumes
# are mounted with nosymfollow (mount(2), Linux 5.10), and without set-user-ID programs and devices.
package LsyncdAsCode::NoLinks;
use strict;
use warnings;
use LsyncdAsCode::System qw(number_of);
use Exporter qw(import);

our @EXPORT_OK = qw(follow_no_links);

use constant { READ_ONLY => 1, NOEXEC => 8, NOATIME => 1024, NODIRATIME => 2048 };
use constant { NEW_MOUNTS => 0x20000, NOSUID => 2, NODEV => 4, REMOUNT => 32, NOSYMFOLLOW => 256, BIND => 4096, ALL_BELOW => 16384, PRIVATE => 1 << 18 };

# Returns whether the kernel does that. A service that may not mount anything stays in its namespace.
sub follow_no_links {
    my @volumes = @_;
    return 0 if syscall(number_of('unshare'), NEW_MOUNTS) != 0 || !mounted('none', '/', ALL_BELOW | PRIVATE);
    for my $volume (@volumes) {
        my $flags = flags($volume);
        mounted($volume, $volume, BIND) && mounted('none', $volume, REMOUNT | BIND | NOSYMFOLLOW | NOSUID | NODEV | $flags) or return 0;
    }
    return 1;
}

# Flags of a mount that a new one would not have: read-only, without programs, and how times of reading are kept (statfs(2)).
sub flags {
    my ($volume) = @_;
    my $answer = "\0" x 120;
    return syscall(number_of('statfs'), "$volume", $answer) == 0 ? unpack('x80 Q', $answer) & (READ_ONLY | NOEXEC | NOATIME | NODIRATIME) : 0;
}

sub mounted { my ($what, $where, $flags) = @_; return syscall(number_of('mount'), "$what", "$where", 0, $flags, 0) == 0 }

1;
