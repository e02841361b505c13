# Records the run that the worker belongs to: the calling lsyncd, its two directories, its options on owner, group and mode, and the
# supervisor's name for this run (Unsynced.pm; empty without a supervisor).
package LsyncdAsCode::Run;
use strict;
use warnings;
use LsyncdAsCode::State  qw(replace_file slurp state_file);
use LsyncdAsCode::System qw(start_time stat_ns);
use Exporter qw(import);

our @EXPORT_OK = qw(record_run read_run lives options_for_files);

# Returns what rsync's options set for owner, group and mode, as { owner, group, perms }.
sub options_for_files {
    my ($arguments) = @_;
    my %option = (owner => 0, group => 0, perms => 0);
    my %letter = (o => 'owner', g => 'group', p => 'perms');
    for my $argument (@$arguments) {
        if ($argument =~ /\A--(no-)?(?:(owner|group|perms)|([ogp]))\z/) { $option{ $2 // $letter{$3} } = $1 ? 0 : 1 }
        elsif ($argument eq '--archive') { @option{qw(owner group perms)} = (1, 1, 1) }
        elsif ($argument =~ /\A-([^-][^efBTM@]*)/) {
            my $letters = $1;
            @option{qw(owner group perms)} = (1, 1, 1) if $letters =~ /a/;
            for my $l (keys %letter) { $option{ $letter{$l} } = 1 if $letters =~ /$l/ }
        }
    }
    return \%option;
}

# Writes the record. $held are paths to the two directories that the caller holds open.
sub record_run {
    my ($parent, $source, $target, $held, $arguments) = @_;
    # Orphaned: lsyncd has ended (1 adopts its children), and its next start makes a full pass anyway.
    return if getppid != $parent || $parent == 1 && slurp('/proc/1/comm') !~ /\Alsyncd/;
    # A program between lsyncd and this one passes lsyncd's pid.
    my $lsyncd = $ENV{LSYNCD_PID} // $parent;
    my @root = map { my $s = stat_ns("$_/.") // die "$_ is missing\n"; "$s->{dev}:$s->{ino}" } @$held;
    my $run = join "\0", $lsyncd, start_time($lsyncd), $source, $target, @root, @{ options_for_files($arguments) }{qw(owner group perms)},
        $ENV{LSYNCD_RUN} // '';
    replace_file(state_file('run'), $run) if slurp(state_file('run')) ne $run;
    return;
}

# Returns the last record; undef if there is none.
sub read_run {
    my %run;
    @run{qw(pid start source target source_id target_id owner group perms name)} = split /\0/, slurp(state_file('run')), -1;
    return defined $run{perms} ? \%run : undef;
}

# Returns true while that lsyncd runs: without it, the mirror must not be changed.
sub lives { my ($run) = @_; return $run->{start} ne '' && start_time($run->{pid}) eq $run->{start} }

1;
