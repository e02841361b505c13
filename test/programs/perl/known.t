# Databases known only by their header: noting one again reads one small file, at any number of databases.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;

my $folder = CopierState::make();
my $state  = "$folder/state";

is_deeply({ known() }, {}, 'no database is known at first');
my @names = map { "mail of $_/a [$_]\nb" } 1 .. 5000;
add_known(@names);
is_deeply([ sort keys %{ { known() } } ], [ sort @names ], 'all that were added are known, with any name');

my ($read, $files) = (0, 0);
replace(slurp => sub { my ($slurp, $path) = @_; my $text = $slurp->($path); $read += length $text; $files++; return $text });
my $size = sub { my $all = 0; $all += -s for glob "$state/known.d/*"; return $all };
my $before = $size->();
add_known($names[77]);
is($files, 1, 'a known one: one file is read');
cmp_ok($read, '<', $before / 100, "$read of $before bytes are read");
is($size->(), $before, 'and nothing is written');

# One name is the end of another.
add_known('b', 'a/b', "x\nb");
my %known = known();
is(scalar(grep { $known{$_} } 'b', 'a/b', "x\nb"), 3, 'each is known separately');
ok(!$known{'a'}, 'but no part of a path');

# Records of an older version, and a truncated record.
CopierState::put("$state/known", "old/one\0old/two");
open my $cut, '>>', LsyncdAsCode::Names::known_file('new') or die $!;
print {$cut} "\0cut sho";
close $cut;
add_known('new');
%known = known();
ok($known{$_}, "$_ is known") for 'old/one', 'old/two', 'new';
done_testing;
