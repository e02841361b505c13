# Processes the queue in the background while its lsyncd runs. Changes come first, some hundreds per round; other processes copy
# the databases that a full pass found, and every big database, in parallel. It alone deletes what is gone from the source, and a renamed database
# when it is in the mirror under its new name.
package LsyncdAsCode::Worker;
use strict;
use warnings;
use Fcntl qw(LOCK_EX LOCK_NB O_NONBLOCK O_RDWR);
use POSIX qw(:sys_wait_h);
use LsyncdAsCode::Batch  qw(copy_all copy_found);
use LsyncdAsCode::Paths  ();
use LsyncdAsCode::Place  qw(forget_directories inode_of made_from one size_of);
use LsyncdAsCode::Queue  ();
use LsyncdAsCode::Run    qw(lives read_run);
use LsyncdAsCode::Start  ();
use LsyncdAsCode::State  qw(lock_file say_error setting state_file BIG);
use LsyncdAsCode::Status qw(write_status LISTED);
use LsyncdAsCode::System qw(ticks);
use LsyncdAsCode::Temporary ();
use LsyncdAsCode::Waiting ();
use LsyncdAsCode::Whole   ();

use constant RENAMED => 'it is gone from the source; its copy under its new name comes first';
use constant {
    LINGER       => 2,      # seconds that an idle worker waits for more
    BIG_AT_ONCE  => 2,
    ROUND        => 200,    # changes per round; new ones are accepted between two rounds
    RETRIES      => 100,    # the most retries among them
    # The most databases whose inodes are known although they wait, and the most that keep an old name: two megabytes each.
    KNOWN        => 10_000,
    # Seconds for which a database keeps its old name at most: half of those for which the gate's grant is valid (Gate/Grants.pm).
    LONGEST      => 43_200,
    # Databases of a pass that one process copies: at first, and the most. More of them while that ends within half a second, because a change
    # of one of them waits for it.
    FIRST_BATCH  => 200,
    MOST_BATCH   => 1600,
};

# Seconds until the next try, by the cause and the number of tries.
my %WAIT = (
    changed => sub { my ($n) = @_; return $n < 5 ? 0.02 : 0.5 },
    locked  => sub { my ($n) = @_; return $n < 20 ? 0.1 : 1 },
    hot     => sub { return 2 },
    slow    => sub { return 30 },
    space   => sub { return 10 },
    error   => sub { return 5 },
    queued  => sub { return 0 },
    throttled => sub { return 0 },
    gone    => sub { return 0 },
);

# Returns the number of processes that copy what a pass found: one more than processors, because one of them waits for the disk; at most five.
sub passes_at_once {
    my $number = () = LsyncdAsCode::State::slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    return $number < 4 ? $number + 1 : 5;
}

# A call made while a worker ends finds it alive and starts none. So a worker that has ended checks once more, without the lock.
sub work_on {
    my $ended = 0;
    local $SIG{TERM} = sub { $ended = 1 };
    while (work_once(\$ended) && !$ended && !LsyncdAsCode::Whole::exchanged() && LsyncdAsCode::Queue::something_queued()) {
        my $run = read_run() or last;
        last unless lives($run);
    }
    # Another version waits, and what is queued is for that.
    LsyncdAsCode::Start::become_worker() if !$ended && LsyncdAsCode::Whole::exchanged();
    return;
}

