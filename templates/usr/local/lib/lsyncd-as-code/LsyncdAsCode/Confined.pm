# Runs rsync as root on volumes whose names the application's user may exchange meanwhile. rsync 3.5 enters directories by handles, but
# not always, and what it creates is root's until it has set the owner. So the kernel keeps it from the harm (docs/decisions/0012):
#  - it writes below the target alone, and reads nothing but the volumes and what it needs to run (Landlock);
#  - it sets no mode of a link and no attribute by a path, and makes no program set-user-ID (seccomp);
#  - its group is nobody's, and it has no right to make a file of another group set-group-ID;
#  - it starts in the target, because it would look for that by its name, which after `umount -l` is another directory, or the root.
package LsyncdAsCode::Confined;
use strict;
use warnings;
use Fcntl qw(F_SETFD O_DIRECTORY O_NOFOLLOW O_RDONLY);
use LsyncdAsCode::Landlock qw(confine CHANGE READ);
use LsyncdAsCode::Seccomp qw(rule limit_calls EQUAL BITS FIRST SECOND THIRD NO_SUCH_CALL REFUSED PRETENDED);
use LsyncdAsCode::System qw(die_with_parent known_number number_of O_CLOEXEC);
use Exporter qw(import);

our @EXPORT_OK = qw(exec_rsync exec_confined RSYNC);

use constant { RSYNC => '/usr/bin/rsync', NOBODY => 65534 };

# Numbers of system calls that are the same on all machines.
use constant { FCHMODAT2 => 452, SETXATTRAT => 463, REMOVEXATTRAT => 466 };

# An operation of prctl(2), and capabilities: set-group-ID bits, dropping capabilities, file capabilities.
use constant { DROP_CAPABILITY => 24, FSETID => 4, SETPCAP => 8, SETFCAP => 31 };
use constant { O_PATH => 1 << 21, AT_FDCWD => 0xffffff9c, SET_USER_ID => 04000 };

# Paths that rsync and the C library read, apart from the volumes.
my @READABLE = qw(
    /usr /lib /lib64 /bin /etc/ld.so.cache /etc/ld.so.preload /etc/localtime /etc/passwd /etc/group /etc/nsswitch.conf
    /dev/null /dev/urandom
);

# Runs rsync, or the program that is given in its place, instead of this process. Source and target are the last two arguments. Returns
# only if that fails.
sub exec_rsync {
    my ($program, @arguments) = @_;
    keep_open(@arguments[ -2, -1 ]);
    return $program eq RSYNC ? exec_confined($program, @arguments) : exec { $program } $program, @arguments;
}

# A volume may be named by a link to one of our own handles (Pass.pm), which the program needs.
my @kept;

