# Databases that the worker may delete. A database is deleted from the mirror only when no copy is queued that may be its new
# name, so the copier's worker deletes it; and it asks here. The gate grants exactly the file that it has counted, by inode and
# time of the last change, so a grant is invalid for a file that has been copied since.
package LsyncdAsCode::Gate::Grants;
use strict;
use warnings;
use Fcntl qw(LOCK_EX O_CREAT O_RDWR);
use LsyncdAsCode::System qw(read_at stat_ns);

# Bytes from which grants are dropped that were carried out or are out of date; seconds for which a grant counts as a deletion that is to
# come, and for which the worker may carry it out at least: it can have many copies to make first.
use constant { LONG => 1 << 16, OLD => 3600, LATE => 86_400 };
# Before the grants: their bytes when others were dropped last. A file of only valid ones is not written anew with each that is added.
my $HEAD = qr/\Akept ([0-9]+)\0/;
# A grant: seconds since 1970, the identity of the file, its path.
my $GRANT = qr/\A(\d+) (\d+:\d+) (.+)\z/s;
# The identity of no file.
use constant NEVER => '0:0';

# Grants the deletion of databases of the mirror. $fresh: earlier grants become invalid (a full pass counts everything
# again).
sub grant {
    my ($file, $target, $units, $fresh) = @_;
    return if !@$units && !-e $file;
    my $now  = time;
    my $text = '';
    for my $unit (@$units) {
        my $there = $target->look($unit) // next;
        $text .= "$now " . id($there) . " $unit\0";
    }
    my $lock = lock_grants($file);
    if ($fresh || is_long($file)) {
        $text = valid($file, $target, $now) . $text if !$fresh;
        open my $new, '>', "$file.new" or die "cannot write $file.new: $!\n";
        print {$new} 'kept ', length $text, "\0", $text;
        close $new or die "cannot write $file.new: $!\n";
        rename "$file.new", $file or die "cannot replace $file: $!\n";
        return;
    }
    append($file, $text);
    return;
}

sub is_long {
    my ($file) = @_;
    my $size = -s $file // 0;
    return 0 if $size <= LONG;
    open my $handle, '<', $file or return 0;
    read $handle, my $begin, 32;
    my ($kept) = $begin =~ $HEAD;
    return $size > 2 * ($kept // 0);
}

# The grants that the worker has still to carry out, as text.
sub valid {
    my ($file, $target, $now) = @_;
    my %last;
    for (split /\0/, slurp($file)) { $last{$3} = [ $1, $2 ] if $_ =~ $GRANT }
    my $text = '';
    for my $unit (sort keys %last) {
        my ($since, $id) = @{ $last{$unit} };
        my $there = $since > $now - LATE && $id ne NEVER ? $target->look($unit) : undef;
        $text .= "$since $id $unit\0" if $there && id($there) eq $id;
    }
    return $text;
}

sub id { my ($found) = @_; return "$found->{ino}:$found->{ctime}" }

# Returns the number of entries of the mirror whose deletion was granted within the last hour and not carried out yet. $except:
# databases that the present pass counts itself. Ends the grant of a database that has come back: its next deletion is another one.
# The work grows with the recent deletions, not with what exists.
sub pending {
    my ($file, $source, $target, $now, $except) = @_;
    return 0 if ((stat $file)[9] // 0) <= $now - OLD;
    my ($entries, $ended, %granted) = (0, '');
    for (split /\0/, slurp($file)) { $granted{$3} = $2 if $_ =~ $GRANT && $1 > $now - OLD }
    delete @granted{@$except};
    for my $unit (keys %granted) {
        my $there = $target->look($unit) // next;
        next if $granted{$unit} ne id($there);
        if ($source->look($unit)) { $ended .= "$now " . NEVER . " $unit\0" }
        else                      { $entries += 1 + grep { $target->look("$unit$_") } '-wal', '-journal' }
    }
    if ($ended ne '') {
        # Without room for that it is tried again with the next pass.
        eval { my $lock = lock_grants($file); append($file, $ended); 1 } or warn $@;
    }
    return $entries;
}

# Returns how many of these databases were granted within the last hour, and are still there: they were counted then.
sub counted {
    my ($file, $target, $units, $now) = @_;
    return 0 if !@$units || ((stat $file)[9] // 0) <= $now - OLD;
    my %granted;
    for (split /\0/, slurp($file)) { $granted{$3} = $2 if $_ =~ $GRANT && $1 > $now - OLD }
    return scalar grep { my $there = $granted{$_} && $target->look($_); $there && $granted{$_} eq id($there) } @$units;
}

sub append {
    my ($file, $text) = @_;
    open my $more, '>>', $file or die "cannot write $file: $!\n";
    print {$more} $text;
    close $more or die "cannot write $file: $!\n";
    return;
}

sub lock_grants {
    my ($file) = @_;
    sysopen my $lock, "$file.lock", O_RDWR | O_CREAT, 0600 or die "cannot open $file.lock: $!\n";
    flock $lock, LOCK_EX or die "cannot lock $file.lock: $!\n";
    return $lock;
}

sub slurp {
    my ($file) = @_;
    open my $handle, '<', $file or return '';
    local $/ = undef;
    return readline($handle) // '';
}

# The grants read so far, for a long-running worker: by file, its handle, the offset, and the grants.
my %read;

# Returns true if the deletion of a database is granted. $unit: its path below the volume; $place: the path to inspect.
sub allows {
    my ($file, $unit, $place) = @_;
    my $there = stat_ns($place) // return 1;
    my $known = $read{$file} //= { at => 0, grants => {} };
    my ($inode) = (stat $file)[1] or return 0;
    # A file that is open keeps its inode number; otherwise the next one, which replaces it, can have the same. A process that was
    # forked opens its own: the place to read from would be one for both.
    if (!$known->{handle} || $known->{process} != $$ || (stat $known->{handle})[1] != $inode) {
        open my $handle, '<', $file or return 0;
        %$known = (handle => $handle, process => $$, at => 0, grants => {});
    }
    read_more($known);
    my $granted = $known->{grants}{$unit} // return 0;
    return $granted eq id($there) ? 1 : 0;
}

# Reads what has been added. An incomplete record is read the next time.
sub read_more {
    my ($known) = @_;
    my $text = read_at($known->{handle}, $known->{at}, (-s $known->{handle}) - $known->{at});
    $text =~ s/[^\0]*\z//;
    $known->{at} += length $text;
    for (split /\0/, $text) { $known->{grants}{$3} = "$2" if $_ =~ $GRANT }
    return;
}

1;
