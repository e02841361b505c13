"""Random histories of a database, replayed with the real SQLite; the copier is called at every step.

  model.py LIBRARY FIRST COUNT     seeds FIRST, FIRST + 1, …; prints a line for each fault with its seed, then a summary
      --trace                      says what each step does
      --often NAME                 makes the operation of this name ten times as frequent
      --disk                       in a directory on the disk, not in memory

A history is a row of operations on one database, by up to three connections of this process and by processes that are
killed, between system calls or at any of them: transactions (small, spilled to the disk, rolled back), checkpoints of each kind, with and without readers that hold
them up, size limits of the log, exclusive locking, changes of the journal's mode and of the page size, VACUUM, a lost -shm,
a database that is deleted and begun anew, or made empty beside a log that is left, a log that loses its end in a power cut. Every commit has a number and leaves a row with it; what the database holds after
it is kept as a digest.

After each step, and in the middle of transactions, the copier is called, once whole or killed at a random step of its own, alone or as in a
batch. What the mirror then reads as, opened
as after the loss of the source, must be a state that was committed, sound, no older than before, and the newest one when the
copier says that it has copied it. In the end it must come to the newest.

MODEL_SQLITE names another module than sqlite3, MODEL_KEY a key for one that encrypts.
"""
import importlib
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback

from traced import count_calls, traced

sqlite3 = importlib.import_module(os.environ.get("MODEL_SQLITE", "sqlite3"))
KEY = os.environ.get("MODEL_KEY")
HERE = os.path.dirname(os.path.abspath(__file__))
FILES = ("", "-wal", "-shm", "-journal")
NAME = "a.db"
# Instead of the number of a commit: a database without any table.
EMPTY = 0
ROLLBACK = ("delete", "truncate", "persist", "memory")


class Fault(Exception):
    pass


def connect(path, pragmas=()):
    c = sqlite3.connect(path, isolation_level=None, timeout=0)
    if KEY:
        c.execute("pragma key = '%s'" % KEY)
        # The key is made from the password at each opening: a quarter of a million rounds would be all that is tested.
        c.execute("pragma kdf_iter = 2")
    for pragma in (*pragmas, "synchronous = off"):
        c.execute("pragma " + pragma).fetchall()
    return c


def content(c):
    """The number of the last commit, and a digest of all that the database holds. Processes that were forked compute the same."""
    number = c.execute("select n from number").fetchone()[0]
    return number, hash(tuple(c.execute("select i, n, b from t order by i")))


def whole(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def write(path, data):
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)


class Nursery:
    """A process that starts those which are killed. It never opens a database: a connection must not be carried over a fork
    (https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_)."""

    def __init__(self):
        (orders, self.orders), (self.reports, reports) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.orders)
                with os.fdopen(orders, "rb") as orders:
                    self.serve(orders, reports)
            finally:
                os._exit(1)
        os.close(orders)
        os.close(reports)
        self.reports = os.fdopen(self.reports)

    def serve(self, orders, reports):
        while True:
            try:
                method, seed, at, state = pickle.load(orders)
            except EOFError:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                try:
                    if at:
                        count_calls()
                    history = History.__new__(History)
                    history.__dict__.update(state, random=random.Random(seed), states={})
                    getattr(history, method)(reports)
                except sqlite3.OperationalError:
                    pass
                except BaseException:
                    traceback.print_exc()
                os._exit(0)
            os.write(reports, b"end %d 0\n" % (traced(pid, at) if at else os.waitpid(pid, 0)[1]))

    def run(self, method, seed, at, state):
        """Calls a method of a history in another process. Yields what it says, the last of it "end" and whether it was killed."""
        os.write(self.orders, pickle.dumps((method, seed, at, state)))
        for line in self.reports:
            what, number, state = line.split()
            yield what, int(number), int(state)
        raise Fault("no more processes can be started")

    def end(self):
        os.close(self.orders)
        os.waitpid(self.pid, 0)


