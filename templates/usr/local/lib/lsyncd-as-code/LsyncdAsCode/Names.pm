# Which files belong to a database: by its name, or by the header of a file whose name says nothing.
package LsyncdAsCode::Names;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_beneath open_file);
use LsyncdAsCode::Gate::Names qw(base_of);
use LsyncdAsCode::Paths   ();
use LsyncdAsCode::State   qw(settings_list slurp state_file);
use LsyncdAsCode::System  qw(read_at);
use Exporter qw(import);

our @EXPORT_OK = qw(matches unit_by_name has_header is_temporary unit_of_temporary known SUFFIXES);

# What SQLite puts behind a database's name.
use constant SUFFIXES => ('', '-wal', '-shm', '-journal');

my $match;

# Whether a path has a database's name: the setting sqlite_pattern, * and ? as in a shell.
sub matches {
    my ($path) = @_;
    $match //= LsyncdAsCode::Gate::Names::by_name(settings_list('sqlite_pattern'));
    return substr($path, 1 + rindex $path, '/') =~ $match;
}

# The database that a path belongs to by its name alone; undef when the name does not say.
sub unit_by_name {
    my ($path) = @_;
    return $path if matches($path);
    my $base = base_of($path);
    return defined $base && matches($base) ? $base : undef;
}

# Whether a file below $root begins as SQLite's files do. A file that cannot be opened does not; rsync says why.
sub has_header {
    my ($root, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = eval { open_beneath($root, $above) } or return 0;
    my $file = eval { open_file($directory, $name) } or return 0;
    return read_at($file, 0, 16) eq "SQLite format 3\0";
}

# The copier's own temporary files, also those of an older version: see LsyncdAsCode::Copy::temporary.
my $TEMPORARY = qr{\A((?:.*/)?)\.lsyncd-rsync\.(.+?)(?:-wal)?\z}s;

sub is_temporary { my ($path) = @_; return $path =~ $TEMPORARY }

# The database whose temporary file this is: looking at it removes the file. A long name is cut in it: then the file is its own.
sub unit_of_temporary { my ($path) = @_; return $path =~ $TEMPORARY && length $2 < 180 ? "$1$2" : $path }

# The databases that were found by their header, as { path => 1 }.
sub known { return map { $_ => 1 } grep { length } split /\0/, slurp(state_file('known')) }

1;
