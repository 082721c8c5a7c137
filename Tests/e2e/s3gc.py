# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Collectors that never rest, on RGW, beside two hosts that write, snapshot, fork, roll back and
# purge. The one thing to know: with no grace period and a run behind the other nothing but the
# protocol stands between a collector and what somebody is about to name.

import json
import os
import random
import signal
import subprocess
import threading
import time

import harness
import stores
from harness import MARTLET, MIB, SECONDS, Skip, can_mount, check, equal, main, note, run, test
from s3world import Image, Place

SIZE = 4 * MIB
SETTINGS = {"MARTLET_COMMIT_MAX_AGE_SECS": "1", "MARTLET_COMMIT_TARGET_PACK_MB": "1",
            "MARTLET_COMMIT_MAX_JOURNAL_MB": "1"}
# What a host keeps at most, so that much of what was made is given up again.
EXPORTS, SNAPSHOTS = 4, 6


class Host:
    """One machine: random operations on exports of its own, and what each must contain."""

    def __init__(self, place, name, letter, generator):
        self.name, self.random = name, generator
        self.daemon = place.daemon(name, environment=SETTINGS, machine_id=letter * 32).start()
        self.exports, self.snapshots, self.done = {}, {}, {}
        self.made = 0
        self.failure = None
        self.new_export()

    # MARK: Operations

    def post(self, path, body=None):
        """A call that must succeed; others in the way are a reason to ask again."""
        for _ in range(20):
            reply = self.daemon.http("POST", path, body)
            if reply.status != 409 or "all the time" not in reply.json["error"]:
                break
        check(reply.status == 200, f"POST {path}: {reply}")
        return reply.json

    def new_export(self, source=None, content=None):
        name = f"{self.name}-{self.made}"
        self.made += 1
        more = {"from": source} if source else {}
        self.daemon.create(name, SIZE, **more)
        image = Image(self.daemon, name, SIZE, self.random.random())
        if content is not None:
            image.content[:] = content
        self.exports[name] = image
        return image

    def some(self, of):
        return self.random.choice(sorted(of))

    def write(self):
        self.exports[self.some(self.exports)].scribble(self.random.randrange(1, 20), 64 << 10)

    def snapshot(self):
        name = self.some(self.exports)
        sequence = self.post(f"/api/exports/{name}/snapshot")["sequence"]
        self.snapshots[name, sequence] = bytes(self.exports[name].content)

    def drop_snapshot(self):
        if self.snapshots:
            name, sequence = self.some(self.snapshots)
            self.daemon.call("DELETE", f"/api/exports/{name}/snapshots/{sequence}")
            del self.snapshots[name, sequence]

    def fork(self):
        if self.snapshots and self.random.random() < 0.6:
            name, sequence = self.some(self.snapshots)
            self.new_export(f"snapshot:{name}@{sequence}", self.snapshots[name, sequence])
        else:
            name = self.some(self.exports)
            self.new_export(f"export:{name}", self.exports[name].content)

    def roll_back(self):
        own = [key for key in self.snapshots if key[0] in self.exports]
        if own:
            name, sequence = self.some(own)
            self.post(f"/api/exports/{name}/rollback", {"snapshot_sequence": sequence})
            self.exports[name].content[:] = self.snapshots[name, sequence]

    def purge(self):
        if len(self.exports) > 1:
            name = self.some(self.exports)
            self.daemon.call("DELETE", f"/api/exports/{name}?purge=true")
            del self.exports[name]
            self.snapshots = {key: value for key, value in self.snapshots.items() if key[0] != name}

    def look(self):
        self.exports[self.some(self.exports)].expect()

    def lose_cache(self):
        """What was drained comes back from the store alone."""
        for name in self.exports:
            self.post(f"/api/exports/{name}/drain")
        self.daemon.kill()
        self.daemon.lose_cache()
        self.daemon.start()
        for name in self.exports:
            self.post(f"/api/exports/{name}/open")
            self.exports[name].expect()

    def step(self):
        choices = [self.write] * 6 + [self.snapshot] * 3 + [self.fork] * 2 + [self.look] * 2
        choices += [self.drop_snapshot, self.roll_back, self.purge]
        choices += [self.drop_snapshot] * 4 * (len(self.snapshots) > SNAPSHOTS)
        choices += [self.purge] * 4 * (len(self.exports) > EXPORTS)
        choices += [self.lose_cache] * (self.random.random() < 0.3)
        action = self.random.choice(choices)
        action()
        self.done[action.__name__] = self.done.get(action.__name__, 0) + 1

    def live(self, end):
        try:
            while time.monotonic() < end:
                self.step()
        except Exception as error:  # shown by the test's own thread
            self.failure = error


