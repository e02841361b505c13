# A worker lives for as long as databases change, for months: neither its open files nor its memory grow, and it does not outlive its
# program.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use IPC::Open2 qw(open2);
use POSIX ();
use LsyncdAsCode::Batch  ();
use LsyncdAsCode::Copy   ();
use LsyncdAsCode::Worker ();

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

# The worker itself, in a process of its own. Its lsyncd is this process.
sub database { my ($name, $byte) = @_; CopierState::database("$source/$name", $byte); return $name }
sub lsyncd_is { my ($pid) = @_; CopierState::put("$folder/state/run", join "\0", $pid, LsyncdAsCode::System::start_time($pid), $source, $target, @run{qw(source_id target_id)}, 1, 1, 1, ''); return }
sub until_true { my ($true) = @_; for (1 .. 300) { return 1 if $true->(); pause(0.1) } return 0 }
sub worker {
    my ($program) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    $program->();
    POSIX::_exit(0);
}
sub queued { enqueue('queue', 1, [@_]); open my $wake, '+<', "$folder/state/wake" or die $!; syswrite $wake, '.'; return }
POSIX::mkfifo("$folder/state/wake", 0600);

# Again and again: a call comes at the moment of its end.
lsyncd_is($$);
CopierState::put("$folder/state/run", '');
my $ended = 0;
LsyncdAsCode::Worker::work_once(\$ended);
$files = scalar open_files();
LsyncdAsCode::Worker::work_once(\$ended) for 1 .. 20;
is(scalar open_files(), $files, 'a worker that begins anew keeps nothing of the last time');

# A process that copies a big database is killed, more than once.
lsyncd_is($$);
system 'python3', '-c', 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute("create table t (x)"); c.execute("insert into t values (randomblob(35000000))"); c.commit()', "$source/big.sqlite";
my $pid = worker(sub {
    my ($me, $sync) = ($$, \&LsyncdAsCode::Copy::sync);
    no warnings 'redefine';
    local *LsyncdAsCode::Copy::sync = sub { kill KILL => $$ if $$ != $me && -e "$folder/kill"; return $sync->(@_) };
    LsyncdAsCode::Worker::work_on();
});
queued(database('small.sqlite'));
ok(until_true(sub { -e "$target/small.sqlite" }), 'it copies');
CopierState::put("$folder/kill", '');
sub copies { return scalar(my @copies = glob "$target/.lsyncd-as-code/copies/*") }
queued('big.sqlite');
my $most = 0;
for (1 .. 160) { pause(0.1); $most = copies() if copies() > $most }
cmp_ok($most, '>', 0, 'what a killed process has copied stays');
cmp_ok($most, '<=', 2, 'but not that of all before it');
unlink "$folder/kill";
ok(until_true(sub { -e "$target/big.sqlite" && !copies() }), 'and nothing in the end');
kill TERM => $pid;
waitpid $pid, 0;

# A deployment exchanges the programs while a database stays locked and others change.
my ($library) = map { m{\A(.*)/LsyncdAsCode/}s } $INC{'LsyncdAsCode/System.pm'};
system 'cp', '-r', $library, "$folder/$_" for 'lib', 'lib.new';
open my $new, '>>', "$folder/lib.new/LsyncdAsCode/Gate/Grants.pm" or die $!;
print {$new} "\nopen my \$mark, '>', '$folder/new-is-used';\n1;\n";
close $new;
my $locker = open2(my $locked, my $lock, 'python3', '-c', <<'END', "$source/locked.sqlite");
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("create table t (i)")
c.execute("begin exclusive")
print("locked", flush=True)
sys.stdin.read()
END
readline $locked;
delete $ENV{LSYNCD_RUN};
$pid = worker(sub { exec "$folder/lib/sqlite-copier", '--work' or die });
queued('locked.sqlite', database('before.sqlite'));
ok(until_true(sub { -e "$target/before.sqlite" }), 'the old version copies');
ok(!-e "$folder/new-is-used", 'and is the old one');
rename "$folder/lib", "$folder/lib.old" or die;
rename "$folder/lib.new", "$folder/lib" or die;
system 'rm', '-r', "$folder/lib.old";
ok(until_true(sub { -e "$folder/new-is-used" }), 'the new version goes on');
queued(database('after.sqlite'));
ok(until_true(sub { -e "$target/after.sqlite" }), 'and copies');
ok(!-e "$target/locked.sqlite", 'a database is still locked');
# For the next test: a worker without work ends soon.
system 'cp', '-r', "$folder/lib", "$folder/lib.new";
my @pass = map { database(sprintf 'pass%05d.sqlite', $_) } 1 .. 4000;
close $lock;
waitpid $locker, 0;
ok(until_true(sub { -e "$target/locked.sqlite" }), 'and not forgotten');

# The same while it copies what a pass has found.
unlink "$folder/new-is-used";
enqueue('queue.pass', 1, \@pass);
queued('before.sqlite');
my $arrived = sub { return scalar(my @there = glob "$target/pass*.sqlite") };
ok(until_true(sub { $arrived->() > 200 }), 'a pass has begun');
rename "$folder/lib", "$folder/lib.old" or die;
rename "$folder/lib.new", "$folder/lib" or die;
until_true(sub { -e "$folder/new-is-used" });
cmp_ok($arrived->(), '<', 4000, 'the next version does not wait for its end');
ok(until_true(sub { $arrived->() == 4000 }), 'and completes it');
kill TERM => $pid;
waitpid $pid, 0;

# When a database may be copied again is forgotten once that is over: it may be gone.
enqueue('queue', 1.5, [ map { 'x' x 200 . $_ } 1 .. 8000 ]);
my $queue = open_queue('queue');
more($queue);
while ($queue->{unread}) { dead($queue, $_) for take($queue, 200) }
my %earliest = (gone => ticks() - 1, busy => ticks() + 60);
LsyncdAsCode::Worker::compact({
    queues => [ $queue, open_queue('queue.pass') ], waiting => LsyncdAsCode::Waiting->new(sub { return undef }), children => {}, running => {},
    earliest => \%earliest,
});
is(join(' ', keys %earliest), 'busy', 'an older time than now is dropped');
done_testing;
