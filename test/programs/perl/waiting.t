# Databases waiting for another try: due in order, oldest first in the status, and cheap in memory.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;

my $seed = $ENV{PROPERTY_SEED} // time;
srand $seed;
diag("seed $seed");

# Compared with a plain list at each step of a random history.
my (%model, $number, %by_ref);
my $waiting = LsyncdAsCode::Waiting->new(sub { return $by_ref{ $_[0] } });
my $now = 1000;
for my $turn (1 .. 3000) {
    $now += rand 0.3;
    if (rand() < 0.6) {
        my $path = 'p' . int rand 500;
        if (!$model{$path}) {
            my $ref = 2 * ++$number;
            $model{$path} = { ref => $ref, since => sprintf('%.3f', 1.7e9 + $turn + rand), due => $now + rand 5, why => 'locked', tries => 1 };
            $by_ref{$ref} = $path;
            $waiting->defer($path, @{ $model{$path} }{qw(since ref due)}, 'locked', 'a writer');
        }
    }
    my @due = $waiting->due($now, 20);
    my @all = grep { $model{$_}{due} <= $now - 1 / 50 } keys %model;
    ok(@due == 20 || !grep({ my $path = $_; !grep { $_ == $model{$path}{ref} } @due } @all) || fail("turn $turn: one that is due is missing"), 'due') if $turn % 100 == 0;
    for my $ref (@due) {
        my $path = $by_ref{$ref} // fail("turn $turn: $ref is nobody's");
        $model{$path}{due} <= $now or fail("turn $turn: $path comes too early");
        if (rand() < 0.5) { $waiting->remove($path); delete $model{$path} }
        else {
            $model{$path}{due} = $now + rand 5;
            $model{$path}{tries}++;
            $waiting->defer($path, 0, $ref, $model{$path}{due}, 'locked', 'a writer');
        }
    }
    $waiting->count == keys %model or fail("turn $turn: the count is wrong");
}
for my $path (sort keys %model) {
    my $entry = $waiting->entry($path);
    $entry->{since} == $model{$path}{since} && $entry->{tries} == $model{$path}{tries} && $entry->{reason} eq 'a writer' or fail("$path differs");
}
my @oldest = map { $by_ref{$_} } $waiting->oldest(10, sub { $model{ $by_ref{ $_[0] } } && $model{ $by_ref{ $_[0] } }{ref} == $_[0] });
my @expected = (sort { $model{$a}{since} <=> $model{$b}{since} } keys %model)[ 0 .. 9 ];
is(join(' ', sort { $model{$a}{since} <=> $model{$b}{since} } @oldest), join(' ', @expected), 'the oldest ones');

@by_ref{8e6 .. 8e6 + 6000} = ('new', map { "n$_" } 1 .. 6000);
is($waiting->defer('new', 1.7e9, 8e6, 0, 'error', 'this'), 1, 'the first reason is new');
is($waiting->defer('new', 1.7e9, 8e6, 0, 'error', 'this'), '', 'the same one is not');
is($waiting->defer('new', 1.7e9, 8e6, 0, 'error', 'that'), 1, 'another one is');
$waiting->defer("n$_", 1.7e9, 8e6 + $_, 0, 'space', "needs $_ MB") for 1 .. 6000;
is($waiting->entry('n6000')->{why}, 'space', 'each of thousands keeps its reason');
# One database waits for days, others now and then, each for a reason of its own. A new reason is always reported.
{
    my $lasting = LsyncdAsCode::Waiting->new(sub { return $_[0] == 2 ? 'locked' : 'other' });
    $lasting->defer('locked', 1.7e9, 2, 0, 'locked', 'a writer');
    my $told = 0;
    for my $free (1 .. 12_000) { $told += $lasting->defer('other', 1.7e9, 3, 0, 'space', "only $free MB are free"); $lasting->remove('other') if $free % 2 }
    is($told, 12_000, 'each is new');
    $lasting->defer('other', 1.7e9, 3, 0, 'space', 'none is free');
    is($lasting->entry('other')->{reason}, 'none is free', 'the last one is stored');
    is($lasting->entry('locked')->{reason}, 'a writer', 'and so is the first');
}

# Memory: each number has its own process, because only that shows the cost of one database.
sub kilobytes { my ($many) = @_; my $code = <<'END';
use LsyncdAsCode::Waiting; sub path { sprintf 'mail/user-%06d/database-of-a-customer.sqlite', $_[0] / 2 } my $w = LsyncdAsCode::Waiting->new(\&path);
for my $i (1 .. $ARGV[0]) { my $path = path($i * 2); $w->defer($path, 1.7e9 + $i / 100, $i * 2, 100 + ($i % 500) / 50, 'locked', 'a writer holds the lock') }
open my $f, '<', '/proc/self/status'; print grep { s/\AVmRSS:\s+(\d+).*/$1/s } <$f>;
END
    open my $said, '-|', $^X, (map { "-I$_" } @INC), '-e', $code, $many or die;
    return 0 + readline $said;
}
my $each = (kilobytes(200_000) - kilobytes(1000)) * 1024 / 199_000;
diag(sprintf '%.0f bytes each', $each);
cmp_ok($each, '<=', 100, 'at most 100 bytes per waiting database');
done_testing;
