# status.tsv, for monitors. First line: "updated", seconds since 1970, "pending", number, "oldest", seconds that the oldest has waited.
# Then for each database that the mirror is behind with (the oldest first, 1000 at most): seconds since 1970 of the first change that it
# lacks, cause (queued, copying, throttled, changed, locked, hot, slow, space, error), path below the source (control characters and
# backslashes as \xNN), explanation. While the worker has nothing to do there is no line but the first, and the file does not change.
package LsyncdAsCode::Status;
use strict;
use warnings;
use LsyncdAsCode::Paths  ();
use LsyncdAsCode::State  qw(replace_file state_file);
use LsyncdAsCode::System qw(now_ns);
use Exporter qw(import);

our @EXPORT_OK = qw(write_status LISTED);

# Databases that the file names at most.
use constant LISTED => 1000;

# Replaces the file. $entries: [since, why, path, explanation] of at least the LISTED oldest of $many that wait.
sub write_status {
    my ($many, $entries) = @_;
    my $time = now_ns() / 1e9;
    my @listed = sort { $a->[0] <=> $b->[0] } @$entries;
    my $oldest = @listed ? $time - $listed[0][0] : 0;
    splice @listed, LISTED if @listed > LISTED;
    my $text = sprintf "updated\t%.3f\tpending\t%d\toldest\t%.3f\n", $time, $many, $oldest;
    for (@listed) {
        my ($since, $why, $path, $reason) = @$_;
        $text .= sprintf "%.3f\t%s\t%s\t%s\n", $since, $why, map { LsyncdAsCode::Paths::printable($_) } $path, $reason;
    }
    replace_file(state_file('status.tsv'), $text);
    return;
}

1;
