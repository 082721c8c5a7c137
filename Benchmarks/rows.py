# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A row of the table of targets: what was measured, what it is compared with, the target, a verdict.
# Every script of this folder makes such rows; `--json FILE` writes them, and all.py puts those of
# all scripts into one table.

import argparse
import json
import sys


def number(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}".rstrip("0").rstrip(".")


class Rows:
    def __init__(self):
        self.rows = []

    def add(self, what, value, *, at_most=None, at_least=None, unit="", peer="", detail=""):
        """Adds a measured value. Exactly one of `at_most` and `at_least` is the target."""
        if (at_most is None) == (at_least is None):
            raise ValueError(f"{what}: one target, not none and not two")
        target = at_most if at_least is None else at_least
        row = {
            "what": what, "peer": peer, "value": value, "unit": unit, "target": target,
            "at_most": at_least is None, "verdict": verdict(value, target, at_least is None),
            "detail": detail}
        self.rows.append(row)
        print(f"{line(row)}", file=sys.stderr, flush=True)

    def missed(self):
        return [row for row in self.rows if row["verdict"] != "met"]


def verdict(value, target, at_most=False):
    """met; near: within a fifth of the target; missed."""
    if at_most:
        share = 1 if value <= target else target / value
    else:
        share = value / target
    return "met" if share >= 1 else "near" if share >= 0.8 else "missed"


def line(row):
    unit = " " + row["unit"] if row["unit"] else ""
    sign = "<=" if row["at_most"] else ">="
    peer = f" / {row['peer']}" if row["peer"] else ""
    detail = f"  ({row['detail']})" if row["detail"] else ""
    return (f"{row['verdict']:7} {row['what']}{peer}: {number(row['value'])}{unit}, "
            f"target {sign} {number(row['target'])}{unit}{detail}")


def table(rows):
    """The rows as a Markdown table."""
    lines = ["| What | Compared with | Measured | Target | |", "|---|---|---|---|---|"]
    for row in rows:
        unit = " " + row["unit"] if row["unit"] else ""
        sign = "≤" if row["at_most"] else "≥"
        measured = f"{number(row['value'])}{unit}"
        if row["detail"]:
            measured += f" ({row['detail']})"
        lines.append(f"| {row['what']} | {row['peer']} | {measured} "
                     f"| {sign} {number(row['target'])}{unit} | {row['verdict']} |")
    return "\n".join(lines)


def options(description, areas=()):
    """The command line that the scripts share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--martlet", required=True)
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--strict", action="store_true", help="exit 1 unless all targets are met")
    parser.add_argument("--directory", default=None, help="where images, store and cache lie")
    if areas:
        parser.add_argument("areas", nargs="*", help="of " + ", ".join(areas) + "; default: all")
    return parser


def chosen(options, areas):
    """The areas that the command line names; all without any."""
    for area in options.areas:
        if area not in areas:
            sys.exit(f"no area {area}: there are {', '.join(areas)}")
    return options.areas or list(areas)


def finish(rows, options):
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows.rows, file, indent=1)
    if options.strict and rows.missed():
        for row in rows.missed():
            print(f"FAILED: {line(row)}", file=sys.stderr)
        sys.exit(1)
