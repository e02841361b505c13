#!/usr/bin/perl
# Writes files and waits for each in the mirror; prints seconds from its fsync, one a line.
# Arguments: source, target, how many, seconds between two (at random, so much in the mean), 1 to wait for each before the next.
use strict;
use warnings;
use IO::Handle;
use Time::HiRes qw(time sleep);

my ($source, $target, $count, $pause, $one_by_one) = @ARGV;
my (%waiting, $written, $next);
$written = 0;
$next = time + rand(2 * $pause);
my $deadline = time + $count * ($pause + 2) + 60;
while ($written < $count || %waiting) {
    if ($written < $count && time >= $next && !($one_by_one && %waiting)) {
        my $name = "latency-$$-" . ++$written;
        open(my $file, '>', "$source/$name") or die "$name: $!";
        print $file "x" x 4000;
        $file->flush;
        $file->sync or die "$name: $!";
        $waiting{$name} = time;
        close($file);
        $next = time + rand(2 * $pause);
    }
    for my $name (keys %waiting) {
        next unless (-s "$target/$name" // 0) == 4000;
        printf "%.4f\n", time - $waiting{$name};
        delete $waiting{$name};
        $next = time + rand(2 * $pause) if $one_by_one;
    }
    die join(' ', keys %waiting) . " did not arrive\n" if time > $deadline;
    sleep 0.002;
}
unlink glob("$source/latency-$$-*");
