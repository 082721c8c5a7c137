# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What every test server has: child processes that cannot outlive us, an account, a boto3 client of
# it, and a log of its own of the requests that it answered. The one thing to know: `requests()`
# first sends a request that nobody else sends and waits for it in the log, so what it returns is
# complete.

import ctypes
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid
from collections import Counter, namedtuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.environ.get("MARTLET_STORES_VENV", f"{ROOT}/.build-stores/venv")
REGION = "us-east-1"
PATIENCE = float(os.environ.get("E2E_PATIENCE", "60"))

_libc = ctypes.CDLL(None, use_errno=True)

Account = namedtuple("Account", "key secret token", defaults=[None])


class Missing(Exception):
    """A program or package is not installed; the text says what to do."""


class Entry(namedtuple("Entry", "method path query status")):
    """A request as a server's log shows it; `path` is decoded, without the query."""

    @property
    def kind(self):
        """put, get, head, list or delete, as Martlet counts them; else `other`."""
        names = {name for name, _ in urllib.parse.parse_qsl(self.query, keep_blank_values=True)}
        key = self.path.strip("/").partition("/")[2]
        if self.method == "GET" and "list-type" in names:
            return "list"
        if self.method == "POST" and "delete" in names:
            return "delete"
        if not key:
            return "other"
        return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}.get(
            self.method, "other")


def parse_request_line(method, target, status):
    path, _, query = target.partition("?")
    return Entry(method, urllib.parse.unquote(path), query, int(status))


def free_port():
    """A loopback port that nobody listens on now, outside the range the kernel gives to clients."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first = int(file.read().split()[0])
    while True:
        port = 10000 + int.from_bytes(os.urandom(4), "big") % max(1, min(first, 32768) - 10000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Missing(f"no {name} here : it is not installed : run scripts/setup.sh --test")
    return path


def venv_program(name):
    path = f"{VENV}/bin/{name}"
    if not os.access(path, os.X_OK):
        raise Missing(f"no {path} : it is not installed : run scripts/setup.sh --test")
    return path


def boto3():
    """The vendor's client, from the tests' own environment."""
    folder = f"{VENV}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    if not os.path.isdir(folder):
        raise Missing(f"no {folder} : boto3 is not installed : run scripts/setup.sh --test")
    if folder not in sys.path:
        site.addsitedir(folder)
    import boto3 as module
    return module


class Server:
    """One server. `start()` returns when it answers; `stop()` ends it and removes its folder."""

    name = "server"
    address = "127.0.0.1"
    # The account that owns the buckets.
    account = Account("MARTLETTESTKEY", "martlet-test-secret-0123456789")

    def __init__(self, directory):
        self.directory = os.path.abspath(directory)
        self.port = free_port()
        self.processes = []
        self._clients = {}

    @property
    def endpoint(self):
        return f"http://{self.address}:{self.port}"

    @property
    def log_path(self):
        return f"{self.directory}/{self.name}.log"

    # MARK: Life

    def start(self):
        os.makedirs(self.directory, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop(keep=True)
            raise
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def spawn(self, name, arguments, environment=None):
        """Starts a process whose output goes to NAME.out; it dies with this one."""
        with open(f"{self.directory}/{name}.out", "ab") as out:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                cwd=self.directory, env={**os.environ, **(environment or {})},
                preexec_fn=lambda: _libc.prctl(1, signal.SIGKILL))
        process.label = name
        self.processes.append(process)
        return process

    def stop(self, keep=False):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        self.processes.clear()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def check_alive(self):
        for process in self.processes:
            if process.poll() is not None:
                raise RuntimeError(
                    f"{self.name}: {process.label} ended with {process.returncode}\n"
                    + self.tail(f"{self.directory}/{process.label}.out"))

    @staticmethod
    def tail(path, count=3000):
        try:
            with open(path, errors="replace") as file:
                return file.read()[-count:]
        except OSError as error:
            return str(error)

    def wait_for(self, condition, what, seconds=None):
        end = time.monotonic() + (seconds or PATIENCE)
        while True:
            value = condition()
            if value:
                return value
            self.check_alive()
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name}: {what}: not in time")
            time.sleep(0.05)

    def answers(self, endpoint=None):
        """True if something on our port, or there, speaks HTTP, whatever it says."""
        try:
            with urllib.request.urlopen((endpoint or self.endpoint) + "/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    # MARK: Clients

    def client(self, account=None, service="s3", endpoint=None, **more):
        """A boto3 client; by default of the owner, with no retries of its own."""
        account = account or self.account
        key = (account, service, endpoint, tuple(sorted(more.items())))
        if key not in self._clients:
            module = boto3()
            from botocore.config import Config
            self._clients[key] = module.client(
                service, endpoint_url=endpoint or self.endpoint, region_name=REGION,
                aws_access_key_id=account.key, aws_secret_access_key=account.secret,
                aws_session_token=account.token,
                config=Config(
                    signature_version="s3v4" if service == "s3" else None,
                    s3={"addressing_style": "path"}, parameter_validation=False, retries={"total_max_attempts": 1},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required", **more))
        return self._clients[key]

    def make_bucket(self, name):
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket, prefix=""):
        """Every key in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    # MARK: The log

    def requests(self, since=0):
        """What the server answered, by its own log, from a `mark()` on; complete."""
        position = self.mark()
        with open(self.log_path, "rb") as file:
            file.seek(since)
            text = file.read(position - since).decode(errors="replace")
        return [
            entry for entry in map(self.parse, text.splitlines())
            if entry and not entry.path.startswith("/martlet-mark-")]

    def mark(self):
        """A place in the log behind all that was answered until now."""
        name = f"/martlet-mark-{uuid.uuid4().hex}"
        try:
            urllib.request.urlopen(self.endpoint + name, timeout=30).close()
        except urllib.error.HTTPError:
            pass
        needle = name.encode()

        def behind():
            try:
                with open(self.log_path, "rb") as file:
                    text = file.read()
            except FileNotFoundError:
                return 0
            found = text.rfind(needle)
            end = text.find(b"\n", found) + 1 if found >= 0 else 0
            return end
        return self.wait_for(behind, "its log does not show a request")

    def counts(self, since=0, prefix="/"):
        """How many of each kind, for paths below `prefix`."""
        return Counter(
            entry.kind for entry in self.requests(since) if entry.path.startswith(prefix))

    def parse(self, line):
        """The request in a line of the log, or None."""
        raise NotImplementedError
