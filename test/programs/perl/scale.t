# The worker's effort for one database does not grow with the number of waiting ones: counted in syncs, bytes and checks, not in time.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use POSIX ();
use LsyncdAsCode::Batch  ();
use LsyncdAsCode::Call   ();
use LsyncdAsCode::Place  ();
use LsyncdAsCode::Run    ();
use LsyncdAsCode::State  ();
use LsyncdAsCode::Worker ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);

sub database { my ($name, $byte) = @_; CopierState::database("$source/$name", $byte); return $name }

# Counts in a file, because the worker's children count as well.
sub counted { my ($what) = @_; return -s "$folder/count.$what" // 0 }
sub count { my ($what) = @_; open my $file, '>>', "$folder/count.$what" or die $!; syswrite $file, '.'; close $file; return }
{
    no warnings 'redefine';
    my ($one, $all) = (\&LsyncdAsCode::System::fsync, \&LsyncdAsCode::System::sync_file_system);
    *LsyncdAsCode::System::fsync = sub { count('sync'); return $one->(@_) };
    *LsyncdAsCode::Batch::sync_file_system = sub { count('syncfs'); return $all->(@_) };
    my $unit = \&LsyncdAsCode::Place::sync_unit;
    *LsyncdAsCode::Place::sync_unit = sub { count('full'); return $unit->(@_) };
}

sub begin_worker {
    my @id = map { my $s = stat_ns("$_/."); "$s->{dev}:$s->{ino}" } $source, $target;
    CopierState::put("$folder/state/run", join "\0", $$, LsyncdAsCode::System::start_time($$), $source, $target, @id, 1, 1, 1);
    POSIX::mkfifo("$folder/state/wake", 0600);
    my $pid = fork // die "fork: $!";
    if (!$pid) { eval { LsyncdAsCode::Worker::work_on(); 1 } or print STDERR $@; POSIX::_exit(0) }
    return $pid;
}
sub arrived { return scalar grep { -e "$target/$_" } @_ }

# A pass: two syncs of the file system for a batch, and none of a single file.
my @many = map { database(sprintf('u%04d.sqlite', $_), 'a') } 1 .. 1000;
enqueue('queue.pass', 1, \@many);
waitpid begin_worker(), 0;
is(arrived(@many), 1000, 'a pass copies all');
is(counted('sync'), 0, 'without a sync for any of them');
cmp_ok(counted('syncfs'), '<=', 2 * 1000 / LsyncdAsCode::Worker::FIRST_BATCH, 'two syncs of the file system per batch');
is(counted('full'), 0, 'and the full procedure for none of them');

# Batches grow while they end quickly.
my $next = \&LsyncdAsCode::Worker::next_batch;
is($next->(@$_[ 0 .. 2 ]), $_->[3], "$_->[1] of $_->[0] databases in $_->[2] s, then $_->[3]") for (
    [ 200, 200, 0.1, 400 ], [ 400, 200, 0.1, 400 ], [ 400, 400, 0.7, 400 ], [ 800, 800, 1.2, 400 ], [ 400, 800, 1.2, 400 ], [ 800, 3, 0.1, 800 ],
    [ 200, 200, 9, 200 ], [ 1600, 1600, 0.1, 1600 ], [ 1600, 7, 3, 200 ],
);

is(LsyncdAsCode::Worker::this_batch(@$_[ 0, 1 ]), $_->[2], "$_->[2] of batches of $_->[0], when each process would get $_->[1]")
    for ([ 200, 1000, 200 ], [ 200, 334, 334 ], [ 200, 100, 200 ], [ 1600, 900, 900 ], [ 1600, 3000, 1600 ], [ 1600, 9000, 1600 ], [ 1600, 1, 200 ]);

# Changes: a round is also a batch; a few changes are synced one by one.
unlink glob "$folder/count.*";
enqueue('queue', 1, [ map { database($_, 'b') } @many[ 0 .. 199 ] ]);
waitpid begin_worker(), 0;
cmp_ok(counted('syncfs'), '<=', 4, 'a round of 200 changes needs at most four');
is(counted('sync'), 0, 'and no sync of a single file');
unlink glob "$folder/count.*";
enqueue('queue', 1, [ map { database($_, 'c') } @many[ 0 .. 2 ] ]);
waitpid begin_worker(), 0;
is(counted('syncfs'), 0, 'three changes do not wait for other writes on the volume');
cmp_ok(counted('sync'), '>', 0, 'they are synced');

# A change during a pass does not wait behind the pass: running batches are finished, and each process may have begun one more.
my $grows;
{
    no warnings 'redefine';
    *LsyncdAsCode::Worker::next_batch = sub { return $grows ? $next->(@_[ 0, 1 ], 0.1) : $_[0] };
    # How many processes copy at the same time.
    my $start = \&LsyncdAsCode::Worker::start_pass;
    *LsyncdAsCode::Worker::start_pass = sub { $start->(@_); count("at once.$_[0]{passes}"); return };
}
my @first = map { database(sprintf('p%05d.sqlite', $_), 'a') } 1 .. 4000;
enqueue('queue.pass', 1, \@first);
my $worker = begin_worker();
for (1 .. 2000) { last if arrived(@first[ 0 .. 199 ]) > 0; pause(0.01) }
my $before = arrived(@first);
enqueue('queue', 1, [ database('changed.sqlite', 'a') ]);
open my $wake, '+<', "$folder/state/wake" or die $!;
syswrite $wake, '.';
for (1 .. 4000) { last if -e "$target/changed.sqlite"; pause(0.005) }
my $between = arrived(@first) - $before;
my $at_once = LsyncdAsCode::Worker::passes_at_once();
cmp_ok($between, '<=', 3 * $at_once * LsyncdAsCode::Worker::FIRST_BATCH, "a change is copied while a pass waits ($between of 4000 came first)");
waitpid $worker, 0;
is(arrived(@first), 4000, 'and the pass is copied to its end');
ok(counted("at once.$at_once") && !counted('at once.' . ($at_once + 1)), "by $at_once processes at the same time");

# On this disk, batches are quick.
$grows = 1;
unlink glob "$folder/count.*";
my @more = map { database(sprintf('q%05d.sqlite', $_), 'a') } 1 .. 6000;
enqueue('queue.pass', 1, \@more);
waitpid begin_worker(), 0;
is(arrived(@more), 6000, 'a pass copies all');
cmp_ok(counted('syncfs'), '<', 6000 / LsyncdAsCode::Worker::FIRST_BATCH, 'with fewer syncs for each database than at its beginning');

# A change of a database that another process is copying, after that has read it.
{
    no warnings 'redefine';
    my ($copy, $one) = (\&LsyncdAsCode::Worker::copy_found, \&LsyncdAsCode::Worker::start);
    my $main;
    *LsyncdAsCode::Worker::start    = sub { $main = $$; return $one->(@_) };
    *LsyncdAsCode::Worker::copy_found = sub {
        my @results = $copy->(@_);
        if (defined $main && $$ != $main) { count('copied'); for (1 .. 400) { last if counted('changed'); pause(0.05) } }
        return @results;
    };
}
enqueue('queue.pass', 1, [ map { database($_, 'd') } @many[ 0 .. 9 ] ]);
$worker = begin_worker();
for (1 .. 2000) { last if counted('copied'); pause(0.01) }
ok(counted('copied'), 'another process is copying it');
enqueue('queue', 1, [ database($many[3], 'e') ]);
syswrite $wake, '.';
pause(0.1);
count('changed');
waitpid $worker, 0;
is_deeply([ map { LsyncdAsCode::State::slurp("$target/$_") =~ /(.)\z/s } @many[ 3, 4 ] ], [ 'e', 'd' ], 'is copied after it');

# A pass reads the disk from one end to the other.
my @names_in_order = sort map { database("o$_.sqlite", 'a') } reverse 10 .. 40;
# Whatever inodes the file system has given them, two have changed places.
rename "$source/o10.sqlite", "$source/swap" and rename "$source/o40.sqlite", "$source/o10.sqlite" and rename "$source/swap", "$source/o40.sqlite" or die $!;
my $inode = sub { return (lstat "$source/$_[0]")[1] };
is_deeply([ LsyncdAsCode::Call::in_order($source, @names_in_order) ], [ sort { $inode->($a) <=> $inode->($b) } @names_in_order ], 'a pass goes by the inodes');
isnt(join(' ', sort { $inode->($a) <=> $inode->($b) } @names_in_order), "@names_in_order", 'which is another order here');

# The queue: a hundred thousand wait.
my $file = "$folder/state/queue";
CopierState::put($file, '');
my @names = map { sprintf 'mail/user-%06d/database-of-a-customer.sqlite', $_ } 1 .. 100_000;
enqueue('queue', 1, \@names);
my ($read, $written) = (0, 0);
{
    no warnings 'redefine';
    my ($reader, $writer) = (\&LsyncdAsCode::System::read_at, \&LsyncdAsCode::System::write_at);
    *LsyncdAsCode::Queue::read_at  = sub { my $data = $reader->(@_); $read += length $data; return $data };
    *LsyncdAsCode::Queue::write_at = sub { $written += length $_[2]; return $writer->(@_) };
}
sub kilobytes { return LsyncdAsCode::State::slurp('/proc/self/status') =~ /^VmRSS:\s+(\d+)/m ? $1 : die }
my $kilobytes = kilobytes();
my $queue = open_queue('queue');
more($queue);
cmp_ok(kilobytes() - $kilobytes, '<', 8000, 'counting them keeps none in memory');
my $whole = $read;
for my $round (1 .. 3) {
    ($read, $written) = (0, 0);
    more($queue);
    my @taken = take($queue, 200);
    peek($queue, 1000);
    LsyncdAsCode::Queue::dead($queue, $_) for @taken;
    settle_dead($queue);
    ok(!defined compact($queue), "round $round: the file is not rewritten");
    cmp_ok($read, '<=', 3 << 16, "round $round: reads only the records it takes and lists ($read of $whole bytes)");
    cmp_ok($written, '<=', 200 * 60, "round $round: writes only the finished records ($written bytes)");
}

# Databases waiting for another try: finding the oldest checks only those.
my ($looks, $paths) = (0, 0);
my $waiting = LsyncdAsCode::Waiting->new(sub { $paths++; return $names[ $_[0] / 2 ] });
$waiting->defer($names[$_], 1.7e9 + $_ / 100, 2 * $_, 100 + $_ % 50, 'locked', 'a writer holds the lock') for 1 .. $#names;
($looks, $paths) = (0, 0);
is(scalar $waiting->oldest(1000, sub { $looks++; return 1 }), 1000, 'the oldest of 100,000');
is($looks, 1000, 'one check for each');
is(scalar(my @due = $waiting->due(200, 100)), 100, '100 are due');
$waiting->remove($names[ $_ / 2 ]) for @due;
cmp_ok($paths, '<=', 200, "only their paths are read ($paths)");
done_testing;
