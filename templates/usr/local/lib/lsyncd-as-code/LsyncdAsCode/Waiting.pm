# Databases that could not be copied yet: when each is tried again, since when it has been waiting, and why. Buckets of time find
# the due and the oldest ones, and a hash table finds one by its path, without a scan of the others.
#
# A Perl hash needs 140 bytes plus the path per entry. So paths stay in the queue's files ({path_of} reads one by the offset of
# its record), and the table is three packed strings, with one slot per entry and free ones between them.
package LsyncdAsCode::Waiting;
use strict;
use warnings;
no warnings qw(portable);    # 64-bit numbers: no other machine is served (System.pm)

use constant {
    TICKS   => 50,            # buckets of a second
    REASONS => 4000,          # the most different reasons that are stored
    FREE    => 0,             # instead of a record
    REMOVED => 1,
    EPOCH   => 1e12,          # milliseconds, to keep those of an entry within 41 bits
};

# $path_of->($ref): returns the path of the record at a place, undef if there is none (any more).
sub new {
    my ($class, $path_of) = @_;
    my $self = bless { path_of => $path_of, due => {}, due_keys => [], since => {}, reasons => [], reason_ids => {}, count => 0 }, $class;
    resize($self, 64);
    return $self;
}

sub count { my ($self) = @_; return $self->{count} }

sub has { my ($self, $path) = @_; return $self->{count} && defined slot_of($self, $path) }

# Adds a database, or records another failed try of a known one. $ref is the place of its record (at least 2), $due the time of
# the next try (in seconds of a monotonic clock). Returns true if the reason has changed.
sub defer {
    my ($self, $path, $since, $ref, $due, $why, $reason) = @_;
    my $slot = slot_of($self, $path);
    my $id = reason_id($self, $why, $reason);
    my $news = 1;
    if (!defined $slot) {
        my $bucket = $self->{since}{ int $since } //= [ 0, '' ];
        $bucket->[0]++;
        $bucket->[1] .= pack 'L', $ref;
        add($self, hash($path), $ref, (int($since * 1000 + 0.5) - EPOCH) << 20 | $id << 8 | 1);
    }
    else {
        my $old = vec $self->{numbers}, $slot, 64;
        my $tries = ($old & 0xff) + 1;
        vec($self->{numbers}, $slot, 64) = $old & ~0xfffff | $id << 8 | ($tries > 255 ? 255 : $tries);
        $news = ($old >> 8 & 0xfff) != $id;
    }
    my $tick = int($due * TICKS) + 1;
    push_key($self->{due_keys}, $tick) unless exists $self->{due}{$tick};
    $self->{due}{$tick} .= pack 'L', $ref;
    return $news;
}

sub reason_id {
    my ($self, $why, $reason) = @_;
    my $text = "$why\0$reason";
    my $id = $self->{reason_ids}{$text};
    return $id if defined $id;
    forget_reasons($self) if @{ $self->{reasons} } >= REASONS && !$self->{crowded};
    # Too many reasons that differ in a number: the journal has them.
    return reason_id($self, $why, 'see the journal') if @{ $self->{reasons} } >= REASONS && $reason ne 'see the journal' && @{ $self->{reasons} } < REASONS + 20;
    push @{ $self->{reasons} }, $text;
    return $self->{reason_ids}{$text} = $#{ $self->{reasons} };
}

