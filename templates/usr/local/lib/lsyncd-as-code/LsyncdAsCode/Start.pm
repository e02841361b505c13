# Starts the worker, or wakes it.
package LsyncdAsCode::Start;
use strict;
use warnings;
use Fcntl qw(:DEFAULT :flock);
use POSIX ();
use LsyncdAsCode::State qw(lock_file say_error state_file);
use Exporter qw(import);

our @EXPORT_OK = qw(start_worker);

sub start_worker {
    # Wakes a living worker; without one nobody has the pipe open for reading.
    local $SIG{PIPE} = 'IGNORE';
    my $pipe = state_file('wake');
    -p $pipe or POSIX::mkfifo($pipe, 0600);
    if (sysopen my $wake, $pipe, O_WRONLY | O_NONBLOCK) {
        syswrite $wake, '.';
        my $free = lock_file('worker.lock', LOCK_EX | LOCK_NB) or return;
        close $free;
    }
    my $pid = fork // die "cannot fork: $!\n";
    return if $pid;
    POSIX::setsid();
    # They end with the caller.
    delete @ENV{qw(LSYNCD_ROOTS LSYNCD_PLAN)};
    open STDIN, '<', '/dev/null';
    open STDOUT, '>&', \*STDERR;
    POSIX::_exit(0) if fork;
    my $ok = eval { require LsyncdAsCode::Worker; LsyncdAsCode::Worker::work_on(); 1 };
    say_error("the worker ended: $@") unless $ok;
    POSIX::_exit($ok ? 0 : 1);
}

1;
