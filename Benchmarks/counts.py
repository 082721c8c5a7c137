#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What the targets count rather than time: requests to the store and bytes sent to it. A machine of
# any speed gives the same numbers, so CI holds them (`make counts`). PUTs are counted as objects
# that appeared in the store, GETs by the daemon's own counter. Costs of a full volume of 1 TB are
# counted on a made-up map by Tests/CommitterTests (LargeVolumeTests, UploadCostTests).

import os
import subprocess
import sys
import tempfile

import rows
from servers import Martlet
from times import write_unique

HERE = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(HERE, ".build", "nbdload")
MIB = 1 << 20
# Commits come when they are asked for.
QUIET = {
    "MARTLET_COMMIT_MAX_JOURNAL_MB": "8192", "MARTLET_COMMIT_MAX_AGE_SECS": "3600",
    "MARTLET_SERVERS_NBD_SHARDS": "2",
}


def load(server, export, *arguments):
    subprocess.run([LOAD, "-u", server.socket, "-x", export, *map(str, arguments)],
                   stdout=subprocess.DEVNULL, check=True)


def write(server, export, bytes_, span=None):
    """Incompressible bytes from the start of the export."""
    load(server, export, "-b", 131072, "-d", 8, "-w", 100, "-q", "-n", bytes_ // 131072,
         *(["-S", span] if span else []))


def new(before, after, prefix):
    """Objects that appeared under a prefix, and their bytes."""
    keys = [key for key in after if key.startswith(prefix) and key not in before]
    return len(keys), sum(after[key] for key in keys)


def commits(server, table):
    """Objects of one commit, up to what one pack holds."""
    server.put("commits", 64 * MIB)
    for mebibytes in (1, 31):
        # Random offsets write some blocks twice: fewer bytes, the same journal.
        write(server, "commits", mebibytes * MIB)
        before = server.objects()
        server.drain("commits")
        after = server.objects()
        packs, bytes_ = new(before, after, "packs/")
        count = packs + new(before, after, "volumes/")[0]
        table.add(f"PUTs of a commit of {mebibytes} MiB", count, at_most=2,
                  detail=f"{bytes_ / MIB:.1f} MiB packed")


def one_grain(server, table):
    """Bytes of a commit after one write of 4 KiB, over a volume with much behind it."""
    server.put("grain", 256 * MIB)
    write(server, "grain", 256 * MIB)
    server.drain("grain")
    before = server.objects()
    load(server, "grain", "-w", 100, "-n", 1, "-r", 5)
    server.drain("grain")
    _, bytes_ = new(before, server.objects(), "")
    table.add("bytes of a commit with one dirty grain, 256 MiB volume", bytes_ / 1024,
              at_most=256, unit="KiB")


def cold_fork(server, table):
    """Writes of 4 KiB to blocks of a fork that nothing of is cached."""
    server.put("golden", 64 * MIB)
    write(server, "golden", 64 * MIB)
    sequence = server.call("POST", "/api/exports/golden/snapshot")["sequence"]
    server.stop()
    server.lose_cache()
    server.begin()
    server.put("fork", **{"from": f"snapshot:golden@{sequence}"})
    server.call("POST", "/api/exports/fork/open")
    before = server.gets()
    load(server, "fork", "-w", 100, "-d", 8, "-n", 256)
    table.add("GETs of 256 cold writes of 4 KiB to a fork", server.gets() - before, at_most=0)
    before = server.gets()
    objects = server.objects()
    server.drain("fork")
    _, bytes_ = new(objects, server.objects(), "packs/")
    table.add("GETs of draining them", server.gets() - before, at_most=2,
              detail=f"the export's ref, one map node, no block; {bytes_ / MIB:.2f} MiB packed")


def fork_under_load(server, table):
    """Requests of a fork while its source is written."""
    server.put("source", 256 * MIB)
    write(server, "source", 256 * MIB)
    sequence = server.call("POST", "/api/exports/source/snapshot")["sequence"]
    background = subprocess.Popen(
        [LOAD, "-u", server.socket, "-x", "source", "-w", "100", "-d", "8", "-s", "30"],
        stdout=subprocess.DEVNULL)
    try:
        for number in range(3):
            gets, before = server.gets(), server.objects()
            server.put(f"forked{number}", **{"from": f"snapshot:source@{sequence}"})
            gets, after = server.gets() - gets, server.objects()
            # A beat or a temporary name of another may come between: they are no part of it.
            puts = sum(new(before, after, prefix)[0] for prefix in ("refs/", "volumes/", "packs/"))
            if number == 0:
                table.add("PUTs of a fork under load", puts, at_most=3)
                table.add("GETs of a fork under load", gets, at_most=3)
            elif (puts, gets) != (table.rows[-2]["value"], table.rows[-1]["value"]):
                sys.exit(f"counts: fork {number} took {puts} PUTs and {gets} GETs")
    finally:
        background.kill()
        background.wait()


def sequential(server, table):
    """GETs of reading a volume from its start to its end, with nothing cached."""
    size = 256 * MIB
    server.put("stream", size)
    write_unique(server, "stream", size)
    server.drain("stream")
    server.stop()
    server.lose_cache()
    server.begin()
    server.call("POST", "/api/exports/stream/open")
    before = server.gets()
    load(server, "stream", "-b", MIB, "-d", 2, "-q", "-n", size // MIB)
    table.add("GETs for each 4 MiB of a cold sequential read of 256 MiB",
              (server.gets() - before) / (size / (4 * MIB)), at_most=1)


AREAS = {"commits": commits, "grain": one_grain, "cold-fork": cold_fork,
         "fork": fork_under_load, "sequential": sequential}


def main():
    options = rows.options(__doc__, AREAS).parse_args()
    table = rows.Rows()
    with tempfile.TemporaryDirectory(prefix="martlet-counts-", dir=options.directory) as work:
        server = Martlet(options.martlet, work, QUIET)
        try:
            for area in rows.chosen(options, AREAS):
                AREAS[area](server, table)
        finally:
            server.stop()
    rows.finish(table, options)


if __name__ == "__main__":
    main()
