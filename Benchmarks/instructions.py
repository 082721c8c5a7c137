#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# User instructions per request by callgrind, on a stripped copy of the binary. The count hardly
# varies, so a lost specialisation of a generic seam shows as a step, whatever the machine does
# beside. More than the limit fails: about a fifth above what was measured when it was set, on
# x86-64; raise it only with a reason.

import os
import re
import shutil
import subprocess
import sys
import tempfile
import glob

import rows
from servers import Martlet

HERE = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(HERE, ".build", "nbdload")
SIGSUSPEND = os.path.join(HERE, ".build", "sigsuspend.so")
QUIET = {"MARTLET_COMMIT_MAX_JOURNAL_MB": "8192", "MARTLET_COMMIT_MAX_AGE_SECS": "3600"}
WORKLOADS = {"read": ["-d", "32"], "write": ["-d", "32", "-w", "100"]}
LIMITS = {"read": 2450, "write": 3500}
SIZE = 16 << 20


def requests(server, arguments, count):
    subprocess.run(
        [LOAD, "-u", server.socket, "-x", server.exports[0], "-n", str(count), *arguments],
        stdout=subprocess.DEVNULL, check=True)


def total(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            match = re.match(r"(?:summary|totals): (\d+)", line)
            if match:
                return int(match.group(1))
    return 0


def busiest(out, pid):
    """The total of the thread that did most in the newest dump: the shard, of one connection.
    The others make segments ready, and look whether there is something to do."""
    dumps = {}
    for path in glob.glob(f"{out}.{pid}.*"):
        number, _, thread = path[len(f"{out}.{pid}."):].partition("-")
        if thread:
            dumps.setdefault(int(number), {})[thread] = total(path)
    if not dumps:
        sys.exit("instructions: callgrind wrote nothing")
    newest = dumps[max(dumps)]
    print(f"instructions: by thread: {sorted(newest.values(), reverse=True)[:5]}", file=sys.stderr)
    return max(newest.values())


def main():
    parser = rows.options(__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()

    per_request = {}
    with tempfile.TemporaryDirectory(prefix="martlet-instructions-") as work:
        binary = os.path.join(work, "martlet")
        shutil.copyfile(options.martlet, binary)
        os.chmod(binary, 0o755)
        subprocess.run(["strip", binary], check=True)
        out = os.path.join(work, "callgrind.out")
        wrapper = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--instr-atstart=no",
                   f"--callgrind-out-file={out}.%p", "--log-file=" + out + ".log"]
        server = Martlet(binary, work, {"LD_PRELOAD": SIGSUSPEND, **QUIET}, wrapper)

        def control(*arguments):
            subprocess.run(["callgrind_control", *arguments, str(server.pid)],
                           stdout=subprocess.DEVNULL, check=True)

        try:
            server.create(1, SIZE, LOAD)
            for name, arguments in WORKLOADS.items():
                requests(server, arguments, options.requests // 4)
                control("--instr=on")
                control("--zero")
                requests(server, arguments, options.requests)
                control("--dump=" + name)
                control("--instr=off")
                per_request[name] = busiest(out, server.pid) / options.requests
        finally:
            server.stop()
    table = rows.Rows()
    for name, value in per_request.items():
        table.add(f"user instructions per 4 KiB {name}", value, at_most=LIMITS[name])
    rows.finish(table, options)
    sys.exit(1 if table.missed() else 0)


if __name__ == "__main__":
    main()
