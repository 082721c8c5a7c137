#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A proxy that stands before an object store and harms what passes: it delays, slows, cuts off,
# flips, loses replies. The one thing to know: every request has a connection of its own to the
# store, and unless a fault says otherwise the store carries it out.
#
#   proxy.py --listen PORT --control PORT --upstream HOST:PORT --log FILE
#
# PUT on the control port replaces what it does; GET shows it with `hits` per fault:
#
#   {"latency_ms": 20, "bandwidth": 1000000, "faults": [
#     {"effect": "lose-reply", "method": "PUT", "path": "/commits/", "skip": 1, "times": 1}]}
#
# `latency_ms` before each request; `bandwidth` in bytes a second, each way, over all connections.
# A fault strikes requests whose method is equal, whose path contains `path`, after `skip` such, at
# most `times` times (0: always), each with probability `share`. The first that matches decides:
#
#   lose-reply   the store carries the request out; the client's connection is closed without a byte
#   hold-reply   the same, and the connection stays open and silent
#   truncate     the reply's body ends after `bytes`, and the connection with it
#   reset        the connection is reset after `bytes` of the reply's body
#   flip         one byte of the reply's body, number `bytes`, is inverted
#   refuse       the connection is closed and the store never sees the request
#   hold         the connection stays open and silent and the store never sees the request
#   status       the client gets `status` (default 503) with `code` (default SlowDown), and the store
#                never sees the request

import argparse
import asyncio
import json
import random
import socket
import struct
import time

CHUNK = 64 << 10
EFFECTS = {"lose-reply", "hold-reply", "truncate", "reset", "flip", "refuse", "hold", "status"}
WITHOUT_STORE = {"refuse", "hold", "status"}
FIELDS = {"effect", "method", "path", "skip", "times", "share", "bytes", "status", "code"}


class Gone(Exception):
    """One side closed its connection."""


