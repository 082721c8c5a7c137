# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Writes that can be told apart afterwards: every sector carries the number of the write that made
# it, and where it belongs. `Swarm` keeps many in flight over many connections, all in one thread,
# and a `Disk` remembers what was sent and answered. The one thing to know: requests in flight never
# overlap, so that each sector has one order of writes, the client's own.

import selectors
import struct

import nbdclient
from harness import Failure, KIB, MIB, check
from nbdclient import FLUSH, TRIM, WRITE, WRITE_ZEROES

SECTOR = 512
_pair = struct.Struct("<QQ")
_reply = struct.Struct(">IIQ")


def stamped(number, first, count):
    """The content of `count` sectors from `first`, as write `number` makes them."""
    pack = _pair.pack
    return b"".join([pack(number, sector) * 32 for sector in range(first, first + count)])


def describe(data, at):
    """What a sector says it is."""
    sector = bytes(data[at:at + SECTOR])
    if sector == bytes(SECTOR):
        return "zeros"
    number, place = _pair.unpack_from(sector)
    torn = "" if sector == sector[:16] * 32 else ", torn"
    return f"write {number} for sector {place}{torn}"


class Op:
    __slots__ = ("number", "kind", "first", "count", "flags", "acknowledged")

    def __init__(self, number, kind, first, count, flags):
        self.number, self.kind, self.first, self.count = number, kind, first, count
        self.flags = flags
        self.acknowledged = False

    @property
    def content(self):
        if self.kind == WRITE:
            return stamped(self.number, self.first, self.count)
        return bytes(self.count * SECTOR)

    def __repr__(self):
        names = {WRITE: "write", TRIM: "trim", WRITE_ZEROES: "zero", FLUSH: "flush"}
        return f"{names[self.kind]} {self.number}: {self.count} sectors from {self.first}"


