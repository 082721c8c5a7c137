#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A host with many volumes, killed and started again: when it is ready, when all volumes that were
# open serve again, what an idle one costs in memory and in journal, and how long a last commit of
# all of them takes. Every volume was written and committed once.

import concurrent.futures
import glob
import os
import sys
import tempfile
import time

import rows
from servers import Martlet

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "Tests", "e2e"))
import nbdclient  # noqa: E402

KIB = 1 << 10


def each(names, body, what):
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in pool.map(body, names):
            pass
    print(f"restart: {what}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def segments(server):
    """Journal segments that volumes hold, as files."""
    return len(glob.glob(server.cache + "/volumes/*/journal/*.seg"))


def all_serve(server, names, seconds=120):
    """Seconds until every volume is attached again."""
    began = time.monotonic()
    while True:
        exports = server.call("GET", "/api/exports")["exports"]
        attached = sum(one["attached"] for one in exports)
        took = time.monotonic() - began
        if attached == len(names):
            return took
        if took > seconds:
            sys.exit(f"restart: after {took:.0f} s {attached} of {len(names)} volumes serve")
        time.sleep(0.05)


def main():
    parser = rows.options(__doc__)
    parser.add_argument("--volumes", type=int, default=2000)
    options = parser.parse_args()
    table = rows.Rows()
    with tempfile.TemporaryDirectory(prefix="martlet-restart-", dir=options.directory) as work:
        settings = {"MARTLET_POLICY_SHUTDOWN_SECS": "300"}
        server = Martlet(options.martlet, work, settings)
        try:
            run(server, options.volumes, table)
        finally:
            server.stop()
    rows.finish(table, options)


def run(server, count, table):
    names = [f"guest{index:04d}" for index in range(count)]
    time.sleep(2)
    empty = server.resident_bytes()
    each(names, lambda name: server.put(name, 10 << 30), f"{count} volumes created")

    def write(name):
        with nbdclient.Connection(server.socket, name) as connection:
            connection.write(123 * 4096, os.urandom(4096))
        server.drain(name)

    each(names, write, "claimed, written and committed")
    # What the work itself left in the heap is no cost of idle volumes: a fresh process shows those.
    server.kill()
    ready = server.begin()
    serving = ready + all_serve(server, names)
    time.sleep(3)
    table.add(f"restart with {count} volumes, to ready", ready, at_most=3, unit="s",
              detail=f"all serve after {serving:.1f} s")
    table.add("memory of an idle volume", (server.resident_bytes() - empty) / count / KIB,
              at_most=64, unit="KiB")
    table.add(f"journal segments of {count} idle volumes", segments(server), at_most=0)

    began = time.monotonic()
    server.process.terminate()
    status = server.process.wait(400)
    print(f"restart: all closed cleanly in {time.monotonic() - began:.1f} s, status {status}",
          file=sys.stderr)
    table.add(f"restart with {count} closed volumes, to ready", server.begin(), at_most=3, unit="s")


if __name__ == "__main__":
    main()
