# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Disks that are overwritten for ever on a store that does not grow for ever: compaction beside
# guests, kills and a collector without grace.

import json
import os
import random
import threading
import time

import harness
import nbdclient
from harness import KIB, MARTLET, MIB, Daemon, check, equal, main, note, run, test, wait_until
from stamps import Disk, Swarm

# Looks each second and is content with little, so that a minute holds what a week does. Nothing is
# compressed: what is stored is what is held.
EAGER = {
    "MARTLET_COMPACTION_EVERY_SECS": "1", "MARTLET_COMPACTION_MIN_DEAD_MB": "2",
    "MARTLET_COMPACTION_QUIET_SECS": "4", "MARTLET_COMMIT_MAX_AGE_SECS": "1",
    "MARTLET_COMMIT_TARGET_PACK_MB": "4", "MARTLET_COMMIT_CODEC": "none"}


def counters(daemon, name):
    return daemon.call("GET", f"/api/exports/{name}/metrics")


def collect(daemon):
    done = run(MARTLET, "gc", "--store", daemon.store_url, "--grace-period", "0s", "--json",
               check_status=False)
    check(done.returncode == 0, f"gc: {done.stdout} {done.stderr}")
    return json.loads(done.stdout)


def collect_all(daemon):
    while collect(daemon)["outcome"] != "nothing":
        pass


def pack_bytes(daemon):
    return sum(os.path.getsize(os.path.join(folder, name))
               for folder, _, names in os.walk(f"{daemon.store}/packs") for name in names)


class Collector:
    """Runs `martlet gc` again and again beside everything else."""

    def __init__(self, daemon):
        self.daemon, self.deleted, self.failure = daemon, 0, None
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _live(self):
        try:
            while not self.ends.wait(0.5):
                self.deleted += collect(self.daemon)["deleted"]["packs"]
        except Exception as error:  # shown by the test's own thread
            self.failure = error

    def end(self):
        self.ends.set()
        self.thread.join()
        if self.failure:
            raise self.failure


def verify(daemon, disk):
    disk.verify(nbdclient.read_all(daemon.nbd, disk.name))


@test("written all over, killed and collected, a disk keeps every byte and takes little more than a fresh one")
def worn():
    note(f"seed {harness.SEED}")
    generator = random.Random(harness.SEED)
    daemon = Daemon(environment=EAGER).start()
    disk = Disk("worn", 48 * MIB + 512)
    daemon.create(disk.name, disk.size)
    collector = Collector(daemon)
    compacted = kills = rounds = 0
    # A slow machine gets more time, until there was something to see.
    end, late = time.monotonic() + harness.SECONDS / 3, time.monotonic() + 10 * harness.SECONDS
    while time.monotonic() < end or (
            (compacted < 3 or kills < 2 or collector.deleted == 0) and time.monotonic() < late):
        rounds += 1
        swarm = Swarm(daemon.nbd, [disk], generator, connections=2, depth=8, largest=256 * KIB)
        stop = time.monotonic() + generator.uniform(2, 6)
        is_killed = rounds % 3 == 0

        def is_cut_off():
            if is_killed and time.monotonic() >= stop:
                daemon.kill()
                return True
            return False

        before = counters(daemon, disk.name).get("compaction_commits", 0)
        swarm.run(lambda: not is_killed and time.monotonic() >= stop, is_cut_off)
        check(not swarm.errors, lambda: f"requests failed: {swarm.errors[:5]}")
        if is_killed:
            kills += 1
            daemon.start()
        else:
            compacted += counters(daemon, disk.name)["compaction_commits"] - before
        verify(daemon, disk)
    collector.end()
    check(compacted > 0, "nothing was compacted beside the guests")
    check(collector.deleted > 0, "nothing was deleted beside the guests")
    # Left alone it comes to rest.
    daemon.drain(disk.name)
    wait_until(lambda: is_at_rest(daemon, disk.name), "the end of compaction", pause=1)
    collect_all(daemon)
    worn_bytes = pack_bytes(daemon)
    verify(daemon, disk)
    daemon.cli("compact", disk.name)
    collect_all(daemon)
    fresh_bytes = pack_bytes(daemon)
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    daemon.lose_cache()
    daemon.start()
    verify(daemon, disk)
    check(worn_bytes < 1.2 * fresh_bytes + 2 * MIB,
          f"{worn_bytes} bytes in packs, {fresh_bytes} of a fresh base")
    return (f"{kills} kills, {compacted} compacting commits, {collector.deleted} packs deleted "
            f"beside; at rest {worn_bytes / fresh_bytes:.2f} of a fresh base of "
            f"{fresh_bytes / MIB:.0f} MiB")


