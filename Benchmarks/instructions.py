#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# User instructions per request by callgrind, on a stripped copy of the binary. The count hardly
# varies, so a lost specialisation of a generic seam shows as a step, whatever the machine does
# beside. With --most, a workload that needs more fails.

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import glob

from servers import Martlet

HERE = os.path.dirname(os.path.abspath(__file__))
LOAD = os.path.join(HERE, ".build", "nbdload")
QUIET = {"MARTLET_COMMIT_MAX_JOURNAL_MB": "8192", "MARTLET_COMMIT_MAX_AGE_SECS": "3600"}
WORKLOADS = {"read": ["-d", "32"], "write": ["-d", "32", "-w", "100"]}
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
    sys.exit(f"instructions: {path} has no summary")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--martlet", required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--most", type=float, default=None)
    options = parser.parse_args()

    per_request = {}
    with tempfile.TemporaryDirectory(prefix="martlet-instructions-") as work:
        binary = os.path.join(work, "martlet")
        shutil.copyfile(options.martlet, binary)
        os.chmod(binary, 0o755)
        subprocess.run(["strip", binary], check=True)
        out = os.path.join(work, "callgrind.out")
        wrapper = ["valgrind", "--tool=callgrind", "--collect-atstart=yes", "--instr-atstart=no",
                   f"--callgrind-out-file={out}.%p", "--log-file=" + out + ".log"]
        server = Martlet(binary, work, QUIET, wrapper)

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
                newest = max(glob.glob(f"{out}.{server.pid}.*"), key=os.path.getmtime)
                per_request[name] = total(newest) / options.requests
        finally:
            server.stop()
    print(json.dumps({"instructions_per_request": per_request}))
    slow = [name for name, value in per_request.items() if options.most and value > options.most]
    for name in slow:
        print(f"instructions: FAILED: {name}: {per_request[name]:.0f} per request", file=sys.stderr)
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
