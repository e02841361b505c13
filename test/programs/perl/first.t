# first_copy makes the same copy as sync_unit where it may, and leaves all else to it.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use IPC::Open2 qw(open2);
use Copier;
use CopierState;

my $folder = tempdir(CLEANUP => 1);
my ($source, $target, $other) = map { mkdir "$folder/$_"; "$folder/$_" } qw(source target other);

sub python { my ($program, @arguments) = @_; system('python3', '-c', $program, @arguments) == 0 or die "python: $?"; return }

my $CREATE = <<'END';
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
for s in sys.argv[2:]: c.execute(s).fetchall()
END
sub database {
    my ($name, @statements) = @_;
    unlink glob "$source/$name*";
    python($CREATE, "$source/$name", 'create table t (x)', "insert into t values (randomblob(9000))", @statements);
    # Older than a tick of the clock.
    my $then = time - 60;
    utime $then, $then, "$source/$name";
    return $name;
}

# A connection that runs one statement and keeps what it holds until the handle is closed.
sub holding {
    my ($name, @statements) = @_;
    my $pid = open2(my $out, my $in, 'python3', '-u', '-c', $CREATE . "print('ready')\nsys.stdin.read()\n", "$source/$name", @statements);
    readline $out;
    return sub { close $in; waitpid $pid, 0; return };
}

# Tries it as the only one of a batch; returns 'copied', 'left', or the error.
sub try_first {
    my ($name, %options) = @_;
    my $batch = LsyncdAsCode::Batch::begin(directory($target));
    my %with = (volume => directory($target), batch => $batch, owner => 1, group => 1);
    my $made = eval { $batch->add(0, sub { return first_copy(directory($source), directory($target), $name, options(%with, %options)) }); 1 } or return "died: $@";
    my ($result) = $batch->finish;
    my $is = $result ? $result->{state} : 'left';
    is(scalar(grep { -e "$target/$name$_" } '-wal', '-shm', '-journal'), 0, "$name: only one file is in the mirror") if $is eq 'copied';
    is_deeply([ glob "$target/.lsyncd-as-code/copies/*" ], [], "$name: nothing of a copy is left over");
    return $is;
}
sub none { my ($name) = @_; unlink glob "$target/$name*"; return $name }

# Returns content, owner, group, mode and time of a file, and what its mark records of the source.
sub seen {
    my ($path) = @_;
    my $handle = open_source($path);
    my $is = stat_ns($path);
    return { content => LsyncdAsCode::State::slurp($path), (map { $_ => $is->{$_} } qw(uid gid mode mtime)), mark => read_mark($handle, 'this') };
}

subtest 'a copy is like one of sync_unit' => sub {
    for my $mode (0600, 0640, 0644, 02770) {
        my $name = database(sprintf 'mode%o.db', $mode);
        chmod $mode, "$source/$name";
        chown 4321, 1234, "$source/$name" if $> == 0 && $mode == 0640;
        for my $options ([], [ perms => 1 ], [ run => undef ]) {
            none($name);
            unlink "$other/$name";
            is(try_first($name, @$options), 'copied', "$name is copied");
            is(sync_unit(directory($source), directory($other), $name, options(owner => 1, group => 1, @$options))->{state}, 'copied', 'and by sync_unit');
            is_deeply(seen("$target/$name"), seen("$other/$name"), 'nothing differs');
        }
    }
    # A time that can hide a later write.
    my $name = database('new.db');
    utime undef, undef, "$source/$name";
    is(try_first($name), 'copied', 'one that was written a moment ago');
    isnt(stat_ns("$target/$name")->{mtime}, stat_ns("$source/$name")->{mtime}, 'gets another time');
    is(read_mark(open_source("$target/$name"), 'this')->{mtime}, 0, 'and its mark does not know it');
};

subtest 'its mark is valid, so the next call has nothing to do' => sub {
    my $name = database('again.db');
    is(try_first($name), 'copied', 'copied');
    my $inode = stat_ns("$target/$name")->{ino};
    is(sync_unit(directory($source), directory($target), $name, options(owner => 1, group => 1))->{state}, 'same', 'sync_unit finds it up to date');
    is(stat_ns("$target/$name")->{ino}, $inode, 'and leaves it');
};

subtest 'a mark of a database without a WAL fits into an inode of ext4' => sub {
    my $state = { ino => 2**32 - 1, mtime => 2**62, size => 2**40 };
    # 256 bytes less 128 and 32 of the inode itself, 4 of a header, 4 of an end, 16 for an attribute, and its name, padded.
    cmp_ok(length mark_of($state, $state, 2**61, { frames => 0, complete => 1 }, '1764520000.4194304.0a1b2c3d'), '<=', 256 - 128 - 32 - 4 - 4 - 16 - 16, 'with the longest name of a run that the supervisor makes');
};

