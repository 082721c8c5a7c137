# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Disks as files: what `martlet export` writes, held against the disk as guests see it, and judged by
# qemu-img.

import json
import os
import signal
import subprocess

from bdiff import Diff
from harness import (
    KIB, MARTLET, MIB, Daemon, Skip, check, contains, die_with_parent, equal, main, require, run,
    test, wait_until, write_image)

try:
    import nbd
except ImportError:
    nbd = None

# The last grain and the last block are short.
ODD = 48 * MIB + 5 * 512


def export(daemon, *arguments, **options):
    return daemon.cli("export", "--store", daemon.store_url, *arguments, **options)


def readers(daemon):
    folder = f"{daemon.store}/refs/readers"
    return os.listdir(folder) if os.path.isdir(folder) else []


def filled(*shapes):
    daemon = Daemon().start()
    for name, size, block in shapes:
        image = write_image(f"{daemon.directory}/{name}.img", size, seed=len(name))
        daemon.create(name, size, block_size=block)
        run("nbdcopy", "--connections=4", image, daemon.uri(name))
        daemon.drain(name)
    return daemon


@test("raw, qcow2 and compressed exports of four shapes are what the guest wrote")
def formats():
    require("nbdcopy", "qemu-img")
    shapes = (("odd", ODD, 128 * KIB), ("small", 3 * 512, 4 * KIB), ("wide", 40 * MIB + 512, MIB),
              ("fine", 9 * MIB + 512, 4 * KIB))
    daemon = filled(*shapes)
    # No daemon is needed.
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    for name, size, _ in shapes:
        image, out = f"{daemon.directory}/{name}.img", f"{daemon.directory}/{name}"
        export(daemon, name, f"{out}.raw")
        run("cmp", image, f"{out}.raw")
        check(os.stat(f"{out}.raw").st_blocks <= os.stat(image).st_blocks + 64,
              "holes were written")
        for kind in ("", "--compress"):
            target = f"{out}{kind}.qcow2"
            export(daemon, name, target, "--format", "qcow2", *kind.split())
            contains(run("qemu-img", "check", "-f", "qcow2", target).stdout,
                     "No errors were found", "qemu-img check")
            run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", image, target)
        with open(f"{out}.stream", "wb") as stream:
            subprocess.run([MARTLET, "export", "--store", daemon.store_url, name, "-"],
                           stdout=stream, check=True, timeout=300, preexec_fn=die_with_parent)
        run("cmp", image, f"{out}.stream")
        equal(readers(daemon), [], "pins that were left")


@test("an old snapshot comes out as it was, while the disk is written and collected")
def snapshot():
    require("nbdcopy")
    daemon = filled(("disk", ODD, 128 * KIB))
    old = daemon.cli_json("snapshot", "disk", "--tag", "old")["sequence"]
    image = write_image(f"{daemon.directory}/new.img", ODD, seed=99)
    run("nbdcopy", image, daemon.uri("disk"))
    daemon.drain("disk")
    for number, source in enumerate((f"disk@{old}", "tag:old")):
        export(daemon, source, f"{daemon.directory}/old{number}")
        run("cmp", f"{daemon.directory}/disk.img", f"{daemon.directory}/old{number}")
    export(daemon, "disk", f"{daemon.directory}/head")
    run("cmp", image, f"{daemon.directory}/head")


def with_history():
    """A daemon, and three snapshots of its disk."""
    daemon = filled(("disk", ODD, 128 * KIB))
    sequences = [daemon.cli_json("snapshot", "disk")["sequence"]]
    for commands in (("write -P 5 20M 1M", "write -P 6 4097 100"),
                     ("discard 8M 4M", "write -P 7 47M 1M", "write -z 20M 64k")):
        run("qemu-io", "-f", "raw", *(word for line in commands for word in ("-c", line)),
            daemon.uri("disk"))
        sequences.append(daemon.cli_json("snapshot", "disk")["sequence"])
    return daemon, sequences


