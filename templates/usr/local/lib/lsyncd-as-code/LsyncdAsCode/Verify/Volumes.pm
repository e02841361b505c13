# Both volumes of the mirror, held open while they are compared: what is mounted at their paths later does not matter, and neither
# do links in them.
package LsyncdAsCode::Verify::Volumes;
use strict;
use warnings;
use Fcntl qw(:DEFAULT :mode);
use POSIX ();
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath qw(open_beneath);
use LsyncdAsCode::State   qw(setting);
use LsyncdAsCode::System  qw(fd_path);

# Dies with the reason when they are not to be compared now.
sub hold {
    my ($class) = @_;
    my $self = bless { map { $_ => setting($_) } qw(source target) }, $class;
    for (qw(source target)) {
        sysopen $self->{"held_$_"}, $self->{$_}, O_RDONLY | O_DIRECTORY or die "cannot open $self->{$_}: $!; is the volume mounted?\n";
    }
    my $refusal = refusal(setting('guard'));
    die "$refusal\n" if $refusal ne '';
    for (qw(source target)) {
        # The guard has looked at the path: what is held must be that.
        my ($held, $named) = map { join ':', (stat $_)[0, 1] } $self->{"held_$_"}, $self->{$_};
        die "$self->{$_} is another directory than a moment ago\n" if $held ne $named;
    }
    return $self;
}

# Why lsyncd may not mirror now, on one line; empty when it may.
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

# A path to the root of a side (source or target) that leads there from other processes as well, while this one lives.
sub root { my ($self, $side) = @_; return "/proc/$$/fd/" . fileno $self->{"held_$side"} }

# A directory below a side: its handle, or undef when it is not there. Dies when that is unknown.
sub directory { my ($self, $side, $path) = @_; return open_beneath($self->root($side) . '/.', $path) }

# What lstat says of a path below a side; an empty list when it is not there. Dies when that is unknown.
sub look {
    my ($self, $side, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $self->directory($side, $above) // return;
    my @found = lstat fd_path($directory) . "/$name" or $!{ENOENT} or $!{ENOTDIR} or die "cannot look at $path: $!\n";
    return @found;
}

# Seconds since a path of the source was last changed in any way; undef when it is not there. The time of the last change of its
# inode counts: the application cannot set it, and a file it dates into the future is as old as any other. A time in the future is one
# of a clock that was wrong: such a change is long past.
sub age {
    my ($self, $path) = @_;
    my @found = $self->look('source', $path) or return undef;
    my $age = time - $found[10];
    return $age < 0 ? 1e9 : $age;
}

1;
