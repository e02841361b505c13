use strict;
use warnings;
use Test::More;
use Fcntl qw(O_DIRECTORY O_RDONLY);
use File::Temp ();
use POSIX ();
use LsyncdAsCode::Gate ();
use LsyncdAsCode::Gate::Age ();
use LsyncdAsCode::Gate::Ask ();
use LsyncdAsCode::Gate::Generation ();
use LsyncdAsCode::Gate::Delete ();
use LsyncdAsCode::Gate::Grants ();
use LsyncdAsCode::Gate::Kept ();
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Gate::Permit ();
use LsyncdAsCode::Gate::Restore ();
use LsyncdAsCode::System ();
use LsyncdAsCode::Gate::Tally ();

# The default limits: 100 entries or 20 percent, whichever is more, within ten minutes.
sub judge {
    my %given = (known => 500, pending => 0, @_);
    return LsyncdAsCode::Gate::judge(
        now => 10_000, past => [], limit => 100, share => 20, removed => 0, added => 0, full => 0, new_full => 0,
        emptied => 0, refilled => 0, files => 50, bytes => 1 << 30, altered => 0, databases => 0, total => sub { return $given{known} // 1000 }, lost_together => sub { return undef }, %given,
    );
}
sub held { return judge(@_)->{would} // '' }

is(held(removed => 100), '', '100 of 500 are deleted');
is(held(removed => 101), '101 of its 500 files and directories would have been deleted within ten minutes', '101 of 500 are held');
is(held(known => 5000, removed => 1000), '', 'a fifth of 5000 is deleted');
isnt(held(known => 5000, removed => 1001), '', 'one more than a fifth is held');
is(held(known => 5000, removed => 4000, added => 3500), '', 'a renamed file does not count');
isnt(held(known => 450, past => [ [ 9500, 500, 0, 0 ] ], removed => 60), '', 'earlier deletions within ten minutes count as well');
is(held(known => 450, past => [ [ 9300, 500, 0, 0 ], [ 9390, 450, 0, 0 ] ], removed => 60), '', 'older deletions do not');
is(held(known => 450, past => [ [ 9500, 900, 0, 0 ] ]), '', 'a pass without deletions is not held because of earlier passes');

like(held(emptied => 101), qr/\A101 of its 500 .* deleted or emptied/, 'emptied and deleted files are added up');
isnt(held(past => [ [ 9900, 500, 60, 0 ] ], emptied => 50, removed => 60), '', 'over several passes, too');
is(held(past => [ [ 9000, 500, 0, 0 ], [ 9900, 500, 60, 0 ] ], emptied => 60, refilled => 60), '', 'a file that is filled again is not lost');
isnt(held(past => [ [ 9000, 500, 0, 0 ], [ 9900, 500, 60, 0 ] ], emptied => 60), '', 'two passes that empty files are added up');

# 300 files with content that go, while as many or more empty ones come.
my %nothing = (known => 305, removed => 300, full => 300);
like(held(%nothing, added => $_), qr/\A300 of its 305 .* deleted, emptied or replaced by empty ones/, "$_ empty files replace no content") for 300, 1200;
is(held(%nothing, added => 300, new_full => 300), '', 'files with content do');
is(held(known => 605, removed => 350, full => 50, added => 300), '', 'empty files may be moved while others go');
is(held(known => 305, removed => 1, full => 1, added => 900), '', 'one file may go while many directories come');
isnt(held(known => 305, past => [ [ 9900, 305, 0, 60 ], [ 9950, 305, 0, 120 ] ], removed => 90, full => 90, added => 90), '', 'two passes are added up');
# A job with an empty lock file: one pass for each of its steps. Returns after how many steps it is held, 0 for never.
sub job {
    my ($known, $passes, @steps) = @_;
    my $past = [];
    for my $pass (1 .. $passes) {
        my %change  = %{ $steps[ $pass % @steps ] };
        my $verdict = judge(known => $known, past => $past, files => 1, bytes => 1 << 20, %change);
        return $pass if $verdict->{would};
        $past = $verdict->{memory};
        $known += ($change{added} // 0) - ($change{removed} // 0);
    }
    return 0;
}
my ($locks, $unlocks) = ({ removed => 1, full => 1, added => 1 }, { removed => 1 });
is(job(6, 300, $unlocks, { added => 1, new_full => 1 }, $locks), 0, 'a file that is deleted and written again is not lost');
is(job(6, 300, { added => 1, new_full => 1, removed => 1 }, $locks), 0, 'nor if that is the same pass');
is(job(6, 300, { added => 1, new_full => 1 }, $locks), 0, 'nor if the empty file stays');
is(job(300, 200, $unlocks, $locks), 0, 'a file that is deleted counts once');
isnt(job(300, 204, $unlocks, $locks), 0, 'and counts');

is(held(known => 20, removed => 15), '', 'three quarters of a small mirror are deleted');
like(held(known => 20, removed => 16), qr/\Anearly all of it, 16 of its 20/, 'four fifths are held');
is(held(known => 1, removed => 1, files => 1, bytes => 100), '', 'one small file is deleted');
isnt(held(known => 1, removed => 1, files => 1, bytes => 1 << 20), '', 'one large file is held');
is(held(known => 1, removed => 1, files => 0, bytes => 0), '', 'an entry without content is not a loss');
isnt(held(known => 400, removed => 380, limit => 1_000_000), '', 'nearly everything is held at any limit');
isnt(held(known => 10, past => [ [ 9900, 20, 0, 0 ] ], removed => 6), '', 'in several passes as well');

isnt(held(known => 10, past => [ [ 9900, 20, 0, 0 ] ], removed => 6, pending => 10, total => sub { 20 }), '', 'also if the worker has yet to delete what was allowed');
isnt(held(known => undef, past => [ [ 9800, 20, 0, 0 ], [ 9900, 10, 0, 0 ] ], removed => 6, pending => 10, total => sub { 20 }), '', 'and without a number of entries');

is(held(altered => 100, known => 150), '', '100 altered files pass');
like(held(altered => 101, known => 150), qr/\A101 of its 150 files would have been rewritten/, '101 of 150 are held');
like(held(altered => 162, known => 160), qr/\A162 of its 162 files/, 'some of those altered are gone again: no more of them than there were');
is(held(altered => 101, known => 500), '', 'less than half of all files pass');
is(held(altered => 101, known => undef), '', 'on a file system that does not count its files, too');

is(held(databases => 3, lost_together => sub { 'all 3 databases of a' }), 'all 3 databases of a would have been lost (deleted, emptied or made unrecognisable)',
    'databases lost together are held');

is_deeply(judge(known => undef, past => [ [ 9990, 7, 0, 0 ] ], removed => 9, files => 0, bytes => 0)->{memory}, [ [ 9990, 7, 0, 0 ], [ 10_000, -2, 0, -9 ] ],
    'on a file system that does not count its files, the differences are stored, also below zero');
{
    # Each pass starts from the record of the previous one.
    my $file = File::Temp->new;
    my @passes = map {
        my $pass = judge(known => undef, past => [ LsyncdAsCode::Gate::past("$file", 10_000) ], removed => 30);
        LsyncdAsCode::Gate::replace("$file", join '', map { "@$_\n" } @{ $pass->{memory} }) if $pass->{memory};
        $pass->{would} // '';
    } 1 .. 4;
    is_deeply(\@passes, [ '', '', '', '120 of its files and directories would have been deleted within ten minutes' ],
        'and small deletions are added up');
}
is(scalar @{ judge(known => 5, past => [ [ 10_000, 5, 0, 0 ] ])->{memory} }, 1, 'one line per second is stored');

# The record of altered files, and a clock that was set back since.
{
    my $file = File::Temp->new;
    LsyncdAsCode::Gate::replace("$file", pack '(NN)*', 1 => 9500, 2 => 13_000, 3 => 9300);
    is_deeply({ LsyncdAsCode::Gate::altered("$file", 10_000) }, { 1 => 9500, 2 => 10_000 }, 'a time in the future counts as now');
}

# Names.
my @stems = ([ 'a/b.eml.locked', 'a/b.eml' ], [ 'a/b.locked', 'a/b' ], [ 'a.d/b', undef ], [ 'a/.hidden', undef ], [ 'b.eml', 'b' ]);
is(LsyncdAsCode::Gate::Tally::stem($_->[0]), $_->[1], "the stem of $_->[0]") for @stems;
isnt(LsyncdAsCode::Gate::hash('a'), LsyncdAsCode::Gate::hash('b'), 'hashes differ');

# Permissions.
my $tally = { removed => 200, emptied => 0, altered => [] };
my $name = LsyncdAsCode::Gate::Permit::name(5, $tally);
is($name, 'held 5 lost 200 altered 0', 'a permission names the held deletions');
my $permit = { at => 5, lost => 200, altered => 0 };
ok(LsyncdAsCode::Gate::Permit::covers($permit, $tally), 'it covers them');
ok(LsyncdAsCode::Gate::Permit::covers($permit, { %$tally, removed => 220 }), 'and a tenth more');
ok(!LsyncdAsCode::Gate::Permit::covers($permit, { %$tally, removed => 221 }), 'but not more');
ok(!LsyncdAsCode::Gate::Permit::covers($permit, { %$tally, altered => [ 1 .. 11 ] }), 'nor another kind of loss');
ok(LsyncdAsCode::Gate::Permit::covers({}, { %$tally, removed => 1e6 }), 'an empty permission covers a whole pass');
{
    my $allow = File::Temp->new;
    my $valid = sub {
        my ($ahead) = @_;
        open my $file, '>', "$allow" or die; close $file;
        utime time + $ahead, time + $ahead, "$allow";
        return LsyncdAsCode::Gate::Permit::read("$allow", time) ? 1 : 0;
    };
    is($valid->(-86_300), 1, 'a permission is valid for a day');
    is($valid->(-86_500), 0, 'and no longer');
    is($valid->(10), 1, 'a clock that is corrected by seconds does not end it');
    is($valid->($_), 0, "one of a clock that was $_ s ahead is not valid") for 3600, 2 * 86_400, 10 * 365 * 86_400;
    ok(!-e "$allow", 'and goes');
}

# Generations.
is(LsyncdAsCode::Gate::Generation::refuses(undef, undef), undef, 'no generation anywhere: a first pass');
is(LsyncdAsCode::Gate::Generation::refuses(7, undef), undef, 'a new mirror');
is(LsyncdAsCode::Gate::Generation::refuses(7, 7), undef, 'equal generations');
is(LsyncdAsCode::Gate::Generation::refuses(8, 7), undef, 'a source that is ahead');
like(LsyncdAsCode::Gate::Generation::refuses(6, 7), qr/older than its mirror/, 'a source that is behind');
like(LsyncdAsCode::Gate::Generation::refuses(undef, 7), qr/has no generation/, 'a source without a generation');

# Deletions that were granted to the worker count until it has carried them out.
{
    my ($source, $target) = map { File::Temp::tempdir(CLEANUP => 1) } 1 .. 2;
    my @volumes = map { LsyncdAsCode::Gate::Volume->new($_) } $source, $target;
    for my $name ("$target/a", "$target/a-wal", "$target/b", "$target/c", "$target/d", "$source/c") { open my $file, '>', $name or die; close $file }
    my $grants = "$source/.grants";
    LsyncdAsCode::Gate::Grants::grant($grants, $volumes[1], [qw(a b c)], 0);
    my $pending = sub { return LsyncdAsCode::Gate::Grants::pending($grants, @volumes, $_[0], $_[1] // []) };
    is($pending->(time), 3, 'what is granted, with its -wal, but not what has come back');
    is($pending->(time, ['a']), 1, 'not what this pass counts itself');
    unlink "$source/c" or die;
    is($pending->(time), 3, 'nor what was back once');
    my $allows = sub { return LsyncdAsCode::Gate::Grants::allows($grants, $_[0], "$target/$_[0]") };
    ok(!$allows->('c'), 'the grant of a database that has come back has ended: its next deletion is counted');
    ok($allows->('a'), 'the others are valid');
    ok(!$allows->('d'), 'nothing else is granted');
    unlink "$target/b" or die;
    is($pending->(time), 2, 'nor what is gone');
    is($pending->(time + 3700), 0, 'nor what was granted long ago');
}

# The worker asks for days, while passes replace the grants. An ext4 gives the new file the inode number of the one before the last.
{
    my ($folder, $root) = (File::Temp::tempdir(CLEANUP => 1), File::Temp::tempdir(DIR => -d '/dev/shm' ? '/dev/shm' : undef, CLEANUP => 1));
    my ($file, $volume) = ("$folder/grants", LsyncdAsCode::Gate::Volume->new($root));
    my $has = sub { for (@_) { open my $made, '>', "$root/$_" or die; close $made } return @_ };
    my $grant = sub { my ($fresh, @units) = @_; LsyncdAsCode::Gate::Grants::grant($file, $volume, \@units, $fresh); return };
    my $refused = sub { return scalar grep { !LsyncdAsCode::Gate::Grants::allows($file, $_, "$root/$_") } @_ };
    my $wrong = 0;
    for my $passes (map { ($_) x 10 } 0 .. 4) {
        my @some = $has->(map { "a$_" } 1 .. 3);
        $grant->(1, @some);
        $wrong += $refused->(@some);
        unlink map { "$root/$_" } @some;
        $grant->(1) for 1 .. $passes;
        my @more = $has->(map { "b$_" } 1 .. 10);
        $grant->(0, @more);
        $wrong += $refused->(@more);
        unlink map { "$root/$_" } @more;
    }
    is($wrong, 0, 'no granted deletion is refused, however many passes came between two of them');

    # The worker's other processes ask as well, and each has its own place in the file.
    $grant->(1, $has->('first'));
    $refused->('first');
    $grant->(0, $has->('second'));
    my $place = sub {
        my ($fd) = grep { (readlink("/proc/self/fd/$_") // '') eq $file } 3 .. 99;
        open my $info, '<', "/proc/self/fdinfo/$fd" or die;
        return readline $info;
    };
    my $before = $place->();
    my $child = fork // die;
    if (!$child) { POSIX::_exit($refused->('second')) }
    waitpid $child, 0;
    is($?, 0, 'another process of the worker is not refused');
    is($place->(), $before, 'and does not move the place of this one');

    # Databases that come and go all the time, and some that stay.
    $grant->(1);
    my @stay = $has->(map { "stays$_" } 1 .. 20);
    $grant->(0, @stay);
    my $largest = 0;
    for my $number (1 .. 6000) {
        my ($gone) = $has->("user-$number.sqlite");
        $grant->(0, $gone);
        unlink "$root/$gone";
        $largest = -s $file if -s $file > $largest;
    }
    cmp_ok($largest, '<', 150_000, 'grants that were carried out are dropped');
    is($refused->(@stay), 0, 'those that were not stay');
    is($refused->($has->('user-1.sqlite')), 1, 'and none is valid again');

    # Many at once that are not carried out yet: one more does not write them all again.
    my @many = $has->(map { "many-$_.sqlite" } 1 .. 3000);
    $grant->(1, @many);
    my $inode = (stat $file)[1];
    $grant->(0, $has->("one-$_.sqlite")) for 1 .. 20;
    is((stat $file)[1], $inode, 'one more grant is appended');
    is($refused->(@many, map { "one-$_.sqlite" } 1 .. 20), 0, 'and all are valid');
}

# Kept deleted files.
my $root = File::Temp::tempdir(CLEANUP => 1);
my $kept = LsyncdAsCode::Gate::Kept->new($root, 2);
my $target = LsyncdAsCode::Gate::Volume->new($root);
mkdir "$root/d" or die;
for my $name ('d/a', 'b') { open my $file, '>', "$root/$name" or die; print {$file} $name; close $file }
ok($kept->take($target, 'd', 2) && $kept->take($target, 'b', 1), 'two entries are kept');
is($kept->count, 4, 'and counted, with the directory created for them');
my ($hour) = $kept->hours;
ok(-f "$root/.lsyncd-as-code/deleted/$hour/d/a" && !-e "$root/d", 'below their paths');
rename "$root/.lsyncd-as-code/deleted/$hour", "$root/.lsyncd-as-code/deleted/2020-01-01T00" or die;
open my $file, '>', "$root/b" or die; close $file;
$kept->take($target, 'b', 1);
{
    open my $quiet, '>&', \*STDERR or die;
    close STDERR; my $said = ''; open STDERR, '>', \$said or die;
    is($kept->make_room, '2020-01-01T00', 'without room the oldest is deleted first');
    open STDERR, '>&', $quiet or die;
    like($said, qr/\Arsync: the target is full: .* 2020-01-01T00/, 'and the monitor can read this');
}
is($kept->count, 2, 'it is no longer counted');
is($kept->purge, 0, 'a recent entry is kept');

# A container boots while its host, whose boot_id a unit can read in it, goes on.
sub boot_name {
    open my $answer, '-|', @_, $^X, (map { "-I$_" } @INC), '-MLsyncdAsCode::Gate::Age', '-e', 'print LsyncdAsCode::Gate::Age::boot()' or die;
    return readline($answer);
}
my $of_host = LsyncdAsCode::Gate::Age::boot();
is(boot_name(), $of_host, 'one boot has one name');
my @container = qw(unshare --pid --fork --mount-proc);
my $of_container = boot_name(@container);
ok($of_container =~ /\A[0-9a-f-]{36}\.\d+\z/ && $of_container ne $of_host, 'a container has its own');
select undef, undef, undef, 0.02;
isnt(boot_name(@container), $of_container, 'and after its boot another');

# Only the time for which the host is up counts, and no clock.
my ($up, $boot) = (LsyncdAsCode::Gate::Age::uptime(), 'first');
no warnings 'redefine';
local *LsyncdAsCode::Gate::Age::uptime = sub { return $up };
local *LsyncdAsCode::Gate::Age::boot   = sub { return $boot };
sub purged { my ($hours) = @_; $up += $hours * 3600; return LsyncdAsCode::Gate::Kept->new($root, 2)->purge }
sub at_hour {
    my ($hour, $name) = @_;
    local *LsyncdAsCode::Gate::Kept::hour_of = sub { return $hour };
    open my $file, '>', "$root/$name" or die; close $file;
    my $kept = LsyncdAsCode::Gate::Kept->new($root, 2);
    $kept->take($target, $name, 1);
    $kept->save;
    return;
}
my $place = "$root/.lsyncd-as-code/deleted";
is(purged(0), 0, 'entries without a record begin now');
at_hour('1970-01-01T00', 'c');
at_hour('2046-01-01T00', 'd');
is(purged(47), 0, 'an entry that a clock far behind has named is kept for its days');
at_hour('1970-01-01T00', 'e');
is(join(' ', LsyncdAsCode::Gate::Kept->new($root, 2)->hours), "$hour 2046-01-01T00 1970-01-01T00", 'the order is that of their age, not of their names');
is(purged(3), 2, 'what is over its days is deleted, also if a clock far ahead has named it');
ok(-e "$place/1970-01-01T00/e", 'what was added since is not');
$boot = 'second'; $up = 1e6;
is(purged(0), 0, 'the time of another boot, or another host, does not count');
is(purged(46), 1, 'but what it was kept for in an earlier one does');
at_hour('2020-01-01T00', 'f');
unlink "$root/.lsyncd-as-code/deleted.ages" or die;
is(purged(1000), 0, 'without a record nothing is deleted');
is(purged(50), 1, 'until its days have passed again');
is(LsyncdAsCode::Gate::Kept->new($root, 2)->make_room, undef, 'then nothing is left to delete');
at_hour('2020-01-01T00', 'f');
is(LsyncdAsCode::Gate::Kept->new($root, 0)->purge, 1, 'nothing is kept for no days');

# Entries that the application's user makes in its directories of the mirror are moved with them.
sub nested {
    my ($top, $many) = @_;
    my $pid = fork // die;
    if (!$pid) {
        chdir $top or POSIX::_exit(1);
        for (1 .. $many) { mkdir 'd' and chdir 'd' or POSIX::_exit(1) }
        open my $file, '>', 'file' or POSIX::_exit(1);
        POSIX::_exit(0);
    }
    waitpid $pid, 0;
    return $? == 0;
}
# Runs in a process with few open files; returns whether it succeeded, in time and without a warning.
sub with_few_files {
    my ($test) = @_;
    my $pid = fork // die;
    if (!$pid) {
        # setrlimit(2): RLIMIT_NOFILE is 7, and the number of prlimit64 is that of this machine.
        my ($number, $limit) = ({ x86_64 => 302, aarch64 => 261 }->{ (POSIX::uname())[4] }, pack 'Q2', 64, 64);
        syscall($number, 0, 7, $limit, 0) == 0 or POSIX::_exit(3);
        alarm 60;
        local $SIG{__WARN__} = sub { syswrite STDOUT, "# @_"; POSIX::_exit(2) };
        POSIX::_exit(eval { $test->() } ? 0 : 1);
    }
    waitpid $pid, 0;
    return $? == 0;
}
sub dropped { my ($how) = @_; return with_few_files(sub { return $how->(LsyncdAsCode::Gate::Kept->new($root, 2)) }) }
my $silent = sub {
    my ($kept) = @_;
    open STDERR, '>', '/dev/null' or die;
    my $many = 0;
    while (defined $kept->make_room) { return 0 if ++$many > 5 }
    return $many;
};
for my $how ([ 'by its days', sub { $up += 50 * 3600; return LsyncdAsCode::Gate::Kept->new($root, 2)->purge } ], [ 'for room', $silent ]) {
    my ($name, $drop) = @$how;
    mkdir "$root/dir" or die;
    mkdir "$root/dir/.lsyncd-rsync.private" or die;
    for ('.lsyncd-rsync.file', '.lsyncd-rsync.private/file') { open my $file, '>', "$root/dir/$_" or die; close $file }
    nested("$root/dir", 300) or die;
    my $kept = LsyncdAsCode::Gate::Kept->new($root, 2);
    $kept->take($target, 'dir', 3);
    $kept->save;
    purged(0);
    ok(dropped($drop), "what is kept is deleted $name, also with the copier's names and nested directories in it");
    is_deeply([ glob "$place/*" ], [], 'whole');
}
# A process that was in a directory makes a new file in it, whenever one is deleted.
{
    at_hour('2020-01-01T00', 'f');
    at_hour('2020-01-01T01', 'g');
    purged(0);
    my $remove = \&LsyncdAsCode::Gate::Delete::remove;
    my $many = 0;
    local *LsyncdAsCode::Gate::Delete::remove = sub { $remove->(@_); if ($_[0] =~ m{/f[0-9]*\z}) { open my $file, '>', "$place/2020-01-01T00/f" . ++$many or die; close $file } return };
    my $kept = LsyncdAsCode::Gate::Kept->new($root, 2);
    open my $errors, '>&', \*STDERR or die;
    open STDERR, '>', '/dev/null' or die;
    is($kept->make_room, '2020-01-01T01', 'the next hour is deleted then');
    is($kept->make_room, undef, 'and the first one is not tried for ever');
    open STDERR, '>&', $errors or die;
    is($many, 1, 'but once');
}
{
    my ($source, $mirror) = map { File::Temp::tempdir(CLEANUP => 1) } 1 .. 2;
    mkdir("$mirror/top") && nested("$mirror/top", 300) or die;
    my @volumes = map { LsyncdAsCode::Gate::Volume->new($_) } $source, $mirror;
    ok(with_few_files(sub { return !LsyncdAsCode::Gate::Delete::all(@volumes, [ { path => 'top', entries => 302 } ]) }), 'nested directories are deleted from the mirror');
    ok(!-e "$mirror/top", 'all of them');
}
# A subvolume in the mirror: nothing can be renamed from there to the kept files (EXDEV). A tmpfs stands for it.
{
    my ($source, $mirror) = map { File::Temp::tempdir(CLEANUP => 1) } 1 .. 2;
    mkdir "$mirror/sub" or die;
    system('mount', '-t', 'tmpfs', '-o', 'size=40M', 'sub', "$mirror/sub") == 0 or die 'cannot mount';
    my $fill = sub {
        system('bash', '-ec', q{cd "$0/sub"; mkdir -p dir/deep; echo text >file; echo more >dir/deep/one; ln -s ../file dir/link; mkfifo dir/fifo
            truncate -s 20M dir/sparse; chown 12:34 file dir/deep; chmod 640 file; chmod 750 dir/deep; find . -depth -mindepth 1 -exec touch -d '2020-01-02 03:04:05.678' {} +}, $mirror) == 0 or die;
    };
    my $list = sub { my ($top) = @_; return join '', sort map { s/$top//r } `find $top -mindepth 1 \\( -type f -printf '%s ' -o -type d \\) -printf '%m %U:%G %T\@ $top/%P\n'` };
    $fill->();
    my $before = $list->("$mirror/sub");
    my @volumes = map { LsyncdAsCode::Gate::Volume->new($_) } $source, $mirror;
    my $said = '';
    my $delete = sub {
        local $SIG{__WARN__} = sub { $said .= "@_" };
        $said = '';
        my $kept = LsyncdAsCode::Gate::Kept->new($mirror, 2);
        my @left = LsyncdAsCode::Gate::Delete::all(@volumes, [ { path => 'sub/dir', entries => 6 }, { path => 'sub/file', entries => 1 } ], kept => $kept);
        $kept->save;
        return join ' ', @left, '';
    };
    is($delete->() . $said, '', 'what is in a subvolume is deleted from the mirror');
    is_deeply([ glob "$mirror/sub/*" ], [], 'all of it');
    my ($hour) = glob "$mirror/.lsyncd-as-code/deleted/*";
    is($list->("$hour/sub"), $before, 'and kept, with owners, modes and times');
    is(readlink "$hour/sub/dir/link", '../file', 'links, too');
    cmp_ok((stat "$hour/sub/dir/sparse")[12], '<', 1000, 'holes stay holes');
    # Without room for a copy.
    $fill->();
    my $space = \&LsyncdAsCode::System::space;
    {
        no warnings 'redefine';
        local *LsyncdAsCode::Gate::Restore::space = sub { my ($all) = $space->(@_); return ($all, $all * 0.05) };
        is($delete->(), 'sub/dir sub/file ', 'without room for a copy it stays');
        like($said, qr{\Acannot delete sub/dir from the mirror: it is on another file system than the kept files, and cannot be copied there: .* less than 5 percent of the file system free\n}, 'which is reported');
    }
    is($list->("$mirror/sub"), $before, 'as it was');
    is($list->("$hour/sub"), $before, 'and what is kept stays kept');
    is_deeply([ map { s{.*/}{}r } glob "$hour.2/sub/*" ], [], 'no part of a copy is left');
    # A file that comes while it is copied.
    {
        no warnings 'redefine';
        my $copy = \&LsyncdAsCode::Gate::Restore::copy;
        local *LsyncdAsCode::Gate::Restore::copy = sub { my @done = $copy->(@_); if ($_[2] eq 'dir') { open my $file, '>', "$mirror/sub/dir/deep/new" or die } return @done };
        is($delete->(), 'sub/dir ', 'an entry that comes meanwhile is not deleted uncounted');
    }
    like($said, qr/more was added/, 'which is reported');
    # A database, by the worker.
    for ('', '-wal') { open my $file, '>', "$mirror/sub/a.sqlite$_" or die; print {$file} "db$_" }
    LsyncdAsCode::Gate::Grants::grant("$source/grants", $volumes[1], ['sub/a.sqlite'], 0);
    is(LsyncdAsCode::Gate::Ask::delete_database($mirror, undef, 'sub/a.sqlite', "$source/grants", 2), 1, 'a database in a subvolume is deleted');
    is(join(' ', map { s{.*/}{}r } glob("$hour/sub/a*"), glob "$mirror/sub/a*"), 'a.sqlite a.sqlite-wal', 'and kept');
    @volumes = ();
    system 'umount', '-l', "$mirror/sub";
}
chmod 0755, "$root/.lsyncd-as-code";
ok(!eval { LsyncdAsCode::Gate::Kept->new($root, 2) } && $@ =~ /not for root alone/, 'a directory that others can enter is refused');

# A process that was in a deleted directory can still exchange its entries, at any moment while they are restored.
sub restored {
    my ($exchange) = @_;
    my ($from, $to) = map { File::Temp::tempdir(CLEANUP => 1) } 1 .. 2;
    mkdir "$from/d" or die;
    open my $file, '>', "$from/d/a" or die; close $file;
    chown 65534, 65534, "$from/d/a";
    my @handles = map { sysopen my $handle, $_, O_RDONLY | O_DIRECTORY or die; $handle } $from, $to;
    my $look = \&LsyncdAsCode::Gate::Restore::stat_ns;
    no warnings 'redefine';
    local *LsyncdAsCode::Gate::Restore::stat_ns = sub { my $is = $look->(@_); $exchange->($from, $to) if $_[0] =~ m{/a\z}; return $is };
    local $SIG{ALRM} = sub { die "it waits\n" };
    alarm 5;
    eval { LsyncdAsCode::Gate::Restore::restore(@handles, 'd'); 1 } or warn $@;
    alarm 0;
    return "$to/d/a";
}
{
    my $said = '';
    local $SIG{__WARN__} = sub { $said .= $_[0] };
    my $made = restored(sub { unlink "$_[0]/d/a"; POSIX::mkfifo("$_[0]/d/a", 0600) or die });
    ok(!-e $made, 'a FIFO is not restored');
    is($said, "d/a was replaced while it was restored\n", 'and nobody waits for it');
    $made = restored(sub { open my $other, '>', "$_[0]/x" or die; rename "$_[0]/x", "$_[0]/d/a" or die });
    is((stat $made)[4], $>, 'what is read and whose it is are of one file');
    $said = '';
    my $owned;
    # The new directory is exchanged for the one of somebody else.
    my $open = \&LsyncdAsCode::Gate::Restore::inside;
    no warnings 'redefine';
    local *LsyncdAsCode::Gate::Restore::inside = sub {
        my $path = (readlink LsyncdAsCode::System::fd_path($_[0])) . "/$_[1]";
        if (!-e "$path/a") { rmdir $path; mkdir $path; chown 65533, 65533, $path; $owned = $path }
        return $open->(@_);
    };
    restored(sub { });
    is((stat $owned)[4], 65533, 'the directory of somebody else keeps its owner');
    like($said, qr/was replaced while it was made/, 'and nothing is put into it');
}

# Beside a directory that has taken a database's place: a file with one of SQLite's suffixes is somebody's own.
# Beside a directory that has taken a database's place: a file with one of SQLite's suffixes is an ordinary file.
mkdir "$root/was.db";
for my $suffix (qw(-wal -journal)) { open my $file, '>', "$root/was.db$suffix" or die; print {$file} 'notes'; close $file }
ok(LsyncdAsCode::Gate::Ask::delete_database($root, undef, 'was.db', "$root/grants", 0), 'a directory is not a database');
ok(-f "$root/was.db-wal" && -f "$root/was.db-journal", 'nothing beside it is deleted without the gate');

done_testing();
