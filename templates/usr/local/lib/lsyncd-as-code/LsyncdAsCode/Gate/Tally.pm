# Counts what a pass would remove from the mirror and add to it, before anything is done. Each path is inspected once, on both
# volumes; the work does not grow with the rest of their content.
#
# A tally has
#   removed, added      files and directories that go and come
#   full, new_full      of those: the files that hold something
#   emptied, refilled   files that lose all they hold without going (made empty, replaced by a directory or a link, a database
#                       without any table), and files that were empty and no longer are
#   files, bytes        of what goes or is emptied: the files that hold something
#   altered             paths of files that are no longer recognised (see `changed` and `renamed`)
#   databases           { path => bytes } of those that go, are emptied or no longer recognised
#   emptied_files       the files that lose all they hold: { path, found }, as they are in the mirror
#   after, before       what is to be deleted, and what before rsync runs, because something else comes in its place:
#                       { path, entries } each
#   units               databases among `after` that the copier's worker deletes once what it copies is done
package LsyncdAsCode::Gate::Tally;
use strict;
use warnings;
use LsyncdAsCode::Gate::Names qw(base_of is_own is_probe);
use LsyncdAsCode::Itemize     ();
use LsyncdAsCode::Paths       ();
use LsyncdAsCode::Private     qw(is_private);

# Bytes that a file is recognised by. An append, SQLite's writes, VACUUM and the pages of an encrypted database leave the first 16
# bytes as they are (https://www.sqlite.org/fileformat2.html#the_database_header, and SQLCipher's salt); another key does not.
use constant HEAD => 16;

# $source, $target: volumes. $is_database: see Gate::Names::database_test. $copier: whether databases are the copier's.
# $repaired: { path => 1 } of files whose content the mirror lost in a power cut: nothing more is lost by mirroring them.
sub new {
    my ($class, $source, $target, $is_database, $copier, $repaired) = @_;
    return bless {
        source => $source, target => $target, is_database => $is_database, copier => $copier, repaired => $repaired // {},
        removed => 0, added => 0, full => 0, new_full => 0, emptied => 0, refilled => 0, files => 0, bytes => 0,
        altered => [], emptied_files => [], databases => {}, after => [], before => [], units => [], gone => [], come => [],
    }, $class;
}

# Counts the paths of a list of lsyncd (entries of LsyncdAsCode::Paths).
sub of_list {
    my ($self, @entries) = @_;
    my %counted;
    # Shorter paths first: what is counted as part of a directory is not counted again.
    for my $entry (sort { length $a->{path} <=> length $b->{path} } @entries) {
        my $path = $entry->{path};
        next if $path eq '' || $counted{$path} || within($path, \%counted);
        $counted{$path} = 1 if $self->compare($path, $entry->{below});
    }
    $self->renamed;
    return $self;
}

# Counts the planned actions of rsync in a full pass ($lines for LsyncdAsCode::Itemize).
sub of_plan {
    my ($self, $lines) = @_;
    my @deleted = map { LsyncdAsCode::Itemize::parse($_)->{name} } grep { LsyncdAsCode::Itemize::deletes($_) } @$lines;
    my (%deleted, %counted) = map { $_ => 1 } @deleted;
    for my $path (sort { length $a <=> length $b } @deleted) {
        # The uppermost: all that is in it is in the list as well, unless rsync keeps something of it.
        next if within($path, \%deleted);
        $counted{$path} = 1 if $self->compare($path, 0);
    }
    for my $line (grep { !LsyncdAsCode::Itemize::deletes($_) } @$lines) {
        my $item = LsyncdAsCode::Itemize::parse($line);
        next unless $item && $item->{changed};
        my $path = $item->{name};
        next if $path eq '.' || $counted{$path} || within($path, \%counted);
        # The files in a directory that comes are in the list themselves.
        my $whole = $item->{new} ? $self->new_one($path, $item) : $item->{type} ne 'd' ? $self->compare($path, 0, 'itself') : 0;
        $counted{$path} = 1 if $whole;
    }
    $self->renamed;
    return $self;
}

# Whether a directory above a path is in a set.
sub within {
    my ($path, $set) = @_;
    return 0 unless %$set;
    while ($path =~ s{/[^/]*\z}{}) { return 1 if $set->{$path} }
    return 0;
}

