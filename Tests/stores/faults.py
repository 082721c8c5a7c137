# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What stands in front of a store and makes it fail: haproxy for refusals and silence, our own proxy
# for slowness, damage and lost replies. The one thing to know: both pass everything through until
# told otherwise, and are told while they run.

import json
import os
import re
import socket
import sys
import urllib.request

from .base import Server, free_port, parse_request_line, program

# A share of 1000; the map's values are changed through the admin socket.
HAPROXY = """\
global
  stats socket {socket} mode 600 level admin
  log stdout format raw local0
  maxconn 1000
defaults
  mode http
  log global
  option http-keep-alive
  option dontlognull
  retries 0
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout http-keep-alive 60s
  log-format "%{{+Q}}r %ST"
frontend front
  bind {address}:{port}
  http-request set-var(txn.drop) str(drop),map_str_int({map},0)
  http-request set-var(txn.503) str(503),map_str_int({map},0)
  http-request set-var(txn.500) str(500),map_str_int({map},0)
  http-request silent-drop if {{ rand(1000),sub(txn.drop) lt 0 }}
  http-request return status 503 content-type application/xml hdr Retry-After 1 string "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>" if {{ rand(1000),sub(txn.503) lt 0 }}
  http-request return status 500 content-type application/xml string "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>" if {{ rand(1000),sub(txn.500) lt 0 }}
  default_backend store
backend store
  server store {upstream}
"""


class HAProxy(Server):
    """haproxy before a store: 503, 500 or silence for a share of the requests."""

    name = "haproxy"
    LINE = re.compile(r'^"([A-Z]+) (\S+) HTTP/[\d.]+" (-?\d+)')

    def __init__(self, directory, upstream, address="127.0.0.1"):
        super().__init__(directory)
        self.address = address
        self.upstream = upstream
        self.account = upstream.account
        # Paths of sockets are short.
        self.socket = f"{self.directory}/h.sock"
        self.map = f"{self.directory}/faults.map"

    @property
    def log_path(self):
        return f"{self.directory}/haproxy.out"

    def _start(self):
        with open(self.map, "w") as file:
            file.write("503 0\n500 0\ndrop 0\n")
        path = f"{self.directory}/haproxy.cfg"
        with open(path, "w") as file:
            file.write(HAPROXY.format(
                socket=self.socket, address=self.address, port=self.port, map=self.map,
                upstream=f"127.0.0.1:{self.upstream.port}"))
        self.spawn("haproxy", [program("haproxy"), "-db", "-f", path])
        self.wait_for(self.answers, "no answer on its port")

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(self.socket)
            line.sendall(command.encode() + b"\n")
            reply = b""
            while part := line.recv(65536):
                reply += part
        return reply.decode().strip()

    def fail(self, **shares):
        """From now on these shares of the requests, 0 to 1, get `http503`, `http500`, `drop`."""
        for name in ("http503", "http500", "drop"):
            share = round(1000 * shares.pop(name, 0))
            said = self.tell(f"set map {self.map} {name.removeprefix('http')} {share}")
            if said:
                raise RuntimeError(f"haproxy: {said}")
        if shares:
            raise ValueError(f"unknown faults: {shares}")

    def make_bucket(self, name):
        return self.upstream.make_bucket(name)

    def parse(self, line):
        match = self.LINE.search(line)
        return parse_request_line(*match.groups()) if match else None


class Proxy(Server):
    """Our own proxy before a store; proxy.py says what it can do."""

    name = "proxy"

    def __init__(self, directory, upstream):
        super().__init__(directory)
        self.upstream = upstream
        self.account = upstream.account
        self.control = free_port()

    def _start(self):
        self.spawn("proxy", [
            sys.executable, "-B", f"{os.path.dirname(os.path.abspath(__file__))}/proxy.py",
            "--listen", str(self.port), "--control", str(self.control),
            "--upstream", f"127.0.0.1:{self.upstream.port}", "--log", self.log_path])
        self.wait_for(self.answers, "no answer on its port")

    def set(self, latency_ms=0, bandwidth=0, faults=()):
        """Replaces all that it does: latency in ms before each request, bytes a second, faults."""
        body = {"latency_ms": latency_ms, "bandwidth": bandwidth, "faults": list(faults)}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control}/", json.dumps(body).encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def state(self):
        """What is set now, with `hits`: how often each fault has struck."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control}/", timeout=10) as reply:
            return json.load(reply)

    def make_bucket(self, name):
        return self.upstream.make_bucket(name)

    def parse(self, line):
        entry = json.loads(line)
        return parse_request_line(entry["method"], entry["target"], entry["status"])

    def effects(self, since=0):
        """(effect, method, target) of every request that was harmed."""
        with open(self.log_path) as file:
            file.seek(since)
            entries = [json.loads(line) for line in file]
        return [(e["effect"], e["method"], e["target"]) for e in entries if e["effect"]]
