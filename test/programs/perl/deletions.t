# A database that is gone from the source stays in the mirror until the copies that were due before are made: one of them may be the same
# database under its new name.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use POSIX ();
use LsyncdAsCode::Gate::Ask ();
use LsyncdAsCode::State  ();
use LsyncdAsCode::Worker ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);
my @id = map { my $s = stat_ns("$_/."); "$s->{dev}:$s->{ino}" } $source, $target;
# This process stands for lsyncd.
CopierState::put("$folder/state/run", join "\0", $$, LsyncdAsCode::System::start_time($$), $source, $target, @id, 1, 1, 1, '');
POSIX::mkfifo("$folder/state/wake", 0600);

sub database { my ($name) = @_; CopierState::database("$source/$name"); return $name }
sub big { my ($name) = @_; database($name); truncate "$source/$name", LsyncdAsCode::State::BIG or die $!; return $name }
sub until_true { my ($test, $seconds) = @_; for (1 .. 50 * ($seconds // 30)) { return 1 if $test->(); pause(0.02) } return 0 }
sub mark { my ($name, $text) = @_; open my $file, '>>', "$folder/$name" or die $!; print {$file} $text // ''; close $file; return }
sub marked { my ($name) = @_; return LsyncdAsCode::State::slurp("$folder/$name") // '' }
sub queued { my ($queue, @names) = @_; enqueue($queue, 1, \@names); open my $wake, '+<', "$folder/state/wake" or die $!; syswrite $wake, '.'; return }
sub waits { return LsyncdAsCode::State::slurp("$folder/state/status.tsv") =~ /\tgone\t\Q$_[0]\E\tit is gone from the source/ }
sub in_mirror { return -e "$target/$_[0]" ? 1 : 0 }

# Copies of $name wait for as long as there is the file hold.$name, or have the state in state.$name.
my $pid = fork // die $!;
if (!$pid) {
    no warnings 'redefine';
    my ($one, $found, $all) = map { LsyncdAsCode::Worker->can($_) } qw(one copy_found copy_all);
    my $hold = sub { my ($path) = @_; mark("at.$path"); pause(0.02) while -e "$folder/hold.$path"; return };
    my $instead = sub {
        my ($result, $path) = @_;
        my $why = marked("state.$path");
        return length $why ? { state => 'deferred', why => $why, reason => 'as the test wants it', seconds => 0 } : $result->();
    };
    *LsyncdAsCode::Worker::one        = sub { my @with = @_; $hold->($with[1]); return $instead->(sub { return $one->(@with) }, $with[1]) };
    *LsyncdAsCode::Worker::copy_found = sub { $hold->($_) for @{ $_[1] }; return $found->(@_) };
    *LsyncdAsCode::Worker::copy_all   = sub { my ($run, $paths, $whole) = @_; return map { my $path = $_; $instead->(sub { return $all->($run, [$path], $whole) }, $path) } @$paths };
    # With what is in the mirror at that moment.
    *LsyncdAsCode::Gate::Ask::delete_database = sub {
        my (undef, undef, $path) = @_;
        opendir my $names, $target or die $!;
        mark("deleted.$path", join ' ', sort grep { /\.sqlite\z/ } readdir $names);
        unlink "$target/$path";
        return 1;
    };
    while (!-e "$folder/end") { eval { LsyncdAsCode::Worker::work_on(); 1 } or print STDERR $@; pause(0.02) }
    POSIX::_exit(0);
}
# The mirror has it, and the source no longer.
sub gone { my ($name) = @_; CopierState::database("$target/$name"); return $name }

subtest 'a big database under its new name' => sub {
    mark("hold.new.sqlite");
    queued('queue', big('new.sqlite'), gone('old.sqlite'));
    ok(until_true(sub { -e "$folder/at.new.sqlite" }), 'its copy has begun');
    ok(until_true(sub { waits('old.sqlite') }), 'its old name waits, as the status says');
    # Later changes do not.
    mark('hold.later.sqlite');
    queued('queue', big('later.sqlite'), database('small.sqlite'));
    ok(until_true(sub { -e "$folder/at.later.sqlite" && in_mirror('small.sqlite') }), 'changes are copied meanwhile');
    ok(in_mirror('old.sqlite'), 'it is still there');
    unlink "$folder/hold.new.sqlite";
    ok(until_true(sub { !in_mirror('old.sqlite') }), 'and goes');
    like(marked('deleted.old.sqlite'), qr/\bnew\.sqlite/, 'when the new name is in the mirror');
    ok(!in_mirror('later.sqlite'), 'and before a copy that was due later');
    unlink "$folder/hold.later.sqlite";
};

subtest 'in a batch of a pass' => sub {
    mark('hold.pass.sqlite');
    queued('queue.pass', database('pass.sqlite'));
    ok(until_true(sub { -e "$folder/at.pass.sqlite" }), 'another process copies it');
    queued('queue', gone('before.sqlite'));
    ok(until_true(sub { waits('before.sqlite') }), 'what is gone waits');
    # A list that comes later has its other name once more.
    queued('queue', 'pass.sqlite');
    pause(0.5);
    ok(in_mirror('before.sqlite'), 'it is still there');
    unlink "$folder/hold.pass.sqlite";
    ok(until_true(sub { !in_mirror('before.sqlite') }), 'and goes');
    like(marked('deleted.before.sqlite'), qr/\bpass\.sqlite/, 'after the copy');
    # What a pass has found to be gone is deleted by the worker itself.
    queued('queue.pass', (map { database("many$_.sqlite") } 1 .. 8), gone('found.sqlite'));
    ok(until_true(sub { !in_mirror('found.sqlite') }), 'what a pass has found goes');
    like(marked('deleted.found.sqlite'), qr/many1\.sqlite .*many8\.sqlite/, 'after all of its batch');
};

subtest 'over a database that may not be copied yet' => sub {
    mark("state.$_.sqlite", $_) for qw(throttled changed);
    for my $why (qw(throttled changed)) {
        queued('queue', big("$why.sqlite"), gone("to-$why.sqlite"));
        ok(until_true(sub { waits("to-$why.sqlite") }), "$why: what is gone waits");
        pause(0.5);
        ok(in_mirror("to-$why.sqlite"), 'it is still there');
        unlink "$folder/state.$why.sqlite";
        ok(until_true(sub { !in_mirror("to-$why.sqlite") }), 'and goes');
        like(marked("deleted.to-$why.sqlite"), qr/\b$why\.sqlite/, 'after the copy');
    }
};

subtest 'a copy that others prevent keeps nothing' => sub {
    for my $why (qw(locked hot slow space)) {
        mark("state.$why.sqlite", $why);
        queued('queue', database("$why.sqlite"), gone("not-$why.sqlite"));
        ok(until_true(sub { !in_mirror("not-$why.sqlite") }), $why);
        ok(!in_mirror("$why.sqlite"), 'is not copied');
    }
};

subtest 'a failed copy is tried again before' => sub {
    mark('state.error.sqlite', 'error');
    queued('queue', database('error.sqlite'), gone('failed.sqlite'));
    my $began = ticks();
    ok(until_true(sub { waits('failed.sqlite') }), 'what is gone waits');
    ok(until_true(sub { !in_mirror('failed.sqlite') }), 'but not for ever');
    cmp_ok(ticks() - $began, '>', 9, 'for more than two tries');
    ok(!in_mirror('error.sqlite'), 'which fail');
};

subtest 'one that is there again is copied' => sub {
    mark('hold.first.sqlite');
    queued('queue', big('first.sqlite'), gone('again.sqlite'));
    ok(until_true(sub { waits('again.sqlite') }), 'it was gone');
    CopierState::database("$source/again.sqlite", 'b');
    ok(until_true(sub { LsyncdAsCode::State::slurp("$target/again.sqlite") =~ /b\z/ }), 'its new content is in the mirror');
    unlink "$folder/hold.first.sqlite";
    ok(until_true(sub { in_mirror('first.sqlite') }), 'the other one is copied');
    ok(!-e "$folder/deleted.again.sqlite", 'and it was never deleted');
};

subtest 'very many' => sub {
    mark('hold.one.sqlite');
    queued('queue', big('one.sqlite'), map { gone("m$_.sqlite") } 1 .. 1500);
    ok(until_true(sub { (LsyncdAsCode::State::slurp("$folder/state/status.tsv") =~ /\tpending\t(\d+)\t/)[0] > 1500 }), 'wait');
    pause(1);
    is(scalar(grep { !in_mirror("m$_.sqlite") } 1 .. 1500), 0, 'all of them');
    unlink "$folder/hold.one.sqlite";
    ok(until_true(sub { !grep { in_mirror("m$_.sqlite") } 1 .. 1500 }), 'and go');
};

my %worker = (soon => { nobody => 0 }, gone => {}, children => {}, running => {}, failed => 0, waiting => LsyncdAsCode::Waiting->new(sub { return undef }));
is(scalar(my @now = LsyncdAsCode::Worker::after_copies(\%worker, { path => 'here', since => 1 })), 1, 'a copy that nobody will make keeps nothing');

mark('end');
kill TERM => $pid;
waitpid $pid, 0;
done_testing();
