# sync_unit copies one database that the real SQLite writes. The mirror is opened as after the loss of the source.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use IPC::Open2 qw(open2);
use Copier;

my ($folder, $source, $target, @held);

sub volumes {
    kill KILL => $_->[0] and waitpid $_->[0], 0 for @held;
    @held   = ();
    $folder = tempdir(CLEANUP => 1);
    ($source, $target) = map { mkdir "$folder/$_"; "$folder/$_" } qw(source target);
    return;
}

# An SQLite connection in its own process: each call runs statements and returns the result of the last one.
sub connection {
    my ($name) = @_;
    my $pid = open2(my $out, my $in, 'python3', '-u', '-c', <<'END', "$source/$name");
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
for line in sys.stdin:
    print('|'.join(','.join(map(str, row)) for row in c.execute(line).fetchall()), flush=True)
END
    push @held, [ $pid, $in ];
    return sub { my $said; for (@_) { print {$in} "$_\n"; $said = <$out>; chomp $said } return $said };
}

sub run_sql { my ($path, @statements) = @_; open my $out, '-|', 'python3', '-c', <<'END', $path, @statements or die; my $said = do { local $/ = undef; <$out> }; chomp $said; return $said }
import sqlite3, sys
try:
    c = sqlite3.connect(sys.argv[1], isolation_level=None)
    for s in sys.argv[2:]: rows = c.execute(s).fetchall()
    print('|'.join(','.join(map(str, row)) for row in rows))
except sqlite3.Error as e: print(e)
END

# Copies it, and again while the result asks for it; returns the state, or the reason for deferring it.
sub copied {
    my ($name, %options) = @_;
    my $done;
    for (1 .. 40) {
        $done = sync_unit(directory($source), directory($target), $name, options(%options));
        last if $done->{state} ne 'deferred' || $done->{why} ne 'changed';
        pause(0.02);
    }
    return $done->{why} // $done->{state};
}

sub mirrored {
    my ($name, @statements) = @_;
    unlink glob "$folder/opened*";
    -e "$target/$name$_" and system 'cp', "$target/$name$_", "$folder/opened$_" for '', '-wal', '-shm', '-journal';
    my $sound = run_sql("$folder/opened", 'pragma integrity_check');
    return $sound eq 'ok' ? run_sql("$folder/opened", @statements) : substr $sound, 0, 60;
}

my $SUM = 'select count(*), sum(i) from t';
sub burst { my ($rows) = @_; return "with recursive n(i) as (select 1 union all select i + 1 from n where i < $rows) insert into t select i, randomblob(900) from n" }

subtest 'the log was truncated to its size limit after the last copy: its earlier length is unknown' => sub {
    for my $kilobytes (100, 150) {
        volumes();
        my $sql = connection('a.sqlite');
        $sql->('pragma journal_mode = wal', "pragma journal_size_limit = ${kilobytes}000", 'pragma wal_autocheckpoint = 0', 'create table t (i, b)');
        $sql->(burst(50));
        is(copied('a.sqlite'), 'copied', 'the first copy');
        $sql->(burst(5)) for 1 .. 2;
        copied('a.sqlite');
        # A burst longer than the limit, checkpointed; the next commit restarts the log and truncates it.
        $sql->(burst(40)) for 1 .. 20;
        $sql->('pragma wal_checkpoint', burst(1));
        is(copied('a.sqlite'), 'copied', "a limit of $kilobytes kB");
        is(mirrored('a.sqlite', $SUM), $sql->($SUM), 'the mirror has all rows');
        # Truncated, then grown beyond that length by the new log.
        $sql->(burst(30)) for 1 .. 10;
        $sql->('pragma wal_checkpoint');
        $sql->(burst(3)) for 1 .. 30;
        copied('a.sqlite');
        is(mirrored('a.sqlite', $SUM), $sql->($SUM), 'the mirror has all rows again');
    }
};

# The process that has the last connection is killed.
sub crash { kill KILL => $held[-1][0]; waitpid $held[-1][0], 0; return }

