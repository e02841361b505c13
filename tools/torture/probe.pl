# Measures what copying the databases costs on this machine at this moment, in its simplest form: start the programs that a call
# starts, then read each file, write it, and wait for the disk. No locks, no checks. Prints the seconds.
#
#   probe.pl SCRATCH-DIRECTORY FILE…
use strict;
use warnings;
use IO::Handle ();
use Time::HiRes qw(time);

my ($scratch, @files) = @ARGV;
my $began = time;
# rsync-wrapper, what it asks, and the copier's call.
system $^X, '-e', 'use POSIX; use Fcntl' for 1 .. 2;
system 'df', '--output=iused', '--', $scratch;
local $/ = undef;
for my $file (@files) {
    open my $from, '<', $file or next;
    my $data = readline $from;
    open my $to, '>', "$scratch/copy" or die "$scratch/copy: $!\n";
    print {$to} $data;
    $to->flush;
    $to->sync;
    rename "$scratch/copy", "$scratch/copied";
}
print STDERR time - $began;
