# Detects whether a file that is named like a database is an SQLite database. Others have no locks and are mirrored as is.
package LsyncdAsCode::Kind;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_file);
use LsyncdAsCode::System qw(read_at);
use LsyncdAsCode::Unit qw(open_wal);
use LsyncdAsCode::Wal qw(wal_header);
use Exporter qw(import);

our @EXPORT_OK = qw(is_sqlite starts_like_sqlite looks_encrypted);

# The first bytes of a rollback journal (fileformat2.html): plain, whatever the database is encrypted with.
use constant JOURNAL_MAGIC => pack 'H*', 'd9d505f920a163d7';

# Returns true if the start looks random, like an encrypted database, whose size is a multiple of the page size (at least
# 512 bytes). 512 random bytes have 221 different values, ±5; text has fewer than 100, tables of numbers even fewer.
sub looks_encrypted {
    my ($size, $start) = @_;
    return 0 if $size < 512 || $size % 512;
    my %seen;
    @seen{ unpack 'C*', $start } = ();
    return keys %seen >= 160;
}

# Returns true if a file with this content (or at least its first 512 bytes and its size in the second argument) is SQLite's, or looks encrypted.
sub starts_like_sqlite {
    my (undef, $size) = @_;
    return substr($_[0], 0, 16) eq "SQLite format 3\0" || looks_encrypted($size, substr $_[0], 0, 512);
}

# Takes a unit whose main file is open (Unit.pm), and opens the others if needed. In doubt it returns true: at worst the file then waits for a lock.
sub is_sqlite {
    my ($unit) = @_;
    my $size  = -s $unit->{main};
    my $start = read_at($unit->{main}, 0, 512);
    # Zeros: the first transaction writes its pages in any order.
    return 1 if $size == 0 || $start !~ tr/\0//c || starts_like_sqlite($start, $size);
    open_wal($unit);
    return 1 if $unit->{live} || $unit->{wal} && wal_header($unit->{wal});
    my $journal = open_file($unit->{directory}, "$unit->{name}-journal");
    return $journal && read_at($journal, 0, 8) eq JOURNAL_MAGIC ? 1 : 0;
}

1;
