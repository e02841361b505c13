# A renamed database stays in the mirror under its old name until it is there under its new one.
use strict;
use warnings;
use Test::More;
use lib grep { defined } $ENV{LIBRARY};
use Copier;
use CopierState;
use IO::Socket::UNIX ();
use POSIX ();
use LsyncdAsCode::Batch  ();
use LsyncdAsCode::Gate::Ask ();
use LsyncdAsCode::Place  ();
use LsyncdAsCode::State  ();
use LsyncdAsCode::Worker ();

my $folder = CopierState::make();
my ($source, $target) = map { "$folder/$_" } qw(source target);
my @id = map { my $s = stat_ns("$_/."); "$s->{dev}:$s->{ino}" } $source, $target;
# This process stands for lsyncd.
CopierState::put("$folder/state/run", join "\0", $$, LsyncdAsCode::System::start_time($$), $source, $target, @id, 1, 1, 1, '');
POSIX::mkfifo("$folder/state/wake", 0600);

sub until_true { my ($test) = @_; for (1 .. 1500) { return 1 if $test->(); pause(0.02) } return 0 }
sub mark { my ($name, $text) = @_; open my $file, '>>', "$folder/$name" or die $!; print {$file} $text // ''; close $file; return }
sub marked { my ($name) = @_; return LsyncdAsCode::State::slurp("$folder/$name") // '' }
sub queued { my ($queue, @names) = @_; enqueue($queue, 1, \@names); open my $wake, '+<', "$folder/state/wake" or die $!; syswrite $wake, '.'; return }
sub waits { return LsyncdAsCode::State::slurp("$folder/state/status.tsv") =~ /\tgone\t\Q$_[0]\E\tit is gone from the source/ }
sub in_mirror { return -e "$target/$_[0]" ? 1 : 0 }

# Copies of $name wait for as long as there is the file hold.$name, or have the state in state.$name. Each deletion is permitted.
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
    *LsyncdAsCode::Worker::copy_all   = sub {
        my ($run, $paths, $whole) = @_;
        return map { my $path = $_; $hold->($path); $instead->(sub { return $all->($run, [$path], $whole) }, $path) } @$paths;
    };
    # With what is in the mirror at that moment, and the inodes of their sources.
    *LsyncdAsCode::Gate::Ask::delete_database = sub {
        my (undef, undef, $path) = @_;
        opendir my $names, $target or die $!;
        my %run = (target => $target, target_id => $id[1]);
        mark("deleted.$path", join ' ', map { $_ . ':' . (LsyncdAsCode::Place::made_from(\%run, $_) // '') } sort grep { /\.sqlite\z/ } readdir $names);
        unlink "$target/$path";
        return 1;
    };
    while (!-e "$folder/end") { eval { LsyncdAsCode::Worker::work_on(); 1 } or print STDERR $@; pause(0.02) }
    POSIX::_exit(0);
}
# Both sides have it. A change of a moment ago may be hidden from its time.
sub mirrored {
    my ($name, $big) = @_;
    CopierState::database("$source/$name");
    truncate "$source/$name", LsyncdAsCode::State::BIG or die $! if $big;
    utime time - 60, time - 60, "$source/$name";
    queued('queue', $name);
    until_true(sub { in_mirror($name) }) or die "$name is not in the mirror";
    unlink "$folder/at.$name";
    return $name;
}
sub renamed { my ($name, $new) = @_; rename "$source/$name", "$source/$new" or die $!; return ($new, $name) }
# The old name goes after the copy.
sub in_order {
    my ($name, $new) = @_;
    ok(until_true(sub { !in_mirror($name) }), "$name goes");
    my $inode = (stat "$source/$new")[1];
    like(marked("deleted.$name"), qr/(?:\A| )\Q$new:$inode\E(?: |\z)/, "when $new is in the mirror");
    return;
}

subtest 'a big database' => sub {
    mirrored($_, 1) for qw(a.sqlite other.sqlite);
    mark("hold.$_.sqlite") for qw(b later);
    queued('queue', renamed('a.sqlite', 'b.sqlite'));
    ok(until_true(sub { -e "$folder/at.b.sqlite" && waits('a.sqlite') }), 'its old name waits, as the status says');
    # Another content does not.
    CopierState::database("$source/small.sqlite");
    unlink "$source/other.sqlite";
    queued('queue', 'small.sqlite', 'other.sqlite');
    ok(until_true(sub { in_mirror('small.sqlite') && !in_mirror('other.sqlite') }), 'others are copied and deleted meanwhile');
    ok(in_mirror('a.sqlite') && !in_mirror('b.sqlite'), 'it is still there');
    unlink "$folder/hold.b.sqlite";
    in_order('a.sqlite', 'b.sqlite');
};

subtest 'more than two big ones' => sub {
    my @many = map { mirrored("big$_.sqlite", 1) } 1 .. 4;
    mark("hold.moved-$_") for @many;
    queued('queue', map { renamed($_, "moved-$_") } @many);
    ok(until_true(sub { !grep { !waits($_) } @many }), 'all old names wait');
    is(scalar(grep { in_mirror($_) } @many), 4, 'and are there');
    for (@many) { unlink "$folder/hold.moved-$_"; in_order($_, "moved-$_") }
};

subtest 'in a batch of a pass' => sub {
    mirrored('c.sqlite');
    mark('hold.d.sqlite');
    my ($new, $old) = renamed('c.sqlite', 'd.sqlite');
    queued('queue.pass', $new);
    ok(until_true(sub { -e "$folder/at.d.sqlite" }), 'another process copies it');
    queued('queue', $new, $old);
    ok(until_true(sub { waits($old) }), 'its old name waits');
    unlink "$folder/hold.d.sqlite";
    in_order($old, $new);
    # The worker itself deletes what a pass has found to be gone.
    mirrored('found.sqlite');
    ($new, $old) = renamed('found.sqlite', 'lost.sqlite');
    my @more = map { "many$_.sqlite" } 1 .. 8;
    CopierState::database("$source/$_") for @more;
    queued('queue.pass', $old, @more, $new);
    in_order($old, $new);
};

subtest 'as long as its copy is put off, over another one or not' => sub {
    for my $why (qw(throttled changed locked hot slow error)) {
        for my $over (0, 1) {
            my ($from, $to) = ("from-$why$over.sqlite", "to-$why$over.sqlite");
            mirrored($from);
            mirrored($to) if $over;
            mark("state.$to", $why);
            # It waits already, for its old file.
            if ($over) { queued('queue', $to); pause(0.3) }
            queued('queue', renamed($from, $to));
            ok(until_true(sub { waits($from) }), "$why: its old name waits");
            pause(0.5);
            ok(in_mirror($from), 'and is there');
            unlink "$folder/state.$to";
            # Its next try may take half a minute to come.
            next if $why eq 'slow';
            in_order($from, $to);
        }
    }
};

subtest 'not without room for both' => sub {
    mirrored('large.sqlite');
    mark('state.larger.sqlite', 'space');
    queued('queue', renamed('large.sqlite', 'larger.sqlite'));
    ok(until_true(sub { !in_mirror('large.sqlite') }), 'the old name makes room');
    unlink "$folder/state.larger.sqlite";
};

subtest 'over one that is being copied' => sub {
    mirrored('e.sqlite');
    mirrored('f.sqlite', 1);
    mark('hold.f.sqlite');
    utime time - 30, time - 30, "$source/f.sqlite";
    queued('queue', 'f.sqlite');
    ok(until_true(sub { -e "$folder/at.f.sqlite" }), 'another process copies it');
    queued('queue', renamed('e.sqlite', 'f.sqlite'));
    ok(until_true(sub { waits('e.sqlite') }), 'the old name waits');
    # The result of the old file says nothing about the new one.
    mark('state.f.sqlite', 'locked');
    unlink "$folder/hold.f.sqlite";
    pause(1);
    ok(in_mirror('e.sqlite'), 'also when the copy of the old file has ended');
    unlink "$folder/state.f.sqlite";
    ok(until_true(sub { !in_mirror('e.sqlite') && -s "$target/f.sqlite" < LsyncdAsCode::State::BIG }), 'and goes when the new one is there');
};

subtest 'while it is itself a change' => sub {
    # The worker sees it, and it is renamed before its turn in the same round.
    mirrored($_) for qw(g.sqlite first.sqlite);
    utime time - 20, time - 20, map { "$source/$_.sqlite" } qw(g first);
    mark('hold.first.sqlite');
    queued('queue', 'first.sqlite', 'g.sqlite');
    ok(until_true(sub { -e "$folder/at.first.sqlite" }), 'it comes after another one');
    queued('queue', renamed('g.sqlite', 'h.sqlite'));
    unlink "$folder/hold.first.sqlite";
    in_order('g.sqlite', 'h.sqlite');
};

subtest 'and once more, before it is copied' => sub {
    mirrored('i.sqlite', 1);
    mark("hold.$_.sqlite") for qw(j k);
    queued('queue', renamed('i.sqlite', 'j.sqlite'));
    ok(until_true(sub { -e "$folder/at.j.sqlite" && waits('i.sqlite') }), 'under its second name');
    queued('queue', renamed('j.sqlite', 'k.sqlite'));
    ok(until_true(sub { -e "$folder/at.k.sqlite" }), 'and its third');
    unlink "$folder/hold.j.sqlite";
    pause(1);
    ok(in_mirror('i.sqlite'), 'the first one stays');
    unlink "$folder/hold.k.sqlite";
    in_order('i.sqlite', 'k.sqlite');
};

subtest 'what is deleted waits for nothing' => sub {
    my @many = map { mirrored("m$_.sqlite") } 1 .. 30;
    mirrored('busy.sqlite', 1);
    unlink map { "$source/$_" } @many;
    mark('hold.busy.sqlite');
    utime time - 30, time - 30, "$source/busy.sqlite";
    queued('queue', 'busy.sqlite', @many);
    ok(until_true(sub { -e "$folder/at.busy.sqlite" && !grep { in_mirror($_) } @many }), 'all go while another one is copied');
    unlink "$folder/hold.busy.sqlite";
};

# It is there again: it is copied.
subtest 'one that is there again' => sub {
    mirrored('n.sqlite', 1);
    mark('hold.o.sqlite');
    queued('queue', renamed('n.sqlite', 'o.sqlite'));
    ok(until_true(sub { waits('n.sqlite') }), 'was gone');
    CopierState::database("$source/n.sqlite", 'b');
    ok(until_true(sub { -s "$target/n.sqlite" < LsyncdAsCode::State::BIG && marked('deleted.n.sqlite') eq '' }), 'is copied and not deleted');
    unlink "$folder/hold.o.sqlite";
    ok(until_true(sub { in_mirror('o.sqlite') }), 'and so is the other one');
};

# The worker ends, and the old copy goes.
subtest 'a FIFO, a socket or a directory in the place of a database' => sub {
    my %make = (
        fifo => sub { POSIX::mkfifo($_[0], 0600) }, directory => sub { mkdir $_[0] },
        socket => sub { IO::Socket::UNIX->new(Local => $_[0], Listen => 1) },
    );
    for my $what (sort keys %make) {
        for my $mirrored (0, 1) {
            my $name = "$what$mirrored.sqlite";
            if ($mirrored) { mirrored($name); unlink "$source/$name" }
            ok($make{$what}->("$source/$name"), "$what, mirrored before: $mirrored");
            queued('queue', $name);
            queued('queue.pass', $name);
            ok(until_true(sub { LsyncdAsCode::State::slurp("$folder/state/status.tsv") =~ /\tpending\t0\t/ && !-s "$folder/state/queue" && !-s "$folder/state/queue.pass" }), 'the worker has nothing left to do');
            ok(!in_mirror($name), 'the mirror has none') if $what ne 'directory';
        }
    }
};

mark('end');
kill TERM => $pid;
waitpid $pid, 0;

subtest 'how long a name is held' => sub {
    CopierState::database("$source/$_.sqlite") for qw(u w);
    utime time - 60, time - 60, "$source/u.sqlite";
    my %run = (source => $source, target => $target, source_id => $id[0], target_id => $id[1], name => 'this', owner => 1, group => 1, perms => 1);
    LsyncdAsCode::Batch::copy_all(\%run, ['u.sqlite'], sub { return 1 });
    my ($new, $old) = renamed('u.sqlite', 'v.sqlite');
    my @records = ('', '', $new, $old);
    my %worker = (inodes => {}, cleaned => -60, held => {}, children => {}, running => {}, waiting => LsyncdAsCode::Waiting->new(sub { return $records[ $_[0] ] }));
    my $held = sub { return LsyncdAsCode::Worker::is_renamed(\%worker, \%run, { path => $old, since => time, at => 1, which => 1 }) };
    LsyncdAsCode::Worker::remember(\%worker, \%run, $new);
    is($held->(), 0, 'not if the other name has been copied');
    my $due = sub { $worker{waiting}->defer($new, time, 2, ticks(), $_[0], ''); LsyncdAsCode::Worker::remember(\%worker, \%run, $new); return };
    $due->('slow');
    is($held->(), 1, 'but until then');
    $worker{held}{$old} = ticks() - 43_201;
    is($held->(), 0, 'for twelve hours');
    $due->('slow');
    $worker{held} = { map { $_ => 1 } 1 .. 10_000 };
    is($held->(), 0, 'not with ten thousand others');
    $worker{held} = {};
    $due->('space');
    is($held->(), 0, 'not without room');
    $due->('slow');
    is($held->(), 1, 'again');
    LsyncdAsCode::Batch::copy_all(\%run, [$new], sub { return 1 });
    is($held->(), 0, 'not when the mirror has it under the new name, although it waits for its next copy');
};

# The order of what a list queues: copies, what rsync does, then what is gone.
subtest 'a list' => sub {
    my @steps;
    no warnings 'redefine';
    local *LsyncdAsCode::Call::enqueue      = sub { push @steps, @{ $_[2] }; return };
    local *LsyncdAsCode::Call::start_worker = sub { return };
    local *LsyncdAsCode::Call::record       = sub { return };
    my $code = 0;
    local *LsyncdAsCode::Call::transfer = sub { push @steps, 'rsync'; return $code };
    my %sifted = (databases => [qw(p.sqlite q.sqlite)], later => [qw(r.sqlite new/s.sqlite)], others => ['new'], deleted => ['old/t.sqlite'], by_header => []);
    mkdir "$source/new";
    CopierState::database("$source/$_.sqlite") for qw(q new/s);
    LsyncdAsCode::Call::by_list({ held => [ $source, $target ], arguments => [], began => 1 }, \%sifted);
    is_deeply(\@steps, [qw(q.sqlite rsync new/s.sqlite p.sqlite r.sqlite old/t.sqlite)], 'a database in a new directory comes before its old name');
    for (11, 23) {
        ($code, @steps) = ($_);
        is(LsyncdAsCode::Call::by_list({ held => [ $source, $target ], arguments => [], began => 1 }, \%sifted), $code, "rsync ends with $code");
        is_deeply(\@steps, [qw(q.sqlite rsync new/s.sqlite)], 'then nothing is deleted');
    }
};
done_testing();
