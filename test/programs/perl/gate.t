use strict;
use warnings;
use Test::More;
use LsyncdAsCode::Gate ();
use LsyncdAsCode::Gate::Count ();
use LsyncdAsCode::Itemize ();

# What is held with the default limits: 100 entries or 20 percent, whichever is more, within ten minutes.
sub judge { return LsyncdAsCode::Gate::judge(now => 10_000, past => [], limit => 100, share => 20, removed => 0, added => 0, @_) }

ok(!judge(known => 500, removed => 100)->{held}, 'a hundred of 500 go');
ok(judge(known => 500, removed => 101)->{held}, '101 of 500 are held');
ok(!judge(known => 5000, removed => 1000)->{held}, 'a fifth of 5000 goes');
ok(judge(known => 5000, removed => 1001)->{held}, 'one more than a fifth is held');
ok(!judge(known => 5000, removed => 4000, added => 3500)->{held}, 'what is renamed does not count');
ok(judge(known => 450, past => [ [ 9500, 500 ] ], removed => 60)->{held}, 'what went within ten minutes counts as well');
ok(!judge(known => 450, past => [ [ 9300, 500 ], [ 9390, 450 ] ], removed => 60)->{held}, 'what went longer ago does not');
is(judge(known => 500, removed => 30)->{most}, 100, 'a pass that takes 30 may take 70 more');
is_deeply([ @{ judge(known => 500, removed => 101) }{qw(shrinks of)} ], [ 101, 500 ], 'the message has both numbers');
is_deeply(judge(known => undef, past => [ [ 9990, 7 ] ], removed => 9)->{memory}, [ [ 9990, 7 ], [ 10_000, 0 ] ],
    'a file system that does not say is counted on, and not below zero');
is(scalar @{ judge(known => 5, past => [ [ 10_000, 5 ] ])->{memory} }, 1, 'one line a second is remembered');

my @plan = map { LsyncdAsCode::Itemize::parse($_) } '*deleting   0 a', 'cd+++++++++ 0 b/', '>f+++++++++ 0 c', '>f.st...... 0 d', '.d..t...... 0 e/';
is_deeply([ LsyncdAsCode::Gate::Count::of_plan(@plan) ], [ 1, 2 ], 'of what rsync says it would do, deletions and new entries count');

done_testing();
