# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What every end-to-end test stands on: tests that are sentences, daemons with directories of their
# own, the command line and the API. The one thing to know: nothing outlives a test. Every child
# dies with this process (PR_SET_PDEATHSIG), and all files lie under the working directory, which
# the runner makes and removes.

import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MARTLET = os.path.abspath(os.environ.get("MARTLET", f"{ROOT}/.build/release/martlet"))
# The box of time of a long test, and how slow the machine may be.
SECONDS = float(os.environ.get("E2E_SECONDS", "60"))
PATIENCE = float(os.environ.get("E2E_PATIENCE", "60"))
KEEP = os.environ.get("E2E_KEEP")
SEED = int(os.environ.get("E2E_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

libc = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    """A test cannot run here; the text says what is missing."""


class Failure(AssertionError):
    """What a test found wrong."""


# MARK: Sentences

_tests = []


def test(sentence):
    """Registers a function as a test. It may return a text, shown behind the sentence."""
    def register(body):
        _tests.append((sentence, body))
        return body
    return register


def check(condition, message):
    if not condition:
        raise Failure(message() if callable(message) else message)


def equal(found, expected, what):
    check(found == expected, lambda: f"{what}: found {found!r:.600}, expected {expected!r:.600}")


def contains(text, part, what):
    check(part in text, lambda: f"{what}: {part!r} is not in {text!r:.800}")


def note(text):
    print(f"# {text}", flush=True)


def main():
    """Runs the file's tests: all, or those whose sentence contains one of the arguments."""
    wanted = sys.argv[1:]
    failed = 0
    for sentence, body in _tests:
        if wanted and not any(word in sentence for word in wanted):
            continue
        began = time.monotonic()
        try:
            detail = body()
        except Skip as skip:
            print(f"skip - {sentence}: {skip}", flush=True)
        except BaseException as error:  # noqa: B902: an interrupt is reported, too
            failed += 1
            print(f"not ok - {sentence}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"    {line}")
            for daemon in Daemon.all:
                daemon.print_log()
                daemon.keep_directory()
            if isinstance(error, KeyboardInterrupt):
                raise
        else:
            took = time.monotonic() - began
            detail = f"{detail}; {took:.1f} s" if detail else f"{took:.1f} s"
            print(f"ok - {sentence} ({detail})", flush=True)
        finally:
            for daemon in Daemon.all:
                daemon.destroy()
            Daemon.all.clear()
    sys.exit(1 if failed else 0)


# MARK: Waiting

def wait_until(condition, what, seconds=PATIENCE, pause=0.02):
    """Polls until `condition()` is true, and returns what it said."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, lambda: f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


# MARK: Processes

def die_with_parent():
    """In a child before exec: killed when the test ends, however it ends."""
    libc.prctl(1, signal.SIGKILL)


def run(*arguments, check_status=True, timeout=600, **options):
    """Runs a program; its output is text. Fails with all it said."""
    done = subprocess.run(
        [str(argument) for argument in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=timeout, preexec_fn=die_with_parent, **options)
    if check_status and done.returncode != 0:
        raise Failure(
            f"{' '.join(map(str, arguments))}: exit status {done.returncode}\n"
            f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done


def require(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise Skip(f"no {program} here")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Reply:
    """An API reply: status, headers, body as bytes and, where it is JSON, as `json`."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"


class Daemon:
    """A daemon with directories of its own under the working directory.

    Two with the same `store` and different names are two hosts of one repository. A `store` that
    is a URL is taken as it is; any other is a folder.
    """

    all = []
    _names = 0

    def __init__(self, name=None, store=None, environment=None, config=None, machine_id=None,
                 arguments=(), network=None, cache=None):
        Daemon._names += 1
        name = name or f"d{Daemon._names}"
        self.directory = os.path.join(os.getcwd(), name)
        os.makedirs(self.directory, exist_ok=True)
        self.store = store or f"{self.directory}/store"
        self.cache = cache or f"{self.directory}/cache"
        self.nbd = f"{self.directory}/nbd.sock"
        self.api = f"{self.directory}/api.sock"
        self.log = f"{self.directory}/daemon.log"
        self.out = f"{self.directory}/daemon.out"
        self.environment = dict(environment or {})
        self.config = config
        self.machine_id = machine_id or this_machine()
        self.arguments = list(arguments)
        # The path of a network namespace to live in; its sockets are files, and reached all the same.
        self.network = network
        # Of the boot that it believes to live in; None: the machine's.
        self.boot_id = None
        self.process = None
        self.starts = 0
        Daemon.all.append(self)

    # MARK: Life

    def start(self, environment=None, wait=True):
        """Starts the process and, with `wait`, returns when it says `ready:`."""
        check(self.process is None, "the daemon runs already")
        arguments = [
            MARTLET, "run", "--store", self.store_url, "--cache", self.cache,
            "--nbd", f"unix:{self.nbd}", "--api", f"unix:{self.api}", *self.arguments]
        if self.config is not None:
            with open(f"{self.directory}/martlet.toml", "w") as file:
                file.write(self.config)
            arguments += ["--config", f"{self.directory}/martlet.toml"]
        self.starts += 1
        with open(self.out, "w") as out, open(self.log, "a") as log:
            log.write(f"--- start {self.starts} {environment or ''}\n")
            log.flush()
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=self.directory,
                env=self._variables(environment), preexec_fn=self._prepare_child)
        if wait:
            self.wait_ready()
        return self

    @property
    def store_url(self):
        return self.store if "://" in self.store else f"file://{self.store}"

    def _variables(self, more):
        variables = {
            key: value for key, value in os.environ.items()
            if not key.startswith(("MARTLET", "AWS_"))}
        variables["SWIFT_BACKTRACE"] = "enable=no"
        variables["MARTLET_SERVERS_NBD_SHARDS"] = "2"
        variables.update(self.environment)
        variables.update(more or {})
        return variables

    def _prepare_child(self):
        os.setsid()
        die_with_parent()
        if self.network:
            enter_network(self.network)
        if self.machine_id:
            pretend_machine(self.machine_id, self.directory)
        if self.boot_id:
            pretend_boot(self.boot_id, self.directory)

    def wait_ready(self, seconds=PATIENCE):
        def is_ready():
            with open(self.out) as out:
                if any(line.startswith("ready:") for line in out):
                    return True
            status = self.process.poll()
            check(status is None, f"the daemon ended with {status} before it was ready")
            return False
        wait_until(is_ready, "ready:", seconds, pause=0.005)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and waits for the end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_end(self, seconds=PATIENCE):
        """Waits for the process to end; its exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the daemon did not end within {seconds:.0f} s") from None
        self.process = None
        return status

    def terminate(self, seconds=PATIENCE):
        self.signal(signal.SIGTERM)
        return self.wait_end(seconds)

    def lose_cache(self):
        shutil.rmtree(self.cache)

    def destroy(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def print_log(self, lines=40):
        try:
            with open(self.log, errors="replace") as log:
                tail = log.readlines()[-lines:]
        except OSError:
            return
        status = "stopped" if self.process is None else self.process.poll()
        print(f"    the last {len(tail)} lines of {self.log} (process: {status})")
        for line in tail:
            print(f"    | {line.rstrip()[:400]}")

    def keep_directory(self):
        """With E2E_KEEP, a copy of everything stays there for a look."""
        if KEEP:
            self.kill()
            place = os.path.join(KEEP, f"{os.path.basename(os.getcwd())}-{os.path.basename(self.directory)}")
            shutil.copytree(self.directory, place, symlinks=True,
                            ignore=lambda folder, names: [n for n in names if n.endswith(".sock")])
            print(f"    its files are kept in {place}")

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * KIB

    # MARK: The command line

    def cli(self, *arguments, check_status=True, environment=None):
        """Runs a command against this daemon."""
        variables = self._variables({"MARTLET_API": f"unix:{self.api}", **(environment or {})})
        return run(MARTLET, *arguments, check_status=check_status, env=variables,
                   cwd=self.directory)

    def cli_json(self, *arguments):
        return json.loads(self.cli(*arguments, "--json").stdout)

    # MARK: The API

    def http(self, method, path, body=None, raw=None, timeout=300):
        connection = _UnixConnection(self.api, timeout)
        headers = {}
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=data, headers=headers)
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())
        finally:
            connection.close()

    def call(self, method, path, body=None, status=None):
        """An API call that must succeed, or end in `status`; the JSON."""
        reply = self.http(method, path, body)
        good = reply.status == status if status else 200 <= reply.status < 300
        check(good, lambda: f"{method} {path}: {reply}, expected {status or 'success'}")
        return reply.json

    def create(self, name, size, **more):
        return self.call("PUT", f"/api/exports/{name}", {"size_bytes": size, **more})

    def drain(self, name):
        return self.call("POST", f"/api/exports/{name}/drain")["sequence"]

    def status(self, name):
        return self.call("GET", f"/api/exports/{name}/status")

    def metrics(self):
        """Every sample of /metrics, by its name with labels."""
        samples = {}
        for line in self.http("GET", "/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.nbd}"


def this_machine():
    """The id that daemons pretend without one of their own: none, where the machine has one. A bare
    system has not; a daemon's own would be lost with its cache, and the next be a stranger."""
    try:
        has_one = os.path.getsize("/etc/machine-id") > 0
    except OSError:
        has_one = False
    return None if has_one or os.geteuid() != 0 else "e2e0" * 8


def pretend_machine(machine_id, directory):
    """In a child before exec: a machine id of its own, by a mount that only it sees."""
    file, target = f"{directory}/machine-id", "/etc/machine-id"
    source = file
    if not os.path.exists(target):
        # No file to mount over: a copy of the folder with the file in it.
        source, target = f"{directory}/etc", "/etc"
        if not os.path.exists(source):
            shutil.copytree(target, source, symlinks=True)
        file = f"{source}/machine-id"
    with open(file, "w") as out:
        out.write(machine_id + "\n")
    mount_over(source, target)


def pretend_boot(boot_id, directory):
    """In a child before exec: the id of another boot, by a mount that only it sees."""
    with open(f"{directory}/boot-id", "w") as out:
        out.write(boot_id + "\n")
    mount_over(f"{directory}/boot-id", "/proc/sys/kernel/random/boot_id")


def mount_over(source, target):
    """In a child before exec: `source` in the place of `target`, for it alone."""
    bind = 4096
    if not keep_mounts_apart() or libc.mount(
            source.encode(), target.encode(), None, bind, None) != 0:
        os._exit(126)


def keep_mounts_apart():
    """What this process and its children mount from now on nobody else sees, and it goes with them.
    False if that is not allowed."""
    new_namespace, recursive, private = 0x00020000, 16384, 1 << 18
    return (libc.unshare(new_namespace) == 0
            and libc.mount(b"none", b"/", None, recursive | private, None) == 0)


def enter_network(path):
    """In a child before exec."""
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(namespace, 0x40000000) != 0:
        os._exit(126)


def can_mount():
    """True if this process may make mounts of its own."""
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.unshare(0x00020000) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


# MARK: Data

def random_bytes(generator, count):
    return generator.randbytes(count)


def write_image(path, size, seed=1, hole_share=0.3):
    """A file of random extents and holes, the last bytes written."""
    generator = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(size)
        at = 0
        while at < size:
            count = min(generator.choice((512, 4 * KIB, 100 * KIB, 300 * KIB)), size - at)
            if generator.random() > hole_share:
                file.seek(at)
                file.write(generator.randbytes(count))
            at += count
        file.seek(size - 512)
        file.write(generator.randbytes(512))
    return path
