# LsyncdAsCode::Room: which files do not fit, where parts of the target have quotas of their own.
use strict;
use warnings;
use File::Temp ();
use Test::More;
use LsyncdAsCode::Beneath qw(open_beneath);
use LsyncdAsCode::Room    ();

my $target = File::Temp::tempdir(CLEANUP => 1);
mkdir "$target/mail" or die $!;
my $whole = { key => 'volume', directory => open_beneath("$target/.", ''),     top => '',     whole => 1 };
my $mail  = { key => 'mail',   directory => open_beneath("$target/.", 'mail'), top => 'mail', whole => 0 };
my $room  = bless { target => "$target/.", quota => 1 }, 'LsyncdAsCode::Room';

# The room that a quota leaves is found by allocating it: programs/room does that.
{ no warnings 'redefine'; *LsyncdAsCode::Room::allocatable = sub { return 16 << 20 } }
my $huge = 1 << 40;
sub files { my ($part, $above, $number) = @_; return map { { path => "$above$_", part => $part, need => $huge, begun => 0 } } 1 .. $number }
sub lacking { return sort map { $_->{path} } $room->lacking(@_) }

is_deeply([ lacking(files($mail, 'mail/', 200)) ], [ sort map { "mail/$_" } 1 .. 200 ], 'up to 200 files of a part are left out each by its name');
is_deeply([ lacking(files($mail, 'mail/', 201)) ], ['mail'], 'more are left out together, by the directory in which the part begins');
my ($together) = $room->lacking(files($mail, 'mail/', 201));
is($together->{need}, 201 * $huge, 'which needs what all of them need');
is_deeply([ lacking(files($whole, '', 201)) ], [ sort 1 .. 201 ], 'the target itself is never left out');
is_deeply(
    [ lacking(files($mail, 'mail/', 201), files($whole, '', 1), { path => 'small', part => $whole, need => 4096, begun => 0 }) ],
    [ '1', 'mail' ], 'and a full part leaves out nothing of another',
);

done_testing;
