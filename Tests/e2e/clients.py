# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The clients that people use, each of them an opinion about the protocol that is not ours: libnbd,
# nbdinfo, nbdcopy, qemu, fio. All must agree on the content, also after everything was committed
# and the cache is gone, when every byte comes from the store.

import json
import os
import random
import subprocess
import time

import harness
import nbdclient
from harness import (
    GIB, KIB, MIB, Daemon, check, contains, equal, main, note, require, run, test, write_image)

try:
    import nbd
except ImportError:
    nbd = None

# The last grain and the last block are short.
ODD = 48 * MIB + 5 * 512


def reborn(daemon, *names):
    """Commits everything, and starts again with an empty cache."""
    for name in names:
        daemon.drain(name)
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    daemon.lose_cache()
    daemon.start()


def libnbd():
    if nbd is None:
        raise harness.Skip("no python3-libnbd here")
    return nbd.NBD()


# MARK: nbdinfo, nbdcopy, qemu-img

@test("nbdinfo sees size, flags, block sizes, structured replies and base:allocation")
def info():
    require("nbdinfo")
    daemon = Daemon().start()
    daemon.create("disk", ODD)
    daemon.create("other", MIB)
    shown = json.loads(run("nbdinfo", "--json", "--no-content", daemon.uri("disk")).stdout)
    equal(shown["protocol"], "newstyle-fixed", "protocol")
    equal(shown["structured"], True, "structured replies")
    one = shown["exports"][0]
    equal(one["export-size"], ODD, "size")
    equal(one["is_read_only"], False, "read-only")
    for flag in ("can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua",
                 "can_multi_conn", "can_trim", "can_zero"):
        equal(one[flag], True, flag)
    equal((one["block_size_minimum"], one["block_size_preferred"], one["block_size_maximum"]),
          (1, 4096, 32 * MIB), "block sizes")
    check("base:allocation" in one["contexts"], f"contexts: {one['contexts']}")
    listed = json.loads(run("nbdinfo", "--json", "--list", daemon.uri("")).stdout)
    equal(sorted(e["export-name"] for e in listed["exports"]), ["disk", "other"], "--list")
    equal(run("nbdinfo", "--size", daemon.uri("disk")).stdout.strip(), str(ODD), "--size")
    for question in ("flush", "fua", "multi-conn", "trim", "zero", "df", "cache"):
        run("nbdinfo", "--can", question, daemon.uri("disk"))
    equal(run("nbdinfo", "--is", "read-only", daemon.uri("disk"), check_status=False).returncode,
          2, "--is read-only")
    extents = json.loads(run("nbdinfo", "--json", "--map", daemon.uri("disk")).stdout)
    equal([(e["offset"], e["length"], e["type"]) for e in extents], [(0, ODD, 3)], "an empty map")


@test("nbdcopy with 4 connections and qemu-img agree up and down, also after the cache is lost")
def copies():
    require("nbdcopy", "qemu-img")
    daemon = Daemon().start()
    for name, size, block in (("odd", ODD, 128 * KIB), ("small", 3 * 512, 4 * KIB),
                              ("wide", 40 * MIB + 512, MIB), ("fine", 9 * MIB + 512, 4 * KIB)):
        image = write_image(f"{daemon.directory}/{name}.img", size, seed=len(name))
        daemon.create(name, size, block_size=block)
        run("nbdcopy", "--connections=4", image, daemon.uri(name))
        compare(daemon, name, image)
    reborn(daemon, "odd", "small", "wide", "fine")
    for name in ("odd", "small", "wide", "fine"):
        compare(daemon, name, f"{daemon.directory}/{name}.img")
    daemon.create("converted", ODD)
    image = f"{daemon.directory}/odd.img"
    run("qemu-img", "convert", "-n", "-W", "-m", "8", "-f", "raw", "-O", "raw", image,
        daemon.uri("converted"))
    compare(daemon, "converted", image)


def compare(daemon, name, image):
    back = f"{daemon.directory}/back"
    run("nbdcopy", "--connections=4", daemon.uri(name), back)
    run("cmp", image, back)
    os.unlink(back)
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, daemon.uri(name))
    # What the map calls a hole must be one.
    for extent in json.loads(run("nbdinfo", "--json", "--map", daemon.uri(name)).stdout):
        if extent["type"] & 2:
            with open(image, "rb") as file:
                file.seek(extent["offset"])
                check(not any(file.read(extent["length"])), f"{extent} is no zeros")


