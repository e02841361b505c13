# Copies one SQLite database into the mirror so that the mirror's files form a committed state at every instant.
#
# docs/decisions/0005-sqlite-copy-order.md explains the order of the steps, and why each intermediate state opens.
# Nothing here reads a page's content, so encrypted databases are handled alike. Never writes to the source.
package LsyncdAsCode::Copy;
use strict;
use warnings;
use Fcntl qw(F_RDLCK F_UNLCK S_ISDIR S_ISLNK S_ISREG);
use LsyncdAsCode::Beneath qw(open_file open_source read_link remove_file rename_file set_link status sync_directory);
use LsyncdAsCode::Follow qw(append hand_over);
use LsyncdAsCode::Install qw(finish follow_attributes install install_wal seal);
use LsyncdAsCode::Locks qw(held_by_other lock_shared poll_for try_lock SHARED_FIRST SHARED_SIZE SHM_CKPT SHM_DMS);
use LsyncdAsCode::Mark qw(continues read_mark unchanged);
use LsyncdAsCode::Kind qw(is_sqlite);
use LsyncdAsCode::Pages qw(update_pages);
use LsyncdAsCode::Plain qw(copy_beside copy_plain);
use LsyncdAsCode::Sparse qw(copy_sparse has_holes write_sparse);
use LsyncdAsCode::Result qw(deferred need_space THROTTLED);
use LsyncdAsCode::System qw(fstat_ns now_ns read_at stat_ns sync ticks write_at CHUNK);
use LsyncdAsCode::Temporary qw(beside);
use LsyncdAsCode::Unit qw(committed file_id hot_journal open_main open_wal settled);
use LsyncdAsCode::Wal qw(apply_frames copy_frames same_generation shm_header sums_of wal_header WAL_HEADER);
use Exporter qw(import);

our @EXPORT_OK = qw(sync_unit expected_bytes delete_unit sync_database);

# Brings one database of the mirror up to date.
#   $source, $target  handles of the two directories, see Beneath.pm
#   $options          lock_seconds: how long writers may be blocked; big: bytes from which the file is first copied
#                     without a lock; owner, group, perms: as rsync's options; reserve: bytes to leave free
#                     whole: a copy of more than "big" may be made now (an append always may)
#                     volume: handle of the mirror's root, for copies that are not in place yet
#                     gone: deletes it from the mirror if that is allowed, and returns a result like sync_unit
#                     run: the name of this run of lsyncd (undef: unknown); in another one a power cut may have set the source back
#                     batch: see Batch.pm; a copy that it holds ("held" in the result) is in place once it is done
# Returns { state, why, reason, bytes, held, complete (main file and -wal are new) }; state is same, copied, deleted, or deferred (try again later).
# Dies if the target can't be written (full, read-only, …); the mirror is then as consistent as before.
sub sync_unit {
    my ($source, $target, $name, $options) = @_;
    my $main = status($source, $name);
    my $temporary = LsyncdAsCode::Temporary->new($target, $options->{volume}, $options->{batch});
    my $place = [ $target, $name ];
    my $result = eval {
        $main && S_ISLNK($main->{mode}) ? sync_link($source, $main, $place, $temporary, $options)
            : $main && S_ISREG($main->{mode}) ? sync_database($source, $name, $place, $temporary, $options)
            : without_database($source, $place, $temporary, $options);
    };
    my $error = $@;
    $result->{held} = 1 if $result && $temporary->{held};
    $temporary->discard unless $result && $temporary->{held};
    die $error unless $result;
    # A complete copy has them already.
    follow_attributes($place, $main, $options) if $main && S_ISREG($main->{mode}) && $result->{state} ne 'deferred' && !$result->{complete};
    return $result;
}

# Handles a name without a file. Files left beside it are not part of a database: they are mirrored as they are.
sub without_database {
    my ($source, $target, $temporary, $options) = @_;
    my $name = $target->[1];
    my $beside = grep { status($source, "$name$_") } '-wal', '-shm', '-journal';
    my $there  = status(@$target);
    my $result = { state => 'same' };
    if (!$beside || $there && !S_ISDIR($there->{mode})) {
        $result = $options->{gone} ? $options->{gone}->() : delete_unit(@$target);
        return $result unless $beside && $result->{state} eq 'deleted';
    }
    return copy_beside([ $source, $name ], $target, $temporary, $options, $result);
}

