#!/usr/bin/python3
"""What an application does to a volume until its power fails, and what may be there afterwards.

  vm-load.py run SEED SOURCE          writes until it is killed; a burst of 100 new files now and then
  vm-load.py fill SEED SOURCE COUNT   writes COUNT new files, and ends
  vm-load.py open SOURCE              opens each database as an application does when it starts again, commits once, and removes
                                      its own files that the power cut has damaged
  vm-load.py check SOURCE MIRROR      looks at a mirror that nobody writes to. Prints JSON: databases (checked), broken (why),
                                      files (checked), foreign (paths whose content neither side ever had)

Each commit of a database changes rows and, with them, their number and sum in another table: a state between two commits
contradicts itself. A file consists of records of 64 bytes, each with the file's name, its place in the file and a checksum: a
record that is whole was written by the application; zeros, and another file's records, were not.
"""
import json
import mmap
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import zlib

RECORD = 64
# Each database is opened with one of these: journal mode, synchronous and a number. The copier handles more than four changed ones as a batch.
DATABASES = [(journal, sync, number) for journal in ("wal", "delete") for sync in ("FULL", "NORMAL") for number in (1, 2, 3)]


def record(name, place, version):
    text = f"{name} {place} {version} "
    text += f"{zlib.crc32(text.encode()):08x}"
    return text.ljust(RECORD - 1).encode() + b"\n"


def is_record(name, place, piece):
    words = piece.decode("latin-1").split()
    if len(words) != 4 or len(piece) != RECORD or words[0] != name or words[1] != str(place):
        return False
    return piece == record(name, place, words[2])


def content(name, records, version):
    return b"".join(record(name, place, version) for place in range(records))


class Database:
    def __init__(self, folder, journal, sync, number, chance):
        self.chance = chance
        path = os.path.join(folder, f"{journal}-{sync.lower()}-{number}.db")
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"PRAGMA journal_mode={journal}")
        self.db.execute(f"PRAGMA synchronous={sync}")
        self.db.execute("PRAGMA busy_timeout=60000")
        self.db.execute("PRAGMA wal_autocheckpoint=60")
        self.db.execute("CREATE TABLE IF NOT EXISTS mail (id INTEGER PRIMARY KEY, size INTEGER, body BLOB)")
        self.db.execute("CREATE TABLE IF NOT EXISTS state (commits INTEGER, rows INTEGER, bytes INTEGER)")
        if not self.db.execute("SELECT 1 FROM state").fetchone():
            self.db.execute("INSERT INTO state VALUES (0, 0, 0)")

    def commit(self):
        db, chance = self.db, self.chance
        db.execute("BEGIN IMMEDIATE")
        for _ in range(chance.randint(1, 12)):
            size = chance.randint(1, 6000)
            db.execute("INSERT INTO mail (size, body) VALUES (?, randomblob(?))", (size, size))
        if chance.random() < 0.3:
            db.execute("DELETE FROM mail WHERE id % 5 = ?", (chance.randint(0, 4),))
        db.execute("UPDATE state SET commits = commits + 1, rows = (SELECT count(*) FROM mail), bytes = (SELECT ifnull(sum(length(body)), 0) FROM mail)")
        if chance.random() < 0.1:
            db.execute("ROLLBACK")
        else:
            db.execute("COMMIT")


class Files:
    def __init__(self, folder, chance):
        self.folder, self.chance, self.version = folder, chance, int(chance.random() * 1e9)
        os.makedirs(folder, exist_ok=True)

    def path(self):
        name = f"file{self.chance.randint(0, 39)}"
        return name, os.path.join(self.folder, name)

    def step(self):
        self.version += 1
        return getattr(self, self.chance.choice(["write", "rename", "append", "truncate", "mapped", "durable"]))()

    def write(self):
        name, path = self.path()
        with open(path, "wb", buffering=0) as file:
            file.write(content(name, self.chance.randint(1, 600), self.version))

    def durable(self):
        name, path = self.path()
        with open(path, "wb", buffering=0) as file:
            file.write(content(name, self.chance.randint(1, 600), self.version))
            os.fsync(file)

    def rename(self):
        name, path = self.path()
        with open(path + ".new", "wb", buffering=0) as file:
            file.write(content(name, self.chance.randint(1, 600), self.version))
        os.rename(path + ".new", path)

    def append(self):
        name, path = self.path()
        with open(path, "ab", buffering=0) as file:
            # A truncation in the middle of a record does not happen here.
            place = os.fstat(file.fileno()).st_size // RECORD
            file.write(b"".join(record(name, place + more, self.version) for more in range(self.chance.randint(1, 50))))

    def truncate(self):
        _, path = self.path()
        if os.path.exists(path):
            records = os.path.getsize(path) // RECORD
            os.truncate(path, self.chance.randint(0, records) * RECORD)

    def mapped(self):
        name, path = self.path()
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            return
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            records = len(memory) // RECORD
            for _ in range(min(records, 20)):
                place = self.chance.randrange(records)
                memory[place * RECORD : (place + 1) * RECORD] = record(name, place, self.version)


