# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The disk below the cache is smaller than its budget says, or somebody else fills it. Guests wait
# and lose nothing, the status says which disk is full, and what the store takes makes room.

import errno
import os
import random
import threading

import nbdclient
from harness import (
    KIB, MIB, Daemon, check, contains, equal, main, require, run, test, wait_until)
from mounts import mounted

SIZE = 512 * MIB
SETTINGS = {"MARTLET_CACHE_DISK_SIZE_GB": "1", "MARTLET_COMMIT_MAX_JOURNAL_MB": "900",
            "MARTLET_COMMIT_MAX_AGE_SECS": "3600"}


class SmallDisk:
    """A file system of 160 MiB of its own, with the daemon's cache in it."""

    def __init__(self, daemon):
        self.daemon = daemon
        require("mkfs.ext4", "mount", "umount", "losetup")
        self.image = f"{daemon.directory}/small.img"
        self.place = daemon.cache
        with open(self.image, "wb") as file:
            file.truncate(160 * MIB)
        run("mkfs.ext4", "-q", "-m", "0", self.image)

    def __enter__(self):
        self.mount = mounted(self.image, self.place, "-o", "loop")
        self.mount.__enter__()
        return self

    def __exit__(self, *error):
        self.daemon.kill()
        return self.mount.__exit__(*error)

    def fill(self):
        """Somebody else's file, to the last byte."""
        file = os.open(f"{self.place}/somebody-elses", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for size in (MIB, 4 * KIB):
                try:
                    while True:
                        os.write(file, bytes(size))
                except OSError as error:
                    equal(error.errno, errno.ENOSPC, "the end of the disk")
        finally:
            os.close(file)

    def clean(self):
        os.unlink(f"{self.place}/somebody-elses")


class Writer(threading.Thread):
    """Writes the whole disk once, in order; where it has come to."""

    def __init__(self, daemon, content):
        super().__init__(daemon=True)
        self.target, self.content, self.at, self.error = daemon, content, 0, None
        self.start()

    def run(self):
        try:
            with nbdclient.Connection(self.target.nbd, "disk", timeout=600) as connection:
                while self.at < len(self.content):
                    connection.write(self.at, self.content[self.at:self.at + 256 * KIB])
                    self.at += 256 * KIB
                connection.flush()
        except Exception as error:  # noqa: B902: the test looks at it
            self.error = error


def content(count):
    generator = random.Random(7)
    return b"".join(generator.randbytes(MIB) for _ in range(count // MIB))


@test("a disk smaller than the budget: writers wait, commits make room, nothing fails or is lost")
def smaller_than_budget():
    daemon = Daemon(environment=SETTINGS)
    with SmallDisk(daemon):
        daemon.start()
        daemon.create("disk", SIZE)
        written = content(SIZE)
        writer = Writer(daemon, written)
        wait_until(lambda: not writer.is_alive(), "the whole disk is written", 300, 0.2)
        equal(writer.error, None, "what the guest saw")
        daemon.drain("disk")
        check(nbdclient.read_all(daemon.nbd, "disk") == written, "content")
    return f"{SIZE // MIB} MiB through a disk of 160 MiB"


@test("a disk that others fill: the status names it, writers wait, and go on when there is room")
def filled_by_others():
    daemon = Daemon(environment=SETTINGS)
    with SmallDisk(daemon) as disk:
        daemon.start()
        daemon.create("disk", SIZE)
        written = content(128 * MIB)
        with nbdclient.Connection(daemon.nbd, "disk") as connection:
            connection.write(0, written[:8 * MIB])
        disk.fill()
        writer = Writer(daemon, written)

        def says_so():
            status = daemon.status("disk")
            text = f"{status.get('stalled')} {status.get('last_error')}"
            return "No space left" in text and text
        said = wait_until(says_so, "the status tells of a full disk", 60, 0.1)
        contains(said, daemon.cache, "the place that is full")
        equal(writer.error, None, "what the guest saw")
        reply = wait_until(lambda: (lambda r: r.status == 503 and r)(
            daemon.http("GET", "/health/ready")), "/health/ready says no")
        contains(str(reply.json), daemon.cache, "the place that is full")
        # Killed and started on the full disk: it cannot be opened, which needs a segment; it says
        # why, and once there is room what was answered is there.
        answered = writer.at
        daemon.kill()
        writer.join(60)
        daemon.start()
        try:
            nbdclient.read_all(daemon.nbd, "disk")
            check(False, "a volume was opened without room for its journal")
        except nbdclient.Refused as refusal:
            contains(str(refusal), "No space left", "the refusal")
            contains(str(refusal), "make room", "what to do")
        disk.clean()
        found = nbdclient.read_all(daemon.nbd, "disk")
        check(found[:answered] == written[:answered], "an answered write is missing")
        writer = Writer(daemon, written)
        wait_until(lambda: not writer.is_alive(), "the rest is written", 300, 0.2)
        equal(writer.error, None, "what the guest saw")
        daemon.drain("disk")
        check(nbdclient.read_all(daemon.nbd, "disk")[:len(written)] == written, "content")
    return said.strip()


if __name__ == "__main__":
    main()