@test("block diffs between snapshots, by command and API, make the newer disk of the older file")
def diffs():
    require("nbdcopy", "qemu-io", "curl")
    daemon, sequences = with_history()
    images = []
    for sequence in sequences:
        images.append(f"{daemon.directory}/{sequence}.raw")
        export(daemon, f"disk@{sequence}", images[-1])
    out = f"{daemon.directory}/diff"
    for target, newer in zip(sequences, images):
        for since, older in zip(sequences, images):
            for options in (("--format", "bdiff"), ("--format", "bdiff-v2"),
                            ("--format", "bdiff-v2", "--compress", "--digests")):
                export(daemon, f"disk@{target}", out, "--since", str(since), "--force", *options)
                run(MARTLET, "diff", "apply", out, f"{out}.raw", "--base", older, "--force")
                run("cmp", newer, f"{out}.raw")
                # The second reader.
                run("cp", older, f"{out}.second")
                with open(f"{out}.second", "r+b") as file:
                    Diff(out).apply(file)
                run("cmp", newer, f"{out}.second")
            for version in (1, 2):
                run("curl", "-sSf", "--unix-socket", daemon.api, "-o", f"{out}.served",
                    f"http://localhost/api/exports/disk/diff?from={since}&to={target}"
                    f"&version={version}")
                run(MARTLET, "diff", "apply", f"{out}.served", f"{out}.raw", "--base", older,
                    "--force")
                run("cmp", newer, f"{out}.raw")
    export(daemon, f"disk@{sequences[2]}", out, "--since", str(sequences[1]), "--force")
    # A megabyte and a hole of four: not the disk.
    check(os.stat(out).st_blocks * 512 < 2 * MIB, "more than what changed takes space")
    for query, status in ((f"from={sequences[0]}&to=999", "404"), ("from=x", "400")):
        said = run("curl", "-sS", "--unix-socket", daemon.api, "-o", "/dev/null", "-w",
                   "%{http_code}", f"http://localhost/api/exports/disk/diff?{query}").stdout
        equal(said, status, f"the status of {query}")
    equal(readers(daemon), [], "pins that were left")


@test("qemu:dirty-bitmap contexts of a view tell what changed: nbdinfo, libnbd and qemu-img agree, "
      "and an incremental pull makes the newer disk of the older file")
def bitmaps():
    require("nbdcopy", "qemu-io", "qemu-img", "nbdinfo")
    if nbd is None:
        raise Skip("no python3-libnbd here")
    daemon, sequences = with_history()
    first, second, last = sequences
    view = daemon.uri(f"disk@{last}")
    told = json.loads(run("nbdinfo", "--json", view).stdout)["exports"][0]["contexts"]
    equal(told, ["base:allocation"] + [f"qemu:dirty-bitmap:{s}" for s in (first, second)],
          "the contexts of a view")
    live = json.loads(run("nbdinfo", "--json", daemon.uri("disk")).stdout)["exports"][0]
    equal(live["contexts"], ["base:allocation"], "the contexts of what can be written")
    diff = f"{daemon.directory}/diff"
    for since in (first, second):
        export(daemon, f"disk@{last}", diff, "--since", str(since), "--force")
        expected = [(offset, offset + length) for offset, length in Diff(diff).ranges]
        name = f"qemu:dirty-bitmap:{since}"
        mapped = json.loads(run("nbdinfo", "--json", f"--map={name}", view).stdout)
        equal(joined((e["offset"], e["offset"] + e["length"]) for e in mapped if e["type"] == 1),
              expected, f"what nbdinfo maps since {since}")
        equal(sum(e["length"] for e in mapped), ODD, "what the map covers")
        # qemu-img shows a bitmap as an allocation: what is dirty is no data.
        image = (f"driver=raw,size={ODD // 512 * 512},file.driver=nbd,file.server.type=unix,"
                 f"file.server.path={daemon.nbd},file.export=disk@{last},"
                 f"file.x-dirty-bitmap={name}")
        shown = json.loads(run("qemu-img", "map", "--output=json", "--image-opts", image).stdout)
        equal(joined((e["start"], e["start"] + e["length"]) for e in shown if not e["data"]),
              expected, f"what qemu-img maps since {since}")
        pull(daemon, view, name, f"disk@{since}", f"disk@{last}")
    refused = run("nbdinfo", "--json", "--map=qemu:dirty-bitmap:4711", view, check_status=False)
    check(refused.returncode != 0, f"a bitmap that there is not: {refused.stdout}")
    equal(len(readers(daemon)), 1, "pins: the view's")


