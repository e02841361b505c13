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

# Updates databases; until the first sync, their copies need room beside those in place. $whole->($path) returns whether a big one may be
# copied completely now. Returns the results in the same order.
sub copy_all {
    my ($run, $paths, $whole) = @_;
    if (@$paths <= FEW) {
        my @results = map { one($run, $_, $whole->($_)) } @$paths;
        forget_directories();
        return @results;
    }
    my $batch = begin_at($run);
    for my $at (0 .. $#$paths) {
        my $path = $paths->[$at];
        $batch->add($at, sub { return one($run, $path, $whole->($path), $batch) });
    }
    my @results = $batch->finish;
    forget_directories();
    return @results;
}

# The same for what a full pass has found, which most likely is not in the mirror yet. A big database is left: its result is "queued".
sub copy_found {
    my ($run, $paths, $whole) = @_;
    my $batch  = begin_at($run);
    my $shared = @$paths > FEW ? $batch : undef;
    my $copy   = sub { my ($at) = @_; return $batch->add($at, sub { return one($run, $paths->[$at], $whole->($paths->[$at]), $shared) }) };
    my @gone;
    for my $at (0 .. $#$paths) {
        next if $shared && $batch->add($at, sub { return first($run, $paths->[$at], $shared) });
        my $size = size_of($run, $paths->[$at], 1);
        if    (!defined $size) { push @gone, $at }
        elsif ($size >= BIG)   { $batch->add($at, sub { return { state => 'deferred', why => 'queued', reason => '', seconds => 0 } }) }
        else                   { $copy->($at) }
    }
    # Deletions come last, as with --delete-after.
    for my $at (@gone) { $copy->($at) }
    my @results = $batch->finish;
    forget_directories();
    return @results;
}

sub begin_at { my ($run) = @_; return begin(open_beneath($run->{target}, '', $run->{target_id})) }

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
            $_ = $_->{state} eq 'deferred' ? $_ : failed($error, $_) for @results;
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
