# The state directory of the database copier, and functions for small files.
#   queue, queue.pass   databases to look at: see Queue.pm
#   status.tsv          for monitors: see Status.pm
#   known, known.d      databases whose names match no pattern, found by their header: see Names.pm
#   run                 lsyncd's process, source, target, options and the name of its run, for the worker: see Run.pm
package LsyncdAsCode::State;
use strict;
use warnings;
use Fcntl qw(O_CREAT O_RDWR);
use LsyncdAsCode::Settings ();
use Exporter qw(import);

our @EXPORT_OK = qw(setting settings_list state_file make_state slurp replace_file lock_file say_error BIG RESERVE);

use constant {
    BIG     => 32 << 20,    # bytes from which a database is copied in a process of its own
    RESERVE => 64 << 20,    # bytes that a temporary copy leaves free on the target
};

my $settings;

sub setting { my ($name) = @_; $settings //= LsyncdAsCode::Settings::read('mirror'); return $settings->text($name) }

sub settings_list { my ($name) = @_; $settings //= LsyncdAsCode::Settings::read('mirror'); return $settings->list($name) }

sub state_file { my ($name) = @_; return setting('sqlite_state_directory') . "/$name" }

sub make_state { mkdir setting('sqlite_state_directory'), 0700; return }

# Returns the content of a file; empty if it cannot be read.
sub slurp {
    my ($path) = @_;
    open my $handle, '<', $path or return '';
    local $/ = undef;
    return scalar(readline $handle) // '';
}

# Replaces a file atomically by a rename. Dies if it cannot.
sub replace_file {
    my ($path, $content) = @_;
    open my $handle, '>', "$path.new" or die "cannot write $path.new: $!\n";
    print {$handle} $content or die "cannot write $path.new: $!\n";
    close $handle            or die "cannot write $path.new: $!\n";
    rename "$path.new", $path or die "cannot replace $path: $!\n";
    return;
}

# Locks a file of the state directory; returns undef if another process holds the lock and $how does not wait.
sub lock_file {
    my ($name, $how) = @_;
    sysopen my $handle, state_file($name), O_RDWR | O_CREAT or die 'cannot open ' . state_file($name) . ": $!\n";
    return flock($handle, $how) ? $handle : undef;
}

sub say_error { my ($text) = @_; my ($program) = $0 =~ m{([^/]*)\z}; print {*STDERR} "$program: $text\n"; return }

1;
