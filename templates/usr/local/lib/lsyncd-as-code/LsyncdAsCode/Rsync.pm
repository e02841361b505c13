# Runs rsync for the copier: asks it what it would do, and lets it do that for single paths.
package LsyncdAsCode::Rsync;
use strict;
use warnings;
use LsyncdAsCode::Itemize ();
use LsyncdAsCode::State   qw(setting);
use LsyncdAsCode::System  qw(leave);
use Exporter qw(import);

our @EXPORT_OK = qw(plan transfer delete_missing run_rsync reads_input TRY_AGAIN);

# lsyncd tries again after this exit code (default-rsync.lua, rsyncexitcodes.lua).
use constant TRY_AGAIN => 11;

# Runs rsync with $input on its standard input. Returns its output (when wanted) and exit code.
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
        # The caller holds both directories open, and leads rsync to them whatever is mounted at their paths by now.
        my @with = @$arguments;
        splice @with, -2, 2, split /\n/, $ENV{LSYNCD_ROOTS} if $ENV{LSYNCD_ROOTS};
        my $rsync = setting('rsync_program');
        exec { $rsync } $rsync, @with or leave(TRY_AGAIN);
    }
    close $from_parent;
    close $to_parent if $want_output;
    # A child feeds the input when it is longer than a pipe holds, so that neither side can wait for the other for ever.
    my $feeder = length $input > 32768 ? fork // die "cannot fork: $!\n" : undef;
    feed($to_rsync, $input) if !defined $feeder;
    if (defined $feeder && !$feeder) { feed($to_rsync, $input); leave(0) }
    close $to_rsync if $feeder;
    my $output = '';
    if ($want_output) { local $/ = undef; $output = readline($from_rsync) // '' }
    # lsyncd takes a child that a signal ended for one that did well: what it ends, is ended here too.
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

# Whether one of these arguments makes rsync read its standard input.
my $READS_INPUT = qr/\A--(?:include|exclude|files)-from=-\z|\A--filter=\. ?-\z/;

sub reads_input { my @arguments = @_; return scalar grep { $_ =~ $READS_INPUT } @arguments }

sub without_quiet {
    my @arguments = @_;
    return grep { $_ ne '-' && $_ ne '--quiet' } map { my $a = $_; $a =~ s/\A(-[^-efBTM@][^efBTM@]*)/$1 =~ tr,q,,dr/e; $a } @arguments;
}

# What rsync would do: { code, changed, deleted }, both lists of LsyncdAsCode::Itemize. Times are compared to the nanosecond.
# rsync's own filters have their say in it.
sub plan {
    my ($arguments, $input) = @_;
    my ($output, $code) = $input eq '' ? given_plan($arguments) : ();
    if (!defined $output) {
        # What is not in the source any more is of interest also where rsync deletes nothing.
        my @ask = ('--dry-run', '--delete', '--modify-window=-1', LsyncdAsCode::Itemize::options(0), without_quiet(@$arguments));
        ($output, $code) = run_rsync(\@ask, $input, 1);
    }
    my %plan = (code => $code, changed => [], deleted => []);
    while ($output =~ /\G([^\n]*)\n/gc) {
        my $item = LsyncdAsCode::Itemize::parse($1) or next;
        next unless $item->{changed};
        push @{ $plan{ $item->{action} eq 'delete' ? 'deleted' : 'changed' } }, $item;
    }
    return \%plan;
}

# What rsync has said to the caller a moment ago, with these same arguments: its output and exit code (LsyncdAsCode::Pass). Whatever has changed since,
# lsyncd names in its next list.
sub given_plan {
    my ($arguments) = @_;
    my ($code, $file) = ($ENV{LSYNCD_PLAN} // '') =~ m{\A(\d+) (/.+)\z}s or return;
    # A quiet one says nothing.
    return if join("\0", @$arguments) ne join "\0", without_quiet(@$arguments);
    open my $plan, '<', $file or return;
    local $/ = undef;
    return (readline($plan) // '', $code);
}

# Options that choose files: those of a call for single paths say that in another way.
my $CHOOSES = qr/\A(?:--delete(?:-before|-during|-delay|-after|-excluded)?|--ignore-errors|--from0|--recursive|--include-from=-|--exclude=\*)\z/;

sub for_paths {
    my ($arguments, $more, $paths) = @_;
    my @options = grep { $_ !~ $CHOOSES && $_ !~ $READS_INPUT } map { s/\A(-[^-efBTM@]*)r/$1/r } @$arguments[ 0 .. $#$arguments - 2 ];
    # On a host nothing is deleted here, and so no directory gives way to a file either: rsync-wrapper has cleared the way.
    my @force = (grep { /\A--delete/ } @$arguments) ? '--force' : ();
    my @with = ('--modify-window=-1', grep({ $_ ne '-' } @options), '--no-recursive');
    my @names = grep { $_ ne '.' } @$paths;
    my $code = 0;
    # As a path, the root would stand for all that is in it.
    (undef, $code) = run_rsync([ @with, '--dirs', '--exclude=*', @$arguments[ -2, -1 ] ], '', 0) if @names < @$paths;
    return $code if !@names || $code != 0 && $code != 23 && $code != 24;
    my (undef, $done) = run_rsync([ @with, @force, '--from0', '--files-from=-', @$more, @$arguments[ -2, -1 ] ], join('', map { "$_\0" } @names), 0);
    return $done || $code;
}

# Brings these paths up to date and nothing else: files, links, and directories without what is in them. Returns the exit code.
sub transfer { my ($arguments, $paths) = @_; return for_paths($arguments, ['--ignore-missing-args'], $paths) }

# The same, and deletes from the mirror those that are not in the source, directories with all that is in them.
sub delete_missing { my ($arguments, $paths) = @_; return for_paths($arguments, ['--delete-missing-args'], $paths) }

1;
