# Makes copies to inspect a database: of the source under its locks, of the mirror while the worker may be changing it.
package LsyncdAsCode::Snapshot;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(create_file open_beneath open_file remove_file);
use LsyncdAsCode::Copy qw(sync_database);
use LsyncdAsCode::Sparse qw(copy_sparse);
use LsyncdAsCode::System qw(pause);
use LsyncdAsCode::Temporary qw();
use LsyncdAsCode::Unit qw(file_id);
use LsyncdAsCode::Wal qw(apply_frames valid_frames wal_header);
use Exporter qw(import);

our @EXPORT_OK = qw(snapshot image);

# Returns the place (Temporary.pm) of a path in a private directory.
sub place_of { my ($path) = @_; my ($directory, $name) = $path =~ m{\A(.*)/([^/]+)\z}s; return [ open_beneath($directory, ''), $name ] }

# Copies a database of the source directory to $to, under its locks; like sync_unit, but to a private directory.
sub snapshot {
    my ($source, $name, $to, $options) = @_;
    my $place     = place_of($to);
    my $temporary = LsyncdAsCode::Temporary->in_private($place->[0]);
    my $result    = eval { sync_database($source, $name, $place, $temporary, $options) };
    my $error     = $@;
    $temporary->discard;
    return $result // die $error;
}

# Copies a unit of the mirror (which the worker may be changing) to another directory and applies its WAL, so that two
# databases can be compared byte by byte. Returns 0 if its main file changed during each attempt.
sub image {
    my ($directory, $name, $to) = @_;
    my $place = place_of($to);
    for (1 .. 10) {
        remove_file($place->[0], "$place->[1]$_") for '', '-wal', '-shm';
        my $before = file_id($directory, $name);
        my $main = open_file($directory, $name) or return 0;
        my $copy = create_file(@$place);
        copy_sparse($main, $copy, sub { return undef });
        # Any WAL that was beside this main file fits it, and only grows; so only the main file must not change.
        my $wal = open_file($directory, "$name-wal");
        my $header = $wal && wal_header($wal);
        my $frames = $header ? valid_frames($wal, $header, 0) : 0;
        apply_frames($wal, $header, $frames, $copy) if $frames;
        return 1 if $before eq file_id($directory, $name);
        pause(0.3);
    }
    return 0;
}

1;
