# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# NBD by hand: as much as the tests need to keep many requests in flight, and to break the protocol
# on purpose, which no library lets one do. Simple replies only, but where a test asks for more.

import socket
import struct

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT = 8, 9, 10
REP_ACK, REP_SERVER, REP_INFO, REP_META_CONTEXT = 1, 2, 3, 4
REP_ERR = 1 << 31

REQUEST_MAGIC, SIMPLE_MAGIC, OPTION_REPLY_MAGIC = 0x25609513, 0x67446698, 0x3E889045565A9
_reply = struct.Struct(">IIQ")
_request = struct.Struct(">IHHQQI")


def request(kind, cookie, offset=0, length=0, flags=0):
    """The bytes of a request's header."""
    return _request.pack(REQUEST_MAGIC, flags, kind, cookie, offset, length)


class Refused(Exception):
    """The server answered an option with an error."""

    def __init__(self, code, text):
        super().__init__(f"{code:#x} {text}")
        self.code = code


class Connection:
    """A blocking connection, negotiated as far as the caller wants."""

    def __init__(self, path, export=None, timeout=60, greet=True):
        self.socket = socket.socket(socket.AF_UNIX)
        # Blocking: where the queue of a listener is full, this waits.
        self.socket.connect(path)
        self.socket.settimeout(timeout)
        self.size = self.flags = None
        if greet:
            self.greet()
        if export is not None:
            self.go(export)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # MARK: Bytes

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                raise EOFError("the server closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def closed_by_server(self, seconds=30):
        """True if the server closes the connection, whatever it still says before."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    # MARK: Haggling

    def greet(self):
        magic, option_magic, self.server_flags = struct.unpack(">8s8sH", self.receive(18))
        assert (magic, option_magic) == (b"NBDMAGIC", b"IHAVEOPT"), (magic, option_magic)
        self.send(struct.pack(">I", 3))

    def send_option(self, option, data=b"", length=None, magic=b"IHAVEOPT"):
        count = len(data) if length is None else length
        self.send(struct.pack(">8sII", magic, option, count) + data)

    def option_reply(self):
        magic, option, kind, length = struct.unpack(">QIII", self.receive(20))
        assert magic == OPTION_REPLY_MAGIC, hex(magic)
        return option, kind, self.receive(length)

    def option(self, option, data=b""):
        """Sends an option; its replies but the final ACK. Raises `Refused`."""
        self.send_option(option, data)
        replies = []
        while True:
            answered, kind, body = self.option_reply()
            assert answered == option, (answered, option)
            if kind & REP_ERR:
                raise Refused(kind, body.decode(errors="replace"))
            if kind == REP_ACK:
                return replies
            replies.append((kind, body))

    def go(self, export):
        name = export.encode()
        for kind, body in self.option(OPT_GO, struct.pack(">I", len(name)) + name + b"\0\0"):
            if kind == REP_INFO and struct.unpack(">H", body[:2])[0] == 0:
                _, self.size, self.flags = struct.unpack(">HQH", body)

    # MARK: Requests

    def submit(self, kind, cookie, offset=0, length=0, flags=0, payload=b""):
        self.send(request(kind, cookie, offset, length or len(payload), flags) + payload)

    def simple_reply(self):
        """The next reply's (error, cookie)."""
        magic, error, cookie = _reply.unpack(self.receive(16))
        assert magic == SIMPLE_MAGIC, hex(magic)
        return error, cookie

    def call(self, kind, offset=0, length=0, flags=0, payload=b""):
        """One request, its error, and what a read brought."""
        self.submit(kind, 7, offset, length, flags, payload)
        error, cookie = self.simple_reply()
        assert cookie == 7, cookie
        data = self.receive(length) if kind == READ and error == 0 else b""
        return error, data

    def read(self, offset, length):
        error, data = self.call(READ, offset, length)
        if error:
            raise OSError(error, f"read of {length} at {offset}")
        return data

    def write(self, offset, payload, flags=0):
        error, _ = self.call(WRITE, offset, flags=flags, payload=payload)
        if error:
            raise OSError(error, f"write of {len(payload)} at {offset}")

    def flush(self):
        error, _ = self.call(FLUSH)
        if error:
            raise OSError(error, "flush")


def read_all(path, export, step=8 << 20, timeout=60):
    """The whole content of an export."""
    with Connection(path, export, timeout=timeout) as connection:
        parts = [
            connection.read(at, min(step, connection.size - at))
            for at in range(0, connection.size, step)]
    return b"".join(parts)
