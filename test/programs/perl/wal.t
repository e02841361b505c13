# Headers, checksums and the walk over the frames of a WAL, on logs that SQLite wrote and on damaged ones.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use Copier;

my $folder = tempdir(CLEANUP => 1);

# Runs statements in one connection that ends without closing; prints what they return.
sub sql {
    my ($name, @statements) = @_;
    open my $said, '-|', 'python3', '-c', <<'END', "$folder/$name", @statements or die;
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
for s in sys.argv[2:]:
    for row in c.execute(s): print(*row)
sys.stdout.flush(); os._exit(0)
END
    return join '', <$said>;
}

sub opened { my ($name) = @_; open my $h, '+<', "$folder/$name" or die "$name: $!"; return $h }

sub with_byte { my ($handle, $at, $byte) = @_; my $was = read_at($handle, $at, 1); write_at($handle, $at, $byte // chr(ord($was) ^ 1)); return $was }

for my $page (512, 4096, 65536) {
    my $name = "p$page";
    sql($name, "pragma page_size = $page", 'pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table t (i, b)',
        map { "insert into t values ($_, randomblob(3000))" } 1 .. 5);
    my $wal = opened("$name-wal");
    my $header = wal_header($wal);
    is($header->{page}, $page, "page size $page in the header");
    my $frames = ((-s $wal) - 32) / $header->{frame};
    is($frames, int $frames, 'the frames fill the file');
    is(valid_frames($wal, $header, 0), $frames, 'all of them are valid');
    my $shm = shm_header(opened("$name-shm"));
    is($shm->{frames}, $frames, 'as many as in the wal-index');
    is($shm->{salts}, $header->{salts}, 'with the same salts');

    # The last frame of a transaction is cut off: the valid frames end with the commit before it.
    truncate $wal, (-s $wal) - 1;
    my $fewer = valid_frames($wal, $header, 0);
    cmp_ok($fewer, '<', $frames, 'a truncated frame does not count');
    cmp_ok($fewer, '>', 0, 'the commits before it do');

    # One bit anywhere in a frame ends the walk before it.
    for my $at (0, 4, 8, 16, 24, 24 + $page - 1) {
        my $place = 32 + $at;
        my $was = with_byte($wal, $place);
        is(valid_frames($wal, $header, 0), 0, "a bit in byte $at of the first frame");
        with_byte($wal, $place, $was);
    }
    is(valid_frames($wal, $header, 0), $fewer, 'restored, the frames are valid again');
}

# From the middle, with the running checksum of the frame before.
{
    my $wal = opened('p512-wal');
    my $header = wal_header($wal);
    my $all = valid_frames($wal, $header, 0);
    for my $from (1 .. $all) {
        is(valid_frames($wal, $header, $from, unpack 'N2', sums_of($wal, $header, $from)) || $from, $all, "from frame $from") if $from % 7 == 1 || $from == $all;
    }
    isnt(valid_frames($wal, $header, 2, 1, 2), $all, 'another checksum is rejected');
}

# Invalid headers.
{
    open my $wal, '+>', "$folder/none" or die;
    is(wal_header($wal), undef, 'an empty file');
    write_at($wal, 0, "\0" x 32);
    is(wal_header($wal), undef, 'zeros');
    my $good = read_at(opened('p4096-wal'), 0, 32);
    write_at($wal, 0, substr $good, 0, 31);
    truncate $wal, 31;
    is(wal_header($wal), undef, 'a truncated header');
    for my $page (0, 256, 1000, 131072) {
        write_at($wal, 0, substr($good, 0, 8) . pack('N', $page) . substr $good, 12);
        is(wal_header($wal), undef, "a page size of $page");
    }
    is(shm_header($wal), undef, 'a -shm that is too short');
}

# A checksum as documented by SQLite, in both byte orders, with an overflow.
for my $big (0, 1) {
    my $words = $big ? 'N*' : 'V*';
    is_deeply([ checksum($big, pack($words, 1, 2, 3, 4), 0, 0) ], [ 7, 14 ], "a checksum by hand, in $words");
    is_deeply([ checksum($big, pack($words, 0xffffffff, 0xffffffff), 1, 1) ], [ 1, 1 ], 'sums wrap at 32 bits');
    # As the documentation words it, word by word.
    for my $data (map { my $many = $_; pack 'N*', map { rand() < 0.2 ? 0xffffffff : int rand 2**32 } 1 .. 2 * $many } 1, 2, 7, 513) {
        my @sums = (int rand 2**32, 0xffffffff);
        my ($s0, $s1) = @sums;
        my @x = unpack $words, $data;
        while (my ($first, $second) = splice @x, 0, 2) { $s0 = ($s0 + $first + $s1) % 2**32; $s1 = ($s1 + $second + $s0) % 2**32 }
        is_deeply([ checksum($big, $data, @sums) ], [ $s0, $s1 ], length($data) . " random bytes, in $words");
    }
}

# Writing the frames into the main file gives the same bytes as SQLite's own checkpoint.
{
    sql('c', 'pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table t (i, b)', 'insert into t values (1, zeroblob(30000))',
        'delete from t', 'vacuum', 'insert into t values (2, randomblob(9000))');
    system 'cp', "$folder/c", "$folder/ours";
    my ($wal, $main) = map { opened($_) } 'c-wal', 'ours';
    my $header = wal_header($wal);
    apply_frames($wal, $header, valid_frames($wal, $header, 0), $main);
    sql('c', 'pragma wal_checkpoint(truncate)');
    my ($ours, $theirs) = map { my $h = opened($_); read_at($h, 0, -s $h) } 'ours', 'c';
    ok($ours eq $theirs, 'apply_frames writes the same bytes as a checkpoint');
}
done_testing();
