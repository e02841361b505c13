"""Which ways to write to a file does inotify report before the file is closed? Prints one line each: the way, and the events.

Kernel AIO and io_uring are called directly: Python has no wrappers for them. The numbers are those of x86_64."""

import ctypes
import mmap
import os
import struct
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
directory = sys.argv[1]
EVENTS = {0x2: "MODIFY", 0x8: "CLOSE_WRITE"}
watch = libc.inotify_init1(os.O_NONBLOCK)
libc.inotify_add_watch(watch, directory.encode(), sum(EVENTS))


def events():
    time.sleep(0.2)
    try:
        data = os.read(watch, 1 << 16)
    except BlockingIOError:
        return []
    found = []
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        found += [name for bit, name in EVENTS.items() if mask & bit]
        data = data[16 + length :]
    return found


def tell(way, written):
    print(way, "ok" if written else "failed", *events(), sep="\t")


path = os.path.join(directory, "file")
with open(path, "wb") as file:
    file.write(b"a" * (1 << 20))
events()
fd = os.open(path, os.O_RDWR)
first = lambda: os.pread(fd, 1, 0)

os.pwrite(fd, b"w", 0)
tell("write", first() == b"w")

mapping = mmap.mmap(fd, 4096)
mapping[0:1] = b"m"
mapping.flush()
os.fsync(fd)
tell("mmap", first() == b"m")

buffer = ctypes.create_string_buffer(b"k" * 512)
context = ctypes.c_ulong(0)
libc.syscall(206, 8, ctypes.byref(context))  # io_setup
control = struct.pack("QIiHhIQQqQII", 0, 0, 0, 1, 0, fd, ctypes.addressof(buffer), 512, 0, 0, 0, 0)
request = ctypes.create_string_buffer(control)
requests = (ctypes.c_void_p * 1)(ctypes.addressof(request))
if libc.syscall(209, context, ctypes.c_long(1), requests) == 1:  # io_submit
    done = ctypes.create_string_buffer(64)
    libc.syscall(208, context, ctypes.c_long(1), ctypes.c_long(1), done, None)  # io_getevents
tell("kernel AIO", first() == b"k")

parameters = ctypes.create_string_buffer(120)
ring = libc.syscall(425, 4, parameters)  # io_uring_setup
if ring >= 0:
    sq_entries, cq_entries = struct.unpack_from("2I", parameters.raw)
    sq = struct.unpack_from("8I", parameters.raw, 40)
    submission = mmap.mmap(ring, sq[6] + sq_entries * 4, offset=0)
    entries = mmap.mmap(ring, sq_entries * 64, offset=0x10000000)
    buffer = ctypes.create_string_buffer(b"u" * 512)
    entries[0:64] = struct.pack("BBHiQQIIQ24x", 23, 0, 0, fd, 0, ctypes.addressof(buffer), 512, 0, 0)  # IORING_OP_WRITE
    struct.pack_into("I", submission, sq[6], 0)
    struct.pack_into("I", submission, sq[1], struct.unpack_from("I", submission, sq[1])[0] + 1)
    libc.syscall(426, ring, 1, 1, 1, None, 0)  # io_uring_enter
tell("io_uring", first() == b"u")

# The mapping keeps the file open as well.
mapping.close()
os.close(fd)
tell("close", True)

attached = subprocess.run(["losetup", "-f", "--show", path], capture_output=True, text=True)
if attached.returncode == 0:
    events()
    device = attached.stdout.strip()
    try:
        with open(device, "wb") as disk:
            disk.write(b"l" * 4096)
            disk.flush()
            os.fsync(disk.fileno())
        with open(path, "rb") as file:
            written = file.read(1) == b"l"
        tell("loop device", written)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    tell("detach", True)
