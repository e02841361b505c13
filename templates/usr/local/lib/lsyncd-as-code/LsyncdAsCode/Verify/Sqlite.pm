# Asks SQLite whether a database is sound. A database is a program of its user: SQLite evaluates expressions of its schema, and the shell
# has functions that run commands (edit) and read and write files. So nothing in it is evaluated, and the kernel lets the shell
# reach the copy and nothing else: it can run no program. docs/decisions/0012-who-is-trusted.md.
package LsyncdAsCode::Verify::Sqlite;
use strict;
use warnings;
use POSIX ();
use LsyncdAsCode::Landlock qw(confine EXECUTE WRITE READ LIST CHANGE);

# Seconds for one check: at least so many, and more for a database that takes longer to read at so many bytes a second.
use constant { SECONDS => 600, SPEED => 1_000_000 };

# The programs and libraries that the shell consists of.
my @LIBRARIES = qw(/lib /lib64 /usr/lib /usr/lib64 /usr/local/lib);
my @FILES     = (['/etc/ld.so.cache', READ], ['/dev/null', READ | WRITE], ['/dev/urandom', READ]);

# Checks the database $name in an open directory of root's own, which SQLite may write to; $bytes is its size. Returns the answer, "ok" if
# it found no fault, and undef if there was none in time.
sub ask {
    my ($shell, $directory, $name, $bytes, $full) = @_;
    my $seconds = SECONDS + int($bytes / SPEED);
    my $pid = open(my $answer, '-|') // die "cannot fork: $!\n";
    if (!$pid) {
        %ENV = (PATH => '/usr/bin:/bin', HOME => '/nonexistent');
        open STDIN,  '<',  '/dev/null';
        open STDERR, '>&', \*STDOUT;
        # Survives exec, and ends a shell that hangs.
        alarm $seconds;
        # A confined process may not use another one's handle (/proc/PID/fd).
        chdir $directory or POSIX::_exit(127);
        limit($directory, $shell);
        # CHECK constraints are not evaluated: a violation is not damage, and a constraint can call any function, also one that only
        # the application has.
        my $ask = 'PRAGMA ignore_check_constraints=ON; PRAGMA ' . ($full ? 'integrity_check' : 'quick_check');
        exec { $shell } $shell, '-batch', '-init', '/dev/null', "./$name", $ask or POSIX::_exit(127);
    }
    my $text = do { local $/ = undef; readline($answer) // '' };
    close $answer;
    return undef if ($? & 127) == POSIX::SIGALRM;
    # The shell names an -init file on its first line in some versions.
    $text =~ s/\A-- Loading resources from [^\n]*\n//;
    return $text =~ s/\s+\z//r;
}

# Where the kernel has no Landlock, the pragma above is all there is.
sub limit {
    my ($directory, $shell) = @_;
    my @rules = ([$directory, READ | LIST | CHANGE]);
    for my $rule ([$shell, EXECUTE | READ], (map { [$_, EXECUTE | READ | LIST] } @LIBRARIES), @FILES) {
        open my $handle, '<', $rule->[0] or next;
        push @rules, [$handle, $rule->[1]];
    }
    return confine(EXECUTE | READ | LIST | CHANGE, @rules);
}

1;
