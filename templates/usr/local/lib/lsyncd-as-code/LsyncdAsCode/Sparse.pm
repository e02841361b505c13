# Copies a file in chunks, and keeps holes.
package LsyncdAsCode::Sparse;
use strict;
use warnings;
use LsyncdAsCode::System qw(fstat_ns read_at write_at CHUNK);
use Exporter qw(import);

our @EXPORT_OK = qw(copy_sparse write_sparse has_holes is_sparse);

# The size of the pieces that are checked for being all zeros, in bytes.
use constant PIECE => 1 << 16;

sub has_holes { my ($handle) = @_; return is_sparse(fstat_ns($handle)) }

# The same, of the status of a file (System.pm).
sub is_sparse { my ($is) = @_; return $is->{blocks} * 512 < $is->{size} ? 1 : 0 }

# Writes to a new file, skipping pieces of zeros.
sub write_sparse {
    my ($handle, $at, undef) = @_;
    for (my $from = 0; $from < length $_[2]; $from += PIECE) {
        my $piece = substr $_[2], $from, PIECE;
        write_at($handle, $at + $from, $piece) if $piece =~ tr/\0//c;
    }
    return;
}

# Copies $from to a new file $to, or appends its chunks to the list $to, and calls $between after each; stops if that
# returns a reason, and returns it.
sub copy_sparse {
    my ($from, $to, $between) = @_;
    my $holes  = has_holes($from);
    my $offset = 0;
    while (1) {
        my $data = read_at($from, $offset, CHUNK);
        if    (ref $to eq 'ARRAY') { push @$to, $data }
        elsif ($holes)             { write_sparse($to, $offset, $data) }
        elsif (length $data)       { write_at($to, $offset, $data) }
        $offset += length $data;
        if (length $data < CHUNK) {
            # Trailing zeros were skipped, so the size is set here.
            truncate $to, $offset or die "cannot truncate: $!\n" if $holes && ref $to ne 'ARRAY';
            return undef;
        }
        my $reason = $between->();
        return $reason if $reason;
    }
}

1;
