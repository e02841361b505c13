# The steps of lsyncd-verify, in order: files, databases, repairs.
package LsyncdAsCode::Verify;
use strict;
use warnings;
use LsyncdAsCode::Gate::Names ();
use LsyncdAsCode::Names ();
use LsyncdAsCode::Verify::Databases ();
use LsyncdAsCode::Verify::Files     ();
use LsyncdAsCode::Verify::Repair    ();

# A fault is { path, what, of, same }: of is file or database; same is 1 if the mirror's file has the size and time of the
# source's, so that a full pass would not touch it.

# Adds its findings to the report. Dies if nothing could be compared. Options: those of lsyncd-verify.
sub verify {
    my ($volumes, $report, $option) = @_;
    my %known = LsyncdAsCode::Names::known();
    my $is_database = sub { my ($path) = @_; return LsyncdAsCode::Names::matches($path) || $known{$path} };
    my $part_of_one = sub {
        my ($path) = @_;
        my $base = LsyncdAsCode::Gate::Names::base_of($path);
        return $is_database->($path) || defined $base && $is_database->($base);
    };
    my $compared = LsyncdAsCode::Verify::Files::compare($volumes, $option, $is_database, $part_of_one);
    $report->count(files => $compared->{files}, databases => scalar @{ $compared->{databases} });
    $report->found('unchecked', '.', $_) for @{ $compared->{complaints} };

    my @faults = LsyncdAsCode::Verify::Files::faults($volumes, $option, $compared->{differing});
    my $check = LsyncdAsCode::Verify::Databases->new($volumes, $option);
    for my $path (sort @{ $compared->{databases} }) {
        my $found = $check->check($path) // next;
        if ($found->{kind} eq 'fault') { push @faults, $found }
        else                           { $report->found(@$found{qw(kind path what)}) }
    }
    my %still = map { $_->{path} => 1 } @faults;
    if ($option->{repair} && @faults) {
        %still = LsyncdAsCode::Verify::Repair::repair($volumes, $option, \@faults, {
            file     => sub { return LsyncdAsCode::Verify::Files::again($volumes, $option, @_) },
            database => sub { return $check->again(@_) },
        });
    }
    for my $fault (@faults) { $report->found($still{ $fault->{path} } ? 'fault' : 'repaired', @$fault{qw(path what)}) }
    return;
}

1;