def is_at_rest(daemon, name):
    """No look follows another: what the last one saw it has dealt with."""
    first = counters(daemon, name)
    time.sleep(3)
    second = counters(daemon, name)
    return first["compaction_looks"] == second["compaction_looks"] > 0 \
        and first["compaction_commits"] == second["compaction_commits"]


@test("what a snapshot needs stays as it is, and goes when the snapshot goes")
def pinned():
    daemon = Daemon(environment=EAGER).start()
    size = 16 * MIB
    daemon.create("disk", size)
    old = os.urandom(size)
    with nbdclient.Connection(daemon.nbd, "disk") as connection:
        write(connection, 0, old)
        sequence = daemon.cli_json("snapshot", "disk")["sequence"]
        # Three of four blocks, so that a quarter of each pack stays.
        new = bytearray(old)
        for at in range(0, size, 512 * KIB):
            new[at:at + 384 * KIB] = os.urandom(384 * KIB)
            write(connection, at, new[at:at + 384 * KIB])
        new = bytes(new)
    daemon.drain("disk")
    wait_until(lambda: counters(daemon, "disk")["compaction_looks"] > 0, "a look")
    wait_until(lambda: is_at_rest(daemon, "disk"), "the end of compaction", pause=1)
    equal(counters(daemon, "disk")["compacted_blocks"], 0, "blocks stored again in vain")
    daemon.cli("create", "fork", "--from", f"snapshot:disk@{sequence}")
    equal(nbdclient.read_all(daemon.nbd, "fork"), old, "the snapshot")
    daemon.call("DELETE", "/api/exports/fork?purge=true")
    daemon.call("DELETE", f"/api/exports/disk/snapshots/{sequence}")
    with nbdclient.Connection(daemon.nbd, "disk") as connection:
        # Any commit makes it look again.
        write(connection, size - 4096, new[-4096:])
    daemon.drain("disk")
    wait_until(lambda: counters(daemon, "disk")["compacted_blocks"] > 0, "compaction")
    wait_until(lambda: is_at_rest(daemon, "disk"), "the end of compaction", pause=1)
    collect_all(daemon)
    check(pack_bytes(daemon) < 1.2 * size, f"{pack_bytes(daemon)} bytes in packs")
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    equal(nbdclient.read_all(daemon.nbd, "disk"), new, "the disk")


def write(connection, offset, data):
    for at in range(0, len(data), MIB):
        piece = bytes(data[at:at + MIB])
        error, _ = connection.call(nbdclient.WRITE, offset + at, len(piece), payload=piece)
        equal(error, 0, "a write")


@test("a fork that was compacted needs nothing of its source")
def cut_loose():
    daemon = Daemon(environment={"MARTLET_COMPACTION_AUTOMATIC": "false"}).start()
    size = 8 * MIB + 512
    daemon.create("source", size)
    content = os.urandom(size)
    with nbdclient.Connection(daemon.nbd, "source") as connection:
        write(connection, 0, content)
    daemon.drain("source")
    daemon.cli("create", "fork", "--from", "export:source")
    with nbdclient.Connection(daemon.nbd, "fork") as connection:
        write(connection, 4096, b"x" * 4096)
        content = content[:4096] + b"x" * 4096 + content[8192:]
    done = daemon.cli_json("compact", "fork")
    equal(done["state"], "done", "the state of the request")
    daemon.call("DELETE", "/api/exports/source?purge=true")
    collect_all(daemon)
    check(pack_bytes(daemon) < 1.1 * size, f"{pack_bytes(daemon)} bytes in packs")
    run(MARTLET, "verify", "--store", daemon.store_url)
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    equal(nbdclient.read_all(daemon.nbd, "fork"), content, "the fork")
    refused = daemon.cli("compact", "nobody", check_status=False)
    check(refused.returncode != 0 and "nobody" in refused.stderr, f"{refused.stderr}")


if __name__ == "__main__":
    main()
