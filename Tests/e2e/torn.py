# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Kills that provably fall inside a pwritev of the journal: before the kernel took a byte of it, in
# its middle, and when it had taken all but no reply was sent. Each test looks at the file to see
# that the kill fell where it should, and only then starts the daemon again. The middle is made with
# RLIMIT_FSIZE: the kernel takes the bytes before the limit, and strace kills at the call for the
# rest.

import glob
import os
import random
import re
import resource
import signal
import struct
import time

import harness
import nbdclient
from harness import Daemon, KIB, MIB, check, equal, main, test, wait_until
from nbdclient import WRITE, Connection
from tracing import Tracer

PAGE = 4 * KIB
# Free segments that a daemon keeps. It makes missing ones by pwritev, too, once a second.
STOCK = 4
# No commit of its own, so that the journal's calls are the only ones.
QUIET = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_COMMIT_MAX_JOURNAL_MB": "4096"}


class Tail:
    """The end of the newest segment of a daemon's one volume."""

    def __init__(self, daemon):
        ends = [end for path in glob.glob(f"{daemon.cache}/volumes/*/journal/*.seg")
                for end in [self._end(path)] if end]
        check(ends, "the volume has no segment")
        self.generation, self.batch, self.offset, self.path = max(ends)

    @staticmethod
    def _end(path):
        """(generation, next batch, its offset, path), along the chain; None if never used."""
        with open(path, "rb") as file:
            page = file.read(PAGE)
            if page[8:16] != b"MARTLSEG":
                return None
            generation, batch, chain = (
                struct.unpack_from("<Q", page, at)[0] for at in (40, 56, 64))
            at = PAGE
            while True:
                file.seek(at)
                page = file.read(PAGE)
                link = struct.unpack_from("<QQQ", page, 24)[::2]
                if page[8:16] != b"MARTLBAT" or link != (batch, chain):
                    return generation, batch, at, path
                chain = struct.unpack_from("<Q", page)[0]
                at += PAGE + struct.unpack_from("<I", page, 20)[0] * PAGE
                batch += 1

    def bytes(self, count):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(count)


class Rig:
    """A daemon with one disk, and what was acknowledged."""

    def __init__(self, name):
        self.random = random.Random(f"{harness.SEED}-{name}")
        self.daemon = Daemon(environment=QUIET).start()
        self.daemon.create("disk", 32 * MIB)
        self.content = bytearray(32 * MIB)
        self.connection = Connection(self.daemon.nbd, "disk")
        self.write(0, self.random.randbytes(64 * KIB))

    def write(self, at, data):
        self.connection.write(at, data)
        self.content[at:at + len(data)] = data

    def prepare(self):
        """A few writes, some flushed; then nothing writes but what the test sends."""
        for _ in range(self.random.randint(1, 4)):
            count = self.random.randint(1, 8) * PAGE
            self.write(self.random.randrange(1000) * PAGE, self.random.randbytes(count))
            if self.random.random() < 0.3:
                self.connection.flush()
        state = {"files": None, "since": 0}

        def is_quiet():
            files = sorted((entry.name, entry.stat().st_size)
                           for entry in os.scandir(f"{self.daemon.cache}/segments"))
            if files != state["files"]:
                state.update(files=files, since=time.monotonic())
            free = sum(name.endswith(".free") for name, _ in files)
            return free >= STOCK and time.monotonic() - state["since"] > 0.3
        wait_until(is_quiet, "the pool has its segments", pause=0.05)
        return Tail(self.daemon)

    def send(self, at, data):
        self.connection.submit(WRITE, 1, at, payload=data)

    def expect_no_reply(self):
        try:
            reply = self.connection.simple_reply()
        except (EOFError, ConnectionError):
            return
        raise harness.Failure(f"the write was answered with {reply}")

    def expect_death(self, number):
        self.expect_no_reply()
        equal(self.daemon.wait_end(), -number, "how the daemon ended")

    def restart(self):
        self.connection.close()
        self.daemon.start()
        found = nbdclient.read_all(self.daemon.nbd, "disk")
        at = next((at for at in range(0, len(found), PAGE)
                   if found[at:at + PAGE] != self.content[at:at + PAGE]), None)
        check(at is None, lambda: f"the grain at {at} is not as acknowledged")
        self.connection = Connection(self.daemon.nbd, "disk")

    def tear(self, size, cut):
        """Lets the kernel take `cut` bytes of what a write of `size` bytes appends.

        Another thread's file may meet the limit, or the injection, first: then once more.
        """
        for _ in range(10):
            tail = self._tear(size, cut)
            if tail:
                return tail
            self.restart()
        raise harness.Failure("no kill fell into the journal's pwritev")

    def _tear(self, size, cut):
        tail = self.prepare()
        room = cut + size + MIB
        check(tail.offset + room < 16 * MIB, "the segment is full")
        before = tail.bytes(room)
        data = self.random.randbytes(size)
        # If what is cut off lay there already, the append would be whole.
        while PAGE < cut < PAGE + size and data[cut - PAGE:] == before[cut:PAGE + size]:
            data = self.random.randbytes(size)
        whole, part = divmod(cut, MIB + PAGE)
        tracer = Tracer(self.daemon, "-e", "trace=pwritev", "-e",
                        f"inject=pwritev:signal=KILL:when={whole + 2}")
        limit = tail.offset + cut
        resource.prlimit(self.daemon.pid, resource.RLIMIT_FSIZE, (limit, limit))
        self.send(8 * MIB, data)
        self.expect_death(signal.SIGKILL)
        tracer.process.wait()
        with open(tracer.path) as file:
            # In a container strace may tell the path as the host sees it.
            calls = [line for line in file if f"{tail.path}>" in line]
        if len(calls) < 2 or not re.search(rf" = {part}$", calls[-2].rstrip()):
            return None
        after = tail.bytes(room)
        check(after[cut:] == before[cut:], "the kernel took more than it was to")
        if cut >= 32:
            equal((after[8:16], struct.unpack_from("<Q", after, 24)[0]),
                  (b"MARTLBAT", tail.batch), "what the kernel took")
        equal(after[PAGE:cut][:MIB], data[:max(0, cut - PAGE)][:MIB], "the payload that it took")
        return tail


