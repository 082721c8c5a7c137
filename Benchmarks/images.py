#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A bless beside `lz4` alone on the same file, in turns: ext4 images of this machine's /usr, read
# from the page cache, into a store of files. And its peak of memory for an image and for one four
# times as large, with one pack on its way at a time: how many are, up to storage.max_uploads, is
# for the store's speed to say, not for the image. Not in all.py: it wants 20 GB of disk.
#
#   Benchmarks/images.py --martlet .build/release/martlet [--size 4G] [--rounds 3] [--images DIR]
#
# Images are made where --images says, if they are not there, and kept; else in a folder that goes.

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import rows
from servers import Martlet, parse_bytes

# Of an image that files may fill; the rest is for the file system.
FILL = 0.85


def links(source, target, most):
    """The tree's files, as links where that goes, until there are so many bytes."""
    count = 0
    for folder, folders, names in os.walk(source):
        folders.sort()
        inside = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(inside, exist_ok=True)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            used = os.lstat(path).st_blocks * 512 + 4096
            if count + used > most:
                continue
            count += used
            try:
                os.link(path, os.path.join(inside, name))
            except OSError:
                shutil.copyfile(path, os.path.join(inside, name))
    return count


def image(folder, size):
    """An ext4 image of as much of /usr as goes in; made if it is not there."""
    path = os.path.join(folder, f"usr-{size}.img")
    if os.path.exists(path):
        return path
    with tempfile.TemporaryDirectory(prefix="tree-", dir=folder) as tree:
        count = links("/usr", tree, size * FILL)
        if count < size * FILL * 0.9:
            sys.exit(f"images: /usr has {count} bytes, too few for an image of {size}: "
                     f"use a smaller --size")
        with open(path + ".tmp", "wb") as file:
            file.truncate(size)
        mkfs = shutil.which("mkfs.ext4", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if not mkfs:
            sys.exit("images: no mkfs.ext4: scripts/setup.sh installs it")
        subprocess.run([mkfs, "-q", "-F", "-N", str(size // 8192), "-d", tree, path + ".tmp"],
                       check=True)
    os.rename(path + ".tmp", path)
    return path


def warm(path):
    """All of the file is in the page cache and nothing of it is dirty."""
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        buffer = bytearray(8 << 20)
        while file.readinto(buffer):
            pass


def timed(words, settings):
    """Seconds, the peak of resident bytes, and what it printed."""
    began = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "SWIFT_BACKTRACE": "enable=no", **settings})
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"images: {' '.join(words)} ended with {process.returncode}")
    return took, usage.ru_maxrss * 1024, said


def lz4(path):
    """Seconds of the program on one core; what it makes is thrown away."""
    began = time.monotonic()
    subprocess.run(["lz4", "-1", "-q", "-c", path], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


class Bless:
    def __init__(self, binary, store):
        self.binary, self.store, self.count = binary, store, 0

    def __call__(self, path, **settings):
        self.count += 1
        took, peak, said = timed([
            self.binary, "bless", "--image", path, "--name", f"base-{self.count}", "--store",
            f"file://{self.store}", "--no-progress", "--json"], settings)
        # What it stored is not kept for the next: bases share nothing unasked.
        return took, peak, json.loads(said)


def measure(options, folder, work, table):
    size = parse_bytes(options.size)
    large, small = image(folder, size), image(folder, size // 4)
    server = Martlet(options.martlet, work)
    server.stop()
    bless = Bless(options.martlet, server.store)
    narrow = {"MARTLET_STORAGE_MAX_UPLOADS": "1"}
    warm(small)
    _, small_peak, _ = bless(small, **narrow)
    warm(large)
    _, large_peak, _ = bless(large, **narrow)
    ratios, rates, peaks, stored = [], [], [], 0
    for _ in range(options.rounds):
        alone = lz4(large)
        took, peak, report = bless(large)
        stored = report["pack_bytes"]
        ratios.append(alone / took)
        rates.append(size / took / 1e9)
        peaks.append(peak)
        print(f"images: lz4 {alone:.2f} s, bless {took:.2f} s, peak {peak >> 20} MiB",
              file=sys.stderr)
    table.add(f"bless of {options.size}", statistics.median(ratios), peer="lz4 -1 on one core",
              at_least=0.8,
              detail=f"{statistics.median(rates):.2f} GB/s, {stored / size:.2f} of it stored")
    table.add(f"peak of memory, {options.size}", large_peak / small_peak,
              peer="a fourth of the image", at_most=1.15,
              detail=f"{large_peak >> 20} and {small_peak >> 20} MiB, {max(peaks) >> 20} MiB with "
                     "all uploads")


def main():
    parser = rows.options(__doc__)
    parser.add_argument("--size", default="4G", help="of the image; a K, M or G may follow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", metavar="DIR", help="where images lie, and stay")
    parser.add_argument("--only-make", action="store_true", help="make the images and end")
    options = parser.parse_args()
    if not shutil.which("lz4"):
        sys.exit("images: no lz4: install the package of that name")
    table = rows.Rows()
    with tempfile.TemporaryDirectory(prefix="martlet-images-", dir=options.directory) as work:
        folder = options.images or work
        os.makedirs(folder, exist_ok=True)
        if options.only_make:
            size = parse_bytes(options.size)
            print(image(folder, size), image(folder, size // 4))
            return
        measure(options, folder, work, table)
    rows.finish(table, options)


if __name__ == "__main__":
    main()
