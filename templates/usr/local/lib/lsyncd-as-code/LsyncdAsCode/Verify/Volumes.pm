# Holds both volumes open while they are compared, so that later mounts at their paths do not matter, and neither do symbolic
# links in them.
package LsyncdAsCode::Verify::Volumes;
use strict;
use warnings;
use Fcntl qw(O_DIRECTORY O_RDONLY);
use POSIX ();
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath qw(open_beneath);
use LsyncdAsCode::State   qw(setting);
use LsyncdAsCode::System  qw(fd_path);

# Dies with the reason if they must not be compared now.
sub hold {
    my ($class) = @_;
    my $self = bless { map { $_ => setting($_) } qw(source target) }, $class;
    for (qw(source target)) {
        sysopen $self->{"held_$_"}, $self->{$_}, O_RDONLY | O_DIRECTORY or die "cannot open $self->{$_}: $!; is the volume mounted?\n";
    }
    my $refusal = refusal(setting('guard'));
    die "$refusal\n" if $refusal ne '';
    for (qw(source target)) {
        # The guard has checked the path: the open handle must be the same.
        my ($held, $named) = map { join ':', (stat $_)[0, 1] } $self->{"held_$_"}, $self->{$_};
        die "$self->{$_} was replaced by another directory during the verification\n" if $held ne $named;
    }
    return $self;
}

# Returns the reason why lsyncd may not mirror now, on one line; empty if it may.
sub refusal {
    my ($guard) = @_;
    my $pid = open(my $answer, '-|') // die "cannot fork: $!\n";
    if (!$pid) {
        open STDERR, '>&', \*STDOUT;
        exec { $guard } $guard, '--running' or do { print "cannot run $guard: $!\n"; POSIX::_exit(127) };
    }
    my @reasons = map { chomp; s/\Alsyncd-guard: //r } readline $answer;
    return close $answer ? '' : join('; ', @reasons) || "$guard refuses";
}

# Returns a path to the root of a side (source or target) that other processes can also use while this one runs.
sub root { my ($self, $side) = @_; return "/proc/$$/fd/" . fileno $self->{"held_$side"} }

# Returns the handle of a directory below a side; undef if it does not exist. Dies if that is unknown.
sub directory { my ($self, $side, $path) = @_; return open_beneath($self->root($side) . '/.', $path) }

# Returns lstat's list for a path below a side; an empty list if it does not exist. Dies if that is unknown.
sub look {
    my ($self, $side, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $self->directory($side, $above) // return;
    my @found = lstat fd_path($directory) . "/$name" or $!{ENOENT} or $!{ENOTDIR} or die "cannot inspect $path: $!\n";
    return @found;
}

# Returns the seconds since a path of the source last changed in any way; undef if it does not exist. Uses the time of the last
# change of the inode, because the application cannot set it, for example to the future. A time in the future comes from a clock
# that was wrong: such a change is long past.
sub age {
    my ($self, $path) = @_;
    my @found = $self->look('source', $path) or return undef;
    my $age = time - $found[10];
    return $age < 0 ? 1e9 : $age;
}

1;
