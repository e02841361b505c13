# A worker copies for as long as databases change: neither its open files nor its memory grow with the number of copies.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use IPC::Open2 qw(open2);
use LsyncdAsCode::Batch ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);
mkdir "$source/d$_" for 0 .. 2;

# For each line, it commits in databases with a log that goes on, with one that starts again and again, and without one.
my $writer = open2(my $done, my $commit, 'python3', '-c', <<'END', $source);
import sqlite3, sys
held = []
for i in range(24):
    c = sqlite3.connect(f"{sys.argv[1]}/d{i % 3}/{i}.sqlite", isolation_level=None)
    c.execute(f"pragma journal_mode = {'delete' if i % 3 == 0 else 'wal'}")
    c.execute(f"pragma wal_autocheckpoint = {2 if i % 3 == 1 else 0}")
    c.execute("create table t (i)")
    held.append(c)
for line in sys.stdin:
    for c in held: c.execute("insert into t values (1)")
    print("done", flush=True)
END
my %run = (source => $source, target => $target, name => 'this', owner => 1, group => 1, perms => 1);
for (qw(source target)) { my $is = stat_ns("$run{$_}/."); $run{"${_}_id"} = "$is->{dev}:$is->{ino}" }
my @paths = map { 'd' . $_ % 3 . "/$_.sqlite" } 0 .. 23;
my %states;

sub batch {
    print {$commit} "\n";
    $commit->flush;
    readline $done;
    pause(0.03);
    # A round of many, and one of a few, which are copied one by one.
    $states{ $_->{state} }++ for map { LsyncdAsCode::Batch::copy_all(\%run, $_, sub { return 1 }) } [ @paths[ 0 .. 20 ] ], [ @paths[ 21 .. 23 ] ];
    return;
}
sub open_files { opendir my $files, '/proc/self/fd' or die $!; return scalar readdir($files) && grep { defined } readdir $files }
sub volumes_open { opendir my $files, '/proc/self/fd' or die $!; return grep { /\A\Q$folder\E\/(?:source|target)/ } map { readlink("/proc/self/fd/$_") // () } readdir $files }
sub kilobytes { open my $memory, '<', '/proc/self/statm' or die $!; return 4 * (split ' ', <$memory>)[1] }

batch() for 1 .. 30;
my ($files, $memory) = (scalar open_files(), kilobytes());
is(join(' ', volumes_open()), '', 'between two rounds neither volume is open');
batch() for 1 .. 100;
cmp_ok($states{copied}, '>', 2000, "most are copied: $states{copied}");
is(scalar open_files(), $files, '2,400 copies leave no file open');
cmp_ok(kilobytes() - $memory, '<', 500, 'and use no memory');
close $commit;
waitpid $writer, 0;
done_testing;
