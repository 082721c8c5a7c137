# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Files as disks: what `martlet bless` and `martlet import` make of images that qemu-img made, held
# against those images by qemu-img itself, over NBD; and what becomes of one that is killed.

import json
import os
import random
import re
import signal
import subprocess

from harness import (
    KIB, MARTLET, MIB, Daemon, check, contains, die_with_parent, equal, main, note, require, run,
    test, wait_until, write_image)

# The last grain and the last block are short.
ODD = 24 * MIB + 5 * 512


def mixed_image(path, size, seed):
    """What disks hold: noise, text, written zeros and holes."""
    write_image(path, size, seed=seed, hole_share=0.5)
    generator = random.Random(seed)
    with open(path, "r+b") as file:
        for _ in range(size // (256 * KIB)):
            count = generator.choice((4 * KIB, 64 * KIB, 200 * KIB))
            file.seek(generator.randrange(0, size - count) // 512 * 512)
            word = b"%d martlets are drawn without feet " % generator.randrange(10)
            file.write((word * count)[:count] if generator.random() < 0.7 else bytes(count))
    return path


def convert(source, target, *options, source_format="raw"):
    run("qemu-img", "convert", "-f", source_format, "-O", "qcow2", *options, source, target)
    return target


def command(daemon, *words, **options):
    return daemon.cli(*words, "--store", daemon.store_url, **options)


def bless(daemon, image, name, *options):
    return json.loads(
        command(daemon, "bless", "--image", image, "--name", name, "--json", *options).stdout)


def expect_disk(daemon, name, image, image_format):
    """The export has the image's bytes, as qemu reads both, and no byte more."""
    sizes = [json.loads(run("qemu-img", "info", "--output=json", "-f", kind, file).stdout)
             ["virtual-size"] for kind, file in ((image_format, image), ("raw", daemon.uri(name)))]
    equal(sizes[1], sizes[0], f"size of {name}")
    run("qemu-img", "compare", "-f", image_format, "-F", "raw", image, daemon.uri(name))


def repository(**options):
    """A daemon that has made its repository, and does not run."""
    daemon = Daemon(**options).start()
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    return daemon


def readers(daemon):
    folder = f"{daemon.store}/refs/readers"
    return os.listdir(folder) if os.path.isdir(folder) else []


def packs(daemon):
    """The packs of the store that are whole under their names."""
    return run("find", f"{daemon.store}/packs", "-name", "*.pack").stdout.split() \
        if os.path.isdir(f"{daemon.store}/packs") else []


def frames(daemon):
    """(hash, bytes) of every frame of every pack, as the packs' indexes tell."""
    found = []
    for pack in packs(daemon):
        text = run(MARTLET, "inspect", "pack", pack).stdout
        found += [(hash_, int(length)) for length, hash_ in re.findall(
            r"frame at \d+ length (\d+) hash ([0-9a-f]+)", text)]
    return found


def stored_twice(daemon):
    """Bytes of frames that are in the store once more than once."""
    seen, twice = set(), 0
    for hash_, count in frames(daemon):
        twice += count if hash_ in seen else 0
        seen.add(hash_)
    return twice


@test("raw and qcow2 images of every kind become one content, which forks give to qemu")
def formats():
    require("qemu-img")
    daemon = repository()
    raw = mixed_image(f"{daemon.directory}/raw", ODD, seed=5)
    at = f"{daemon.directory}/"
    images = {
        "raw": (raw, "raw"),
        "v2": (convert(raw, at + "v2", "-o", "compat=0.10"), "qcow2"),
        "v3": (convert(raw, at + "v3", "-o", "compat=1.1"), "qcow2"),
        "tiny": (convert(raw, at + "tiny", "-o", "cluster_size=512"), "qcow2"),
        "wide": (convert(raw, at + "wide", "-o", "cluster_size=2M"), "qcow2"),
        "full": (convert(raw, at + "full", "-o", "preallocation=full"), "qcow2"),
        "deflate2": (convert(raw, at + "deflate2", "-c", "-o", "compat=0.10"), "qcow2"),
        "deflate": (convert(raw, at + "deflate", "-c"), "qcow2"),
        "zstd": (convert(raw, at + "zstd", "-c", "-o", "compression_type=zstd"), "qcow2"),
        "zstdwide": (convert(raw, at + "zstdwide", "-c", "-o",
                             "compression_type=zstd,cluster_size=2M"), "qcow2"),
    }
    digests = set()
    for name, (image, kind) in images.items():
        report = bless(daemon, image, name)
        equal((report["outcome"], report["format"]), ("created", kind), name)
        equal(report["size_bytes"], ODD, f"size of {name}")
        digests.add(report["digest"])
        # Once more changes nothing.
        equal(bless(daemon, image, name)["outcome"], "unchanged", f"{name} again")
    equal(len(digests), 1, "digests of one content")
    equal(readers(daemon), [], "pins that were left")
    daemon.start()
    for name, (image, kind) in images.items():
        daemon.cli("create", f"fork-{name}", "--from", f"base:{name}")
        expect_disk(daemon, f"fork-{name}", image, kind)
    command(daemon, "verify")
    return f"{len(images)} images"


@test("backing files are read if they are named, and no file is opened because an image says so")
def backing():
    require("qemu-img", "qemu-io")
    daemon = repository()
    at = f"{daemon.directory}/"
    mixed_image(at + "low", 12 * MIB, seed=6)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", at + "low", at + "middle",
        str(ODD))
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", at + "middle", at + "top",
        str(ODD))
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 300k", "-c", "write -z 2M 1M", at + "middle")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 9 1100k 64k", "-c", "write -P 3 20M 100k",
        at + "top")
    for words, why in (
            ([], "it has a backing file"), (["--backing", at + "middle"], "it has a backing file"),
            (["--backing", at + "low", "--backing", at + "low"], "a raw image has no backing"),
            (["--backing", at + "none"], "No such file")):
        done = command(daemon, "bless", "--image", at + "top", "--name", "top", *words,
                       check_status=False)
        check(done.returncode != 0, f"{words} was accepted")
        contains(done.stderr, why, f"the message of {words}")
    chain = ["--backing", at + "middle", "--backing", at + "low"]
    report = bless(daemon, at + "top", "top", *chain)
    convert(at + "top", at + "flat", source_format="qcow2")
    equal(bless(daemon, at + "flat", "flat")["digest"], report["digest"], "digest of the chain")
    daemon.start()
    daemon.cli("create", "fork", "--from", "base:top")
    expect_disk(daemon, "fork", at + "top", "qcow2")


