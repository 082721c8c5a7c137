# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A host whose power goes: a disk that loses what is not synced, a daemon with its cache directory on it,
# a volume with a file system under writers, and a raw one beside it. `PowerWorld.cut_once` is one life of
# that host, from its boot and the look at what is there to the next cut. The one thing to know: each life
# has another boot id, as after any loss of power; with the old one the daemon would trust its page cache.

import contextlib
import os
import random
import shutil
import time
import uuid

import harness
import nbdclient
from harness import KIB, MIB, Daemon, Failure, Skip, check, equal, note, run, wait_until
from mounts import block_device
from nbdclient import FLUSH, FUA
from powerload import MODES, Files, Noise, Rows
from stamps import SECTOR, Disk, Swarm, describe

# The smallest that all three file systems make, and then some.
SIZE = 400 * MIB
RAW_SIZE = 4 * MIB + 3 * SECTOR
# Segments come, go and are used again within seconds.
BUSY = {
    "MARTLET_COMMIT_MAX_JOURNAL_MB": "12", "MARTLET_COMMIT_MAX_AGE_SECS": "1",
    "MARTLET_COMMIT_TARGET_PACK_MB": "2"}

# How each is made, and looked at when it was mounted and its log replayed. It is not mounted then:
# without --force btrfs asks all loop devices of the machine, also those that others pull away.
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], ["e2fsck", "-fn"]),
    "xfs": (["mkfs.xfs", "-q", "-f"], ["xfs_repair", "-n"]),
    "btrfs": (["mkfs.btrfs", "-q", "-f"], ["btrfs", "check", "--readonly", "--force"]),
}


class FlushedDisk(Disk):
    """A raw export as its client knows it: what is durable, and what a sector may hold instead."""

    def __init__(self, name, size):
        super().__init__(name, size)
        self.durable = bytearray(size)
        self.loose = []  # answered, and not known to be durable; in the order of the answers
        self.covered = {}
        self.checked = 0

    def begin(self, op):
        super().begin(op)
        if op.kind == FLUSH:
            # For all that was answered before it was sent.
            self.covered[op.number] = {write.number for write in self.loose}

    def end(self, op):
        super().end(op)
        if op.kind != FLUSH:
            self.loose.append(op)
            return
        durable = self.covered.pop(op.number)
        for write in self.loose:
            if write.number in durable:
                at = write.first * SECTOR
                self.durable[at:at + write.count * SECTOR] = write.content
        self.loose = [write for write in self.loose if write.number not in durable]

    def _choices(self):
        """Sector -> the contents that it may have, where more than the durable one."""
        choices = {}
        for op in [*self.loose, *self.in_flight.values()]:
            if op.kind == FLUSH:
                continue
            content = op.content
            for index in range(op.count):
                at = (op.first + index) * SECTOR
                new = content[index * SECTOR:(index + 1) * SECTOR]
                if op.acknowledged and op.flags & FUA:
                    choices[at] = {new}
                else:
                    choices.setdefault(at, {bytes(self.durable[at:at + SECTOR])}).add(new)
        return choices

    def verify(self, found):
        """What was flushed is there; any other sector is as one of the writes since made it."""
        equal(len(found), self.size, f"bytes of {self.name}")
        expected = bytearray(self.durable)
        for at, choices in self._choices().items():
            there = found[at:at + SECTOR]
            check(there in choices, lambda at=at: (
                f"{self.name}: sector {at // SECTOR} holds {describe(found, at)}, which is neither "
                f"durable nor written since: {describe(self.durable, at)}"))
            expected[at:at + SECTOR] = there
        if found != expected:
            at = next(at for at in range(0, self.size, SECTOR)
                      if found[at:at + SECTOR] != expected[at:at + SECTOR])
            raise Failure(f"{self.name}: sector {at // SECTOR} holds {describe(found, at)}, and "
                          f"flushed was {describe(self.durable, at)}")
        self._keep(found)

    def verify_after_kill(self, found):
        """All that was answered is there, flushed or not."""
        super().verify(found)
        self._keep(found)

    def _keep(self, found):
        """What was read once stays, whatever comes."""
        self.durable[:] = self.content[:] = found
        self.loose, self.covered = [], {}
        self.in_flight.clear()
        self.checked += self.size // SECTOR


