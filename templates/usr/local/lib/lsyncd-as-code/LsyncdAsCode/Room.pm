# Leaves files out of a pass that do not fit in the mirror, so that they do not block other files. (rsync stops at the first
# write that fails, and lsyncd would retry the same list for ever.)
package LsyncdAsCode::Room;
use strict;
use warnings;
use Errno ();
use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_WRONLY S_ISREG);
use LsyncdAsCode::Beneath qw(open_beneath scratch_file);
use LsyncdAsCode::Confined qw(exec_rsync);
use LsyncdAsCode::Itemize  ();
use LsyncdAsCode::Paths    ();
use LsyncdAsCode::System   qw(fd_path free_bytes fstat_ns leave number_of);

use constant {
    # Bytes from which files are checked individually. If smaller ones do not fit, the volume is full.
    BIG     => 16 << 20,
    # Bytes that are reserved for small files.
    RESERVE => 4 << 20,
    # Files left out of a part of the target that has its own quota, before that part is left out as a whole: arguments are limited.
    MOST => 200,
    # linux/fs.h, FS_IOC_FSGETXATTR: 28 bytes, the fourth number is the project whose quota a directory has.
    GET_PROJECT => 0x801c581f,
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
    return if $self->{pass}->is_event || !@paths || @{ $self->{out} };
    # A quota may have left them out, and may do so again.
    $self->{quota} = 1;
    $self->leave_out($self->big(@paths));
    $self->{quota} = @{ $self->{out} } > 0;
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
        warn sprintf "no room in the mirror for %s: it needs %d MB, %d are free. Everything else is mirrored\n",
            LsyncdAsCode::Paths::printable($file->{path}), $file->{need} / 1e6 + 1, $file->{free} / 1e6;
    }
    return;
}

# Returns the files that do not fit, if as many as possible of the given ones are to fit; `free` is what there is for them.
sub lacking {
    my ($self, @files) = @_;
    return if !@files;
    if (!$self->{quota}) {
        my $free = free_bytes($self->{target});
        return map { { %$_, free => $free } } choose($free - RESERVE, @files);
    }
    my (%parts, @out);
    push @{ $parts{ $_->{part}{key} } }, $_ for @files;
    for my $files (values %parts) {
        my $part = $files->[0]{part};
        my $free = allocatable($part->{directory}, free_bytes(fd_path($part->{directory}) . '/.'));
        my @lack = map { { %$_, free => $free } } choose($free - ($part->{whole} ? RESERVE : RESERVE >> 2), @$files);
        if (@lack > MOST && !$part->{whole}) {
            my $need = 0;
            $need += $_->{need} for @lack;
            @lack = { path => $part->{top}, need => $need, free => $free, begun => 0 };
        }
        push @out, @lack;
    }
    return @out;
}

# The part of the target that shares a quota with the directory of a path: { key, directory (a handle in it), top (the path where it
# begins), whole (it is the target's own) }. A part is a project, or a file system (a subvolume).
sub part_of {
    my ($self, $path) = @_;
    my $whole = $self->{whole} //= do {
        my $root = open_beneath($self->{target}, '');
        { key => quota_key($root), directory => $root, top => '', whole => 1 };
    };
    my $above = $path =~ m{\A(.*)/}s ? $1 : '';
    return $self->{parts}{$above} //= do {
        # Where rsync has to make the directory, the one above it gives the quota.
        my $directory = $above eq '' ? undef : eval { open_beneath($self->{target}, $above) };
        my $over = $above eq '' ? $whole : $self->part_of($above);
        my $key = $directory ? quota_key($directory) : $over->{key};
        $key eq $over->{key} ? $over : $key eq $whole->{key} ? $whole : { key => $key, directory => $directory, top => $above, whole => 0 };
    };
}

sub quota_key {
    my ($directory) = @_;
    my $attributes = "\0" x 28;
    # A file system without projects does not answer.
    my $project = ioctl($directory, GET_PROJECT, $attributes) ? (unpack 'L4', $attributes)[3] : 0;
    return fstat_ns($directory)->{dev} . ":$project";
}

# The size in bytes that a new file in a directory can have, rounded down to a MiB, at most $most. (statfs does not report quotas.)
sub allocatable {
    my ($directory, $most) = @_;
    # A file without a name, because the directory is the user's. Some file systems have no such files: then the limit is unknown.
    my $file = scratch_file($directory) or return $!{ENOSPC} || $!{EDQUOT} ? 0 : $most;
    my ($low, $high) = (0, $most >> 20);
    while ($low < $high) {
        my $middle = ($low + $high + 1) >> 1;
        # The same holds where fallocate is not supported.
        if   (syscall(number_of('fallocate'), fileno $file, 0, 0, $middle << 20) == 0 || $!{EOPNOTSUPP}) { $low = $middle }
        else                                                                                          { $high = $middle - 1 }
        truncate $file, 0;
    }
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
        next if !@here || !S_ISREG($here[2]);
        my $part = $self->{quota} ? $self->part_of($path) : undef;
        # A part of the target is not full as its volume is: there small files count.
        next if $here[7] < ($part && !$part->{whole} ? 1 : BIG) || $self->{databases} && $self->{databases}->($path);
        # In blocks, which counts where there are many.
        my $size = ($here[7] + 4095) & ~4095;
        my $need = $self->{sparse} && $here[12] * 512 < $size ? $here[12] * 512 : $size;
        my @there = look($self->{target}, $path);
        my $taken = $self->{inplace} && @there && S_ISREG($there[2]) ? $there[12] * 512 : 0;
        push @big, { path => $path, part => $part, need => $need > $taken ? $need - $taken : 0, begun => $taken && $there[10] >= $self->{began} ? 1 : 0 };
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
        exec_rsync(@command);
        leave(1);
    }
    my @paths;
    while (my $line = <$plan>) {
        chomp $line;
        my $item = LsyncdAsCode::Itemize::parse($line) or next;
        push @paths, $item->{name} if $item->{action} eq 'transfer' && ($self->{quota} || $item->{size} >= BIG);
    }
    close $plan;
    return @paths;
}

# Frees the space of a half-written file in the mirror. Its size is then wrong, so the next pass copies it again.
sub give_back {
    my ($self, $path) = @_;
    my ($above, $name) = $path =~ m{\A(?:(.*)/)?([^/]+)\z}s or return;
    my $directory = open_beneath($self->{target}, $above // '') or return;
    sysopen my $file, fd_path($directory) . "/$name", O_WRONLY | O_NOFOLLOW | O_NONBLOCK or return;
    # Never a file with a second name: the directory is the user's.
    truncate $file, 0 if -f $file && (stat _)[3] == 1;
    return;
}

1;