@test("an append that the kernel cut off at any byte was never there")
def torn():
    rig = Rig("torn")
    size = 256 * KIB
    cuts = [1, 512, PAGE - 1, PAGE, PAGE + 1, PAGE + 100 * KIB, PAGE + size - 512, PAGE + size - 1]
    cuts += [rig.random.randint(1, PAGE + size - 1) for _ in range(8)]
    for cut in cuts:
        rig.tear(size, cut)
        rig.restart()
    return f"{len(cuts)} appends of {PAGE + size} bytes cut off after {min(cuts)} to {max(cuts)}"


@test("a request of several batches that was cut off in a later one was never there")
def torn_unit():
    rig = Rig("unit")
    for whole, part in ((1, 1000), (2, 512), (2, 512 * KIB + 7), (3, MIB)):
        tail = rig.tear(4 * MIB, whole * (MIB + PAGE) + part)
        # The torn one's header has its first words at least.
        equal(Tail(rig.daemon).batch - tail.batch, whole + 1, "batches of it in the file")
        rig.restart()
    return "torn in the second to fourth batch"


@test("a kill as a pwritev begins leaves the file as it was")
def entry():
    rig = Rig("entry")
    for _ in range(3):
        tail = rig.prepare()
        before = tail.bytes(MIB)
        tracer = Tracer(
            rig.daemon, "-e", "trace=pwritev", "-e", "inject=pwritev:signal=KILL:when=1")
        rig.send(8 * MIB, rig.random.randbytes(64 * KIB))
        rig.expect_death(signal.SIGKILL)
        tracer.process.wait()
        with open(tracer.path) as file:
            calls = [line for line in file if "pwritev(" in line]
        check(calls and tail.path in calls[-1], lambda: f"not at the journal's pwritev: {calls}")
        check(tail.bytes(MIB) == before, "the call was made")
        rig.restart()
    return "3 kills"


@test("an append that was whole when the kill came is there, whether it was answered or not")
def leaving():
    rig = Rig("exit")
    for _ in range(3):
        tail = rig.prepare()
        tracer = Tracer(rig.daemon, "-e", "trace=pwritev",
                        "-e", "inject=pwritev:delay_exit=30000000:when=1")
        data = rig.random.randbytes(64 * KIB)
        rig.send(8 * MIB, data)
        wait_until(lambda: Tail(rig.daemon).batch == tail.batch + 1, "the append is in the file")
        rig.daemon.signal(signal.SIGKILL)
        # It would hold what is dead until the delay is over.
        tracer.process.kill()
        rig.daemon.kill()
        rig.expect_no_reply()
        tracer.process.wait()
        rig.content[8 * MIB:8 * MIB + len(data)] = data
        rig.restart()
    return "3 kills"


if __name__ == "__main__":
    main()
