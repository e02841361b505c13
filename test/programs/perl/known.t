# Databases known only by their header: noting one again reads one small file, at any number of databases.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use LsyncdAsCode::Gate::Names  ();
use LsyncdAsCode::Gate::Tally  ();
use LsyncdAsCode::Gate::Volume ();

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

# A pass over thousands of databases that only their header shows, each with a -wal: a look at each file, and none at any twice.
my @many = map { "header-$_" } 1 .. 3000;
CopierState::put("$folder/source/$_", "SQLite format 3\0" . ('x' x 100)) for @many;
CopierState::put("$folder/source/$_-wal", 'log') for @many;
my @items = map { ">f+++++++++ 116 $_" } map { ($_, "$_-wal") } @many;
my $opened = 0;
replace($_ => sub { my $open = shift; $opened++; return $open->(@_) }) for qw(open_file open_source);
my $wanted = LsyncdAsCode::Call::wanted({ held => [ "$folder/source", "$folder/target" ] }, { new => [ map { LsyncdAsCode::Itemize::new_file($_) } @items ], changed => [], deleted => [] });
is_deeply([ sort @{ $wanted->{units} } ], [ sort @many ], 'a pass finds all of them');
is_deeply($wanted->{others}, [], 'and rsync gets none of their files');
cmp_ok($opened, '<=', @items, "$opened files are opened for a list of " . @items);
my ($here, $there) = map { LsyncdAsCode::Gate::Volume->new("$folder/$_") } qw(source target);
$opened = 0;
{
    no warnings 'redefine';
    *LsyncdAsCode::Gate::Volume::head = sub { $opened++; return '' };
}
my $tally = LsyncdAsCode::Gate::Tally->new($here, $there, LsyncdAsCode::Gate::Names::database_test('*.sqlite'), 1, {})->of_plan(\@items);
is("$tally->{added} $opened", @items . ' 0', 'the gate counts them without opening any');

# In a directory that the mirror does not have, the gate looks for nothing. In one that the copier has made meanwhile it does.
mkdir "$folder/$_/made" for qw(source target);
CopierState::put("$folder/source/made/$_", 'a database') for 1 .. 5;
CopierState::put("$folder/target/made/3", 'copied already');
my %looks;
{
    no warnings 'redefine';
    my $look = \&LsyncdAsCode::Gate::Volume::look;
    *LsyncdAsCode::Gate::Volume::look = sub { $looks{ $_[1] =~ s{/.*}{}r }++; return $look->(@_) };
}
my @plan = map { ("cd+++++++++ 4096 $_/", map { ">f+++++++++ 9 $_" } glob "$_/{1,2,3,4,5}") } qw(new new/deep made);
$tally = LsyncdAsCode::Gate::Tally->new($here, $there, LsyncdAsCode::Gate::Names::database_test('*.sqlite'), 1, {})->of_plan(\@plan);
is("$tally->{added} $tally->{new_full}", '16 14', 'it counts all that the mirror does not have');
is($looks{new}, 1, 'with one look for a new directory, and none for what is in it');
cmp_ok($looks{made}, '>', 5, 'and more where the mirror has something');

# fsck made it, on the source alone: it is nobody's data, and does not make up for what is lost.
$tally = LsyncdAsCode::Gate::Tally->new($here, $there, LsyncdAsCode::Gate::Names::database_test('*.sqlite'), 1, {});
$tally->of_plan([ 'cd+++++++++ 4096 lost+found/', '>f+++++++++ 5 lost+found/#12', '>f+++++++++ 5 mine' ]);
is($tally->{added}, 1, 'what is in lost+found is not counted as new');
done_testing;
