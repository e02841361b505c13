# The copier for the model: brings one database up to date for each line it reads, and prints what came of it.
#
#   perl -I LIBRARY -I test/support copier.pl SOURCE TARGET NAME     lines: WHAT SEED N RUN. WHAT is "copy", "kill": ended
#                                                                    before its Nth step, or "cut": at its Nth system call that changes something. RUN
#                                                                    is the run of lsyncd
#
# A process that has the modules loaded starts another one for the work, and the next one when that was killed: memory is lost
# then, as it would be on a host.
#
# Two times count as different after 12 ms instead of 50, and nothing is synced: a process that is killed loses nothing of what it wrote. A lock
# that somebody holds is asked for once: nobody else runs meanwhile.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use Copier qw(Copy Batch First);
use LsyncdAsCode::System qw(leave);
use Traced qw(count_calls traced);
my ($source, $target, $name) = @ARGV;

replace(settled => sub { my (undef, $mtime, $at) = @_; return abs($at - $mtime) > 12_000_000 });
replace(poll_for => sub { my (undef, undef, $try) = @_; return $try->() });
replace($_ => sub { return }) for qw(sync sync_directory sync_file_system);

# How the process that works has ended: no more lines, in the middle of a copy, or because the next copy needs a new one.
use constant { DONE => 0, KILLED => 9, ANOTHER => 10 };

# Steps at which it can be killed: all that changes something in the mirror. A write is cut in two.
my $left = 0;
sub step { return $left && --$left == 0 }
replace(write_at => sub {
    my $original = shift;
    if (step()) { $original->(@_[0, 1], substr $_[2], 0, int rand(1 + length $_[2])); leave(KILLED) }
    # With the same arguments, which are not copied.
    return &$original;
});
for my $name (qw(rename_file remove_file create_file set_mark set_times set_attributes)) {
    replace($name => sub { my $original = shift; leave(KILLED) if step(); return $original->(@_) });
}

# Now and then there is no room for a whole copy.
replace(need_space => sub { my $original = shift; return rand() < 0.15 ? LsyncdAsCode::Result::deferred('space', 'by chance') : $original->(@_) });

# Now and then the mirror has no database yet. If it does not get one at once (First.pm), it has its old one again, whatever ends this process.
# The main file last: it says whether all are back.
my @unit = map { "$name$_" } '-wal', '-shm', '-journal', '';
sub unit { my ($directory) = @_; return map { "$directory/$_" } @unit }
sub put_aside {
    rename "$target/$_", "$target.aside/$_" for reverse @unit;
    # Something of it is left over, perhaps.
    if (rand() < 0.3) { system 'cp', '--preserve=all', "$target.aside/$name-wal", "$target/$name-wal" if -e "$target.aside/$name-wal" }
    return;
}
sub put_back {
    return unless grep { -e } unit("$target.aside");
    if (-e "$target/$name") { unlink unit("$target.aside") }
    else { unlink unit($target); rename "$target.aside/$_", "$target/$_" for @unit }
    return;
}
mkdir "$target.aside";

my $run;
sub attempt {
    my $volume = directory($target);
    # As one of many: it is put in place after all have been made.
    my $batch = rand() < 0.4 ? LsyncdAsCode::Batch::begin($volume) : undef;
    my %given = (volume => $volume, batch => $batch, run => $run, big => rand() < 0.1 ? 1 : 32 << 20);
    my $copy  = sub { return sync_unit(directory($source), $volume, $name, options(%given)) };
    my $done = eval {
        if ($batch && rand() < 0.5) {
            put_aside();
            my $first = $batch->add(0, sub { return first_copy(directory($source), $volume, $name, options(%given)) });
            my ($result) = $batch->finish;
            put_back();
            return $result if $first;
            $given{batch} = $batch = LsyncdAsCode::Batch::begin($volume);
        }
        $batch ? do { $batch->add(0, $copy); ($batch->finish)[0] } : $copy->();
    };
    my $error = $@;
    put_back();
    return $done ? join ' ', $done->{state}, $done->{why} // '' : "died $error" =~ s/\s+/ /gr;
}

# Makes one copy for each line. The caller waits for the answer before it writes the next line.
sub work {
    while (sysread STDIN, my $line, 100) {
        (my ($what, $seed, $at), $run) = split ' ', $line;
        srand $seed;
        $left = $what eq 'kill' ? $at : 0;
        # Beside openat that creates a file, the system calls that change something.
        count_calls($at, qw(write pwrite64 renameat2 unlinkat mkdirat ftruncate fchmod fchown utimensat fsetxattr fallocate)) if $what eq 'cut';
        syswrite STDOUT, attempt() . "\n";
        leave(ANOTHER) if $what eq 'cut';
    }
    leave(DONE);
}

while (1) {
    my $pid = fork // die "cannot fork: $!\n";
    work() unless $pid;
    my ($ended, $signal) = traced($pid);
    put_back();
    last if !$signal && $ended != KILLED && $ended != ANOTHER;
    syswrite STDOUT, "killed\n" if $signal || $ended == KILLED;
}
