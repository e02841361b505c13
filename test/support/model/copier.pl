# The copier for the model: brings one database up to date for each line it reads, and prints what came of it.
#
#   perl -I LIBRARY -I test/support copier.pl SOURCE TARGET NAME     lines: "copy SEED", "kill SEED N": ended before its
#                                                                    Nth step, or "cut SEED N": at its Nth system call that changes something
#
# Two times count as different after 12 ms instead of 50, and nothing is synced: a process that is killed loses nothing of what it wrote. A lock
# that somebody holds is asked for once: nobody else runs meanwhile.
use strict;
use warnings;
use POSIX ();
use Copier;
my ($source, $target, $name) = @ARGV;
$| = 1;

replace(settled => sub { my (undef, $mtime, $at) = @_; return abs($at - $mtime) > 12_000_000 });
replace(poll_for => sub { my (undef, undef, $try) = @_; return $try->() });
replace($_ => sub { return }) for qw(sync sync_directory);

# Steps at which it can be killed: all that changes something in the mirror. A write is cut in two.
my $left = 0;
sub step { return $left > 0 && --$left == 0 }
replace(write_at => sub {
    my ($original, $handle, $offset, $data) = @_;
    if (step()) { $original->($handle, $offset, substr $data, 0, int rand(1 + length $data)); POSIX::_exit(9) }
    return $original->($handle, $offset, $data);
});
for my $name (qw(rename_file remove_file create_file set_mark set_times set_attributes)) {
    replace($name => sub { my $original = shift; POSIX::_exit(9) if step(); return $original->(@_) });
}

# Now and then there is no room for a whole copy.
replace(need_space => sub { my $original = shift; return rand() < 0.15 ? LsyncdAsCode::Result::deferred('space', 'by chance') : $original->(@_) });

sub attempt {
    my $volume = directory($target);
    my $done = eval { sync_unit(directory($source), $volume, $name, options(volume => $volume, big => rand() < 0.1 ? 1 : 32 << 20)) };
    return $done ? join ' ', $done->{state}, $done->{why} // '' : "died $@" =~ s/\s+/ /gr;
}

while (defined(my $line = <STDIN>)) {
    my ($what, $seed, $at) = split ' ', $line;
    srand $seed;
    if ($what eq 'copy') { print attempt(), "\n"; next }
    # In a process of its own, which may end. It does nothing before strace has it.
    pipe my $said, my $say or die;
    pipe my $go, my $start or die;
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) {
        close $start;
        <$go>;
        $left = $at if $what eq 'kill';
        syswrite $say, attempt();
        POSIX::_exit(0);
    }
    close $_ for $say, $go;
    my $strace = $what eq 'cut' ? traced($pid, $at) : undef;
    close $start;
    my $answer = do { local $/ = undef; <$said> };
    waitpid $pid, 0;
    close $strace if $strace;
    print $answer eq '' ? 'killed' : $answer, "\n";
}

# Has a process killed at its Nth system call of those that change something.
sub traced {
    my ($pid, $at) = @_;
    my $calls = 'write,pwrite64,renameat2,unlinkat,mkdirat,openat,ftruncate,fchmod,fchown,utimensat,fsetxattr,fallocate';
    open my $strace, '-|', "exec strace -o /dev/null -e trace=$calls -e inject=$calls:signal=KILL:when=$at -p $pid 2>&1" or die;
    my $line = <$strace> // '';
    die "strace: $line" if $line !~ /attached/;
    return $strace;
}
