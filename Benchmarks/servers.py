# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The servers that a benchmark starts: Martlet through its public command line, and its peers. Each
# listens on a unix socket in a scratch directory and is stopped by its own process id.

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time


def parse_bytes(text):
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    return int(text[:-1]) << units[text[-1]] if text[-1:] in units else int(text)


def fill_image(path, size):
    """Incompressible bytes, on disk before anything is measured."""
    with open(path, "wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))
        file.flush()
        os.fsync(file.fileno())


def wait_for_socket(path, process, name):
    for _ in range(200):
        if os.path.exists(path):
            return
        if process.poll() is not None:
            sys.exit(f"bench: {name} ended with status {process.returncode}")
        time.sleep(0.05)
    sys.exit(f"bench: {name} does not listen on {path}")


class Server:
    def start(self, name, command, environment=None, stdout=subprocess.DEVNULL):
        self.name = name
        self.process = subprocess.Popen(
            command, stdout=stdout, stderr=open(self.socket + ".log", "w", encoding="utf-8"),
            env={**os.environ, **(environment or {})}, text=True)
        self.pid = self.process.pid

    def prepare(self, load):
        """Called before each measurement, which does not count what it does."""

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Peer(Server):
    def __init__(self, name, work, size, load):
        if shutil.which(name.split("-")[0] if "nbdkit" in name else "qemu-nbd") is None:
            sys.exit(f"bench: {name} is not installed: scripts/setup.sh --test installs it")
        self.socket = os.path.join(work, name + ".sock")
        self.exports = [""]
        image = os.path.join(work, name + ".img")
        if name != "nbdkit-memory":
            shutil.copyfile(os.path.join(work, "data.img"), image)
        qemu = ["qemu-nbd", "-f", "raw", "-k", self.socket, "-t", "-e", "128", "--cache=writeback"]
        self.start(name, {
            "nbdkit-file": ["nbdkit", "-f", "-U", self.socket, "file", image],
            "nbdkit-memory": ["nbdkit", "-f", "-U", self.socket, "memory", str(size)],
            "qemu-uring": qemu + ["--aio=io_uring", image],
            "qemu-threads": qemu + ["--aio=threads", image],
        }[name])
        wait_for_socket(self.socket, self.process, name)
        if name == "nbdkit-memory":
            write_all(load, self.socket, "", size)


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Martlet(Server):
    """A daemon with a store and a cache directory of its own."""

    def __init__(self, binary, work, settings=None, wrapper=(), name="martlet"):
        self.binary = binary
        self.socket = os.path.join(work, name + ".sock")
        self.api = os.path.join(work, name + "-api.sock")
        self.store = os.path.join(work, name + "-store")
        self.cache = os.path.join(work, name + "-cache")
        self.exports = []
        self.sizes = {}
        self.command = [
            *wrapper, binary, "run", "--store", "file://" + self.store, "--cache", self.cache,
            "--nbd", "unix:" + self.socket, "--api", "unix:" + self.api]
        self.settings = {"SWIFT_BACKTRACE": "enable=no", **(settings or {})}
        self.name = name
        self.begin()

    def begin(self):
        """Starts the process; the seconds until it said that it is ready."""
        began = time.monotonic()
        self.start(self.name, self.command, self.settings, subprocess.PIPE)
        for line in self.process.stdout:
            if line.startswith("ready:"):
                return time.monotonic() - began
        sys.exit(f"bench: martlet ended before it was ready: {open(self.socket + '.log').read()}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def lose_cache(self):
        shutil.rmtree(self.cache)

    def call(self, method, path, body=None):
        """An API call that must succeed; its JSON, or its text."""
        connection = UnixHTTP(self.api)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"} if body is not None else {})
            reply = connection.getresponse()
            text = reply.read().decode()
        finally:
            connection.close()
        if not 200 <= reply.status < 300:
            sys.exit(f"bench: {method} {path}: {reply.status} {text[:500]}")
        return json.loads(text) if "json" in reply.getheader("Content-Type", "") else text

    def counters(self):
        """Metric with labels -> value."""
        values = {}
        for text in self.call("GET", "/metrics").splitlines():
            if text and not text.startswith("#"):
                name, value = text.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def gets(self):
        return int(self.counters()['martlet_store_requests_total{operation="get"}'])

    def objects(self):
        """Key -> bytes of everything in the store: created objects are PUTs, whoever counts."""
        found = {}
        for folder, _, names in os.walk(self.store):
            for name in names:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, self.store)] = os.path.getsize(path)
        return found

    def put(self, name, size=None, **more):
        body = dict(more)
        if size is not None:
            body["size_bytes"] = size
        self.call("PUT", f"/api/exports/{name}", body)

    def drain(self, name):
        self.call("POST", f"/api/exports/{name}/drain")

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as status:
            return next(int(row.split()[1]) for row in status if row.startswith("VmRSS")) << 10

    def thread_cpu_seconds(self, prefixes):
        """User and system time of the threads whose name begins with one of these."""
        ticks = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat", encoding="utf-8") as stat:
                text = stat.read()
            if text[text.index("(") + 1:].startswith(prefixes):
                fields = text[text.rindex(")") + 2:].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def create(self, count, size, load):
        """Makes exports bench0, bench1, … ; the first is as large as the image, the others share
        its size between them. All are filled."""
        for index in range(count):
            bytes_ = size if index == 0 else max(size // count, 1 << 20)
            name = f"bench{index}"
            self.put(name, bytes_)
            self.exports.append(name)
            self.sizes[name] = bytes_
            write_all(load, self.socket, name, bytes_)
        self.prepare(load)

    def prepare(self, load):
        """Every measurement begins alike: what was written is committed and its journal segments
        are in stock again, so nobody packs while others are measured; and what reads will ask for
        is in memory, as a peer's image is in the page cache."""
        for name in self.exports:
            self.drain(name)
        for name in self.exports:
            subprocess.run([load, "-u", self.socket, "-x", name, "-b", "131072", "-d", "8", "-q",
                            "-n", str(self.sizes[name] // 131072)],
                           check=True, stdout=subprocess.DEVNULL)


def write_all(load, socket, export, size):
    subprocess.run(
        [load, "-u", socket, "-x", export, "-b", "131072", "-d", "8", "-w", "100", "-q",
         "-n", str(size // 131072)], check=True, stdout=subprocess.DEVNULL)
