# Leaves files out of a pass that do not fit in the mirror, so that they do not block other files. (rsync stops at the first
# write that fails, and lsyncd would retry the same list for ever.)
package LsyncdAsCode::Room;
use strict;
use warnings;
use Errno ();
use Fcntl qw(:DEFAULT :mode);
use LsyncdAsCode::Beneath qw(create_file open_beneath remove_file);
use LsyncdAsCode::Itemize ();
use LsyncdAsCode::Paths   ();
use LsyncdAsCode::Private qw(part);
use LsyncdAsCode::System  qw(fd_path free_bytes leave number_of);

use constant {
    # Bytes from which files are checked individually. If smaller ones do not fit, the volume is full.
    BIG     => 16 << 20,
    # Bytes that are reserved for small files.
    RESERVE => 4 << 20,
};

# For one call of rsync (LsyncdAsCode::Pass). $memory: the file that records the files left out. $databases: a function that
# returns whether a path belongs to a database; the copier, if enabled, mirrors those and checks for room itself.
sub new {
    my ($class, $pass, $memory, $databases) = @_;
    my ($source, $target) = map { "$_/." } $pass->roots;
    my @arguments = $pass->arguments;
    return bless {
        pass => $pass, memory => $memory, source => $source, target => $target, databases => $databases, out => [], began => $^T,
        inplace => (scalar grep { $_ eq '--inplace' } @arguments), sparse => (scalar grep { /\A--sparse\z|\A-[^-]*S/ } @arguments),
    }, $class;
}

# Returns arguments that make rsync exclude the files left out.
sub arguments { my ($self) = @_; return map { '--exclude=' . LsyncdAsCode::Paths::pattern($_, '') } @{ $self->{out} } }

# Returns the files left out.
sub left_out { my ($self) = @_; return @{ $self->{out} } }

# Before a pass: checks the files of its list or, in a full pass, those left out before, and leaves out those that do not fit.
sub look_before {
    my ($self) = @_;
    my @paths = $self->{pass}->is_event ? map { $_->{path} } grep { !$_->{directory} } $self->{pass}->entries : $self->remembered;
    $self->leave_out($self->big(@paths));
    return;
}

sub remembered {
    my ($self) = @_;
    open my $file, '<', $self->{memory} or return;
    local $/ = undef;
    return split /\0/, readline($file) // '';
}

# After a pass: records the files left out, to check them before the next full pass rather than after rsync filled the volume.
sub remember {
    my ($self) = @_;
    my %paths = map { $_ => 1 } @{ $self->{out} }, $self->{pass}->is_event ? $self->remembered : ();
    return unlink $self->{memory} if !%paths;
    open my $file, '>', $self->{memory} or return;
    print {$file} join "\0", sort keys %paths;
    close $file;
    return;
}

# After a pass that ran out of space. Returns true if there are more files to leave out, so that the pass can be repeated.
sub look_again {
    my ($self) = @_;
    return 1 if $self->look_once;
    # Its file system has room, and yet there was none: a quota.
    $self->{quota} = 1;
    return $self->look_once;
}

sub look_once {
    my ($self) = @_;
    my $before = @{ $self->{out} };
    my @paths = $self->{pass}->is_event ? map { $_->{path} } $self->{pass}->entries : $self->planned;
    my %out = map { $_ => 1 } @{ $self->{out} };
    my @big = $self->big(grep { !$out{$_} } @paths);
    # A half-written file takes space that others need, and is useless.
    for my $file (grep { $_->{begun} } $self->lacking(@big)) { $self->give_back($file->{path}) }
    $self->leave_out(map { $self->big($_->{path}) } @big);
    return @{ $self->{out} } > $before;
}

sub leave_out {
    my ($self, @files) = @_;
    for my $file ($self->lacking(@files)) {
        push @{ $self->{out} }, $file->{path};
        warn sprintf "no room in the mirror for %s: it needs %d MB, %d are free. All else is mirrored\n",
            LsyncdAsCode::Paths::printable($file->{path}), $file->{need} / 1e6 + 1, $self->free / 1e6;
    }
    return;
}

