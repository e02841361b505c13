# The gate's work for one pass: counts the losses, deletes what was allowed, makes room.
package LsyncdAsCode::Gate::Work;
use strict;
use warnings;
use LsyncdAsCode::Gate ();
use LsyncdAsCode::Gate::Delete ();
use LsyncdAsCode::Gate::Grants ();
use LsyncdAsCode::Gate::Kept   ();
use LsyncdAsCode::Gate::Names  ();
use LsyncdAsCode::Gate::Tally  ();
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Private ();

# $repaired: { path => 1 } of files that a power cut damaged in the mirror, and that are mirrored again.
sub new {
    my ($class, $settings, $limits, $pass, $repaired) = @_;
    my ($source, $target) = map { LsyncdAsCode::Gate::Volume->new($_) } $pass->roots;
    my $kept = LsyncdAsCode::Gate::Kept->new(($pass->roots)[1], $limits->number('keep_deleted_days'));
    my $self = bless {
        pass => $pass, source => $source, target => $target, kept => $kept, left => [], done => 0,
        grants => $settings->text('grants_file'),
        copier => $settings->text('copy_program') ne $settings->text('rsync_program'),
    }, $class;
    my $test  = LsyncdAsCode::Gate::Names::database_test($settings->list('sqlite_pattern'));
    my $tally = LsyncdAsCode::Gate::Tally->new($source, $target, $test, $self->{copier}, $repaired);
    $self->{tally} = $pass->is_event
        ? $tally->of_list($pass->entries)
        : $tally->of_plan($pass->plan);
    return $self;
}

sub tally { my ($self) = @_; return $self->{tally} }

# Returns the number of entries of the mirror's file system, undef if it reports none (btrfs) or holds more than the mirror; and how
# many are kept deleted files.
sub used {
    my ($self) = @_;
    $self->{uncounted} = 1;
    return (undef, $self->{kept}->count) if !is_whole(($self->{pass}->roots)[1]);
    open my $df, '-|', 'df', '--output=iused', '--', $self->{pass}->target or return (undef, 0);
    my (undef, $line) = <$df>;
    close $df;
    my $used = $line && $line =~ /(\d+)/ && $1 > 0 ? $1 : undef;
    $self->{uncounted} = !defined $used;
    return ($used, $self->{kept}->count);
}

# Returns the number of entries that earlier passes have granted to the worker, and that it has yet to delete: those are lost already.
# Without a number of entries, those of this pass that were granted before are in the sum, and are not counted again.
sub pending {
    my ($self, $now) = @_;
    return 0 unless $self->{copier};
    my $tally = $self->{tally};
    if ($self->{uncounted}) {
        my $counted = LsyncdAsCode::Gate::Grants::counted($self->{grants}, $self->{target}, $tally->{units}, $now);
        $tally->{$_} -= $counted for qw(removed full);
    }
    return LsyncdAsCode::Gate::Grants::pending($self->{grants}, @$self{qw(source target)}, $now, $self->{tally}{units});
}

