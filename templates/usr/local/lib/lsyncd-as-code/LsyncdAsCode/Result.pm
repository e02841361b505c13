# The result of one attempt: { state, why, reason, bytes }; state is same, copied, deleted, or deferred (try again later).
package LsyncdAsCode::Result;
use strict;
use warnings;
use LsyncdAsCode::System qw(fd_path free_bytes);
use Exporter qw(import);

our @EXPORT_OK = qw(deferred need_space THROTTLED);

use constant THROTTLED => 'it is big and busy: its next full copy waits, see the setting sqliteCopyShare';

sub deferred { my ($why, $reason) = @_; return { state => 'deferred', why => $why, reason => $reason } }

# Returns undef if $bytes fit on the file system of a place in the mirror (Temporary.pm), otherwise a deferral.
sub need_space {
    my ($target, $bytes, $options) = @_;
    my $free = free_bytes(fd_path($target->[0]) . '/.') - $options->{reserve};
    return $bytes <= $free ? undef
        : deferred('space', sprintf 'needs %d MB free in the mirror for its copy, there are %d', $bytes / 1e6 + 1, $free < 0 ? 0 : $free / 1e6);
}

1;
