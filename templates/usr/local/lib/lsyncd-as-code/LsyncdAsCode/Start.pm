# Starts the worker, in time and only one.
package LsyncdAsCode::Start;
use strict;
use warnings;
use Fcntl qw(LOCK_EX LOCK_NB O_NONBLOCK O_WRONLY);
use LsyncdAsCode::State qw(lock_file say_error setting state_file);
use LsyncdAsCode::System qw(leave number_of);
use Exporter qw(import);

our @EXPORT_OK = qw(prepare_worker start_worker wait_for_order);

use constant PROGRAM => __FILE__ =~ s{/LsyncdAsCode/Start\.pm\z}{/sqlite-copier}r;

# To a worker that waits for its order; undef if there is none.
my $prepared;

# Starts a worker that reads its modules meanwhile, because that takes as long as copying some hundred databases. It works when this process, or
# one that it makes, calls start_worker and no other worker lives; otherwise it ends with them. Without it that call starts one.
sub prepare_worker {
    pipe my $order, my $tell or return;
    $prepared = $tell if eval { detached('--prepared', $order) };
    return;
}

# In a prepared worker: ends it, unless it is to work.
sub wait_for_order {
    sysread STDIN, my $order, 1 or exit 0;
    # The library may be exchanged for one that cannot do this.
    become_worker() if LsyncdAsCode::Whole::exchanged();
    # With the first one this may start again (Whole.pm), and reads the second byte. Then the pipe is closed: an order to a worker that is ending
    # must fail.
    setting('sqlite_copy_share');
    open STDIN, '<', '/dev/null';
    return;
}

# Starts the worker, or wakes it.
sub start_worker {
    # Wakes a running worker; without one, no process has the pipe open for reading.
    local $SIG{PIPE} = 'IGNORE';
    my $pipe = state_file('wake');
    -p $pipe or do { require POSIX; POSIX::mkfifo($pipe, 0600) };
    if (sysopen my $wake, $pipe, O_WRONLY | O_NONBLOCK) {
        syswrite $wake, '.';
        my $free = lock_file('worker.lock', LOCK_EX | LOCK_NB) or return;
        close $free;
    }
    my $waits = $prepared;
    undef $prepared;
    # The second byte is for a worker that starts again.
    return if $waits && syswrite $waits, '..';
    detached('--work') or die "cannot start the worker\n";
    return;
}

# Runs the copier with $how in a process of its own, which outlives this one. $input: its standard input. Returns true if there is one.
sub detached {
    my ($how, $input) = @_;
    my $pid = fork // die "cannot fork: $!\n";
    if ($pid) { return waitpid($pid, 0) == $pid && $? == 0 }
    eval {
        syscall number_of('setsid');
        # They are invalid once the caller ends.
        delete @ENV{qw(LSYNCD_ROOTS LSYNCD_PLAN)};
        if ($input) { open STDIN, '<&', $input }
        else        { open STDIN, '<', '/dev/null' }
        open STDOUT, '>&', \*STDERR;
        my $worker = fork;
        leave(defined $worker ? 0 : 1) if !defined $worker || $worker;
        # A separate program: it does not keep the caller's files open, such as a volume that is to be unmounted.
        become_worker($how);
    };
    leave(1);
}

# Runs the worker instead of this program. Returns only if that fails.
sub become_worker {
    my ($how) = @_;
    delete $ENV{LSYNCD_STARTED_AGAIN};
    exec {&PROGRAM} PROGRAM, $how // '--work' or say_error('cannot run ' . PROGRAM . ": $!");
    return;
}

1;
