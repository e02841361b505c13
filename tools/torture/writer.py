"""Writes to SQLite databases without a pause, so that a state that was never committed can be distinguished from one that was.

Each transaction n rewrites some random rows of `fill` and adds one row to `chain`. A row of `fill` holds the number of
the transaction that wrote it last and data that follow from (id, n). The row of `chain` holds the combined digest of
all rows of `fill` after transaction n, and a checksum over the row before: pages of two states can't match both.

Usage: writer.py SPEC, a JSON object: databases [{path, journal, megabytes, key, cipher}], interval (seconds between
transactions), rows (rewritten in each), result (file for the latencies), commits (file for what was committed: name of the database,
number, time), chaos. Ends on SIGTERM.

With chaos, short-lived processes use the database one after the other: they change the journal mode, vacuum, checkpoint,
and end cleanly, without closing, or in the middle of a transaction of which a part is in the file already.
"""
import hashlib
import json
import os
import random
import signal
import sys
import time

import apsw

ROW = 3000  # bytes of data in a row: not quite one page, so that rows straddle pages


def digest(row, n):
    return int.from_bytes(hashlib.blake2b(b"%d %d" % (row, n), digest_size=7).digest(), "big")


def data(row, n):
    block = hashlib.blake2b(b"data %d %d" % (row, n)).digest()
    return (block * (ROW // len(block) + 1))[: ROW - row % 700]


def link(before, n, combined):
    return hashlib.blake2b(b"%s %d %d" % (before.encode(), n, combined), digest_size=16).hexdigest()


def connect(spec, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE):
    connection = apsw.Connection(spec["path"], flags=flags)
    if spec.get("key"):
        if spec.get("cipher"):
            connection.execute("pragma cipher = '%s'" % spec["cipher"]).fetchall()
        connection.execute("pragma key = '%s'" % spec["key"]).fetchall()
    connection.set_busy_timeout(20000)
    return connection


class Database:
    def __init__(self, spec, log=None):
        self.name, self.log = spec.get("name"), log
        self.connection = connect(spec)
        execute = self.connection.execute
        if spec.get("page"):
            execute("pragma page_size = %d" % spec["page"])
        execute("pragma journal_mode = %s" % spec["journal"]).fetchall()
        execute("pragma synchronous = normal")
        execute("pragma cache_size = %d" % spec.get("cache", -2000))
        self.rows = max(10, int(spec["megabytes"] * 1e6 / ROW))
        execute("create table if not exists fill (id integer primary key, n integer, data blob)")
        execute("create table if not exists chain (n integer primary key, time real, combined integer, sum text)")
        last = execute("select n, combined, sum from chain order by n desc limit 1").fetchall()
        if last:
            self.n, self.combined, self.sum = last[0]
        else:
            self.n, self.combined, self.sum = 0, 0, ""
            execute("begin immediate")
            for row in range(1, self.rows + 1):
                execute("insert into fill values (?, 0, ?)", (row, data(row, 0)))
                self.combined ^= digest(row, 0)
            self.append(0)
            execute("commit")

    def append(self, n):
        self.sum = link(self.sum, n, self.combined)
        now = time.time()
        self.connection.execute("insert into chain values (?, ?, ?, ?)", (n, now, self.combined, self.sum))

    def transaction(self, rows):
        execute = self.connection.execute
        execute("begin immediate")
        self.n += 1
        for row in {random.randint(1, self.rows) for _ in range(rows)}:
            before = execute("select n from fill where id = ?", (row,)).fetchall()[0][0]
            self.combined ^= digest(row, before) ^ digest(row, self.n)
            execute("update fill set n = ?, data = ? where id = ?", (self.n, data(row, self.n), row))
        self.append(self.n)
        execute("commit")
        if self.log:
            self.log.write("%s\t%d\t%f\n" % (self.name, self.n, time.time()))

    def written(self):
        """Bytes of the pages that its transactions have written so far."""
        page = self.connection.execute("pragma page_size").fetchall()[0][0]
        return self.connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0] * page


def live(spec, rows, interval):
    """The life of one process under chaos."""
    journal = random.choice(["wal", "wal", "delete", "truncate", "persist"])
    database = Database({**spec, "journal": journal, "cache": 5})
    execute = database.connection.execute
    execute("pragma wal_autocheckpoint = %d" % random.choice([0, 20, 1000]))
    for _ in range(random.randint(1, 40)):
        database.transaction(rows)
        time.sleep(interval)
        chance = random.random()
        if chance < 0.05:
            execute("vacuum")
        elif chance < 0.15:
            execute("pragma wal_checkpoint(%s)" % random.choice(["passive", "full", "restart", "truncate"])).fetchall()
    end = random.random()
    if end < 0.4:
        database.connection.close()
    elif end < 0.7:
        execute("begin immediate")
        execute("update fill set data = zeroblob(3000) where id % 2 = 0")
    os._exit(0)


def chaos(spec, ended):
    latencies = []
    for first in (True, False):
        while first or not (ended or orphaned()):
            for one in spec["databases"]:
                began = time.monotonic()
                pid = os.fork()
                if pid == 0:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    try:
                        live(one, spec["rows"], spec["interval"])
                    finally:
                        os._exit(1)
                os.waitpid(pid, 0)
                latencies.append(time.monotonic() - began)
            if first:
                print("ready", flush=True)
                break
    return latencies


PARENT = os.getppid()


def orphaned():
    return os.getppid() != PARENT


def main():
    spec = json.loads(sys.argv[1])
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    if spec.get("chaos"):
        report(spec, chaos(spec, ended))
        return
    log = open(spec["commits"], "a", buffering=1) if spec.get("commits") else None
    databases = [Database(one, log) for one in spec["databases"]]
    filled = sum(database.written() for database in databases)
    print("ready", flush=True)
    latencies = []
    while not (ended or orphaned()):
        for database in databases:
            began = time.monotonic()
            database.transaction(spec["rows"])
            latencies.append(time.monotonic() - began)
            time.sleep(spec["interval"])
            if ended:
                break
    committed = sum(database.written() for database in databases) - filled
    for database in databases:
        database.connection.close()
    report(spec, latencies, committed)


def report(spec, latencies, committed=0):
    count, latencies = len(latencies), sorted(latencies) or [0]
    if spec.get("result"):
        with open(spec["result"], "w") as file:
            at = lambda share: latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1000
            json.dump({"transactions": count, "p50": at(0.5), "p99": at(0.99), "max": at(1), "committed": committed}, file)


if __name__ == "__main__":
    main()
