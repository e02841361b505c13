# One call of rsync by lsyncd: its arguments, the two volumes that it holds open, and the run of rsync.
package LsyncdAsCode::Pass;
use strict;
use warnings;
use Fcntl qw(O_CREAT O_EXCL O_WRONLY);
use LsyncdAsCode::Confined qw(exec_rsync);
use LsyncdAsCode::Disk qw(write_fault);
use LsyncdAsCode::Itemize ();
use LsyncdAsCode::Options ();
use LsyncdAsCode::Overlong ();
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Private qw(excludes is_private);
use LsyncdAsCode::Ready ();
use LsyncdAsCode::Surplus ();
use LsyncdAsCode::System qw(die_with_parent get_attribute leave);
use Exporter qw(import);

our @EXPORT_OK = qw(GIVE_UP AGAIN IO_ERROR PARTIAL VANISHED);

use constant {
    # Exit codes as lsyncd understands them (lsyncd.lua, default.rsyncExitCodes): 1 ends lsyncd, which systemd
    # then restarts behind the guard; 12 makes it try the same files again.
    GIVE_UP => 1,
    AGAIN   => 12,
    # Exit codes of rsync (rsync(1), EXIT VALUES): 11 is an error in file I/O, such as a full target; 23 means
    # that some files were not transferred, which lsyncd takes for success; 24 that some had vanished before they were.
    IO_ERROR => 11,
    # The same, when its own processes notice that first: the one that writes has ended, and the other cannot reach it (socket I/O).
    SOCKET_IO => 10,
    PARTIAL  => 23,
    VANISHED => 24,
    # The extended attribute of a volume's root that remembers a failover (failover.sh).
    FAILOVER_RECORD => 'security.lsyncd-as-code',
    # The copier of databases is a part of this library.
    OUR_COPIER => __FILE__ =~ s{/LsyncdAsCode/Pass\.pm\z}{/sqlite-copier}r,
};

# Files that are removed when this process ends for any reason.
my @own;
END { unlink @own }

