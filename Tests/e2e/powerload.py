# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What writes on a file system while the power goes, and who judges afterwards. Run as a program it is
# one writer, which prints a line before each step and one when the step was made durable; the lines lie
# outside of the file system, and each judge knows from them what must be there. The one thing to know:
# all content follows from the number of its step, so the lines are short and the judge needs no copy.

import contextlib
import mmap
import os
import random
import sqlite3
import subprocess
import sys
import time

import harness
from harness import KIB, MIB, check, equal, wait_until

NAMES = 40
MODES = ("WAL", "DELETE")


def content(step, count):
    return random.Random(step).randbytes(count)


def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# MARK: Writers

def write_files(directory, seed, step):
    """Files that are replaced, written over, moved and removed; each step synced before the next."""
    generator = random.Random(f"{seed}-{step}")
    for folder in range(4):
        os.makedirs(f"{directory}/d{folder}", exist_ok=True)
    sync(directory)
    sync(os.path.dirname(directory))
    sizes = {name: os.path.getsize(f"{directory}/{name}") for name in names_in(directory)}
    while True:
        step += 1
        name = f"d{generator.randrange(4)}/f{generator.randrange(NAMES // 4)}"
        kind = generator.choice(("make", "make", "over", "over", "move", "remove"))
        if name not in sizes:
            kind = "make"
        if kind == "make":
            sizes[name] = int(2 ** generator.uniform(0, 17))
            say("begin", step, "make", name, sizes[name])
            make(directory, name, step, sizes[name])
        elif kind == "over":
            start = generator.randrange(sizes[name])
            count = min(sizes[name] - start, int(2 ** generator.uniform(0, 16)))
            say("begin", step, "over", name, start, count)
            write_over(f"{directory}/{name}", step, start, count)
        elif kind == "move":
            other = f"d{generator.randrange(4)}/f{generator.randrange(NAMES // 4)}"
            if other == name:
                continue
            say("begin", step, "move", name, other)
            move(directory, name, other)
            sizes[other] = sizes.pop(name)
        else:
            say("begin", step, "remove", name)
            os.unlink(f"{directory}/{name}")
            sync(os.path.dirname(f"{directory}/{name}"))
            del sizes[name]
        say("done", step)


def say(*words):
    print(*words, flush=True)


def make(directory, name, step, count):
    """A new content under a name, at once or not at all."""
    path = f"{directory}/{name}"
    with open(f"{path}.new", "wb") as file:
        file.write(content(step, count))
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
    sync(os.path.dirname(path))


def write_over(path, step, start, count):
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(content(step, count))
        file.flush()
        os.fdatasync(file.fileno())


def move(directory, name, other):
    folders = {os.path.dirname(f"{directory}/{each}") for each in (name, other)}
    os.rename(f"{directory}/{name}", f"{directory}/{other}")
    for folder in sorted(folders):
        sync(folder)


