# Copies in progress. They are in root's own directory on the mirror's volume (Private.pm), so that no other user can
# replace them before they are renamed into place.
#
# A "place" is [directory, name], the arguments of the functions of Beneath.pm.
package LsyncdAsCode::Temporary;
use strict;
use warnings;
use Errno qw(ENOENT);
use LsyncdAsCode::Beneath qw(create_file make_link names remove_directory remove_file);
use LsyncdAsCode::Private qw(inside part NESTED);
use Exporter qw(import);

our @EXPORT_OK = qw(beside);

# Where they are in that directory.
use constant PLACE => 'copies';

my $many  = 0;
my $swept = 0;

# Returns the place of a file beside another: its name with a suffix.
sub beside { my ($place, $suffix) = @_; return [ $place->[0], $place->[1] . $suffix ] }

# Creates an object for the temporary files of one database in $directory. $volume is the mirror's root; its private
# directory is used if it is on the same file system; otherwise there is one in $directory for as long as something is in it.
# $open, a hash, keeps the private directory open for the next databases of the same batch.
sub new {
    my ($class, $directory, $volume, $open) = @_;
    my $same = $volume && (stat $volume)[0] == (stat $directory)[0];
    return bless { volume => $same ? $volume : undef, above => $directory, made => [], open => $open // {} }, $class;
}

# Makes something new with $make->(directory, name). Returns its place and the result of $make.
sub place {
    my ($self, $make) = @_;
    for (1 .. 20) {
        my $private = $self->directory;
        sweep($private) unless $swept++;
        my $place = [ $private, "copy.$$." . ++$many ];
        my $made = eval { $make->(@$place) };
        if (defined $made) { push @{ $self->{made} }, $place; return ($place, $made) }
        # Another process removed the directory because it was empty.
        die $@ unless $!{ENOENT};
        delete $self->{open}{copies};
    }
    die $@;
}

# Creates an object for temporary files in a directory that is already root's own.
sub in_private { my ($class, $private) = @_; return bless { private => $private, made => [] }, $class }

# The handle of the directory in which they are created; checked when it is opened.
sub directory {
    my ($self) = @_;
    return $self->{private} // ($self->{volume} ? $self->{open}{copies} //= part($self->{volume}, PLACE, 1) : inside($self->{above}, NESTED, 1));
}

# Creates a file; returns its place and the open file.
sub file { my ($self) = @_; return $self->place(sub { return create_file(@_) }) }

# Creates a symbolic link; returns its place.
sub link_to { my ($self, $to) = @_; my ($place) = $self->place(sub { make_link(@_, $to); return 1 }); return $place }

# Removes temporary files that were not moved into place. The places in @moved were: nothing has their names any more.
sub discard {
    my ($self, @moved) = @_;
    my %moved = map { $_ => 1 } @moved;
    my $made = delete $self->{made};
    $self->{made} = [];
    return unless @$made;
    remove_file(@$_) for grep { !$moved{$_} } @$made;
    remove_directory($self->{above}, NESTED) unless $self->{volume} || $self->{private};
    return;
}

# A process was killed: the next copy removes what it left behind.
sub sweep_again { $swept = 0; return }

# Removes temporary files that killed processes left behind.
sub sweep {
    my ($private) = @_;
    for my $name (names($private)) {
        remove_file($private, $name) if $name =~ /\Acopy\.([0-9]+)\.[0-9]+\z/ && $1 != $$ && !-d "/proc/$1";
    }
    return;
}

1;
