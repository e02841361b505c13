"""Many small databases for the bench.

  databases.py make ROOT NUMBER DIRECTORIES   databases of 24 kB, in one directory (1) or spread over some
  databases.py write ROOT TARGET NUMBER DIRECTORIES RATE SECONDS
                                              commits to random ones, and says how far behind the mirror was

A commit sets user_version, which the file's header has at its byte 60 (https://www.sqlite.org/fileformat2.html), so what the mirror
has is read without opening its copy. `write` prints JSON: commits, milliseconds of each, and seconds until the mirror had some of them.
"""
import json, os, random, sqlite3, struct, sys, threading, time


def name(number, directories):
    file = f"user-{number:06d}.sqlite"
    return file if directories == 1 else f"{number % directories:03d}/{file}"


def make(root, number, directories):
    for one in range(directories if directories > 1 else 0):
        os.makedirs(f"{root}/{one:03d}", exist_ok=True)
    first = f"{root}/{name(0, directories)}"
    db = sqlite3.connect(first)
    db.execute("pragma journal_mode = wal")
    db.execute("create table t (id integer primary key, text)")
    db.executemany("insert into t (text) values (?)", [("x" * 1000,) for _ in range(16)])
    db.commit()
    db.close()
    with open(first, "rb") as file:
        content = file.read()
    for one in range(1, number):
        with open(f"{root}/{name(one, directories)}", "wb") as file:
            file.write(content)
    print(len(content))


def version(path, since):
    """What a copy has of a database: its version; infinite for a replica of Litestream that got something since then."""
    replica = f"{path}/ltx/0"
    try:
        if os.path.isdir(replica):
            newest = max((entry.stat().st_mtime for entry in os.scandir(replica)), default=0)
            return float("inf") if newest >= since else 0
        with open(path, "rb") as file:
            file.seek(60)
            return struct.unpack(">I", file.read(4))[0]
    except (OSError, struct.error):
        return 0


def write(root, target, number, directories, rate, seconds):
    took, lags, waiting, lock, ended = [], [], [], threading.Lock(), False

    def look():
        # Each sample is checked until the mirror has it.
        while not ended or waiting:
            with lock:
                samples = list(waiting)
            for sample in samples:
                path, wanted, began, since = sample
                if version(f"{target}/{path}", began) >= wanted or time.time() - since > 600:
                    lags.append(time.time() - since)
                    with lock:
                        waiting.remove(sample)
            # Looking costs less than what is measured, however many are followed.
            time.sleep(max(0.02, len(samples) * 0.0005))

    thread = threading.Thread(target=look)
    thread.start()
    began = time.time()
    # A commit waits for the disk: one writer alone makes no more than some tens a second.
    writers = max(1, round(rate / 25))
    commits = [0] * writers

    def work(writer):
        while time.time() - began < seconds:
            due = began + (commits[writer] * writers + writer) / rate
            if due > time.time():
                time.sleep(due - time.time())
            # Each has databases of its own: none waits for another one's lock.
            path = name(random.randrange(writer, number, writers), directories)
            at = time.time()
            db = sqlite3.connect(f"{root}/{path}", timeout=30)
            db.execute("begin immediate")
            now = db.execute("pragma user_version").fetchone()[0] + 1
            db.execute(f"pragma user_version = {now}")
            db.execute("update t set text = ? where id = ?", (str(now) * 100, random.randrange(1, 17)))
            db.commit()
            db.close()
            took.append((time.time() - at) * 1000)
            commits[writer] += 1
            # Twenty a second are followed.
            if len(waiting) < 3000 and random.random() < 20 / rate:
                with lock:
                    waiting.append((path, now, at, time.time()))

    busy = [threading.Thread(target=work, args=(writer,)) for writer in range(writers)]
    for one in busy:
        one.start()
    for one in busy:
        one.join()
    ended = True
    thread.join()
    took.sort()
    lags.sort()
    at = lambda values, share: values[min(len(values) - 1, int(share * len(values)))] if values else None
    print(json.dumps({
        "commits": sum(commits), "p50": at(took, 0.5), "p99": at(took, 0.99),
        "lag": {"count": len(lags), "median": at(lags, 0.5), "p99": at(lags, 0.99), "worst": lags[-1] if lags else None},
    }))


if sys.argv[1] == "make":
    make(sys.argv[2], *map(int, sys.argv[3:5]))
else:
    write(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]), float(sys.argv[7]))