# Estimates how many bytes sync_unit will copy; undef if the database is gone.
sub expected_bytes {
    my ($source, $target) = @_;
    my $main = stat_ns($source) or return undef;
    return 0 unless S_ISREG($main->{mode});
    my ($wal, $mirrored) = map { open_source("$_-wal") } $source, $target;
    return $main->{size} unless $wal;
    my $header = $mirrored && wal_header($mirrored);
    return abs((-s $wal) - -s $mirrored) if $header && same_generation($wal, $header);
    return $main->{size} + -s $wal;
}

# Like sync_unit, for a regular file: $name in the directory $source is copied to the place $target.
sub sync_database {
    my ($source, $name, $target, $temporary, $options) = @_;
    my $unit = open_main($source, $name) or return deferred('changed', 'disappeared while it was opened');
    if (!is_sqlite($unit)) {
        my $result = copy_plain([ $source, $name ], $target, $temporary, $options);
        return $result->{state} eq 'deferred' ? $result : copy_beside([ $source, $name ], $target, $temporary, $options, $result);
    }
    my $mirrored = open_file(@$target);
    # A file with several hard links may be unrelated: it is replaced.
    my $mark = $mirrored && fstat_ns($mirrored)->{nlink} == 1 ? read_mark($mirrored, $options->{run}) : undef;
    undef $mirrored;

    # WAL mode, and the mirror has a prefix of this WAL: append the frames committed since. No lock is needed, because
    # committed frames stay until the header changes, and any prefix of them is a committed state.
    open_wal($unit) if $mark;
    if ($mark && $unit->{wal} && $mark->{ino} == fstat_ns($unit->{main})->{ino}) {
        my $now = committed($unit) or return deferred('changed', 'its WAL is being set up');
        my $result = append($unit, $now, $target, $options) // hand_over($unit, $now, $target, $temporary, $options);
        return $result if $result;
    }

    # From here on a lock is needed. In WAL mode every connection always holds SHARED, so it blocks no one.
    lock_shared($unit->{main}, 0.03) or return deferred('locked', 'a writer holds the lock');
    my $since = ticks();
    # Files opened before the lock may have been removed or replaced meanwhile, and an old WAL does not fit a newer main
    # file. Under SHARED, -wal and -shm stay (removing them needs EXCLUSIVE), so they are opened again.
    open_wal($unit);
    my $named = status($source, $name);
    return deferred('changed', 'it was replaced') if !$named || $named->{ino} != fstat_ns($unit->{main})->{ino};
    return deferred('hot', 'a crash left a journal; the application must open the database to roll it back') if hot_journal($unit);
    return copy_wal_unit($unit, $target, $temporary, $mark, $options) if $unit->{wal} || $unit->{live};
    return copy_rollback_unit($unit, $target, $temporary, $mark, $options, $since);
}