# Drops the reasons that no entry has any more. If most are in use, this is not tried again.
sub forget_reasons {
    my ($self) = @_;
    my (@reasons, %new);
    for my $slot (grep { vec($self->{refs}, $_, 32) > REMOVED } 0 .. $self->{mask}) {
        my $number = vec $self->{numbers}, $slot, 64;
        my $id = $number >> 8 & 0xfff;
        $new{$id} //= push(@reasons, $self->{reasons}[$id]) - 1;
        vec($self->{numbers}, $slot, 64) = $number & ~0xfff00 | $new{$id} << 8;
    }
    @$self{qw(reasons reason_ids crowded)} = (\@reasons, { map { $reasons[$_] => $_ } 0 .. $#reasons }, @reasons > REASONS / 2);
    return;
}

# Returns { since, tries, why, reason } of a waiting database; undef if it does not wait.
sub entry {
    my ($self, $path) = @_;
    my $slot = slot_of($self, $path) // return undef;
    my $number = vec $self->{numbers}, $slot, 64;
    my ($why, $reason) = split /\0/, $self->{reasons}[ $number >> 8 & 0xfff ], 2;
    return { since => (($number >> 20) + EPOCH) / 1000, tries => $number & 0xff, why => $why, reason => $reason };
}

sub remove {
    my ($self, $path) = @_;
    my $slot = slot_of($self, $path) // return;
    my $second = int(((vec($self->{numbers}, $slot, 64) >> 20) + EPOCH) / 1000);
    vec($self->{refs}, $slot, 32) = REMOVED;
    delete $self->{since}{$second} if $self->{since}{$second} && --$self->{since}{$second}[0] == 0;
    # An empty table frees the memory of earlier entries.
    %$self = %{ LsyncdAsCode::Waiting->new($self->{path_of}) } if --$self->{count} == 0;
    return;
}

# --- the table --------------------------------------------------------------------------------------------------------

# Returns a 32-bit hash of a path.
sub hash {
    my ($path) = @_;
    use integer;
    my $hash = length $path;
    for my $word (unpack 'q*', $path . "\0" x 7) { $hash = ($hash ^ $word) * -7046029254386353131; $hash ^= $hash >> 29 & 0x7ffffffff }
    return $hash >> 16 & 0xffffffff;
}

# Returns the slot of a path; undef if it is not in the table. Reads only records with the same hash.
sub slot_of {
    my ($self, $path) = @_;
    return undef unless $self->{count};
    my $hash = hash($path);
    for (my $slot = $hash & $self->{mask}; (my $ref = vec $self->{refs}, $slot, 32) != FREE; $slot = $slot + 1 & $self->{mask}) {
        next if $ref == REMOVED || vec($self->{hashes}, $slot, 32) != $hash;
        my $found = $self->{path_of}->($ref);
        return $slot if defined $found && $found eq $path;
    }
    return undef;
}

sub add {
    my ($self, $hash, $ref, $number) = @_;
    resize($self, $self->{count} * 2 > $self->{mask} / 2 ? 2 * ($self->{mask} + 1) : $self->{mask} + 1) if ($self->{used} + 1) * 3 > ($self->{mask} + 1) * 2;
    my $slot = $hash & $self->{mask};
    $slot = $slot + 1 & $self->{mask} while vec($self->{refs}, $slot, 32) > REMOVED;
    $self->{used}++ if vec($self->{refs}, $slot, 32) == FREE;
    vec($self->{refs}, $slot, 32) = $ref;
    vec($self->{hashes}, $slot, 32) = $hash;
    vec($self->{numbers}, $slot, 64) = $number;
    $self->{count}++;
    return;
}

# Resizes the table to $slots, a power of two, and keeps all entries. {used} counts slots that are not free, including removed
# ones.
sub resize {
    my ($self, $slots) = @_;
    my %old = map { $_ => delete $self->{$_} } qw(refs hashes numbers mask);
    @$self{qw(refs hashes numbers mask count used)} = ("\0" x (4 * $slots), "\0" x (4 * $slots), "\0" x (8 * $slots), $slots - 1, 0, 0);
    return unless defined $old{mask};
    for my $slot (0 .. $old{mask}) {
        my $ref = vec $old{refs}, $slot, 32;
        add($self, vec($old{hashes}, $slot, 32), $ref, vec($old{numbers}, $slot, 64)) if $ref > REMOVED;
    }
    return;
}

# Returns the places of up to $limit records that are due. The caller defers each again, or removes it.
sub due {
    my ($self, $now, $limit) = @_;
    my ($tick, @due) = (int($now * TICKS));
    while (@due < $limit && defined(my $first = least_key($self, 'due'))) {
        last if $first > $tick;
        my $take = 4 * ($limit - @due);
        push @due, unpack 'L*', substr $self->{due}{$first}, 0, $take;
        if (length $self->{due}{$first} > $take) { substr($self->{due}{$first}, 0, $take) = '' }
        else { delete $self->{due}{$first} }
    }
    return @due;
}

# Returns when the next one is due, in seconds; undef if none waits.
sub next_due { my ($self) = @_; my $tick = least_key($self, 'due'); return defined $tick ? $tick / TICKS : undef }

# Returns the places of up to $limit records that have waited longest, oldest first. $is_live returns whether one still waits.
sub oldest {
    my ($self, $limit, $is_live) = @_;
    my @found;
    for my $second (sort { $a <=> $b } keys %{ $self->{since} }) {
        my $bucket = $self->{since}{$second};
        my ($at, $size) = (0, length $bucket->[1]);
        my $kept = '';
        for (; $at < $size && @found < $limit; $at += 4) {
            my $ref = unpack 'L', substr $bucket->[1], $at, 4;
            $is_live->($ref) or next;
            $kept .= pack 'L', $ref;
            push @found, $ref;
        }
        # Completed ones are not checked again.
        substr($bucket->[1], 0, $at) = $kept if length $kept != $at;
        last if @found >= $limit;
    }
    return @found;
}

# Updates the places after records of one queue have moved ($which: 0 or 1, a place's lowest bit). $map: from Queue::compact.
sub moved {
    my ($self, $which, $map) = @_;
    for my $slot (0 .. $self->{mask}) {
        my $ref = vec $self->{refs}, $slot, 32;
        next if $ref <= REMOVED || ($ref & 1) != $which;
        my $to = new_place($map, $ref >> 1);
        vec($self->{refs}, $slot, 32) = defined $to ? $to << 1 | $which : REMOVED;
    }
    for my $packed (\(@{ $self->{due} }{ keys %{ $self->{due} } }), map { \$_->[1] } values %{ $self->{since} }) {
        my $new = '';
        for my $ref (unpack 'L*', $$packed) {
            if (($ref & 1) != $which) { $new .= pack 'L', $ref; next }
            my $to = new_place($map, $ref >> 1);
            $new .= pack 'L', $to << 1 | $which if defined $to;
        }
        $$packed = $new;
    }
    return;
}

# Looks up a place in a map of Queue::compact; returns undef if that record is completed.
sub new_place {
    my ($map, $old) = @_;
    my ($low, $high) = (0, length($$map) / 8 - 1);
    while ($low <= $high) {
        my $middle = $low + $high >> 1;
        my ($from, $to) = unpack 'LL', substr $$map, $middle * 8, 8;
        return $to if $from == $old;
        if ($from < $old) { $low = $middle + 1 }
        else              { $high = $middle - 1 }
    }
    return undef;
}

# --- a heap of the buckets' keys --------------------------------------------------------------------------------------

sub push_key {
    my ($heap, $key) = @_;
    my $at = @$heap;
    $heap->[$at] = $key;
    while ($at && $heap->[ my $up = $at - 1 >> 1 ] > $key) { @$heap[ $at, $up ] = @$heap[ $up, $at ]; $at = $up }
    return;
}

sub pop_key {
    my ($heap) = @_;
    my $last = pop @$heap;
    return unless @$heap;
    my ($at, $size) = (0, scalar @$heap);
    while ((my $down = 2 * $at + 1) < $size) {
        $down++ if $down + 1 < $size && $heap->[ $down + 1 ] < $heap->[$down];
        last if $heap->[$down] >= $last;
        $heap->[$at] = $heap->[$down];
        $at = $down;
    }
    $heap->[$at] = $last;
    return;
}

# Returns the lowest key that still has a bucket.
sub least_key {
    my ($self, $what) = @_;
    my $heap = $self->{"${what}_keys"};
    pop_key($heap) while @$heap && !exists $self->{$what}{ $heap->[0] };
    return $heap->[0];
}

1;
