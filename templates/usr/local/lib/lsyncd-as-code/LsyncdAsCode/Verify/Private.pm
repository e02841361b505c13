# A directory on the mirror's volume that only root can enter. The application's user owns what is around it and may move, replace or
# link any name there: the directory is made anew, opened without following a link, checked, and used by its handle only.
package LsyncdAsCode::Verify::Private;
use strict;
use warnings;
use Fcntl qw(:DEFAULT);
use LsyncdAsCode::System qw(fd_path O_CLOEXEC);

# Begins the name; rsync and the copier leave such names alone.
my $NAME = '.lsyncd-rsync.verify';
# What is put into it.
my @FILES = map { my $f = $_; map { "$f$_" } '', '-wal', '-shm', '-journal' } qw(source source.new mirror image);

# Makes one in the directory that is open as $root. It goes with the object.
sub new {
    my ($class, $root) = @_;
    my $self = bless { root => $root }, $class;
    $self->sweep;
    for my $try (1 .. 10) {
        my $name = sprintf '%s.%d.%08x', $NAME, $$, int rand 2**32;
        mkdir fd_path($root) . "/$name", 0700 or do { next if $!{EEXIST}; die "cannot make a private directory in the mirror: $!\n" };
        my $handle = open_own($root, $name) // next;
        @$self{qw(name handle)} = ($name, $handle);
        return $self;
    }
    die "cannot keep a private directory in the mirror: something takes it away\n";
}

# The directory of that name, when it is one that only root can enter.
sub open_own {
    my ($root, $name) = @_;
    sysopen my $handle, fd_path($root) . "/$name", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC or return undef;
    my (undef, undef, $mode, undef, $uid) = stat $handle;
    return $uid == $> && !($mode & 077) ? $handle : undef;
}

# Its path, also from a child process while this one lives.
sub path { my ($self) = @_; return "/proc/$$/fd/" . fileno $self->{handle} }

# Whether it still has a name somewhere.
sub is_there { my ($self) = @_; return (stat $self->{handle})[3] > 0 }

sub handle { my ($self) = @_; return $self->{handle} }

# Removes what was put into it, and nothing else.
sub empty { my ($handle) = @_; unlink map { fd_path($handle) . "/$_" } @FILES; return }

# What a killed verification left behind.
sub sweep {
    my ($self) = @_;
    opendir my $names, fd_path($self->{root}) . '/.' or die "cannot read the mirror's root: $!\n";
    for my $name (grep { /\A\Q$NAME\E(?:\.|\z)/ } readdir $names) { $self->remove($name, open_own($self->{root}, $name)) }
    return;
}

sub remove {
    my ($self, $name, $handle) = @_;
    return if !$handle;
    empty($handle);
    rmdir fd_path($self->{root}) . "/$name";
    return;
}

sub DESTROY { my ($self) = @_; $self->remove(@$self{qw(name handle)}) if $self->{handle}; return }

1;