class History:
    # In another process, there is none.
    copier = None

    def __init__(self, copier, nursery, folder, seed, trace=False, often=None):
        self.random = random.Random(seed)
        self.trace, self.often = trace, often
        self.source, self.target = (os.path.join(folder, name) for name in ("source", "target"))
        self.opened = os.path.join(folder, "opened")
        for name in (self.source, self.target):
            shutil.rmtree(name, ignore_errors=True)
            os.mkdir(name)
        self.other = os.path.join(folder, "other.db")
        self.path = os.path.join(self.source, NAME)
        # The commit that the database has, the number of the last one that was made, what it holds after each, and which one the mirror has.
        self.number, self.last, self.states, self.mirrored = 0, 0, {}, -1
        # The commit in which a process was killed: nobody knows whether it was made before the database is opened again.
        self.maybe = None
        # Whether the database has been made empty since the mirror had its last commit, and whether it is empty now.
        self.emptied = self.empty = False
        # Commits that the database went back to in a power cut: the mirror may do the same.
        self.back_to = set()
        # After a power cut the copier belongs to another run of lsyncd.
        self.run_of_lsyncd = 0
        self.connections, self.readers = [], []
        self.log = []
        self.also = None
        # What an application sets for each of its connections.
        self.pragmas = []
        if self.random.random() < 0.5:
            self.pragmas.append("journal_size_limit = %d" % self.random.choice((0, 5000, 20000, 50000, 100001)))
        if self.random.random() < 0.5:
            self.pragmas.append("wal_autocheckpoint = %d" % self.random.choice((0, 1, 5, 50)))
        self.copier, self.nursery = copier, nursery
        # The bytes of the mirror that were opened last, and what they read as.
        self.files, self.found = None, None

    # --- the source ---------------------------------------------------------------------------------------------------

    def connect(self):
        return connect(self.path, self.pragmas)

    def create(self):
        c = self.connect()
        self.connections.append(c)
        # One that encrypts has a page size of its own.
        c.execute("pragma page_size = %d" % (4096 if KEY else self.random.choice((512, 1024, 4096, 4096, 8192))))
        if self.random.random() < 0.3:
            c.execute("pragma auto_vacuum = %d" % self.random.choice((1, 2)))
        if self.random.random() < 0.7:
            c.execute("pragma journal_mode = wal").fetchall()
        self.number = self.last = self.last + 1
        c.execute("begin")
        c.execute("create table t (i integer primary key, n, b)")
        c.execute("create table number (n)")
        c.execute("insert into number values (?)", (self.number,))
        c.execute("commit")
        self.states[self.number] = content(c)[1]

    def change(self, c, rows):
        """Changes of one transaction that is open, with the next number."""
        c.execute("update number set n = ?", (self.last + 1,))
        kind = self.random.random()
        if kind < 0.6:
            for _ in range(rows):
                c.execute("insert into t (n, b) values (?, randomblob(?))", (self.last + 1, self.random.choice((10, 300, 3000))))
        elif kind < 0.8:
            c.execute("update t set n = ?, b = randomblob(length(b)) where i %% %d = 0" % self.random.choice((1, 2, 7)), (self.last + 1,))
        else:
            c.execute("delete from t where i %% %d = 0" % self.random.choice((1, 2, 3)))

    def some(self):
        return self.random.choice(self.connections)

    def rows(self):
        return self.random.choice((1, 1, 3, 10, 40, 150))

    def transaction(self, c, end="commit", announce=None, rows=None):
        if self.random.random() < 0.3:
            c.execute("pragma cache_size = 2")
        c.execute("begin immediate")
        try:
            self.change(c, self.rows() if rows is None else rows)
            if self.copier and self.random.random() < 0.1:
                # The writer is alive, and holds its locks; some of its pages may be on the disk.
                self.look()
            if end == "commit":
                state = content(c)
            if announce is not None:
                if self.also:
                    c.execute(self.also)
                os.write(announce, b"maybe %d %d\n" % state)
            c.execute(end)
        except sqlite3.OperationalError:
            if c.in_transaction:
                c.execute("rollback")
            raise
        if end == "commit":
            self.number = self.last = self.last + 1
            if state[0] != self.number:
                raise Fault("the model is wrong")
            self.states[self.number] = state[1]
        if announce is not None:
            os.write(announce, b"done %d %d\n" % state)

    def op_commit(self):
        for _ in range(self.random.choice((1, 1, 2, 5))):
            self.transaction(self.some())

    def op_burst(self):
        """Much is committed and checkpointed between two looks, and the log begun anew, once or more."""
        c = self.some()
        self.look()
        for _ in range(self.random.choice((1, 1, 1, 2))):
            for _ in range(self.random.choice((1, 2, 4, 8))):
                self.transaction(c)
            c.execute("pragma wal_checkpoint(%s)" % self.random.choice(("passive", "passive", "full", "restart"))).fetchall()
        for _ in range(self.random.choice((1, 1, 2, 4))):
            self.transaction(c)
        self.look()

    def op_limited(self):
        """A log that outgrows its size limit between two looks, and is begun anew: the first commit then cuts the file, and is a small one."""
        c = self.some()
        limit = self.random.choice((5000, 20000, 50000))
        if c.execute("pragma journal_mode").fetchone()[0] != "wal":
            return
        c.execute("pragma journal_size_limit = %d" % limit).fetchall()
        c.execute("pragma wal_autocheckpoint = 0").fetchall()
        c.execute("pragma wal_checkpoint(restart)").fetchall()
        for _ in range(self.random.choice((1, 1, 2, 3))):
            self.transaction(c, rows=self.random.choice((1, 3, 10)))
        self.look()
        for _ in range(20):
            self.transaction(c)
            if os.path.getsize(self.path + "-wal") > limit * self.random.choice((1, 1, 2)):
                break
        c.execute("pragma wal_checkpoint(%s)" % self.random.choice(("passive", "passive", "full"))).fetchall()
        self.transaction(c, rows=0)
        self.look()

    def op_rollback(self):
        self.transaction(self.some(), "rollback")

    def op_open(self):
        if len(self.connections) < 3:
            c = self.connect()
            c.execute("select n from number").fetchall()
            self.connections.append(c)

    def op_close(self):
        self.connections.pop(self.random.randrange(len(self.connections))).close()
        if not self.connections:
            while self.readers:
                self.readers.pop().close()
            if self.random.random() < 0.5:
                return "closed"
            self.connections.append(self.connect())

    def op_reader(self):
        """Holds a snapshot, which limits checkpoints."""
        c = self.connect()
        self.readers.append(c)
        c.execute("begin")
        c.execute("select n from number").fetchall()

    def op_end_reader(self):
        if self.readers:
            self.readers.pop(0).close()

    def op_checkpoint(self):
        self.some().execute("pragma wal_checkpoint(%s)" % self.random.choice(("passive", "full", "restart", "truncate"))).fetchall()

    def op_limit(self):
        self.some().execute("pragma journal_size_limit = %d" % self.random.choice((-1, 0, 5000, 50000))).fetchall()

    def op_automatic(self):
        self.some().execute("pragma wal_autocheckpoint = %d" % self.random.choice((0, 1, 5, 50, 1000))).fetchall()

    def alone(self):
        """Leaves one connection. It reads before it leaves WAL mode: SQLite (3.40 to 3.51 tried) otherwise keeps the pages that it has in
        memory when another process has changed them since without writing the first page, and VACUUM then writes the old ones."""
        while self.readers:
            self.readers.pop().close()
        while len(self.connections) > 1:
            self.connections.pop().close()
        self.connections[0].execute("select n from number").fetchall()
        return self.connections[0]

    def op_mode(self):
        self.alone().execute("pragma journal_mode = %s" % self.random.choice(("wal", "wal") + ROLLBACK)).fetchall()

    def op_page_size(self):
        c = self.alone()
        mode = c.execute("pragma journal_mode").fetchone()[0]
        c.execute("pragma journal_mode = delete").fetchall()
        c.execute("pragma page_size = %d" % (4096 if KEY else self.random.choice((512, 1024, 4096, 16384))))
        c.execute("vacuum")
        c.execute("pragma journal_mode = %s" % mode).fetchall()

    def op_vacuum(self):
        self.some().execute("vacuum")

    def op_incremental(self):
        self.some().execute("pragma incremental_vacuum(3)").fetchall()

    def op_exclusive(self):
        """A connection that locks everybody out for some commits, without shared memory."""
        self.alone().close()
        self.connections.clear()
        c = self.connect()
        try:
            c.execute("pragma locking_mode = exclusive").fetchall()
            self.connections.append(c)
            for _ in range(self.random.choice((1, 3))):
                self.transaction(c)
                self.look()
        finally:
            c.close()
            self.connections[:] = [self.connect()]

    def op_killed(self):
        """Another process writes, and is killed: after a commit, or in a transaction that is on the disk in part."""
        lonely = self.random.random() < 0.5
        if lonely:
            self.alone().close()
            self.connections.clear()
        self.hear("write_until_killed", self.random.random())
        self.after_death(lonely)

    def write_until_killed(self, send):
        c = self.connect()
        for _ in range(self.random.choice((0, 1, 2))):
            self.transaction(c)
            os.write(send, b"done %d %d\n" % (self.number, self.states[self.number]))
        c.execute("pragma cache_size = 2")
        c.execute("begin immediate")
        self.change(c, self.rows())

    def hear(self, method, seed, at=None):
        """Has another process call a method, and hears of its commits. Returns whether it was killed, at its system call of number `at`."""
        state = {name: getattr(self, name) for name in ("path", "other", "pragmas", "number", "last", "also")}
        for what, number, state in self.nursery.run(method, seed, at, state):
            if what == "end":
                return number != 0
            self.states[number] = state
            if what == "done":
                self.number = self.last = number
                self.maybe = None
            else:
                self.maybe = number

    def after_death(self, lonely):
        """What comes after a process was killed: a look at what it left, a lost -shm, the next one that opens the database."""
        if lonely:
            self.look()
            if self.random.random() < 0.3 and os.path.exists(self.path + "-shm"):
                os.remove(self.path + "-shm")
                self.look()
            self.connections.append(self.connect())
        self.learn()

    def learn(self):
        """Whether the commit in which a process was killed was made."""
        number = self.some().execute("select n from number").fetchone()[0]
        if self.maybe is not None and number == self.maybe:
            self.number = self.last = number
        self.maybe = None

    def op_cut(self):
        """Another process is killed at one of its system calls: also in the middle of a commit, of a checkpoint, or of a commit in two databases."""
        lonely = self.random.random() < 0.7
        if lonely:
            self.alone().close()
            self.connections.clear()
        seed, at = self.random.random(), self.random.choice((1, 2, 3, 5, 8, 13, 21, 40, 80, 130))
        died = self.hear("write_until_cut", seed, at)
        if self.trace:
            print("    call", at, "killed" if died else "not reached", "within a commit" if self.maybe else "")
        self.after_death(lonely)

    def write_until_cut(self, send):
        c = self.connect()
        if self.random.random() < 0.3 and not KEY:
            # Its journals name a third one (a super-journal) in rollback mode.
            c.execute("attach ? as other", (self.other,))
            c.execute("create table if not exists other.u (n)")
            self.also = "insert into other.u values (%d)" % self.number
        for _ in range(self.random.choice((1, 2, 4))):
            self.transaction(c, announce=send)
        if self.random.random() < 0.5:
            c.execute("pragma wal_checkpoint(%s)" % self.random.choice(("passive", "truncate"))).fetchall()
        c.close()

    def op_anew(self):
        self.alone().close()
        self.connections.clear()
        for suffix in FILES:
            if os.path.exists(self.path + suffix):
                os.remove(self.path + suffix)
        if self.random.random() < 0.5:
            self.mirrored = -1 if self.look(gone=True) else self.mirrored
        self.create()

    def op_empty(self):
        """The database is made empty, and its log is left: it is empty for SQLite then, which removes the log."""
        c = self.alone()
        c.execute("pragma journal_mode = wal").fetchall()
        c.execute("pragma wal_autocheckpoint = 0").fetchall()
        self.transaction(c)
        self.look()
        log = whole(self.path + "-wal")
        c.close()
        self.connections.clear()
        write(self.path, b"")
        write(self.path + "-wal", log)
        self.emptied = self.empty = True
        self.look()
        self.empty = False
        self.create()

    def is_committed(self, main, log):
        """Whether a database and its log are in a state that was committed; it is the one that the source has, then."""
        try:
            number, state = self.open_copy(main, log)
        except Fault:
            return False
        if number == EMPTY or self.states.get(number) != state:
            return False
        self.number = number
        return True

    def op_power(self):
        """The power fails: the log loses frames that were not on the disk. A checkpoint has brought those there that it has used."""
        c = self.alone()
        if c.execute("pragma journal_mode").fetchone()[0] != "wal":
            return
        if self.random.random() < 0.5:
            # The copy of the main file holds all frames of the log or not, and its time is old enough to be trusted.
            c.execute("pragma wal_checkpoint(passive)").fetchall()
            if self.random.random() < 0.5:
                self.transaction(c, rows=1)
            time.sleep(0.015)
            self.look()
        times = os.stat(self.path)
        for _ in range(2):
            for _ in range(self.random.choice((0, 1, 2, 3))):
                self.transaction(c, rows=self.random.choice((0, 1, 3)))
            if self.random.random() < 0.7:
                self.look()
        if self.random.random() < 0.5:
            # The main file has other content then, and may have the old time after the cut: its data is synced, and its time is not.
            c.execute("pragma wal_checkpoint(%s)" % self.random.choice(("passive", "restart"))).fetchall()
            if self.random.random() < 0.5:
                self.transaction(c, rows=1)
            if self.random.random() < 0.3:
                self.look()
        if self.random.random() < 0.5:
            times = os.stat(self.path)
        main, log, index = (whole(self.path + suffix) for suffix in ("", "-wal", "-shm"))
        c.close()
        self.connections.clear()
        (frames,), (used,) = (struct.unpack_from("=I", index, at) for at in (16, 96))
        all_of_it = log
        if len(log) > 32:
            frame = 24 + struct.unpack_from(">I", log, 8)[0] % 65535
            kept = self.random.choice((used, self.random.randint(used, frames)))
            end, whole_log = 32 + kept * frame, 32 + frames * frame
            # The rest is cut off, or nothing but zeros, or lost in its first part alone.
            lost = self.random.choice((b"", bytes(whole_log - end), bytes(min(frame, whole_log - end)) + log[end + frame :]))
            log = None if kept == 0 and self.random.random() < 0.3 else log[:end] + lost
        write(self.path, main)
        os.utime(self.path, ns=(times.st_atime_ns, times.st_mtime_ns))
        for suffix in FILES[1:]:
            if os.path.exists(self.path + suffix):
                os.remove(self.path + suffix)
        if log is not None:
            write(self.path + "-wal", log)
        if not self.is_committed(main, log):
            # What a checkpoint has used is on the disk, also if its index is lost: that much cannot be missing. And this model needs its tables.
            write(self.path + "-wal", all_of_it)
            if not self.is_committed(main, all_of_it):
                raise Fault("the model is wrong: a power cut led to what was never committed")
        self.back_to.add(self.number)
        self.run_of_lsyncd += 1
        if self.random.random() < 0.5:
            self.look()
        self.connections.append(self.connect())
        # The application is faster than lsyncd: it has begun the log anew before anybody looks, or has filled the gap.
        how = self.random.random()
        if how < 0.4:
            for _ in range(self.random.choice((0, 0, 1))):
                self.transaction(self.some(), rows=0)
            self.some().execute("pragma wal_checkpoint(restart)").fetchall()
            self.transaction(self.some(), self.random.choice(("commit", "rollback")), rows=self.random.choice((0, 1, 3)))
        elif how < 0.7:
            for _ in range(self.random.choice((1, 3, 8))):
                self.transaction(self.some(), rows=self.random.choice((0, 3, 10)))
        self.look()

    OPERATIONS = (
        ("commit", 40), ("burst", 12), ("limited", 4), ("rollback", 5), ("open", 5), ("close", 5), ("reader", 4), ("end_reader", 5), ("checkpoint", 12), ("limit", 4),
        ("automatic", 4), ("mode", 4), ("page_size", 2), ("vacuum", 2), ("incremental", 2), ("exclusive", 2), ("killed", 6), ("anew", 1), ("cut", 3),
        ("empty", 1), ("power", 3),
    )  # fmt: skip

    # --- the mirror ---------------------------------------------------------------------------------------------------

    def ask(self, what, seed, at=0):
        line = "%s %d %d %d" % (what, seed, at, self.run_of_lsyncd)
        os.write(self.copier.stdin.fileno(), line.encode() + b"\n")
        said = os.read(self.copier.stdout.fileno(), 10000).decode().strip()
        if self.trace:
            print("   ", line, "->", said, "of", self.number)
        if not said or said.startswith("died"):
            raise Fault("the copier: %s" % (said or "ended"))
        return said

    def look(self, gone=False):
        """Calls the copier, and looks at what the mirror reads as. Returns whether it is up to date."""
        seed = self.random.randrange(1 << 30)
        kind = self.random.random()
        if kind < 0.05:
            said = self.ask("cut", seed, self.random.choice((1, 2, 3, 5, 8, 13, 21, 34, 60)))
        elif kind < 0.25:
            said = self.ask("kill", seed, self.random.choice((1, 2, 3, 5, 8, 13, 30)))
        else:
            said = self.ask("copy", seed)
        if gone:
            if said == "deleted" and os.listdir(self.target) not in ([], [".lsyncd-as-code"]):
                raise Fault("a deleted database left %s" % os.listdir(self.target))
            # One that was killed on the way may have come to that as well.
            return said in ("deleted", "killed")
        number = self.read_mirror()
        newest = EMPTY if self.empty else self.number
        if number == EMPTY and not self.emptied:
            raise Fault("the mirror is empty (%s)" % said)
        if number < self.mirrored and number != EMPTY and number not in self.back_to:
            raise Fault("the mirror went back from commit %d to %d (%s)" % (self.mirrored, number, said))
        if said in ("copied", "same") and number not in (newest, self.maybe):
            raise Fault("%s, and the mirror has commit %d of %d" % (said, number, newest))
        if number == self.number:
            self.emptied = self.empty
        self.mirrored = number
        return said in ("copied", "same")

    def read_mirror(self):
        """The number of the commit that the mirror reads as; -1 without a database."""
        names = os.listdir(self.target)
        for suffix in ("-shm", "-journal"):
            if NAME + suffix in names:
                raise Fault("the mirror has a %s" % suffix)
        files = [whole(os.path.join(self.target, NAME + suffix)) if NAME + suffix in names else None for suffix in ("", "-wal")]
        if files[0] is None:
            return -1
        # The same bytes read as the same: they are opened once.
        if files != self.files:
            self.found = self.open_copy(*files)
            self.files = files
        number, state = self.found
        if self.states.get(number) != state and number != EMPTY:
            raise Fault("what the mirror has with number %d was never committed" % number)
        return number

    def open_copy(self, main, log):
        """Opens a copy of a database and its log, and returns what `content` does."""
        write(self.opened, main)
        if log is not None:
            write(self.opened + "-wal", log)
        c = None
        try:
            # Nobody else uses it, so it needs no -shm.
            c = connect(self.opened, ["locking_mode = exclusive"])
            said = c.execute("pragma integrity_check").fetchall()
            if said != [("ok",)]:
                raise Fault("integrity_check: %s" % str(said)[:200])
            return content(c) if c.execute("select count(*) from sqlite_master").fetchone()[0] else (EMPTY, None)
        except sqlite3.DatabaseError as error:
            raise Fault("SQLite reports of the mirror: %s" % error)
        finally:
            # Without its name, SQLite does not write the log into it when it is closed.
            for suffix in ("", "-wal"):
                if os.path.exists(self.opened + suffix):
                    os.remove(self.opened + suffix)
            if c:
                c.close()

    # --- a whole history ----------------------------------------------------------------------------------------------

    def run(self):
        self.create()
        self.look()
        names, weights = zip(*((name, 10 * weight if name == self.often else weight) for name, weight in self.OPERATIONS))
        for _ in range(self.random.randrange(5, 30)):
            name = self.random.choices(names, weights)[0]
            if not self.connections:
                self.connections.append(self.connect())
            if self.trace:
                print(name)
            self.log.append(name)
            try:
                getattr(self, "op_" + name)()
            except sqlite3.OperationalError as error:
                # A reader or writer is in the way: what every application has to live with.
                if "locked" not in str(error) and "busy" not in str(error):
                    raise
            if self.random.random() < 0.6:
                self.look()
        self.settle()

    def settle(self):
        """In the end the mirror is up to date, however often it was killed."""
        for c in self.readers + self.connections:
            c.close()
        # What a crash left is the application's to clean up.
        c = self.connect()
        c.execute("select n from number").fetchall()
        c.close()
        for _ in range(400):
            if self.look():
                return
            time.sleep(0.005)
        raise Fault("the mirror does not come to the end")

    def end(self):
        for c in self.readers + self.connections:
            c.close()


