# Each database of the mirror: not too far behind, and sound. SQLite is asked when it can be, otherwise it is compared with the source.
package LsyncdAsCode::Verify::Databases;
use strict;
use warnings;
use Fcntl qw(S_ISREG);
use LsyncdAsCode::Beneath  qw(names open_source remove_file);
use LsyncdAsCode::Names    qw(has_header);
use LsyncdAsCode::Paths    ();
use LsyncdAsCode::Private  qw(part);
use LsyncdAsCode::Snapshot qw(image snapshot);
use LsyncdAsCode::State    qw(setting slurp state_file BIG RESERVE);
use LsyncdAsCode::System   qw(free_bytes now_ns pause read_at CHUNK);
use LsyncdAsCode::Verify::Sqlite ();

# The directory's name in root's own.
use constant PLACE => 'verify';

sub new {
    my ($class, $volumes, $option) = @_;
    my ($shell) = grep { -x } map { "$_/sqlite3" } qw(/usr/bin /usr/local/bin);
    return bless { volumes => $volumes, option => $option, shell => $shell, late => backlog() }, $class;
}

# The worker's pending databases: path as printed => [seconds since, cause].
sub backlog {
    my (undef, @lines) = split /\n/, slurp(state_file('status.tsv'));
    return { map { my ($since, $why, $path) = split /\t/; ($path => [ now_ns() / 1e9 - $since, $why ]) } @lines };
}

# Where copies are made, in root's own directory of the mirror. One verification runs at a time: what is in there is of one that was killed.
sub private {
    my ($self) = @_;
    return $self->{private} //= part($self->{volumes}->directory('target', ''), PLACE, 1);
}

# Its path, also from a child process while this one lives.
sub private_path { my ($self) = @_; return "/proc/$$/fd/" . fileno $self->private }

sub empty { my ($self) = @_; my $private = $self->private; remove_file($private, $_) for names($private); return }

sub DESTROY { my ($self) = @_; $self->empty if $self->{private}; return }

# Undef when all is well, else { kind, what, path, of, same }: kind is fault or unchecked, the rest as in LsyncdAsCode::Verify.
sub check {
    my ($self, $path) = @_;
    my ($kind, $what, $late) = eval { $self->look_at($path) };
    ($kind, $what) = ('unchecked', $@ =~ s/\s+\z//r) if $@;
    # A pending database is not a fault.
    return defined $kind ? { kind => $kind, what => $what, path => $path, of => 'database', same => $late ? 0 : 1 } : undef;
}

# Of these those that are still not right. One at a time: behind the first that is not, the others wait.
sub again {
    my ($self, @paths) = @_;
    $self->{late} = backlog();
    my %still = map { $_ => 1 } @paths;
    for my $path (@paths) {
        last if $self->check($path);
        delete $still{$path};
    }
    return \%still;
}

# Nothing when all is well, else kind and what it is, and whether the worker has yet to copy it.
sub look_at {
    my ($self, $path) = @_;
    my ($volumes, $option) = @$self{qw(volumes option)};
    if (my $entry = $self->{late}{ LsyncdAsCode::Paths::printable($path) }) {
        return ('fault', sprintf('is %.0f s behind (%s)', @$entry), 1) if $entry->[0] > $option->{max_age};
    }
    my @mirrored = $volumes->look('target', $path);
    if (!@mirrored) {
        my $age = $volumes->age($path);
        return defined $age && $age > $option->{max_age} ? ('fault', 'is missing in the mirror') : ();
    }
    return if !S_ISREG($mirrored[2]) || !$mirrored[7];
    my $wal = ($volumes->look('target', "$path-wal"))[7] // 0;
    return ('unchecked', 'too little space in the mirror for a private copy')
        if free_bytes($volumes->root('target') . '/.') < 4 * ($mirrored[7] + $wal) + RESERVE;

    my $plain = has_header($volumes->root('target') . '/.', $path);
    if ($plain && $self->{shell}) {
        my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
        my $directory = $volumes->directory('target', $above) // return;
        $self->empty;
        image($directory, $name, $self->private_path . '/mirror') or return ('unchecked', 'the mirror keeps changing');
        my $answer = LsyncdAsCode::Verify::Sqlite::ask($self->{shell}, $self->private, 'mirror', $mirrored[7], $option->{full})
            // return ('unchecked', 'SQLite did not answer in time');
        return ('fault', "SQLite reports: $answer") if $answer ne 'ok';
        return unless $option->{checksum};
    }
    my ($kind, $what, $busy) = $self->compare_with_source($path);
    # SQLite has found it sound, and its age shows that the mirror follows: no reason for an alert.
    return if $busy && $plain && $self->{shell};
    return $kind ? ($kind, ($plain ? '' : 'encrypted or not a database, compared by content: ') . $what) : ();
}

# The committed state of the source, taken under its locks, beside the mirror's: nothing when they are equal, or what differs, and
# whether only because the database is written all the time.
sub compare_with_source {
    my ($self, $path) = @_;
    my ($volumes, $private) = ($self->{volumes}, $self->private_path);
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my ($source, $target) = map { $volumes->directory($_, $above) } qw(source target);
    return ('unchecked', 'its directory is gone') unless $source && $target;
    my $options = {
        lock_seconds => setting('sqlite_lock_seconds'), big => BIG, reserve => RESERVE, whole => 1, owner => 0, group => 0, perms => 0,
    };
    my $why = '';
    for (1 .. 5) {
        $self->empty;
        my $copied = snapshot($source, $name, "$private/source", $options);
        if ($copied->{state} eq 'deferred') { $why = $copied->{reason} }
        elsif (!image($target, $name, "$private/mirror")) { $why = 'the mirror keeps changing' }
        else {
            image($self->private, 'source', "$private/image");
            $why = difference("$private/image", "$private/mirror");
            return if $why eq '';
        }
        pause(1.3);
    }
    # Such a database is never seen at the same commit.
    my $recent = grep { defined && $_ < $self->{option}{max_age} } map { $volumes->age("$path$_") } '', '-wal';
    return $recent ? ('unchecked', "written continuously ($why)", 1) : ('fault', "differs from the source: $why");
}

sub difference {
    my ($one, $other) = map { open_source($_) // die "cannot open $_\n" } @_;
    return 'their sizes differ' if -s $one != -s $other;
    for (my $at = 0; $at < -s $one; $at += CHUNK) {
        my ($a, $b) = map { read_at($_, $at, CHUNK) } $one, $other;
        return sprintf 'they differ after byte %d', $at if $a ne $b;
    }
    return '';
}

1;
