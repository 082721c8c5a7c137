# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Clients that break the protocol, vanish, or never read: each costs its own connection and nothing
# else. After every one the well-behaved client beside it must still be served, at once, and the
# daemon must not have grown.

import os
import random
import socket
import struct
import time

import nbdclient
from harness import KIB, MIB, Daemon, SEED, check, equal, main, note, test
from nbdclient import (
    OPT_ABORT, OPT_EXPORT_NAME, OPT_GO, OPT_INFO, OPT_LIST, OPT_SET_META_CONTEXT,
    OPT_STRUCTURED_REPLY, Connection, request)

SIZE = 64 * MIB
# What hostile clients together may make the daemon hold.
GROWTH = 96 * MIB


class Beside:
    """A daemon with a good client on it; `still_serves` is the verdict after each attack."""

    def __init__(self):
        self.daemon = Daemon(environment={"MARTLET_COMMIT_MAX_AGE_SECS": "3600"}).start()
        self.daemon.create("disk", SIZE)
        self.daemon.create("other", SIZE)
        self.good = Connection(self.daemon.nbd, "disk")
        self.number = 0
        self.still_serves()
        # What a first use takes is not growth.
        for _ in range(4):
            self.good.write(0, bytes(4 * MIB))
            self.good.read(0, 32 * MIB)
        self.before = self.daemon.resident_bytes()

    def still_serves(self):
        check(self.daemon.is_running(), "the daemon died")
        self.number += 1
        data = struct.pack("<Q", self.number) * 512
        began = time.monotonic()
        self.good.write(8 * KIB, data)
        equal(self.good.read(8 * KIB, 4 * KIB), data, "the good client's data")
        with Connection(self.daemon.nbd, "other") as fresh:
            fresh.write(0, data)
            equal(fresh.read(0, 512), data[:512], "a new client's data")
        took = time.monotonic() - began
        check(took < 10, f"the good client waited {took:.1f} s")

    def has_not_grown(self, held=()):
        """While the connections `held` are there; it serves on when they are not."""
        growth = self.daemon.resident_bytes() - self.before
        check(growth < GROWTH, f"the daemon grew by {growth // MIB} MiB")
        for connection in held:
            connection.close()
        if held:
            self.still_serves()
        return f"resident memory {growth / MIB:+.1f} MiB"


@test("a client that vanishes in the middle of anything costs only itself")
def vanish():
    beside = Beside()
    path = beside.daemon.nbd
    payload = os.urandom(MIB)
    for cut in (1, 16, 27, 28, 29, 4096, 500_000, MIB + 27):
        connection = Connection(path, "disk")
        connection.send((request(nbdclient.WRITE, 1, 16 * MIB, MIB) + payload)[:cut])
        connection.close()
    for cut in range(0, 18, 5):
        connection = Connection(path, greet=False)
        connection.receive(18)
        connection.send(b"\0\0\0\3IHAVEOPT\0\0\0\7"[:cut])
        connection.close()
    for _ in range(200):
        Connection(path, greet=False).close()
    # With answers on their way.
    for _ in range(20):
        connection = Connection(path, "disk")
        for number in range(16):
            connection.submit(nbdclient.READ, number, 0, 4 * MIB)
        connection.close()
    beside.still_serves()
    # A write that never came whole is not there.
    equal(beside.good.read(16 * MIB, MIB), bytes(MIB), "what half requests left")
    return beside.has_not_grown()


@test("garbage instead of a request, and requests that the protocol forbids")
def garbage():
    beside = Beside()
    path = beside.daemon.nbd
    generator = random.Random(SEED)
    note(f"seed {SEED}")
    for magic in (0, 0x25609514, 0xFFFFFFFF):
        connection = Connection(path, "disk")
        connection.send(struct.pack(">IHHQQI", magic, 0, 0, 1, 0, 512) * 4)
        check(connection.closed_by_server(), f"magic {magic:#x} was taken")
    for _ in range(50):
        connection = Connection(path, "disk")
        connection.send(generator.randbytes(generator.choice((28, 100, 5000))))
        check(connection.closed_by_server(), "noise was taken")
    for _ in range(50):
        connection = Connection(path, greet=False)
        connection.receive(18)
        connection.send(b"\0\0\0\3" + generator.randbytes(300))
        check(connection.closed_by_server(), "noise in the handshake was taken")
    beside.still_serves()
    # Answered with an error, and the connection lives.
    connection = Connection(path, "disk")
    for kind, offset, length, flags, error in (
            (nbdclient.READ, SIZE, 512, 0, 22), (nbdclient.READ, SIZE - 512, 1024, 0, 22),
            (nbdclient.READ, (1 << 64) - 512, 1024, 0, 22),
            (nbdclient.READ, 0, 0xFFFFFFFF, 0, None), (nbdclient.READ, 0, 33 * MIB, 0, None),
            (nbdclient.TRIM, SIZE - 512, 1024, 0, 22), (99, 0, 512, 0, 22),
            (nbdclient.READ, 0, 512, 0x8000, 22), (nbdclient.BLOCK_STATUS, 0, 512, 0, 22),
            (nbdclient.WRITE_ZEROES, SIZE - 4096, 8192, 0, None)):
        found, _ = connection.call(kind, offset, length, flags)
        check(found != 0 and (error is None or found == error),
              f"request {kind} at {offset} of {length} bytes, flags {flags:#x}: error {found}")
    equal(connection.read(0, 512), beside.good.read(0, 512), "after all those errors")
    # A write past the end: the payload is read over, then ENOSPC or EINVAL.
    error, _ = connection.call(nbdclient.WRITE, SIZE - 512, payload=bytes(1024))
    check(error in (22, 28), f"a write past the end: error {error}")
    equal(connection.read(0, 512), beside.good.read(0, 512), "after a write past the end")
    beside.still_serves()
    return beside.has_not_grown()


