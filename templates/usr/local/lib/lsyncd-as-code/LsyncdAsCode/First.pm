# Copies a small database that the mirror does not have yet, that nobody writes, and that has no other file beside it: most of a first pass.
# It has the locks and the order of Copy.pm with a third of the system calls.
package LsyncdAsCode::First;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(open_file remove_file rename_file status);
use LsyncdAsCode::Install qw(seal);
use LsyncdAsCode::Kind qw(starts_like_sqlite);
use LsyncdAsCode::Locks qw(try_shared);
use LsyncdAsCode::Result qw(need_space);
use LsyncdAsCode::Sparse qw(is_sparse);
use LsyncdAsCode::System qw(fstat_ns now_ns write_at CHUNK);
use LsyncdAsCode::Temporary ();
use Exporter qw(import);

our @EXPORT_OK = qw(first_copy);

# Makes the copy, which $options->{batch} puts in place. $source, $target: handles of the two directories; $options: as for sync_unit.
# Returns undef if the database needs sync_unit, which then makes the copy or reports why it cannot; otherwise a result like its.
sub first_copy {
    my ($source, $target, $name, $options) = @_;
    return undef if status($target, $name);
    my $main = open_file($source, $name) or return undef;
    # Once, without waiting: a writer or a checkpoint takes it to sync_unit.
    try_shared($main) or return undef;
    my $is   = fstat_ns($main);
    my $size = $is->{size};
    # A longer read could block writers for longer than they may be. And a sparse one stays sparse.
    return undef if !$size || $size > CHUNK || $size >= $options->{big} || is_sparse($is);
    # Read as a whole, and one byte more, which must not be there.
    my $got = sysread $main, my $data, $size + 1;
    return undef if !defined $got || $got != $size || !starts_like_sqlite($data, $size);
    # A file that was there during the read still is: removing a -wal, a -shm or a hot journal takes the lock EXCLUSIVE, which SHARED prevents. So
    # the file was in no other mode, and needs no recovery.
    for my $suffix ('-wal', '-shm', '-journal') { return undef if status($source, $name . $suffix) }
    my $named = status($source, $name);
    return undef if !$named || grep { $named->{$_} ne $is->{$_} } qw(dev ino size mtime);
    my $copied_at = now_ns();
    close $main;

    my $place = [ $target, $name ];
    return undef if need_space($place, $size, $options);
    my $batch     = $options->{batch};
    my $temporary = LsyncdAsCode::Temporary->new($target, $options->{volume}, $batch);
    my $made      = eval {
        my ($at, $copy) = $temporary->file;
        write_at($copy, 0, $data);
        seal($copy, $is, $copied_at, { frames => 0, complete => 1 }, $options);
        $at;
    };
    if (!$made) { my $error = $@; $temporary->discard; die $error }
    $batch->later(
        sub {
            # Left over, perhaps: beside a new main file they would be taken for its own.
            for my $suffix ('-shm', '-journal', '-wal') { remove_file($target, $name . $suffix) }
            rename_file(@$made, @$place);
            $temporary->discard($made);
        },
        sub { $temporary->discard },
    );
    return { state => 'copied', bytes => $size };
}

1;
