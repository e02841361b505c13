# The gate: counts what a pass would remove from the mirror (Gate/Tally.pm), and decides here whether to allow it. Nothing else on
# a host deletes anything from the mirror. The reasons, and what it detects with which figures: docs/decisions/0007-gate.md.
package LsyncdAsCode::Gate;
use strict;
use warnings;
use LsyncdAsCode::Gate::Names ();
use LsyncdAsCode::Gate::Permit ();
use LsyncdAsCode::Paths ();
use LsyncdAsCode::System qw(date_time);

# The window of the limits, in seconds.
use constant WINDOW => 600;
# Percent of the previous entries: losing this many is always held, whatever the limits are.
use constant NEARLY_ALL => 80;
# Percent of the entries: altering more than that within the window is held.
use constant MOST => 50;
# The deletion of a single file is not a loss of everything, unless it is a database or has at least this many bytes.
use constant MATTERS => 1 << 20;
# A new database of at most this share of a lost one's bytes is not that one moved.
use constant MOVED => 0.5;
# Losing all databases of a directory is held if it has at least this many; for a whole volume, one is enough.
use constant TOGETHER => 3;
# The most entries that a search for other databases reads.
use constant SEARCHED => 20_000;

sub new {
    my ($class, $settings, $limits) = @_;
    return bless {
        source => $settings->text('source'),
        held   => $settings->text('held_file'),
        allow  => $settings->text('allow_file'),
        memory => $settings->text('entries_file'),
        # The mirror may lose this many entries, or this many percent if that is more.
        limit  => $limits->number('deletion_limit'),
        share  => $limits->number('deletion_share'),
    }, $class;
}

# Decides on the tally of a pass (Gate/Work.pm) and records it. Returns undef if the pass may go on, otherwise what would happen, for
# `hold`.
sub refuses {
    my ($self, $pass, $work) = @_;
    my $now     = time;
    my $tally   = $work->tally;
    my ($used, $kept) = $work->used;
    my $pending = $work->pending($now);
    my $known   = defined $used ? $used - $kept - $pending : undef;
    my @past    = past($self->{memory}, $now);
    my %altered = altered("$self->{memory}.altered", $now);
    $altered{ hash($_) } = $now for @{ $tally->{altered} };
    my $verdict = judge(
        now => $now, past => \@past, known => $known, pending => $pending, limit => $self->{limit}, share => $self->{share},
        (map { $_ => $tally->{$_} } qw(removed added full new_full emptied refilled files bytes)),
        altered   => @{ $tally->{altered} } ? scalar keys %altered : 0,
        databases => scalar keys %{ $tally->{databases} },
        total     => sub { total($tally->{target}, @_) },
        lost_together => sub { lost_together($tally) },
    );
    if (defined $verdict->{would} && !$pass->is_event) {
        # A one-time permission is for a full pass, with which the next start of lsyncd begins.
        my $permit = LsyncdAsCode::Gate::Permit::read($self->{allow}, $now);
        if ($permit && LsyncdAsCode::Gate::Permit::covers($permit, $tally)) {
            @$self{qw(permitted)} = (1);
            return undef;
        }
    }
    return $verdict->{would} if defined $verdict->{would};
    replace($self->{memory}, join '', map { "@$_\n" } @{ $verdict->{memory} });
    replace("$self->{memory}.altered", pack '(NN)*', %altered) if @{ $tally->{altered} };
    return undef;
}

# Ends a one-time permission: its full pass has reached the deletions. From there on, the mirror's new content is the base for the
# limits.
sub end_permit {
    my ($self, $pass) = @_;
    return if $pass->is_event;
    LsyncdAsCode::Gate::Permit::remove($self->{allow});
    unlink $self->{memory}, "$self->{memory}.altered" if $self->{permitted};
    return;
}

# Holds the mirror until someone releases it. The first line is for people, the second for lsyncd-release.
sub hold {
    my ($self, $would, $tally) = @_;
    my $at = time;
    my $text = sprintf 'the mirror was stopped at %s: %s. Check %s; if the deletion is intended, allow it once with `lsyncd-release`',
        date_time(localtime $at), $would, $self->{source};
    write_held($self->{held}, $text, LsyncdAsCode::Gate::Permit::name($at, $tally));
    warn "$text\n";
    return $text;
}

# Holds the mirror because the source is older. No permission for a pass ends that.
sub hold_older {
    my ($self, $why) = @_;
    my $text = sprintf 'the mirror was stopped at %s: %s. If the source at %s is correct anyway, mirror it with `lsyncd-release --accept-source`; to restore what the mirror has: docs/disaster-recovery.md',
        date_time(localtime), $why, $self->{source};
    write_held($self->{held}, $text, 'older');
    warn "$text\n";
    return $text;
}

