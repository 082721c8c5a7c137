#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Allocations per request on the shard threads after warm-up: none, over 100,000 reads and as many
# writes. What remains is per journal segment (4,000 writes of 4 KiB share about a dozen) and per
# sync (one for a wave of flushes). Then the same with one planted allocation per recv, which must
# be seen: a counter that counts nothing would pass for ever.

import json
import os
import re
import subprocess
import sys
import tempfile

import alloc_count
import rows
from servers import Martlet

HERE = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(HERE, ".build", "nbdload")
PRELOAD = os.path.join(HERE, ".build", "alloc_count.so")
SIZE = 64 << 20
# Commits are the committer's business: none starts while requests are counted.
QUIET = {"MARTLET_COMMIT_MAX_JOURNAL_MB": "8192", "MARTLET_COMMIT_MAX_AGE_SECS": "3600"}
WORKLOADS = {
    "read": ["-d", "16"],
    "write": ["-d", "16", "-w", "100"],
    "mix with flushes": ["-d", "16", "-w", "30", "-f", "64"],
}
# Allocations per request at most: a connection that comes and goes, segments, syncs.
LIMITS = {"read": 0.001, "write": 0.01, "mix with flushes": 0.03}


def requests(server, arguments, count, seed):
    done = subprocess.run(
        [LOAD, "-u", server.socket, "-x", server.exports[0], "-n", str(count), "-r", str(seed),
         "-j", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["requests"]


def count(binary, total, planted, pattern):
    """Workload -> allocations per request on threads whose name matches."""
    per_request = {}
    with tempfile.TemporaryDirectory(prefix="martlet-allocations-") as work:
        counters = os.path.join(work, "counters")
        settings = {
            "LD_PRELOAD": PRELOAD, "ALLOC_COUNT_FILE": counters,
            "ALLOC_COUNT_PLANT": "1" if planted else "0", **QUIET,
        }
        server = Martlet(binary, work, settings)
        try:
            server.create(1, SIZE, LOAD)
            path = f"{counters}.{server.pid}"
            if not any(re.search(pattern, name) for name in alloc_count.names(server.pid).values()):
                sys.exit(f"allocations: no thread of martlet matches {pattern}")
            for name, arguments in WORKLOADS.items():
                requests(server, arguments, total // 2, 1)
                difference = alloc_count.Difference(path, server.pid)
                done = requests(server, arguments, total, 2)
                by_name = difference.by_name()
                seen = sum(n for thread, (n, _) in by_name.items() if re.search(pattern, thread))
                per_request[name] = seen / done
                others = {thread: n for thread, (n, _) in by_name.items()
                          if n and not re.search(pattern, thread)}
                print(f"allocations: {name}: {seen} on shard threads for {done} requests; "
                      f"elsewhere: {others}", file=sys.stderr)
        finally:
            server.stop()
    return per_request


def main():
    parser = rows.options(__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--threads", default="shard", help="expression for the threads' names")
    options = parser.parse_args()

    clean = count(options.martlet, options.requests, False, options.threads)
    planted = count(options.martlet, options.requests, True, options.threads)
    failed = [name for name, value in clean.items() if value > LIMITS[name]]
    blind = [name for name, value in planted.items() if value <= LIMITS[name]]
    print(json.dumps({"per_request": clean, "planted": planted}))
    table = rows.Rows()
    for name, value in clean.items():
        table.add(f"allocations per request, {name}", value, at_most=LIMITS[name])
    rows.finish(table, options)
    for name in failed:
        print(f"allocations: FAILED: {name}: {clean[name]:.4f} per request", file=sys.stderr)
    for name in blind:
        print(f"allocations: FAILED: {name}: the planted allocation was not seen", file=sys.stderr)
    sys.exit(1 if failed or blind else 0)


if __name__ == "__main__":
    main()