# Overwrites bytes of a file of the source: what was not on the disk in a power cut.
sub lose { my ($name, $at, $bytes) = @_; open my $file, '+<', "$source/$name" or die; seek $file, $at, 0; print {$file} "\0" x $bytes; close $file; return }

subtest 'a power cut took frames from the middle of the log, and later ones are still there' => sub {
    my @closed = ('pragma wal_checkpoint(restart)', 'begin immediate', burst(1), 'rollback');
    for my $then ([], [ 'pragma wal_checkpoint(restart)' ], \@closed, [ 'pragma wal_checkpoint(restart)', burst(1) ], [ burst(1), @closed, burst(2) ]) {
        volumes();
        my $sql = connection('a.sqlite');
        # A longer log before it shows where the next one ends.
        $sql->('pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table t (i, b)', burst(200), 'pragma wal_checkpoint(restart)');
        $sql->(burst(3)) for 1 .. 6;
        is(copied('a.sqlite', run => 'before'), 'copied', 'the first copy');
        $sql->(burst(3)) for 1 .. 3;
        is(copied('a.sqlite', run => 'before'), 'copied', 'all of the log');
        my $log = -s "$source/a.sqlite-wal";
        crash();
        unlink "$source/a.sqlite-shm";
        # One frame in the middle, and nothing behind it.
        my $frame = 24 + 4096;
        lose('a.sqlite-wal', 32 + 4 * $frame, $frame);
        $sql = connection('a.sqlite');
        $sql->($SUM, @$then);
        is(-s "$source/a.sqlite-wal", $log, 'the log is as long as before');
        copied('a.sqlite', run => 'after');
        is(mirrored('a.sqlite', $SUM), $sql->($SUM), 'the mirror has what the source has, after: ' . join ', ', map { substr $_, 0, 30 } @$then);
        $sql->(burst(20));
        copied('a.sqlite', run => 'after');
        is(mirrored('a.sqlite', $SUM), $sql->($SUM), 'and later');
    }
};

subtest 'a log that begins anew is followed without a copy of the main file, in the same run of lsyncd only' => sub {
    for my $run ('before', 'after', undef) {
        volumes();
        my $sql = connection('a.sqlite');
        # A longer log before it shows where the next one ends.
        $sql->('pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table t (i, b)', burst(200), 'pragma wal_checkpoint(restart)');
        $sql->(burst(9)) for 1 .. 2;
        copied('a.sqlite', run => 'before');
        my $main = -s "$source/a.sqlite";
        $sql->('pragma wal_checkpoint(restart)', burst(1));
        my $done = sync_unit(directory($source), directory($target), 'a.sqlite', options(run => $run));
        is($done->{state}, 'copied', 'copied');
        if (defined $run && $run eq 'before') { cmp_ok($done->{bytes}, '<', $main / 2, 'a part of it') }
        else                                  { cmp_ok($done->{bytes}, '>=', $main, 'all of it') }
        is(mirrored('a.sqlite', $SUM), $sql->($SUM), 'the mirror has what the source has');
    }
};