subtest 'an encrypted one is copied too' => sub {
    open my $random, '<', '/dev/urandom' or die;
    sysread $random, my $bytes, 8192;
    CopierState::put("$source/secret.db", $bytes);
    is(try_first('secret.db'), 'copied', 'random bytes');
};

subtest 'what else belongs to the database leaves it to sync_unit' => sub {
    for my $suffix ('-wal', '-shm', '-journal') {
        my $name = database("beside$suffix.db");
        CopierState::put("$source/$name$suffix", '');
        is(try_first($name), 'left', "an empty $suffix");
    }
    my $name = database('open.db', 'pragma journal_mode = wal');
    my $end = holding($name, 'insert into t values (1)');
    is(try_first($name), 'left', 'a connection in WAL mode');
    $end->();
    is(try_first($name), 'copied', 'and none any more');
};

subtest 'a lock leaves it to sync_unit' => sub {
    my $name = database('locked.db');
    my $end = holding($name, 'begin exclusive');
    is(try_first($name), 'left', 'EXCLUSIVE');
    $end->();
    $end = holding($name, 'begin immediate', 'insert into t values (1)');
    is(try_first($name), 'left', 'RESERVED, with a journal');
    $end->();
    $end = holding($name, 'begin', 'select * from t');
    is(try_first($name), 'copied', 'not SHARED');
    $end->();
};

subtest 'other files are left' => sub {
    my $name = database('there.db');
    CopierState::put("$target/$name", 'x');
    is(try_first($name), 'left', 'the mirror has one');
    is(LsyncdAsCode::State::slurp("$target/$name"), 'x', 'which stays');
    CopierState::put("$source/text.db", 'This is a text. ' x 100);
    is(try_first('text.db'), 'left', 'no database');
    CopierState::put("$source/empty.db", '');
    is(try_first('empty.db'), 'left', 'an empty file');
    symlink 'there.db', "$source/link.db";
    is(try_first('link.db'), 'left', 'a link');
    mkdir "$source/directory.db";
    is(try_first('directory.db'), 'left', 'a directory');
    is(try_first('missing.db'), 'left', 'nothing');
    $name = none(database('big.db'));
    is(try_first($name, big => 9000), 'left', 'a big one');
    is(try_first(none(database('longer.db', 'insert into t values (randomblob(1050000))'))), 'left', 'one whose read could block writers for long');
    open my $file, '+<', "$source/$name" or die;
    truncate $file, 4 << 20;
    close $file;
    is(try_first($name), 'left', 'a sparse one');
    $name = none(database('room.db'));
    is(try_first($name, reserve => 1 << 60), 'left', 'one without room');
};

subtest 'what is left over in the mirror goes' => sub {
    my $name = none(database('leftover.db'));
    CopierState::put("$target/$name$_", 'x') for '-wal', '-shm', '-journal';
    is(try_first($name), 'copied', 'a -wal, a -shm and a journal without a database');
};

subtest 'a file that is exchanged or altered meanwhile is left' => sub {
    my $write = sub { my ($name, $how, $text) = @_; open my $file, $how, "$source/$name" or die $!; syswrite $file, $text; close $file; return };
    for my $how (
        [ 'exchanged by another',                sub { rename "$source/$_[0].new", "$source/$_[0]" } ],
        [ 'extended',                            sub { $write->($_[0], '>>', 'x') } ],
        [ 'written',                             sub { $write->($_[0], '+<', 'S') } ],
        [ 'removed',                             sub { unlink "$source/$_[0]" } ],
        [ 'opened in WAL mode',                  sub { $write->("$_[0]-wal", '>', '') } ],
        [ 'with a log that is being recovered',  sub { $write->("$_[0]-shm", '>', '') } ],
        [ 'with a journal',                      sub { $write->("$_[0]-journal", '>', '') } ],
    ) {
        # After the file was opened and locked, but not read; and after it was read.
        for my $when ('fstat_ns', 'starts_like_sqlite') {
            my $name = none(database('meanwhile.db'));
            system 'cp', '--preserve=all', "$source/$name", "$source/$name.new";
            my $done;
            no strict 'refs';
            no warnings 'redefine';
            my $real = \&{"LsyncdAsCode::First::$when"};
            local *{"LsyncdAsCode::First::$when"} = sub { my @is = $real->(@_); $how->[1]->($name) unless $done++; return $is[0] };
            is(try_first($name), 'left', "$how->[0], after $when");
            ok($done, 'it was');
        }
    }
};

