# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What a volume costs in requests: the daemon's own counts are those of the server's log, a commit is
# two PUTs, a cold read is one GET, and idleness is free.

import time

import harness
import nbdclient
import stores
from harness import KIB, MIB, Failure, check, equal, main, note, test, wait_until
from s3world import OPERATIONS, Image, Place, counted

SLOW = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600"}


def expect_equal(daemon, place, mark):
    """Both counts, which must agree at some moment soon; the server's."""
    end = time.monotonic() + harness.PATIENCE / 2
    while True:
        ours = counted(daemon)
        theirs = place.counts(mark)
        if ours == theirs == counted(daemon):
            return theirs
        if time.monotonic() > end:
            raise Failure(f"we count {ours}, the server {theirs}")
        time.sleep(0.5)


def shown(counts):
    return ", ".join(f"{counts[name]} {name.upper()}" for name in OPERATIONS)


def difference(later, earlier):
    return {name: later[name] - earlier[name] for name in OPERATIONS}


@test("the daemon's counts of PUT, GET, HEAD, LIST and DELETE are those of RGW's own log")
def equal_counts():
    place = Place(stores.shared("rgw"))
    mark = place.server.mark()
    daemon = place.daemon(environment=SLOW).start()
    daemon.create("disk", 64 * MIB)
    image = Image(daemon, "disk", 64 * MIB, harness.SEED)
    for _ in range(5):
        image.scribble(20)
        daemon.drain("disk")
    daemon.call("POST", "/api/exports/disk/snapshot")
    daemon.cli("create", "fork", "--from", "export:disk")
    image.expect("fork")
    first = expect_equal(daemon, place, mark)
    daemon.kill()
    daemon.lose_cache()
    mark = place.server.mark()
    daemon.start()
    image.expect()
    second = expect_equal(daemon, place, mark)
    return f"written: {shown(first)}; read cold: {shown(second)}"


def expect_published(daemon):
    wait_until(lambda: daemon.status("disk")["unpublished_bytes"] == 0, "a commit by age")


@test("a small commit is two PUTs, and a cold read of one block one GET")
def per_commit():
    place = Place(stores.shared("rgw"))
    # Not by draining: that looks the name up, too.
    daemon = place.daemon(environment={"MARTLET_COMMIT_MAX_AGE_SECS": "1"}).start()
    daemon.create("disk", 64 * MIB)
    commits = 10
    with nbdclient.Connection(daemon.nbd, "disk") as connection:
        connection.write(0, bytes([1]) * MIB)
        daemon.drain("disk")
        mark = place.server.mark()
        for number in range(commits):
            connection.write(number * 128 * KIB, bytes([2 + number]) * 64 * KIB)
            expect_published(daemon)
        counts = place.counts(mark)
    # The minute's beat may fall among them.
    check(2 * commits <= counts["put"] <= 2 * commits + 1, f"for {commits} commits: {shown(counts)}")
    equal(counts["get"], 0, f"GETs for commits: {shown(counts)}")
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    with nbdclient.Connection(daemon.nbd, "disk") as connection:
        connection.read(63 * MIB, 4 * KIB)
        # Brings the map node, and one frame.
        connection.read(0, 4 * KIB)
        reads = 0
        mark = place.server.mark()
        for number in (3, 5, 7):
            connection.read(number * 128 * KIB, 4 * KIB)
            reads += 1
        cold = place.counts(mark)
        mark = place.server.mark()
        for number in (3, 5, 7):
            connection.read(number * 128 * KIB + 8 * KIB, 4 * KIB)
        warm = place.counts(mark)
    # Blocks of two frames may lie in two packs.
    check(cold["get"] <= 2 * reads, f"{reads} cold reads: {shown(cold)}")
    equal(sum(warm.values()), 0, f"requests for warm reads: {shown(warm)}")
    return (f"{counts['put']} PUTs for {commits} commits, "
            f"{cold['get']} GETs for {reads} cold reads, none warm")


@test("while nothing is written or read the store is asked nothing")
def idle():
    place = Place(stores.shared("rgw"))
    daemon = place.daemon(environment={"MARTLET_COMMIT_MAX_AGE_SECS": "1"}).start()
    daemon.create("disk", 64 * MIB)
    image = Image(daemon, "disk", 64 * MIB, harness.SEED)
    image.scribble(20)
    daemon.drain("disk")
    # What is still on its way ends.
    time.sleep(3)
    window = max(75.0, harness.SECONDS)
    mark = place.server.mark()
    time.sleep(window)
    found = place.server.requests(mark)
    note(f"{len(found)} requests in {window:.0f} s")
    equal([(entry.method, entry.path) for entry in found], [], f"requests in {window:.0f} idle s")
    image.scribble(1)
    daemon.drain("disk")
    check(place.counts(mark)["put"] >= 2, "a commit after idleness is not in the log")
    return f"none in {window:.0f} s"


if __name__ == "__main__":
    main()
