# Records of the calls of rsync: the last full passes and their durations, for previews and metrics; and failed calls, for
# lsyncd-wait.
package LsyncdAsCode::Passes;
use strict;
use warnings;

# The number of passes that are kept.
use constant KEPT => 10;

# Records a full pass: its end, in seconds since 1970, and its duration in seconds.
sub note {
    my ($state, $ended, $seconds) = @_;
    my $file = "$state/passes";
    my @lines;
    if (open my $old, '<', $file) { @lines = grep { /\A\d+ \d+\n\z/ } <$old> }
    push @lines, "$ended $seconds\n";
    splice @lines, 0, @lines - KEPT if @lines > KEPT;
    # An error here must not fail the pass.
    open my $new, '>', "$file.new" or return;
    (print {$new} @lines) && close $new && rename "$file.new", $file;
    return;
}

# Records that a call did not mirror everything, so one file that arrived proves nothing about the others. Appends one byte,
# so that two failures within a second are distinct.
sub failed {
    my ($run) = @_;
    my $file = "$run/failed-call";
    open my $mark, (-s $file // 0) < 1 << 20 ? '>>' : '>', $file or return;
    print {$mark} '.';
    close $mark;
    return;
}

# Returns a text that changes with each failed call; empty if none has failed since the boot.
sub last_failure {
    my ($run) = @_;
    my @mark = stat "$run/failed-call" or return '';
    return "@mark[1, 7, 9]";
}

1;
