# The gate: what a pass would take from the mirror is counted here and let through or not.
#
# What is limited is by how much the mirror shrinks: entries now, plus what is about to be added, minus what is about to be
# removed, compared with the most it had within ten minutes. So files that are renamed, or created and deleted again, do not
# add up. Why: docs/decisions/0003-safety.md.
package LsyncdAsCode::Gate;
use strict;
use warnings;
use POSIX ();
use LsyncdAsCode::Gate::Count ();
use LsyncdAsCode::Pass qw(GIVE_UP);

# Seconds within which the mirror may shrink by the limit.
use constant WINDOW => 600;
# Seconds for which a deletion that was allowed once is allowed.
use constant ALLOWED_FOR => 86_400;

sub new {
    my ($class, $settings, $limits) = @_;
    return bless {
        source => $settings->text('source'),
        target => $settings->text('target'),
        held   => $settings->text('held_file'),
        allow  => $settings->text('allow_file'),
        memory => $settings->text('entries_file'),
        # The mirror may shrink by so many entries, or by so many percent if that is more.
        limit  => $limits->number('deletion_limit'),
        share  => $limits->number('deletion_share'),
    }, $class;
}

# Holds the mirror until someone has looked, and ends lsyncd.
sub hold {
    my ($self, $would) = @_;
    my $text = sprintf 'the mirror was stopped at %s: %s. Look at %s; if that is right, let it happen once with `lsyncd-release`',
        POSIX::strftime('%Y-%m-%d %H:%M:%S', localtime), $would, $self->{source};
    if (open my $file, '>', "$self->{held}.new") {
        print {$file} "$text\n";
        close $file and rename "$self->{held}.new", $self->{held};
    }
    warn "$text\n";
    exit GIVE_UP;
}

# Whether a deletion is allowed, whatever it takes.
sub is_allowed {
    my ($self) = @_;
    my @allowed = stat $self->{allow} or return 0;
    return 1 if time - $allowed[9] < ALLOWED_FOR;
    unlink $self->{allow};
    return 0;
}

# A pass over everything has done what was allowed once, and what the mirror has now is what counts from here on.
sub passed {
    my ($self) = @_;
    unlink @$self{qw(memory allow)} if -e $self->{allow};
    return;
}

# Holds the mirror when a pass would shrink it too much. Returns how many deletions the pass may make, or undef when
# there is no limit.
sub most_deletions {
    my ($self, $pass) = @_;
    return undef if $self->is_allowed;
    my ($removed, $added) =
        $pass->is_event
        ? LsyncdAsCode::Gate::Count::of_list($self->{source}, $self->{target}, $pass->entries)
        : LsyncdAsCode::Gate::Count::of_plan($pass->plan);
    my $now     = time;
    my $known   = LsyncdAsCode::Gate::Count::used($self->{target});
    my @past    = past($self->{memory}, $now);
    my $verdict = judge(
        now => $now, past => \@past, known => $known, removed => $removed, added => $added,
        limit => $self->{limit}, share => $self->{share},
    );
    $self->hold(sprintf '%d of its %d files and directories would have been deleted within ten minutes', @$verdict{qw(shrinks of)})
        if $verdict->{held};
    if (open my $file, '>', "$self->{memory}.new") {
        print {$file} map { "$_->[0] $_->[1]\n" } @{ $verdict->{memory} };
        close $file and rename "$self->{memory}.new", $self->{memory};
    }
    return $verdict->{most};
}

# What is remembered: pairs of seconds since 1970 and entries, the oldest first.
sub past {
    my ($path, $now) = @_;
    open my $file, '<', $path or return;
    # What lies in the future is of a clock that was wrong then.
    my @past = map { /^(\d+) (\d+)$/ ? [ $1 > $now ? $now : $1 + 0, $2 + 0 ] : () } <$file>;
    close $file;
    return @past;
}

# Decides. Takes now (seconds), past (see above), known (entries of the mirror, undef where its file system does not say),
# removed and added (entries), limit (entries) and share (percent). Returns held; shrinks and of, for the message; most, the
# deletions that the pass may make; memory, what is to be remembered.
sub judge {
    my %given = @_;
    my ($now, $known, $removed, $added) = @given{qw(now known removed added)};
    my @past = @{ $given{past} };
    # A file system that does not say is taken for empty at first and counted from there: the limit holds all the
    # same, only the share cannot.
    my $entries = $known // (@past ? $past[-1][1] : 0);
    # The newest that is older than the window stays: it is what the window began with.
    my @recent = grep { $_->[0] > $now - WINDOW } @past;
    my @before = grep { $_->[0] <= $now - WINDOW } @past;
    unshift @recent, $before[-1] if @before;
    my ($largest) = sort { $b <=> $a } $entries, map { $_->[1] } @recent;
    my $shrinks = $largest - ($entries + $added - $removed);
    my $allowed = $given{limit};
    $allowed = $largest * $given{share} / 100 if defined $known && $largest * $given{share} / 100 > $given{limit};
    return { held => 1, shrinks => $shrinks, of => $largest > $shrinks ? $largest : $shrinks } if $shrinks > $allowed;

    # Counted on, a number must not fall below zero.
    my $after = defined $known ? $known : $entries + $added - $removed;
    $after = 0 if $after < 0;
    # One line a second is enough, and bounds the file.
    pop @recent if defined $known && @recent && $recent[-1][0] == $now && $recent[-1][1] <= $after;
    return { held => 0, shrinks => $shrinks, of => $largest, most => int($removed + $allowed - $shrinks), memory => [ @recent, [ $now, $after ] ] };
}

1;