@test("8 volumes, copied at once with 4 connections each on 2 shards, all come back")
def eight_volumes():
    require("nbdcopy")
    daemon = Daemon().start()
    names = [f"disk{n}" for n in range(8)]
    for number, name in enumerate(names):
        write_image(f"{daemon.directory}/{name}", 16 * MIB + number * 512, seed=number)
        daemon.create(name, 16 * MIB + number * 512)
    all_at_once([("nbdcopy", "--connections=4", f"{daemon.directory}/{name}", daemon.uri(name))
                 for name in names])
    all_at_once([("nbdcopy", "--connections=4", daemon.uri(name), f"{daemon.directory}/{name}.1")
                 for name in names])
    reborn(daemon, *names)
    all_at_once([("nbdcopy", "--connections=4", daemon.uri(name), f"{daemon.directory}/{name}.2")
                 for name in names])
    for name in names:
        for copy in (1, 2):
            run("cmp", f"{daemon.directory}/{name}", f"{daemon.directory}/{name}.{copy}")


def all_at_once(commands):
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True,
                         preexec_fn=harness.die_with_parent) for command in commands]
    for process, command in zip(running, commands):
        error = process.communicate(timeout=300)[1]
        check(process.returncode == 0, f"{' '.join(command)}: {error}")


# MARK: qemu-io

@test("qemu-io writes, zeroes, discards and reads patterns of odd places and lengths")
def qemu_io():
    require("qemu-io")
    daemon = Daemon().start()
    daemon.create("disk", ODD)

    def qemu(*commands):
        arguments = [word for command in commands for word in ("-c", command)]
        done = run("qemu-io", "-f", "raw", *arguments, daemon.uri("disk"))
        for bad in ("failed", "error", "Pattern verification"):
            check(bad not in done.stdout, f"{commands}: {done.stdout}")
        return done

    qemu("write -P 1 0 10M", "write -P 2 512 512", "write -P 3 1M 3k", "write -f -P 4 5M 64k",
         "write -z 2M 1M", "write -z -u 3M 100k", "discard 4M 512k", "flush",
         "aio_write -P 5 6M 1M", "aio_write -P 6 7M 512", "aio_flush",
         f"write -P 7 {ODD - 1536} 1536")
    reads = ("read -P 1 0 512", "read -P 2 512 512", "read -P 1 1k 1k", "read -P 3 1M 3k",
             "read -P 1 1027k 1021k", "read -P 0 2M 1M", "read -P 0 3M 100k",
             "read -P 1 3172k 924k", "read -P 0 4M 512k", "read -P 4 5M 64k", "read -P 5 6M 1M",
             "read -P 6 7M 512", f"read -P 7 {ODD - 1536} 1536", f"read -P 0 11M {ODD - 12 * MIB}")
    qemu(*reads)
    reborn(daemon, "disk")
    qemu(*reads)
    # Partial overwrites of what is in the store only.
    qemu("write -P 8 100k 512", "write -z 200k 1k", "write -P 9 5M 4k")
    again = ("read -P 8 100k 512", "read -P 1 102912 101888", "read -P 0 200k 1k",
             "read -P 9 5M 4k", "read -P 4 5124k 60k")
    qemu(*again)
    reborn(daemon, "disk")
    qemu(*again)


# MARK: fio

FIO = ["--ioengine=nbd", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64",
       "--randrepeat=0", "--group_reporting", "--output-format=terse"]


@test("fio verifies checksums of random writes with mixed sizes from 512 bytes")
def fio_mixed():
    require("fio")
    daemon = Daemon().start()
    daemon.create("split", 64 * MIB)
    daemon.create("range", 64 * MIB)
    common = ["--rw=randwrite", "--iodepth=32", "--size=24M", f"--randseed={harness.SEED}"]
    split = [*FIO, *common, "--name=split", "--bssplit=512/30:4k/30:20k/20:128k/20",
             "--verify_interval=512", f"--uri={daemon.uri('split')}"]
    span = [*FIO, *common, "--name=range", "--bsrange=512-256k", "--blockalign=512",
            "--verify_interval=512", f"--uri={daemon.uri('range')}"]
    for job in (split, span):
        run("fio", *job, "--do_verify=1")
    note(f"seed {harness.SEED}")


@test("fio verifies 4 jobs on each of 8 volumes on 2 shards")
def fio_many():
    require("fio")
    daemon = Daemon().start()
    jobs = []
    for volume in range(8):
        daemon.create(f"disk{volume}", 16 * MIB)
        for job in range(4):
            # Each job has its own quarter, so that each verifies what it wrote.
            jobs += [f"--name=v{volume}j{job}", f"--uri={daemon.uri(f'disk{volume}')}",
                     f"--offset={job * 4}M"]
    for start in range(0, len(jobs), 3 * 8):
        with_globals(daemon, jobs[start:start + 24])