# Begins a pass: marks it, holds both volumes, asks the guard. Ends the program when it may not mirror.
sub begin {
    my ($class, $settings, @arguments) = @_;
    my $self = bless {
        source  => $settings->text('source'),
        target  => $settings->text('target'),
        rsync   => $settings->text('rsync_program'),
        plain   => [ $settings->list('plain_option') ],
        # Copies in rsync's place: the program that copies databases under their own locks, or rsync itself.
        copier  => $settings->text('copy_program'),
        for_rsync(@arguments),
        # The paths reported as too long.
        overlong => $settings->text('run_directory') . '/overlong',
    }, $class;
    # Loaded with all else and not when it is called: an update may exchange the library meanwhile.
    require LsyncdAsCode::Call if $self->{copier} eq OUR_COPIER;
    $self->mark($settings->text('pass_prefix'));
    $self->hold_volumes($settings->text('guard'));
    $self->{list} = $self->{has_list} ? do { local $/ = undef; readline(*STDIN) // '' } : undef;
    # Our own files are ignored: their events are dropped, and a full pass leaves them out.
    if ($self->{is_event}) {
        my @listed = split /\0/, $self->{list};
        my @others = grep { !is_private(s{\A/|/\z}{}gr) } @listed;
        $self->{list} = join "\0", @others;
        $self->{only_own} = @others < @listed && !grep { $_ ne '/' && $_ ne '' } @others;
    }
    else { unshift @{ $self->{arguments} }, excludes() }
    $self->{entries} = $self->{is_event} ? [ LsyncdAsCode::Paths::from_lsyncd($self->{list}) ] : [];
    # The copier works on for as long as lsyncd lives.
    $ENV{LSYNCD_PID} = LsyncdAsCode::Ready::caller_pid();
    return $self;
}

# Derives rsync's arguments from lsyncd's, and the kind of call.
sub for_rsync {
    # rsync deletes nothing: neither with --delete nor, where a directory became something else, with --force.
    my @arguments = grep { $_ !~ /\A--(?:ignore-errors|force|delete(?:-(?:before|during|delay|after))?)\z/ } @_;
    # In place rsync opens a file by its path, and follows a link that the application's user has just put there: as root, out of the
    # volume. Whole files are written beside their place and renamed, which costs no more; parts of one need it, and volume-rsync
    # keeps that in the volume.
    @arguments = grep { $_ ne '--inplace' } @arguments unless grep { $_ eq '--no-whole-file' } @arguments;
    unshift @arguments, '--modify-window=-1' unless grep { /^--modify-window=/ } @arguments;
    return (
        arguments => \@arguments,
        has_list  => (scalar grep { /^--(?:include|exclude)-from=-$/ } @arguments) > 0,
        is_event  => (scalar grep { $_ eq '--include-from=-' } @arguments) > 0,
    );
}

# Starts the copier's worker while rsync lists what there is to copy.
sub prepare_copier {
    my ($self) = @_;
    LsyncdAsCode::Start::prepare_worker() if $self->{copier} eq OUR_COPIER && !$self->is_event;
    return;
}

sub arguments { my ($self) = @_; return @{ $self->{arguments} } }

# lsyncd's list, as entries of LsyncdAsCode::Paths.
sub entries { my ($self) = @_; return @{ $self->{entries} } }

# The standard input of the next program: lsyncd's own list for the copier, which reads it as we do, and for rsync one that
# rsync understands. Undef when there is none.
sub input {
    my ($self) = @_;
    return $self->{list} if !$self->is_event || $self->{copier} ne $self->{rsync};
    return LsyncdAsCode::Paths::to_rsync($self->entries);
}

# Whether the list contains only our own files.
sub is_own { my ($self) = @_; return $self->{only_own} }

# Whether this call is for listed paths, and not a full pass.
sub is_event { my ($self) = @_; return $self->{is_event} }

# Marks a pass as under way. If this process is killed, the file stays, and the supervisor mirrors everything again:
# lsyncd takes a killed pass for success.
sub mark {
    my ($self, $prefix) = @_;
    (my $folder = $prefix) =~ s{/[^/]*\z}{};
    mkdir $folder, 0755;
    my $mark = "$prefix$$";
    if (open my $file, '>', $mark) { close $file }
    # The remains of a killed full pass may be large.
    unlink grep { !-d '/proc/' . (split /\./)[-1] } glob "$folder/plan.*";
    @$self{qw(roots plan_file)} = ([ map { "$folder/$_.$$" } qw(source target) ], "$folder/plan.$$");
    push @own, $mark, $self->{plan_file}, @{ $self->{roots} };
    return;
}

# Opens both volumes (an open directory cannot be unmounted), then asks the guard whether they are the right ones.
sub hold_volumes {
    my ($self, $guard) = @_;
    my @handles;
    for my $path (@$self{qw(source target)}) {
        opendir my $handle, $path or give_up("cannot open $path: $!");
        push @handles, $handle;
    }
    $self->{handles} = \@handles;
    exit GIVE_UP if system($guard, '--running', map { get_attribute($_, FAILOVER_RECORD) } @handles) != 0;
    for my $number (0, 1) {
        my ($handle, $path, $root) = ($handles[$number], (@$self{qw(source target)})[$number], $self->{roots}[$number]);
        # The guard has looked at the path. The open handle must be the same, or something was mounted there in between.
        my ($held_by_us, $by_path) = map { join ':', (stat $_)[0, 1] } $handle, $path;
        give_up("$path is another directory than a moment ago") if $held_by_us ne $by_path;
        # lsyncd ends, and starts again when the guard finds that the disk works.
        if ($number == 1 && defined(my $fault = write_fault('target', $path, $handle))) { give_up($fault) }
        # rsync is led to the directory that was checked, not to its path: a lazy umount (umount -l) takes a volume from
        # under a path at any moment, also under an open directory. The name is for rsync's messages, and leads each program that has
        # inherited the handle to its own.
        unlink $root;
        symlink "/proc/self/fd/" . fileno($handle), $root or give_up("cannot make $root: $!");
    }
    $ENV{LSYNCD_ROOTS} = join "\n", map { "$_/" } @{ $self->{roots} };
    return;
}

sub give_up { my ($why) = @_; warn "$why\n"; exit GIVE_UP }

# The target, by its name.
sub target { my ($self) = @_; return $self->{target} }

# The two volumes, as paths that lead to the directories that are held.
sub roots { my ($self) = @_; return @{ $self->{roots} } }

# lsyncd names source and target last. The copier of databases hands this on to the rsync that it runs.
sub anchored {
    my ($self, @with) = @_;
    splice @with, -2, 2, map { "$_/" } $self->roots;
    return @with;
}

# Returns what rsync would do if it deleted as well, as lines for LsyncdAsCode::Itemize, of which there may be very many. Ends the program if rsync cannot report it: an
# incomplete plan does not list all deletions. Later calls leave out the files that rsync cannot handle. The copier gets the plan too;
# otherwise rsync would look at everything once more (LSYNCD_PLAN).
sub plan {
    my ($self) = @_;
    my ($lines, @said) = $self->ask($self->may_compare_names);
    my @overlong = LsyncdAsCode::Overlong::entries($self->{roots}[0], @said);
    if (@overlong && @overlong <= LsyncdAsCode::Overlong::MOST) {
        unshift @{ $self->{arguments} }, LsyncdAsCode::Overlong::exclusions(@overlong);
        ($lines, @said) = $self->ask(0);
    }
    print {*STDERR} map { "$_\n" } @said;
    LsyncdAsCode::Overlong::report($self->{overlong}, @overlong);
    return $lines;
}

# With a filter, names do not show what rsync would delete.
sub may_compare_names {
    my ($self) = @_;
    my %own = map { $_ => 1 } excludes();
    my @options = $self->arguments;
    splice @options, -2;
    return !$self->{has_list} && LsyncdAsCode::Options::chooses_nothing($self->{plain}, grep { !$own{$_} } @options);
}

# One answer of rsync: its lines, and its error messages. It does not look for deletions ($quickly) while another process finds that there
# are none; if there are, it is asked again.
sub ask {
    my ($self, $quickly) = @_;
    $self->forget_plan;
    my $file = $self->{plan_file};
    unlink $file;
    my $whole = sysopen my $copy, $file, O_WRONLY | O_CREAT | O_EXCL, 0600;
    open my $errors, '+>', undef or die "cannot open a temporary file: $!\n";
    my $surplus = $quickly ? LsyncdAsCode::Surplus::begin(@{ $self->{handles} }, \&begin_child) : undef;
    my $child = open(my $plan, '-|') // die "fork: $!\n";
    if ($child == 0) {
        begin_child();
        open STDIN,  '<',  '/dev/null';
        open STDERR, '>&', $errors or leave(1);
        $ENV{LC_ALL} = 'C';
        my @command = ($self->{rsync}, '--dry-run', $surplus ? () : '--delete', LsyncdAsCode::Itemize::options(0), $self->anchored($self->arguments));
        exec_rsync(@command);
        leave(1);
    }
    my @lines;
    while (my $line = <$plan>) {
        $whole &&= print {$copy} $line;
        chomp $line;
        push @lines, $line;
    }
    close $plan;
    my $code = exit_code($?);
    if ($surplus && !LsyncdAsCode::Surplus::none($surplus)) {
        @lines = ();
        close $copy if $whole;
        return $self->ask(0);
    }
    # Without room for it the copier asks rsync itself.
    $self->{plan} = "$code $file" if $whole && close $copy;
    seek $errors, 0, 0;
    my @said = map { chomp; $_ } <$errors>;
    if ($code != 0 && $code != PARTIAL && $code != VANISHED) {
        print {*STDERR} map { "$_\n" } @said;
        warn "rsync could not list what it would delete (exit code $code); nothing was mirrored\n";
        exit $code;
    }
    return (\@lines, @said);
}

# The mirror is about to be changed: rsync's plan is no longer valid.
sub forget_plan { my ($self) = @_; delete $self->{plan}; return }

# Runs rsync, or the copier in its place, with the list of paths, if there is one, on its standard input; returns its exit code.
sub mirror {
    my ($self, @with) = @_;
    my $plan = "@with" eq join(' ', $self->arguments) ? $self->{plan} : undef;
    $self->forget_plan;
    pipe my $read, my $write or die "pipe: $!\n";
    my $child = fork // die "fork: $!\n";
    if ($child == 0) {
        begin_child();
        close $write;
        open STDIN, '<&', $read or die "stdin: $!\n";
        $ENV{LSYNCD_PLAN} = $plan if defined $plan;
        # Another Perl would first read what this one has read.
        leave(LsyncdAsCode::Call::main(OUR_COPIER, @with)) if $self->{copier} eq OUR_COPIER;
        my @command = ($self->{copier}, $self->{copier} eq $self->{rsync} ? $self->anchored(@with) : @with);
        exec_rsync(@command);
        warn "cannot run $command[0]: $!\n";
        leave(GIVE_UP);
    }
    close $read;
    local $SIG{PIPE} = 'IGNORE';
    my $input = $self->input;
    print {$write} $input if defined $input;
    close $write;
    waitpid $child, 0;
    my $code = exit_code($?);
    return $code == SOCKET_IO ? IO_ERROR : $code;
}

# Killed by a signal: its progress is unknown.
sub exit_code { my ($status) = @_; return $status & 127 ? AGAIN : $status >> 8 }

sub begin_child {
    @own = ();
    # An rsync that is left alone would write the same files as the one that comes after it.
    die_with_parent();
    return;
}

1;
