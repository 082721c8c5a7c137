# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Block diffs of files on real file systems: XFS and btrfs with reflinks on loop devices, and
# whatever the working directory lies on. What martlet writes, a reader of our own in Python reads,
# and the other way round.

import contextlib
import ctypes
import fcntl
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import bdiff
import harness
import mounts
from harness import (
    GIB, KIB, MARTLET, MIB, SEED, Skip, check, contains, equal, main, note, require, run, test)

FALLOC_PUNCH, FALLOC_KEEP = 2, 1


def diff(*arguments, **options):
    return run(MARTLET, "diff", *arguments, **options)


def refuse(*arguments, status=1, says=()):
    done = run(MARTLET, "diff", *arguments, check_status=False)
    equal(done.returncode, status, f"status of {arguments}: {done.stderr}")
    check(re.match(r"martlet: cannot .* : .* : .*\n$", done.stderr), f"words: {done.stderr!r}")
    for part in says:
        contains(done.stderr, part, f"{arguments}")


def same(left, right):
    run("cmp", left, right)


def punch(path, offset, length):
    with open(path, "r+b") as file:
        done = harness.libc.fallocate(file.fileno(), FALLOC_PUNCH | FALLOC_KEEP,
                                      ctypes.c_long(offset), ctypes.c_long(length))
        check(done == 0, "cannot punch a hole")


