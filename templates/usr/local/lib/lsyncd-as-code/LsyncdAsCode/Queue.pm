# The queues of databases to process: calls append to the files, the worker reads them. "queue" holds changes, "queue.pass" the
# databases that a full pass found. A record is NUL, seconds since 1970 with three decimals, a space, the path, NUL. Completed
# records are overwritten with NULs, so that a restarted worker finds the rest; when they fill half of a file, it is rewritten.
#
# The cost of an operation does not grow with the queue: the worker keeps an offset in the file, not its content.
package LsyncdAsCode::Queue;
use strict;
use warnings;
use Fcntl qw(LOCK_EX LOCK_NB O_CREAT O_RDWR O_TRUNC);
use LsyncdAsCode::State  qw(lock_file state_file);
use LsyncdAsCode::System qw(read_at write_at);
use Exporter qw(import);

our @EXPORT_OK = qw(enqueue something_queued open_queue more take peek record_at dead settle_dead finished compact QUEUES);

use constant {
    PIECE  => 1 << 16,
    # Bytes of completed records from which a file is rewritten.
    SPARSE => 1 << 20,
};

# The files, most urgent first.
use constant QUEUES => ('queue', 'queue.pass');

sub something_queued { return scalar grep { -s state_file($_) } QUEUES }

# Adds databases to a queue, all of them or none: dies if there is no room. With $anew, and without a running worker, they replace
# the previous records.
sub enqueue {
    my ($name, $began, $units, $anew) = @_;
    my $lock = lock_file('queue.lock', LOCK_EX) or die "cannot lock the queue: $!\n";
    open my $queue, '>>', state_file($name) or die "cannot open the queue: $!\n";
    if ($anew && lock_file('worker.lock', LOCK_EX | LOCK_NB)) { truncate $queue, 0 or die "cannot empty the queue: $!\n" }
    my $size = -s $queue;
    # It also begins with a NUL, so that it does not merge with a record that a power cut left incomplete.
    my $begin = sprintf "\0%.3f ", $began;
    for (my $at = 0; $at < @$units; $at += 10_000) {
        my $last = $at + 9_999 < $#$units ? $at + 9_999 : $#$units;
        my $text = join '', map { "$begin$_\0" } @$units[ $at .. $last ];
        my $written = syswrite $queue, $text;
        next if defined $written && $written == length $text;
        my $why = defined $written ? 'there is no room for all of it' : $!;
        truncate $queue, $size;
        die "cannot write the queue: $why\n";
    }
    return;
}

# --- the worker's side ---------------------------------------------------------------------------------------------

# Opens a queue for the worker. {unread}: the number of records that it has not taken yet.
sub open_queue {
    my ($name) = @_;
    my $self = bless { name => $name, read => 0, counted => 0, unread => 0, dead => 0, ranges => [] }, __PACKAGE__;
    reopen($self);
    return $self;
}

sub reopen {
    my ($self) = @_;
    sysopen $self->{file}, state_file($self->{name}), O_RDWR | O_CREAT, 0600 or die "cannot open the queue: $!\n";
    return;
}

# Counts the records added since the last call. Returns how many are not taken yet.
sub more {
    my ($self) = @_;
    my $size = -s $self->{file};
    while ($self->{counted} < $size - 1) {
        my $data = read_at($self->{file}, $self->{counted}, 1 << 20);
        last if length $data < 2;
        # A record that spans two pieces is counted where it begins. The last byte is also the first of the next piece.
        $self->{unread} += () = $data =~ /\0[0-9]/g;
        $self->{counted} += length($data) - 1;
    }
    return $self->{unread};
}

# Takes up to $limit records: { path, since, at, size }; the last two locate it in the file.
sub take {
    my ($self, $limit) = @_;
    my ($found, $read) = parse($self, $limit);
    $self->{read} = $read;
    # A record whose end is missing was counted, and is counted again when there is more.
    if (!@$found) { @$self{qw(unread counted)} = (0, $read) }
    $self->{unread} -= @$found;
    $self->{unread} = 0 if $self->{unread} < 0 || $read >= $self->{counted};
    return @$found;
}

# Returns the same without taking them.
sub peek { my ($self, $limit) = @_; return @{ (parse($self, $limit))[0] } }

