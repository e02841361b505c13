# The directory of this program at the root of each volume, which only root can enter. It is opened by handle and checked each time it is opened,
# because the root directory itself may belong to another user.
#
#   generation               on both volumes: Gate/Generation.pm
#   unsynced                 on the target: Unsynced.pm
#   deleted                  on the target, deleted files that are kept: Gate/Kept.pm
#   deleted.count            on the target, how many entries those are: Gate/Kept.pm
#   deleted.ages             on the target, how long they have been kept: Gate/Age.pm
#   copies                   on the target, copies of databases that are being made: Temporary.pm
#   verify                   on the target, copies of databases that are being checked: Verify/Databases.pm
#   tidy                     on the target: nothing of earlier versions is beside this directory any more
#
# It is no data of anybody's: not mirrored, not counted, not compared. The same name for programs in Bash: volume.sh.
package LsyncdAsCode::Private;
use strict;
use warnings;
use LsyncdAsCode::Beneath qw(create_file make_directory names open_beneath open_file remove_directory remove_file rename_file status sync_directory);
use LsyncdAsCode::System qw(fstat_ns sync write_at);
use Exporter qw(import);

our @EXPORT_OK = qw(private part inside read_file write_file is_private excludes clean_up NESTED);

# The name; and the one that it has in a directory of the target that is a file system of its own (a subvolume), into which nothing
# can be renamed from elsewhere. The second exists at any depth.
use constant { NAME => '.lsyncd-as-code', NESTED => '.lsyncd-rsync.private', TIDY => 'tidy' };

# Its handle; undef when there is none and $make is not given. $root: a path, or a handle. Dies when it is not root's alone.
sub private { my ($root, $make) = @_; return inside(open_beneath($root, ''), NAME, $make) }

# A directory in it.
sub part {
    my ($root, $name, $make) = @_;
    my $private = private($root, $make) // return undef;
    return inside($private, $name, $make);
}

# A directory of root's own in an open one.
sub inside {
    my ($above, $name, $make) = @_;
    my $handle = open_beneath($above, $name) // ($make ? make_directory($above, $name) : return undef);
    die "$name is not for root alone (owner " . fstat_ns($handle)->{uid} . "): another user created or changed it; inspect it, then remove it\n"
        unless is_ours($handle);
    return $handle;
}

sub is_ours { my ($handle) = @_; my $is = fstat_ns($handle); return $is->{uid} == $> && !($is->{mode} & 0077) ? 1 : 0 }

# The text of a file of ours; undef when there is none, or when it is not ours.
sub read_file {
    my ($directory, $name) = @_;
    my $file = open_file($directory, $name) // return undef;
    my $is = fstat_ns($file);
    return undef unless $is->{uid} == $> && $is->{nlink} == 1;
    local $/ = undef;
    return readline($file) // '';
}

# Writes it so that it is there whole after a power cut, in its old state or the new one.
sub write_file {
    my ($directory, $name, $text) = @_;
    eval { remove_file($directory, "$name.new"); 1 } or die "cannot write $name: $@";
    my $file = create_file($directory, "$name.new");
    eval { write_at($file, 0, $text); sync($file); 1 } or die "$name: $@";
    close $file or die "cannot write $name: $!\n";
    rename_file($directory, "$name.new", $directory, $name);
    sync_directory($directory);
    return;
}

# Whether a path below a volume is one of these two, or in it.
sub is_private {
    my ($path) = @_;
    return $path eq NAME || index($path, NAME . '/') == 0 || index("/$path/", '/' . NESTED . '/') >= 0 ? 1 : 0;
}

# Keeps rsync away from them.
sub excludes { return ('--exclude=/' . NAME, '--exclude=' . NESTED) }

# Directories of earlier versions, and what those put into them.
my $OLD   = qr/\A\.lsyncd-rsync\.(?:private|verify(?:\.[0-9a-f]+)*)\z/;
my $BASES = join '|', map { quotemeta } 'source', 'source.new', 'mirror', 'image';
my $FILES = qr/\A(?:copy\.([0-9]+)\.[0-9]+|(?:$BASES)(?:-wal|-shm|-journal)?)\z/;

# Removes from the root of the target what earlier versions have left there: once, because it may have very many names, and again if one of them
# was used meanwhile. A directory that is not root's alone is not theirs.
sub clean_up {
    my ($root) = @_;
    my $top     = open_beneath($root, '');
    my $private = private($top, 1);
    return if status($private, TIDY) && !status($top, NESTED);
    my $left = 0;
    for my $name (grep { $_ =~ $OLD } names($top)) {
        my $old = open_beneath($top, $name) // next;
        next unless is_ours($old);
        for my $file (names($old)) { remove_file($old, $file) if $file =~ $FILES && !($1 && -d "/proc/$1") }
        $left++ if !remove_directory($top, $name);
    }
    create_file($private, TIDY) if !$left && !status($private, TIDY);
    return;
}

1;
