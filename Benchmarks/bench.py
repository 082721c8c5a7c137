#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Measures Martlet beside nbdkit and qemu-nbd on the same data: all servers run at once, each round
# measures one after the other in an order that rotates, and medians of the rounds are compared. A
# ratio from one run means something; a number from two runs on two days does not.

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from rows import Rows, finish
from servers import Martlet, Peer, fill_image, parse_bytes

HERE = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(HERE, ".build", "nbdload")

# name: (arguments of nbdload, exports used, {peer: least ratio of IOPS}, {peer: most ratio of CPU})
WORKLOADS = {
    "read 4K qd1": (["-d", "1"], 1, {"nbdkit-file": 1.25}, {}),
    "read 4K qd32": (["-d", "32"], 1, {"nbdkit-file": 3.5}, {"nbdkit-file": 0.4}),
    "read 4K 64 connections": (["-c", "64"], 8, {"nbdkit-file": 2.5}, {}),
    "write 4K qd1": (["-w", "100"], 1, {"nbdkit-file": 1.25, "qemu-uring": 2.5}, {}),
    "write 4K qd32": (
        ["-w", "100", "-d", "32"], 1, {"nbdkit-file": 3.2, "qemu-uring": 8}, {"nbdkit-file": 0.4},
    ),
    "write 4K 64 connections": (
        ["-w", "100", "-c", "64"], 8, {"nbdkit-file": 2.5, "qemu-uring": 3}, {},
    ),
    "mix 70/30 4K qd32": (["-w", "30", "-d", "32"], 1, {"nbdkit-file": 3}, {}),
    "read 128K qd32": (["-b", "131072", "-d", "32"], 1, {"nbdkit-file": 1.25}, {}),
    "write 128K qd32": (["-b", "131072", "-w", "100", "-d", "32"], 1, {"nbdkit-file": 1.4}, {}),
    "write 128K sequential qd8": (
        ["-b", "131072", "-w", "100", "-q", "-d", "8"], 1, {"nbdkit-file": 2}, {},
    ),
}
# Group commit: flushes a second of 64 flushing clients over those of one, on one volume.
FLUSH_ONE = ["-w", "100", "-f", "1", "-c", "1"]
FLUSH_MANY = ["-w", "100", "-f", "1", "-c", "64"]
FLUSH_RATIO = 10


def load(server, arguments, exports, seconds):
    command = [LOAD, "-u", server.socket, "-P", str(server.pid), "-j", "-s", str(seconds)]
    for name in server.exports[:exports]:
        command += ["-x", name]
    command += arguments
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode != 0:
        sys.exit(f"bench: {server.name}: {' '.join(command)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(servers, rounds, seconds, wanted):
    """name of workload -> name of server -> list of results, one a round."""
    results = {}
    for turn in range(rounds):
        for name, (arguments, exports, _, _) in WORKLOADS.items():
            if wanted and wanted not in name:
                continue
            order = servers[turn % len(servers):] + servers[: turn % len(servers)]
            for server in order:
                server.prepare(LOAD)
                one = load(server, arguments, exports, seconds)
                results.setdefault(name, {}).setdefault(server.name, []).append(one)
        if not wanted or wanted in "flush":
            for server in servers:
                server.prepare(LOAD)
                one = load(server, FLUSH_ONE, 1, seconds)
                many = load(server, FLUSH_MANY, 1, seconds)
                per_server = results.setdefault("flush", {}).setdefault(server.name, [])
                per_server.append({"one": one["flushes_s"], "many": many["flushes_s"]})
        print(f"bench: round {turn + 1} of {rounds} done", file=sys.stderr)
    return results


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def judge(results):
    """Rows for Martlet against each target."""
    rows = Rows()
    for name, per_server in results.items():
        ours = per_server.get("martlet")
        if not ours:
            continue
        if name == "flush":
            rows.add("flushes a second of 64 clients", peer="one client", at_least=FLUSH_RATIO,
                     value=median(ours, "many") / max(median(ours, "one"), 1e-9))
            continue
        _, _, least, most = WORKLOADS[name]
        for peer, target in least.items():
            if peer in per_server:
                ratio = median(ours, "iops") / max(median(per_server[peer], "iops"), 1e-9)
                rows.add(name, ratio, peer=peer, at_least=target)
        for peer, target in most.items():
            if peer in per_server:
                ratio = median(ours, "cpu_us") / max(median(per_server[peer], "cpu_us"), 1e-9)
                rows.add(name + ", server CPU", ratio, peer=peer, at_most=target)
    return rows


def show(results):
    for name, per_server in results.items():
        print(f"\n{name}")
        for server, rounds in per_server.items():
            if name == "flush":
                print(f"  {server:14} {median(rounds, 'one'):10.0f} flushes/s from one client, "
                      f"{median(rounds, 'many'):10.0f} from 64")
                continue
            iops, rate, p50, p99, cpu = (
                median(rounds, key) for key in ("iops", "mb_s", "p50_us", "p99_us", "cpu_us"))
            print(f"  {server:14} {iops:10.0f} IOPS {rate:9.1f} MB/s  p50 {p50:8.1f} us  "
                  f"p99 {p99:8.1f} us  CPU {cpu:6.2f} us/IO")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--martlet", help="the binary; without it only the peers are measured")
    parser.add_argument("--size", type=parse_bytes, default="512M", help="bytes of each image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--peers", default="nbdkit-file,nbdkit-memory,qemu-uring,qemu-threads")
    parser.add_argument("--directory", default=None, help="where images, store and cache lie")
    parser.add_argument("--settings", action="append", default=[], metavar="NAME=VALUE",
                        help="environment of martlet, e.g. MARTLET_COMMIT_MAX_JOURNAL_MB=4096")
    parser.add_argument("--results", metavar="FILE", help="write all that was measured there")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--strict", action="store_true", help="exit 1 unless all targets are met")
    options = parser.parse_args()

    servers = []
    with tempfile.TemporaryDirectory(prefix="martlet-bench-", dir=options.directory) as work:
        try:
            image = os.path.join(work, "data.img")
            fill_image(image, options.size)
            if options.martlet:
                settings = dict(pair.split("=", 1) for pair in options.settings)
                martlet = Martlet(options.martlet, work, settings)
                servers.append(martlet)
                martlet.create(8, options.size, LOAD)
            for peer in filter(None, options.peers.split(",")):
                servers.append(Peer(peer, work, options.size, LOAD))
            time.sleep(1)
            results = measure(servers, options.rounds, options.seconds, options.only)
        finally:
            for server in servers:
                server.stop()
    show(results)
    print("\nMartlet's ratios", flush=True)
    rows = judge(results)
    if options.results:
        with open(options.results, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    finish(rows, options)


if __name__ == "__main__":
    main()