class PowerWorld:
    """One host and its volumes, from the first boot to the last."""

    def __init__(self, disk, seed, kind=None, has_store=False, settings=None):
        note(f"seed {seed}: {kind or 'raw'}, the store {'also on that disk' if has_store else 'elsewhere'}")
        self.random = random.Random(seed)
        self.disk, self.kind = disk, kind
        self.daemon = Daemon(
            name=f"{os.path.basename(disk.path)}-d", cache=f"{disk.path}/cache",
            store=f"{disk.path}/store" if has_store else None, environment=settings or BUSY)
        self.mount_point = f"{os.getcwd()}/{os.path.basename(disk.path)}-mnt"
        self.raw = FlushedDisk("raw", RAW_SIZE)
        self.judges = [Files(seed), *(Rows(mode) for mode in MODES), Noise(seed)] if kind else []
        self.cuts, self.recovery_cuts, self.kills = [], [], 0
        self._start_daemon()
        self.daemon.create("raw", self.raw.size)
        if kind:
            self._make_file_system()

    def _start_daemon(self, wait=True):
        self.daemon.boot_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        self.daemon.start(wait=wait)

    def _make_file_system(self):
        self.daemon.create("disk", SIZE)
        with block_device(self.daemon, "disk") as device:
            run(*FILE_SYSTEMS[self.kind][0], device)
            with self._mounted(device, Skip) as directory:
                for judge in self.judges:
                    judge.judge(directory)

    # MARK: A life

    def cut_once(self):
        """Looks at what the last cut left, writes, and cuts."""
        if self.disk.process is None:
            self._boot()
        self._verify_raw()
        if self.random.random() < 0.3:
            self._kill_daemon()
        if not self.kind:
            counts = self._load()
        else:
            with block_device(self.daemon, "disk") as device:
                self._examine(device)
                with self._mounted(device, Failure) as directory:
                    counts = self._load_file_system(directory)
        self._power_off()
        self.cuts.append(counts)

    def lie(self):
        """From now to the next cut the disk answers syncs and does nothing."""
        if self.disk.process is None:
            self._boot()
        self.disk.lie()

    def _boot(self):
        """In one of four boots the power goes again while the daemon recovers."""
        while True:
            self.disk.start()
            cuts_again = self.random.random() < 0.25
            self._start_daemon(wait=False)
            counts = {}
            if cuts_again:
                kind = self.random.choice(("any", "sync"))
                self._ask_cut(kind, self.random.randrange(150), millis=1000)
                counts = self.disk.cut_counts(harness.PATIENCE)
            if not counts:
                break
            self.recovery_cuts.append(counts)
            self._power_off()
        self.daemon.wait_ready()
        with open(f"{self.daemon.cache}/segments/boot") as file:
            equal(file.read(), self.daemon.boot_id.replace("-", ""), "the boot that it believes to live in")

    def _kill_daemon(self):
        """The daemon alone dies under load and starts in the same boot. What it then serves is durable,
        though no flush said so."""
        swarm = self._swarm()
        end = time.monotonic() + self.random.uniform(0.05, 0.5)

        def is_cut_off():
            if time.monotonic() >= end:
                self.daemon.kill()
            return self.daemon.process is None

        swarm.run(lambda: False, is_cut_off)
        self.daemon.start()
        self.raw.verify_after_kill(nbdclient.read_all(self.daemon.nbd, "raw"))
        self.kills += 1

    def _swarm(self):
        return Swarm(self.daemon.nbd, [self.raw], self.random, connections=2, depth=8,
                     largest=128 * KIB, fua_share=0.05)

    def _power_off(self):
        """The daemon was killed by the cut; the disk is taken away from under it."""
        self.daemon.kill()
        self.disk.stop()
        if harness.KEEP:
            shutil.rmtree(f"{self.disk.backing}.kept", ignore_errors=True)
            run("cp", "-a", self.disk.backing, f"{self.disk.backing}.kept")

    def _ask_cut(self, kind, wait, millis=3000):
        self.disk.ask_cut(self.random.getrandbits(63), kind, wait, self.daemon.pid, millis)

    def _load(self):
        """Writes on the raw volume until the power is gone; what the cut found."""
        # Half of them with a flush outstanding, whatever else.
        kind = "sync" if len(self.cuts) % 2 == 0 else "any"
        swarm = self._swarm()
        begin = time.monotonic() + self.random.uniform(0.05, 1.5)
        found = {}

        def is_cut_off():
            # Leave the machine to the others.
            time.sleep(0.003)
            if self.disk.is_asked:
                found.update(self.disk.cut_counts() or {})
            elif not found and time.monotonic() >= begin:
                self._ask_cut(kind, self.random.randrange(100))
            return bool(found)

        swarm.run(lambda: False, is_cut_off)
        if not found:
            found.update(self.disk.cut_counts(harness.PATIENCE) or {})
        check(found, "the daemon ended before the power did")
        check(not swarm.errors, lambda: f"requests failed: {swarm.errors[:5]}")
        return found

    def _load_file_system(self, directory):
        writers = [judge.writer(directory) for judge in self.judges]
        # Most cuts fall when all of them are at work.
        if self.random.random() < 0.8:
            for writer in writers[:-1]:
                writer.wait_for_lines(1)
        counts = self._load()
        for judge, writer in zip(self.judges, writers):
            judge.take(writer.end())
        return counts

    # MARK: What is there

    def _verify_raw(self):
        self.raw.verify(nbdclient.read_all(self.daemon.nbd, "raw"))
        for name in ("raw", "disk") if self.kind else ("raw",):
            status = self.daemon.status(name)
            check("unclean_takeover" not in status, lambda: f"{name} says that it lost: {status}")

    def _examine(self, device):
        with self._mounted(device, Failure) as directory:
            for judge in self.judges:
                judge.judge(directory)
        words = FILE_SYSTEMS[self.kind][1]
        done = run(*words, device, check_status=False)
        equal(done.returncode, 0, f"{words[0]}: {done.stdout[-1500:]} {done.stderr[-1500:]}")

    @contextlib.contextmanager
    def _mounted(self, device, failure):
        os.makedirs(self.mount_point, exist_ok=True)
        # What files give up is trimmed, and must not be what a log still needs.
        done = run("mount", "-t", self.kind, "-o", "discard", device, self.mount_point,
                   check_status=False)
        if done.returncode != 0:
            raise failure(f"cannot mount {self.kind}: {done.stderr.strip()}")
        try:
            yield self.mount_point
        finally:
            # Writers that were killed may hold it for a moment.
            wait_until(lambda: run("umount", self.mount_point, check_status=False).returncode == 0,
                       "the file system is let go")

    def finish(self):
        """After the last cut: what is there, and once more from the store alone."""
        self.look_again()
        for name in ("raw", "disk") if self.kind else ("raw",):
            self.daemon.drain(name)
        equal(self.daemon.terminate(), 0, "exit status of SIGTERM")
        self.daemon.lose_cache()
        self._start_daemon()
        self._look()
        self.daemon.kill()
        self.disk.stop()

    def look_again(self):
        """What the last cut left."""
        self._boot()
        self._look()

    def _look(self):
        self._verify_raw()
        if self.kind:
            with block_device(self.daemon, "disk") as device:
                self._examine(device)