@test("what cannot be read or named is refused in words, and leaves nothing behind")
def refusals():
    require("qemu-img")
    daemon = repository()
    at = f"{daemon.directory}/"
    raw = mixed_image(at + "raw", 4 * MIB, seed=7)
    convert(raw, at + "sub", "-o", "extended_l2=on")
    convert(raw, at + "apart", "-o", f"data_file={at}data,data_file_raw=on")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "--object", "secret,id=s,data=abc",
        "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", raw, at + "locked")
    convert(raw, at + "cut")
    os.truncate(at + "cut", 300 * KIB)
    with open(at + "empty", "w"):
        pass
    for image, why in (("sub", "extended"), ("apart", "data file"), ("locked", "encrypted"),
                       ("cut", "the image is damaged"), ("empty", "it is empty"),
                       ("none", "No such file")):
        done = command(daemon, "bless", "--image", at + image, "--name", "a", check_status=False)
        check(done.returncode != 0, f"{image} was accepted")
        contains(done.stderr.lower(), why.lower(), f"the message of {image}")
        check(done.stderr.count(" : ") >= 2, f"not what : why : what to do: {done.stderr}")
    equal((packs(daemon), readers(daemon)), ([], []), "what was left")
    for words, status, why in (
            (("bless", "--image", raw, "--name", "a/b"), 2, "not a valid name"),
            (("bless", "--image", raw, "--name", "a", "--format", "qcow2"), 1, "begin as qcow2"),
            (("bless", "--image", raw, "--name", "a", "--block-size", "3K"), 2, "a power of two"),
            (("bless", "--image", raw, "--name", "a", "--dedup-against", "b"), 1, "no base b"),
            (("import", raw, "a", "--threads", "0"), 2, "from 1 to 64")):
        done = command(daemon, *words, check_status=False)
        equal(done.returncode, status, f"exit status of {words}: {done.stderr}")
        contains(done.stderr, why, "the message")
    bless(daemon, raw, "a")
    other = mixed_image(at + "other", 4 * MIB, seed=8)
    done = command(daemon, "bless", "--image", other, "--name", "a", check_status=False)
    equal(done.returncode, 1, "exit status with other content")
    contains(done.stderr, "holds something else", "the message")
    equal(bless(daemon, other, "a", "--replace")["outcome"], "replaced", "with --replace")


