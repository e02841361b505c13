# Runs rsync for the copier: a dry run that lists the changes, and transfers of single paths.
package LsyncdAsCode::Rsync;
use strict;
use warnings;
use LsyncdAsCode::Confined qw(exec_rsync);
use LsyncdAsCode::Itemize  ();
use LsyncdAsCode::State    qw(setting);
use LsyncdAsCode::System   qw(leave);
use Exporter qw(import);

our @EXPORT_OK = qw(plan transfer delete_missing run_rsync reads_input TRY_AGAIN);

# lsyncd retries after this exit code (default-rsync.lua, rsyncexitcodes.lua).
use constant TRY_AGAIN => 11;

# Runs rsync with $input on its standard input. Returns its output (if $want_output) and exit code.
sub run_rsync {
    my ($arguments, $input, $want_output) = @_;
    my ($from_rsync, $to_parent, $from_parent, $to_rsync);
    pipe $from_parent, $to_rsync or die "pipe: $!\n";
    if ($want_output) { pipe $from_rsync, $to_parent or die "pipe: $!\n" }
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) {
        open STDIN, '<&', $from_parent or leave(TRY_AGAIN);
        if ($want_output) { open STDOUT, '>&', $to_parent or leave(TRY_AGAIN) }
        $ENV{LC_ALL} = 'C';
        # The caller holds both directories open; rsync gets these handles, whatever is mounted at their paths now.
        my @with = @$arguments;
        splice @with, -2, 2, split /\n/, $ENV{LSYNCD_ROOTS} if $ENV{LSYNCD_ROOTS};
        exec_rsync(setting('rsync_program'), @with);
        leave(TRY_AGAIN);
    }
    close $from_parent;
    close $to_parent if $want_output;
    # If the input exceeds a pipe's capacity, a child writes it, so that the two sides cannot deadlock.
    my $feeder = length $input > 32768 ? fork // die "cannot fork: $!\n" : undef;
    feed($to_rsync, $input) if !defined $feeder;
    if (defined $feeder && !$feeder) { feed($to_rsync, $input); leave(0) }
    close $to_rsync if $feeder;
    my $output = '';
    if ($want_output) { local $/ = undef; $output = readline($from_rsync) // '' }
    # lsyncd takes a child that a signal ended for a success, so a TERM is passed to rsync, and this returns TRY_AGAIN.
    local $SIG{TERM} = sub { kill 'TERM', $pid; };
    my $status = waitpid($pid, 0) == $pid ? $? : TRY_AGAIN << 8;
    waitpid $feeder, 0 if $feeder;
    return ($output, $status & 127 ? TRY_AGAIN : $status >> 8);
}

sub feed {
    my ($handle, $data) = @_;
    local $SIG{PIPE} = 'IGNORE';
    for (my $at = 0; $at < length $data;) { $at += syswrite($handle, $data, length($data) - $at, $at) // last }
    close $handle;
    return;
}

# Matches arguments that make rsync read its standard input.
my $READS_INPUT = qr/\A--(?:include|exclude|files)-from=-\z|\A--filter=\. ?-\z/;

sub reads_input { my @arguments = @_; return scalar grep { $_ =~ $READS_INPUT } @arguments }

sub without_quiet {
    my @arguments = @_;
    return grep { $_ ne '-' && $_ ne '--quiet' } map { my $a = $_; $a =~ s/\A(-[^-efBTM@][^efBTM@]*)/$1 =~ tr,q,,dr/e; $a } @arguments;
}

# Returns what rsync would do: { code, new, changed, deleted }; new: names of files, of which there may be very many, the others: items of
# LsyncdAsCode::Itemize. Times are compared to the
# nanosecond. rsync's own filters apply.
sub plan {
    my ($arguments, $input) = @_;
    my ($output, $code) = $input eq '' ? given_plan($arguments) : ();
    if (!defined $output) {
        # Lists files that are gone from the source, even if this call deletes nothing.
        my @ask = ('--dry-run', '--delete', '--modify-window=-1', LsyncdAsCode::Itemize::options(0), without_quiet(@$arguments));
        ($output, $code) = run_rsync(\@ask, $input, 1);
    }
    my %plan = (code => $code, new => [], changed => [], deleted => []);
    while ($output =~ /\G([^\n]*)\n/gc) {
        my $line = $1;
        my $name = LsyncdAsCode::Itemize::new_file($line);
        if (defined $name) { push @{ $plan{new} }, $name; next }
        my $item = LsyncdAsCode::Itemize::parse($line) or next;
        next unless $item->{changed};
        push @{ $plan{ $item->{action} eq 'delete' ? 'deleted' : 'changed' } }, $item;
    }
    return \%plan;
}

# Returns the output and exit code of the dry run that the caller has just made with the same arguments (LsyncdAsCode::Pass).
# Later changes are in lsyncd's next list.
sub given_plan {
    my ($arguments) = @_;
    my ($code, $file) = ($ENV{LSYNCD_PLAN} // '') =~ m{\A(\d+) (/.+)\z}s or return;
    # A quiet rsync prints nothing.
    return if join("\0", @$arguments) ne join "\0", without_quiet(@$arguments);
    open my $plan, '<', $file or return;
    local $/ = undef;
    return (readline($plan) // '', $code);
}

# Options that select files: calls for single paths select them differently.
my $CHOOSES = qr/\A(?:--delete(?:-before|-during|-delay|-after|-excluded)?|--ignore-errors|--from0|--recursive|--include-from=-|--exclude=\*)\z/;

sub for_paths {
    my ($arguments, $more, $paths) = @_;
    my @options = grep { $_ !~ $CHOOSES && $_ !~ $READS_INPUT } map { s/\A(-[^-efBTM@]*)r/$1/r } @$arguments[ 0 .. $#$arguments - 2 ];
    # On a host this deletes nothing, so it also replaces no directory by a file: rsync-wrapper has removed those.
    my @force = (grep { /\A--delete/ } @$arguments) ? '--force' : ();
    my @with = ('--modify-window=-1', grep({ $_ ne '-' } @options), '--no-recursive');
    my @names = grep { $_ ne '.' } @$paths;
    my $code = 0;
    # As a path, the root would include all its contents.
    (undef, $code) = run_rsync([ @with, '--dirs', '--exclude=*', @$arguments[ -2, -1 ] ], '', 0) if @names < @$paths;
    return $code if !@names || $code != 0 && $code != 23 && $code != 24;
    my (undef, $done) = run_rsync([ @with, @force, '--from0', '--files-from=-', @$more, @$arguments[ -2, -1 ] ], join('', map { "$_\0" } @names), 0);
    return $done || $code;
}

# Updates exactly these paths: files, links, and directories without their contents. Returns the exit code.
sub transfer { my ($arguments, $paths) = @_; return for_paths($arguments, ['--ignore-missing-args'], $paths) }

# The same, and deletes from the mirror those that are missing from the source, directories with all their contents.
sub delete_missing { my ($arguments, $paths) = @_; return for_paths($arguments, ['--delete-missing-args'], $paths) }

1;