subtest 'it blocks writers only while it reads' => sub {
    my $name  = none(database('free.db'));
    my $batch = LsyncdAsCode::Batch::begin(directory($target));
    ok($batch->add(0, sub { return first_copy(directory($source), directory($target), $name, options(volume => directory($target), batch => $batch)) }), 'it is copied');
    is(system('python3', '-c', 'import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute("begin exclusive")', "$source/$name"), 0, 'a writer needs not wait for the batch');
    is(($batch->finish)[0]{state}, 'copied', 'which comes to its end');
    # A writer that waits for readers holds PENDING: nobody else may begin to read.
    my $pid = open2(my $out, my $in, 'python3', '-u', '-c', "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX, 1, 0x40000000); print('ready'); sys.stdin.read()", "$source/$name");
    readline $out;
    is(try_first(none($name)), 'left', 'PENDING of a writer is respected');
    close $in;
    waitpid $pid, 0;
};

subtest 'an error leaves nothing behind' => sub {
    for my $what ([ 'First', 'write_at' ], [ 'First', 'seal' ], [ 'Batch', 'sync_file_system' ], [ 'First', 'rename_file' ]) {
        my ($module, $function) = @$what;
        my $name = none(database('error.db'));
        no strict 'refs';
        no warnings 'redefine';
        local *{"LsyncdAsCode::${module}::$function"} = sub { die "there is no room\n" };
        like(try_first($name), qr/\A(?:died: there is no room|deferred)/, "$function fails");
        is_deeply([ glob "$target/$name*" ], [], 'and the mirror does not have it');
    }
};

subtest 'writers in several modes: each copy is a committed state' => sub {
    my $writers = <<'END';
import random, sqlite3, sys, time
folder, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
random.seed(seed)
end = time.time() + seconds
while time.time() < end:
    c = sqlite3.connect("%s/race%d.db" % (folder, random.randrange(6)), isolation_level=None, timeout=5)
    try:
        if random.random() < 0.3: c.execute("pragma journal_mode = " + random.choice(["wal", "delete", "truncate", "persist"])).fetchall()
        for _ in range(random.randrange(1, 4)):
            c.execute("begin immediate")
            n = c.execute("select n from a").fetchone()[0] + 1
            c.execute("update a set n = ?", (n,))
            c.execute("insert into b (x) values (zeroblob(?))", (random.randrange(6000),))
            c.execute("delete from b where rowid <= ?", (n - 5,))
            c.execute("update c set n = ?", (n,))
            c.execute("commit" if random.random() < 0.9 else "rollback")
        if random.random() < 0.3: c.execute("pragma wal_checkpoint(truncate)").fetchall()
    except sqlite3.OperationalError:
        pass
    c.close()
    time.sleep(random.random() * 0.01)
END
    my $check = <<'END';
import glob, sqlite3, sys
bad = 0
for path in glob.glob(sys.argv[1] + "/*.db"):
    c = sqlite3.connect(path)
    if c.execute("pragma integrity_check").fetchall() != [("ok",)] or c.execute("select n from a").fetchone() != c.execute("select n from c").fetchone():
        print(path); bad = 1
    c.close()
sys.exit(bad)
END
    my $seed = $ENV{SEED} // int rand 1e9;
    my $seconds = $ENV{SECONDS} // 4;
    diag("seed $seed");
    unlink glob "$source/* $target/*";
    python($CREATE, "$source/race$_.db", 'create table a (n)', 'insert into a values (0)', 'create table b (x)', 'create table c (n)', 'insert into c values (0)') for 0 .. 5;
    my @writers = map { my $which = $_; my $pid = fork // die; if (!$pid) { exec 'python3', '-c', $writers, $source, $seed + $which, $seconds } $pid } 0, 1;
    my ($copied, $left, $kept) = (0, 0, 0);
    my $end = ticks() + $seconds;
    mkdir "$folder/copies";
    while (ticks() < $end) {
        my $name = 'race' . int(rand 6) . '.db';
        my $batch = LsyncdAsCode::Batch::begin(directory($target));
        my $made = $batch->add(0, sub { return first_copy(directory($source), directory($target), $name, options(volume => directory($target), batch => $batch)) });
        $batch->finish;
        if ($made) { $copied++; $kept++; rename "$target/$name", "$folder/copies/$kept.db" or die }
        else       { $left++ }
    }
    waitpid $_, 0 for @writers;
    is(system('python3', '-c', $check, "$folder/copies"), 0, "$copied copies, $left left to sync_unit");
    cmp_ok($copied, '>', 20, 'enough copies');
    cmp_ok($left, '>', 20, 'and enough locks and logs in the way');
};

done_testing;
