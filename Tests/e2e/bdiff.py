# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A second reader of block diffs, written from docs/formats/bdiff.md and nothing else: what two
# programs read alike is what the page says. Hashes and codecs come from the C libraries.

import ctypes
import ctypes.util
import struct

BLOCK = 4096
MAGIC1, MAGIC2 = b"BDIFFv1\0", b"BDIFFv2\0"
DATA, ZEROS, HOLE = 1, 2, 3
RAW, LZ4, ZSTD = 1, 2, 3


class BadDiff(ValueError):
    pass


def need(condition, what):
    if not condition:
        raise BadDiff(what)


def _library(name):
    path = ctypes.util.find_library(name)
    need(path, f"no lib{name} here")
    return ctypes.CDLL(path)


def xxh3(data, seed):
    function = _library("xxhash").XXH3_64bits_withSeed
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return function(data, len(data), seed % 2 ** 64)


def decompress(codec, stored, length):
    if codec == RAW:
        need(len(stored) == length, "raw data of another length")
        return stored
    room = ctypes.create_string_buffer(length)
    if codec == LZ4:
        got = _library("lz4").LZ4_decompress_safe(stored, room, len(stored), length)
    else:
        need(codec == ZSTD, f"codec {codec}")
        function = _library("zstd").ZSTD_decompress
        function.restype = ctypes.c_size_t
        function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        got = function(room, length, stored, len(stored))
    need(got == length, "data that does not decompress")
    return room.raw


class Diff:
    """A diff file: its sizes, and its changes as (kind, offset, length, bytes or None)."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            magic = file.read(8)
            need(magic in (MAGIC1, MAGIC2), "no block diff")
            self.version = 1 if magic == MAGIC1 else 2
            file.seek(0)
            if self.version == 1:
                self._read_v1(file)
            else:
                self._read_v2(file)

    def _read_v1(self, file):
        _, self.target_size, self.base_size, count = struct.unpack("<8sQQQ", file.read(32))
        table = struct.unpack(f"<{2 * count}Q", file.read(16 * count))
        self.ranges = list(zip(table[::2], table[1::2]))
        end = 0
        for offset, length in self.ranges:
            need(length > 0 and offset >= end and offset + length <= self.target_size, "ranges")
            end = offset + length
        header = 32 + 16 * count
        self.data_start = -(-header // BLOCK) * BLOCK
        need(not any(file.read(self.data_start - header)), "padding")

    def _read_v2(self, file):
        header = file.read(96)
        (_, self.target_size, self.base_size, self.base_digest, self.target_digest, self.pieces,
         reserve, self.seed) = struct.unpack("<8sQQ16s16sQ24sQ", header)
        need(not any(reserve), "reserve")
        need(xxh3(header[:88], 0) == self.seed, "checksum of the header")
        self.data_start = 96

    def changes(self):
        with open(self.path, "rb") as file:
            file.seek(self.data_start)
            yield from self._changes_v1(file) if self.version == 1 else self._changes_v2(file)
            need(not file.read(1), "more than there should be")

    def _changes_v1(self, file):
        for offset, length in self.ranges:
            while length:
                data = file.read(min(length, 1 << 20))
                need(data, "cut short")
                yield DATA, offset, len(data), data
                offset += len(data)
                length -= len(data)

    def _changes_v2(self, file):
        end = 0
        for number in range(self.pieces):
            head = file.read(32)
            offset, length, count, kind, codec, reserve, checksum = struct.unpack(
                "<QQIBBHQ", head)
            stored = file.read(count)
            seed = xxh3(head[:24], self.seed + number)
            need(xxh3(stored, seed) == checksum, f"checksum of piece {number}")
            need(reserve == 0 and offset >= end and length > 0, f"piece {number}")
            need(offset + length <= self.target_size, f"piece {number}")
            end = offset + length
            if kind == DATA:
                yield kind, offset, length, decompress(codec, stored, length)
            else:
                need(kind in (ZEROS, HOLE) and codec == 0 and count == 0, f"piece {number}")
                yield kind, offset, length, None

    def apply(self, file):
        """Turns a file that holds the base into the target."""
        file.truncate(self.target_size)
        for _, offset, length, data in self.changes():
            file.seek(offset)
            while length:
                part = data or bytes(min(length, 1 << 20))
                file.write(part)
                length -= len(part)
        file.truncate(self.target_size)
