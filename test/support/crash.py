"""Cuts the copier short at every step of every kind of copy, and opens the mirror each time.

Usage: crash.py LIBRARY DIRECTORY HOW BATCH [SCENARIO…]; HOW is kill or power, BATCH empty or "batch" (see crash.pl). Prints a JSON
object: for each scenario how many moments were tried, and what was wrong.

A scenario brings source and mirror to a state, and says which numbers of rows the mirror may have from then on: those
of a state that was committed, no older than what it had. After each cut a whole run must bring it to the newest.
"""
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

LIBRARY, DIRECTORY, HOW, BATCH = sys.argv[1:5]
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM, INCLUDE = os.path.join(HERE, "crash.pl"), ["-I", LIBRARY, "-I", HERE]
SOURCE, TARGET = os.path.join(DIRECTORY, "source"), os.path.join(DIRECTORY, "target")
NAME = "a.sqlite"
FILE = os.path.join(SOURCE, NAME)
FILES = ("", "-wal", "-shm", "-journal")


class Fault(Exception):
    pass


def connect(path=FILE, mode="wal", page=None):
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    if page:
        connection.execute("pragma page_size = %d" % page)
    connection.execute("pragma journal_mode = %s" % mode).fetchall()
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute("create table if not exists t (i integer primary key, n, b)")
    return connection


def insert(connection, rows):
    """One transaction: new rows, and thirty that change here and there. The sums tell a mixture of two states."""
    execute = connection.execute
    execute("begin")
    execute("create table if not exists total (n, rows, sum)")
    n = (execute("select max(n) from total").fetchone()[0] or 0) + 1
    many = execute("select count(*) from t").fetchone()[0]
    for row in random.sample(range(1, many + 1), min(many, 30)):
        execute("update t set n = ?, b = randomblob(700) where i = ?", (n, row))
    execute(
        "with recursive r(i) as (select 1 union all select i + 1 from r where i < ?) "
        "insert into t (n, b) select ?, randomblob(600) from r",
        (rows, n),
    )
    execute("delete from total")
    execute("insert into total select ?, count(*), sum(n) from t", (n,))
    execute("commit")
    return many + rows


def copier(at=0, how="kill"):
    done = subprocess.run(["perl", *INCLUDE, PROGRAM, SOURCE, TARGET, NAME, how, str(at), BATCH], capture_output=True, text=True)
    if done.returncode not in (0, 9):
        raise Fault("the copier failed: %s" % done.stderr.strip())
    if "not durable" in done.stdout:
        raise Fault(done.stdout.strip())
    return done.returncode == 9


def sync():
    """A whole run; what has to wait for a clock tick is tried again, as the worker does."""
    for _ in range(200):
        done = subprocess.run(["perl", *INCLUDE, PROGRAM, SOURCE, TARGET, NAME, HOW, "0", BATCH], capture_output=True, text=True)
        if done.returncode != 0:
            raise Fault("the copier failed: %s" % done.stderr.strip())
        if "not durable" in done.stdout:
            raise Fault(done.stdout.strip())
        if not done.stdout.startswith("deferred"):
            return
    raise Fault("the copier does not get on: %s" % done.stdout.strip())


def mirrored():
    """Rows of the mirror's database, opened as after the loss of the source; 0 when there is none."""
    copy = os.path.join(DIRECTORY, "opened")
    for suffix in FILES:
        if os.path.lexists(copy + suffix):
            os.remove(copy + suffix)
        if os.path.exists(os.path.join(TARGET, NAME) + suffix):
            shutil.copyfile(os.path.join(TARGET, NAME) + suffix, copy + suffix)
    if not os.path.exists(copy):
        return 0
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        said = connection.execute("pragma integrity_check").fetchall()
        if said != [("ok",)]:
            raise Fault("integrity_check: %s" % str(said)[:200])
        rows, total = connection.execute("select count(*), sum(n) from t").fetchone()
        if rows and connection.execute("select rows, sum from total").fetchall() != [(rows, total)]:
            raise Fault("%d rows are no committed state" % rows)
        return rows
    except sqlite3.DatabaseError as error:
        raise Fault("SQLite reports: %s" % error)
    finally:
        connection.close()


# --- the scenarios: each returns the connections to keep open, and the rows that the mirror may have ------------------


def append():
    c = connect()
    first = insert(c, 90)
    sync()
    return [c], [first, insert(c, 60), insert(c, 60)]


def append_closed_log():
    c = connect()
    insert(c, 90)
    sync()
    second = insert(c, 50)
    sync()
    states = [second, insert(c, 60)]
    c.execute("pragma wal_checkpoint(passive)").fetchall()
    return [c], states


def hand_over():
    c = connect()
    insert(c, 90)
    sync()
    first = insert(c, 90)
    sync()
    states = [first, insert(c, 90)]
    c.execute("pragma wal_checkpoint(passive)").fetchall()
    return [c], states + [insert(c, 1)]


def only_the_wal():
    c = connect()
    first = insert(c, 90)
    c.execute("pragma wal_checkpoint(truncate)").fetchall()
    time.sleep(0.1)
    sync()
    return [c], [first, insert(c, 30)]


def restarted_twice():
    c = connect()
    insert(c, 400)
    c.execute("pragma wal_checkpoint(truncate)").fetchall()
    sync()
    states = [insert(c, 30)]
    sync()
    for _ in range(2):
        states.append(insert(c, 30))
        c.execute("pragma wal_checkpoint(truncate)").fetchall()
        states.append(insert(c, 10))
    return [c], states


