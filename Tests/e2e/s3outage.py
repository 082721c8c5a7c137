# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The store is away for longer than the cache has room: refusals, then no packet that passes, while
# guests write, flush and ask for snapshots. With `pause` no error reaches them, and afterwards
# everything is published once.

import random
import threading
import time

import harness
import nbdclient
import stores
from harness import KIB, MIB, check, equal, main, note, test, wait_until
from s3world import Place
from stamps import Disk, Swarm
from wires import Wire

PAUSE = {
    "MARTLET_COMMIT_MAX_AGE_SECS": "1", "MARTLET_COMMIT_MAX_JOURNAL_MB": "16",
    "MARTLET_COMMIT_TARGET_PACK_MB": "8", "MARTLET_CACHE_DISK_SIZE_GB": "0.2",
    "MARTLET_STORAGE_CONNECT_TIMEOUT_SECS": "2", "MARTLET_STORAGE_REQUEST_TIMEOUT_SECS": "4",
    "MARTLET_POLICY_CACHE_FULL": "pause", "MARTLET_POLICY_STORE_AWAY": "pause"}


class Snapshots(threading.Thread):
    """Asks for a snapshot again and again; what it was told."""

    def __init__(self, daemon, name):
        super().__init__(daemon=True)
        self.target, self.name_of_export = daemon, name
        self.replies, self.is_over = [], False
        self.start()

    def run(self):
        while not self.is_over:
            try:
                reply = self.target.http(
                    "POST", f"/api/exports/{self.name_of_export}/snapshot", timeout=600)
                self.replies.append((reply.status, reply.json))
            except OSError as error:
                self.replies.append((0, str(error)))
            time.sleep(1)


def sit_out(seconds, disturb, restore):
    """Load while the store is disturbed in turn, then without; the disk, and what was seen."""
    place = Place(stores.shared("rgw"))
    with Wire() as wire, stores.HAProxy("haproxy", place.server, wire.address) as front:
        daemon = place.behind(front).daemon(environment=PAUSE, network=wire.network).start()
        disk = Disk("disk", 64 * MIB)
        volume = daemon.create("disk", disk.size)["volume"]
        snapshots = Snapshots(daemon, "disk")
        began = time.monotonic()
        phases = iter([(2.0, lambda: None), *((seconds, lambda d=d: d(front, wire)) for d in disturb)])
        state = {"until": 0.0, "full": 0, "over": False}

        def should_stop():
            now = time.monotonic()
            if now < state["until"] or state["over"]:
                return state["over"]
            phase = next(phases, None)
            if phase is None:
                restore(front, wire)
                state["over"] = True
            else:
                state["until"] = now + phase[0]
                phase[1]()
            return state["over"]

        generator = random.Random(harness.SEED)
        swarm = Swarm(daemon.nbd, [disk], generator, connections=2, depth=8, largest=MIB,
                      flush_share=0.05)
        watcher = Watcher(daemon)
        # Returns when every request is answered: those that waited, too.
        swarm.run(should_stop)
        took = time.monotonic() - began
        watcher.is_over = snapshots.is_over = True
        snapshots.join(harness.PATIENCE)
        equal(swarm.errors, [], "errors that reached the guest")
        check(daemon.is_running(), "the daemon ended")
        reply = wait_until(lambda: (lambda r: r.status == 200 and r)(
            daemon.http("POST", "/api/exports/disk/drain")), "a drain when the store is back")
        disk.verify(nbdclient.read_all(daemon.nbd, "disk"))
        daemon.kill()
        daemon.lose_cache()
        daemon.start()
        disk.verify(nbdclient.read_all(daemon.nbd, "disk"))
        refused = [entry for entry in front.requests() if entry.status in (503, -1, 0)]
    head = place.expect_chain(volume)
    orphans = place.orphans(volume)
    return disk, snapshots, watcher, took, head, orphans, refused, reply


class Watcher(threading.Thread):
    """What /health/ready and the status said meanwhile."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.target, self.is_over = daemon, False
        self.most_unpublished = 0
        self.was_unready = False
        self.states = set()
        self.start()

    def run(self):
        while not self.is_over:
            try:
                status = self.target.status("disk")
                self.states.add(status["operation_state"])
                self.most_unpublished = max(self.most_unpublished, status["unpublished_bytes"])
                self.was_unready |= self.target.http("GET", "/health/ready").status == 503
            except Exception:  # noqa: B902: a busy daemon is asked again
                pass
            time.sleep(0.2)


@test("503s, then dropped packets, under load beyond the cache's room: no error, one chain, exact content")
def refusals_then_silence():
    # The full time, a minute each, with --seconds 200.
    seconds = harness.SECONDS * 0.3
    note(f"seed {harness.SEED}; {seconds:.0f} s each")
    disk, snapshots, watcher, took, head, orphans, refused, _ = sit_out(
        seconds, [lambda front, wire: front.fail(http503=1), lambda front, wire: wire.cut()],
        lambda front, wire: (front.fail(), wire.mend()))
    check(took >= 2 * seconds, f"it took {took:.0f} s")
    check(len(refused) > 3, f"only {len(refused)} requests met the faults")
    check(watcher.was_unready, "/health/ready was never 503")
    check(watcher.most_unpublished > 100 * MIB,
          f"only {watcher.most_unpublished // MIB} MiB waited: the cache's cap was not met")
    check("stalled" in watcher.states, f"states seen: {sorted(watcher.states)}")
    bad = [reply for reply in snapshots.replies if reply[0] not in (200, 503)]
    equal(bad, [], "replies to snapshots")
    check(len(orphans) <= 1, f"packs that no commit names: {orphans}")
    given = sum(status == 200 for status, _ in snapshots.replies)
    return (f"{disk.writes} writes, {disk.flushes} flushes, {given} of {len(snapshots.replies)} "
            f"snapshots, {len(refused)} requests failed, {watcher.most_unpublished // MIB} MiB "
            f"waited, {head} commits, {len(orphans)} orphaned packs")


if __name__ == "__main__":
    main()
