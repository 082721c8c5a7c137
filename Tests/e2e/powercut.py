# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The power goes, again and again, under a file system on a volume. The disk below the daemon then drops
# what was not synced, or parts of it; what the guest had synced is there, and its file system is whole.
# One volume goes through many cuts, so that damage would add up. The one thing to know: `E2E_CUTS` is
# over the three file systems together, and a cut counts only if the journal had unsynced bytes.

import os
import statistics

import harness
import nbdclient
from harness import KIB, MIB, Failure, Skip, check, main, note, require, test
from nbdclient import FLUSH, FUA, WRITE
from powerworld import FILE_SYSTEMS, FlushedDisk, PowerWorld
from stamps import Op, stamped
from volatiledisk import volatile_disk

CUTS = int(os.environ.get("E2E_CUTS", "6"))
# No commit: what the journal loses is in no store.
QUIET = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_COMMIT_MAX_JOURNAL_MB": "4096"}

every_cut = []


def size(count):
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / KIB:.1f} KiB"


def describe_cuts(cuts):
    unsynced = [cut["watched_bytes"] for cut in cuts]
    outstanding = sum(cut["watched_syncs"] > 0 for cut in cuts)
    check(min(unsynced) > 0, "a cut found nothing unsynced in the journal")
    check(2 * outstanding >= len(cuts), f"a flush was outstanding in {outstanding} of {len(cuts)}")
    sums = {key: sum(cut[key] for cut in cuts) for key in cuts[0]}
    return (
        f"{len(cuts)} cuts, {outstanding} with a flush outstanding; unsynced in journals "
        f"{size(min(unsynced))} to {size(max(unsynced))}, median {size(statistics.median(unsynced))}; "
        f"{size(sums['bytes_landed'])} landed and {size(sums['bytes_gone'])} gone, "
        f"{sums['pages_torn']} pages torn, {sums['names_landed']} names landed and "
        f"{sums['names_gone']} gone")


def cut_often(kind):
    require("nbdfuse", "losetup", "mount", *(words[0] for words in FILE_SYSTEMS[kind]))
    if os.getuid() != 0:
        raise Skip("only root mounts")
    place = list(FILE_SYSTEMS).index(kind)
    count = (CUTS + 2 - place) // 3
    if count == 0:
        raise Skip(f"E2E_CUTS is {CUTS}")
    # The store on the same disk in a quarter of them; of few, in those of one file system.
    with_store = count // 4 if count >= 4 else count * (kind == "btrfs")
    said = []
    for number, has_store in ((count - with_store, False), (with_store, True)):
        if number:
            said.append(cut_volume(kind, number, has_store, place))
    return "; ".join(said)


def cut_volume(kind, count, has_store, place):
    with volatile_disk(f"{kind}{int(has_store)}") as disk:
        world = PowerWorld(disk, harness.SEED + 10 * place + has_store, kind, has_store)
        while len(world.cuts) < count:
            world.cut_once()
            if len(world.cuts) % 10 == 0:
                note(f"{kind}: {len(world.cuts)} cuts")
        world.finish()
        note(f"{kind}: {describe_cuts(world.cuts)}")
        every_cut.extend(world.cuts)
        note(f"so far: {describe_cuts(every_cut)}")
        files, *databases = world.judges[:3]
        return (
            f"{len(world.cuts)} cuts and {len(world.recovery_cuts)} more in recoveries, "
            f"{files.checked} files, {sum(each.checked for each in databases)} transactions and "
            f"{world.raw.checked} raw sectors looked at, none lost, none corrupt")


@test("ext4 on a volume is whole after every power cut, with all that files and SQLite had synced")
def ext4():
    return cut_often("ext4")


@test("XFS on a volume is whole after every power cut, with all that files and SQLite had synced")
def xfs():
    return cut_often("xfs")


@test("btrfs on a volume is whole after every power cut, with all that files and SQLite had synced")
def btrfs():
    return cut_often("btrfs")


# MARK: That these tests can fail

@test("a disk that answers syncs and does nothing is found out by what the guest had flushed")
def lies():
    said = []
    for attempt in range(8):
        with volatile_disk(f"lies{attempt}") as disk:
            world = PowerWorld(disk, harness.SEED + attempt, settings=QUIET)
            # An honest cut first: it is the lie that makes the difference.
            world.cut_once()
            world._boot()
            disk.lie()
            world.cut_once()
            try:
                world.finish()
            except (Failure, nbdclient.Refused) as error:
                said.append(str(error))
                note(f"cut {attempt + 1}: {said[-1]:.200}")
                if "flushed was" in said[-1] or "neither durable" in said[-1]:
                    return f"after {attempt + 1} cuts: {said[-1]:.120}"
    raise Failure(f"8 cuts of a lying disk lost nothing that was flushed: {said}")


@test("a sector that is older than a flush, torn, or that nobody wrote is not taken for good")
def judge():
    first, flushed, second, forced = 1, 2, 3, 4
    contents = {number: stamped(number, 8, 4) for number in (first, flushed, second, forced)}

    def written(*numbers):
        disk = FlushedDisk("judged", 32 * 512)
        for number in numbers:
            op = Op(number, WRITE, 8, 4, FUA if number == forced else 0)
            for each in (op, Op(100 + number, FLUSH, 0, 0, 0)) if number == flushed else (op,):
                disk.begin(each)
                disk.end(each)
        return disk

    def with_sectors(content, at=8):
        return bytes(at * 512) + content + bytes((32 - at) * 512 - len(content))

    mixed = contents[flushed][:512] + contents[second][512:]
    for good in (contents[flushed], contents[second], mixed):
        written(first, flushed, second).verify(with_sectors(good))
    torn = contents[second][:100] + contents[flushed][100:]
    for wrong in (bytes(2048), contents[first], torn, stamped(9, 8, 4), stamped(second, 9, 4)):
        expect_refusal(written(first, flushed, second), with_sectors(wrong))
    # FUA stands for itself; what lies elsewhere is as it was.
    written(first, flushed, second, forced).verify(with_sectors(contents[forced]))
    for wrong in (contents[second], contents[flushed]):
        expect_refusal(written(first, flushed, second, forced), with_sectors(wrong))
    expect_refusal(written(first, flushed), with_sectors(contents[flushed], at=9))
    # What was read once does not go back.
    disk = written(first, flushed, second)
    disk.verify(with_sectors(contents[second]))
    expect_refusal(disk, with_sectors(contents[flushed]))


def expect_refusal(disk, found):
    try:
        disk.verify(found)
    except Failure:
        return
    raise Failure("taken for good")


if __name__ == "__main__":
    main()
