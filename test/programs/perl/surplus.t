# Whether the mirror has a name that the source lacks: LsyncdAsCode::Surplus.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use CopierState;
use LsyncdAsCode::Surplus ();

my $folder = CopierState::make();
CopierState::put("$folder/$_/a", 'x') for qw(source target);

sub surplus {
    my ($most, $most_names) = @_;
    opendir my $source, "$folder/source" or die $!;
    opendir my $target, "$folder/target" or die $!;
    return eval { LsyncdAsCode::Surplus::surplus($source, $target, sub { }, $most // 1000, $most_names // 1000) ? 1 : 0 } // $@;
}

# The result of the process that compares them, for a program that waits for it.
sub none {
    opendir my $source, "$folder/source" or die $!;
    opendir my $target, "$folder/target" or die $!;
    return LsyncdAsCode::Surplus::none(LsyncdAsCode::Surplus::begin($source, $target, sub { })) ? 1 : 0;
}

is(surplus(), 0, 'the same names');
is(none(), 1, 'so rsync need not look');
CopierState::put("$folder/source/b", 'x');
is(surplus(), 0, 'one that only the source has is none');
mkdir "$folder/target/lost+found";
mkdir "$folder/target/.lsyncd-as-code", 0700;
CopierState::put("$folder/target/.lsyncd-as-code/kept", 'x');
is(surplus(), 0, "nor are the file system's directory and our own");
CopierState::put("$folder/target/lost+found/#12", 'x');
is(surplus(), 1, 'a file in the former is');
unlink "$folder/target/lost+found/#12";
CopierState::put("$folder/target/c", 'x');
is(surplus(), 1, 'a file is');
is(none(), 0, 'so rsync looks');
unlink "$folder/target/c";
CopierState::put("$folder/target/$_", 'x') for map { "a name of many bytes $_" } 1 .. 100;
like(surplus(1000), qr/\Atoo many names$/, 'with too many bytes it is unknown');
like(surplus(1 << 20, 99), qr/\Atoo many names$/, 'with too many names, too');
is(surplus(1 << 20), 1, 'with more room it is known');
{
    no warnings 'redefine';
    local *LsyncdAsCode::Surplus::surplus = sub { die "a disk error\n" };
    is(none(), 0, 'what is unknown makes rsync look');
}
done_testing;
