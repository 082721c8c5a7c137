# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Reads the counters that alloc_count.so keeps of a running process, by name of thread. Use it as a
# module, or from a shell:  alloc_count.py FILE.PID [--trace N]

import glob
import mmap
import struct
import sys

MAGIC = 0x31544E554F434C41
SLOTS = 1020


def read(path):
    """Per slot with a thread: (thread id, allocations, frees, bytes)."""
    with open(path, "rb") as file:
        data = file.read()
    magic, used = struct.unpack_from("<QQ", data)
    if magic != MAGIC:
        raise ValueError(f"{path} holds no allocation counters")
    return [struct.unpack_from("<4Q", data, 32 + 32 * index) for index in range(min(used, SLOTS))]


def names(pid):
    """Thread id -> name, of the threads that still run."""
    found = {}
    for path in glob.glob(f"/proc/{pid}/task/*/comm"):
        with open(path, encoding="utf-8") as file:
            found[int(path.split("/")[-2])] = file.read().strip()
    return found


def trace(path, count):
    """The next `count` allocations print their callers on the process's standard error."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        struct.pack_into("<Q", memory, 16, count)


class Difference:
    """What was allocated by thread name between two readings of one process."""

    def __init__(self, path, pid):
        self.path = path
        self.pid = pid
        self.before = read(path)

    def by_name(self):
        """Name -> (allocations, bytes) since the start; ended threads are under "?"."""
        running = names(self.pid)
        total = {}
        for index, (thread, allocations, _, bytes_) in enumerate(read(self.path)):
            if index < len(self.before):
                allocations -= self.before[index][1]
                bytes_ -= self.before[index][3]
            name = running.get(thread, "?")
            old = total.get(name, (0, 0))
            total[name] = (old[0] + allocations, old[1] + bytes_)
        return total


if __name__ == "__main__":
    if "--trace" in sys.argv:
        trace(sys.argv[1], int(sys.argv[sys.argv.index("--trace") + 1]))
    for thread, allocations, frees, bytes_ in read(sys.argv[1]):
        print(f"thread {thread}: {allocations} allocations, {frees} frees, {bytes_} bytes")