def memory():
    """A directory in memory if the mirror's files can bear their mark there, else None: the default."""
    try:
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
            os.setxattr(file.name, "user.lsyncd-as-code", b"-")
        return "/dev/shm"
    except OSError:
        return None


def main():
    library, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    trace = "--trace" in sys.argv
    often = sys.argv[sys.argv.index("--often") + 1] if "--often" in sys.argv else None
    faults = looks = 0
    folder = tempfile.mkdtemp(prefix="model-", dir=None if "--disk" in sys.argv else memory())
    nursery = Nursery()
    command = ["perl", "-I", library, "-I", os.path.dirname(HERE), os.path.join(HERE, "copier.pl")]
    command += [os.path.join(folder, "source"), os.path.join(folder, "target"), NAME]
    copier = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        for seed in range(first, first + count):
            history = History(copier, nursery, folder, seed, trace, often)
            try:
                history.run()
            except Fault as fault:
                faults += 1
                print("seed %d: %s; after %s" % (seed, fault, " ".join(history.log)), flush=True)
            finally:
                history.end()
        print("%d histories from seed %d, SQLite %s: %d faults" % (count, first, sqlite3.sqlite_version, faults))
    finally:
        nursery.end()
        copier.stdin.close()
        copier.wait()
        shutil.rmtree(folder)
    return 1 if faults else 0


sys.exit(main())
