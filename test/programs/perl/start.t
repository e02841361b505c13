# The worker of a first pass reads its modules before there is work, and does nothing without an order.
use strict;
use warnings;
use Test::More;
# The next calls of fork fail for which there is a true value.
our @fails;
BEGIN { *CORE::GLOBAL::fork = sub () { if (shift @fails) { $! = POSIX::EAGAIN(); return undef } return CORE::fork() } }
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use POSIX ();
use LsyncdAsCode::Place ();
use LsyncdAsCode::Start ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);
my @id = map { my $s = stat_ns("$_/."); "$s->{dev}:$s->{ino}" } $source, $target;
# This process stands for lsyncd.
CopierState::put("$folder/state/run", join "\0", $$, LsyncdAsCode::System::start_time($$), $source, $target, @id, 1, 1, 1, '');

# Its processes, as { pid => option }.
sub workers {
    my %found;
    for my $process (glob '/proc/[0-9]*') {
        next if (LsyncdAsCode::State::slurp("$process/environ") // '') !~ /(?:\A|\0)LSYNCD_SETTINGS=\Q$folder\E\//;
        $found{ substr $process, 6 } = $1 if (LsyncdAsCode::State::slurp("$process/cmdline") // '') =~ m{/sqlite-copier\0(--\w+)\0\z};
    }
    return \%found;
}
sub how { return join ' ', sort values %{ workers() } }
sub until_true { my ($test) = @_; for (1 .. 600) { return 1 if $test->(); pause(0.02) } return 0 }
sub queued { CopierState::database("$source/$_[0]"); enqueue('queue.pass', 1, [ $_[0] ]); return }
sub mark { my ($name, $text) = @_; CopierState::put("$folder/$name", $text // ''); return }
# Does this in a process of its own, as a call of lsyncd. Returns after its end.
sub call { my ($what) = @_; my $pid = fork // die $!; if (!$pid) { $what->(); POSIX::_exit(0) } waitpid $pid, 0; return }
my $prepared = sub { return until_true(sub { return how() eq '--prepared' && (LsyncdAsCode::State::slurp('/proc/' . (keys %{ workers() })[0] . '/maps') // '') =~ /POSIX/ }) };
my $ended = sub { return until_true(sub { return how() eq '' }) };

POSIX::mkfifo("$folder/state/wake", 0600);
queued('a.sqlite');
call(sub { prepare_worker(); $prepared->() or print "not ok - it is there before there is an order\n"; pause(0.3) });
ok($ended->(), 'a prepared worker ends with a call that gives no order');
ok(!-e "$target/a.sqlite" && -s "$folder/state/queue.pass", 'and has copied nothing of what waits');

call(sub { prepare_worker(); $prepared->(); call(\&LsyncdAsCode::Start::start_worker) });
ok(until_true(sub { -e "$target/a.sqlite" }), 'a child of the call gives the order');
unlike(how(), qr/--work/, 'and no other worker is started');

# That one still lives.
queued('b.sqlite');
call(sub { prepare_worker(); LsyncdAsCode::Start::start_worker() });
ok(until_true(sub { -e "$target/b.sqlite" }), 'one of two copies');
ok($ended->(), 'and both end');

# A call whose worker has ended needs another one.
queued('before.sqlite');
call(sub { prepare_worker(); $prepared->(); call(\&LsyncdAsCode::Start::start_worker); $ended->(); queued('after.sqlite'); LsyncdAsCode::Start::start_worker() });
ok(until_true(sub { -e "$target/after.sqlite" }), 'a second order of the same call is not lost');
ok($ended->(), 'and both end');

# Until their files are closed.
sub killed {
    my @pids = @_;
    kill KILL => @pids;
    return until_true(sub { !grep { (LsyncdAsCode::State::slurp("/proc/$_/stat") // '') =~ /\) [^ZX] / } @pids });
}
queued('c.sqlite');
call(sub { prepare_worker(); $prepared->(); killed(keys %{ workers() }); LsyncdAsCode::Start::start_worker() });
ok(until_true(sub { -e "$target/c.sqlite" }), 'one that was killed is replaced');
like(how(), qr/--work/, 'by a new one');
ok($ended->(), 'which ends');

# There may be no more processes: of the two that it needs, the first or the second cannot be made.
for my $which ([1], [ 0, 1 ]) {
    queued("fork@$which.sqlite");
    call(sub {
        alarm 20;
        @fails = @$which;
        prepare_worker();
        mark('prepared');
        @fails = @$which;
        eval { LsyncdAsCode::Start::start_worker(); 1 } or mark('failed', $@);
        @fails = ();
        LsyncdAsCode::Start::start_worker();
    });
    ok(-e "$folder/prepared", 'without another process a call goes on');
    like(LsyncdAsCode::State::slurp("$folder/failed"), qr/\Acannot (?:fork|start the worker)/, 'and fails if it needs one');
    ok(until_true(sub { -e "$target/fork@$which.sqlite" }), 'until there can be one');
    ok($ended->(), 'which ends');
    unlink "$folder/$_" for qw(prepared failed);
}

# A deployment exchanges the library while the worker waits for its order, for the same version or for one that knows no such worker.
my ($library) = map { m{\A(.*)/LsyncdAsCode/}s } $INC{'LsyncdAsCode/System.pm'};
for my $older (0, 1) {
    system 'rm', '-rf', "$folder/lib", "$folder/lib.new", "$folder/lib.old";
    system 'cp', '-r', $library, "$folder/$_" for 'lib', 'lib.new';
    system 'sed', '-i', 's/work|prepared/work/', "$folder/lib.new/sqlite-copier" if $older;
    unlink "$folder/go";
    queued("exchanged$older.sqlite");
    my $pid = fork // die $!;
    if (!$pid) {
        my $calls = 'LsyncdAsCode::Start::prepare_worker(); select undef, undef, undef, 0.02 while !-e $ARGV[0]; LsyncdAsCode::Start::start_worker()';
        exec $^X, "-I$folder/lib", '-MLsyncdAsCode::Start', '-e', $calls, "$folder/go" or die $!;
    }
    ok($prepared->(), 'a worker waits');
    rename "$folder/lib", "$folder/lib.old" or die $!;
    rename "$folder/lib.new", "$folder/lib" or die $!;
    mark('go');
    waitpid $pid, 0;
    ok(until_true(sub { -e "$target/exchanged$older.sqlite" }), 'the order is not lost in a deployment' . ($older ? ' of an older version' : ''));
    ok($ended->(), 'and the worker ends');
}

# A new directory: the copy does not wait for rsync, and is the short one.
mkdir "$source/new";
mkdir "$source/new/deep", 0750;
chmod 0711, "$source/new";
my $full = 0;
replace(sync_unit => sub { my $original = shift; $full++; return $original->(@_) });
CopierState::database("$source/new/deep/$_.sqlite") for 1 .. 9;
my %run = (source => $source, target => $target, name => 'this', owner => 1, group => 1, perms => 1, source_id => $id[0], target_id => $id[1]);
is_deeply({ map { $_->{state} => 1 } LsyncdAsCode::Batch::copy_found(\%run, [ map { "new/deep/$_.sqlite" } 1 .. 9 ], sub { return 1 }) }, { copied => 1 }, 'databases in a new directory are copied');
is($full, 0, 'by the short procedure');
is(join(' ', map { sprintf '%o', (stat "$target/$_")[2] & 07777 } 'new', 'new/deep'), '711 750', 'the directories have their modes');

done_testing();
