# Handles one call by lsyncd: databases go to the worker's queue, everything else to rsync.
package LsyncdAsCode::Call;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_beneath);
use LsyncdAsCode::Gate::Grants ();
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Gate::Names qw(base_of);
use LsyncdAsCode::Names  qw(add_known has_header known matches unit_by_name SUFFIXES);
use LsyncdAsCode::Paths  ();
use LsyncdAsCode::Private qw(is_private NESTED);
use LsyncdAsCode::Queue  qw(enqueue something_queued);
use LsyncdAsCode::Rsync  qw(delete_missing plan reads_input run_rsync transfer TRY_AGAIN);
use LsyncdAsCode::Run    qw(record_run);
use LsyncdAsCode::Sift   qw(sift);
use LsyncdAsCode::Start  qw(start_worker);
use LsyncdAsCode::State  qw(make_state replace_file say_error setting settings_list state_file);
use LsyncdAsCode::System qw(fd_path now_ns);
use Exporter qw(import);

our @EXPORT_OK = qw(main);

# Runs the copier under the name $0, with lsyncd's arguments. Returns its exit code.
sub main {
    my ($name, @arguments) = @_;
    $0 = $name if $0 ne $name;
    my $code = eval { call(@arguments) };
    return $code if defined $code;
    say_error($@ =~ s/\s+\z//r);
    return TRY_AGAIN;
}

# Returns the exit code for lsyncd. Dies if nothing was done.
sub call {
    my @arguments = @_;
    # Read first: if lsyncd dies while this runs, the parent changes.
    my $self = { parent => getppid, arguments => \@arguments, began => now_ns() / 1e9 };
    @$self{qw(source target)} = @arguments[ -2, -1 ];
    die "this replaces rsync for lsyncd only: it needs a local source and target directory as the last two arguments\n"
        unless @arguments >= 2 && $self->{source} =~ m{\A/} && $self->{target} =~ m{\A/};
    make_state();
    my $input = reads_input(@arguments) ? do { local $/ = undef; readline(*STDIN) // '' } : '';
    # The caller holds both directories open, because their paths may lead elsewhere at any moment.
    my @held = map { s{/+\z}{}r } split /\n/, $ENV{LSYNCD_ROOTS} // '';
    $self->{held} = @held == 2 ? \@held : [ map { s{(?<=.)/+\z}{}r } @$self{qw(source target)} ];
    my $sifted = sift(\@arguments, $input, @{ $self->{held} });
    my $code = $sifted ? by_list($self, $sifted) : by_plan($self, $input);
    # Any call restarts the worker if changes are queued: after the worker was killed, or by an lsyncd that has ended.
    if (!$self->{worker} && something_queued()) {
        record($self);
        start_worker();
    }
    return $code;
}

sub by_list {
    my ($self, $sifted) = @_;
    add_known(@{ $sifted->{by_header} });
    my ($here, $gone) = present($self, $sifted->{databases});
    my ($new, $missing) = present($self, $sifted->{later});
    grant($self, [ @{ $sifted->{databases} }, @{ $sifted->{later} } ]);
    queue($self, 'queue', $here);
    my ($others, $work) = ($sifted->{others}, deletes($self) ? \&delete_missing : \&transfer);
    my $code = @$others ? $work->($self->{arguments}, $others) : 0;
    # A deletion comes after what may be its new name.
    queue($self, 'queue', $new);
    # One of them may be what rsync could not copy, under a name that is no database's. The call comes again, or a pass over everything.
    queue($self, 'queue', [ @$gone, @$missing, @{ $sifted->{deleted} } ]) if $code == 0 || $code == 24;
    return $code;
}

# Returns those of some databases that are in the source, and those that are gone from it.
sub present {
    my ($self, $units) = @_;
    my (@here, @gone);
    for my $unit (@$units) {
        if (-l "$self->{held}[0]/$unit" || -e _) { push @here, $unit }
        else                                     { push @gone, $unit }
    }
    return (\@here, \@gone);
}

# On a host rsync deletes nothing (rsync-wrapper): the gate has counted what is gone from the source, and deletes it or grants it
# to the worker. A caller that lets rsync delete also lets the worker delete.
sub deletes { my ($self) = @_; return scalar grep { /\A--delete/ } @{ $self->{arguments} } }

sub grant {
    my ($self, $units) = @_;
    return unless deletes($self);
    my (undef, $gone) = present($self, $units);
    LsyncdAsCode::Gate::Grants::grant(setting('grants_file'), LsyncdAsCode::Gate::Volume->new($self->{held}[1]), $gone, 0);
    return;
}

sub by_plan {
    my ($self, $input) = @_;
    my $arguments = $self->{arguments};
    # rsync does not read lsyncd's list as lsyncd means it: LsyncdAsCode::Paths.
    $input = LsyncdAsCode::Paths::to_rsync(LsyncdAsCode::Paths::from_lsyncd($input)) if grep { $_ eq '--include-from=-' } @$arguments;
    my $plan = plan($arguments, $input);
    my $code = $plan->{code};
    # 23 and 24: a file could not be read, or vanished; rsync continues with the rest, and so does this.
    return $code unless $code == 0 || $code == 23 || $code == 24;

    my $wanted = wanted($self, $plan);
    add_known(@{ $wanted->{by_header} });
    grant($self, [ @{ $wanted->{units} }, @{ $wanted->{deleted} } ]);
    # A pass finds many databases; later changes must not wait behind them.
    my $queue = $input eq '' ? 'queue.pass' : 'queue';
    # This pass includes what an earlier one left.
    queue($self, $queue, [ in_order($self->{held}[0], @{ $wanted->{units} }) ], $input eq '');
    if (@{ $wanted->{in_the_way} }) { $code = by_rules($self, $input, $wanted, $plan) || $code }
    else {
        my @steps = (
            sub { return @{ $wanted->{others} } ? transfer($arguments, $wanted->{others}) : 0 },
            sub { return @{ $wanted->{gone} } && deletes($self) ? delete_missing($arguments, $wanted->{gone}) : 0 },
        );
        @steps = reverse @steps if grep { $_ eq '--delete-before' } @$arguments;
        for my $step (@steps) {
            my $done = $step->();
            $code = $done if $done;
            last unless $done == 0 || $done == 23 || $done == 24;
        }
    }
    queue($self, $queue, $wanted->{deleted}) if $code == 0 || $code == 23 || $code == 24;
    return $code;
}

# Splits a plan: databases to process (units), those that are gone (deleted), paths that rsync updates (others) or deletes
# (gone).
sub wanted {
    my ($self, $plan) = @_;
    my ($source, $target) = @{ $self->{held} };
    my (%unit, %deleted, %header, %checked, @others, @gone);
    my $by_header = sub {
        my ($root, $path) = @_;
        return 0 unless $checked{"$root/$path"} //= has_header($root, $path) ? 1 : 0;
        $header{$path} = 1;
        return 1;
    };
    my $sort = sub {
        my ($path, $type) = @_;
        return if is_private($path);
        if ($type eq 'd') { push @others, $path; return }
        my $unit = unit_by_name($path);
        if (!defined $unit && $type eq 'f') {
            my $base = base_of($path);
            $unit = $by_header->($source, $path) ? $path : defined $base && $by_header->($source, $base) ? $base : undef;
        }
        if (defined $unit) { $unit{$unit} = 1 }
        else               { push @others, $path }
        return;
    };
    for my $path (@{ $plan->{new} })     { $sort->($path, 'f') }
    for my $item (@{ $plan->{changed} }) { $sort->(@$item{qw(name type)}) }
    for my $item (grep { $_->{type} ne 'd' && !is_private($_->{name}) } @{ $plan->{deleted} }) {
        my $path = $item->{name};
        my $unit = unit_by_name($path);
        if (!defined $unit) {
            my $base = base_of($path);
            $unit = $by_header->($target, $path) ? $path
                : defined $base && ($by_header->($source, $base) || $by_header->($target, $base)) ? $base : undef;
        }
        if (defined $unit) { $deleted{$unit} = 1 }
        else               { push @gone, $path }
    }
    # Most passes delete nothing, and the rest is about that.
    return { units => [ keys %unit ], others => \@others, by_header => [ keys %header ], (map { $_ => [] } qw(deleted gone in_the_way)) } unless @{ $plan->{deleted} };
    # The worker deletes a directory of the mirror with the last database in it.
    my %kept;
    for my $unit (keys %deleted, keys %unit) {
        for (my ($up) = LsyncdAsCode::Paths::split_path($unit); length $up && !$kept{$up}; ($up) = LsyncdAsCode::Paths::split_path($up)) { $kept{$up} = 1 }
    }
    push @gone, grep { !$kept{$_} && !is_private($_) } map { $_->{name} } grep { $_->{type} eq 'd' } @{ $plan->{deleted} };
    # A directory of the mirror where the source has a file: rsync lists only its contents, which are deleted with it.
    my %file = map { $_ => 1 } @{ $plan->{new} }, map { $_->{type} ne 'd' ? $_->{name} : () } @{ $plan->{changed} };
    my $replaced = sub {
        my ($path) = @_;
        for (my ($up) = LsyncdAsCode::Paths::split_path($path); length $up; ($up) = LsyncdAsCode::Paths::split_path($up)) { return $up if $file{$up} }
        return undef;
    };
    my %in_the_way = map { $_ => 1 } grep { $unit{$_} } map { $replaced->($_->{name}) // () } @{ $plan->{deleted} };
    @gone = grep { !defined $replaced->($_) } @gone;
    delete @deleted{ keys %unit };
    return {
        units => [ keys %unit ], deleted => [ sort keys %deleted ], others => \@others, gone => topmost(@gone),
        by_header => [ keys %header ], in_the_way => [ keys %in_the_way ],
    };
}

# Omits paths inside a directory that is also in the list: they are deleted with the directory.
sub topmost {
    my %is = map { $_ => 1 } @_;
    my @top;
    PATH: for my $path (@_) {
        for (my ($up) = LsyncdAsCode::Paths::split_path($path); length $up; ($up) = LsyncdAsCode::Paths::split_path($up)) { next PATH if $is{$up} }
        push @top, $path;
    }
    return \@top;
}

# The rare case: rsync processes its whole list, with additional first rules that exclude databases, but not directories
# that only have the name of one.
sub by_rules {
    my ($self, $input, $wanted, $plan) = @_;
    my %known = known();
    my @rules = map { LsyncdAsCode::Paths::rule('+', "$_->{name}/") } grep { $_->{type} eq 'd' && (matches($_->{name}) || $known{ $_->{name} }) }
        @{ $plan->{changed} }, @{ $plan->{deleted} };
    push @rules, map { LsyncdAsCode::Paths::rule('+', "$_/") } @{ $wanted->{in_the_way} };
    push @rules, '- ' . NESTED;
    for my $pattern (settings_list('sqlite_pattern')) { push @rules, map { "- $pattern$_" } SUFFIXES }
    for my $path (sort keys %known) { push @rules, map { LsyncdAsCode::Paths::rule('-', "$path$_") } SUFFIXES }
    my $file = state_file("rules.$$");
    unlink grep { !-d '/proc/' . (split /\./)[-1] } glob state_file('rules.*');
    replace_file($file, LsyncdAsCode::Paths::rules_text(@rules));
    my (undef, $code) = run_rsync([ '--from0', "--exclude-from=$file", @{ $self->{arguments} } ], $input, 0);
    unlink $file;
    return $code;
}

# Sorts by position on the disk: files of a directory are stored in the order of their creation.
sub in_order {
    my ($source, @units) = @_;
    my $root  = open_beneath($source, '');
    my $above = fd_path($root);
    # As text, which sorts several times as fast.
    my $number = length pack 'Q>', 0;
    return map { substr $_, $number } sort map { pack('Q>', (lstat "$above/$_")[1] // 0) . $_ } @units;
}

sub queue {
    my ($self, $queue, $units, $anew) = @_;
    return unless @$units;
    record($self);
    enqueue($queue, $self->{began}, $units, $anew);
    start_worker();
    $self->{worker} = 1;
    return;
}

# Without it the worker takes its lsyncd for one that has ended, and leaves the queue as it is.
sub record { my ($self) = @_; record_run($self->{parent}, @$self{qw(source target held arguments)}); return }

1;