# Returns the files that do not fit, if as many as possible of the given ones are to fit.
sub lacking {
    my ($self, @files) = @_;
    return if !@files;
    return choose($self->free - RESERVE, @files);
}

# Bytes that can be written to the target.
sub free {
    my ($self) = @_;
    my $free = free_bytes($self->{target});
    return $self->{quota} ? allocatable(part($self->{target}, 'copies', 1), $free) : $free;
}

# Bytes that a new file in a directory can have, $most at most, to a MiB: a quota is not in what statfs says.
sub allocatable {
    my ($directory, $most) = @_;
    my $name = "room.$$";
    my $file = create_file($directory, $name);
    my ($low, $high) = (0, $most >> 20);
    while ($low < $high) {
        my $middle = ($low + $high + 1) >> 1;
        # A file system that cannot allocate says nothing.
        if   (syscall(number_of('fallocate'), fileno $file, 0, 0, $middle << 20) == 0 || $!{EOPNOTSUPP}) { $low = $middle }
        else                                                                                          { $high = $middle - 1 }
        truncate $file, 0;
    }
    remove_file($directory, $name);
    return $low << 20;
}

# Pure: returns the files that do not fit into $free bytes, by their need.
sub choose {
    my ($free, @files) = @_;
    my @out;
    for my $file (sort { $a->{need} <=> $b->{need} } @files) {
        if   ($file->{need} <= $free) { $free -= $file->{need} }
        else                          { push @out, $file }
    }
    return @out;
}

# Returns the big files of these paths: { path, need (bytes for its copy), begun (this pass wrote the mirror's file) }.
sub big {
    my ($self, @paths) = @_;
    my @big;
    for my $path (@paths) {
        my @here = look($self->{source}, $path);
        next if !@here || !S_ISREG($here[2]) || $here[7] < BIG || $self->{databases} && $self->{databases}->($path);
        my $need = $self->{sparse} && $here[12] * 512 < $here[7] ? $here[12] * 512 : $here[7];
        my @there = look($self->{target}, $path);
        my $taken = $self->{inplace} && @there && S_ISREG($there[2]) ? $there[12] * 512 : 0;
        push @big, { path => $path, need => $need > $taken ? $need - $taken : 0, begun => $taken && $there[10] >= $self->{began} ? 1 : 0 };
    }
    return @big;
}

# Returns lstat's list for a path reached without following a link; nothing if it is missing or inaccessible.
sub look {
    my ($root, $path) = @_;
    my ($above, $name) = $path =~ m{\A(?:(.*)/)?([^/]+)\z}s or return;
    my $directory = eval { open_beneath($root, $above // '') } or return;
    return lstat fd_path($directory) . "/$name";
}

# Returns the files that rsync would write in this pass.
sub planned {
    my ($self) = @_;
    my $pass = $self->{pass};
    my $child = open(my $plan, '-|') // die "fork: $!\n";
    if ($child == 0) {
        open STDIN, '<', '/dev/null';
        my @command = ($pass->{rsync}, '--dry-run', LsyncdAsCode::Itemize::options(0), $self->arguments, $pass->anchored($pass->arguments));
        exec { $command[0] } @command or leave(1);
    }
    my @paths;
    while (my $line = <$plan>) {
        chomp $line;
        my $item = LsyncdAsCode::Itemize::parse($line) or next;
        push @paths, $item->{name} if $item->{action} eq 'transfer' && $item->{size} >= BIG;
    }
    close $plan;
    return @paths;
}

sub give_back {
    my ($self, $path) = @_;
    my ($above, $name) = $path =~ m{\A(?:(.*)/)?([^/]+)\z}s or return;
    my $directory = open_beneath($self->{target}, $above // '') or return;
    sysopen my $file, fd_path($directory) . "/$name", O_WRONLY | O_NOFOLLOW | O_NONBLOCK or return;
    truncate $file, 0 if -f $file;
    return;
}

1;