def write_rows(path, mode):
    """A transaction after another, by SQLite with synchronous=FULL."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=" + mode)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=200")
    connection.execute("CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, filler TEXT)")
    connection.execute("CREATE TABLE IF NOT EXISTS total (sum INTEGER)")
    connection.execute("CREATE INDEX IF NOT EXISTS fillers ON ledger (filler)")
    number = connection.execute("SELECT ifnull(max(id), 0) FROM ledger").fetchone()[0]
    if not connection.execute("SELECT count(*) FROM total").fetchone()[0]:
        connection.execute("INSERT INTO total VALUES (0)")
    sync(os.path.dirname(path))
    while True:
        number += 1
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO ledger VALUES (?, hex(randomblob(150)))", (number,))
        connection.execute("UPDATE total SET sum = sum + ?", (number,))
        connection.execute("UPDATE ledger SET filler = hex(randomblob(150)) WHERE id = ?",
                           (random.randint(1, number),))
        connection.execute("COMMIT")
        if mode == "DELETE":
            # The commit is the removal of the journal, which FULL leaves to the file system.
            sync(os.path.dirname(path))
        say(number)


def write_noise(directory, seed):
    """Writes and names that nobody syncs, so that there always is something to lose."""
    generator = random.Random(seed)
    size = 8 * MIB
    os.makedirs(f"{directory}/churn", exist_ok=True)
    block = mmap.mmap(-1, 64 * KIB)
    descriptor = os.open(f"{directory}/noise", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    os.posix_fallocate(descriptor, 0, size)
    while True:
        count = generator.choice((1, 1, 2, 16)) * 4 * KIB
        block[:count] = generator.randbytes(count)
        os.pwrite(descriptor, memoryview(block)[:count], generator.randrange(size // 65536) * 65536)
        path = f"{directory}/churn/{generator.randrange(50)}"
        if os.path.exists(path):
            os.unlink(path)
        else:
            with open(path, "wb") as file:
                file.write(bytes(generator.randrange(20000)))
        time.sleep(generator.uniform(0, 0.004))


# MARK: Judges

def names_in(directory):
    """Files by their path below the directory; those that were never given their name are removed."""
    names = []
    for folder, _, found in os.walk(directory):
        for name in found:
            path = os.path.join(folder, name)
            if name.endswith(".new"):
                os.unlink(path)
            else:
                names.append(os.path.relpath(path, directory))
    return names


class Writer:
    """A writer as a process, and the lines that it has printed."""

    _number = 0

    def __init__(self, *arguments):
        Writer._number += 1
        self.path = f"{os.getcwd()}/writer{Writer._number}"
        with open(self.path, "w") as out, open(f"{self.path}.err", "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-B", __file__, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
                preexec_fn=harness.die_with_parent)

    def lines(self):
        with open(self.path) as file:
            # The last one may be cut.
            return [line.split() for line in file.read().split("\n")[:-1]]

    def wait_for_lines(self, count):
        def reached():
            check(self.process.poll() is None, lambda: f"a writer ended: {self._errors()}")
            return len(self.lines()) >= count
        wait_until(reached, f"{count} lines of a writer")

    def _errors(self):
        with open(f"{self.path}.err") as file:
            return file.read()[-1500:]

    def end(self):
        self.process.kill()
        self.process.wait(harness.PATIENCE)
        lines = self.lines()
        os.unlink(self.path)
        os.unlink(f"{self.path}.err")
        return lines


class Files:
    """What `write_files` has made durable, and the one step that was under way."""

    def __init__(self, seed):
        self.seed, self.step, self.checked = seed, 0, 0
        self.files, self.open_step = {}, None

    def writer(self, directory):
        os.makedirs(f"{directory}/files", exist_ok=True)
        return Writer("files", f"{directory}/files", self.seed, self.step)

    def take(self, lines):
        step = None
        for word, number, *rest in lines:
            if word == "begin":
                step = (int(number), *rest)
            else:
                self._apply(self.files, step)
                step = None
            self.step = int(number)
        self.open_step = step

    @staticmethod
    def _apply(files, step):
        number, kind, name, *rest = step
        if kind == "make":
            files[name] = content(number, int(rest[0]))
        elif kind == "over":
            start, count = map(int, rest)
            files[name] = files[name][:start] + content(number, count) + files[name][start + count:]
        elif kind == "move":
            files[rest[0]] = files.pop(name)
        else:
            del files[name]

    def judge(self, directory):
        """Every file is as its last durable step made it, or as the step under way does."""
        found = {}
        if os.path.isdir(f"{directory}/files"):
            for name in names_in(f"{directory}/files"):
                with open(f"{directory}/files/{name}", "rb") as file:
                    found[name] = file.read()
        after = dict(self.files)
        if self.open_step:
            self._apply(after, self.open_step)
        before, touched = self.files, {}
        if self.open_step:
            touched = {name for name in self.open_step[2:] if "/" in name}
        for name in sorted({*before, *found} - touched if touched else {*before, *found}):
            check(name in found, lambda: f"{name}, synced, is gone")
            check(name in before, lambda: f"{name} was removed durably, and is there")
            check(found[name] == before[name], lambda: f"{name}: {differ(found[name], before[name])}")
        self._judge_open_step(found, before, after, touched)
        self.checked += len(before)
        self.files, self.open_step = found, None

    def _judge_open_step(self, found, before, after, touched):
        """It has happened or has not; a file that is written over may have some of both."""
        states = [{name: state.get(name) for name in touched} for state in (found, before, after)]
        if states[0] in states[1:]:
            return
        number, kind, name = self.open_step[:3]
        check(kind == "over" and found.get(name) is not None
              and is_mixed(found[name], before[name], after[name]),
              lambda: f"step {self.open_step} was under way, and left neither its end nor its beginning")


def is_mixed(found, old, new):
    """Each sector is that of one or the other."""
    if not len(found) == len(old) == len(new):
        return False
    return all(found[at:at + 512] in (old[at:at + 512], new[at:at + 512])
               for at in range(0, len(found), 512))


def differ(found, expected):
    if len(found) != len(expected):
        return f"{len(found)} bytes, and {len(expected)} were synced"
    at = next(at for at in range(len(found)) if found[at] != expected[at])
    what = "zeros" if not any(found[at:at + 64]) else "other bytes"
    return f"{what} from byte {at} of {len(found)}"


class Rows:
    """What `write_rows` has committed."""

    def __init__(self, mode):
        self.mode, self.confirmed, self.checked = mode, 0, 0

    def path(self, directory):
        return f"{directory}/{self.mode}.db"

    def writer(self, directory):
        return Writer("rows", self.path(directory), self.mode)

    def take(self, lines):
        for line in lines:
            self.confirmed = int(line[0])

    def judge(self, directory):
        if not self.confirmed and not os.path.exists(self.path(directory)):
            return
        check(os.path.exists(self.path(directory)), f"{self.mode}.db is gone")
        with contextlib.closing(sqlite3.connect(self.path(directory))) as connection:
            equal(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)],
                  f"integrity_check of {self.mode}.db")
            if not self.confirmed and not connection.execute(
                    "SELECT count(*) FROM sqlite_master WHERE name = 'total'").fetchone()[0]:
                return
            ids = [row[0] for row in connection.execute("SELECT id FROM ledger ORDER BY id")]
            totals = connection.execute("SELECT sum FROM total").fetchall()
        equal(ids, list(range(1, len(ids) + 1)), f"ids in {self.mode}.db")
        check(len(ids) >= self.confirmed,
              f"{self.mode}.db: {self.confirmed - len(ids)} of {self.confirmed} committed "
              "transactions are gone")
        check(len(ids) <= self.confirmed + 1, f"{len(ids)} ids, {self.confirmed} committed")
        check(totals in ([(sum(ids),)], [] if not ids else None), f"the total is {totals}")
        self.confirmed = len(ids)
        self.checked += len(ids)


class Noise:
    checked = 0

    def __init__(self, seed):
        self.seed = seed

    def writer(self, directory):
        return Writer("noise", directory, self.seed)

    def take(self, lines):
        pass

    def judge(self, directory):
        """Nobody was promised anything; but it can be read."""
        for folder, _, names in os.walk(directory):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    file.read()


if __name__ == "__main__":
    kind, directory, *rest = sys.argv[1:]
    if kind == "files":
        write_files(directory, rest[0], int(rest[1]))
    elif kind == "rows":
        write_rows(directory, rest[0])
    else:
        write_noise(directory, rest[0])
