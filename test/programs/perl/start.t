# The worker of a first pass reads its modules before there is work, and does nothing without an order.
use strict;
use warnings;
use Test::More;
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
# Does this in a process of its own, as a call of lsyncd. Returns after its end.
sub call { my ($what) = @_; my $pid = fork // die $!; if (!$pid) { $what->(); POSIX::_exit(0) } waitpid $pid, 0; return }
my $prepared = sub { return until_true(sub { return how() eq '--prepared' && (LsyncdAsCode::State::slurp('/proc/' . (keys %{ workers() })[0] . '/maps') // '') =~ /POSIX/ }) };
my $ended = sub { return until_true(sub { return how() eq '' }) };

queued('a.sqlite');
call(sub { prepare_worker(); $prepared->() or print "not ok - it is there before there is an order\n"; pause(0.3) });
ok($ended->(), 'a prepared worker ends with a call that gives no order');
ok(!-e "$target/a.sqlite" && -s "$folder/state/queue.pass", 'and has copied nothing of what waits');

call(sub { prepare_worker(); $prepared->(); call(\&LsyncdAsCode::Start::start_worker) });
ok(until_true(sub { -e "$target/a.sqlite" }), 'a child of the call gives the order');
is(how(), '--prepared', 'and no other worker is started');

# That one still lives.
queued('b.sqlite');
call(sub { prepare_worker(); LsyncdAsCode::Start::start_worker() });
ok(until_true(sub { -e "$target/b.sqlite" }), 'a worker that lives is woken');
ok($ended->(), 'both end without work');

queued('c.sqlite');
call(sub { prepare_worker(); $prepared->(); kill KILL => keys %{ workers() }; $ended->(); LsyncdAsCode::Start::start_worker(); LsyncdAsCode::Start::start_worker() });
ok(until_true(sub { -e "$target/c.sqlite" }), 'one that was killed is replaced');
like(how(), qr/--work/, 'by a new one');
ok($ended->(), 'which ends');

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
