# Mirrors one database at its path on both volumes. Its directories are held open, so that neither a symbolic link nor an
# unmounted volume can redirect it.
package LsyncdAsCode::Place;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_beneath open_file remove_directory set_mode set_owner status);
use LsyncdAsCode::Copy    qw(expected_bytes sync_unit);
use LsyncdAsCode::First   qw(first_copy);
use LsyncdAsCode::Gate::Ask ();
use LsyncdAsCode::Mark    qw(read_mark);
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Settings ();
use LsyncdAsCode::State   qw(setting BIG RESERVE);
use LsyncdAsCode::System  qw(fstat_ns ticks);
use Exporter qw(import);

our @EXPORT_OK = qw(one first size_of inode_of made_from forget_directories);

# Directories opened for the databases of one batch. They stay open until it is done, because its steps use the handles.
# { path => [source, target] }
my %opened;

sub forget_directories { %opened = (); return }

sub directories {
    my ($run, $directory, $keep) = @_;
    return @{ $opened{$directory} } if $opened{$directory};
    my @handles = map { scalar open_beneath($run->{$_}, $directory, $run->{"${_}_id"}) } qw(source target);
    if ($keep && $handles[0] && $handles[1]) {
        $opened{$directory} = \@handles;
    }
    return @handles;
}

# Estimates the bytes to copy; undef if the database is gone. An inaccessible database is handled like one that is gone; a second
# look distinguishes the two.
sub size_of {
    my ($run, $path, $keep) = @_;
    my ($directory, $name) = LsyncdAsCode::Paths::split_path($path);
    return eval {
        my ($source) = directories($run, $directory, $keep);
        my ($main, $wal) = $source ? map { status($source, $_) } $name, "$name-wal" : ();
        # Sufficient for most: two small files have little to copy.
        my $bytes = $main ? $main->{size} + ($wal ? $wal->{size} : 0) : undef;
        $bytes = expected_bytes("$run->{source}/$path", "$run->{target}/$path") if defined $bytes && $bytes >= BIG;
        $bytes;
    };
}

# Returns the inode of a database in the source; undef if there is none, or if that is unknown.
sub inode_of {
    my ($run, $path) = @_;
    my ($directory, $name) = LsyncdAsCode::Paths::split_path($path);
    return eval {
        my $source = open_beneath($run->{source}, $directory, $run->{source_id});
        my $is     = $source ? status($source, $name) : undef;
        $is ? $is->{ino} : undef;
    };
}

# Returns the inode of the source's file from which the mirror's copy was made; undef if there is none, or if that is unknown.
sub made_from {
    my ($run, $path) = @_;
    my ($directory, $name) = LsyncdAsCode::Paths::split_path($path);
    return eval {
        my $target = open_beneath($run->{target}, $directory, $run->{target_id});
        my $copy   = $target ? open_file($target, $name) : undef;
        my $mark   = $copy ? read_mark($copy) : undef;
        $mark ? $mark->{ino} : undef;
    };
}

# Updates one database; returns sync_unit's result and seconds. Never dies. $whole: a big one may be copied completely now. $batch
# performs the steps that must wait until the copy is on the disk.
sub one {
    my ($run, $path, $whole, $batch) = @_;
    my $began = ticks();
    my $result = eval { in_directories($run, $path, $whole, $batch) } // { state => 'deferred', why => 'error', reason => $@ =~ s/\s+\z//r };
    $result->{seconds} = ticks() - $began;
    return $result;
}

# Copies a database that the mirror does not have yet. Returns undef if it needs "one". Never dies.
sub first {
    my ($run, $path, $batch) = @_;
    my ($directory, $name) = LsyncdAsCode::Paths::split_path($path);
    my $result = eval {
        my ($source, $target) = directories($run, $directory, 1);
        # rsync makes the new directories at the same time.
        if ($source && !$target) { make_directory($run, $directory); ($source, $target) = directories($run, $directory, 1) }
        $source && $target ? first_copy($source, $target, $name, options($run, $batch)) : undef;
    } // return undef;
    # Not measured: it is small.
    $result->{seconds} = 0;
    return $result;
}

sub in_directories {
    my ($run, $path, $whole, $batch) = @_;
    my ($directory, $name) = LsyncdAsCode::Paths::split_path($path);
    my ($source, $target) = directories($run, $directory, defined $batch);
    if (!$source) {
        # The directory, and the database with it, is gone from the source.
        return { state => 'same' } unless $target;
        my $result = gone($run, $path);
        undef $target;
        prune($run, $directory) if $result->{state} eq 'deleted';
        return $result;
    }
    $target //= make_directory($run, $directory);
    return sync_unit($source, $target, $name, { %{ options($run, $batch) }, whole => $whole, gone => sub { return gone($run, $path) } });
}

# The options of sync_unit that are the same for all databases of a batch.
sub options {
    my ($run, $batch) = @_;
    my $known = $batch && $batch->{options};
    return $known if $known;
    my $options = {
        lock_seconds => setting('sqlite_lock_seconds'), big => BIG, reserve => RESERVE, batch => $batch,
        volume => $batch ? $batch->volume : open_beneath($run->{target}, '', $run->{target_id}),
        run => length $run->{name} ? $run->{name} : undef, owner => $run->{owner}, group => $run->{group}, perms => $run->{perms},
    };
    $batch->{options} = $options if $batch;
    return $options;
}

# Deletes from the mirror a database that is gone from the source, if the gate has allowed it. Otherwise nothing is left to do
# here: the pass over that change is still to come, or holds the mirror. A run with {keep} leaves it to the worker (Worker::is_renamed).
sub gone {
    my ($run, $path) = @_;
    return { state => 'deferred', why => 'gone', reason => '' } if $run->{keep};
    my $days = LsyncdAsCode::Settings::read('limits')->number('keep_deleted_days');
    my $done = LsyncdAsCode::Gate::Ask::delete_database($run->{target}, $run->{target_id}, $path, setting('grants_file'), $days);
    return { state => $done ? 'deleted' : 'same' };
}

# Removes directories left empty: rsync keeps a directory that contains databases excluded from it.
sub prune {
    my ($run, $directory) = @_;
    while (length $directory) {
        my ($above, $name) = LsyncdAsCode::Paths::split_path($directory);
        return if open_beneath($run->{source}, $directory);
        my $parent = open_beneath($run->{target}, $above) or return;
        remove_directory($parent, $name) or return;
        $directory = $above;
    }
    return;
}

# Returns the mirror's directory, created like the source's if missing; by handle, so that it cannot be replaced.
sub make_directory {
    my ($run, $directory) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($directory);
    my $parent = open_beneath($run->{target}, $above, $run->{target_id}) // (length $above ? make_directory($run, $above) : undef)
        or die "the target directory $above is missing\n";
    my $source = open_beneath($run->{source}, $directory, $run->{source_id}) or die "the source directory $directory is missing\n";
    my ($made, $new) = LsyncdAsCode::Beneath::make_directory($parent, $name);
    if ($new) {
        my $like = fstat_ns($source);
        set_owner($made, $like->{uid}, $like->{gid}) if $run->{owner} && $run->{group};
        set_mode($made, $like->{mode} & 0777);
    }
    return $made;
}

1;