def fill(source, chance, count):
    folder = os.path.join(source, "burst", f"{int(chance.random() * 1e9)}")
    os.makedirs(folder, exist_ok=True)
    for number in range(count):
        name = f"mail{number}"
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content(name, chance.randint(1, 200), number))


def run(source, chance):
    folder = os.path.join(source, "app")
    os.makedirs(folder, exist_ok=True)
    databases = [Database(folder, *how, chance) for how in DATABASES]
    files = Files(os.path.join(source, "files"), chance)
    print("running", flush=True)
    step = 0
    while True:
        step += 1
        if chance.random() < 0.5:
            chance.choice(databases).commit()
        else:
            files.step()
        if step % 150 == 0:
            fill(source, chance, 100)


def problem(path):
    """Why a copy of a database is none of its committed states, or None."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        copy = os.path.join(place, "copy.db")
        for end in ("", "-wal", "-journal"):
            if os.path.exists(path + end):
                shutil.copyfile(path + end, copy + end)
        try:
            db = sqlite3.connect(copy)
            answer = db.execute("PRAGMA integrity_check").fetchone()[0]
            if answer != "ok":
                return answer
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
                # Before its first commit.
                return None
            found = db.execute("SELECT count(*), ifnull(sum(length(body)), 0), ifnull(sum(size), 0) FROM mail").fetchone()
            state = db.execute("SELECT rows, bytes, bytes FROM state").fetchone()
            return None if state is None or tuple(state) == tuple(found) else f"state {state}, found {found}"
        except sqlite3.Error as error:
            return f"{type(error).__name__}: {error}"


def ordinary(volume):
    """Each ordinary file of the application on a volume: path, path below the volume, content."""
    for part in ("files", "burst"):
        for folder, _, names in os.walk(os.path.join(volume, part)):
            for name in names:
                if not name.startswith("."):
                    path = os.path.join(folder, name)
                    with open(path, "rb") as file:
                        yield path, os.path.relpath(path, volume), file.read()


def wrong_records(path, data):
    """Where a file's content is none that was written. The last record of a copy may be part of one."""
    name = os.path.basename(path)
    wanted = name[:-4] if name.endswith(".new") else name
    return [at for at in range(0, len(data) - RECORD + 1, RECORD) if not is_record(wanted, at // RECORD, data[at : at + RECORD])]


def check(source, mirror):
    broken, foreign, databases, files = [], [], 0, 0
    for folder, _, names in os.walk(mirror):
        if ".lsyncd-as-code" in folder or "lost+found" in folder:
            continue
        for name in names:
            path = os.path.join(folder, name)
            below = os.path.relpath(path, mirror)
            if name.endswith(".db"):
                databases += 1
                why = problem(path)
                if why:
                    broken.append(f"{below}: {why}")
    for path, below, data in ordinary(mirror):
        files += 1
        wrong = wrong_records(path, data)
        if not wrong:
            continue
        try:
            with open(os.path.join(source, below), "rb") as file:
                same = file.read() == data
        except OSError:
            same = False
        # Damage of the power cut to the source's own file is the application's concern.
        if not same:
            what = "only zeros" if not data.strip(b"\0") else "a wrong record"
            foreign.append(f"{below}: {what}, {len(data)} bytes, first at {wrong[0]}")
    print(json.dumps({"databases": databases, "broken": broken, "files": files, "foreign": foreign}))


def main():
    action = sys.argv[1]
    if action == "check":
        check(sys.argv[2], sys.argv[3])
        return
    if action == "open":
        for how in DATABASES:
            Database(os.path.join(sys.argv[2], "app"), *how, random.Random(0)).commit()
        for path, _, data in ordinary(sys.argv[2]):
            if wrong_records(path, data):
                os.remove(path)
        return
    chance = random.Random(int(sys.argv[2]))
    if action == "fill":
        fill(sys.argv[3], chance, int(sys.argv[4]))
    else:
        run(sys.argv[3], chance)


main()
