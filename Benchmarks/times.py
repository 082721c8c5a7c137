#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Targets in time that have no row in bench.py: trimming everything, a snapshot's cut, how long a
# shard keeps others waiting while one volume is written without pause, reading cold, packing.
# Ratios are to something measured beside it, in the same minute.

import glob
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import rows
from servers import Martlet, Peer, fill_image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "Tests", "e2e"))
import nbdclient  # noqa: E402

LOAD = os.path.join(HERE, ".build", "nbdload")
LZ4 = os.path.join(HERE, ".build", "lz4speed")
MIB, GIB = 1 << 20, 1 << 30
QUIET = {"MARTLET_COMMIT_MAX_JOURNAL_MB": "8192", "MARTLET_COMMIT_MAX_AGE_SECS": "3600"}


def load(server, export, *arguments):
    subprocess.run([LOAD, "-u", server.socket, "-x", export, *map(str, arguments)],
                   stdout=subprocess.DEVNULL, check=True)


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def trim(work, binary, table):
    """All of a device of 16 TB, by the largest requests that NBD has, all sent at once."""
    size = 16_000_000_000_000
    server = Martlet(binary, work, QUIET)
    try:
        server.put("huge", size)
        times = []
        with nbdclient.Connection(server.socket, "huge") as connection:
            step = (4 * GIB) - 4096
            requests = b"".join(
                nbdclient.request(nbdclient.TRIM, 1, at, min(step, size - at))
                for at in range(0, size, step))
            count = -(-size // step)
            for turn in range(5):
                # Something to trim: a write in each of a hundred places.
                for place in range(100):
                    connection.write(size // 100 * place // 4096 * 4096, bytes(range(256)) * 16)
                began = time.monotonic()
                sender = threading.Thread(target=connection.send, args=(requests,))
                sender.start()
                replies = connection.receive(16 * count)
                times.append(time.monotonic() - began)
                sender.join()
                if any(replies[16 * index + 4:16 * index + 8] != bytes(4)
                       for index in range(count)):
                    sys.exit("times: a trim failed")
        table.add("TRIM of 16 TB", statistics.median(times) * 1000, at_most=100, unit="ms",
                  detail=f"{count} requests")
    finally:
        server.stop()


class Prober:
    """One connection with one request of 4 KiB at a time: what a guest beside the load sees."""

    def __init__(self, path, export, kind, span):
        self.connection = nbdclient.Connection(path, export)
        self.kind, self.span = kind, span
        self.samples = []
        self.stopping = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        payload = os.urandom(4096)
        place = 0
        while not self.stopping:
            place = (place + 7919 * 4096) % self.span
            began = time.monotonic()
            if self.kind == "read":
                self.connection.read(place, 4096)
            else:
                self.connection.write(place, payload)
            self.samples.append((began, time.monotonic() - began))

    def stop(self):
        self.stopping = True
        self.thread.join()
        self.connection.close()
        return self.samples


def snapshot(work, binary, table):
    """The longest write beside the cut of a snapshot, of a volume with 256 MiB to commit."""
    server = Martlet(binary, work, QUIET)
    try:
        server.put("guest", GIB)
        worst = []
        for _ in range(9):
            load(server, "guest", "-b", 131072, "-d", 8, "-w", 100, "-n", 2048)
            prober = Prober(server.socket, "guest", "write", 64 * MIB)
            time.sleep(0.2)
            asked = time.monotonic()
            thread = threading.Thread(
                target=server.call, args=("POST", "/api/exports/guest/snapshot"))
            thread.start()
            time.sleep(0.1)
            samples = prober.stop()
            thread.join()
            # The cut comes within a moment of the request; later there is the committer.
            worst.append(max(took for began, took in samples
                             if asked <= began + took and began <= asked + 0.02))
        table.add("longest 4 KiB write beside a snapshot's cut", statistics.median(worst) * 1000,
                  at_most=5, unit="ms", detail="256 MiB uncommitted, median of 9")
    finally:
        server.stop()


def stall(work, binary, table):
    """The p99 of reads of one guest while another writes 128 KiB without pause, on one shard."""
    seconds = 5
    size = 2 * GIB
    fill_image(os.path.join(work, "data.img"), 256 * MIB)
    os.truncate(os.path.join(work, "data.img"), size)
    server = Martlet(binary, work, {"MARTLET_SERVERS_NBD_SHARDS": "1"})
    peer = Peer("nbdkit-file", work, size, LOAD)
    try:
        server.put("reader", 256 * MIB)
        load(server, "reader", "-b", 131072, "-d", 8, "-w", 100, "-q", "-n", 2048)
        server.put("writer", size)
        found = {"martlet": [], "nbdkit-file": []}
        for _ in range(3):
            for one, reader, writer in ((server, "reader", "writer"), (peer, "", "")):
                background = subprocess.Popen(
                    [LOAD, "-u", one.socket, "-x", writer, "-b", "131072", "-d", "8", "-w", "100",
                     "-q", "-s", str(seconds)], stdout=subprocess.DEVNULL)
                time.sleep(0.5)
                prober = Prober(one.socket, reader, "read", 128 * MIB)
                time.sleep(seconds - 1.5)
                samples = [took for _, took in prober.stop()]
                background.wait()
                found[one.name].append(quantile(samples, 0.99))
        ours = statistics.median(found["martlet"]) * 1000
        theirs = statistics.median(found["nbdkit-file"]) * 1000
        table.add("p99 of a 4 KiB read beside 128 KiB writes without pause", ours, at_most=20,
                  unit="ms", detail="one shard, commits running")
        table.add("the same", ours / theirs, peer="nbdkit file", at_most=1,
                  detail=f"{theirs:.2f} ms there")
    finally:
        server.stop()
        peer.stop()


def drop_page_cache(folder):
    """Lets the kernel forget the files of a folder."""
    for path in glob.glob(folder + "/**", recursive=True):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def raw_read(server, threads=4):
    """Seconds to read all packs with some threads, 4 MiB at a time."""
    paths = sorted(glob.glob(server.store + "/packs/*/*"))
    lock = threading.Lock()

    def run():
        buffer = bytearray(4 * MIB)
        while True:
            with lock:
                if not paths:
                    return
                path = paths.pop()
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    workers = [threading.Thread(target=run) for _ in range(threads)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.monotonic() - began


def write_unique(server, export, bytes_):
    """Incompressible bytes, no block twice: what is equal is stored once, and fetched elsewhere."""
    buffer = bytearray(os.urandom(4 * MIB))
    with nbdclient.Connection(server.socket, export) as connection:
        for at in range(0, bytes_, 4 * MIB):
            for block in range(0, 4 * MIB, 128 << 10):
                buffer[block:block + 8] = (at + block).to_bytes(8, "little")
            connection.write(at, bytes(buffer))


def cold(work, binary, table):
    """A sequential read of 1 GiB with neither cache nor page cache, beside reading its objects."""
    server = Martlet(binary, work, QUIET)
    try:
        server.put("stream", GIB)
        write_unique(server, "stream", GIB)
        server.drain("stream")
        ratios, gets, rates = [], 0, []
        for _ in range(3):
            server.stop()
            server.lose_cache()
            server.begin()
            server.call("POST", "/api/exports/stream/open")
            drop_page_cache(server.store)
            raw = raw_read(server)
            drop_page_cache(server.store)
            gets = server.gets()
            began = time.monotonic()
            load(server, "stream", "-b", MIB, "-d", 4, "-q", "-n", GIB // MIB)
            took = time.monotonic() - began
            gets = server.gets() - gets
            ratios.append(raw / took)
            rates.append(GIB / took / 1e6)
        table.add("cold sequential read of 1 GiB", statistics.median(ratios),
                  peer="4 threads that read its objects", at_least=0.8,
                  detail=f"{statistics.median(rates):.0f} MB/s")
        table.add("GETs for each 4 MiB of it", gets / (GIB / (4 * MIB)), at_most=1)
    finally:
        server.stop()


def pipeline(work, binary, table):
    """Packing and publishing 256 MiB of journal, beside LZ4 alone on the same blocks."""
    sample = os.path.join(work, "sample")
    count = 256 * MIB
    # What disks hold: programs and libraries, compressible by a half or so.
    with open(sample, "wb") as out:
        for path in sorted(glob.glob("/usr/bin/*") + glob.glob("/usr/lib/x86_64-linux-gnu/*")
                           + glob.glob("/usr/lib/python3/**", recursive=True)):
            if out.tell() >= count:
                break
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    out.write(file.read()[:count - out.tell()])
        # A small system has less: what there is, again, each block made its own.
        have = out.tell()
    with open(sample, "r+b") as file:
        data = file.read()
        turn = 1
        while file.tell() < count:
            for at in range(0, min(have, count - file.tell()), 131072):
                block = bytearray(data[at:at + 131072])
                block[:8] = turn.to_bytes(8, "little")
                file.write(block)
            turn += 1
        file.truncate(count)
    server = Martlet(binary, work, QUIET)
    try:
        ratios, cores, rates = [], [], []
        for turn in range(3):
            name = f"packed{turn}"
            server.put(name, count)
            with open(sample, "rb") as file, \
                    nbdclient.Connection(server.socket, name) as connection:
                for at in range(0, count, 4 * MIB):
                    connection.write(at, file.read(4 * MIB))
                connection.flush()
            lz4 = float(subprocess.run(
                [LZ4, sample], capture_output=True, text=True, check=True).stdout.split()[0])
            spent = server.thread_cpu_seconds(("commit", "pack"))
            began = time.monotonic()
            server.drain(name)
            took = time.monotonic() - began
            spent = server.thread_cpu_seconds(("commit", "pack")) - spent
            ratios.append(lz4 / took)
            cores.append(lz4 / spent)
            rates.append(count / took / 1e6)
        table.add("commit of 256 MiB", statistics.median(ratios), peer="LZ4 on one core",
                  at_least=0.8, detail=f"{statistics.median(rates):.0f} MB/s")
        table.add("the same by processor time", statistics.median(cores),
                  peer="LZ4 on one core", at_least=0.8)
    finally:
        server.stop()


AREAS = {"trim": trim, "snapshot": snapshot, "stall": stall, "cold": cold, "pipeline": pipeline}


def main():
    options = rows.options(__doc__, AREAS).parse_args()
    table = rows.Rows()
    for area in rows.chosen(options, AREAS):
        with tempfile.TemporaryDirectory(prefix="martlet-times-", dir=options.directory) as work:
            AREAS[area](work, options.martlet, table)
    rows.finish(table, options)


if __name__ == "__main__":
    main()
