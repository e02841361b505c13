# The gate's access to one of the two volumes: by handle from its root, so that no link leads out of it. Paths are bytes,
# relative to the root, without a slash at either end.
package LsyncdAsCode::Gate::Volume;
use strict;
use warnings;
use Errno qw(ENOENT ENOTDIR);
use Fcntl qw(S_ISDIR S_ISLNK S_ISREG);
use LsyncdAsCode::Beneath qw(open_beneath open_source);
use LsyncdAsCode::Paths   ();
use LsyncdAsCode::System  qw(fd_path read_at stat_at);

# The most directories that are kept open: those of a list are close together.
use constant OPEN => 32;

sub new { my ($class, $root) = @_; return bless { root => $root, open => {}, order => [] }, $class }

# Returns the handle of a directory; undef if there is none. Dies if that is unknown (a disk error does not mean absence).
sub directory {
    my ($self, $path) = @_;
    return $self->{open}{$path} if $self->{open}{$path};
    my $handle = open_beneath($self->{root}, $path) // return undef;
    push @{ $self->{order} }, $path;
    delete $self->{open}{ shift @{ $self->{order} } } if @{ $self->{order} } > OPEN;
    return $self->{open}{$path} = $handle;
}

# Closes all directories: one that was moved no longer matches its path.
sub forget { my ($self) = @_; @$self{qw(open order)} = ({}, []); return }

# Returns a path to an entry through the handle of its directory; undef if that directory does not exist.
sub place {
    my ($self, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $self->directory($above) // return undef;
    return fd_path($directory) . "/$name";
}

# Returns { type, size, mtime, ino, ctime } of an entry, where type is d, f, l or o (other); undef if there is none.
sub look {
    my ($self, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = $self->directory($above) // return undef;
    my $found = stat_at($directory, $name) // return undef;
    my $mode = $found->{mode};
    $found->{type} = S_ISDIR($mode) ? 'd' : S_ISREG($mode) ? 'f' : S_ISLNK($mode) ? 'l' : 'o';
    return $found;
}

# Returns the first bytes of a regular file; empty if it cannot be opened.
sub head {
    my ($self, $path, $bytes) = @_;
    my $place = $self->place($path) // return '';
    my $file = eval { open_source($place) } // return '';
    return eval { read_at($file, 0, $bytes) } // '';
}

# Calls $each with every name in a directory until it returns true. Returns true if it did.
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

# Returns all names in a directory, sorted.
sub names {
    my ($self, $path) = @_;
    my @names;
    $self->any_name($path, sub { push @names, $_[0]; return 0 });
    return sort @names;
}

# Walks a tree and calls $each with each path and its status, the path itself first, until it returns true. Returns true if
# it did. A directory may vanish meanwhile.
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