@test("an import is an export: read, written, taken out again")
def imported():
    require("qemu-img", "qemu-io")
    daemon = Daemon().start()
    at = f"{daemon.directory}/"
    raw = mixed_image(at + "raw", ODD, seed=9)
    convert(raw, at + "disk", "-c")
    command(daemon, "import", at + "disk", "disk")
    daemon.cli("open", "disk")
    expect_disk(daemon, "disk", raw, "raw")
    for target in ("raw", daemon.uri("disk")):
        run("qemu-io", "-f", "raw", "-c", "write -P 5 3M 70k",
            at + "raw" if target == "raw" else target)
    expect_disk(daemon, "disk", raw, "raw")
    daemon.drain("disk")
    command(daemon, "export", "disk", at + "out")
    run("cmp", raw, at + "out")
    done = command(daemon, "import", at + "disk", "disk", check_status=False)
    equal(done.returncode, 1, "exit status of an import over what was written")
    daemon.create("mine", MIB)
    done = command(daemon, "import", raw, "mine", check_status=False)
    contains(done.stderr, "that is no import", "the message of an import over an export")


@test("against a base only what differs is stored")
def deduplicated():
    require("qemu-img")
    daemon = repository()
    raw = mixed_image(f"{daemon.directory}/raw", ODD, seed=10)
    bless(daemon, raw, "old")
    before = set(packs(daemon))
    with open(raw, "r+b") as file:
        # Two neighbouring blocks.
        file.seek(7 * MIB - 512)
        file.write(random.Random(1).randbytes(1024))
    report = bless(daemon, raw, "new", "--dedup-against", "old")
    equal(report["blocks_stored"], 2, "blocks that were stored")
    added = sum(os.path.getsize(pack) for pack in set(packs(daemon)) - before)
    check(added < 2 * 128 * KIB + 64 * KIB, f"{added} bytes for two blocks")
    equal(stored_twice(daemon), 0, "bytes that are stored twice")
    daemon.start()
    daemon.cli("create", "fork", "--from", "base:new")
    expect_disk(daemon, "fork", raw, "raw")


class Bless:
    """A bless that will not come to its end."""

    def __init__(self, daemon, image, name):
        self.daemon, self.before = daemon, len(packs(daemon))
        self.process = subprocess.Popen(
            [MARTLET, "bless", "--image", image, "--name", name, "--store", daemon.store_url],
            env={**os.environ, **daemon.environment}, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

    def stop_after(self, count, number):
        """Sends a signal when so many packs have come; what it said."""
        def is_there():
            check(self.process.poll() is None, "the bless ended before its signal")
            return len(packs(self.daemon)) - self.before >= count
        wait_until(is_there, f"{count} packs", pause=0.002)
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)[1]


SMALL_PACKS = {"MARTLET_COMMIT_TARGET_PACK_MB": "1"}


@test("killed again and again, with collections between, a bless stores no byte twice")
def killed():
    require("qemu-img")
    daemon = repository(environment=SMALL_PACKS)
    image = write_image(f"{daemon.directory}/image", 160 * MIB + 512, seed=11, hole_share=0)
    left = 0
    for count in (1, 12, 40):
        stopped = Bless(daemon, image, "base")
        stopped.stop_after(count, signal.SIGKILL)
        equal(stopped.process.returncode, -signal.SIGKILL, "status of a killed bless")
        left = len(packs(daemon))
        for _ in range(2):
            command(daemon, "gc", "--grace-period", "0s")
        equal(len(packs(daemon)), left, "packs after two collections")
    note(f"{left} packs were in the store before the last try")
    report = bless(daemon, image, "base")
    equal((report["outcome"], report["resumed"]), ("created", True), "the last try")
    check(report["blocks_reused"] > 0, "nothing was found again")
    equal(stored_twice(daemon), 0, "bytes of content that were uploaded twice")
    equal(readers(daemon), [], "pins that were left")
    whole = repository(environment=SMALL_PACKS)
    equal(bless(whole, image, "base")["digest"], report["digest"], "digest of a whole try")
    extra = sum(map(os.path.getsize, packs(daemon))) - sum(map(os.path.getsize, packs(whole)))
    # Map nodes name packs by slot, and are made again; an index and a header for each pack more.
    check(extra < MIB, f"{extra} bytes more than a try that was not killed")
    daemon.start()
    daemon.cli("create", "fork", "--from", "base:base")
    expect_disk(daemon, "fork", image, "raw")
    return f"{extra} bytes more than one whole try, of map nodes and indexes"


@test("an interrupt ends a bless in words, and the next goes on")
def interrupted():
    daemon = repository(environment=SMALL_PACKS)
    image = write_image(f"{daemon.directory}/image", 160 * MIB, seed=12, hole_share=0)
    stopped = Bless(daemon, image, "base")
    said = stopped.stop_after(5, signal.SIGINT)
    equal(stopped.process.returncode, 1, f"status of an interrupted bless: {said}")
    contains(said, "it was interrupted : repeat it to go on", "the message")
    report = bless(daemon, image, "base")
    equal((report["outcome"], report["resumed"]), ("created", True), "the next try")
    equal(stored_twice(daemon), 0, "bytes of content that were uploaded twice")


if __name__ == "__main__":
    main()
