# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# strace on a running daemon, every thread of it, with the options that a test wants. Skips where it
# is not allowed to attach.

import os
import re
import signal
import subprocess

import harness
from harness import Skip, require, wait_until


class Tracer:
    """Attached when made; what strace prints goes to `path`."""

    def __init__(self, daemon, *options):
        require("strace")
        self.path = f"{daemon.directory}/trace"
        self.process = subprocess.Popen(
            ["strace", "-f", "-y", "-qq", *options, "-o", self.path, "-p", str(daemon.pid)],
            stderr=subprocess.PIPE, text=True, preexec_fn=harness.die_with_parent)

        def attached():
            if self.process.poll() is not None:
                raise Skip(f"strace cannot attach: {self.process.stderr.read().strip()}")
            with open(f"/proc/{daemon.pid}/status") as status:
                return int(re.search(r"TracerPid:\s+(\d+)", status.read()).group(1)) != 0
        wait_until(attached, "strace attaches")
        wait_until(lambda: all(self._is_traced(daemon.pid, task) for task in
                               os.listdir(f"/proc/{daemon.pid}/task")), "strace on all threads")

    @staticmethod
    def _is_traced(pid, task):
        try:
            with open(f"/proc/{pid}/task/{task}/status") as status:
                return "TracerPid:\t0\n" not in status.read()
        except OSError:
            return True

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
