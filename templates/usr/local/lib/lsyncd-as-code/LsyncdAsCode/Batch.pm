# Copies many databases with two syncs instead of several for each: makes all copies under temporary names, syncs them with one
# syncfs, puts them in place, and syncs their names with a second one. The order for each database is that of
# docs/decisions/0005-sqlite-copy-order.md; only the syncs are shared.
package LsyncdAsCode::Batch;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_beneath);
use LsyncdAsCode::Place   qw(first forget_directories one size_of);
use LsyncdAsCode::State   qw(BIG);
use LsyncdAsCode::System  qw(sync_file_system);
use Exporter qw(import);

our @EXPORT_OK = qw(copy_all copy_found FEW);

# Up to this number, databases are synced one by one: syncfs also waits for other data being written to the volume.
use constant FEW => 4;

# The most files that are open during a batch, of the 1,024 that systemd allows a service; and the most that one database adds: two directories,
# a private one where that is on another file system, and a log that is appended to.
use constant { OPEN => 900, EACH => 4 };

# Updates databases; until the first sync, their copies need room beside those in place. $whole->($path) returns whether a big one may be
# copied completely now. Returns the results in the same order.
sub copy_all {
    my ($run, $paths, $whole) = @_;
    my $shared = @$paths > FEW;
    return in_batches($run, $paths, sub {
        my ($at, $path, $batch) = @_;
        $batch->add($at, sub { return one($run, $path, $whole->($path), $shared ? $batch : undef) });
    });
}

# The same for what a full pass has found, which most likely is not in the mirror yet. A big database is left, and one that is gone: their results
# are "queued" and "gone".
sub copy_found {
    my ($run, $paths, $whole) = @_;
    my $shared = @$paths > FEW;
    return in_batches($run, $paths, sub {
        my ($at, $path, $batch) = @_;
        return if $shared && $batch->add($at, sub { return first($run, $path, $batch) });
        my $size = size_of($run, $path, 1);
        my $left = !defined $size ? 'gone' : $size >= BIG ? 'queued' : undef;
        $batch->add($at, sub {
            return defined $left ? { state => 'deferred', why => $left, reason => '', seconds => 0 } : one($run, $path, $whole->($path), $shared ? $batch : undef);
        });
    });
}

# Calls $each->($number, $path, $batch) for each path, and ends a batch early when many files are open: directories that databases are in, and logs
# that are appended to. Returns the results by the paths' numbers.
sub in_batches {
    my ($run, $paths, $each) = @_;
    my (@results, $batch);
    my $end = sub {
        my @done = $batch->finish;
        forget_directories();
        for my $at (grep { defined $done[$_] } 0 .. $#done) { $results[$at] = $done[$at] }
        undef $batch;
    };
    my $until = 0;
    for my $at (0 .. $#$paths) {
        $batch //= eval { begin(open_beneath($run->{target}, '', $run->{target_id})) };
        if (!$batch) { $results[$at] = failed($@, { seconds => 0 }); next }
        $each->($at, $paths->[$at], $batch);
        next if --$until > 0;
        # As many more as fit in any case.
        if ((my $more = room_for()) > 1) { $until = $more }
        else                             { $end->() }
    }
    $end->() if $batch;
    return @results;
}

# Returns how many more databases may be added before the next look.
sub room_for { opendir my $files, '/proc/self/fd' or return 0; my $many = () = readdir $files; return int((OPEN - $many) / EACH) }

# Begins a batch. $volume: the open root of the mirror.
sub begin { my ($volume) = @_; return bless { steps => [], results => [], dirty => 0, volume => $volume }, __PACKAGE__ }

# Makes one copy, up to the point at which it must be on the disk. $copy->() returns its result, which has the number $at among those that
# "finish" returns; or undef if it made none. Returns the result.
sub add { my ($self, $at, $copy) = @_; $self->{at} = $at; return $self->{results}[$at] = $copy->() }

# Puts all copies in place. Returns their results.
sub finish {
    my ($self) = @_;
    my @results = @{ $self->{results} };
    if (@{ $self->{steps} }) {
        my $synced = eval { sync_file_system($self->{volume}); 1 } ? undef : $@;
        for my $step (@{ $self->{steps} }) {
            my ($at, $finish, $give_up) = @$step;
            my $error = $synced // (eval { $finish->(); 1 } ? next : $@);
            eval { $give_up->() };
            $results[$at] = failed($error, $results[$at]);
        }
    }
    if (@{ $self->{steps} } || $self->{dirty}) {
        eval { sync_file_system($self->{volume}); 1 } or do {
            my $error = $@;
            for my $result (@results) { $result = failed($error, $result) if defined $result && $result->{state} ne 'deferred' }
        };
    }
    # They refer to the batch: otherwise it would stay in memory, and all handles with it.
    delete @$self{qw(steps options)};
    return @results;
}

sub failed { my ($error, $result) = @_; return { state => 'deferred', why => 'error', reason => $error =~ s/\s+\z//r, seconds => $result->{seconds} } }

# For the current copy: $finish is called once everything written so far is on the disk, $give_up if that failed.
sub later { my ($self, $finish, $give_up) = @_; push @{ $self->{steps} }, [ $self->{at}, $finish, $give_up // sub { } ]; return }

# Returns the open root of the mirror.
sub volume { my ($self) = @_; return $self->{volume} }

# Records that a name was changed in place: the second sync makes it durable.
sub renamed { my ($self) = @_; $self->{dirty} = 1; return }

1;