class Head:
    """The first line and the headers of a message, kept as they came."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw.split(b"\r\n")
        self.first = lines[0].decode("latin-1").split(" ", 2)
        self.fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name:
                self.fields[name.strip().lower()] = value.strip()

    @property
    def length(self):
        value = self.fields.get(b"content-length")
        return None if value is None else int(value)

    @property
    def is_chunked(self):
        return b"chunked" in self.fields.get(b"transfer-encoding", b"").lower()

    @property
    def closes(self):
        return self.fields.get(b"connection", b"").lower() == b"close"


async def read_head(reader):
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError) as error:
        raise Gone(str(error)) from None


async def body_parts(reader, head, until_close=False):
    """The bytes of a body as they are on the wire, in pieces; (piece, is_content)."""
    if head.is_chunked:
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line, False
            left = int(line.split(b";")[0], 16)
            if left == 0:
                while line != b"\r\n":
                    line = await reader.readuntil(b"\r\n")
                    yield line, False
                return
            while left:
                part = await reader.read(min(CHUNK, left))
                if not part:
                    raise Gone("in a chunk")
                left -= len(part)
                yield part, True
            yield await reader.readexactly(2), False
    elif head.length is not None:
        left = head.length
        while left:
            part = await reader.read(min(CHUNK, left))
            if not part:
                raise Gone("in a body")
            left -= len(part)
            yield part, True
    elif until_close:
        while part := await reader.read(CHUNK):
            yield part, True


class Link:
    """One direction of the wire: bytes a second over all connections."""

    def __init__(self):
        self.free_at = 0.0

    async def carry(self, count, rate):
        if not rate:
            return
        now = time.monotonic()
        self.free_at = max(now, self.free_at) + count / rate
        await asyncio.sleep(self.free_at - now)


class Proxy:
    def __init__(self, upstream, log):
        host, _, port = upstream.rpartition(":")
        self.host, self.upstream_port = host, int(port)
        self.log = log
        self.settings = {"latency_ms": 0, "bandwidth": 0, "faults": []}
        self.seen, self.hits = [], []
        self.up, self.down = Link(), Link()

    # MARK: Settings

    def set(self, settings):
        unknown = settings.keys() - {"latency_ms", "bandwidth", "faults"}
        for fault in settings.get("faults", []):
            unknown |= fault.keys() - FIELDS
            if fault.get("effect") not in EFFECTS:
                unknown |= {str(fault.get("effect"))}
        if unknown:
            raise ValueError(f"unknown: {sorted(unknown)}")
        self.settings = {"latency_ms": 0, "bandwidth": 0, "faults": [], **settings}
        self.seen = [0] * len(self.settings["faults"])
        self.hits = [0] * len(self.settings["faults"])

    def choose(self, method, target):
        """The fault that this request meets, or None."""
        path = target.partition("?")[0]
        for number, fault in enumerate(self.settings["faults"]):
            if fault.get("method") not in (None, method) or fault.get("path", "") not in path:
                continue
            self.seen[number] += 1
            if self.seen[number] <= fault.get("skip", 0):
                continue
            times = fault.get("times", 1)
            if times and self.hits[number] >= times:
                continue
            if random.random() >= fault.get("share", 1):
                continue
            self.hits[number] += 1
            return fault
        return None

    # MARK: A connection

    async def serve(self, reader, writer):
        try:
            while await self.serve_one(reader, writer):
                pass
        except (Gone, ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()

    async def serve_one(self, reader, writer):
        """One request; false if the connection ends with it."""
        head = await read_head(reader)
        method, target = head.first[0], head.first[1]
        fault = self.choose(method, target) or {}
        effect = fault.get("effect")
        if self.settings["latency_ms"]:
            await asyncio.sleep(self.settings["latency_ms"] / 1000)
        if effect in WITHOUT_STORE:
            return await self.answer_alone(reader, writer, head, fault)
        if head.fields.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        store_reader, store_writer = await asyncio.open_connection(
            self.host, self.upstream_port, limit=CHUNK)
        try:
            store_writer.write(head.raw)
            async for part, _ in body_parts(reader, head):
                await self.up.carry(len(part), self.settings["bandwidth"])
                store_writer.write(part)
                await store_writer.drain()
            reply = await read_head(store_reader)
            while reply.first[1].startswith("1"):
                reply = await read_head(store_reader)
            status = int(reply.first[1])
            has_body = method != "HEAD" and status not in (204, 304)
            harm = Harm(fault)
            if effect in ("lose-reply", "hold-reply"):
                if has_body:
                    async for _ in body_parts(store_reader, reply, until_close=True):
                        pass
                self.record(method, target, status, effect)
                if effect == "hold-reply":
                    await wait_for_end(reader)
                return False
            writer.write(reply.raw)
            if has_body:
                async for part, is_content in body_parts(store_reader, reply, until_close=True):
                    await self.down.carry(len(part), self.settings["bandwidth"])
                    writer.write(harm.apply(part) if is_content else part)
                    await writer.drain()
                    if harm.is_over:
                        break
            self.record(method, target, status, effect if harm.struck else None)
            if harm.is_over:
                if effect == "reset":
                    reset(writer)
                return False
            await writer.drain()
            is_open_ended = has_body and not reply.is_chunked and reply.length is None
            return not (head.closes or reply.closes or is_open_ended)
        finally:
            store_writer.close()

    async def answer_alone(self, reader, writer, head, fault):
        method, target = head.first[0], head.first[1]
        effect, status = fault["effect"], fault.get("status", 503)
        self.record(method, target, status if effect == "status" else 0, effect)
        if effect == "hold":
            await wait_for_end(reader)
        if effect != "status":
            return False
        if head.fields.get(b"expect", b"").lower() != b"100-continue":
            async for _ in body_parts(reader, head):
                pass
        body = b"" if method == "HEAD" else (
            f"<Error><Code>{fault.get('code', 'SlowDown')}</Code></Error>".encode())
        writer.write(b"HTTP/1.1 %d Injected\r\nContent-Type: application/xml\r\n"
                     b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (
                         status, len(body), body))
        await writer.drain()
        return False

    def record(self, method, target, status, effect):
        self.log.write(json.dumps({
            "method": method, "target": target, "status": status, "effect": effect}) + "\n")
        self.log.flush()

    # MARK: The control port

    async def control(self, reader, writer):
        try:
            head = await read_head(reader)
            body = await reader.readexactly(head.length or 0)
            status = 200
            reply = {}
            if head.first[0] == "PUT":
                try:
                    self.set(json.loads(body))
                except (ValueError, AttributeError) as error:
                    status, reply = 400, {"error": str(error)}
            else:
                reply = {**self.settings, "hits": self.hits}
            text = json.dumps(reply).encode()
            writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
                status, len(text), text))
            await writer.drain()
        except (Gone, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Harm:
    """What happens to the content of one reply."""

    def __init__(self, fault):
        self.effect = fault.get("effect")
        self.at = fault.get("bytes", 0)
        self.passed = 0
        self.struck = False
        self.is_over = False

    def apply(self, part):
        start, self.passed = self.passed, self.passed + len(part)
        if self.effect in ("truncate", "reset") and self.passed > self.at:
            self.struck = self.is_over = True
            return part[:self.at - start]
        if self.effect == "flip" and start <= self.at < self.passed:
            self.struck = True
            damaged = bytearray(part)
            damaged[self.at - start] ^= 0xFF
            return bytes(damaged)
        return part


async def wait_for_end(reader):
    """Until the client gives up."""
    while await reader.read(CHUNK):
        pass


def reset(writer):
    """Closes so that the client gets a reset, not an end."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("listen", int), ("control", int), ("upstream", str), ("log", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    options = parser.parse_args()
    with open(options.log, "a") as log:
        proxy = Proxy(options.upstream, log)
        servers = [
            await asyncio.start_server(proxy.serve, "127.0.0.1", options.listen, limit=CHUNK),
            await asyncio.start_server(proxy.control, "127.0.0.1", options.control, limit=CHUNK)]
        await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
