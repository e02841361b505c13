# A process that has read all modules and waits for the next call of lsyncd, so that only the first of many calls reads them. For each
# call (Handover.pm) it makes a process, in which nothing of an earlier call is left. It ends with its lsyncd, after a deployment, or when
# no call has come for a while.
package LsyncdAsCode::Ready;
use strict;
use warnings;
use LsyncdAsCode::Handover ();
use LsyncdAsCode::System qw(die_with_parent leave start_time ticks);
use LsyncdAsCode::Whole ();

use constant {
    # Seconds without a call after which it ends, and between two looks whether its lsyncd lives.
    IDLE => 10,
    LOOK => 1,
    # socket(7): SOL_SOCKET and SO_PEERCRED.
    SOL_SOCKET => 1, SO_PEERCRED => 17,
    # Modules that programs load when they need them.
    LATER => qw(Call Kind Unit),
    # The longest request; lsyncd's arguments are far shorter.
    LONGEST => 1 << 20,
};

my $caller;

# Returns the process that called this program: lsyncd.
sub caller_pid { return $caller // getppid }

# Leaves that process behind, if there is none. Returns here, in the program that was called; and in a new process for each later call, which
# then has its arguments and its standard input.
sub prepare {
    my ($folder) = @_;
    my $path = LsyncdAsCode::Handover::place($folder, @ARGV) // return;
    my $address = LsyncdAsCode::Handover::address($path) // return;
    # One that still answers would have taken this call, or could not.
    unlink $path;
    my ($umask, $calls) = umask 0077;
    my $can = socket($calls, LsyncdAsCode::Handover::AF_UNIX, LsyncdAsCode::Handover::SOCK_STREAM, 0) && bind($calls, $address) && listen $calls, 8;
    umask $umask;
    return if !$can;
    my $lsyncd = getppid;
    my $pid = fork;
    if (!defined $pid || $pid) { close $calls; unlink $path if !defined $pid; return }
    open STDIN, '<', '/dev/null';
    delete $ENV{LSYNCD_STARTED_AGAIN};
    # Only some calls need these, or some hosts: a failure is theirs.
    for my $module (LATER) { eval { require "LsyncdAsCode/$module.pm" } }
    my $made = LsyncdAsCode::Whole::identity($path);
    my ($began, $last) = (start_time($lsyncd), ticks());
    while ($began ne '' && start_time($lsyncd) eq $began && ticks() - $last < IDLE && !LsyncdAsCode::Whole::exchanged()) {
        next if !readable(LOOK, $calls) || !accept(my $call, $calls);
        return if take($call, $calls);
        $last = ticks();
    }
    # There is another one, if this one could not take a call.
    unlink $path if LsyncdAsCode::Whole::identity($path) eq $made;
    leave(0);
}

# Waits so many seconds (undef: as long as it takes) until one of the handles can be read; returns those that can be.
sub readable {
    my ($seconds, @handles) = @_;
    my $bits = '';
    vec($bits, fileno $_, 1) = 1 for @handles;
    return if select($bits, undef, undef, $seconds) <= 0;
    return grep { vec $bits, fileno $_, 1 } @handles;
}

# Reads so many bytes; undef if there are fewer.
sub read_all {
    my ($handle, $length) = @_;
    my $text = '';
    while (length $text < $length) { sysread $handle, $text, $length - length $text, length $text or return undef }
    return $text;
}

# Takes a call, and waits for its end. Returns 1 in the process that does it, 0 in the one that waits.
sub take {
    my ($call, $calls) = @_;
    my ($peer, $uid) = unpack 'iII', getsockopt($call, SOL_SOCKET, SO_PEERCRED) || return 0;
    return 0 if $uid != $>;
    my $length = unpack 'N', read_all($call, 4) // return 0;
    return 0 if $length > LONGEST;
    my ($parent, @arguments) = unpack '(N/a*)*', read_all($call, $length) // return 0;
    # The calling program then begins by itself, with the new modules.
    return 0 if LsyncdAsCode::Whole::exchanged();
    # From its standard input nothing is read before it knows that the call is taken. If it has ended, it does not get that.
    open my $input, '<', "/proc/$peer/fd/0" or return 0;
    pipe my $ended, my $living or return 0;
    my $pipe = $SIG{PIPE} // 'DEFAULT';
    local $SIG{PIPE} = 'IGNORE';
    return 0 if !syswrite $call, '+';
    my $self = $$;
    my $pid = fork // return 0;
    if (!$pid) {
        $SIG{PIPE} = $pipe;
        # Who starts it again must not find it at work: it ends with the one that waits for it.
        die_with_parent();
        leave(LsyncdAsCode::Handover::AGAIN) if getppid != $self;
        close $_ for $call, $calls, $ended;
        # Held until this process ends. A program that outlives it does not inherit it.
        our $held = $living;
        open STDIN, '<&', $input or leave(LsyncdAsCode::Handover::AGAIN);
        ($^T, $caller, @ARGV) = (time, $parent, @arguments);
        return 1;
    }
    close $_ for $living, $input;
    while (1) {
        my @ready = readable(undef, $ended, $call);
        last if grep { $_ == $ended } @ready;
        # lsyncd or its operator has ended the calling program.
        next if !@ready || sysread $call, my $more, 1;
        kill 'TERM', $pid;
        last;
    }
    waitpid $pid, 0;
    syswrite $call, pack 'n', $? & 0xff7f;
    return 0;
}

1;
