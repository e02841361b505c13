# One run of the copier over one database, cut short at a chosen moment.
#
#   perl -I LIBRARY -I test/support crash.pl SOURCE TARGET NAME HOW AT [BATCH]
#
# HOW is "kill" (the process ends before step AT, in the middle of it if it writes) or "power" (as a power cut: of what
# was not synced, a random part is on the disk: bytes of files, their times and marks, and a random number of the last
# renames and removals never were). AT is the number of the step, 0 for a whole run. With BATCH it is copied as one of many
# (Batch.pm). Prints the result's state, and "not durable: …" if a power cut after a finished run could take something back. Ends with 9
# when it was cut short.
use strict;
use warnings;
use POSIX ();
use Copier;
use LsyncdAsCode::Batch ();
my ($source, $target, $name, $how, $at, $in_batch) = @ARGV;

my $step = 0;
# Of many writes in a row only some are steps.
my $row   = 0;
my $stash = "$target/../stash";
mkdir $stash;
my (%unsynced, @names);

# Remembers a file as it is on the disk, before the first write to it that may not get there.
sub remember {
    my ($handle) = @_;
    my $state = fstat_ns($handle);
    return if $unsynced{ $state->{ino} };
    open my $own, '+<&', $handle or return;
    my $path = fd_path($handle);
    $unsynced{ $state->{ino} } = {
        handle => $own, mtime => $state->{mtime}, mark => get_mark($own), at => readlink $path,
        content => read_at($own, 0, $state->{size}),
    };
    return;
}

sub cut_power {
    my $keep = int rand(@names + 1);
    while (@names > $keep) {
        my ($from, $to, $replaced) = @{ pop @names };
        rename $to, $from or unlink $to if defined $from;
        link $replaced, $to if defined $replaced;
    }
    for my $file (values %unsynced) {
        my $now = read_at($file->{handle}, 0, -s $file->{handle});
        my $then = $file->{content};
        my $size = rand() < 0.5 ? length $now : length $then;
        my $text = '';
        for (my $from = 0; $from < $size; $from += 512) {
            my $half = rand() < 0.5 ? $now : $then;
            my $block = $from < length $half ? substr $half, $from, 512 : '';
            $text .= substr $block . "\0" x 512, 0, $size - $from < 512 ? $size - $from : 512;
        }
        truncate $file->{handle}, 0;
        write_at($file->{handle}, 0, $text);
        my $path = fd_path($file->{handle});
        set_mark($file->{handle}, $file->{mark}) if rand() < 0.5;
        set_mtime($path, $file->{mtime}) if rand() < 0.5;
    }
    return;
}

sub reached {
    my ($next) = @_;
    $row = 0 if $next;
    return if ++$step != $at;
    $at = -1;
    cut_power() if $how eq 'power';
    return 1;
}

# Puts a step before each call of a function of the library.
sub wrap {
    my ($function, $before) = @_;
    replace($function => sub {
        my ($original, @arguments) = @_;
        $before->($original, @arguments) if $at >= 0;
        return $original->(@arguments);
    });
    return;
}

wrap(write_at => sub {
    my ($original, $handle, $offset, $data) = @_;
    remember($handle);
    if ($row++ % 8 == 0 && reached()) {
        $original->($handle, $offset, substr $data, 0, length($data) / 2) if $how eq 'kill';
        POSIX::_exit(9);
    }
});
# Of a mark that says what is on the disk the loss is none: the next run looks again.
wrap(set_mark => sub { my (undef, $handle, $text) = @_; remember($handle) unless $text =~ /\Awal / });
wrap(sync => sub {
    my (undef, $handle) = @_;
    POSIX::_exit(9) if reached(1);
    delete $unsynced{ fstat_ns($handle)->{ino} };
});
wrap(sync_directory => sub { POSIX::_exit(9) if reached(1); @names = () });
wrap(sync_file_system => sub { POSIX::_exit(9) if reached(1); (@names, %unsynced) = () });
my $many = 0;
sub kept {
    my ($path) = @_;
    my $copy = "$stash/" . ++$many;
    unlink $copy;
    return link($path, $copy) ? $copy : undef;
}
sub path_of { my ($directory, $name) = @_; return readlink(fd_path($directory)) . "/$name" }
wrap(rename_file => sub {
    my (undef, @names_of) = @_;
    POSIX::_exit(9) if reached(1);
    my ($from, $to) = (path_of(@names_of[ 0, 1 ]), path_of(@names_of[ 2, 3 ]));
    push @names, [ $from, $to, kept($to) ];
});
wrap(remove_file => sub {
    my (undef, @name_of) = @_;
    my $path = path_of(@name_of);
    # Of what is only being made the loss is none.
    return if $path =~ m{/\.lsyncd-as-code/};
    POSIX::_exit(9) if reached(1);
    my $copy = kept($path);
    push @names, [ undef, $path, $copy ] if defined $copy;
});

my $volume = directory($target);
my $batch  = $in_batch ? LsyncdAsCode::Batch::begin($volume) : undef;
my $with = options(volume => $volume, batch => $batch);
my $copy = sub { return sync_unit(directory($source), $volume, $name, $with) };
# As for a database that a full pass has found.
if ($batch) { $batch->add(0, sub { return first_copy(directory($source), $volume, $name, $with) }) // $batch->add(0, $copy) }
my ($result) = $batch ? $batch->finish : $copy->();
print "$result->{state} ", $result->{reason} // '', "\n";
# Steps of a file that is gone again are nobody's loss.
my @loose = grep { -e $_->{at} } values %unsynced;
print "not durable: ", join(', ', (map { $_->{at} } @loose), map { $_->[1] } @names), "\n"
    if $result->{state} eq 'copied' && (@loose || @names);
