# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# PostgreSQL and SQLite on ext4 on a volume. The daemon is killed while clients commit, once with its
# cache kept and once with it deleted. The one thing to know: the client keeps the list of ids that
# the database confirmed, outside of the volume, and that list is the judge.

import contextlib
import glob
import os
import pwd
import re
import signal
import sqlite3
import subprocess
import sys
import time

import harness
from harness import MIB, Skip, check, equal, note, require, run, wait_until
from mounts import block_device

SIZE = 400 * MIB
AGE = 2
SETTINGS = {"MARTLET_COMMIT_MAX_AGE_SECS": str(AGE)}


def require_mounts():
    if os.getuid() != 0:
        raise Skip("only root mounts")
    require("nbdfuse", "mkfs.ext4", "e2fsck", "losetup", "mount")


@contextlib.contextmanager
def file_system(daemon, is_dying=False):
    """The export's ext4, mounted; with `is_dying`, errors while it is taken down are expected."""
    directory = f"{os.getcwd()}/mnt"
    with block_device(daemon, "disk") as device:
        os.makedirs(directory, exist_ok=True)
        run("mount", device, directory)
        try:
            yield directory
        finally:
            done = run("umount", directory, check_status=False)
            if done.returncode != 0:
                check(is_dying, f"umount: {done.stderr}")
                run("umount", "--lazy", directory)


def format_disk(daemon):
    daemon.create("disk", SIZE)
    with block_device(daemon, "disk") as device:
        run("mkfs.ext4", "-q", "-F", device)


def check_file_system(daemon):
    """e2fsck finds nothing; call when it was mounted, and its journal replayed."""
    with block_device(daemon, "disk") as device:
        done = run("e2fsck", "-fn", device, check_status=False)
        equal(done.returncode, 0, f"e2fsck: {done.stdout[-800:]}")


class Ledger:
    """A client process that prints each id once the database has confirmed it."""

    _number = 0

    def __init__(self, arguments, stdin=None, **options):
        Ledger._number += 1
        self.path = f"{os.getcwd()}/ledger{Ledger._number}"
        with open(self.path, "w") as out, open(f"{self.path}.err", "w") as errors:
            self.process = subprocess.Popen(
                arguments, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=errors,
                preexec_fn=harness.die_with_parent, **options)

    def confirmed(self):
        with open(self.path) as file:
            # The last line may be cut.
            return [int(line) for line in file.read().split("\n")[:-1] if line.isdigit()]

    def wait_for(self, count):
        def reached():
            check(self.process.poll() is None, lambda: f"the client ended: {self.errors()}")
            return len(self.confirmed()) >= count
        wait_until(reached, f"{count} confirmed ids")

    def errors(self):
        with open(f"{self.path}.err") as file:
            return file.read()[-1000:]

    def end(self):
        self.process.kill()
        self.process.wait()


def judge(found, confirmed, cache):
    """Cache kept: every confirmed id is there. Lost: a prefix of the ids is there."""
    equal(found, list(range(1, len(found) + 1)), "ids are those up to one point")
    check(len(found) <= len(confirmed) + 1, f"{len(found)} ids, {len(confirmed)} confirmed")
    if cache == "kept":
        check(len(found) >= len(confirmed),
              f"{len(confirmed) - len(found)} of {len(confirmed)} confirmed ids are gone")
    else:
        check(found, "nothing was published in time")
    return f"cache {cache}: {len(found)} ids there, {len(confirmed)} confirmed"


def lose(daemon, cache):
    if cache == "lost":
        daemon.lose_cache()
    daemon.start()


def children(parent):
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        return [int(word) for word in file.read().split()]


# MARK: PostgreSQL

