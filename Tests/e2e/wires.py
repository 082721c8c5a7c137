# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A wire that can be cut: a network namespace for a daemon, joined to ours by one pair of interfaces,
# with a firewall of its own. The one thing to know: it belongs to a process of ours that sleeps in
# it, and is gone with that.

import os
import subprocess
import time

from harness import Skip, check, die_with_parent, require, run


class Wire:
    """`address` is ours, as the daemon sees it; `network` is what `Daemon` takes."""

    def __init__(self):
        require("ip", "iptables", "nsenter", "unshare")
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent)
        self.network = f"/proc/{self.holder.pid}/ns/net"
        ours = os.stat("/proc/self/ns/net").st_ino
        end = time.monotonic() + 10
        while os.stat(self.network).st_ino == ours:
            if self.holder.poll() is not None:
                raise Skip("no right to make a network namespace")
            check(time.monotonic() < end, "unshare makes no network namespace")
            time.sleep(0.01)
        number = self.holder.pid % 16000
        subnet = f"10.213.{number // 64}.{number % 64 * 4}"
        prefix, _, last = subnet.rpartition(".")
        self.address, self.far = f"{prefix}.{int(last) + 1}", f"{prefix}.{int(last) + 2}"
        name = f"mwire{self.holder.pid}"
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "wire", "netns",
            self.holder.pid)
        run("ip", "address", "add", f"{self.address}/30", "dev", name)
        run("ip", "link", "set", name, "up")
        self.inside("ip", "address", "add", f"{self.far}/30", "dev", "wire")
        self.inside("ip", "link", "set", "wire", "up")

    def inside(self, *words):
        run("nsenter", f"--net={self.network}", *words)

    def cut(self):
        """From now on no packet passes, and nobody is told."""
        for chain in ("INPUT", "OUTPUT"):
            self.inside("iptables", "-A", chain, "-j", "DROP")

    def mend(self):
        self.inside("iptables", "-F")

    def close(self):
        self.holder.kill()
        self.holder.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
