#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Every target of docs/PERFORMANCE.md in one run: beside the peers, in time, in counts, with many
# volumes, in allocations and instructions. Prints one table with verdicts. Takes about ten minutes
# on a quiet machine; what else runs there shows in it.

import argparse
import json
import os
import subprocess
import sys
import tempfile

import rows

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--martlet", required=True)
    parser.add_argument("--rounds", type=int, default=5, help="of bench.py")
    parser.add_argument("--seconds", type=float, default=1, help="of each of its measurements")
    parser.add_argument("--volumes", type=int, default=2000, help="of restart.py")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--strict", action="store_true", help="exit 1 unless all targets are met")
    options = parser.parse_args()
    scripts = [
        # Fills are committed before and nothing is committed meanwhile: the peers pack nothing.
        ["bench.py", "--rounds", str(options.rounds), "--seconds", str(options.seconds),
         "--settings", "MARTLET_COMMIT_MAX_JOURNAL_MB=8192",
         "--settings", "MARTLET_COMMIT_MAX_AGE_SECS=3600",
         "--settings", "MARTLET_CACHE_DISK_SIZE_GB=60"],
        ["times.py"], ["counts.py"], ["restart.py", "--volumes", str(options.volumes)],
        ["allocations.py"], ["instructions.py"],
    ]
    table = rows.Rows()
    failed = []
    with tempfile.TemporaryDirectory(prefix="martlet-table-") as work:
        for name, *arguments in scripts:
            out = os.path.join(work, name + ".json")
            print(f"\n=== {name}", flush=True)
            done = subprocess.run(
                [sys.executable, os.path.join(HERE, name), "--martlet", options.martlet,
                 "--json", out, *arguments], check=False)
            if os.path.exists(out):
                with open(out, encoding="utf-8") as file:
                    table.rows += json.load(file)
            elif done.returncode != 0:
                failed.append(name)
    print("\n" + rows.table(table.rows))
    met = len(table.rows) - len(table.missed())
    print(f"\n{met} of {len(table.rows)} targets are met")
    for name in failed:
        print(f"{name} FAILED: its rows are missing")
    rows.finish(table, options)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