def pull(daemon, view, name, older, newer):
    """An incremental backup as a client does it: the older file, and what the bitmap names."""
    backup, target = f"{daemon.directory}/backup", f"{daemon.directory}/newer"
    export(daemon, older, backup, "--force")
    export(daemon, newer, target, "--force")
    handle = nbd.NBD()
    handle.add_meta_context(name)
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.connect_uri(view)
    check(handle.can_meta_context(name), f"no {name}")
    size, at, contexts = handle.get_size(), 0, set()
    with open(backup, "r+b") as file:
        while at < size:
            told = {}
            handle.block_status(min(size - at, 3 * MIB + 512), at,
                                lambda context, _, entries, error: told.__setitem__(
                                    context, list(entries)))
            contexts |= set(told)
            entries = told[name]
            for length, flags in zip(entries[::2], entries[1::2]):
                for start in range(at, at + length, MIB) if flags else ():
                    count = min(MIB, at + length - start)
                    file.seek(start)
                    file.write(handle.pread(count, start))
                at += length
    handle.shutdown()
    equal(contexts, {name, nbd.CONTEXT_BASE_ALLOCATION}, "the contexts of the replies")
    run("cmp", backup, target)


def joined(ranges):
    found = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


@test("what is no regular file stays what it is, with --force, too")
def devices():
    daemon = filled(("disk", 1 * MIB, 128 * KIB))
    folder = f"{daemon.directory}/out"
    os.mkdir(folder)
    os.symlink("/dev/null", f"{folder}/link")
    os.mkfifo(f"{folder}/pipe")
    for name in ("link", "pipe"):
        for force in ((), ("--force",)):
            done = export(daemon, "disk", f"{folder}/{name}", *force, check_status=False)
            equal(done.returncode, 2, "exit status")
            contains(done.stderr, "is not a regular file", "the message")
    equal(sorted(os.listdir(folder)), ["link", "pipe"], "what is there")
    check(os.path.islink(f"{folder}/link"), "the link is one no more")


@test("what cannot be exported is refused in words, and no file is left or lost")
def refusals():
    require("nbdcopy")
    daemon = filled(("disk", 8 * MIB, 128 * KIB))
    folder = f"{daemon.directory}/out"
    os.mkdir(folder)
    with open(f"{folder}/there", "w") as file:
        file.write("mine")
    for arguments, status, words in (
            (("nobody", f"{folder}/a"), 1, "there is no nobody"),
            (("disk@77", f"{folder}/a"), 1, "there is no disk@77"),
            (("a@b@c", f"{folder}/a"), 2, "a snapshot is named NAME@SEQ"),
            (("disk", f"{folder}/there"), 1, "there exists"),
            (("disk", "-", "--format", "qcow2"), 2, "out of order"),
            (("disk", f"{folder}/a", "--compress"), 2, "a raw image is not compressed"),
            (("disk", f"{folder}/a", "--since", "1", "--format", "raw"), 2, "stands alone"),
            (("disk", f"{folder}/a", "--since", "99"), 1, "there is no commit 99"),
            (("disk", f"{folder}/none/a"), 1, "No such file")):
        done = export(daemon, *arguments, check_status=False)
        equal(done.returncode, status, f"exit status of {arguments}: {done.stderr}")
        contains(done.stderr, words, "the message")
    with open(f"{folder}/there") as file:
        equal(file.read(), "mine", "a file that was there")
    pack = run("find", f"{daemon.store}/packs", "-name", "*.pack").stdout.split()[0]
    os.truncate(pack, os.path.getsize(pack) // 2)
    done = export(daemon, "disk", f"{folder}/a", check_status=False)
    equal(done.returncode, 1, "exit status with a damaged pack")
    contains(done.stderr, os.path.basename(pack), "the message")
    equal(os.listdir(folder), ["there"], "what is left")
    export(daemon, "disk", f"{folder}/there", "--force", check_status=False)
    with open(f"{folder}/there") as file:
        equal(file.read(), "mine", "a file that was not replaced after all")
    equal(readers(daemon), [], "pins that were left")


@test("SIGTERM ends an export with nothing left behind, neither a file nor a pin")
def interrupted():
    require("nbdcopy")
    daemon = filled(("disk", 256 * MIB, 128 * KIB))
    folder = f"{daemon.directory}/out"
    os.mkdir(folder)
    process = subprocess.Popen(
        [MARTLET, "export", "--store", daemon.store_url, "--threads", "1", "disk",
         f"{folder}/file"], stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    wait_until(lambda: os.listdir(folder), "a temporary file")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    if process.returncode != 0:
        contains(said, "it was interrupted", "the message")
        equal(os.listdir(folder), [], "files")
    else:
        equal(os.listdir(folder), ["file"], "files of an export that was faster")
    equal(readers(daemon), [], "pins")


if __name__ == "__main__":
    main()
