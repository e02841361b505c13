# Classifies names: our own, the copier's, and those of databases.
package LsyncdAsCode::Gate::Names;
use strict;
use warnings;
use LsyncdAsCode::Private qw(is_private);
use Exporter qw(import);

our @EXPORT_OK = qw(is_own is_probe base_of);

# The probes of the monitor and lsyncd-wait, which prove that the mirror moves.
sub is_probe { my ($path) = @_; return $path =~ /\A\.lsyncd-(?:monitor-probe|wait\.[0-9]+)\z/ }

# This program's own files on a volume: not user data.
sub is_own {
    my ($path) = @_;
    return is_probe($path) || is_private($path) || $path eq 'lost+found';
}

# The database that a path with one of SQLite's suffixes would belong to; undef when it has none.
sub base_of { my ($path) = @_; return $path =~ /\A(.+)-(?:wal|shm|journal)\z/s ? $1 : undef }

# The patterns of a database's file name: shell patterns with * and ?.
sub by_name {
    my @patterns = @_;
    my $any = join('|', map { my $p = quotemeta; $p =~ s/\\\*/.*/g; $p =~ s/\\\?/./g; $p } @patterns) || '(?!)';
    return qr/\A(?:$any)\z/s;
}

# A function that returns whether a path below a volume is a database: by its name (shell patterns with * and ?) or its header.
sub database_test {
    my $match = by_name(@_);
    return sub {
        my ($volume, $path) = @_;
        return 1 if substr($path, 1 + rindex $path, '/') =~ $match;
        return $volume->head($path, 16) eq "SQLite format 3\0" ? 1 : 0;
    };
}

1;