def with_globals(daemon, jobs):
    """One fio with some jobs: global options first, as its command line wants them."""
    path = f"{daemon.directory}/job.fio"
    lines = ["[global]", "ioengine=nbd", "rw=randwrite", "iodepth=8", "size=4M", "thread=1",
             "verify=crc32c", "verify_fatal=1", "verify_backlog=64", "verify_interval=512",
             "bssplit=512/40:4k/40:64k/20"]
    for at in range(0, len(jobs), 3):
        lines.append(f"[{jobs[at].split('=', 1)[1]}]")
        lines += [option[2:] for option in jobs[at + 1:at + 3]]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    run("fio", path, "--output-format=terse")


# MARK: libnbd

@test("libnbd: FUA, zero, trim, cache, DF, unaligned requests and the short last grain")
def library():
    daemon = Daemon().start()
    daemon.create("disk", ODD)
    model = bytearray(ODD)
    generator = random.Random(harness.SEED)
    note(f"seed {harness.SEED}")
    handle = libnbd()
    handle.connect_uri(daemon.uri("disk"))
    equal(handle.get_size(), ODD, "size")
    check(handle.can_multi_conn() and handle.can_fast_zero() and handle.can_cache(), "flags")
    for _ in range(1500):
        act(handle, model, generator)
    equal(bytes(read_whole(handle)), bytes(model), "content")
    handle.flush()
    handle.shutdown()
    reborn(daemon, "disk")
    handle = libnbd()
    handle.connect_uri(daemon.uri("disk"))
    equal(bytes(read_whole(handle)) == bytes(model), True, "content from the store")
    for _ in range(500):
        act(handle, model, generator)
    equal(bytes(read_whole(handle)) == bytes(model), True, "content after more of it")
    for offset, count in ((ODD, 1), (ODD - 1, 2), (ODD + 4096, 512)):
        handle.set_strict_mode(0)
        expect_error(lambda: handle.pread(count, offset), "EINVAL")
        expect_error(lambda: handle.pwrite(bytes(count), offset), "ENOSPC")
        expect_error(lambda: handle.zero(count, offset), "ENOSPC")
        expect_error(lambda: handle.trim(count, offset), "EINVAL")
    handle.shutdown()


def act(handle, model, generator):
    """One request of any kind, any place and any length, on the disk and on the model."""
    count = min(generator.choice((1, 7, 512, 4096, 5000, 64 * KIB, 300_001, 2 * MIB)), len(model))
    offset = generator.randrange(len(model) - count + 1)
    if generator.random() < 0.2:
        offset = len(model) - count
    kind = generator.random()
    fua = nbd.CMD_FLAG_FUA if generator.random() < 0.1 else 0
    if kind < 0.45:
        data = generator.randbytes(count)
        handle.pwrite(data, offset, fua)
        model[offset:offset + count] = data
    elif kind < 0.6:
        no_hole = nbd.CMD_FLAG_NO_HOLE if generator.random() < 0.5 else 0
        handle.zero(count, offset, fua | no_hole)
        model[offset:offset + count] = bytes(count)
    elif kind < 0.7:
        offset -= offset % 4096
        count -= count % 4096
        if count:
            handle.trim(count, offset, fua)
            model[offset:offset + count] = bytes(count)
    elif kind < 0.75:
        # It may be refused, and then has done nothing.
        try:
            handle.zero(count, offset, nbd.CMD_FLAG_FAST_ZERO)
            model[offset:offset + count] = bytes(count)
        except nbd.Error as error:
            equal(error.errno, "ENOTSUP", "a fast zero that is refused")
    elif kind < 0.8:
        handle.cache(count, offset)
    else:
        df = nbd.CMD_FLAG_DF if count <= 64 * KIB and generator.random() < 0.3 else 0
        if df:
            data = bytearray(count)

            def chunk(part, at, status, error):
                data[at - offset:at - offset + len(part)] = part
            handle.pread_structured(count, offset, chunk, nbd.CMD_FLAG_DF)
            data = bytes(data)
        else:
            data = handle.pread(count, offset)
        check(data == model[offset:offset + count], f"a read of {count} at {offset}")


def read_whole(handle, step=8 * MIB):
    size = handle.get_size()
    return b"".join(
        handle.pread(min(step, size - at), at) for at in range(0, size, step))


def expect_error(body, name):
    try:
        body()
    except nbd.Error as error:
        check(error.errno == name, f"{error.errno}, expected {name}")
    else:
        check(False, f"no error, expected {name}")


