# A call while the worker is ending finds it alive and starts none: the database it queued is still copied at once.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use POSIX ();
use LsyncdAsCode::Run    ();
use LsyncdAsCode::Start  ();
use LsyncdAsCode::Worker ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);

sub database { my ($name, $byte) = @_; CopierState::database("$source/$name", $byte); return $name }

# The part of an lsyncd's call before it starts or wakes the worker.
sub queued {
    my ($pid, @names) = @_;
    my @id = map { my $s = stat_ns("$_/."); "$s->{dev}:$s->{ino}" } $source, $target;
    CopierState::put("$folder/state/run", join "\0", $pid, LsyncdAsCode::System::start_time($pid), $source, $target, @id, 1, 1, 1);
    enqueue('queue', 1, [ map { database($_) } @names ]);
    return;
}
sub calls { queued(@_); LsyncdAsCode::Start::start_worker(); return }
# The worker, as Start.pm runs it, until it ends. Its last report of the waiting databases marks the moment before it releases its lock.
sub work_with {
    my ($at_its_end) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        no warnings 'redefine';
        my ($report, $once) = (\&LsyncdAsCode::Worker::report, 0);
        *LsyncdAsCode::Worker::report = sub { $report->(@_); $at_its_end->() if $_[1] && !$once++; return };
        eval { LsyncdAsCode::Worker::work_on(); 1 } or print STDERR $@;
        POSIX::_exit(0);
    }
    waitpid $pid, 0;
    return;
}

POSIX::mkfifo("$folder/state/wake", 0600);
queued($$, 'first.sqlite');
work_with(sub { calls($$, 'second.sqlite') });
ok(-e "$target/first.sqlite", 'an idle worker ends');
ok(-e "$target/second.sqlite", 'and copies a database that a call queues at that moment');

# lsyncd was restarted: the previous lsyncd's worker is ending when the next one calls.
my $lsyncd = fork // die "fork: $!";
if (!$lsyncd) { exec 'sleep', '600' or POSIX::_exit(1) }
queued($lsyncd, 'third.sqlite');
kill KILL => $lsyncd;
waitpid $lsyncd, 0;
work_with(sub { calls($$, 'fourth.sqlite') });
ok(-e "$target/$_.sqlite", "$_: the previous lsyncd's worker also serves the next lsyncd") for qw(third fourth);

# A worker without an lsyncd does not change the mirror.
my $gone = fork // die "fork: $!";
if (!$gone) { POSIX::_exit(0) }
my $began = LsyncdAsCode::System::start_time($gone);
waitpid $gone, 0;
queued($gone, 'fifth.sqlite');
work_with(sub { });
ok(!-e "$target/fifth.sqlite", 'without an lsyncd nothing is copied');
ok(LsyncdAsCode::Queue::something_queued(), 'it stays queued');
done_testing;
