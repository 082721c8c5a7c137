# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A disk that loses power, for tests: `volatilefs` under a daemon's cache directory, and the next boot
# after it. The one thing to know: a cut kills the daemon and takes back what was not synced in one
# step, so nothing is answered after the power is gone.

import contextlib
import functools
import os
import select
import subprocess

import harness
from harness import ROOT, Failure, Skip, check, require, run, wait_until

SOURCE = f"{ROOT}/Tests/e2e/volatilefs"
# Counted apart, and what every cut is to find unsynced.
JOURNAL = ".seg"
SYNC_MICROS = 300


def build():
    """The program; skips where there is nothing to build or run it with."""
    if os.getuid() != 0:
        raise Skip("only root mounts")
    require("cc", "make", "pkg-config")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Skip("no /dev/fuse that may be opened here")
    if run("pkg-config", "--exists", "fuse3", check_status=False).returncode != 0:
        raise Skip("no libfuse3 to build with (scripts/setup.sh --test installs it)")
    run("make", "-s", "-C", SOURCE)
    return f"{SOURCE}/.build/volatilefs"


@functools.cache
def require_own_mounts():
    """A daemon of another test that has its mounts apart would have copies of ours, and keep them from
    ending when we do."""
    if not harness.keep_mounts_apart():
        raise Skip("no mount namespace of one's own")


class VolatileDisk:
    """A folder that is mounted, cut, and mounted again."""

    def __init__(self, name):
        self.program = build()
        require_own_mounts()
        self.backing = f"{os.getcwd()}/{name}.disk"
        self.path = f"{os.getcwd()}/{name}"
        os.makedirs(self.path)
        self.process = None
        self.is_asked = False

    def start(self):
        check(self.process is None, "the disk runs already")
        self.process = subprocess.Popen(
            [self.program, self.backing, self.path, JOURNAL, str(SYNC_MICROS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=harness.die_with_parent)
        line = self.process.stdout.readline()
        if line != "mounted\n":
            raise Skip(f"cannot mount a file system of one's own: {self.process.stderr.read()}")
        return self

    def stop(self):
        """Ends it as it is: what was not synced stays, as after a restart of the machine."""
        if self.process is None:
            return
        wait_until(lambda: run("umount", self.path, check_status=False).returncode == 0
                   or not os.path.ismount(self.path), "the disk is let go")
        self.process.stdin.close()
        self.process.wait(20)
        self.process = None

    def destroy(self):
        """After a test, however it ended."""
        if self.process is not None:
            run("umount", "--lazy", self.path, check_status=False)
            self.process.kill()
            self.process.wait()
            self.process = None

    def _say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def lie(self):
        """From now on syncs are answered, and change nothing."""
        self._say("lie")
        self.process.stdout.readline()

    # MARK: Cuts

    def ask_cut(self, seed, kind, wait, pid, millis=3000):
        """Asks for a cut that kills `pid`; `cut_counts` tells when it was made."""
        self.is_asked = True
        self._say(f"cut {seed} {kind} {wait} {millis} {pid}")

    def cut_counts(self, seconds=0):
        """None while the cut is to come, else its counts; those are empty if the moment did not come."""
        check(self.is_asked, "no cut was asked for")
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        self.is_asked = False
        word, *pairs = self.process.stdout.readline().split()
        if word == "missed":
            return {}
        if word != "cut":
            raise Failure(f"the disk said {word}")
        return {key: int(value) for key, value in (pair.split("=") for pair in pairs)}


@contextlib.contextmanager
def volatile_disk(name):
    disk = VolatileDisk(name)
    try:
        yield disk.start()
    finally:
        # The daemon's descriptors keep the mount.
        for daemon in harness.Daemon.all:
            daemon.kill()
        disk.destroy()
