# For tests in Perl: settings and a state directory of their own, named by LSYNCD_SETTINGS as on a host.
#
#   use CopierState; my $folder = CopierState::make();    # with source, target, state and settings in it
package CopierState;
use strict;
use warnings;
use File::Temp qw(tempdir);

sub make {
    my $folder = tempdir(CLEANUP => 1);
    mkdir "$folder/$_" for qw(source target state settings);
    open my $file, '>', "$folder/settings/mirror.conf" or die "$folder: $!";
    print {$file} map { "$_\n" } qq{source = "$folder/source"}, qq{target = "$folder/target"}, 'sqlite_pattern = "*.sqlite"',
        'sqlite_pattern = "*.db"', 'sqlite_lock_seconds = "2"', 'sqlite_copy_share = "20"', qq{grants_file = "$folder/state/grants"}, qq{sqlite_state_directory = "$folder/state"},
        qq{rsync_program = "$folder/rsync"};
    close $file;
    put("$folder/settings/limits.conf", qq{keep_deleted_days = "0"\n});
    $ENV{LSYNCD_SETTINGS} = "$folder/settings";
    return $folder;
}

# Writes a file that the copier takes for a database: none of its pages is ever read. Its bytes are $byte, or "a".
sub database { my ($path, $byte) = @_; put($path, "SQLite format 3\0\x10\0\1\1\0" . ($byte // 'a') x 4075); return }

# Writes a file below the folder.
sub put {
    my ($path, $text) = @_;
    open my $file, '>', $path or die "$path: $!";
    print {$file} $text;
    close $file;
    return;
}

1;
