# Writes status.tsv, for monitors. First line: "updated", seconds since 1970, "pending", number, "oldest", seconds that the oldest
# has waited. Then a line per database that is not up to date (oldest first, at most 1000): seconds since 1970 of the first
# missing change, cause (queued, copying, throttled, changed, locked, hot, slow, space, error, gone), path below the source (control
# characters and backslashes as \xNN), explanation. While the worker is idle, the file has only the first line and does not
# change.
package LsyncdAsCode::Status;
use strict;
use warnings;
use LsyncdAsCode::Paths  ();
use LsyncdAsCode::State  qw(replace_file state_file);
use LsyncdAsCode::System qw(now_ns);
use Exporter qw(import);

our @EXPORT_OK = qw(write_status LISTED);

# The most databases that the file lists.
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