# Counts one path. With $deep what is in a directory that is on both sides is compared too (it was deleted and made again); with
# $itself a directory that comes counts alone. Returns whether all that is below the path is counted with it.
sub compare {
    my ($self, $path, $deep, $itself) = @_;
    if (is_probe($path)) { return 1 if $self->probe($path) }
    elsif (is_own($path)) { return 1 }
    my ($here, $there) = ($self->{source}->look($path), $self->{target}->look($path));
    return 0 if !$here && !$there;
    if (!$there) { $self->comes($path, $here, $itself); return !$itself }
    if (!$here) {
        return 1 if $self->is_part_of_database($path);
        push @{ $self->{after} }, { path => $path, entries => $self->goes($path) };
        return 1;
    }
    return $self->both($path, $here, $there, $deep);
}

# An entry that rsync found in the source alone: one look at the mirror is enough, where the copier may have made it meanwhile. rsync names a
# directory before what is in it, and in one that the mirror does not have there is nothing to look at. Returns the same as "compare".
sub new_one {
    my ($self, $path, $item) = @_;
    my ($above) = LsyncdAsCode::Paths::split_path($path);
    my $absent = $self->{absent}{$above};
    return $self->compare($path, 0, 'itself') if is_own($path) || !$absent && $self->{target}->look($path);
    $self->{absent}{$path} = 1 if $item->{type} eq 'd';
    $self->comes_one($path, $item);
    return 0;
}

# A probe is deleted like any file, because it proves that deletions are mirrored; it does not count as a loss. Returns false for a
# directory, which a user has made.
sub probe {
    my ($self, $path) = @_;
    my ($here, $there) = map { $_->look($path) } @$self{qw(source target)};
    return 0 if grep { $_ && $_->{type} eq 'd' } $here, $there;
    push @{ $self->{after} }, { path => $path, entries => 1 } if !$here && $there;
    return 1;
}

sub both {
    my ($self, $path, $here, $there, $deep) = @_;
    if ($here->{type} eq 'd' && $there->{type} eq 'd') {
        return 0 unless $deep;
        my %names = map { $_ => 1 } $self->{source}->names($path), $self->{target}->names($path);
        $self->compare("$path/$_", 1) for sort keys %names;
        return 1;
    }
    if ($there->{type} eq 'd') {
        # A directory that became a file or a link takes all that was in it along.
        my $entries = $self->goes($path);
        $self->{removed}--;
        push @{ $self->{before} }, { path => $path, entries => $entries };
        return 1;
    }
    if ($here->{type} eq 'd') {
        $self->empties($path, $there);
        push @{ $self->{before} }, { path => $path, entries => 1 };
        return 0;
    }
    return 0 if $there->{type} ne 'f';
    if ($here->{type} ne 'f') { $self->empties($path, $there); return 0 }
    $self->changed($path, $here, $there);
    return 0;
}

# An added entry, with its content.
sub comes {
    my ($self, $path, $here, $itself) = @_;
    if ($itself || $here->{type} ne 'd') { $self->comes_one($path, $here); return }
    $self->{source}->walk($path, sub { my ($one, $found) = @_; $self->comes_one($one, $found); return 0 });
    return;
}

sub comes_one {
    my ($self, $path, $found) = @_;
    $self->{added}++;
    return if $found->{type} ne 'f';
    push @{ $self->{come} }, $path;
    $self->{new_full}++ if $found->{size} > 0;
    return;
}

# Returns the bytes of each database that comes, with its -wal. It looks at each file that comes, so it is only for the rare pass that loses
# databases.
sub new_databases {
    my ($self) = @_;
    my @bytes;
    for my $path (@{ $self->{come} }) {
        my $found = $self->{source}->look($path);
        next unless $found && $found->{type} eq 'f' && $found->{size} > 0 && $self->{is_database}->($self->{source}, $path);
        my $wal = $self->{source}->look("$path-wal");
        push @bytes, $found->{size} + ($wal ? $wal->{size} : 0);
    }
    return @bytes;
}

