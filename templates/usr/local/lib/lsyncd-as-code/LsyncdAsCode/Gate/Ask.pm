# The copier's worker asks the gate to delete databases; it deletes none itself.
package LsyncdAsCode::Gate::Ask;
use strict;
use warnings;
use LsyncdAsCode::Paths ();
use LsyncdAsCode::Beneath      qw(open_beneath remove);
use LsyncdAsCode::Gate::Delete ();
use LsyncdAsCode::Gate::Grants ();
use LsyncdAsCode::Gate::Kept   ();
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::System       qw(fd_path stat_ns);

# Deletes a database that is gone from the source, with what belongs to it, if the gate has counted and permitted it. $root:
# the target; $identity: what it must be (see Beneath.pm); $path: below it; $grants: the file of permissions; $days: how long
# deleted files are kept. Returns whether it is gone. Without a permission it stays until the pass for its change.
sub delete_database {
    my ($root, $identity, $path, $grants, $days) = @_;
    my ($above, $name) = LsyncdAsCode::Paths::split_path($path);
    my $directory = open_beneath($root, $above, $identity) // return 1;
    my $place = fd_path($directory) . "/$name";
    # A directory has taken the place of the main file, which was counted then. The files beside it no longer belong to a database: the
    # gate counts them like any file.
    return 1 if !-l $place && -d _;
    return 0 unless LsyncdAsCode::Gate::Grants::allows($grants, $path, $place);
    if ($days > 0) {
        my $kept   = LsyncdAsCode::Gate::Kept->new($root, $days);
        my $volume = LsyncdAsCode::Gate::Volume->new($root);
        for ('', '-wal', '-journal') { $kept->take($volume, "$path$_", 1) if stat_ns("$place$_") }
        $kept->save;
    }
    # The main file first: the remaining files are no database without it.
    remove("$place$_") for '', '-wal', '-shm', '-journal';
    return 1;
}

1;
