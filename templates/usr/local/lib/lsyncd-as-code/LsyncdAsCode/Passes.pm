# What is remembered of the calls of rsync: the last complete passes and how long they took, for previews and metrics; and
# that a call failed, for lsyncd-wait.
package LsyncdAsCode::Passes;
use strict;
use warnings;

# Passes that are kept.
use constant KEPT => 10;

# Notes a complete pass over everything: seconds since 1970 at which it ended, and the seconds that it took.
sub note {
    my ($state, $ended, $seconds) = @_;
    my $file = "$state/passes";
    my @lines;
    if (open my $old, '<', $file) { @lines = grep { /\A\d+ \d+\n\z/ } <$old> }
    push @lines, "$ended $seconds\n";
    splice @lines, 0, @lines - KEPT if @lines > KEPT;
    # No pass fails for this.
    open my $new, '>', "$file.new" or return;
    (print {$new} @lines) && close $new && rename "$file.new", $file;
    return;
}

# Notes that a call did not do all it was asked: what has arrived says nothing of the rest. One byte each time, so that two
# within a second are two.
sub failed {
    my ($run) = @_;
    my $file = "$run/failed-call";
    open my $mark, (-s $file // 0) < 1 << 20 ? '>>' : '>', $file or return;
    print {$mark} '.';
    close $mark;
    return;
}

# When a call last failed, as something that differs each time; empty when none has since the boot.
sub last_failure {
    my ($run) = @_;
    my @mark = stat "$run/failed-call" or return '';
    return "@mark[1, 7, 9]";
}

1;
