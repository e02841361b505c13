# Many databases with two syncs instead of several for each: all copies are made under their temporary names, one syncfs brings them to
# the disk, then they are put in place, and a second one makes their names last. The order for each of them is the one of
# docs/decisions/0005-sqlite-copy-order.md; only what waits for the disk waits together.
package LsyncdAsCode::Batch;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_beneath);
use LsyncdAsCode::Place   qw(forget_directories one);
use LsyncdAsCode::System  qw(sync_file_system);
use Exporter qw(import);

our @EXPORT_OK = qw(copy_all FEW);

# So few databases are synced one by one: syncfs waits for whatever else is being written to the volume.
use constant FEW => 4;

# Brings databases up to date, at most some hundreds. $whole->($path) says whether a big one may be copied whole now. Returns their
# results in the same order.
sub copy_all {
    my ($run, $paths, $whole) = @_;
    if (@$paths <= FEW) {
        my @results = map { one($run, $_, $whole->($_)) } @$paths;
        forget_directories();
        return @results;
    }
    my $volume = open_beneath($run->{target}, '', $run->{target_id});
    my $self = bless { steps => [], dirty => 0, volume => $volume }, __PACKAGE__;
    my @results;
    for my $path (@$paths) {
        $self->{at} = @results;
        push @results, one($run, $path, $whole->($path), $self);
    }
    if (@{ $self->{steps} }) {
        my $synced = eval { sync_file_system($volume); 1 } ? undef : $@;
        for my $step (@{ $self->{steps} }) {
            my ($at, $finish, $give_up) = @$step;
            my $error = $synced // (eval { $finish->(); 1 } ? next : $@);
            eval { $give_up->() };
            $results[$at] = failed($error, $results[$at]);
        }
    }
    if (@{ $self->{steps} } || $self->{dirty}) {
        eval { sync_file_system($volume); 1 } or do {
            my $error = $@;
            $_ = $_->{state} eq 'deferred' ? $_ : failed($error, $_) for @results;
        };
    }
    forget_directories();
    return @results;
}

sub failed { my ($error, $result) = @_; return { state => 'deferred', why => 'error', reason => $error =~ s/\s+\z//r, seconds => $result->{seconds} } }

# For the copy that is being made: $finish is called once all that was written so far is on the disk, $give_up when that failed.
sub later { my ($self, $finish, $give_up) = @_; push @{ $self->{steps} }, [ $self->{at}, $finish, $give_up // sub { } ]; return }

# The root of the mirror, open.
sub volume { my ($self) = @_; return $self->{volume} }

# A name was changed in place: it lasts from the second sync on.
sub renamed { my ($self) = @_; $self->{dirty} = 1; return }

1;
