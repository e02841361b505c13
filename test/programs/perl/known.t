# The databases that are known only by their header: to note one again costs a look at a small file, however many there are.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;

my $folder = CopierState::make();
my $state  = "$folder/state";

is_deeply({ known() }, {}, 'none at first');
my @names = map { "mail of $_/a [$_]\nb" } 1 .. 5000;
add_known(@names);
is_deeply([ sort keys %{ { known() } } ], [ sort @names ], 'all that were added, whatever their names are');

my ($read, $files) = (0, 0);
replace(slurp => sub { my ($slurp, $path) = @_; my $text = $slurp->($path); $read += length $text; $files++; return $text });
my $size = sub { my $all = 0; $all += -s for glob "$state/known.d/*"; return $all };
my $before = $size->();
add_known($names[77]);
is($files, 1, 'one that is known: a look at one file');
cmp_ok($read, '<', $before / 100, "of $before bytes $read");
is($size->(), $before, 'and nothing is written');

# Names of which one ends with another.
add_known('b', 'a/b', "x\nb");
my %known = known();
is(scalar(grep { $known{$_} } 'b', 'a/b', "x\nb"), 3, 'each is known by itself');
ok(!$known{'a'}, 'and no part of one');

# What an older version wrote, and a record that was cut short.
CopierState::put("$state/known", "old/one\0old/two");
open my $cut, '>>', LsyncdAsCode::Names::known_file('new') or die $!;
print {$cut} "\0cut sho";
close $cut;
add_known('new');
%known = known();
ok($known{$_}, "$_ is known") for 'old/one', 'old/two', 'new';
done_testing;
