# Copies a file in chunks, and leaves holes where the source has some.
package LsyncdAsCode::Sparse;
use strict;
use warnings;
use LsyncdAsCode::System qw(read_at write_at CHUNK);
use Exporter qw(import);

our @EXPORT_OK = qw(copy_sparse write_sparse has_holes);

# Bytes of a file that are looked at for being all zeros.
use constant PIECE => 1 << 16;

sub has_holes { my ($handle) = @_; my ($size, $blocks) = (stat $handle)[ 7, 12 ]; return $blocks * 512 < $size ? 1 : 0 }

# Writes into a new file; zeros need no writing there.
sub write_sparse {
    my ($handle, $at, undef) = @_;
    for (my $from = 0; $from < length $_[2]; $from += PIECE) {
        my $piece = substr $_[2], $from, PIECE;
        write_at($handle, $at + $from, $piece) if $piece =~ tr/\0//c;
    }
    return;
}

# Copies $from to a new file $to, or appends its chunks to the list $to, calling $between after each; stops when that
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
            # Zeros at its end are written by nobody.
            truncate $to, $offset or die "cannot truncate: $!\n" if $holes && ref $to ne 'ARRAY';
            return undef;
        }
        my $reason = $between->();
        return $reason if $reason;
    }
}

1;
