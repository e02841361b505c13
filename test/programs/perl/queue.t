# The queue's files: each record is read once, in order; the next worker does not see finished records; a half finished file is
# rewritten, and stored positions follow.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;

my $folder = CopierState::make();
my $file = "$folder/state/queue";
sub paths { return join ' ', map { $_->{path} } @_ }

enqueue('queue', 1.5, [ "a", "b c", "d\ne" ]);
my $queue = open_queue('queue');
is(more($queue), 3, 'all are counted');
is(paths(peek($queue, 2)), 'a b c', 'peek leaves them in the queue');
my @taken = take($queue, 2);
is(paths(@taken), 'a b c', 'taken in order');
is($taken[0]{since}, '1.500', 'with their time');
is($queue->{unread}, 1, 'one is left');
enqueue('queue', 2, ['f']);
is(more($queue), 2, 'added records are counted');
is(paths(take($queue, 10)), "d\ne f", 'and taken');
is($queue->{unread}, 0, 'none is left');
is(record_at($queue, $taken[1]{at})->{path}, 'b c', 'a record is found by its position');
dead($queue, $_) for @taken;
settle_dead($queue);
is(record_at($queue, $taken[1]{at}), undef, 'a finished record is removed from the file');
is(paths(take(open_queue('queue'), 10)), "d\ne f", 'a new worker finds the unfinished records');
ok(!finished(open_queue('queue')), 'a queue with unfinished records is not finished');
ok(finished($queue), 'a queue without any is');
is(-s $file, 0, 'and is empty');

# In the format of an older version, with a record truncated by a kill, and NULs from a power cut.
CopierState::put($file, "\0" x 5000 . "\0001700000000.123 old.sqlite\0" . "\0001700000000.1" . "\0001700000001.000 next.sqlite\0" . "\0001700");
$queue = open_queue('queue');
more($queue);
is(paths(take($queue, 10)), 'old.sqlite next.sqlite', 'torn records are skipped');

# Many records, in steps of all sizes; some records are longer than one read.
for my $step (1, 7, 1000) {
    CopierState::put($file, '');
    my @names = map { sprintf 'u%05d/%s.sqlite', $_, 'x' x ($_ % 300) } 1 .. 3000;
    enqueue('queue', 1.5, \@names);
    $queue = open_queue('queue');
    more($queue);
    my @got;
    while (my @some = take($queue, $step)) { push @got, map { $_->{path} } @some }
    is("@got", "@names", "$step at a time");
    is($queue->{unread}, 0, 'and the count is right');
}

# A random history: taken records are finished later, in any order; no other record is lost when the file is rewritten.
my $seed = $ENV{PROPERTY_SEED} // time;
srand $seed;
diag("seed $seed");
CopierState::put($file, '');
$queue = open_queue('queue');
my (%open, %expected, $number, $rewritten);
for my $turn (1 .. 300) {
    my @names = map { 'user' . ++$number . '/' . 'y' x int rand 200 } 1 .. rand 200;
    enqueue('queue', $turn, \@names) if @names;
    $expected{$_} = 1 for @names;
    more($queue);
    $open{ $_->{path} } = $_ for take($queue, int rand 250);
    for my $path (grep { rand() < 0.9 } keys %open) { dead($queue, delete $open{$path}); delete $expected{$path} }
    settle_dead($queue);
    my $map = compact($queue) or next;
    $rewritten++;
    $_->{at} = LsyncdAsCode::Waiting::new_place($map, $_->{at}) for values %open;
    for my $path (keys %open) { record_at($queue, $open{$path}{at})->{path} eq $path or fail("$path has moved to another place") }
}
cmp_ok($rewritten, '>', 1, 'the file was rewritten');
cmp_ok(-s $file, '<', 4 << 20, 'and stays small');
my $left = open_queue('queue');
is(join(' ', sort map { $_->{path} } take($left, 1e6)), join(' ', sort keys %expected), 'only unfinished records are left');

# A call queues a database in the round whose end rewrites the file: it is counted.
CopierState::put($file, '');
$queue = open_queue('queue');
enqueue('queue', 1.5, [ map { 'x' x 200 . $_ } 1 .. 8000 ]);
more($queue);
while ($queue->{unread}) { dead($queue, $_) for take($queue, 200) }
enqueue('queue', 2, ['late']);
ok(compact($queue), 'the file is rewritten');
is(more($queue), 1, 'a record that a call has added meanwhile is counted');
is(paths(take($queue, 10)), 'late', 'and taken');

# However the records lie across the pieces that are read.
for my $length (-3 .. 3) {
    CopierState::put($file, "\0001.500 " . 'x' x ((1 << 20) - 8 + $length) . "\0");
    enqueue('queue', 2, ['second']);
    $queue = open_queue('queue');
    is(more($queue), 2, "both records are counted ($length)");
}
# A call was killed while it wrote: its record has no end, and there is nothing to take until another comes.
CopierState::put($file, "\0001.500 whole\0\0002.500 no end");
$queue = open_queue('queue');
more($queue);
is(paths(take($queue, 10)), 'whole', 'what is whole is taken');
for (1 .. 2) {
    is(paths(take($queue, 10)), '', 'and what is not, is not');
    is($queue->{unread}, 0, 'so nothing is left to take');
    more($queue);
}
enqueue('queue', 2, ['next']);
more($queue);
is((take($queue, 10))[-1]{path}, 'next', 'the next one is taken');
is($queue->{unread}, 0, 'and all is counted');

# A record that was not counted: the worker takes it instead of ending.
CopierState::put($file, '');
enqueue('queue', 2, ['one']);
$queue = open_queue('queue');
ok(!finished($queue) && $queue->{unread}, 'a queue that is not finished has something to do');

{
    local *LsyncdAsCode::State::lock_file;
    my $none = eval { enqueue('nowhere/queue', 1, ['x']); 1 };
    ok(!$none, 'a queue that cannot be written is an error');
}
done_testing;
