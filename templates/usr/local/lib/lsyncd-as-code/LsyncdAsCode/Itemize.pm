package LsyncdAsCode::Itemize;
# Parses what rsync prints for each file: rsync(1), --itemize-changes. Columns and escapes are those of log.c in rsync 3.2 to 3.5.
use strict;
use warnings;

# Returns the options that make rsync print what `parse` reads. Without a second -i it omits entries that are equal.
sub options {
    my ($all) = @_;
    return ($all ? '-ii' : '-i', '--8-bit-output', '--out-format=%i %l %n');
}

my $LINE = qr{\A
    (?: (\*deleting)[ ]{2} | ([<>ch.])([fdLDS])([.cstTpoguUnbax]{9}|\+{9}|\?{9}|[ ]{9}) )
    [ ]([0-9]+)[ ](.+)\z}sx;

my $NEW_FILE = qr{\A>f\+{9} ([0-9]+) ([^\\]+)\z};

# One for all items, because there may be very many.
my $NONE = {};

my %ACTIONS = ('<' => 'transfer', '>' => 'transfer', c => 'create', h => 'hardlink', '.' => 'none');

# Returns true if a line is about a deletion.
sub deletes { my ($line) = @_; return substr($line, 0, 1) eq '*' && $line =~ $LINE ? 1 : 0 }

# Returns the name in a line about a new file that has no escape in its name, as nearly all lines of a first pass; otherwise undef.
sub new_file { my ($line) = @_; return $line =~ $NEW_FILE ? $2 : undef }

# Parses one line without its newline: undef if it is not about a file (rsync prints other lines on the same stream), else
#   action   delete, transfer (content), create (a directory, link, device or special file; made or replaced), hardlink, or none
#   type     f, d, L (symbolic link), D (device), S (FIFO or socket); empty for a deletion of anything but a directory
#   new      1 if it does not exist yet
#   differs  the differences, of "checksum size time perms owner group atime crtime acl xattr", as { name => 1 }; empty if new
#   changed  1 unless both sides are the same
#   size     bytes of the source
#   name     bytes, relative to the volume, without a trailing slash
sub parse {
    my ($line) = @_;
    if ($line =~ $NEW_FILE) { return { action => 'transfer', type => 'f', new => 1, differs => $NONE, changed => 1, size => $1, name => $2 } }
    my ($deleted, $how, $type, $what, $size, $name) = $line =~ $LINE or return undef;
    my %item = (action => 'delete', type => '', new => 0, differs => $NONE, changed => 1, size => $size, name => unescape($name));
    my $slash = $item{name} =~ s{/\z}{};
    if (defined $deleted) {
        $item{type} = 'd' if $slash;
        return \%item;
    }
    $item{type}   = $type;
    $item{action} = $ACTIONS{$how};
    $item{new}    = $what =~ /\A\+/ ? 1 : 0;
    $item{differs} = differences($what) if $what =~ /[a-zA-Z]/;
    $item{changed} = 0 if $how eq '.' && $what !~ /[^. ]/;
    return \%item;
}

my @COLUMNS = (
    { c => ['checksum'] }, { s => ['size'] }, { t => ['time'], T => ['time'] }, { p => ['perms'] }, { o => ['owner'] }, { g => ['group'] },
    { u => ['atime'], U => ['atime'], n => ['crtime'], b => [qw(atime crtime)] }, { a => ['acl'] }, { x => ['xattr'] },
);

sub differences {
    my ($what) = @_;
    my @letters = split //, $what;
    return { map { $_ => 1 } map { @{ $COLUMNS[$_]{ $letters[$_] } // [] } } 0 .. $#COLUMNS };
}

# rsync prints a control character as \#ooo, and likewise a backslash in a name that looks like such an escape.
sub unescape { my ($name) = @_; return $name =~ s/\\#([0-7]{3})/chr oct $1/ger }

1;