@test("block status tells data from holes, and reads of holes are zeros")
def block_status():
    daemon = Daemon().start()
    daemon.create("disk", ODD)
    handle = libnbd()
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.connect_uri(daemon.uri("disk"))
    handle.pwrite(b"x" * 8192, 1 * MIB)
    handle.pwrite(b"y" * MIB, 8 * MIB)
    handle.zero(512 * KIB, 8 * MIB)
    handle.pwrite(b"z" * 512, ODD - 512)
    before = extents(handle)
    equal(sum(length for _, length, _ in before), ODD, "the extents cover the disk")
    for offset, kind in ((MIB, 0), (MIB + 4096, 0), (0, 3), (8 * MIB + 600 * KIB, 0),
                         (20 * MIB, 3), (ODD - 1, 0)):
        equal(kind_at(before, offset), kind, f"kind at {offset}")
    check(kind_at(before, 8 * MIB) & 2, "zeroed data is said to be zeros")
    handle.shutdown()
    reborn(daemon, "disk")
    handle = libnbd()
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.connect_uri(daemon.uri("disk"))
    after = extents(handle)
    equal(sum(length for _, length, _ in after), ODD, "the extents cover the disk")
    # By the block now: no hole may cover data.
    for offset in (MIB, MIB + 8191, 8 * MIB + 512 * KIB, ODD - 1):
        equal(kind_at(after, offset), 0, f"kind at {offset} from the store")
    for offset in (20 * MIB, 30 * MIB):
        equal(kind_at(after, offset), 3, f"kind at {offset} from the store")
    first = []
    handle.block_status(MIB, 20 * MIB, lambda _, at, entries, error: first.extend(entries),
                        nbd.CMD_FLAG_REQ_ONE)
    equal(len(first), 2, "REQ_ONE gives one extent")
    handle.shutdown()


def extents(handle):
    """(offset, length, flags) of the whole disk."""
    found = []
    size = handle.get_size()
    at = 0
    while at < size:
        part = []
        handle.block_status(min(size - at, GIB), at,
                            lambda _, offset, entries, error: part.extend(entries))
        check(part, f"no extents at {at}")
        for length, flags in zip(part[::2], part[1::2]):
            found.append((at, length, flags))
            at += length
    check(at == size, f"the extents end at {at}, the disk at {size}")
    return found


def kind_at(found, offset):
    return next(flags for start, length, flags in found if start <= offset < start + length)


@test("what one connection wrote and flushed, the others read: CAN_MULTI_CONN holds")
def multi_conn():
    daemon = Daemon().start()
    daemon.create("disk", 16 * MIB)
    lines = [nbdclient.Connection(daemon.nbd, "disk") for _ in range(4)]
    generator = random.Random(harness.SEED)
    for turn in range(400):
        offset = generator.randrange(0, 16 * MIB - 8192)
        data = generator.randbytes(generator.choice((1, 512, 4096, 8192)))
        lines[turn % 4].write(offset, data)
        if turn % 10 == 0:
            lines[turn % 4].flush()
        # An acknowledged write is seen everywhere at once, not only after the flush.
        equal(lines[(turn + 1) % 4].read(offset, len(data)), data, f"turn {turn}")


@test("a disk of 16 TB is trimmed nearly whole in a moment, and keeps what was not")
def large():
    daemon = Daemon().start()
    size = 16_000_000_000_000
    daemon.create("huge", size)
    handle = libnbd()
    handle.connect_uri(daemon.uri("huge"))
    equal(handle.get_size(), size, "size")
    handle.pwrite(b"end" * 1000, size - 3000)
    handle.pwrite(b"middle" * 1000, size // 2)
    began = time.monotonic()
    step = 4 * GIB - 4096
    for at in range(0, size, step):
        count = min(step, size - at)
        if not (at <= size // 2 < at + count or at + count == size):
            handle.trim(count, at)
    took = time.monotonic() - began
    equal(handle.pread(3000, size - 3000), b"end" * 1000, "the end")
    equal(handle.pread(6000, size // 2), b"middle" * 1000, "the middle")
    handle.shutdown()
    reborn(daemon, "huge")
    handle = libnbd()
    handle.connect_uri(daemon.uri("huge"))
    equal(handle.pread(3000, size - 3000), b"end" * 1000, "the end from the store")
    equal(handle.pread(6000, size // 2), b"middle" * 1000, "the middle from the store")
    equal(handle.pread(4096, size // 3), bytes(4096), "in between")
    handle.shutdown()
    return f"{size // step} trims in {took:.2f} s"


if __name__ == "__main__":
    main()
