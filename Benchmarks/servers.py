# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The servers that a benchmark starts: Martlet through its public command line, and its peers. Each
# listens on a unix socket in a scratch directory and is stopped by its own process id.

import os
import shutil
import signal
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


class Martlet(Server):
    def __init__(self, binary, work, settings=None, wrapper=(), name="martlet"):
        self.binary = binary
        self.socket = os.path.join(work, name + ".sock")
        self.api = os.path.join(work, name + "-api.sock")
        store = os.path.join(work, name + "-store")
        cache = os.path.join(work, name + "-cache")
        self.exports = []
        self.start(
            name,
            [*wrapper, binary, "run", "--store", "file://" + store, "--cache", cache,
             "--nbd", "unix:" + self.socket, "--api", "unix:" + self.api],
            {"SWIFT_BACKTRACE": "enable=no", **(settings or {})}, subprocess.PIPE)
        for line in self.process.stdout:
            if line.startswith("ready:"):
                return
        sys.exit(f"bench: martlet ended before it was ready: {open(self.socket + '.log').read()}")

    def create(self, count, size, load):
        """Makes exports bench0, bench1, … ; the first is as large as the image, the others share
        its size between them. All are filled."""
        for index in range(count):
            bytes_ = size if index == 0 else max(size // count, 1 << 20)
            name = f"bench{index}"
            subprocess.run(
                [self.binary, "create", name, "--size", str(bytes_), "--api", "unix:" + self.api],
                check=True, stdout=subprocess.DEVNULL)
            self.exports.append(name)
            write_all(load, self.socket, name, bytes_)
        # Nobody packs what was filled while others are measured.
        for name in self.exports:
            subprocess.run([self.binary, "drain", name, "--api", "unix:" + self.api],
                           check=True, stdout=subprocess.DEVNULL)


def write_all(load, socket, export, size):
    subprocess.run(
        [load, "-u", socket, "-x", export, "-b", "131072", "-d", "8", "-w", "100", "-q",
         "-n", str(size // 131072)], check=True, stdout=subprocess.DEVNULL)