class Disk:
    """What a client knows of an export: acknowledged content, and what was in flight."""

    def __init__(self, name, size):
        self.name, self.size = name, size
        self.content = bytearray(size)
        self.in_flight = {}
        self.acknowledged = []  # in the order of the answers
        self.keeps_order = False
        self.flushes = 0
        self.writes = 0

    def overlaps(self, first, count):
        return any(
            first < op.first + op.count and op.first < first + count
            for op in self.in_flight.values())

    def begin(self, op):
        self.in_flight[op.number] = op

    def end(self, op):
        op.acknowledged = True
        del self.in_flight[op.number]
        if op.kind == FLUSH:
            self.flushes += 1
            return
        self.writes += 1
        at = op.first * SECTOR
        self.content[at:at + op.count * SECTOR] = op.content
        if self.keeps_order:
            self.acknowledged.append(op)

    # MARK: After a kill

    def verify(self, found):
        """Every acknowledged write is there; each in flight is whole or absent, and now decided."""
        check(len(found) == self.size, f"{self.name}: {len(found)} bytes, expected {self.size}")
        landed = 0
        for op in self.in_flight.values():
            if op.kind == FLUSH:
                continue
            start, end = op.first * SECTOR, (op.first + op.count) * SECTOR
            now, new = found[start:end], op.content
            if now == new:
                self.content[start:end] = new
                landed += 1
            elif now != self.content[start:end]:
                raise Failure(
                    f"{self.name}: {op!r} was in flight and is torn; "
                    + self._difference(found, start, end))
        self.in_flight.clear()
        if found != self.content:
            raise Failure(f"{self.name}: " + self._difference(found, 0, self.size))
        return landed

    def _difference(self, found, start, end):
        for at in range(start, end, SECTOR):
            if found[at:at + SECTOR] != self.content[at:at + SECTOR]:
                return (
                    f"sector {at // SECTOR} holds {describe(found, at)}, "
                    f"expected {describe(self.content, at)}")
        return "no single sector differs"

    # MARK: After a loss of the host

    def find_cut(self, found):
        """The one index that cuts the history of answers: content is that of the first k.

        Fails if there is none. Requests in flight may be there, whole, if every answered one is.
        """
        history = self.acknowledged
        total = len(history)
        late = [op for op in self.in_flight.values() if op.kind != FLUSH]
        makers = {}  # sector -> indices (from 1) into the history, ascending
        for index, op in enumerate(history, 1):
            for sector in range(op.first, op.first + op.count):
                makers.setdefault(sector, []).append(index)
        late_of = {s: op for op in late for s in range(op.first, op.first + op.count)}
        # matches[k] counts the sectors whose content is that of the first k.
        steps = [0] * (total + 2)
        sectors = self.size // SECTOR
        for sector in range(sectors):
            data = found[sector * SECTOR:(sector + 1) * SECTOR]
            self._count(sector, data, makers.get(sector, ()), late_of.get(sector), steps)
        matching, cuts = 0, []
        for index in range(total + 1):
            matching += steps[index]
            if matching == sectors:
                cuts.append(index)
        if not cuts:
            raise Failure(
                f"{self.name}: no prefix of {total} answered requests explains the content; "
                + self._blame(found, makers))
        for op in late:
            start, end = op.first * SECTOR, (op.first + op.count) * SECTOR
            new, there = op.content, found[start:end]
            if op.kind == WRITE and there != new and any(
                    there[at:at + SECTOR] == new[at:at + SECTOR]
                    for at in range(0, end - start, SECTOR)):
                raise Failure(f"{self.name}: {op!r} was never answered and is torn")
        return cuts[-1]

    def _count(self, sector, data, makers, late, steps):
        """Adds the ranges of k for which `data` is the sector's content."""
        total = len(steps) - 2
        edges = [0, *makers, total + 1]
        history = self.acknowledged
        for position in range(len(edges) - 1):
            if position == 0 or history[edges[position] - 1].kind != WRITE:
                expected = bytes(SECTOR)
            else:
                expected = _pair.pack(history[edges[position] - 1].number, sector) * 32
            if data == expected:
                steps[edges[position]] += 1
                steps[edges[position + 1]] -= 1
            elif late is not None and position == len(edges) - 2:
                new = (
                    bytes(SECTOR) if late.kind != WRITE else _pair.pack(late.number, sector) * 32)
                if data == new:
                    steps[total] += 1
                    steps[total + 1] -= 1

    def _blame(self, found, makers):
        """A pair of sectors that no one index explains."""
        newest, oldest_missing = (0, None), (len(self.acknowledged) + 1, None)
        by_number = {op.number: index for index, op in enumerate(self.acknowledged, 1)}
        for sector, indices in makers.items():
            at = sector * SECTOR
            number = _pair.unpack_from(found, at)[0]
            index = by_number.get(number, 0)
            if index > newest[0]:
                newest = (index, sector)
            later = [i for i in indices if i > index]
            if later and later[0] < oldest_missing[0]:
                oldest_missing = (later[0], sector)
        return (
            f"sector {newest[1]} shows answer {newest[0]}, "
            f"yet sector {oldest_missing[1]} lacks answer {oldest_missing[0]} "
            f"({self.acknowledged[oldest_missing[0] - 1]!r})")


class _Line:
    """One connection of a swarm."""

    def __init__(self, disk, connection):
        self.disk, self.socket = disk, connection.socket
        self.socket.setblocking(False)
        self.out, self.arrived = [], bytearray()
        self.in_flight = {}