sub parse {
    my ($self, $limit) = @_;
    my ($at, @found) = ($self->{read});
    while (@found < $limit) {
        my $data = read_at($self->{file}, $at, PIECE);
        last if $data eq '';
        my $end = 0;
        while (@found < $limit && $data =~ /\G\0*(?:([0-9]+\.[0-9]{3}) ([^\0]+)|[^\0]+)\0/gc) {
            $end = pos $data;
            push @found, { path => $2, since => $1, at => $at + $-[1], size => $end - 1 - $-[1] } if defined $1;
        }
        if (!$end) {
            # NULs are completed records. Anything else is a record that is not complete yet.
            $data =~ /\A\0*/;
            # The last NUL is the beginning of the next record.
            $end = $+[0] - ($+[0] < length $data || length $data < PIECE ? 1 : 0);
            last if $end <= 0;
        }
        $at += $end;
        last if length $data < PIECE && $end >= length($data) - 1;
    }
    return (\@found, $at);
}

# Returns the record at an offset that `take` returned.
sub record_at {
    my ($self, $at) = @_;
    my $data = read_at($self->{file}, $at, 512);
    $data = read_at($self->{file}, $at, 8192) if index($data, "\0") < 0;
    my ($since, $path) = $data =~ /\A([0-9]+\.[0-9]{3}) ([^\0]+)\0/ or return undef;
    return { path => $path, since => $since, at => $at, size => length($since) + 1 + length $path };
}

# Marks a record as completed; settle_dead writes that to the file, adjacent records together.
sub dead {
    my ($self, $record) = @_;
    my $last = $self->{ranges}[-1];
    if ($last && $record->{at} == $last->[1] + 2) { $last->[1] = $record->{at} + $record->{size} }
    else { push @{ $self->{ranges} }, [ $record->{at}, $record->{at} + $record->{size} ] }
    $self->{dead} += $record->{size} + 2;
    return;
}

sub settle_dead {
    my ($self) = @_;
    for my $range (@{ $self->{ranges} }) {
        for (my $at = $range->[0]; $at < $range->[1]; $at += 1 << 20) {
            my $length = $range->[1] - $at;
            write_at($self->{file}, $at, "\0" x ($length < 1 << 20 ? $length : 1 << 20));
        }
    }
    $self->{ranges} = [];
    return;
}

# Empties all queues if no record is left, under the lock, so that no call can add one unseen. Returns 1 if none was left.
sub finished {
    my @queues = @_;
    my $lock = lock_file('queue.lock', LOCK_EX) or return 0;
    # Whatever the count says, a worker that cannot end has something to do.
    for (@queues) { if (peek($_, 1)) { $_->{unread} ||= 1; return 0 } }
    for my $self (@queues) {
        truncate $self->{file}, 0 or return 0;
        @$self{qw(read counted unread dead ranges)} = (0, 0, 0, 0, []);
    }
    return 1;
}

# Rewrites the file without completed records if they fill half of it. Returns a map from old to new offsets of the records that
# were taken (pairs of 32-bit numbers, ascending), or undef if there is nothing to do.
sub compact {
    my ($self) = @_;
    return undef if $self->{dead} < SPARSE || $self->{dead} * 2 < -s $self->{file};
    settle_dead($self);
    my $lock = lock_file('queue.lock', LOCK_EX) or return undef;
    # Calls have added records since the last count.
    more($self);
    my $path = state_file($self->{name});
    sysopen my $new, "$path.new", O_RDWR | O_CREAT | O_TRUNC, 0600 or die "cannot write $path.new: $!\n";
    my ($old, $to, $map, $text) = ({ %$self, read => 0 }, 0, '', '');
    # Records that were taken, and are neither completed nor discarded.
    while ($old->{read} < $self->{read}) {
        my ($found, $read) = parse($old, 1000);
        last if $read == $old->{read};
        $old->{read} = $read;
        for my $record (grep { $_->{at} < $self->{read} } @$found) {
            $map .= pack 'LL', $record->{at}, $to + length($text) + 1;
            $text .= "\0$record->{since} $record->{path}\0";
        }
        if (length $text > 1 << 20 || $old->{read} >= $self->{read}) { write_at($new, $to, $text); $to += length $text; $text = '' }
    }
    if (length $text) { write_at($new, $to, $text); $to += length $text }
    my $read = $to;
    for (my $at = $self->{read}; (my $data = read_at($self->{file}, $at, 1 << 20)) ne ''; $at += length $data) {
        write_at($new, $to, $data);
        $to += length $data;
    }
    rename "$path.new", $path or die "cannot replace $path: $!\n";
    @$self{qw(file counted read dead)} = ($new, $to, $read, 0);
    return \$map;
}

1;