# WAL mode. The checkpoint lock prevents changes to the main file; writers can still append to the WAL.
sub copy_wal_unit {
    my ($unit, $target, $temporary, $mark, $options) = @_;
    if ($unit->{live}) {
        # Only briefly: other databases wait, and this one is tried again.
        poll_for(0.1, sub { try_lock($unit->{shm}, F_RDLCK, SHM_CKPT, 1) })
            or return deferred('locked', 'a checkpoint is running');
        return deferred('changed', 'its connections changed') unless held_by_other($unit->{shm}, SHM_DMS);
    }
    my $source = fstat_ns($unit->{main});
    my @still = map { file_id($unit->{directory}, "$unit->{name}$_") } '', '-wal', '-shm';
    if (!$unit->{live}) {
        # Without a lock to test, only the files' times reveal a change.
        for my $handle (grep { defined } @$unit{qw(main wal shm)}) {
            return deferred('changed', 'it was written a moment ago') unless settled(fstat_ns($handle)->{mtime}, now_ns());
        }
    }

    my $now = committed($unit) or return deferred('changed', 'its WAL is being set up');
    my $wal_bytes = $now->{frames} ? $now->{frames} * $now->{header}{frame} + WAL_HEADER : 0;

    if (unchanged($mark, $source) && continues($mark, $unit, $now)) {
        # No checkpoint has written the main file since it was copied: only the WAL is needed. (If the mirror has a WAL
        # of another generation, the mirror's main file already contains all of it.)
        if (!$now->{frames}) {
            return { state => 'same' } unless remove_file(@{ beside($target, '-wal') });
            if ($options->{batch}) { $options->{batch}->renamed }
            else                   { sync_directory($target->[0]) }
            return { state => 'copied', bytes => 0 };
        }
        my $lacking = need_space($target, $wal_bytes, $options);
        return $lacking if $lacking;
        my ($place, $copy) = $temporary->file;
        write_at($copy, 0, $now->{header}{raw});
        copy_frames($unit->{wal}, $now->{header}, 0, $now->{frames}, $copy)
            or return deferred('changed', 'its WAL was restarted while it was copied');
        finish($copy, $source, $options, $now->{frames});
        install_wal($target, $temporary, $place, $options);
        return { state => 'copied', bytes => $wal_bytes };
    }

    return deferred('throttled', THROTTLED) if !$options->{whole} && $source->{size} + $wal_bytes >= $options->{big};
    my $lacking = need_space($target, $source->{size} + 2 * $wal_bytes, $options);
    return $lacking if $lacking;
    my ($place, $copy) = $temporary->file;
    my $stopped = copy_sparse($unit->{main}, $copy, sub {
        # After the last connection is closed, the next one needs the checkpoint lock to recover the WAL.
        return $unit->{live} && !(held_by_other($unit->{shm}, SHM_DMS) && shm_header($unit->{shm})) ? 'its connections changed' : undef;
    });
    return deferred('changed', $stopped) if $stopped;
    # The slow step comes first: the copy is as recent as the WAL that is read after it.
    sync($copy) if $source->{size} >= $options->{big};

    # The WAL after the main file, so that it contains at least the frames that a checkpoint had written there.
    my ($wal_place, $wal_copy);
    for my $try (1 .. 5) {
        $now = committed($unit) or return deferred('changed', 'its WAL is being set up');
        last unless $now->{frames};
        ($wal_place, $wal_copy) = $temporary->file;
        write_at($wal_copy, 0, $now->{header}{raw});
        if (copy_frames($unit->{wal}, $now->{header}, 0, $now->{frames}, $wal_copy)) {
            $now->{sums} = sums_of($wal_copy, $now->{header}, $now->{frames});
            last;
        }
        return deferred('changed', 'its WAL was restarted while it was copied') if $try == 5;
    }
    # Without an open connection there is no lock to test, so nothing may have changed and no connection been opened.
    # (A connection that was opened leaves a trace: removing -shm needs EXCLUSIVE, which our SHARED lock prevents.)
    if (!$unit->{live}) {
        my @after = map { file_id($unit->{directory}, "$unit->{name}$_") } '', '-wal', '-shm';
        return deferred('changed', 'it was opened while it was copied')
            if "@after" ne "@still" || ($unit->{shm} && held_by_other($unit->{shm}, SHM_DMS));
    }
    my $copied_at = now_ns();
    delete @$unit{qw(main wal shm)};    # closes the files: this drops the locks

    apply_frames($wal_copy, $now->{header}, $now->{frames}, $copy) if $now->{frames};
    seal($copy, $source, $copied_at, $now, $options);
    finish($wal_copy, $source, $options, $now->{frames}) if $now->{frames};
    install($target, $temporary, $place, $wal_place, $now->{frames} ? $now->{header} : undef, $options);
    return { state => 'copied', bytes => (-s $copy) + $wal_bytes, complete => 1 };
}