sub write_held {
    my ($path, @lines) = @_;
    replace($path, join '', map { "$_\n" } @lines);
    return;
}

# --- what is remembered ----------------------------------------------------------------------------------------------

sub replace {
    my ($path, $text) = @_;
    open my $file, '>', "$path.new" or return;
    print {$file} $text;
    close $file and rename "$path.new", $path;
    return;
}

# Returns the mirror's entries in the last minutes: [seconds since 1970, entries, files emptied so far, files replaced by
# nothing so far], oldest first.
sub past {
    my ($path, $now) = @_;
    open my $file, '<', $path or return;
    # A time in the future comes from a clock that was wrong then.
    my @past = map { /^(\d+) (-?\d+)(?: (-?\d+))?(?: (-?\d+))?$/ ? [ $1 > $now ? $now : $1 + 0, $2 + 0, $3 // 0, $4 // 0 ] : () } <$file>;
    close $file;
    return @past;
}

# Returns the files altered within the window: hash of the path => seconds since 1970.
sub altered {
    my ($path, $now) = @_;
    open my $file, '<:raw', $path or return;
    my %altered = unpack '(NN)*', do { local $/ = undef; readline($file) // '' };
    close $file;
    # As above: the clock was set back since.
    return map { $_ => $altered{$_} > $now ? $now : $altered{$_} } grep { $altered{$_} > $now - WINDOW } keys %altered;
}

# FNV-1a, 32 bits (perl-base has no digests): sufficient for counting distinct paths.
sub hash {
    my ($text) = @_;
    my $hash = 0x811c9dc5;
    $hash = (($hash ^ $_) * 0x01000193) & 0xffffffff for unpack 'C*', $text;
    return $hash;
}

# --- what is decided ---------------------------------------------------------------------------------------------------

# Decides. Takes now (seconds), past (see above), known (entries of the mirror, undef if its file system does not count them alone),
# pending (entries that are still there, but whose deletion was allowed before; known does not include them),
# removed, added, full, new_full, emptied, refilled, files, bytes (see Tally.pm), altered (files within the window), databases (that
# are lost), limit (entries) and share (percent); total($most), which counts the mirror's entries up to a number; and lost_together,
# which names the databases lost as a whole. Returns would: what would happen, if it is held; memory: the new records.
sub judge {
    my %given = @_;
    my ($now, $known, $removed, $added) = @given{qw(now known removed added)};
    my @past = @{ $given{past} };
    # Without a number of entries, the differences count, from zero on: the limit still works, only the share does not.
    my $entries = $known // (@past ? $past[-1][1] : 0);
    # The newest record from before the window stays: it is the state at the window's start.
    my @recent = grep { $_->[0] > $now - WINDOW } @past;
    my @before = grep { $_->[0] <= $now - WINDOW } @past;
    unshift @recent, $before[-1] if @before;
    # Differences need a beginning.
    push @recent, [ $now, 0, 0, 0 ] if !@recent && !defined $known;
    my ($largest) = sort { $b <=> $a } $entries, map { $_->[1] } @recent;
    my ($replaced, $surplus) = replaced(%given);
    my $shrinks = $largest - ($entries + $added - $surplus - $removed);
    # Files emptied so far, less those that were refilled, and files replaced so far; the rise from the window's minimum counts.
    my ($empty, $emptied) = rise($given{emptied} - $given{refilled}, map { $_->[2] } @recent);
    ($replaced, my $hollow) = rise($replaced, map { $_->[3] } @recent);
    my $lost = $shrinks + $emptied + $hollow;
    my $allowed = $given{limit};
    $allowed = $largest * $given{share} / 100 if defined $known && $largest * $given{share} / 100 > $given{limit};
    my $how = $hollow ? 'deleted, emptied or replaced by empty ones' : $emptied ? 'deleted or emptied' : 'deleted';
    my $takes = $removed + $given{emptied} > 0;

    if ($takes && $lost > $allowed) {
        my $of = defined $known ? sprintf 'its %d', $largest > $lost ? $largest : $lost : 'its';
        return { would => "$lost of $of files and directories would have been $how within ten minutes" };
    }

    # In a small mirror, nearly everything can be less than the limit.
    if ($takes && $lost > 0 && ($given{files} > 1 || $given{bytes} >= MATTERS)) {
        my $gone = $shrinks - ($removed - $added);    # by earlier passes
        $gone = 0 if $gone < 0;
        my $enough = int($lost * 100 / NEARLY_ALL) + 1;
        my $there = $given{total}->($enough + $given{pending}) - $given{pending} + $gone;
        return { would => sprintf 'nearly all of it, %d of its %d files and directories, would have been %s within ten minutes', $lost, $there, $how }
            if $there < $enough;
    }
    if ($given{databases}) {
        my $which = $given{lost_together}->();
        return { would => "$which would have been lost (deleted, emptied or made unrecognisable)" } if defined $which;
    }
    if ($given{altered} > $given{limit}) {
        my $there = $given{total}->(int($given{altered} * 100 / MOST) + 1);
        return { would => sprintf '%d of its %d files would have been rewritten or renamed to another suffix within ten minutes', $given{altered},
            $there > $given{altered} ? $there : $given{altered} }
            if $given{altered} > $there * MOST / 100;
    }

    # Differences may lead below zero. Cut off there, small deletions would not add up.
    my $after = defined $known ? $known : $entries + $added - $removed;
    # One line per second is enough, and limits the file's size.
    pop @recent if defined $known && @recent && $recent[-1][0] == $now && $recent[-1][1] <= $after && $recent[-1][2] >= $empty && $recent[-1][3] >= $replaced;
    return { memory => [ @recent, [ $now, $after, $empty, $replaced ] ] };
}

# Adds to the last of the earlier sums. Returns the new sum, and its rise from their minimum.
sub rise {
    my ($change, @sums) = @_;
    my $sum = (@sums ? $sums[-1] : 0) + $change;
    my ($least) = sort { $a <=> $b } @sums ? @sums : 0;
    return ($sum, $sum > $least ? $sum - $least : 0);
}

# Takes removed, added, full, new_full and refilled of a tally. Returns how many files with content are replaced by entries without
# any (empty files, directories, links), less than 0 if content comes or such entries go, which makes up for earlier ones; and how
# many more such entries come than that.
sub replaced {
    my %given = @_;
    my $goes  = $given{full} - $given{new_full} - $given{refilled};
    my $comes = $given{added} - $given{new_full} - ($given{removed} - $given{full});
    my ($replaced) = sort { $a <=> $b } $goes, $comes;
    return ($replaced, $replaced > 0 ? $comes - $replaced : 0);
}

# Counts the entries of a volume up to a number, without this program's own.
sub total {
    my ($volume, $most) = @_;
    my $count = 0;
    $volume->walk('', sub { my ($path) = @_; return 0 if LsyncdAsCode::Gate::Names::is_own($path); return ++$count >= $most });
    return $count;
}

# Returns which databases would be lost as a whole: all of a directory, or of the volume; undef if others remain. If one is added
# for each of them that is not much smaller, it is a move: a live database grows meanwhile, but does not lose its rows.
sub lost_together {
    my ($tally) = @_;
    my $lost = $tally->{databases};
    my @lost = sort { $b <=> $a } values %$lost;
    my @new  = sort { $b <=> $a } $tally->new_databases;
    return undef if @new >= @lost && !grep { $new[$_] <= $lost[$_] * MOVED } 0 .. $#lost;
    my %in;
    for my $path (keys %$lost) { push @{ $in{ $path =~ m{\A(.*)/}s ? $1 : '' } }, $path }
    my $alone = 1;
    for my $directory (sort keys %in) {
        my $many = @{ $in{$directory} };
        my $others = $tally->{target}->any_name($directory, sub {
            return is_other($tally, length $directory ? "$directory/$_[0]" : $_[0]);
        });
        $alone = 0 if $others;
        return sprintf 'all %d databases of %s', $many, length $directory ? LsyncdAsCode::Paths::printable($directory) : 'its root directory' if !$others && $many >= TOGETHER;
    }
    return undef unless $alone;
    my $searched = 0;
    my $found = $tally->{target}->walk('', sub { my ($path) = @_; return ++$searched > SEARCHED || is_other($tally, $path) });
    my $many = keys %$lost;
    return $found ? undef : $many == 1 ? 'its only database' : "all its $many databases";
}

# Returns true if a path is a database of the mirror that is not lost.
sub is_other {
    my ($tally, $path) = @_;
    return 0 if $tally->{databases}{$path} || LsyncdAsCode::Gate::Names::is_own($path);
    my $there = $tally->{target}->look($path) // return 0;
    return 0 unless $there->{type} eq 'f' && $there->{size} > 0 && $tally->{is_database}->($tally->{target}, $path);
    # A database that is queued for deletion does not remain.
    my $here = $tally->{source}->look($path);
    return $here && $here->{type} eq 'f' ? 1 : 0;
}

1;
