# Distinguishes a source that was set back in time (a restored snapshot, an older disk with the same UUID) from the one that was mirrored
# last: a number on both volumes, in root's own directory (Private.pm). It rises while the mirror is written, on the source
# first, so the source is never behind its mirror, unless it is older.
package LsyncdAsCode::Gate::Generation;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(status);
use LsyncdAsCode::Private qw(private read_file write_file);

# The file, and the seconds between two rises: a source that was set back by less is not noticed.
use constant { NAME => 'generation', EVERY => 60 };

# The number on a volume; undef when it has none.
sub read {    ## no critic (ProhibitBuiltinHomonyms)
    my ($root) = @_;
    my $private = private($root, 0) // return undef;
    return (read_file($private, NAME) // '') =~ /\A(\d{1,15})\n\z/ ? $1 + 0 : undef;
}

sub write {    ## no critic (ProhibitBuiltinHomonyms)
    my ($root, $number) = @_;
    write_file(private($root, 1), NAME, "$number\n");
    return;
}

# The reason why the source must not be mirrored, for the operator; undef if it may be.
sub refuses {
    my ($source, $target) = @_;
    return undef unless defined $target;
    return "the source has no generation, its mirror has $target: it is not the disk that was mirrored last, or was set back" unless defined $source;
    return $source < $target
        ? "the source is older than its mirror (generation $source, the mirror has $target): a restored snapshot, or an older disk"
        : undef;
}

# Raises it on both volumes, if the last rise is long enough ago. $roots: source and target.
sub rise {
    my ($roots, $now) = @_;
    my @numbers = map { LsyncdAsCode::Gate::Generation::read($_) } @$roots;
    my $private = defined $numbers[1] ? private($roots->[1], 0) : undef;
    my $is      = $private ? status($private, NAME) : undef;
    my $written = $is ? int($is->{mtime} / 1e9) : undef;
    # A time in the future comes from a clock that was wrong then.
    return if defined $written && defined $numbers[0] && $now - $written < EVERY && $written <= $now + EVERY;
    my ($highest) = sort { $b <=> $a } map { $_ // 0 } @numbers;
    LsyncdAsCode::Gate::Generation::write($_, $highest + 1) for @$roots;
    return;
}

# Accepts the source as the one to mirror from now on.
sub accept {    ## no critic (ProhibitBuiltinHomonyms)
    my ($roots) = @_;
    my ($highest) = sort { $b <=> $a } map { LsyncdAsCode::Gate::Generation::read($_) // 0 } @$roots;
    LsyncdAsCode::Gate::Generation::write($_, $highest + 1) for @$roots;
    return;
}

1;
