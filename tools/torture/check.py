"""Opens copies of the writer's databases and says for each whether it is a state that the writer committed.

Usage: check.py SPEC, a JSON object: databases [{path, key, cipher}], frozen (seconds since 1970 when the copy was made),
thorough (integrity_check instead of quick_check, and every row's data). Prints a JSON list of {path, fault, age, n}.
The copies are opened for writing, as an application would after a failover.
"""
import json
import os
import sys

import apsw

from writer import connect, data, digest, link


def check(spec, frozen, thorough):
    if not os.path.exists(spec["path"]):
        return {"fault": "missing"}
    connection = connect(spec, apsw.SQLITE_OPEN_READWRITE)
    execute = connection.execute
    found = execute("pragma %s" % ("integrity_check" if thorough else "quick_check")).fetchall()
    if found != [("ok",)]:
        return {"fault": "integrity: %s" % str(found)[:200]}
    before, n = "", -1
    for n, time, combined, checksum in execute("select n, time, combined, sum from chain order by n"):
        before = link(before, n, combined)
        if before != checksum:
            return {"fault": "chain broken at %d" % n}
    if n < 0:
        return {"fault": "empty"}
    actual = 0
    for row, written, content in execute("select id, n, data from fill"):
        actual ^= digest(row, written)
        if content != data(row, written):
            return {"fault": "row %d holds other data" % row}
    if actual != combined:
        return {"fault": "rows are not those of transaction %d" % n}
    connection.close()
    return {"fault": None, "age": frozen - time, "n": n}


def main():
    spec = json.loads(sys.argv[1])
    results = []
    for one in spec["databases"]:
        try:
            result = check(one, spec["frozen"], spec.get("thorough", True))
        except Exception as error:  # whatever SQLite says about it is the finding
            result = {"fault": "%s: %s" % (type(error).__name__, error)}
        results.append({"path": one["path"], **result})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
