# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The host is lost without any drain: what another opens from the store is the history of answered
# requests, cut at one index, and the volume says that its writer never closed it. Killing the
# daemon and deleting its cache is that loss.

import random
import time

import harness
import nbdclient
from harness import Daemon, KIB, MIB, check, equal, main, note, test
from stamps import Disk, Op, Swarm

AGE = 2
# With a small journal its size makes the commits, with a large one their age.
SMALL, LARGE = (
    {"MARTLET_COMMIT_MAX_AGE_SECS": str(AGE), "MARTLET_COMMIT_MAX_JOURNAL_MB": size,
     "MARTLET_COMMIT_TARGET_PACK_MB": "4"} for size in ("16", "4096"))


class Losses:
    def __init__(self, disks, connections, depth, seed, settings):
        note(f"seed {seed}")
        self.random = random.Random(seed)
        self.daemon = Daemon(environment=settings).start()
        self.disks, self.connections, self.depth = disks, connections, depth
        self.oldest = 0.0
        self.lost = self.answered = self.losses = 0
        for disk in disks:
            disk.keeps_order = connections == 1
            self.daemon.create(disk.name, disk.size)

    def lose_once(self):
        """Writes for a while, kills, deletes the cache, opens anew and finds the cut."""
        answered = {disk.name: [] for disk in self.disks}
        swarm = Swarm(
            self.daemon.nbd, self.disks, self.random, self.connections, self.depth, 256 * KIB)
        end = time.monotonic() + self.random.uniform(0.1, 3 * AGE)

        def is_cut_off():
            now = time.monotonic()
            for disk in self.disks:
                moments = answered[disk.name]
                moments += [now] * (len(disk.acknowledged) - len(moments))
            if now >= end:
                self.daemon.kill()
            return now >= end

        swarm.run(lambda: False, is_cut_off)
        killed = time.monotonic()
        check(not swarm.errors, lambda: f"requests failed: {swarm.errors[:5]}")
        self.daemon.lose_cache()
        self.daemon.start()
        for disk in self.disks:
            self._examine(disk, answered[disk.name], killed)
        self.losses += 1

    def _examine(self, disk, moments, killed):
        found = nbdclient.read_all(self.daemon.nbd, disk.name)
        cut = disk.find_cut(found)
        total = len(disk.acknowledged)
        age = killed - moments[cut] if cut < len(moments) else 0.0
        self.oldest = max(self.oldest, age)
        self.lost += total - cut
        self.answered += total
        status = self.daemon.status(disk.name)
        takeover = status.get("unclean_takeover")
        check(takeover, f"status shows no unclean_takeover: {status}")
        equal(takeover["epoch"], status["epoch"], "the epoch of the take-over")
        self.daemon.cli("acknowledge", disk.name)
        after = self.daemon.status(disk.name)
        check("unclean_takeover" not in after, f"still shown when acknowledged: {after}")
        note(f"{disk.name}: {cut} of {total} answered requests are there; "
             f"the oldest lost one was {age:.1f} s old")
        # The next round starts from what is there.
        disk.content[:] = found
        disk.acknowledged.clear()
        disk.in_flight.clear()
        self._settle(disk)

    def _settle(self, disk):
        """Zeroes the disk, so that each round's history explains all of its content."""
        with nbdclient.Connection(self.daemon.nbd, disk.name) as connection:
            error, _ = connection.call(nbdclient.WRITE_ZEROES, 0, disk.size)
            equal(error, 0, "zeroing")
        disk.content[:] = bytes(disk.size)
        self.daemon.drain(disk.name)

    def report(self):
        # A commit starts at max_age_secs and takes its time; the next starts when it has ended.
        check(self.oldest < AGE + harness.PATIENCE / 2,
              f"a lost request was {self.oldest:.1f} s old, max_age_secs is {AGE}")
        return (
            f"{self.losses} losses, {self.answered - self.lost} of {self.answered} answered "
            f"requests kept, the oldest lost was {self.oldest:.1f} s old at max_age_secs = {AGE}")


def lose_often(disks, connections, depth, share, seed, settings):
    losses = Losses(disks, connections, depth, seed, settings)
    end = time.monotonic() + harness.SECONDS * share
    while losses.losses < 3 or time.monotonic() < end:
        losses.lose_once()
    return losses.report()


@test("after a loss of the cache the store holds the answered requests up to one index")
def one_volume():
    return lose_often(
        [Disk("lost", 24 * MIB + 512)], connections=1, depth=32, share=0.3, seed=harness.SEED,
        settings=SMALL)


@test("where only age makes commits, what is lost is hardly older than max_age_secs")
def by_age():
    return lose_often(
        [Disk("aged", 8 * MIB + 512)], connections=1, depth=16, share=0.3, seed=harness.SEED + 3,
        settings=LARGE)


@test("after a loss of the cache each of 8 volumes on 2 shards is cut at one index of its own")
def eight_volumes():
    return lose_often(
        [Disk(f"lost{n}", 2 * MIB + n * 512) for n in range(8)], connections=1, depth=8,
        share=0.2, seed=harness.SEED + 1, settings=LARGE)


@test("with 4 connections the cut never has a request without those answered before it was sent")
def four_connections():
    return ordered_connections(harness.SEED + 2)


def ordered_connections(seed):
    """Answers on several connections have no order among them; a turn-taking writer has.

    Each request goes out on the next connection when the one before it was answered, beside load
    elsewhere on the disk.
    """
    note(f"seed {seed}")
    generator = random.Random(seed)
    daemon = Daemon(environment=LARGE).start()
    size, region = 16 * MIB, 4 * MIB
    daemon.create("turns", size)
    rounds, lost_most = 0, 0
    end = time.monotonic() + harness.SECONDS * 0.2
    while rounds < 2 or time.monotonic() < end:
        disk = Disk("turns", region)
        disk.keeps_order = True
        lines = [nbdclient.Connection(daemon.nbd, "turns") for _ in range(4)]
        stop = time.monotonic() + generator.uniform(0.5, 2 * AGE)
        number = 0
        while time.monotonic() < stop:
            take_turn(disk, lines[number % 4], generator, number + 1)
            lines[(number + 1) % 4].write(
                region + generator.randrange((size - region) // 4096 - 16) * 4096,
                generator.randbytes(64 * KIB))
            number += 1
        daemon.kill()
        daemon.lose_cache()
        daemon.start()
        with nbdclient.Connection(daemon.nbd, "turns") as connection:
            found = connection.read(0, region)
            cut = disk.find_cut(found)
            lost_most = max(lost_most, len(disk.acknowledged) - cut)
            connection.call(nbdclient.WRITE_ZEROES, 0, size)
        daemon.drain("turns")
        rounds += 1
    return f"{rounds} losses, at most {lost_most} answered requests lost"


def take_turn(disk, connection, generator, number):
    count = generator.choice((1, 3, 8, 16, 64))
    first = generator.randrange(disk.size // 512 - count)
    op = Op(number, nbdclient.WRITE, first, count, 0)
    disk.begin(op)
    connection.write(first * 512, op.content)
    disk.end(op)


if __name__ == "__main__":
    main()