# Rollback journal (delete, truncate, persist, memory, off): SHARED blocks writes to the main file, for a bounded time.
sub copy_rollback_unit {
    my ($unit, $target, $temporary, $mark, $options, $since) = @_;
    my $deadline = $since + $options->{lock_seconds};
    my @still = map { file_id($unit->{directory}, "$unit->{name}$_") } '-wal', '-shm';
    my $source = fstat_ns($unit->{main});
    if (unchanged($mark, $source) && $mark->{size} == $source->{size} && !status(@{ beside($target, '-wal') })) {
        return { state => 'same' };
    }
    return deferred('throttled', THROTTLED) if !$options->{whole} && $source->{size} >= $options->{big};
    my $lacking = need_space($target, $source->{size}, $options);
    return update_pages($unit, $target, $temporary, $options) // $lacking if $lacking;
    my ($place, $copy, @chunks);
    my $bytes = $source->{size};
    if ($source->{size} < $options->{big}) {
        # Under the lock it only reads: the mirror's file system may be slow to write, or to create a file.
        my $late = copy_sparse($unit->{main}, \@chunks, sub { return ticks() > $deadline ? 'late' : undef });
        return deferred('slow', "copying it takes longer than writers may be blocked for ($options->{lock_seconds} s)") if $late;
    }
    else {
        # A big one is first copied without a lock. If no process wrote meanwhile, the copy is done; else only the chunks
        # that differ are copied under the lock.
        my $before = "$source->{ino} $source->{size} $source->{mtime}";
        my $settled = settled($source->{mtime}, now_ns());
        try_lock($unit->{main}, F_UNLCK, SHARED_FIRST, SHARED_SIZE);
        ($place, $copy) = $temporary->file;
        copy_sparse($unit->{main}, $copy, sub { return undef });
        # Here, where no writer waits for it, and not after the lock.
        sync($copy);
        lock_shared($unit->{main}, 0.5) or return deferred('locked', 'a writer holds the lock');
        $deadline = ticks() + $options->{lock_seconds};
        return deferred('changed', 'a writer crashed while it was copied') if hot_journal($unit);
        $source = fstat_ns($unit->{main});
        if (!$settled || $before ne "$source->{ino} $source->{size} $source->{mtime}") {
            for (my $at = 0; $at < $source->{size}; $at += CHUNK) {
                return deferred('slow', "comparing it takes longer than writers may be blocked for ($options->{lock_seconds} s)")
                    if ticks() > $deadline;
                my $data = read_at($unit->{main}, $at, CHUNK);
                next if $data eq read_at($copy, $at, CHUNK);
                write_at($copy, $at, $data);
                $bytes += length $data;
            }
            truncate $copy, $source->{size} or die "cannot truncate: $!\n";
        }
    }
    # A database that switched to WAL mode meanwhile left its files behind (their removal needs EXCLUSIVE).
    my @after = map { file_id($unit->{directory}, "$unit->{name}$_") } '-wal', '-shm';
    return deferred('changed', 'it switched to WAL mode while it was copied') if "@after" ne "@still";
    my $named = status($unit->{directory}, $unit->{name});
    return deferred('changed', 'it was replaced while it was copied') if !$named || $named->{ino} != $source->{ino};
    my $copied_at = now_ns();
    my $holes = has_holes($unit->{main});
    delete @$unit{qw(main wal shm)};
    if (!$copy) {
        ($place, $copy) = $temporary->file;
        my $at = 0;
        for my $chunk (@chunks) {
            if   ($holes) { write_sparse($copy, $at, $chunk) }
            else          { write_at($copy, $at, $chunk) }
            $at += length $chunk;
        }
        truncate $copy, $at or die "cannot truncate: $!\n" if $holes;
    }
    seal($copy, $source, $copied_at, { frames => 0, complete => 1 }, $options);
    install($target, $temporary, $place, undef, undef, $options);
    return { state => 'copied', bytes => $bytes, complete => 1 };
}

# The main file first: without it, remaining files are not a database. rsync handles a directory of that name.
sub delete_unit {
    my ($target, $name) = @_;
    my $there = status($target, $name);
    my $directory = $there && S_ISDIR($there->{mode});
    remove_file($target, "$name$_") for $directory ? () : '', '-wal', '-shm', '-journal';
    return { state => 'deleted' };
}

# A link keeps its source's owner and time, as with rsync's --owner, --group and --times. Another user can exchange the one in place, so that is
# replaced and never changed. $is: the status of the source's.
sub sync_link {
    my ($source, $is, $target, $temporary, $options) = @_;
    my $to = read_link($source, $target->[1]);
    return deferred('changed', 'the link was replaced') unless defined $to;
    my ($old, $there) = (read_link(@$target), status(@$target));
    my $uid = $options->{owner} ? $is->{uid} : $there ? $there->{uid} : $>;
    my $gid = $options->{group} ? $is->{gid} : $there ? $there->{gid} : $) + 0;
    return { state => 'same' }
        if defined $old && $old eq $to && $there->{uid} == $uid && $there->{gid} == $gid && $there->{mtime} == $is->{mtime};
    my $place = $temporary->link_to($to);
    set_link(@$place, $uid, $gid, $is->{mtime});
    rename_file(@$place, @$target);
    remove_file(@{ beside($target, $_) }) for '-wal', '-shm', '-journal';
    return { state => 'copied', bytes => 0 };
}

1;