sub keep_open {
    for my $path (@_) {
        my ($number) = (readlink($path =~ s{/+\z}{}r) // '') =~ m{\A/proc/self/fd/(\d+)\z} or next;
        open my $handle, '<&=', $number or next;
        fcntl $handle, F_SETFD, 0;
        push @kept, $handle;
    }
    return;
}

# Runs rsync with the limits above. A kernel that cannot confine it to the target lets it write nothing in place, because rsync would follow
# a link there.
sub exec_confined {
    my ($rsync, @arguments) = @_;
    my ($source, $target) = splice @arguments, -2;
    sysopen my $from, $source, O_RDONLY | O_DIRECTORY or return;
    sysopen my $to,   $target, O_RDONLY | O_DIRECTORY or return;
    if ($source !~ m{\A/}) {
        fcntl $from, F_SETFD, 0;
        $source = '/proc/self/fd/' . fileno($from) . '/';
    }
    chdir $to or return;
    if (!grep { $_ eq '--dry-run' } @arguments) {
        my @refused = (set_user_id(), $rsync eq RSYNC && has_handles($rsync) ? by_path() : ());
        @arguments = grep { $_ ne '--inplace' } @arguments unless limit_files($rsync, $from, $to, @arguments);
        ($), $() = (NOBODY . ' ' . NOBODY, NOBODY) if preserves('g', 'group', @arguments);
        # Where modes are mirrored, directories keep their set-group-ID bit. Otherwise a file has the mode that it has in the mirror.
        drop(SETFCAP, preserves('p', 'perms', @arguments) ? () : FSETID, SETPCAP);
        limit_calls(@refused);
    }
    # Pass.pm sets this too, but the kernel forgets it when the group changes.
    die_with_parent();
    # rsync does not ask for what is refused here, except for a file that is set-user-ID in the mirror. With a filter for attributes it
    # has none of its own.
    return exec { $rsync } $rsync, '--chmod=u-s,Fg-s', map({ "--filter=-x $_" } 'security.capability', 'system.*'), @arguments, $source, './';
}

# Whether rsync reaches what it changes through handles, except links. Before 3.5 it uses paths.
sub has_handles {
    my ($rsync) = @_;
    open my $said, '-|', $rsync, '--version' or return 0;
    my ($major, $minor) = (readline($said) // '') =~ /\Arsync +version (\d+)[.](\d+)/;
    close $said;
    return defined $major && $major * 1000 + $minor >= 3005;
}

# Whether rsync preserves something, by the letter and the word of its option: the last one counts.
sub preserves {
    my ($letter, $word, @arguments) = @_;
    my $does = 0;
    for my $argument (@arguments) {
        if    ($argument =~ /\A(?:-(?!-)[^efBTM@]*[a$letter]|--(?:archive|$word)\z)/) { $does = 1 }
        elsif ($argument =~ /\A--no-(?:$letter|$word)\z/) { $does = 0 }
    }
    return $does;
}

# Takes rights from this process and what it runs.
sub drop { my @capabilities = @_; syscall number_of('prctl'), DROP_CAPABILITY, $_ + 0, 0, 0, 0 for @capabilities; return }

# Returns whether the kernel does that.
sub limit_files {
    my ($rsync, $from, $to, @arguments) = @_;
    my @rules = ([ $from, READ ], [ $to, READ | CHANGE ]);
    my %more = ((map { $_ => READ } $rsync, @READABLE), map { /\A--(temp-dir|exclude-from)=(\/.*)/s ? ($2 => $1 eq 'temp-dir' ? READ | CHANGE : READ) : () } @arguments);
    for my $path (sort keys %more) {
        sysopen my $handle, $path, O_PATH or next;
        push @rules, [ $handle, $more{$path} ];
    }
    return confine(READ | CHANGE, @rules);
}

# A file that is root's for a moment, because a user has moved it away before it got its owner, never becomes a program with root's rights.
sub set_user_id {
    my %mode = (fchmod => SECOND, chmod => SECOND, fchmodat => THIRD);
    my @calls = ((map { [ known_number($_), $mode{$_} ] } grep { known_number($_) } sort keys %mode), [ FCHMODAT2, THIRD ]);
    return map { rule($_->[0], REFUSED, [ BITS, $_->[1], SET_USER_ID ]) } @calls;
}

# Calls that lead to a file by a path. The C library has two ways to set the mode of a link, fchmodat2 or a handle that only names the file.
# rsync sets no attributes by a path but those of links and sockets.
sub by_path {
    my @at_path = ([ EQUAL, FIRST, AT_FDCWD ]);
    return (
        rule(number_of('openat'), NO_SUCH_CALL, @at_path, [ EQUAL, THIRD, O_PATH | O_NOFOLLOW | O_CLOEXEC ]),
        rule(FCHMODAT2, NO_SUCH_CALL, @at_path),
        (map { rule(number_of($_), PRETENDED) } qw(setxattr lsetxattr removexattr lremovexattr)),
        (map { rule($_, PRETENDED, @at_path) } SETXATTRAT, REMOVEXATTRAT),
    );
}

1;