def checkpointed_in_part():
    """A reader keeps a checkpoint from finishing, so that the main file alone is no committed state."""
    c = connect()
    insert(c, 90)
    reader = sqlite3.connect(FILE, isolation_level=None)
    reader.execute("begin")
    reader.execute("select count(*) from t").fetchall()
    states = [insert(c, 30)]
    sync()
    states.append(insert(c, 30))
    c.execute("pragma wal_checkpoint(passive)").fetchall()
    return [c, reader], states + [insert(c, 30)]


def rollback_journal():
    c = connect(mode="delete")
    first = insert(c, 90)
    sync()
    return [c], [first, insert(c, 30), insert(c, 30)]


def wal_to_rollback():
    c = connect()
    insert(c, 90)
    sync()
    first = insert(c, 30)
    sync()
    states = [first, insert(c, 30)]
    c.execute("pragma journal_mode = delete").fetchall()
    return [c], states + [insert(c, 30)]


def rollback_to_wal():
    c = connect(mode="delete")
    first = insert(c, 90)
    sync()
    c.execute("pragma journal_mode = wal").fetchall()
    return [c], [first, insert(c, 30), insert(c, 30)]


def closed():
    c = connect()
    insert(c, 400)
    c.execute("pragma wal_checkpoint(truncate)").fetchall()
    sync()
    first = insert(c, 30)
    sync()
    second = insert(c, 30)
    c.close()
    return [], [first, second]


def crashed():
    """Nobody is connected, and -wal is what a crash left, without -shm."""
    c = connect()
    first = insert(c, 90)
    sync()
    second = insert(c, 30)
    for suffix in ("", "-wal"):
        shutil.copyfile(FILE + suffix, os.path.join(DIRECTORY, "kept") + suffix)
    c.close()
    for suffix in ("", "-wal"):
        shutil.copyfile(os.path.join(DIRECTORY, "kept") + suffix, FILE + suffix)
    return [], [first, second]


def crashed_before_the_first_copy():
    states = crashed()[1]
    for suffix in FILES:
        if os.path.exists(os.path.join(TARGET, NAME) + suffix):
            os.remove(os.path.join(TARGET, NAME) + suffix)
    return [], [0, states[-1]]


def vacuumed():
    c = connect()
    insert(c, 400)
    sync()
    insert(c, 10)
    sync()
    c.execute("delete from t where i > 100")
    first = insert(c, 1)
    sync()
    c.execute("vacuum")
    c.execute("pragma wal_checkpoint(passive)").fetchall()
    return [c], [first, insert(c, 1)]


def large_pages():
    c = connect(page=65536)
    first = insert(c, 90)
    sync()
    states = [first, insert(c, 30)]
    c.execute("pragma wal_checkpoint(passive)").fetchall()
    return [c], states + [insert(c, 30)]


def replaced_by_another():
    """Another database is renamed over it, while the mirror has a WAL of the old one."""
    c = connect()
    insert(c, 90)
    sync()
    first = insert(c, 30)
    sync()
    c.close()
    other = connect(os.path.join(SOURCE, "other"), "delete")
    second = insert(other, 50)
    other.close()
    os.rename(os.path.join(SOURCE, "other"), FILE)
    return [], [first, second]


def stale_wal_in_the_mirror():
    """What a deletion leaves that was cut off: the -wal of a database that is gone, and then a new one of its name."""
    c = connect()
    insert(c, 90)
    sync()
    insert(c, 30)
    sync()
    c.close()
    os.remove(os.path.join(TARGET, NAME))
    os.remove(FILE)
    other = connect()
    return [other], [0, insert(other, 50)]


def deleted():
    c = connect()
    insert(c, 90)
    sync()
    first = insert(c, 30)
    sync()
    c.close()
    os.remove(FILE)
    return [], [first, 0]


SCENARIOS = [
    append, append_closed_log, hand_over, only_the_wal, restarted_twice, checkpointed_in_part, rollback_journal,
    wal_to_rollback, rollback_to_wal, closed, crashed, crashed_before_the_first_copy, vacuumed, large_pages, replaced_by_another,
    stale_wal_in_the_mirror, deleted,
]  # fmt: skip


def moments(scenario):
    """Cuts the copier short at each step in turn. Returns how many there are."""
    at = 0
    while True:
        at += 1
        for directory in (SOURCE, TARGET):
            shutil.rmtree(directory, ignore_errors=True)
            os.makedirs(directory)
        connections, states = scenario()
        try:
            # Until the copier gets somewhere: it may have to wait for a clock tick.
            for _ in range(200):
                cut = copier(at, HOW)
                if cut or mirrored() == states[-1]:
                    break
            found = mirrored()
            if found not in (states if cut else states[-1:]):
                raise Fault("it has %d rows instead of %s" % (found, states))
            sync()
            if mirrored() != states[-1]:
                raise Fault("then it has %d rows instead of %d" % (mirrored(), states[-1]))
            if connections:
                after = insert(connections[0], 20)
                sync()
                if mirrored() != after:
                    raise Fault("later it has %d rows instead of %d" % (mirrored(), after))
        except Fault as fault:
            raise Fault("cut at step %d: %s" % (at, fault))
        finally:
            for connection in connections:
                connection.close()
        if not cut:
            return at - 1


def main():
    selected = sys.argv[5:]
    results = {}
    for scenario in SCENARIOS:
        if selected and scenario.__name__ not in selected:
            continue
        try:
            results[scenario.__name__] = {"moments": moments(scenario), "fault": None}
        except Fault as fault:
            results[scenario.__name__] = {"moments": 0, "fault": str(fault)[:1000]}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