class PostgreSQL:
    """A server on a data directory, run as the user that its package made."""

    def __init__(self, directory):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"),
                       key=lambda path: int(path.split("/")[4]))
        if not found:
            raise Skip("no PostgreSQL here")
        self.programs = found[-1]
        self.user = pwd.getpwnam("postgres")
        self.data = f"{directory}/pg"
        # Paths of sockets are short.
        self.socket = f"{os.getcwd()}/pgs"
        os.makedirs(self.socket, exist_ok=True)
        os.chmod(os.getcwd(), 0o755)
        os.chown(self.socket, self.user.pw_uid, self.user.pw_gid)
        self.process = None

    def _options(self):
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": [],
                "cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGHOST": self.socket,
                                    "PGUSER": "postgres", "PGDATABASE": "postgres"}}

    def tool(self, name, *arguments, **more):
        return run(f"{self.programs}/{name}", *arguments, **self._options(), **more)

    def initialise(self):
        os.makedirs(self.data)
        os.chown(self.data, self.user.pw_uid, self.user.pw_gid)
        self.tool("initdb", "--data-checksums", "-A", "trust", "-E", "UTF8", "-D", self.data)

    def start(self):
        with open(f"{os.getcwd()}/postgres.log", "a") as log:
            self.process = subprocess.Popen(
                [f"{self.programs}/postgres", "-D", self.data, "-c", "listen_addresses=",
                 "-c", f"unix_socket_directories={self.socket}", "-c", "max_wal_size=64MB",
                 "-c", "checkpoint_timeout=30s"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                **self._options())

        def is_ready():
            check(self.process.poll() is None, lambda: f"it ended: {self.log()}")
            return self.tool("pg_isready", check_status=False).returncode == 0
        wait_until(is_ready, "PostgreSQL starts", seconds=2 * harness.PATIENCE)
        return self

    def log(self):
        with open(f"{os.getcwd()}/postgres.log", errors="replace") as file:
            return file.read()[-3000:]

    def sql(self, text):
        return self.tool("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text).stdout

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(harness.PATIENCE)

    def kill(self):
        """The end that a lost host brings, for all its processes."""
        processes = [self.process.pid, *children(self.process.pid)]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{process}") for process in processes),
                   "the end of PostgreSQL")

    def ledger(self, first):
        """A client that commits one id after another."""
        feed = subprocess.Popen(
            [sys.executable, "-c",
             "import sys\nfor n in range(int(sys.argv[1]), 1 << 40):\n"
             "    print(f'INSERT INTO ledger VALUES ({n}) RETURNING id;')", str(first)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            preexec_fn=harness.die_with_parent)
        client = Ledger(
            [f"{self.programs}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], feed.stdout,
            **self._options())
        feed.stdout.close()
        return client

    def load(self):
        """Four clients more, whose transactions nobody remembers."""
        return Ledger([f"{self.programs}/pgbench", "-c", "4", "-T", "3600", "-n"],
                      **self._options())


def examine(database):
    """The database starts clean, its indexes match its tables, its checksums are right."""
    database.start()
    found = [int(line) for line in database.sql("SELECT id FROM ledger ORDER BY id").split()]
    database.sql("CREATE EXTENSION IF NOT EXISTS amcheck")
    database.tool("pg_amcheck", "--all", "--heapallindexed", timeout=600)
    # What transactions moved stayed in balance.
    sums = database.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = "
                        "(SELECT sum(delta) FROM pgbench_history)").strip()
    check(sums in ("t", ""), f"pgbench's accounts and its history differ: {sums}")
    database.stop()
    said = database.tool("pg_checksums", "--check", "-D", database.data).stdout
    check(re.search(r"Bad checksums:\s+0\b", said), said)
    return found


def postgresql_rounds(daemon):
    """Creates export `disk`, then loses the daemon under load with the cache kept, and lost."""
    require_mounts()
    format_disk(daemon)
    with file_system(daemon) as directory:
        database = PostgreSQL(directory)
        database.initialise()
        database.start()
        database.sql("CREATE TABLE ledger (id bigint PRIMARY KEY)")
        database.tool("pgbench", "-i", "-q", "-s", "1")
        database.stop()
    daemon.drain("disk")
    said = []
    for cache in ("kept", "lost"):
        confirmed = postgresql_round(daemon)
        equal(confirmed, list(range(1, len(confirmed) + 1)), "confirmed ids")
        lose(daemon, cache)
        with file_system(daemon) as directory:
            said.append(judge(examine(PostgreSQL(directory)), confirmed, cache))
        check_file_system(daemon)
        note(f"PostgreSQL, {said[-1]}")
    return "; ".join(said)


def postgresql_round(daemon):
    """From an empty ledger until the daemon is killed; the ids that were confirmed."""
    with file_system(daemon, is_dying=True) as directory:
        database = PostgreSQL(directory).start()
        database.sql("TRUNCATE ledger")
        run("sync", "-f", directory)
        daemon.drain("disk")
        client, load = database.ledger(1), database.load()
        client.wait_for(50)
        time.sleep(2.5 * AGE)
        daemon.kill()
        # What was confirmed was flushed; nothing new can be.
        time.sleep(0.5)
        confirmed = client.confirmed()
        client.end()
        load.end()
        database.kill()
    return confirmed


# MARK: SQLite

WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
# With a rollback journal only EXTRA syncs the directory, whose change is the commit.
connection.execute("PRAGMA synchronous=EXTRA")
connection.execute("CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, filler TEXT)")
connection.execute("CREATE INDEX IF NOT EXISTS fillers ON ledger (filler)")
number = 0
while True:
    number += 1
    connection.execute("INSERT INTO ledger VALUES (?, hex(randomblob(500)))", (number,))
    print(number, flush=True)
"""


def sqlite_round(daemon, mode, cache):
    name = f"{mode}-{cache}.db"
    with file_system(daemon, is_dying=True) as directory:
        client = Ledger([sys.executable, "-c", WRITER, f"{directory}/{name}", mode])
        client.wait_for(20)
        time.sleep(2.5 * AGE)
        daemon.kill()
        time.sleep(0.5)
        confirmed = client.confirmed()
        client.end()
    lose(daemon, cache)
    with file_system(daemon) as directory:
        with contextlib.closing(sqlite3.connect(f"{directory}/{name}")) as connection:
            equal(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)],
                  "integrity_check")
            found = [row[0] for row in connection.execute("SELECT id FROM ledger ORDER BY id")]
    check_file_system(daemon)
    return judge(found, confirmed, f"{cache}")


def sqlite_rounds(daemon):
    """Creates export `disk`, then as above, for both ways that SQLite commits in."""
    require_mounts()
    format_disk(daemon)
    said = []
    for mode in ("WAL", "DELETE"):
        for cache in ("kept", "lost"):
            said.append(f"{mode}, {sqlite_round(daemon, mode, cache)}")
            note(said[-1])
    return "; ".join(said)
