# Records of the calls of rsync: the last full passes and their durations, for previews and metrics; and calls that prove
# nothing, for lsyncd-wait.
package LsyncdAsCode::Passes;
use strict;
use warnings;

# The number of passes that are kept.
use constant KEPT => 10;

# Returns the file of the last full passes, in the state directory.
sub record { my ($state) = @_; return "$state/passes" }

# Records a full pass: its end, in seconds since 1970, and its duration in seconds.
sub note {
    my ($state, $ended, $seconds) = @_;
    my $file = record($state);
    my @lines;
    if (open my $old, '<', $file) { @lines = grep { /\A\d+ \d+\n\z/ } <$old> }
    push @lines, "$ended $seconds\n";
    splice @lines, 0, @lines - KEPT if @lines > KEPT;
    # An error here must not fail the pass.
    open my $new, '>', "$file.new" or return;
    (print {$new} @lines) && close $new && rename "$file.new", $file;
    return;
}

# Records a call with which a file may have arrived without the files that were written before it: it failed, or was a full pass, which
# lists a directory while its files change. Appends one byte, so that two such calls within a second are distinct.
sub proves_nothing {
    my ($run) = @_;
    my $file = "$run/proves-nothing";
    open my $mark, (-s $file // 0) < 1 << 20 ? '>>' : '>', $file or return;
    print {$mark} '.';
    close $mark;
    return;
}

# Returns a text that changes with each such call; empty if there was none since the boot.
sub last_without_proof {
    my ($run) = @_;
    my @mark = stat "$run/proves-nothing" or return '';
    return "@mark[1, 7, 9]";
}

1;