class Collectors:
    """Runs `martlet gc` again and again; each third run is killed somewhere."""

    def __init__(self, place, generator):
        self.place, self.random = place, generator
        self.runs = self.killed = self.deleted = 0
        self.failure = None

    def collect(self, *more):
        done = run(MARTLET, "gc", "--store", self.place.url, "--grace-period", "0s", "--json", *more,
                   env={**os.environ, **self.place.environment()}, check_status=False)
        check(done.returncode == 0, f"gc: {done.stdout} {done.stderr}")
        return json.loads(done.stdout)

    def kill_one(self):
        process = subprocess.Popen(
            [MARTLET, "gc", "--store", self.place.url, "--grace-period", "0s"],
            env={**os.environ, **self.place.environment()}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        time.sleep(self.random.random() * 0.6)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def live(self, end):
        try:
            while time.monotonic() < end:
                if self.random.random() < 1 / 3:
                    self.kill_one()
                    self.killed += 1
                else:
                    self.deleted += self.collect()["deleted"]["packs"]
                    self.runs += 1
        except Exception as error:  # shown by the test's own thread
            self.failure = error


def run_together(actors, end):
    """Until all are done. Their threads stay: a process dies with the thread that started it."""
    finished = threading.Barrier(len(actors) + 1)

    def play(actor):
        actor.live(end)
        finished.wait()
        threading.Event().wait()

    for actor in actors:
        threading.Thread(target=play, args=(actor,), daemon=True).start()
    finished.wait()
    for actor in actors:
        if actor.failure:
            raise actor.failure


def expect_everything(hosts):
    """Every export, and a fork of every snapshot, byte for byte."""
    for host in hosts:
        for image in host.exports.values():
            image.expect()
        for (name, sequence), content in host.snapshots.items():
            host.new_export(f"snapshot:{name}@{sequence}", content).expect()


@test("collectors on RGW that never rest take nothing from two hosts that fork, roll back and purge")
def crowd():
    if not can_mount():
        raise Skip("no right to make a mount for a second machine id")
    note(f"seed {harness.SEED}")
    generator = random.Random(harness.SEED)
    place = Place(stores.shared("rgw"))
    hosts = [Host(place, name, letter, random.Random(generator.random()))
             for name, letter in (("first", "a"), ("second", "b"))]
    collectors = [Collectors(place, random.Random(generator.random())) for _ in range(2)]
    # A slow machine gets more time, until something was deleted beside the hosts.
    for _ in range(10):
        run_together(hosts + collectors, time.monotonic() + SECONDS / 2)
        deleted = sum(collector.deleted for collector in collectors)
        if deleted > 0:
            break
    check(deleted > 0, "nothing was ever deleted")
    expect_everything(hosts)
    for host in hosts:
        equal(host.daemon.terminate(), 0, "the exit status of a daemon")
    last = collectors[0]
    while last.collect()["outcome"] != "nothing":
        pass
    verdict = run(MARTLET, "verify", "--store", place.url, "--json", check_status=False,
                  env={**os.environ, **place.environment()})
    check(json.loads(verdict.stdout)["whole"], f"verify: {verdict.stdout[:2000]}")
    for host in hosts:
        host.daemon.start()
        for name in host.exports:
            host.post(f"/api/exports/{name}/open")
    expect_everything(hosts)
    done = {}
    for host in hosts:
        for name, count in host.done.items():
            done[name] = done.get(name, 0) + count
    return (f"{sum(c.runs for c in collectors)} runs, {sum(c.killed for c in collectors)} killed, "
            f"{deleted} packs deleted beside "
            + ", ".join(f"{count} {name}" for name, count in sorted(done.items())))


if __name__ == "__main__":
    main()
