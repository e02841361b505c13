# Times to the nanosecond, also before 1970; extended attributes; reads and writes at an offset.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use Copier;

my $folder = tempdir(CLEANUP => 1);
my $file = "$folder/12";    # a name that is a number
open my $handle, '+>', $file or die;

# Seconds and nanoseconds as another program prints them.
sub by_stat { my ($seconds, $fraction) = split /\./, `stat -c %.9Y $file`; chomp $fraction; return "$seconds.$fraction" }

for my $time ([ 1_700_000_000, 123_456_789 ], [ 0, 0 ], [ 0, 1 ], [ 4_000_000_000, 999_999_999 ]) {
    my $ns = $time->[0] * 1_000_000_000 + $time->[1];
    set_mtime($file, $ns);
    is(stat_ns($file)->{mtime}, $ns, "$ns ns are read as set");
    is(fstat_ns($handle)->{mtime}, $ns, 'from the handle, too');
    is(by_stat(), sprintf('%d.%09d', @$time), 'and by stat(1)');
}
{
    system 'touch', '-d', '1969-12-31 23:59:58.25 UTC', $file;
    my $before = by_stat();
    is(stat_ns($file)->{mtime}, -1_750_000_000, 'a time before 1970 is read');
    set_mtime($file, stat_ns($file)->{mtime});
    is(by_stat(), $before, 'and set with its fraction');
}

is(stat_ns("$folder/none"), undef, 'a missing file has no status');
is(stat_ns("$file/x"), undef, 'nor has a path below a file');
cmp_ok(free_bytes($folder), '>', 0, 'free space is read');

SKIP: {
    skip 'no extended attributes here', 2 unless set_attribute($handle, 'user.test', 'a text');
    is(get_attribute($handle, 'user.test'), 'a text', 'an attribute is read');
    is(get_attribute($handle, 'user.none'), '', 'a missing one is empty');
}

write_at($handle, 5, 'abc');
is(read_at($handle, 0, 100), "\0\0\0\0\0abc", 'a read ends with the file');
is(read_at($handle, 6, 1), 'b', 'one byte from the middle');
is(read_at($handle, 100, 5), '', 'nothing after the end');
done_testing();
