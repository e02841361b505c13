# Copies that are being made. They are in a directory that only root can enter, on the volume of the mirror, so that nobody can
# swap them before they are renamed into place.
#
# A "place" is [directory, name], as the functions of Beneath.pm take it.
package LsyncdAsCode::Temporary;
use strict;
use warnings;
use Errno qw(ENOENT);
use LsyncdAsCode::Beneath qw(create_file make_link names private_directory remove_directory remove_file PRIVATE);
use LsyncdAsCode::System qw(fstat_ns);
use Exporter qw(import);

our @EXPORT_OK = qw(beside);

my $many  = 0;
my $swept = 0;

# The place of a file beside another: its name with a suffix.
sub beside { my ($place, $suffix) = @_; return [ $place->[0], $place->[1] . $suffix ] }

# What is made for one database of $directory. $volume is the root of the mirror, whose private directory is used if it is
# on the same file system.
sub new {
    my ($class, $directory, $volume) = @_;
    my $same = $volume && fstat_ns($volume)->{dev} eq fstat_ns($directory)->{dev};
    return bless { above => $same ? $volume : $directory, made => [] }, $class;
}

# A place for something new, made by $make->(directory, name). Returns the place and what $make returned.
sub place {
    my ($self, $make) = @_;
    for (1 .. 20) {
        my $private = private_directory($self->{above});
        sweep($private) unless $swept++;
        my $place = [ $private, "copy.$$." . ++$many ];
        my $made = eval { $make->(@$place) };
        if (defined $made) { push @{ $self->{made} }, $place; return ($place, $made) }
        # Another process has removed the directory, as nothing was in it.
        die $@ unless $!{ENOENT};
    }
    die $@;
}

# A new file: its place, and the open file.
sub file { my ($self) = @_; return $self->place(sub { return create_file(@_) }) }

# A new symbolic link: its place.
sub link_to { my ($self, $to) = @_; my ($place) = $self->place(sub { make_link(@_, $to); return 1 }); return $place }

# Removes what was not moved away, and the directory with the last of it.
sub discard {
    my ($self) = @_;
    my $made = delete $self->{made};
    $self->{made} = [];
    return unless @$made;
    remove_file(@$_) for @$made;
    remove_directory($self->{above}, PRIVATE);
    return;
}

# Removes what killed processes have left.
sub sweep {
    my ($private) = @_;
    for my $name (names($private)) {
        remove_file($private, $name) if $name =~ /\Acopy\.([0-9]+)\.[0-9]+\z/ && $1 != $$ && !-d "/proc/$1";
    }
    return;
}

1;
