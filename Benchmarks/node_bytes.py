#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What map nodes cost: bytes of nodes that commits upload for each byte that a guest made dirty, as
# they are and as zstd would make them. A volume with a grain in every block gets random writes of
# 4 KiB; each round is one commit, whose packs are read back from the store.
#
#   Benchmarks/node_bytes.py --martlet BINARY [--gib N] [--writes N] [--rounds N]

import argparse
import glob
import os
import random
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../Tests/e2e")
GRAIN, BLOCK = 4096, 128 << 10
# Commits happen when asked for.
QUIET = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_COMMIT_MAX_JOURNAL_MB": "4096"}


def nodes_of(path):
    """The bytes of each map node in a pack, by its index."""
    with open(path, "rb") as file:
        pack = file.read()
    offset, length = struct.unpack_from("<II", pack, len(pack) - 64 + 16)
    members = struct.unpack_from("<I", pack, offset + 12)[0]
    for number in range(members):
        at = offset + 64 + 32 * number
        start, count, kind = struct.unpack_from("<IIB", pack, at + 16)
        if kind == 2:
            yield pack[start:start + count]


def compressed(node, level):
    done = subprocess.run(["zstd", f"-{level}", "-c"], input=node, stdout=subprocess.PIPE, check=True)
    return len(done.stdout)


def write_all(connection, grains, generator):
    """Writes 4 KiB to each of `grains`, 32 in flight."""
    from nbdclient import WRITE, request
    in_flight = 0
    for number, grain in enumerate(grains):
        connection.send(request(WRITE, number, grain * GRAIN, GRAIN) + generator.randbytes(GRAIN))
        in_flight += 1
        if in_flight == 32:
            connection.simple_reply()
            in_flight -= 1
    for _ in range(in_flight):
        connection.simple_reply()


def main():
    parser = argparse.ArgumentParser(description="What map nodes cost.")
    parser.add_argument("--martlet", required=True)
    parser.add_argument("--gib", type=int, default=16)
    parser.add_argument("--writes", type=int, default=16384, help="random writes of a round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--sample", type=int, default=64, help="nodes to compress in a round")
    options = parser.parse_args()
    os.environ["MARTLET"] = os.path.abspath(options.martlet)
    import nbdclient
    from harness import Daemon
    generator = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="m-nodes-") as work:
        os.chdir(work)
        daemon = Daemon(environment=QUIET).start()
        try:
            daemon.create("disk", options.gib << 30)
            connection = nbdclient.Connection(daemon.nbd, "disk")
            grains = (options.gib << 30) // GRAIN
            write_all(connection, range(0, grains, BLOCK // GRAIN), generator)
            daemon.drain("disk")
            seen = set(glob.glob(f"{daemon.store}/packs/*/*"))
            for number in range(options.rounds):
                chosen = [generator.randrange(grains) for _ in range(options.writes)]
                write_all(connection, chosen, generator)
                daemon.drain("disk")
                packs = set(glob.glob(f"{daemon.store}/packs/*/*")) - seen
                seen |= packs
                report(number, packs, len(set(chosen)) * GRAIN, options.sample, generator)
        finally:
            os.chdir("/")
            daemon.destroy()


def report(number, packs, dirty, sample, generator):
    nodes = [node for path in packs for node in nodes_of(path)]
    size = sum(map(len, nodes))
    picked = generator.sample(nodes, min(sample, len(nodes)))
    raw = sum(map(len, picked))
    shares = {level: sum(compressed(node, level) for node in picked) / raw for level in (1, 3)}
    uploaded = sum(os.path.getsize(path) for path in packs)
    print(f"round {number}: {dirty} B dirty, {uploaded} B of packs, {len(nodes)} nodes of "
          f"{size // max(len(nodes), 1)} B; node bytes for each dirty byte {size / dirty:.3f}, "
          + ", ".join(f"{size * share / dirty:.3f} with zstd -{level}"
                      for level, share in shares.items()), flush=True)


if __name__ == "__main__":
    main()
