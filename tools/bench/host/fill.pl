#!/usr/bin/perl
# Makes files, or directories, as a volume has them: a hundred in one. Arguments: a directory, "files" or "directories", how many.
use strict;
use warnings;

my ($root, $what, $count) = @ARGV;
for my $n (0 .. $count - 1) {
    my $parent = sprintf('%s/%05d', $root, int($n / 100));
    mkdir $parent if $n % 100 == 0;
    my $path = sprintf('%s/%02d', $parent, $n % 100);
    if ($what eq 'directories') { mkdir $path or die "$path: $!"; next; }
    open(my $file, '>', $path) or die "$path: $!";
    print $file "$n\n";
    close($file);
}
