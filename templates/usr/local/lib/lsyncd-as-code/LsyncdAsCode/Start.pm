# Starts the worker, or wakes it.
package LsyncdAsCode::Start;
use strict;
use warnings;
use Fcntl qw(LOCK_EX LOCK_NB O_NONBLOCK O_WRONLY);
use LsyncdAsCode::State qw(lock_file say_error state_file);
use Exporter qw(import);

our @EXPORT_OK = qw(start_worker);

use constant PROGRAM => __FILE__ =~ s{/LsyncdAsCode/Start\.pm\z}{/sqlite-copier}r;

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
    my $pid = fork // die "cannot fork: $!\n";
    return if $pid;
    require POSIX;
    POSIX::setsid();
    # They are invalid once the caller ends.
    delete @ENV{qw(LSYNCD_ROOTS LSYNCD_PLAN)};
    open STDIN, '<', '/dev/null';
    open STDOUT, '>&', \*STDERR;
    POSIX::_exit(0) if fork;
    # A separate program: it does not keep the caller's files open, such as a volume that is to be unmounted.
    become_worker();
    POSIX::_exit(1);
}

# Runs the worker instead of this program. Returns only if that fails.
sub become_worker {
    delete $ENV{LSYNCD_STARTED_AGAIN};
    exec {&PROGRAM} PROGRAM, '--work' or say_error('cannot run ' . PROGRAM . ": $!");
    return;
}

1;