@test("huge lengths, of requests and of options, are refused without memory for them")
def huge_lengths():
    beside = Beside()
    path = beside.daemon.nbd
    held = []
    for _ in range(30):
        connection = Connection(path, "disk")
        connection.submit(nbdclient.WRITE, 1, 0, 0xFFFFFFFF)
        held.append(connection)
    for _ in range(30):
        connection = Connection(path)
        connection.send_option(OPT_GO, b"", length=0xFFFFFFFF)
        held.append(connection)
        connection = Connection(path)
        connection.send_option(OPT_EXPORT_NAME, b"", length=0x7FFFFFFF)
        held.append(connection)
    for _ in range(10):
        # The largest that is allowed, promised and never sent.
        connection = Connection(path, "disk")
        connection.send(request(nbdclient.WRITE, 1, 0, 32 * MIB) + bytes(100))
        held.append(connection)
    beside.still_serves()
    return beside.has_not_grown(held)


@test("10,000 options, or a thousand of any kind, end the handshake and nothing else")
def option_flood():
    beside = Beside()
    path = beside.daemon.nbd
    floods = (
        (OPT_LIST, b""), (OPT_INFO, struct.pack(">I", 4) + b"disk\0\0"), (77, b"x" * 1000),
        (OPT_STRUCTURED_REPLY, b""), (OPT_INFO, struct.pack(">I", 4000) + b"x" * 10),
        (OPT_SET_META_CONTEXT, struct.pack(">I", 4) + b"disk" + struct.pack(">I", 0x10000000)))
    for option, data in floods:
        connection = Connection(path, timeout=30)
        sent = 0
        try:
            piece = (struct.pack(">8sII", b"IHAVEOPT", option, len(data)) + data) * 100
            for _ in range(100):
                connection.send(piece)
                sent += 100
        except (ConnectionError, TimeoutError):
            pass
        check(connection.closed_by_server(), f"10,000 options {option} did not end the handshake")
        beside.still_serves()
    # What is well-formed and unknown is refused, and haggling goes on.
    connection = Connection(path)
    for option in (77, nbdclient.OPT_STARTTLS):
        try:
            connection.option(option)
            check(False, f"option {option} was taken")
        except nbdclient.Refused:
            pass
    try:
        connection.go("no-such-export")
        check(False, "an unknown export was found")
    except nbdclient.Refused as refusal:
        equal(refusal.code, 0x80000006, "the refusal of an unknown export")
    connection.go("disk")
    equal(len(connection.read(0, 512)), 512, "a read after refusals")
    connection = Connection(path)
    equal(connection.option(OPT_ABORT), [], "ABORT")
    check(connection.closed_by_server(), "ABORT did not end the connection")
    return beside.has_not_grown()


@test("clients that never read their replies are held at a bound")
def never_read():
    beside = Beside()
    path = beside.daemon.nbd
    held = []
    for _ in range(16):
        connection = Connection(path, "disk", timeout=5)
        connection.socket.setblocking(False)
        try:
            for number in range(2000):
                connection.socket.send(request(nbdclient.READ, number, 0, 4 * MIB))
        except BlockingIOError:
            pass
        held.append(connection)
    for _ in range(16):
        connection = Connection(path, "disk", timeout=5)
        connection.socket.setblocking(False)
        try:
            while True:
                connection.socket.send(request(nbdclient.FLUSH, 1) * 500)
        except (BlockingIOError, ConnectionError):
            pass
        held.append(connection)
    for _ in range(3):
        time.sleep(0.5)
        beside.still_serves()
    return beside.has_not_grown(held)


@test("300 handshakes that say one byte at a time keep nobody waiting")
def slow_loris():
    beside = Beside()
    path = beside.daemon.nbd
    opening = b"\0\0\0\3" + struct.pack(">8sII", b"IHAVEOPT", OPT_GO, 10)
    slow = [Connection(path, greet=False) for _ in range(300)]
    for step in range(12):
        for connection in slow:
            try:
                connection.send(opening[step:step + 1])
            except OSError:
                pass
        if step % 4 == 0:
            beside.still_serves()
    # One that did hurry gets through in the crowd.
    with Connection(path, "other") as connection:
        equal(len(connection.read(0, 512)), 512, "a read in the crowd")
    result = beside.has_not_grown()
    for connection in slow:
        connection.close()
    beside.still_serves()
    return result


@test("the API survives clients that say nonsense, nothing, or never end")
def api_clients():
    beside = Beside()
    held = []
    for opening in (b"", b"GET", b"GET /api/exports HTTP/1.1\r\n", b"\0\xff" * 500,
                    b"PUT /api/exports/a HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n{",
                    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n"):
        for _ in range(5):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(beside.daemon.api)
            try:
                connection.sendall(opening)
            except OSError:
                pass
            held.append(connection)
    equal(beside.daemon.http("GET", "/health").status, 200, "health beside them")
    beside.still_serves()
    result = beside.has_not_grown()
    for connection in held:
        connection.close()
    equal(beside.daemon.http("GET", "/health").status, 200, "health after them")
    return result


if __name__ == "__main__":
    main()