def fill(path, size, chance, holes=True):
    """An image: data with some holes and written zeros."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset in range(0, size, MIB):
            kind = chance.random()
            count = min(MIB, size - offset)
            file.seek(offset)
            if not holes or kind < 0.9:
                file.write(chance.randbytes(count))
            elif kind < 0.95:
                file.write(bytes(count))


def scribble(path, chance, times):
    """Changes of all kinds; a few MiB in all."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        for _ in range(times):
            file.seek(chance.randrange(size // KIB) * KIB)
            file.write(chance.randbytes(chance.choice([1, 512, 4 * KIB, 64 * KIB, 300 * KIB])))
        file.seek(chance.randrange(size // KIB) * KIB)
        file.write(bytes(256 * KIB))
        file.truncate(size)
    start = chance.randrange(size // MIB) * MIB
    punch(path, start, 2 * MIB)
    os.sync()


@contextlib.contextmanager
def file_system(kind, size, *options, mount=()):
    """A new file system on a loop device."""
    require(f"mkfs.{kind}", "losetup", "mount", "umount")
    if os.geteuid() != 0:
        raise Skip("no right to make loop devices")
    image = os.path.abspath(f"{kind}.image")
    with open(image, "wb") as file:
        file.truncate(size)
    run(f"mkfs.{kind}", "-q", *options, image)
    attached = run("losetup", "--find", "--show", image, check_status=False)
    if attached.returncode != 0:
        os.remove(image)
        raise Skip(f"no loop device: {attached.stderr.strip()}")
    device = attached.stdout.strip()
    try:
        with mounts.mounted(device, os.path.abspath(f"{kind}.mount"), *mount) as directory:
            yield directory
    finally:
        run("losetup", "--detach", device, check_status=False)
        os.remove(image)


def xfs(size=2 * GIB):
    return file_system("xfs", size, "-m", "reflink=1")


def bytes_read(directory, *arguments):
    """Bytes that the program read from files below `directory`, by strace."""
    require("strace")
    trace = os.path.abspath("trace")
    calls = "trace=read,pread64,preadv,preadv2,mmap,copy_file_range"
    run("strace", "-f", "-y", "-o", trace, "-e", calls, MARTLET, "diff", *arguments)
    total = 0
    with open(trace) as lines:
        for line in lines:
            found = re.search(rf"(\w+)\(.*<{re.escape(directory)}/[^>]*>.* = (\d+)", line)
            if found:
                check(found.group(1) != "mmap", f"mapped: {line}")
                total += int(found.group(2))
    return total


def round_trip(directory, name, *options):
    """Diff and apply by ours, apply by the other reader; the diff's path."""
    out = f"{directory}/{name}.bdiff"
    diff("create", out, f"{directory}/target", "--base", f"{directory}/base", *options)
    diff("apply", out, f"{directory}/{name}.again", "--base", f"{directory}/base")
    same(f"{directory}/target", f"{directory}/{name}.again")
    os.remove(f"{directory}/{name}.again")
    second = f"{directory}/{name}.second"
    run("cp", "--reflink=auto", "--sparse=always", f"{directory}/base", second)
    with open(second, "r+b") as file:
        bdiff.Diff(out).apply(file)
    same(f"{directory}/target", second)
    os.remove(second)
    return out


def make_pair(directory, size, seed=SEED):
    chance = random.Random(seed)
    fill(f"{directory}/base", size, chance)
    run("cp", "--reflink=auto", f"{directory}/base", f"{directory}/target")
    scribble(f"{directory}/target", chance, 12)


@test("a diff built by hand, byte by byte, is what create writes and what apply reads")
def golden():
    os.makedirs("golden")
    base = b"\x11" * 4096 + b"\x22" * 4096 + b"\x33" * 4096
    target = b"\x11" * 4096 + bytes(4096) + b"\x44" * 4096 + b"\x55" * 10
    by_hand = (b"BDIFFv1\0"
               + b"\x0a\x30\0\0\0\0\0\0" + b"\x00\x30\0\0\0\0\0\0" + b"\x01\0\0\0\0\0\0\0"
               + b"\x00\x10\0\0\0\0\0\0" + b"\x0a\x20\0\0\0\0\0\0"
               + bytes(4096 - 48) + bytes(4096) + b"\x44" * 4096 + b"\x55" * 10)
    for name, content in (("base", base), ("target", target), ("hand.bdiff", by_hand)):
        with open(f"golden/{name}", "wb") as file:
            file.write(content)
    diff("create", "golden/ours.bdiff", "golden/target", "--base", "golden/base")
    same("golden/hand.bdiff", "golden/ours.bdiff")
    diff("apply", "golden/hand.bdiff", "golden/again", "--base", "golden/base")
    same("golden/target", "golden/again")
    # The flaw of the tool that the format comes from: a hole over data was forgotten.
    run("cp", "golden/base", "golden/holed")
    with open("golden/holed", "r+b") as file:
        file.truncate(4096)
        file.truncate(8192)
        file.seek(8192)
        file.write(target[8192:])
    diff("create", "golden/holed.bdiff", "golden/holed", "--base", "golden/base")
    same("golden/hand.bdiff", "golden/holed.bdiff")
    shown = json.loads(diff("view", "golden/ours.bdiff", "--json").stdout)
    equal(shown["ranges"], [{"offset": 4096, "length": 8202}], "ranges")
    equal((shown["version"], shown["target_bytes"], shown["base_bytes"]), (1, 12298, 12288), "head")
    contains(diff("view", "golden/ours.bdiff").stdout, "4096 +8202", "view")


def coldest(body):
    """Seconds of the fastest of three runs, each with nothing in the page cache."""
    times = []
    for _ in range(3):
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
        began = time.monotonic()
        body()
        times.append(time.monotonic() - began)
    return min(times)


@test("1 GiB with a few MiB changed on XFS reflinks: what is shared is not read, nor waited for")
def xfs_reflinks():
    with xfs(3 * GIB) as directory:
        chance = random.Random(SEED)
        base, target = f"{directory}/base", f"{directory}/target"
        fill(base, GIB, chance, holes=False)
        run("cp", "--reflink=always", base, target)
        with open(target, "r+b") as file:
            for _ in range(40):
                file.seek(chance.randrange(GIB // KIB - 128) * KIB)
                file.write(chance.randbytes(100 * KIB))
        punch(target, 512 * MIB, 128 * KIB)
        run("sync", "-f", target)
        took = coldest(lambda: diff("create", f"{directory}/one.bdiff", target, "--base", base,
                                    "--force"))
        # What must read all of both: time is only ever held against a peer of the same minute.
        run("cp", "--reflink=always", base, f"{directory}/like")
        compared = coldest(lambda: run("cmp", base, f"{directory}/like"))
        check(took < compared, f"it took {took:.2f} s, and cmp {compared:.2f} s")
        read = bytes_read(directory, "create", f"{directory}/counted.bdiff", target, "--base", base)
        changed = sum(length for _, length in bdiff.Diff(f"{directory}/one.bdiff").ranges)
        check(changed < 6 * MIB, f"{changed} bytes differ")
        # Both sides of what may differ, and the target again to copy it.
        check(read < 4 * changed + 4 * MIB, f"{read} bytes were read for {changed}")
        same(f"{directory}/one.bdiff", f"{directory}/counted.bdiff")
        before = shutil.disk_usage(directory).used
        began = time.monotonic()
        diff("apply", f"{directory}/one.bdiff", f"{directory}/again", "--base", base)
        applied = time.monotonic() - began
        run("sync", "-f", target)
        grown = shutil.disk_usage(directory).used - before
        check(grown < 32 * MIB, f"applying took {grown} bytes of space")
        same(target, f"{directory}/again")
        run("cp", "--reflink=always", base, f"{directory}/second")
        with open(f"{directory}/second", "r+b") as file:
            bdiff.Diff(f"{directory}/one.bdiff").apply(file)
        same(target, f"{directory}/second")
        return (f"{took:.2f} s to create, cmp {compared:.2f} s, {applied:.2f} s to apply, {read / MIB:.1f} MiB read, "
                f"{changed / MIB:.1f} MiB changed")


@test("the same two files give the same diff on XFS, btrfs and here, however it is found")
def same_everywhere():
    os.makedirs("here")
    make_pair("here", 48 * MIB)
    expected = round_trip("here", "one")
    for options in (["--codec", "zstd"], ["--codec", "lz4"], ["--codec", "none"],
                    ["--no-digests"]):
        round_trip("here", "two" + "".join(options), "--format", "v2", *options)
    told = 1
    for kind, options in (("xfs", []), ("btrfs", [])):
        try:
            world = xfs(512 * MIB) if kind == "xfs" else file_system("btrfs", 512 * MIB)
            with world as directory:
                # Written by the same steps, so that reflinks of that file system are below it.
                make_pair(directory, 48 * MIB)
                same("here/target", f"{directory}/target")
                same(expected, round_trip(directory, "one"))
                round_trip(directory, "two", "--format", "v2")
                told += 1
                # The base elsewhere: no address can be compared.
                far = f"{directory}/far.bdiff"
                diff("create", far, f"{directory}/target", "--base", "here/base")
                same(expected, far)
                diff("apply", far, f"{directory}/far", "--base", "here/base")
                same("here/target", f"{directory}/far")
        except Skip as skip:
            note(f"without {kind}: {skip}")
    return f"{told} file systems"


@test("compressed, inline and reserved extents of btrfs are compared by their bytes")
def btrfs_compressed():
    with file_system("btrfs", 768 * MIB, mount=("-o", "compress-force=zstd")) as directory:
        line = b"what compresses well and fills more than one block of a file system\n"
        with open(f"{directory}/base", "wb") as file:
            for number in range(400_000):
                file.write(b"%d " % number + line)
        run("cp", "--reflink=always", f"{directory}/base", f"{directory}/target")
        run("sync", "-f", directory)
        with open(f"{directory}/target", "r+b") as file:
            for offset in (5 * KIB, 9 * MIB + 3, 20 * MIB):
                file.seek(offset)
                file.write(b"CHANGED")
            # The same compressed extent at another place of itself: one address, other bytes.
        with open(f"{directory}/target", "r+b") as file, open(f"{directory}/base", "rb") as base:
            clone_range(base.fileno(), 12 * MIB, 64 * KIB, file.fileno(), 12 * MIB + 64 * KIB)
        run("sync", "-f", directory)
        out = round_trip(directory, "one")
        changed = [offset for offset, _ in bdiff.Diff(out).ranges]
        equal(changed[:2], [4 * KIB, 9 * MIB], "where it was changed")
        check(12 * MIB + 64 * KIB in changed, f"the moved part is not in {changed}")
        round_trip(directory, "two", "--format", "v2")
        # Small files lie inside of the tree.
        for name, content in (("base", b"a" * 100), ("target", b"a" * 99 + b"b")):
            os.remove(f"{directory}/{name}")
            with open(f"{directory}/{name}", "wb") as file:
                file.write(content)
        round_trip(directory, "inline")
        equal(bdiff.Diff(f"{directory}/inline.bdiff").ranges, [(0, 100)], "an inline file")


def clone_range(source, start, length, target, offset):
    request = struct.pack("qQQQ", source, start, length, offset)
    fcntl.ioctl(target, 0x4020940D, request)


@test("space that was reserved and never written, on XFS, is no difference")
def reserved():
    with xfs(512 * MIB) as directory:
        for name in ("base", "target"):
            run("fallocate", "-l", 64 * MIB, f"{directory}/{name}")
        with open(f"{directory}/target", "r+b") as file:
            file.seek(10 * MIB)
            file.write(b"x" * 5000)
        equal(bdiff.Diff(round_trip(directory, "one")).ranges, [(10 * MIB, 8192)], "ranges")


@test("through pipes: create to standard output, apply from standard input")
def pipes():
    os.makedirs("pipes")
    make_pair("pipes", 8 * MIB)
    for form in ("v1", "v2"):
        made = subprocess.Popen(
            [MARTLET, "diff", "create", "-", "pipes/target", "--base", "pipes/base", "--format",
             form], stdout=subprocess.PIPE)
        run(MARTLET, "diff", "apply", "-", f"pipes/{form}", "--base", "pipes/base",
            stdin=made.stdout)
        made.stdout.close()
        equal(made.wait(), 0, "create to a pipe")
        same("pipes/target", f"pipes/{form}")
        diff("create", f"pipes/{form}.bdiff", "pipes/target", "--base", "pipes/base", "--format",
             form)
        with open(f"pipes/{form}.bdiff", "rb") as file:
            shown = diff("view", "-", "--json", stdin=file).stdout
        equal(json.loads(shown), json.loads(
            diff("view", f"pipes/{form}.bdiff", "--json").stdout), "view from a pipe")


@test("what is refused is refused by name, and leaves nothing behind")
def refusals():
    os.makedirs("refusals")
    make_pair("refusals", 4 * MIB)
    inside = "refusals/{}".format
    for form in ("v1", "v2"):
        diff("create", inside(form), inside("target"), "--base", inside("base"), "--format", form)
    run("cp", inside("base"), inside("other"))
    with open(inside("other"), "r+b") as file:
        file.seek(3 * MIB + 5)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    names = sorted(os.listdir("refusals"))
    refuse("apply", inside("v2"), inside("new"), "--base", inside("other"),
           says=["is not the base", inside("other")])
    refuse("apply", inside("v1"), inside("new"), status=2, says=["--base"])
    refuse("apply", inside("v1"), inside("new"), "--base", inside("v1"), says=["bytes"])
    refuse("apply", inside("base"), inside("new"), "--base", inside("base"),
           says=["not a block diff"])
    refuse("apply", inside("v1"), inside("target"), "--base", inside("base"), says=["--force"])
    refuse("create", inside("v1"), inside("target"), says=["--force"])
    refuse("create", inside("new"), inside("absent"), says=["No such file"])
    refuse("create", inside("new"), "refusals", status=2, says=["regular"])
    with open(inside("v2"), "r+b") as file:
        file.seek(-1, 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    refuse("apply", inside("v2"), inside("new"), "--base", inside("base"), says=["damaged"])
    refuse("view", inside("v2"), "--check", says=["damaged"])
    with open(inside("v1"), "r+b") as file:
        file.truncate(os.path.getsize(inside("v1")) - 1)
    refuse("apply", inside("v1"), inside("new"), "--base", inside("base"), says=["bytes"])
    equal(sorted(os.listdir("refusals")), names, "files")
    # A full file system.
    with contextlib.suppress(Skip), file_system("ext4", 2 * MIB) as directory:
        with open(inside("full"), "wb") as file:
            file.write(random.Random(SEED).randbytes(4 * MIB))
        diff("create", inside("big"), inside("full"))
        refuse("apply", inside("big"), f"{directory}/new", says=["make room"])
        equal(os.listdir(directory), ["lost+found"], "files")


@test("an interrupt ends an apply that waits for its diff, and leaves nothing behind")
def interrupt():
    os.makedirs("interrupt")
    make_pair("interrupt", 8 * MIB)
    diff("create", "interrupt/diff", "interrupt/target", "--base", "interrupt/base")
    names = sorted(os.listdir("interrupt"))
    with open("interrupt/diff", "rb") as file:
        content = file.read()
    process = subprocess.Popen(
        [MARTLET, "diff", "apply", "-", "interrupt/new", "--base", "interrupt/base"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=harness.die_with_parent)
    process.stdin.write(content[:len(content) // 2])
    process.stdin.flush()
    harness.wait_until(lambda: len(os.listdir("interrupt")) > len(names), "a temporary file")
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(content[len(content) // 2:])
        process.stdin.close()
    equal(process.wait(30), 1, "status")
    contains(process.stderr.read().decode(), "interrupted", "words")
    equal(sorted(os.listdir("interrupt")), names, "files")


if __name__ == "__main__":
    main()
