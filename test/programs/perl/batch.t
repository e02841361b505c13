# A batch of what a full pass has found: databases that are new, known, big or gone, and many directories.
use strict;
use warnings;
use Test::More;
use Copier;
use CopierState;
use LsyncdAsCode::Batch ();
use LsyncdAsCode::Gate::Ask ();
use LsyncdAsCode::Place ();
use LsyncdAsCode::State ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);
my %run = (source => $source, target => $target, owner => 1, group => 1, perms => 0, name => 'this');
$run{"${_}_id"} = do { my $s = stat_ns("$folder/$_"); "$s->{dev}:$s->{ino}" } for qw(source target);

sub database { my ($name, $byte) = @_; CopierState::database("$source/$name", $byte); return $name }
sub found { my @paths = @_; return LsyncdAsCode::Batch::copy_found(\%run, \@paths, sub { return 1 }) }
sub content { my ($name) = @_; return LsyncdAsCode::State::slurp("$target/$name") =~ /(.)\z/s ? $1 : undef }

# Records each deletion, and the content of the mirror at each sync of the file system.
my (@steps, $fails);
{
    no warnings 'redefine';
    *LsyncdAsCode::Gate::Ask::delete_database = sub { my (undef, undef, $path) = @_; push @steps, "delete $path"; unlink "$target/$path"; return 1 };
    my $sync = \&LsyncdAsCode::Batch::sync_file_system;
    *LsyncdAsCode::Batch::sync_file_system = sub {
        push @steps, 'sync with ' . join ' ', map { s{.*/}{}r } glob "$target/*.db";
        die "the disk fails\n" if $fails;
        return $sync->(@_);
    };
}

my @new = map { database("new$_.db") } 1 .. 6;
# A change of a database that was written a moment ago may be hidden from its time.
utime time - 60, time - 60, map { "$source/$_" } @new;
is_deeply([ map { $_->{state} } found(@new) ], [ ('copied') x 6 ], 'new ones are copied');
database('new2.db', 'b');
rename "$source/new3.db", "$source/renamed.db" or die $!;
database('text.db');
CopierState::put("$source/text.db", 'This is a text. ' x 10);
open my $file, '>', "$source/huge.db" or die $!;
print {$file} "SQLite format 3\0";
truncate $file, LsyncdAsCode::State::BIG;
close $file;
@steps = ();
my @mixed   = ('new3.db', 'new1.db', 'huge.db', 'new2.db', 'renamed.db', 'text.db', 'never.db', database('last.db'));
my @results = found(@mixed);
is_deeply([ map { $_->{why} // $_->{state} } @results ], [qw(gone same queued copied copied copied gone copied)], 'each result is that of its database');
is(scalar(grep { !defined $_->{seconds} } @results), 0, 'with its seconds');
is_deeply([ map { content($_) } qw(new1.db new2.db last.db) ], [qw(a b a)], 'and so is the mirror');
ok(!-e "$target/huge.db", 'a big one is left to others');
is(join(' ', grep { /delete/ } @steps), '', 'what is gone is left to the worker, which knows of other copies');
ok(-e "$target/new3.db", 'it is still there');

# The first sync fails: nothing is put in place, and the old name is what the mirror has.
$fails = 1;
unlink "$source/text.db";
my @fresh = map { database("fresh$_.db") } 1 .. 6;
rename "$source/new4.db", "$source/moved.db" or die $!;
@results = found('new4.db', 'moved.db', @fresh);
is_deeply([ map { "$_->{why} $_->{reason}" } @results[ 1 .. 7 ] ], [ ('error the disk fails') x 7 ], 'a failed sync is reported for each');
is_deeply([ glob("$target/fresh*"), glob "$target/.lsyncd-as-code/copies/*" ], [], 'and nothing of it is left');
ok(-e "$target/new4.db", 'a renamed database keeps its old name');
$fails = 0;
is_deeply([ map { $_->{state} } found('new4.db', 'moved.db') ], [qw(deferred copied)], 'and is copied with the next try');

# The second sync of a later batch fails: what an earlier one has copied is in place.
{
    no warnings 'redefine';
    my ($syncs, $ends) = (0, 0);
    my $sync = \&LsyncdAsCode::Batch::sync_file_system;
    local *LsyncdAsCode::Batch::sync_file_system = sub { die "the disk fails\n" if ++$syncs == 4; return $sync->(@_) };
    # The first look is after one database; there the next one is set.
    local *LsyncdAsCode::Batch::room_for = sub { return (20, 0)[ $ends++ ] // 100 };
    my @many = map { database("many$_.db") } 1 .. 31;
    my @warned;
    local $SIG{__WARN__} = sub { push @warned, @_ };
    @results = found(@many);
    is_deeply([ map { $_->{why} // $_->{state} } @results ], [ ('copied') x 21, ('error') x 10 ], 'each batch has its own results');
    is_deeply(\@warned, [], 'without a warning');
}

# The volume was unmounted: nothing is copied, and that is the result.
{
    local $run{target_id} = '0:1';
    for my $many (1, 6) {
        my @all = map { LsyncdAsCode::Batch::copy_all(\%run, [ ($_) x $many ], sub { return 1 }) } $fresh[0];
        is_deeply([ map { "$_->{state} $_->{why}" } @all ], [ ('deferred error') x $many ], "$many databases");
    }
}

# Each in a directory of its own, with no more files than systemd allows a service.
my @spread = map { mkdir "$source/$_"; database("$_/user.db") } map { sprintf 'd%04d', $_ } 1 .. 1600;
my $copies = <<'END';
use LsyncdAsCode::Batch ();
my %run = split /\|/, shift @ARGV, -1;
my %count;
my $sync = \&LsyncdAsCode::Batch::sync_file_system;
{ no warnings 'redefine'; *LsyncdAsCode::Batch::sync_file_system = sub { open my $syncs, '>>', "$run{source}/../syncs"; syswrite $syncs, '.'; return $sync->(@_) } }
$count{ $_->{reason} // $_->{state} }++ for LsyncdAsCode::Batch::copy_found(\%run, \@ARGV, sub { return 1 });
print join(', ', map { "$count{$_} $_" } sort keys %count), "\n";
END
open my $said, '-|', 'sh', '-c', 'ulimit -n 1024 && exec "$@"', 'sh', $^X, (map { "-I$_" } grep { !ref } @INC), '-e', $copies, join('|', %run), @spread or die $!;
is(readline $said, "1600 copied\n", 'many directories are copied with few open files');
cmp_ok(-s "$folder/syncs", '<=', 2 * 5, 'and in few batches');
close $said;
is(scalar(grep { -e "$target/$_" } @spread), 1600, 'all of them');

done_testing;
