#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Wraps comment lines over 100 columns, which the formatter leaves alone: the words that stick out
# move to the next line of the same paragraph. Diagrams and tables are only reported: their lines
# hold rules or runs of spaces. Changes the files named on its command line in place.

import os
import re
import sys

COLUMNS = 100
DRAWING = re.compile(r"[\u2500-\u25ff]|\S {3,}\S")
COMMENT = re.compile(r"(\s*(?:///?|#) ?)(\s*)(\S.*)?$")


def wrap(path, lines):
    """Wraps in place; true if anything changed."""
    changed = False
    index = 0
    while index < len(lines):
        line = lines[index]
        match = COMMENT.match(line)
        if match and len(line) > COLUMNS and DRAWING.search(line):
            print(f"{path}:{index + 1}: a drawing of {len(line)} columns: wrap it by hand")
        elif match and len(line) > COLUMNS:
            prefix = match.group(1) + match.group(2)
            end = line.rfind(" ", len(prefix) + 1, COLUMNS + 1)
            if end > 0:
                rest, lines[index] = line[end + 1 :], line[:end]
                follower = COMMENT.match(lines[index + 1]) if index + 1 < len(lines) else None
                joins = (
                    follower
                    and follower.groups()[:2] == match.groups()[:2]
                    and follower.group(3)
                    and not re.match(r"[-*•] |\d+\. ", follower.group(3))
                    and not DRAWING.search(lines[index + 1])
                )
                if joins:
                    lines[index + 1] = prefix + rest + " " + follower.group(3)
                else:
                    lines.insert(index + 1, prefix + rest)
                changed = True
        index += 1
    return changed


for path in filter(os.path.exists, sys.argv[1:]):
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    if wrap(path, lines):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        print(f"wrapped {path}")
