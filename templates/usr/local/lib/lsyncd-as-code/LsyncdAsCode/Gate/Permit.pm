# What is allowed once. A permission names what was held: when, and how much it would have taken. It is for the pass over
# everything with which lsyncd starts again, and for no more than that. An empty one is for whatever that pass takes: a deployment
# that passes over a refusal on purpose (LSYNCD_SKIP_SAFETY), the end of a failover, `lsyncd-release --ahead`.
package LsyncdAsCode::Gate::Permit;
use strict;
use warnings;

# Seconds for which a permission waits for its pass.
use constant WAITS => 86_400;
# What may have been added to the loss since it was held: so many, or so many percent.
use constant MORE => 10;

# How what is held is named: `held <seconds since 1970> lost <n> altered <n>`.
sub name {
    my ($at, $tally) = @_;
    return sprintf 'held %d lost %d altered %d', $at, lost($tally), scalar @{ $tally->{altered} };
}

sub lost { my ($tally) = @_; return $tally->{removed} + $tally->{emptied} }

# The permission in a file; undef when there is none, or when it has waited for too long.
sub read {    ## no critic (ProhibitBuiltinHomonyms)
    my ($path, $now) = @_;
    open my $file, '<', $path or return undef;
    my $written = (stat $file)[9];
    my $line = <$file> // '';
    close $file;
    if ($now - $written >= WAITS) { unlink $path; return undef }
    return $line =~ /^held (\d+) lost (\d+) altered (\d+)$/ ? { at => $1, lost => $2, altered => $3 } : {};
}

# Whether a permission is for what a pass would take.
sub covers {
    my ($permit, $tally) = @_;
    return 1 unless defined $permit->{lost};
    my ($lost, $altered) = (lost($tally), scalar @{ $tally->{altered} });
    return within($lost, $permit->{lost}) && within($altered, $permit->{altered});
}

sub within { my ($number, $allowed) = @_; return $number <= $allowed + ($allowed > 100 ? $allowed * MORE / 100 : MORE) }

sub remove { my ($path) = @_; unlink $path; return }

1;