# Takes what a pass has not done out of the gate's last record ($memory: its file), because the pass is repeated, and counts it again. New
# files that never arrive would make up for deletions.
sub correct {
    my ($self, $memory) = @_;
    my ($tally, $target) = @$self{qw(tally target)};
    $target->forget;
    my ($there, $missing) = (0, scalar grep { !$target->look($_) } @{ $tally->{come} });
    my %worker = map { $_ => 1 } @{ $tally->{units} };
    my $left = grep { !$worker{$_} && $target->look($_) } @{ $tally->{gone} };
    my ($replaced) = LsyncdAsCode::Gate::replaced(%$tally);
    my ($back) = sort { $a <=> $b } abs $replaced, $left > $missing ? $left : $missing;
    $back = -$back if $replaced < 0;
    if ($self->{uncounted}) {
        my $count = sub {
            my ($item) = @_;
            my $many = 0;
            $target->walk($item->{path}, sub { $many++ unless $worker{ $_[0] } || LsyncdAsCode::Private::is_private($_[0]); return $many >= $item->{entries} });
            return $many;
        };
        for my $item (@{ $tally->{after} }) { $there += $count->($item) unless LsyncdAsCode::Gate::Names::is_probe($item->{path}) }
        # Something replaces the path itself, which was not counted.
        for my $item (@{ $tally->{before} }) { my $many = $count->($item); $there += $many - 1 if $many }
        $there -= $missing;
    }
    my $full = 0;
    for my $file (@{ $tally->{emptied_files} }) {
        my ($is, $was) = ($target->look($file->{path}), $file->{found});
        $full++ if $is && $is->{ino} == $was->{ino} && $is->{size} == $was->{size} && $is->{mtime} == $was->{mtime};
    }
    return unless $there || $full || $back;
    open my $file, '<', $memory or return;
    my @lines = <$file>;
    close $file;
    return unless @lines && $lines[-1] =~ /\A(\d+) (-?\d+) (-?\d+) (-?\d+)\n\z/;
    $lines[-1] = join(' ', $1, $2 + $there, $3 - $full, $4 - $back) . "\n";
    LsyncdAsCode::Gate::replace($memory, join '', @lines);
    return;
}

# Returns true if a path is in a mount of a whole file system. In a bind mount of one of its directories, what others create beside it
# would hide deletions.
sub is_whole {
    my ($path) = @_;
    opendir my $handle, "$path/." or die "cannot open $path: $!\n";
    open my $info, '<', '/proc/self/fdinfo/' . fileno $handle or die "cannot read the mount of $path: $!\n";
    my ($id) = map { /\Amnt_id:\s*(\d+)/ } <$info>;
    open my $table, '<', '/proc/self/mountinfo' or die "cannot read the mount table: $!\n";
    while (<$table>) {
        my ($mount, $root) = (split / /)[0, 3];
        return $root eq '/' if $mount eq $id;
    }
    return 0;
}

sub remove {
    my ($self, $items, %how) = @_;
    return unless @$items;
    my $kept = $self->{kept}->keeps ? $self->{kept} : undef;
    push @{ $self->{left} }, LsyncdAsCode::Gate::Delete::all($self->{source}, $self->{target}, $items, %how, kept => $kept);
    if ($kept) { eval { $kept->save; 1 } or warn $@ }
    return;
}

# Deletes entries that something else replaces.
sub clear_way {
    my ($self) = @_;
    my $items = $self->{tally}{before};
    $self->{pass}->forget_plan if @$items;
    $self->remove($items, replaced => 1);
    return;
}

# Grants the worker the deletion of databases.
sub grant {
    my ($self) = @_;
    return unless $self->{copier};
    my $units = $self->{tally}{units};
    # Without room for the grant the database stays, and a later pass finds it.
    eval { LsyncdAsCode::Gate::Grants::grant($self->{grants}, $self->{target}, $units, !$self->{pass}->is_event); 1 } or do {
        warn $@;
        push @{ $self->{left} }, @$units;
    };
    return;
}

# Deletes everything that was allowed, except the worker's databases. Once.
sub delete {    ## no critic (ProhibitBuiltinHomonyms)
    my ($self) = @_;
    return if $self->{done}++;
    $self->remove($self->{tally}{after}, leave => { map { $_ => 1 } @{ $self->{tally}{units} } });
    if ($self->{kept}->keeps || $self->{kept}->hours) { $self->{kept}->purge }
    while ($self->is_full && $self->make_room) { }
    return;
}

# Returns true if a path was left that should have been deleted.
sub left { my ($self) = @_; return scalar @{ $self->{left} } }

# Returns true if the target is so full that kept files must be removed.
sub is_full {
    my ($self) = @_;
    return 0 unless $self->{kept}->hours;
    my ($size, $free) = LsyncdAsCode::System::space($self->{pass}{roots}[1] . '/.');
    return $free < $size * LsyncdAsCode::Gate::Kept::FREE / 100;
}

# Removes the oldest kept files. Returns 1 if there were any.
sub make_room { my ($self) = @_; return defined $self->{kept}->make_room ? 1 : 0 }

1;