# Works until nothing is left to do; returns false if there was another worker.
sub work_once {
    my ($ended) = @_;
    my $single = lock_file('worker.lock', LOCK_EX | LOCK_NB) or return 0;
    sysopen my $wake, state_file('wake'), O_RDWR | O_NONBLOCK or die "cannot open the pipe: $!\n";
    my $self = {
        queues => [ map { LsyncdAsCode::Queue::open_queue($_) } LsyncdAsCode::Queue::QUEUES ], 
        # By path: the process that copies it, and the first change since that began. By process: its result so far.
        running => {}, children => {}, big => 0, passes => 0, at_once => passes_at_once(), batch => FIRST_BATCH,
        # For big ones: when each may be copied completely again, and how long that took.
        earliest => {}, took => {}, told => 0, listed => 0, share => setting('sqlite_copy_share') / 100,
        # By its inode: the path of a database whose copy is not made yet.
        inodes => {}, cleaned => -60,
        # By its old name: since when a database keeps that.
        held => {},
        # When it last had something to do.
        busy => ticks(),
    };
    $self->{waiting} = LsyncdAsCode::Waiting->new(sub { return (by_ref($self, $_[0]) // return undef)->{path} });
    until ($$ended) {
        my $run = read_run() or last;
        # A worker without its lsyncd must not touch the mirror; the queue stays for the next start.
        last unless lives($run);
        # A deployment: the worker of the next version goes on, once the copies that have begun are done.
        $self->{leaving} = LsyncdAsCode::Whole::exchanged();
        last if $self->{leaving} && !%{ $self->{children} };
        my $next = round($self, $run, $ended);
        report($self, 0);
        if (pending($self)) { $self->{busy} = ticks() }
        else {
            last if ticks() - $self->{busy} > LINGER && LsyncdAsCode::Queue::finished(@{ $self->{queues} });
            $next = $self->{busy} + LINGER + 0.01;
        }
        my $bits = '';
        vec($bits, fileno $_, 1) = 1 for $wake, map { $_->{result} } values %{ $self->{children} };
        # Checks once a second that lsyncd still runs.
        my $wait = $next - ticks();
        select $bits, undef, undef, $wait < 0 ? 0 : $wait > 1 ? 1 : $wait;
        sysread $wake, my $drain, 4096;
    }
    kill 'TERM', keys %{ $self->{children} };
    # The children hold the lock too.
    waitpid $_, 0 for keys %{ $self->{children} };
    for my $queue (@{ $self->{queues} }) { LsyncdAsCode::Queue::settle_dead($queue) }
    report($self, 1);
    # It refers to $self.
    delete $self->{waiting};
    close $single;
    return 1;
}

# Returns the number of databases that are not up to date in the mirror.
sub pending {
    my ($self) = @_;
    my $running = grep { !$self->{waiting}->has($_) } keys %{ $self->{running} };
    my $unread = 0;
    $unread += $_->{unread} for @{ $self->{queues} };
    return $running + $unread + $self->{waiting}->count;
}

# Does what is due; returns when the next item is due. Copies come before deletions, as with --delete-after.
sub round {
    my ($self, $run, $ended) = @_;
    collect($self, $run);
    my ($changes, $pass) = @{ $self->{queues} };
    LsyncdAsCode::Queue::more($_) for $changes, $pass;
    my $share = int($pass->{unread} / $self->{at_once}) + 1;
    start_pass($self, $run, $share) while can_start($self, 'pass') && !$$ended;
    my @due = retries($self);
    push @due, fresh($self, $run, 0, ROUND - @due);
    # Small databases are up to date by the end of a round, so that nothing is pending after it.
    $self->{busy} = ticks() if @due;
    my (@small, @gone);
    for my $item (@due) {
        my $size = size_of($run, $item->{path}, 1);
        if (!defined $size) { push @gone, $item; next }
        delete $self->{held}{ $item->{path} };
        if    ($size < BIG)             { push @small, $item }
        elsif (can_start($self, 'big')) { start_big($self, $run, $item) }
        else                            { put_off($self, $item, ticks() + 0.2, 'queued', ''); remember($self, $run, $item->{path}) }
    }
    my @copied = copy_all(keeping($run), [ map { $_->{path} } @small ], whole($self));
    # Such as a socket that has taken the name of a database.
    push @gone, map { $small[$_] } grep { $copied[$_]{why} && $copied[$_]{why} eq 'gone' } 0 .. $#small;
    my @made = grep { !$copied[$_]{why} || $copied[$_]{why} ne 'gone' } 0 .. $#small;
    settle_all($self, $run, [ @small[@made] ], @copied[@made]);
    my @deleted = grep { !is_renamed($self, $run, $_) } @gone;
    settle_all($self, $run, \@deleted, copy_all($run, [ map { $_->{path} } @deleted ], whole($self)));
    forget_directories();
    for my $queue ($changes, $pass) { LsyncdAsCode::Queue::settle_dead($queue) }
    compact($self);
    my $now = ticks();
    return $now if $changes->{unread} || can_start($self, 'pass');
    return $self->{waiting}->next_due // $now + 3600;
}

# The run for a copy that leaves what is gone: its result is "gone".
sub keeping { my ($run) = @_; return { %$run, keep => 1 } }

# Notes the inode of a database whose copy is not made yet.
sub remember {
    my ($self, $run, $path) = @_;
    my $inodes = $self->{inodes};
    if (keys %$inodes >= KNOWN) {
        # Seldom, because it looks at all of them.
        return if ticks() < $self->{cleaned} + 60;
        $self->{cleaned} = ticks();
        delete @$inodes{ grep { !is_due($self, $inodes->{$_}) } keys %$inodes };
        return if keys %$inodes >= KNOWN;
    }
    my $inode = inode_of($run, $path);
    $inodes->{$inode} = $path if defined $inode;
    return;
}

sub is_due { my ($self, $path) = @_; return $self->{running}{$path} || $self->{waiting}->has($path) }

# Whether a database that is gone from the source keeps its old name in the mirror: it is there under another name, and its copy of that name is
# not made yet. It is then put off.
sub is_renamed {
    my ($self, $run, $item) = @_;
    my ($path, $held, $now) = ($item->{path}, $self->{held}, ticks());
    my $since = $held->{$path} // $now;
    if ($now - $since > LONGEST || !exists $held->{$path} && keys %$held >= KNOWN || !defined new_name($self, $run, $path)) {
        delete $held->{$path};
        return 0;
    }
    $held->{$path} = $since;
    # Many of them must not take the time of the copies.
    my $wait = ($now - $since) / 10;
    put_off($self, $item, $now + ($wait < 0.2 ? 0.2 : $wait > 60 ? 60 : $wait), 'gone', RENAMED);
    return 1;
}

# Returns the name in the source of the database from which the mirror's copy of $old was made, if that is still to be copied. A copy that lacks
# room needs that of the old name.
sub new_name {
    my ($self, $run, $old) = @_;
    my $inode = made_from($run, $old) // return undef;
    my @passes = grep { $_->{kind} eq 'passes' } values %{ $self->{children} };
    for my $child (@passes) { $child->{inodes} //= { map { (inode_of($run, $_->{path}) // '') => $_->{path} } @{ $child->{items} } } }
    for my $inodes ($self->{inodes}, map { $_->{inodes} } @passes) {
        my $path = $inodes->{$inode} // next;
        my $due  = $path ne $old && is_due($self, $path) && (inode_of($run, $path) // '') eq $inode;
        # It may be due again, such as one that is always written.
        if (!$due || (made_from($run, $path) // '') eq $inode) { delete $inodes->{$inode}; next }
        my $entry = $self->{waiting}->has($path) ? $self->{waiting}->entry($path) : undef;
        return $path if !$entry || $entry->{why} ne 'space';
    }
    return undef;
}

# Whether another process may begin to copy what a pass has found, or a big database.
sub can_start {
    my ($self, $kind) = @_;
    return 0 if $self->{leaving};
    return $kind eq 'big' ? $self->{big} < BIG_AT_ONCE : $self->{queues}[1]{unread} && $self->{passes} < $self->{at_once};
}

sub whole {
    my ($self) = @_;
    return sub { my ($path) = @_; return ($self->{earliest}{$path} // 0) <= ticks() };
}

# Returns the next records of a queue, without databases that are being copied or already wait for their next try.
sub fresh {
    my ($self, $run, $which, $limit) = @_;
    my $queue = $self->{queues}[$which];
    return if !$queue->{unread} || $limit <= 0;
    my (@items, %here);
    for my $item (LsyncdAsCode::Queue::take($queue, $limit)) {
        my $path = $item->{path};
        $item->{which} = $which;
        my $running = $self->{running}{$path};
        my $due = is_due($self, $path);
        if ($running && !$running->{again}) { $running->{again} = $item }
        elsif ($due || $here{$path}++) { LsyncdAsCode::Queue::dead($queue, $item) }
        else { push @items, $item }
        # It may be another file than before.
        remember($self, $run, $path) if $due;
    }
    return @items;
}

# Returns the databases to retry now.
sub retries {
    my ($self) = @_;
    return map { by_ref($self, $_) // () } $self->{waiting}->due(ticks(), RETRIES);
}

sub ref_of { my ($item) = @_; return $item->{at} << 1 | $item->{which} }

sub by_ref {
    my ($self, $ref) = @_;
    my $item = LsyncdAsCode::Queue::record_at($self->{queues}[ $ref & 1 ], $ref >> 1) // return undef;
    $item->{which} = $ref & 1;
    return $item;
}

sub settle_all {
    my ($self, $run, $items, @results) = @_;
    for my $at (0 .. $#$items) { settle($self, $run, $items->[$at], $results[$at]) }
    return;
}

# Updates the lists for a result.
sub settle {
    my ($self, $run, $item, $done) = @_;
    my ($path, $waiting, $now) = ($item->{path}, $self->{waiting}, ticks());
    my $again = (delete $self->{running}{$path} // {})->{again};
    $self->{took}{$path} = $done->{seconds} if ($done->{bytes} || 0) >= BIG;
    # Appends to a WAL are not limited; and below half a second lsyncd's own delay is longer. A long copy that failed counts too.
    my $pause = $done->{seconds} * (1 / $self->{share} - 1);
    if ($pause > 0.5) { $self->{earliest}{$path} = $now + $pause }
    elsif ($done->{state} ne 'deferred' && ($self->{earliest}{$path} // 0) <= $now) { delete $self->{earliest}{$path} }
    if ($done->{state} ne 'deferred') {
        $waiting->remove($path);
        delete $self->{held}{$path};
        delete $self->{took}{$path} if $done->{state} eq 'deleted';
        LsyncdAsCode::Queue::dead($self->{queues}[ $item->{which} ], $item);
        put_off($self, $again, $now, 'queued', '') if $again;
        return;
    }
    LsyncdAsCode::Queue::dead($self->{queues}[ $again->{which} ], $again) if $again;
    my $why = $WAIT{ $done->{why} } ? $done->{why} : 'error';
    my $tries = $waiting->has($path) ? $waiting->entry($path)->{tries} : 0;
    my $wait = $WAIT{$why}->($tries);
    remember($self, $run, $path) if $why ne 'gone';
    my $due = $now + ($pause > 0.5 && $pause > $wait ? $pause : $wait);
    if ($why eq 'throttled') { $due = $self->{earliest}{$path} // $now }
    my $news = put_off($self, $item, $due, $why, $done->{reason});
    say_error(LsyncdAsCode::Paths::printable($path) . ": $done->{reason}; it keeps its last copy in the mirror and is tried again")
        if $news && $why =~ /\A(?:error|space|slow|hot)\z/;
    return;
}

sub put_off {
    my ($self, $item, $due, $why, $reason) = @_;
    return $self->{waiting}->defer($item->{path}, $item->{since}, ref_of($item), $due, $why, $reason);
}

# --- other processes -----------------------------------------------------------------------------------------------------

# Starts a process that copies these items: its locks are dropped however it ends. $work->() returns their results.
sub start {
    my ($self, $kind, $items, $work) = @_;
    pipe my $result, my $tell or die "pipe: $!\n";
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) {
        local $SIG{TERM} = 'DEFAULT';
        close $result;
        my @done = $work->();
        my $text = join '', map { join("\0", map { ($_ // '') =~ tr/\0\n/  /r } @$_{qw(state why reason bytes seconds)}) . "\n" } @done;
        for (my $at = 0; $at < length $text;) { $at += syswrite($tell, $text, length($text) - $at, $at) // last }
        POSIX::_exit(0);
    }
    $self->{running}{ $_->{path} } = { pid => $pid, since => $_->{since} } for @$items;
    $self->{children}{$pid} = { kind => $kind, items => $items, result => $result, text => '', began => ticks() };
    $self->{$kind}++;
    return;
}

sub start_big {
    my ($self, $run, $item) = @_;
    my $whole = whole($self)->($item->{path});
    start($self, 'big', [$item], sub { return one(keeping($run), $item->{path}, $whole) });
    remember($self, $run, $item->{path});
    return;
}

# Copies the next databases that a pass found, in a separate process, so that changes do not wait for them.
sub start_pass {
    my ($self, $run, $share) = @_;
    my @items = fresh($self, $run, 1, this_batch($self->{batch}, $share)) or return;
    my $whole = whole($self);
    # A big one is then handled like a change.
    start($self, 'passes', \@items, sub { return copy_found(keeping($run), [ map { $_->{path} } @items ], $whole) });
    return;
}

# Returns how many databases a process copies now: a batch, or an equal share of the last ones, so that all processes end together.
sub this_batch {
    my ($batch, $share) = @_;
    return $share > 2 * $batch ? $batch : bounded($share);
}

# Returns how many databases the next process copies, after one took so many seconds for $many of them.
sub next_batch {
    my ($batch, $many, $seconds) = @_;
    my $next = $seconds < 0.5 && 2 * $many > $batch ? 2 * $many : $seconds > 1 && $many / 2 < $batch ? int($many / 2) : $batch;
    return bounded($next);
}

sub bounded { my ($many) = @_; return $many < FIRST_BATCH ? FIRST_BATCH : $many > MOST_BATCH ? MOST_BATCH : $many }

# Reads the results of other processes, and settles those that have ended.
sub collect {
    my ($self, $run) = @_;
    for my $pid (keys %{ $self->{children} }) {
        my $child = $self->{children}{$pid};
        my $bits = '';
        vec($bits, fileno $child->{result}, 1) = 1;
        my $open = 1;
        while ($open && select my $ready = $bits, undef, undef, 0) {
            $open = sysread $child->{result}, $child->{text}, 1 << 16, length $child->{text};
        }
        next if $open;
        waitpid $pid, 0;
        LsyncdAsCode::Temporary::sweep_again() if $? & 127;
        delete $self->{children}{$pid};
        $self->{ $child->{kind} }--;
        $self->{batch} = next_batch($self->{batch}, scalar @{ $child->{items} }, ticks() - $child->{began}) if $child->{kind} eq 'passes';
        my @lines = split /\n/, $child->{text};
        for my $item (@{ $child->{items} }) {
            my %done;
            @done{qw(state why reason bytes seconds)} = split /\0/, shift(@lines) // '', -1;
            %done = (state => 'deferred', why => 'error', reason => 'its copy was killed', seconds => 0) unless defined $done{seconds};
            settle($self, $run, $item, \%done);
        }
    }
    return;
}

# --- files ---------------------------------------------------------------------------------------------------------------

sub compact {
    my ($self) = @_;
    for my $which (0 .. $#{ $self->{queues} }) {
        my $map = LsyncdAsCode::Queue::compact($self->{queues}[$which]) or next;
        $self->{waiting}->moved($which, $map);
        # Databases that are gone leave theirs.
        my ($earliest, $now) = ($self->{earliest}, ticks());
        delete @$earliest{ grep { $earliest->{$_} <= $now } keys %$earliest };
        my @items = ((map { @{ $_->{items} } } values %{ $self->{children} }), map { $_->{again} // () } values %{ $self->{running} });
        for my $item (grep { $_->{which} == $which } @items) { $item->{at} = LsyncdAsCode::Waiting::new_place($map, $item->{at}) }
    }
    return;
}

# Writes status.tsv, at most once a second, and only if something has changed.
sub report {
    my ($self, $last) = @_;
    my $now = ticks();
    my $many = pending($self);
    return if !$last && $now - $self->{told} < 1 && ($many || !$self->{listed});
    @$self{qw(told listed)} = ($now, $many);
    my ($waiting, $running) = @$self{qw(waiting running)};
    my $is_live = sub { my ($ref) = @_; my $item = by_ref($self, $ref); return $item && $waiting->has($item->{path}) };
    my @entries = map { [ $running->{$_}{since}, 'copying', $_, explained($self, $_) ] } keys %$running;
    for my $item (map { by_ref($self, $_) // () } $waiting->oldest(LISTED, $is_live)) {
        next if $running->{ $item->{path} };
        my $entry = $waiting->entry($item->{path}) // next;
        push @entries, [ $entry->{since}, $entry->{why}, $item->{path}, explained($self, $item->{path}, $entry->{reason}) ];
    }
    for my $queue (@{ $self->{queues} }) { push @entries, map { [ $_->{since}, 'queued', $_->{path}, '' ] } LsyncdAsCode::Queue::peek($queue, LISTED) }
    eval { write_status($many, \@entries); 1 } or say_error($@ =~ s/\s+\z//r);
    return;
}

sub explained {
    my ($self, $path, $reason) = @_;
    my $took = $self->{took}{$path};
    return join '; ', grep { defined && length } $reason, defined $took ? sprintf('its last copy took %.2f s', $took) : undef;
}

1;
