# A mark is read again as it was made; anything else in its place is no mark.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use Copier;
use CopierState;

my $folder = tempdir(CLEANUP => 1);
CopierState::put("$folder/file", 'x');
open my $file, '+<', "$folder/file" or die $!;
my $is = fstat_ns($file);
plan skip_all => 'no attributes in ' . $folder unless LsyncdAsCode::System::set_attribute($file, 'user.lsyncd-as-code', 'x');

my $now = now_ns();
my $other = 500_000_000_000_000_001;
my %source = (ino => 77, size => 24576);
my $frames = { frames => 12, complete => 0, header => { salts => "\0\1\2\3\n \xff\0" }, sums => "12345678" };
my $none   = { frames => 0, complete => 1 };
for (
    [ 'the time of the mirror',      { %source, mtime => $is->{mtime} }, $now + 1_000_000_000_000, $none,   $is->{mtime} ],
    [ 'another time',                { %source, mtime => $other },     $now,        $none,   $other ],
    [ 'a time after 2262',         { %source, mtime => 9_300_000_000_000_000_000 }, $now, $none, 9_300_000_000_000_000_000 ],
    [ 'a time before 1970',          { %source, mtime => -5 },           $now,        $none,   -5 ],
    [ 'a time that hides a write',   { %source, mtime => $now - 1 },     $now,        $none,   0 ],
    [ 'frames',                      { %source, mtime => $is->{mtime} }, $now + 1_000_000_000_000, $frames, $is->{mtime} ],
    [ 'frames with another time',    { %source, mtime => $other },         $now,        $frames, $other ],
) {
    my ($what, $from, $at, $wal, $time) = @$_;
    for my $run ('1764520000.4194304.0a1b2c3d', '1764520000.123', '0.1.0a1b2c3d', undef) {
        set_mark($file, mark_of($is, $from, $at, $wal, $run));
        is_deeply(
            read_mark($file, $run // 'x'),
            {
                ino => 77, size => 24576, mtime => $time, frames => $wal->{frames}, complete => $wal->{complete}, known => defined $run ? 1 : 0,
                generation => $wal->{frames} ? unpack('H*', $wal->{header}{salts}) : '-', sums => $wal->{frames} ? unpack('H*', $wal->{sums}) : '-',
            },
            $what . (defined $run ? ", run $run" : ', in an unknown run'),
        );
    }
}

# A file system that has such times.
my $late = { %$is, mtime => 9_300_000_000_000_000_000 };
my ($ino, $mtime, $mark) = LsyncdAsCode::Mark::parsed(mark_of($late, { %source, mtime => $late->{mtime} }, $now, $none, 'x'));
is("$mtime $mark->{mtime}", "$late->{mtime} $late->{mtime}", 'a time after 2262');

my $old = "2 $is->{ino} $is->{mtime} 77 123456789 24576 12 0001020304050607 3132333435363738 0 1764520000.123";
set_mark($file, $old);
is_deeply(
    read_mark($file, '1764520000.123'),
    { ino => 77, size => 24576, mtime => 123456789, frames => 12, complete => 0, known => 1, generation => '0001020304050607', sums => '3132333435363738' },
    'one of an earlier version',
);

# Of another file, or of this one before somebody else wrote it.
for my $wrong ({ %$is, ino => $is->{ino} + 1 }, { %$is, mtime => $is->{mtime} - 1 }) {
    set_mark($file, mark_of($wrong, { %source, mtime => $other }, $now, $none, 'x'));
    is(read_mark($file, 'x'), undef, 'one of another file');
}

my $seed = $ENV{SEED} // int rand 1e9;
diag("seed $seed");
srand $seed;
my ($died, $taken) = (0, 0);
for (1 .. 5000) {
    my $text = rand() < 0.5 ? mark_of($is, { %source, mtime => $other }, $now, $frames, 'run') : $old;
    if (rand() < 0.5) { $text = substr $text, 0, int rand length $text }
    else { substr($text, int rand length $text, 1) = chr int rand 256 for 1 .. 1 + rand 4 }
    set_mark($file, $text);
    local $SIG{__WARN__} = sub { $died++ };
    eval { my $mark = read_mark($file, 'run'); $taken++ if $mark && grep { !defined $mark->{$_} || ref $mark->{$_} } qw(ino mtime size frames generation sums complete known); 1 } or $died++;
}
is($died, 0, 'a mark that was changed by others is no error');
is($taken, 0, 'and never lacks a part');
set_mark($file, '');
is(read_mark($file, 'x'), undef, 'none');

done_testing;