subtest 'a power cut left new pages of the main file with the old time' => sub {
    for my $mode ('wal', 'wal, opened again', 'persist') {
        volumes();
        my $sql = connection('a.sqlite');
        $sql->('pragma journal_mode = ' . $mode =~ s/,.*//r, 'pragma wal_autocheckpoint = 0', 'create table t (i, b)', burst(50), 'pragma wal_checkpoint(restart)');
        pause(0.1);
        is(copied('a.sqlite', run => 'before'), 'copied', 'the first copy');
        my $time = stat_ns("$source/a.sqlite")->{mtime};
        $sql->('update t set i = i + 1', 'pragma wal_checkpoint(restart)');
        $sql->('update t set i = i + 1 where rowid = 1') if $mode ne 'persist';
        crash();
        unlink "$source/a.sqlite-shm";
        set_mtime("$source/a.sqlite", $time);
        pause(0.1);
        system 'cp', "$source/a.sqlite$_", "$folder/same$_" for '', $mode eq 'persist' ? () : '-wal';
        if ($mode =~ /again/) { $sql = connection('a.sqlite'); $sql->($SUM) }
        is(copied('a.sqlite', run => 'after'), 'copied', 'it is copied again');
        is(mirrored('a.sqlite', $SUM), run_sql("$folder/same", $SUM), "$mode: the mirror has what the source has");
    }
};

subtest 'frames that were appended and not synced are synced before they count as being on the disk' => sub {
    volumes();
    my $sql = connection('a.sqlite');
    $sql->('pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table t (i, b)', burst(3));
    is(copied('a.sqlite', run => 'this'), 'copied', 'the first copy');
    $sql->(burst(3));
    # The process that copies is killed before it syncs.
    my $pid = fork // die;
    if (!$pid) { replace(sync_wal => sub { LsyncdAsCode::System::leave(0) }); copied('a.sqlite', run => 'this'); LsyncdAsCode::System::leave(1) }
    waitpid $pid, 0;
    is($?, 0, 'the copier was killed');
    my $synced = 0;
    replace(fsync => sub { my $fsync = shift; $synced++; return $fsync->(@_) });
    is(copied('a.sqlite', run => 'this'), 'same', 'all frames are there');
    is($synced, 1, 'they were synced');
    is(copied('a.sqlite', run => 'this'), 'same', 'and again');
    is($synced, 1, 'once');
};

subtest 'the index of a connection that has just begun to open is not read' => sub {
    volumes();
    my $sql = connection('a.sqlite');
    $sql->('pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table t (i, b)', burst(50), 'pragma wal_checkpoint(truncate)');
    copied('a.sqlite', run => 'before');
    $sql->(burst(3)) for 1 .. 6;
    copied('a.sqlite', run => 'before');
    crash();
    # The first one holds this lock until it has emptied the file.
    pipe my $ready, my $tell or die;
    my $pid = fork // die;
    if (!$pid) {
        open my $index, '+<', "$source/a.sqlite-shm" or LsyncdAsCode::System::leave(1);
        fcntl $index, Fcntl::F_SETLK(), flock_struct(Fcntl::F_WRLCK(), SHM_DMS, 1) or LsyncdAsCode::System::leave(1);
        syswrite $tell, '.';
        pause(60);
        LsyncdAsCode::System::leave(0);
    }
    sysread $ready, my $said, 1;
    my $done = sync_unit(directory($source), directory($target), 'a.sqlite', options(run => 'after'));
    is("$done->{state} " . ($done->{why} // ''), 'deferred changed', 'it is looked at again');
    kill KILL => $pid;
    waitpid $pid, 0;
    is(copied('a.sqlite', run => 'after'), 'same', 'then its log is read');
};

subtest 'after a power cut other frames follow under the same header, and a copy is killed after its first rename' => sub {
    volumes();
    my $sql = connection('a.sqlite');
    $sql->('pragma journal_mode = wal', 'pragma wal_autocheckpoint = 0', 'create table r (i integer primary key, n, b)');
    # Each row is on a page of its own.
    $sql->("insert into r values ($_, 0, zeroblob(3500))") for 1 .. 3;
    $sql->('pragma wal_checkpoint(truncate)', 'update r set n = 5 where i = 2');
    system('cp', "$source/a.sqlite$_", "$folder/kept$_") == 0 or die for '', '-wal';
    $sql->('update r set n = 1 where i = 1');
    # Its main file has all frames.
    is(copied('a.sqlite', run => 'before'), 'copied', 'the first copy');
    crash();
    unlink "$source/a.sqlite-shm";
    system('cp', "$folder/kept$_", "$source/a.sqlite$_") == 0 or die for '', '-wal';
    $sql = connection('a.sqlite');
    $sql->('pragma wal_autocheckpoint = 0', 'update r set n = 1 where i = 3');
    my $state = 'select group_concat(n) from r';
    my $pid = fork // die;
    if (!$pid) {
        replace(rename_file => sub { my $original = shift; $original->(@_); LsyncdAsCode::System::leave(0) });
        copied('a.sqlite', run => 'after');
        LsyncdAsCode::System::leave(1);
    }
    waitpid $pid, 0;
    is($?, 0, 'killed after the first rename');
    like(mirrored('a.sqlite', $state), qr/\A(?:1,5,0|0,5,1)\z/, 'the mirror is in a state that was committed');
    copied('a.sqlite', run => 'after');
    is(mirrored('a.sqlite', $state), '0,5,1', 'then the mirror has the new one');
};

subtest 'a batch with new directories on two file systems' => sub {
    require LsyncdAsCode::Batch;
    no warnings qw(once redefine);
    local *LsyncdAsCode::Place::setting = sub { return 2 };
    for my $seed (1 .. 8) {
        volumes();
        mkdir "$target/sub" or die;
        system('mount', '-t', 'tmpfs', 'none', "$target/sub") == 0 or plan skip_all => 'mounting is not possible here';
        my @paths;
        mkdir "$source/sub";
        for my $directory (map { ("n$_", "sub/n$_") } 1 .. 6) {
            mkdir "$source/$directory";
            # A text and, in some, a database.
            open my $file, '>', "$source/$directory/a.db" or die;
            print {$file} "text\n";
            close $file;
            push @paths, "$directory/a.db";
            if ($directory =~ /[12]\z/) { run_sql("$source/$directory/b.db", 'create table t (i)'); push @paths, "$directory/b.db" }
        }
        pause(0.06);
        srand $seed;
        @paths = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @paths;
        my %run = (source => $source, target => $target, name => 'this', owner => 1, group => 1, perms => 1);
        for (qw(source target)) { my $is = stat_ns("$run{$_}/."); $run{"${_}_id"} = "$is->{dev}:$is->{ino}" }
        my @results = LsyncdAsCode::Batch::copy_all(\%run, \@paths, sub { return 1 });
        is(join(' ', map { $results[$_]{state} eq 'copied' ? () : "$paths[$_]: $results[$_]{reason}" } 0 .. $#paths), '', "order $seed: all are copied");
        system 'umount', '-l', "$target/sub";
    }
};

subtest 'an empty database next to an old -wal is empty' => sub {
    volumes();
    my $sql = connection('a.sqlite');
    $sql->('pragma journal_mode = wal', 'create table t (i, b)', burst(10));
    is(copied('a.sqlite'), 'copied', 'the first copy');
    kill KILL => $held[0][0];
    waitpid $held[0][0], 0;
    truncate "$source/a.sqlite", 0;
    cmp_ok(-s "$source/a.sqlite-wal", '>', 0, 'the -wal is there');
    copied('a.sqlite');
    system 'cp', "$source/a.sqlite$_", "$folder/same$_" for '', '-wal';
    is(mirrored('a.sqlite', 'select count(*) from sqlite_schema'), run_sql("$folder/same", 'select count(*) from sqlite_schema'), 'the mirror has the schema that SQLite reads');
};

subtest 'times in the past and in the future' => sub {
    for my $time ('2050-01-01 12:00:00.25', '1969-12-31 23:59:58.25', '1950-01-01 00:00:00.999999999', '2026-01-01 00:00:00.999999999') {
        for my $mode (qw(wal delete)) {
            volumes();
            run_sql("$source/a.sqlite", 'create table t (i, b)', burst(20), "pragma journal_mode = $mode");
            system 'touch', '-d', "$time UTC", "$source/a.sqlite";
            # Beside it, the files of a crash.
            if ($mode eq 'wal') {
                my $sql = connection('a.sqlite');
                $sql->(burst(1));
                kill KILL => $held[0][0];
                waitpid $held[0][0], 0;
                system 'touch', '-d', "$time UTC", map { "$source/a.sqlite$_" } '', '-wal', '-shm';
            }
            is(copied('a.sqlite'), 'copied', "$time in mode $mode is copied");
            is(copied('a.sqlite'), 'same', 'and only once');
            is(stat_ns("$target/a.sqlite")->{mtime}, stat_ns("$source/a.sqlite")->{mtime}, 'with its time');
            is(mirrored('a.sqlite', $SUM), $mode eq 'wal' ? '21,211' : '20,210', 'and its rows');
            system 'touch', '-d', "$time UTC", "$folder/time";
        }
    }
};

subtest 'a database with holes keeps them' => sub {
    for my $mode (qw(delete wal)) {
        for my $big (1, 1 << 30) {
            volumes();
            run_sql("$source/a.sqlite", "pragma journal_mode = $mode", 'create table t (i, b)', 'pragma secure_delete = on', burst(5000), 'delete from t', burst(20));
            my $sql = connection('a.sqlite');
            $sql->($SUM);
            system 'fallocate', '--dig-holes', "$source/a.sqlite";
            my $blocks = (stat "$source/a.sqlite")[12];
            cmp_ok($blocks * 512, '<', (-s "$source/a.sqlite") / 2, 'the source has holes');
            select undef, undef, undef, 0.1;
            is(copied('a.sqlite', big => $big), 'copied', "mode $mode, " . ($big > 1 ? 'at once' : 'first without a lock'));
            cmp_ok((stat "$target/a.sqlite")[12], '<', 2 * $blocks + 3000, 'so does the mirror');
            ok(!system('cmp', "$source/a.sqlite", "$target/a.sqlite"), 'and is equal');
        }
    }
};

subtest 'a file that is not an SQLite database is mirrored unchanged' => sub {
    volumes();
    my %content = (
        # DuckDB: a checksum, then its name; locked as long as it is open.
        'duck.db'      => "\x01" x 8 . 'DUCK' . "\0" x 12276,
        'text.db'      => "a text file with this suffix\n" x 100,
        'text.db-journal' => "and its diary\n" x 50,
        'short.db'     => 'x',
        'orphan.db-wal' => 'a log without its database',
        'orphan.db-shm' => 'shared by nobody',
        'old.db-journal' => 'a journal of nothing',
    );
    for my $name (keys %content) { open my $file, '>', "$source/$name" or die; print {$file} $content{$name}; close $file }
    # A write at this moment has the same timestamp as the next one.
    system 'touch', '-d', '2026-01-01 00:00:00.5', map { "$source/$_" } keys %content;
    my $locker = fork // die;
    if (!$locker) {
        open my $file, '+<', "$source/duck.db" or die;
        fcntl $file, Fcntl::F_SETLK(), flock_struct(Fcntl::F_WRLCK(), 0, 0) or die;
        open my $mark, '>', "$folder/locked";
        sleep 60;
        POSIX::_exit(0);
    }
    push @held, [$locker];
    pause(0.02) until -e "$folder/locked";
    for my $name (qw(duck.db text.db short.db orphan.db old.db)) { copied($name) }
    for my $name (sort keys %content) {
        my $there = -e "$target/$name" ? do { local (@ARGV, $/) = "$target/$name"; <> } : undef;
        is($there, $content{$name}, $name);
        is(-e "$target/$name" ? stat_ns("$target/$name")->{mtime} : undef, stat_ns("$source/$name")->{mtime}, 'with its time');
    }
    is(copied($_), 'same', "$_ is not copied again") for qw(duck.db text.db orphan.db);
    unlink "$source/text.db-journal", "$source/orphan.db-shm";
    copied($_) for qw(text.db orphan.db);
    ok(-e "$target/$_", "$_ is left for the gate to delete") for qw(text.db-journal orphan.db-shm);
    ok(-e "$target/orphan.db-wal", 'a file that still exists in the source is kept');
    # It becomes a database.
    unlink "$source/text.db";
    run_sql("$source/text.db", 'create table t (i, b)', burst(3));
    copied('text.db');
    is(mirrored('text.db', $SUM), '3,6', 'once it is a database, it is copied as one');
    unlink "$source/orphan.db-wal";
    run_sql("$source/orphan.db", 'create table t (i, b)', burst(4));
    copied('orphan.db');
    is(mirrored('orphan.db', $SUM), '4,10', 'so is the other');
};

# Type, owner, group, time and destination of an entry, by another program.
sub listed { my ($path) = @_; return `stat -c '%F %u:%g %.9Y' $path` . readlink $path }

subtest 'a link named like a database has the owner and time that rsync -a gives it' => sub {
    volumes();
    mkdir "$folder/rsync";
    symlink 'elsewhere', "$source/a.sqlite" or die;
    my $as_rsync = sub {
        system('rsync', '-a', '--modify-window=-1', "$source/", "$folder/rsync/") == 0 or die;
        return listed("$folder/rsync/a.sqlite");
    };
    for my $owner ('65534:65533', '12:34', '0:0') {
        system('chown', '-h', $owner, "$source/a.sqlite") == 0 && system('touch', '-h', '-d', "2020-01-02 03:04:05.678 UTC", "$source/a.sqlite") == 0 or die;
        is(copied('a.sqlite', owner => 1, group => 1), 'copied', "it is copied, of $owner");
        is(listed("$target/a.sqlite"), $as_rsync->(), 'and equal');
        is(copied('a.sqlite', owner => 1, group => 1), 'same', 'once');
    }
    system('touch', '-h', "$source/a.sqlite") == 0 or die;
    is(copied('a.sqlite', owner => 1, group => 1), 'copied', 'another time');
    is(listed("$target/a.sqlite"), $as_rsync->(), 'is set, too');
    system('chown', '-h', '12:34', "$source/a.sqlite") == 0 or die;
    is(copied('a.sqlite'), 'same', 'without these options the owner stays');
    is_deeply([ map { s{.*/}{}r } glob "$target/{*,.l*}" ], ['a.sqlite'], 'nothing is left beside it');
};

subtest 'an encrypted database is copied under its locks' => sub {
    volumes();
    # Two pages of random bytes.
    open my $file, '>', "$source/secret.db" or die;
    print {$file} map { chr int rand 256 } 1 .. 8192;
    close $file;
    my $locker = fork // die;
    if (!$locker) {
        open my $own, '+<', "$source/secret.db" or die;
        fcntl $own, Fcntl::F_SETLK(), flock_struct(Fcntl::F_WRLCK(), 0x40000000, 512) or die;
        open my $mark, '>', "$folder/locked";
        sleep 60;
    }
    push @held, [$locker];
    pause(0.02) until -e "$folder/locked";
    is(copied('secret.db'), 'locked', 'it is not copied while a writer holds the lock');
    kill KILL => $locker;
    waitpid $locker, 0;
    is(copied('secret.db'), 'copied', 'it is copied after that');
};

volumes();
subtest 'a rollback database that is larger than the free space is updated page by page' => sub {
    volumes();
    system('mount', '-t', 'tmpfs', '-o', 'size=40M', 'room', $target) == 0 or die 'cannot mount';
    my $db = connection('a.db');
    $db->('pragma journal_mode = delete', 'create table t (i integer primary key, b)',
        'with recursive n(i) as (select 1 union all select i + 1 from n where i < 7500) insert into t select i, randomblob(3900) from n');
    my $again = sub { return sync_unit(directory($source), directory($target), 'a.db', options(volume => directory($target))) };
    my $equal = sub { return run_sql("$target/a.db", 'pragma integrity_check') eq 'ok' && system('cmp', '-s', "$source/a.db", "$target/a.db") == 0 };
    is $again->()->{state}, 'copied', 'the first copy has room';
    my $inode = (stat "$target/a.db")[1];
    $db->('update t set b = randomblob(3900) where i % 1000 = 0');
    my $done = $again->();
    is $done->{state}, 'copied', 'a change is copied';
    cmp_ok $done->{bytes}, '<', 1 << 20, 'its pages only';
    ok $equal->() && (stat "$target/a.db")[1] == $inode, 'into the copy that is there';
    is_deeply [ map { s{.*/}{}r } glob "$target/*" ], ['a.db'], 'and nothing is left beside it';
    is $again->()->{state}, 'same', 'it is known then';
    $db->('delete from t where i > 7000', 'pragma incremental_vacuum');
    is $again->()->{state}, 'copied', 'another change as well';
    ok $equal->(), 'and equal';
    $db->('update t set b = randomblob(3900)');
    $done = $again->();
    is "$done->{state} $done->{why}", 'deferred space', 'what changes all of it waits for room';
    ok run_sql("$target/a.db", 'pragma integrity_check') eq 'ok', 'the last copy stays complete';
    undef $db;
    kill KILL => $_->[0] and waitpid $_->[0], 0 for splice @held;
    system 'umount', '-l', $target;
};

done_testing();
