# Decides which files belong to a database: by name, or by the header if the name matches no pattern.
package LsyncdAsCode::Names;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_beneath open_file);
use LsyncdAsCode::Gate::Names qw(base_of);
use LsyncdAsCode::Paths   ();
use LsyncdAsCode::State   qw(settings_list slurp state_file);
use LsyncdAsCode::System  qw(read_at);
use Exporter qw(import);

our @EXPORT_OK = qw(matches unit_by_name has_header add_known known SUFFIXES);

# The suffixes that SQLite appends to a database's name.
use constant SUFFIXES => ('', '-wal', '-shm', '-journal');

my $match;

# Returns true if a path has a database's name: the setting sqlite_pattern, with * and ? as in a shell.
sub matches {
    my ($path) = @_;
    $match //= LsyncdAsCode::Gate::Names::by_name(settings_list('sqlite_pattern'));
    return substr($path, 1 + rindex $path, '/') =~ $match;
}

# Returns the database that a path belongs to by its name alone; undef if the name does not match.
sub unit_by_name {
    my ($path) = @_;
    return $path if matches($path);
    my $base = base_of($path);
    return defined $base && matches($base) ? $base : undef;
}

# Returns true if a file below $root begins like an SQLite database; false if it cannot be opened, which rsync reports.
sub has_header {
    my ($root, $path) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = eval { open_beneath($root, $above) } or return 0;
    my $file = eval { open_file($directory, $name) } or return 0;
    return read_at($file, 0, 16) eq "SQLite format 3\0";
}

# Databases that were found by their header are written down, for by_rules (Call.pm) and lsyncd-verify, in files by a hash of their path,
# each between NULs: to add one that is there already, a look at one small file is enough. (An older version had a single file, "known".)
use constant FILES => 4096;

sub known_file {
    my ($path) = @_;
    my $hash = 0;
    $hash = ($hash * 33 + $_) & 0xffffffff for unpack 'C*', $path;
    return sprintf '%s/%03x', state_file('known.d'), $hash % FILES;
}

# Adds paths to them.
sub add_known {
    my @paths = @_;
    for my $path (@paths) {
        my $file = known_file($path);
        next if index(slurp($file), "\0$path\0") >= 0;
        mkdir state_file('known.d'), 0700;
        open my $more, '>>', $file or die "cannot write $file: $!\n";
        # At once: a call may be killed.
        syswrite $more, "\0$path\0";
    }
    return;
}

# All of them, as { path => 1 }.
sub known {
    my $folder = state_file('known.d');
    my $names;
    my @files = opendir($names, $folder) ? map { "$folder/$_" } grep { /\A[0-9a-f]{3}\z/ } readdir $names : ();
    return map { $_ => 1 } grep { length } map { split /\0/, slurp($_) } state_file('known'), @files;
}

1;