class Swarm:
    """Keeps `depth` requests in flight on every connection until told to stop or cut off."""

    numbers = 0

    def __init__(self, path, disks, generator, connections=1, depth=16, largest=4 * MIB,
                 kinds=(WRITE,) * 8 + (WRITE_ZEROES, TRIM), flush_share=0.05, fua_share=0.0):
        self.generator, self.depth, self.largest = generator, depth, largest
        self.kinds, self.flush_share, self.fua_share = kinds, flush_share, fua_share
        self.errors = []
        self.selector = selectors.DefaultSelector()
        self.lines = []
        for disk in disks:
            for _ in range(connections):
                line = _Line(disk, nbdclient.Connection(path, disk.name))
                self.lines.append(line)
                self.selector.register(line.socket, selectors.EVENT_READ, line)

    @property
    def in_flight(self):
        return sum(len(line.in_flight) for line in self.lines)

    def run(self, should_stop, is_cut_off=lambda: False):
        """Until `should_stop()`, then until every answer is there or the server is gone."""
        stopping = False
        while self.lines:
            stopping = stopping or should_stop()
            if not stopping:
                self._fill()
            elif self.in_flight == 0:
                break
            for key, mask in self.selector.select(0.02):
                line = key.data
                if mask & selectors.EVENT_WRITE and line in self.lines:
                    self._push(line)
                if mask & selectors.EVENT_READ and line in self.lines:
                    self._take(line)
            if is_cut_off():
                self._take_rest()
                break
        self.close()

    def close(self):
        for line in list(self.lines):
            self._drop(line)
        self.selector.close()

    def _take_rest(self):
        """What a dead server said last is still in the sockets."""
        for line in list(self.lines):
            while line in self.lines and self._take(line):
                pass

    # MARK: One line

    def _fill(self):
        for line in list(self.lines):
            while len(line.in_flight) < self.depth and not self._is_clogged(line):
                op = self._choose(line.disk)
                if op is None:
                    break
                line.disk.begin(op)
                line.in_flight[op.number] = op
                payload = op.content if op.kind == WRITE else b""
                line.out.append(memoryview(nbdclient.request(
                    op.kind, op.number, op.first * SECTOR, op.count * SECTOR, op.flags) + payload))
                self._push(line)

    def _is_clogged(self, line):
        # Small requests may queue up behind a large one; memory is not without end.
        return sum(len(part) for part in line.out) > 16 * MIB

    def _choose(self, disk):
        random = self.generator
        Swarm.numbers += 1
        if random.random() < self.flush_share:
            return Op(Swarm.numbers, FLUSH, 0, 0, 0)
        kind = random.choice(self.kinds)
        sectors = disk.size // SECTOR
        for _ in range(20):
            count = int(2 ** random.uniform(0, (self.largest // SECTOR).bit_length() - 1))
            first = random.randrange(sectors)
            if random.random() < 0.6:
                first -= first % 8
            if kind == TRIM:
                # Only whole grains are promised to read as zeros.
                first -= first % 8
                count = max(8, count - count % 8)
            count = min(count, sectors - first)
            if kind == TRIM and count % 8:
                continue
            if not disk.overlaps(first, count):
                fua = nbdclient.FUA if random.random() < self.fua_share else 0
                return Op(Swarm.numbers, kind, first, count, fua)
        return None

    def _push(self, line):
        try:
            while line.out:
                sent = line.socket.send(line.out[0])
                if sent < len(line.out[0]):
                    line.out[0] = line.out[0][sent:]
                else:
                    line.out.pop(0)
        except BlockingIOError:
            pass
        except OSError:
            self._take_to_end(line)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.out else 0)
        self.selector.modify(line.socket, events, line)

    def _take_to_end(self, line):
        while line in self.lines and self._take(line):
            pass
        if line in self.lines:
            self._drop(line)

    def _take(self, line):
        """Reads answers; false if there are none now."""
        try:
            part = line.socket.recv(64 * KIB)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        if not part:
            self._drop(line)
            return False
        line.arrived += part
        whole = len(line.arrived) - len(line.arrived) % 16
        for at in range(0, whole, 16):
            magic, error, cookie = _reply.unpack_from(line.arrived, at)
            check(magic == nbdclient.SIMPLE_MAGIC, f"a reply begins with {magic:#x}")
            op = line.in_flight.pop(cookie)
            if error:
                self.errors.append((error, op))
                # Nobody knows what became of it: as if it were still in flight.
            else:
                line.disk.end(op)
        del line.arrived[:whole]
        return True

    def _drop(self, line):
        self.lines.remove(line)
        self.selector.unregister(line.socket)
        line.socket.close()
