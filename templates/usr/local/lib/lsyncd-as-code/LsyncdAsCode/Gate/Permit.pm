# One-time permissions. A permission names what was held: when, and how much it would have removed. It is valid only for the
# full pass with which lsyncd starts again. An empty one allows any losses in that pass: for a deployment that overrides a
# refusal (LSYNCD_SKIP_SAFETY), the end of a failover, `lsyncd-release --ahead`. The file that accepts an older source is read here
# as well, and expires like the others.
package LsyncdAsCode::Gate::Permit;
use strict;
use warnings;

# Seconds for which a permission is valid; and seconds by which its time may be ahead of a clock that is being corrected.
use constant { WAITS => 86_400, AHEAD => 60 };
# The allowed growth of the loss since it was held: this many, or this many percent.
use constant MORE => 10;

# Returns the name of what is held: `held <seconds since 1970> lost <n> altered <n>`.
sub name {
    my ($at, $tally) = @_;
    return sprintf 'held %d lost %d altered %d', $at, lost($tally), scalar @{ $tally->{altered} };
}

sub lost { my ($tally) = @_; return $tally->{removed} + $tally->{emptied} }

# Returns the permission in a file; undef if there is none, or if it has expired.
sub read {    ## no critic (ProhibitBuiltinHomonyms)
    my ($path, $now) = @_;
    open my $file, '<', $path or return undef;
    my $written = (stat $file)[9];
    my $line = <$file> // '';
    close $file;
    # A time further ahead is of a clock that was wrong. It would be valid for that much longer.
    if ($now - $written >= WAITS || $written - $now > AHEAD) { unlink $path; return undef }
    return $line =~ /^held (\d+) lost (\d+) altered (\d+)$/ ? { at => $1, lost => $2, altered => $3 } : {};
}

# Returns true if a permission covers what a pass would remove.
sub covers {
    my ($permit, $tally) = @_;
    return 1 unless defined $permit->{lost};
    my ($lost, $altered) = (lost($tally), scalar @{ $tally->{altered} });
    return within($lost, $permit->{lost}) && within($altered, $permit->{altered});
}

sub within { my ($number, $allowed) = @_; return $number <= $allowed + ($allowed > 100 ? $allowed * MORE / 100 : MORE) }

sub remove { my ($path) = @_; unlink $path; return }

1;
