# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# kill -9 under load, again and again, the cache kept: every acknowledged write is there, and one in
# flight is there whole or not at all. Two of five rounds kill at a named place between two steps,
# some of those during the recovery of the kill before; the others kill at a random moment.

import os
import random
import subprocess
import time
from collections import Counter

import harness
import nbdclient
from harness import Daemon, KIB, MIB, check, main, note, test
from stamps import Disk, Swarm

KILLS = int(os.environ.get("E2E_KILLS", "0"))

# Small enough that commits, new segments and their reuse happen all the time.
BUSY = {
    "MARTLET_COMMIT_MAX_JOURNAL_MB": "4", "MARTLET_COMMIT_MAX_AGE_SECS": "1",
    "MARTLET_COMMIT_TARGET_PACK_MB": "1"}

# Place -> which pass of it, at most.
PLACES = {
    "journal.before-append": 60, "journal.after-append": 60, "commit.after-cut": 3,
    "commit.after-pack": 4, "commit.before-pending": 3, "commit.after-pending": 3,
    "commit.after-put": 3, "commit.after-promote": 3, "segments.before-recycle": 2,
}
RECOVERIES = ["recovery.before-seal", "recovery.after-seal"]


class Killer:
    """One daemon, its disks, and the rounds of load, kill and verification."""

    def __init__(self, disks, connections, depth, largest, seed):
        self.random = random.Random(seed)
        self.daemon = Daemon(environment=BUSY)
        self.disks, self.connections = disks, connections
        self.depth, self.largest = depth, largest
        self.kills, self.landed, self.cut_off, self.least = Counter(), 0, 0, None
        self.missed, self.turn = Counter(), -1
        self.daemon.start()
        for disk in disks:
            self.daemon.create(disk.name, disk.size)
        self.daemon.kill()

    def round(self, number):
        """Start, verify what the last kill left, load, kill."""
        how, place = self._plan(number)
        if how == "recovery":
            self._kill_recovery(place)
            place = None
        armed = None
        if place:
            count = self.random.randint(1, PLACES[place])
            armed = {"MARTLET_FAILPOINT": f"{place}@{count}=kill"}
        if place is None:
            self.daemon.start()
            self.verify()
        else:
            # A place may be passed while the volumes attach: then the next round verifies.
            self.daemon.start(armed, wait=False)
            if not self._survives_start():
                self._died(place)
                return
        self._load(place)

    def _plan(self, number):
        if number % 5 not in (2, 4):
            return "random", None
        if number % 10 == 4:
            return "recovery", self.random.choice(RECOVERIES)
        self.turn += 1
        return "place", list(PLACES)[self.turn % len(PLACES)]

    def _survives_start(self):
        try:
            self.daemon.wait_ready()
            self.verify()
            return True
        except (harness.Failure, EOFError, OSError):
            if not self._is_gone():
                raise
            return False

    def _is_gone(self):
        """Its sockets close a moment before it is."""
        try:
            self.daemon.process.wait(5)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _died(self, place):
        status = self.daemon.wait_end()
        check(status == -9, f"at {place} the daemon ended with {status}, expected a kill")
        self.kills[place] += 1

    def _kill_recovery(self, place):
        """Kills the recovery at a place, or after a few milliseconds."""
        if self.random.random() < 0.5:
            self.daemon.start({"MARTLET_FAILPOINT": f"{place}@1=kill"}, wait=False)
            end = time.monotonic() + 20
            while self.daemon.is_running() and time.monotonic() < end:
                # Volumes that were not open at the kill recover at their first attach.
                for disk in self.disks:
                    try:
                        nbdclient.Connection(self.daemon.nbd, disk.name).close()
                    except (OSError, EOFError, nbdclient.Refused):
                        pass
                time.sleep(0.01)
            if not self.daemon.is_running():
                self._died(place)
                return
            self.missed[place] += 1
            self.daemon.kill()
        else:
            self.daemon.start(wait=False)
            time.sleep(self.random.uniform(0, 0.2))
            self.daemon.kill()
            self.kills["while starting"] += 1

    def _load(self, place):
        try:
            swarm = Swarm(
                self.daemon.nbd, self.disks, self.random, self.connections, self.depth,
                self.largest, fua_share=0.05)
        except (EOFError, OSError):
            # What the verification left to do may have passed the place.
            if not place or not self._is_gone():
                raise
            self._died(place)
            return
        began = time.monotonic()
        # Long enough for a commit now and then; a place gets its time.
        end = began + (8 if place else self.random.uniform(0.02, 1.6))
        state = {"dead": False}

        def is_cut_off():
            if not self.daemon.is_running():
                state["dead"] = True
            elif time.monotonic() >= end and swarm.in_flight >= 16:
                self._count_flight(swarm)
                self.daemon.kill()
                state["dead"] = True
                self.kills["random" if not place else "random instead of a place"] += 1
                if place:
                    self.missed[place] += 1
            return state["dead"]

        swarm.run(lambda: False, is_cut_off)
        check(not swarm.errors, lambda: f"requests failed: {swarm.errors[:5]}")
        if self.daemon.process is not None:
            check(place is not None, "the daemon died by itself")
            self._died(place)

    def _count_flight(self, swarm):
        count = swarm.in_flight
        self.cut_off += count
        self.least = count if self.least is None else min(self.least, count)

    def verify(self):
        for disk in self.disks:
            self.landed += disk.verify(nbdclient.read_all(self.daemon.nbd, disk.name))

    def finish(self):
        """A last restart, then everything is drained and read on an empty cache."""
        self.daemon.start()
        self.verify()
        for disk in self.disks:
            self.daemon.drain(disk.name)
        check(self.daemon.terminate() == 0, "SIGTERM did not end in 0")
        self.daemon.lose_cache()
        self.daemon.start()
        self.verify()
        self.daemon.kill()

    def report(self):
        total = sum(self.kills.values())
        writes = sum(disk.writes for disk in self.disks)
        flushes = sum(disk.flushes for disk in self.disks)
        for how, count in sorted(self.kills.items()):
            missed = f", {self.missed[how]} more not reached" if self.missed[how] else ""
            note(f"{count} kills: {how}{missed}")
        return (
            f"{total} kills, {self.least} or more requests in flight at the random ones, "
            f"{writes} writes and {flushes} flushes answered, "
            f"{self.landed} unanswered writes there whole")


def kill_often(disks, connections, depth, largest, share, seed):
    note(f"seed {seed}")
    killer = Killer(disks, connections, depth, largest, seed)
    number, end = 0, time.monotonic() + harness.SECONDS * share
    wanted = int(KILLS * share)
    while (sum(killer.kills.values()) < wanted) if wanted else (time.monotonic() < end):
        number += 1
        killer.round(number)
    killer.finish()
    return killer.report()


@test("no kill loses an acknowledged write of one volume on two connections")
def one_volume():
    return kill_often(
        [Disk("kill", 64 * MIB + 3 * 512)], connections=2, depth=16, largest=4 * MIB, share=0.7,
        seed=harness.SEED)


@test("no kill loses an acknowledged write of 8 volumes with 4 connections each on 2 shards")
def eight_volumes():
    return kill_often(
        [Disk(f"kill{n}", 6 * MIB + n * 512) for n in range(8)], connections=4, depth=4,
        largest=512 * KIB, share=0.3, seed=harness.SEED + 1)


if __name__ == "__main__":
    main()
