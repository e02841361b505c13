# One of the two volumes, as the gate looks at it: by handle from its root, so that no link leads out of it. Paths are bytes
# below the root, without a slash at either end.
package LsyncdAsCode::Gate::Volume;
use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR);
use Fcntl qw(:DEFAULT :mode);
use LsyncdAsCode::Beneath qw(open_beneath open_source);
use LsyncdAsCode::Paths   ();
use LsyncdAsCode::System  qw(fd_path read_at stat_ns);

# Directories that are held open at most: those of a list lie close together.
use constant OPEN => 32;

sub new { my ($class, $root) = @_; return bless { root => $root, open => {}, order => [] }, $class }

# The handle of a directory; undef when there is none. Dies when nobody can say (an error of the disk is no absence).
sub directory {
    my ($self, $path) = @_;
    return $self->{open}{$path} if $self->{open}{$path};
    my $handle = open_beneath($self->{root}, $path) // return undef;
    push @{ $self->{order} }, $path;
    delete $self->{open}{ shift @{ $self->{order} } } if @{ $self->{order} } > OPEN;
    return $self->{open}{$path} = $handle;
}

# Forgets what is open: a directory that was moved is another one than its path.
sub forget { my ($self) = @_; @$self{qw(open order)} = ({}, []); return }

# Where a name can be looked at, as a path through the handle of its directory; undef when that is not there.
sub place {
    my ($self, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $self->directory($above) // return undef;
    return fd_path($directory) . "/$name";
}

# What an entry is: { type, size, mtime, ino, ctime }, type being d, f, l or o (another); undef when there is none.
sub look {
    my ($self, $path) = @_;
    my $place = $self->place($path) // return undef;
    my $found = stat_ns($place) // return undef;
    my $mode = $found->{mode};
    $found->{type} = S_ISDIR($mode) ? 'd' : S_ISREG($mode) ? 'f' : S_ISLNK($mode) ? 'l' : 'o';
    return $found;
}

# The first bytes of a regular file; empty when it cannot be opened.
sub head {
    my ($self, $path, $bytes) = @_;
    my $place = $self->place($path) // return '';
    my $file = eval { open_source($place) } // return '';
    return eval { read_at($file, 0, $bytes) } // '';
}

# Calls $each with every name in a directory until it returns true. Returns whether it did.
sub any_name {
    my ($self, $path, $each) = @_;
    my $directory = $self->directory($path) // return 0;
    opendir my $names, fd_path($directory) . '/.' or die "cannot read the directory $path: $!\n";
    while (defined(my $name = readdir $names)) {
        next if $name eq '.' || $name eq '..';
        return 1 if $each->($name);
    }
    return 0;
}

# All names in a directory, sorted.
sub names {
    my ($self, $path) = @_;
    my @names;
    $self->any_name($path, sub { push @names, $_[0]; return 0 });
    return sort @names;
}

# Walks below a path and calls $each with each path and what it is, the path itself first, until it returns true. Returns
# whether it did. A directory may vanish meanwhile.
sub walk {
    my ($self, $path, $each) = @_;
    my @open = ($path);
    while (defined(my $here = pop @open)) {
        my $found = $here eq '' ? { type => 'd' } : $self->look($here) // next;
        return 1 if $here ne '' && $each->($here, $found);
        push @open, map { $here eq '' ? $_ : "$here/$_" } reverse $self->names($here) if $found->{type} eq 'd';
    }
    return 0;
}

1;
