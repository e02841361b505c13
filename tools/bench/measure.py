"""Runs a command and writes down what it took, with everything it starts: measure.py RESULT COMMAND [ARGUMENT...]

RESULT gets JSON: seconds (until the command ends), cpu (seconds of all its processes), memory (most bytes of all its
processes at one time; pages that several share are counted once), programs (command line and CPU seconds of each process,
less what it used in its last moment) and code (its exit code). What the command leaves
running in the background, such as a shared SSH connection, is ended afterwards; its CPU time counts.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
INTERVAL = 0.25
CPU_INTERVAL = 0.05
TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """Every process below one."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    children = [int(child) for child in file.read().split()]
                found += children
                waiting += children
        except OSError:
            pass  # it ended while we looked
    return found


def memory_of(pid):
    """Bytes of a process's memory, its share of what others have as well."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def cpu_of(pid):
    """Command line and CPU seconds of a process so far, without those of its children; nothing when it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()  # proc(5): the name before may hold spaces
        return line, (int(fields[11]) + int(fields[12])) / TICKS
    except OSError:
        return None


def main(result, command):
    # Orphans become our children, so their CPU time is known when they end.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    most, done = [0], threading.Event()

    def watch():
        while not done.wait(INTERVAL):
            most[0] = max(most[0], sum(map(memory_of, descendants(os.getpid()))))

    programs = {}

    def watch_cpu():
        while not done.wait(CPU_INTERVAL):
            for pid in descendants(os.getpid()):
                found = cpu_of(pid)
                if found:
                    # A process that has just ended has no command line.
                    programs[pid] = found[0] or programs.get(pid, found)[0], found[1]

    watchers = [threading.Thread(target=watch), threading.Thread(target=watch_cpu)]
    began = time.monotonic()
    child = subprocess.Popen(command)
    for watcher in watchers:
        watcher.start()
    code = child.wait()
    seconds = time.monotonic() - began
    done.set()
    for watcher in watchers:
        watcher.join()

    deadline = time.monotonic() + 5
    while True:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        time.sleep(0.02)

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "memory": most[0], "code": code}
    with open(result, "w") as file:
        json.dump({**found, "programs": list(programs.values())}, file)
    return code


sys.exit(main(sys.argv[1], sys.argv[2:]))