# A removed entry, with its content. Returns the number of its entries.
sub goes {
    my ($self, $path) = @_;
    my $entries = 0;
    $self->{target}->walk($path, sub {
        my ($one, $found) = @_;
        return 0 if is_private($one);
        $entries++;
        $self->{removed}++;
        return 0 if $found->{type} ne 'f';
        push @{ $self->{gone} }, $one;
        return 0 if $found->{size} == 0;
        $self->{full}++;
        $self->loses($one, $found);
        push @{ $self->{units} }, $one if $self->{copier} && $self->{databases}{$one};
        return 0;
    });
    return $entries;
}

sub loses {
    my ($self, $path, $there) = @_;
    $self->{files}++;
    $self->{bytes} += $there->{size};
    $self->{databases}{$path} = $there->{size} if $self->{is_database}->($self->{target}, $path);
    return;
}

sub empties {
    my ($self, $path, $there) = @_;
    return if $there->{type} ne 'f' || $there->{size} == 0;
    $self->{emptied}++;
    push @{ $self->{emptied_files} }, { path => $path, found => $there };
    $self->loses($path, $there);
    return;
}

# A file that exists on both sides.
sub changed {
    my ($self, $path, $here, $there) = @_;
    return if $here->{size} == $there->{size} && $here->{mtime} == $there->{mtime} || $self->{repaired}{$path};
    if ($there->{size} == 0) { $self->{refilled}++ if $here->{size} > 0; return }
    # The content of a database's -wal is part of it.
    my $wal = $here->{size} <= 65_536 ? $self->{source}->look("$path-wal") : undef;
    my $more = $wal && $wal->{size} > 0;
    if ($here->{size} == 0) { $self->empties($path, $there) unless $more; return }
    my ($now, $before) = map { $_->head($path, 100) } @$self{qw(source target)};
    my ($compared) = sort { $a <=> $b } HEAD, length $now, length $before;
    if (substr($now, 0, $compared) ne substr $before, 0, $compared) {
        push @{ $self->{altered} }, $path;
        $self->{databases}{$path} = $there->{size} if $self->{is_database}->($self->{target}, $path);
        return;
    }
    # One page is a database without a table (file format, 1.3.2: the page's size; 1 stands for 65536).
    if ($now =~ /\ASQLite format 3\0(..)/s) {
        my $page = unpack 'n', $1;
        $page = 65_536 if $page == 1;
        $self->empties($path, $there) if $here->{size} <= $page && $there->{size} > $page && !$more;
    }
    return;
}

# Files of SQLite's that belong to a database which is still there: the copier takes them away when it copies that database. What is only
# named like one has none.
sub is_part_of_database {
    my ($self, $path) = @_;
    return 0 unless $self->{copier};
    my $base = base_of($path) // return 0;
    my $there = $self->{source}->look($base);
    return 0 unless $there && $there->{type} eq 'f' && $self->{is_database}->($self->{source}, $base);
    my ($above, $name) = LsyncdAsCode::Paths::split_path($base);
    my $directory = $self->{source}->directory($above) // return 0;
    # The copier's modules are there where it is.
    require LsyncdAsCode::Kind;
    require LsyncdAsCode::Unit;
    # One that disappears at this moment is inspected with the next event.
    my $unit = LsyncdAsCode::Unit::open_main($directory, $name) // return 1;
    return LsyncdAsCode::Kind::is_sqlite($unit);
}

# The suffixes of files that are being written.
my $UNFINISHED = qr/\.(?:tmp|temp|new|part|partial|crdownload|swp|lock)\z/i;

# Files that go, while one with another suffix comes beside them, are altered: a.eml becomes a.eml.locked or a.locked. The flags
# of a Maildir (1234.host:2,S) are no suffix.
sub renamed {
    my ($self) = @_;
    return unless @{ $self->{gone} };
    my %comes;
    for my $path (@{ $self->{come} }) {
        next if $path =~ /[:;]2,[^\/]*\z/;
        my $stem = stem($path) // next;
        $comes{$stem}++;
    }
    return unless %comes;
    for my $path (@{ $self->{gone} }) {
        next if $path =~ $UNFINISHED || $path =~ /[:;]2,[^\/]*\z/;
        my $stem = stem($path);
        push @{ $self->{altered} }, $path if $comes{$path} || defined $stem && $comes{$stem};
    }
    return;
}

# A path without its last suffix; undef when it has none.
sub stem { my ($path) = @_; return $path =~ m{\A(.*[^/.][^/]*)\.[^./]+\z}s ? $1 : undef }

1;
