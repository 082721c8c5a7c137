# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What a FLUSH costs: one fdatasync of the journal for all flushes that wait, none for writes.
# Counted with strace, which slows the daemon but invents nothing; the ratio of rates is measured
# without it.

import json
import os
import re
import time

from harness import ROOT, Daemon, KIB, MIB, check, main, note, require, run, test
from nbdclient import FLUSH, FUA, WRITE, Connection, request
from tracing import Tracer

# No commit of its own during a count.
QUIET = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_COMMIT_MAX_JOURNAL_MB": "4096"}


class Trace(Tracer):
    """The syncs of journal files since `mark`."""

    def __init__(self, daemon):
        super().__init__(daemon, "-e", "trace=fdatasync,fsync,sync_file_range,fallocate")
        self.start = 0

    def mark(self):
        time.sleep(0.3)
        self.start = os.path.getsize(self.path)

    def lines(self):
        time.sleep(0.3)
        with open(self.path) as file:
            file.seek(self.start)
            # A call that another thread interrupted takes two lines: count its first.
            return [line for line in file if "resumed>" not in line]

    def syncs(self):
        return [line for line in self.lines()
                if re.search(r"fdatasync\(\d+<[^>]*\.seg>", line)]


def traced_daemon():
    daemon = Daemon(environment=QUIET).start()
    daemon.create("disk", 256 * MIB)
    with Connection(daemon.nbd, "disk") as warm:
        # Segments are fetched ahead of need, and synced when they are made: not now.
        warm.write(0, bytes(4 * MIB))
        warm.flush()
    time.sleep(1)
    return daemon, Trace(daemon)


@test("a write syncs nothing")
def writes_alone():
    daemon, trace = traced_daemon()
    trace.mark()
    with Connection(daemon.nbd, "disk") as connection:
        for number in range(1000):
            connection.write(number * 4 * KIB, bytes(4 * KIB))
    syncs = trace.syncs()
    check(not syncs, lambda: f"{len(syncs)} syncs for 1,000 writes: {syncs[:3]}")
    trace.stop()
    return "1,000 writes, 0 syncs"


@test("a flush with nothing new to sync syncs nothing, one with a write syncs once")
def single_flushes():
    daemon, trace = traced_daemon()
    with Connection(daemon.nbd, "disk") as connection:
        connection.write(0, bytes(4 * KIB))
        connection.flush()
        trace.mark()
        for _ in range(50):
            connection.flush()
        check(not trace.syncs(), lambda: f"idle flushes synced: {trace.syncs()[:3]}")
        trace.mark()
        for number in range(100):
            connection.write(number * 4 * KIB, bytes(4 * KIB))
            connection.flush()
        count = len(trace.syncs())
        check(count == 100, f"{count} syncs for 100 writes with a flush each")
        trace.mark()
        for number in range(100):
            connection.write(number * 4 * KIB, bytes(4 * KIB), FUA)
        count = len(trace.syncs())
        check(count == 100, f"{count} syncs for 100 writes with FUA")
    trace.stop()
    return "100 flushes, 100 syncs; 100 FUA writes, 100 syncs"


@test("flushes that wait together share one sync")
def waves():
    daemon, trace = traced_daemon()
    waves, each = 20, 32
    connections = [Connection(daemon.nbd, "disk") for _ in range(each)]
    trace.mark()
    with Connection(daemon.nbd, "disk") as one:
        for wave in range(waves):
            # One packet: all of them are there when the first is looked at.
            one.send(b"".join(
                request(WRITE, n, (wave * each + n) * 4096, 4096) + bytes(4096)
                + request(FLUSH, each + n) for n in range(each)))
            for _ in range(2 * each):
                error, _ = one.simple_reply()
                check(error == 0, f"error {error}")
    pipelined = len(trace.syncs())
    # The first may set off alone; the others wait for the second.
    check(waves <= pipelined <= 3 * waves,
          f"{pipelined} syncs for {waves} waves of {each} flushes on one connection")
    trace.mark()
    for wave in range(waves):
        for number, connection in enumerate(connections):
            connection.send(request(WRITE, 1, number * 4096, 4096) + bytes(4096)
                            + request(FLUSH, 2))
        for connection in connections:
            check(connection.simple_reply()[0] == 0 == connection.simple_reply()[0], "an error")
    spread = len(trace.syncs())
    check(spread < waves * each / 4,
          f"{spread} syncs for {waves} waves of flushes of {each} connections")
    trace.stop()
    return (f"{waves * each} flushes: {pipelined} syncs from one connection, "
            f"{spread} from {each} connections")


@test("64 flushing clients get many times the flushes of one")
def ratio():
    require("make", "gcc")
    run("make", "-s", "-C", f"{ROOT}/Benchmarks", ".build/nbdload")
    daemon = Daemon(environment=QUIET).start()
    daemon.create("disk", 64 * MIB)
    rates = {1: [], 64: []}
    for _ in range(3):
        for clients, found in rates.items():
            found.append(flush_rate(daemon, clients))
    one, many = sorted(rates[1])[1], sorted(rates[64])[1]
    note(f"flushes per second, medians of 3: one client {one:.0f}, 64 clients {many:.0f}")
    # The target is 10; a shared machine gets a margin.
    check(many >= 5 * one, f"64 clients make {many / one:.1f} times the flushes of one")
    return f"ratio {many / one:.1f}, the target is 10"


def flush_rate(daemon, clients):
    """Flushes per second of clients that flush after every write of 4 KiB."""
    done = run(f"{ROOT}/Benchmarks/.build/nbdload", "-u", daemon.nbd, "-x", "disk", "-c", clients,
               "-d", 1, "-b", 4096, "-w", 100, "-f", 1, "-W", 0.3, "-s", 2, "-j")
    return json.loads(done.stdout)["flushes_s"]


if __name__ == "__main__":
    main()
