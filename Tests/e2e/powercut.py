# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The power goes, again and again, under a file system on a volume. The disk below the daemon then drops
# what was not synced, or parts of it; what the guest had synced is there, and its file system is whole.
# One volume goes through many cuts, so that damage would add up. The one thing to know: `E2E_CUTS` is
# over the three file systems together, and a cut counts only if the journal had unsynced bytes.

import contextlib
import os
import sqlite3
import statistics

import harness
import nbdclient
import powerload
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
            f"{world.kills} kills between, {files.checked} files, "
            f"{sum(each.checked for each in databases)} transactions and "
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
    for attempt in range(10):
        with volatile_disk(f"lies{attempt}") as disk:
            world = PowerWorld(disk, harness.SEED + attempt, settings=QUIET)
            if attempt == 0:
                # An honest cut loses nothing: it is the lie that makes the difference.
                world.cut_once()
                world.look_again()
                world.cut_once()
            world.lie()
            world.cut_once()
            try:
                world.look_again()
            except (Failure, nbdclient.Refused) as error:
                said.append(str(error))
                note(f"lie {attempt + 1}: {said[-1]:.200}")
                # The volume itself may find it, and be refused; now and then only the client can.
                if any(words in said[-1] for words in ("and flushed was", "neither durable")):
                    return f"{attempt + 1} lies, {len(said)} found: {said[-1]:.120}"
    raise Failure(f"10 cuts of a lying disk lost nothing that was flushed: {said}")


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


@test("a file or a row that was synced and is gone, older, or back again is not taken for good")
def judge_of_files():
    directory = f"{os.getcwd()}/judged"
    os.makedirs(f"{directory}/files/d0")
    path = f"{directory}/files/d0/f1"
    lines = [line.split() for line in (
        "begin 1 make d0/f1 3000", "done 1", "begin 2 over d0/f1 100 2000", "done 2",
        "begin 3 make d0/f2 10", "done 3", "begin 4 remove d0/f2", "done 4",
        "begin 5 over d0/f1 0 1024")]
    before = powerload.content(1, 100) + powerload.content(2, 2000)
    before += powerload.content(1, 3000)[2100:]
    after = powerload.content(5, 1024) + before[1024:]

    def judge_with(content, other=None):
        files = powerload.Files(0)
        files.take(lines)
        for name, there in (("f1", content), ("f2", other)):
            if there is not None:
                with open(f"{directory}/files/d0/{name}", "wb") as file:
                    file.write(there)
            elif os.path.exists(f"{directory}/files/d0/{name}"):
                os.unlink(f"{directory}/files/d0/{name}")
        return lambda: files.judge(directory)

    for good in (before, after, after[:512] + before[512:]):
        judge_with(good)()
    for wrong in (None, b"", powerload.content(1, 3000), before[:2999], bytes(3000),
                  before[:2500] + bytes(500), after[:100] + before[100:]):
        expect_refusal_of(judge_with(wrong))
    expect_refusal_of(judge_with(before, powerload.content(3, 10)))
    judge_rows(directory)


def judge_rows(directory):
    with contextlib.closing(sqlite3.connect(f"{directory}/WAL.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE ledger (id INTEGER PRIMARY KEY)")
        database.execute("CREATE TABLE total (sum INTEGER)")
        database.execute("INSERT INTO ledger VALUES (1), (2), (3)")
        database.execute("INSERT INTO total VALUES (6)")
        for confirmed, is_good in ((2, True), (3, True), (4, False), (1, False)):
            rows = powerload.Rows("WAL")
            rows.take([[str(confirmed)]])
            if is_good:
                rows.judge(directory)
            else:
                expect_refusal_of(lambda rows=rows: rows.judge(directory))
        rows.take([["3"]])
        database.execute("UPDATE total SET sum = 5")
        expect_refusal_of(lambda: rows.judge(directory))


def expect_refusal(disk, found):
    expect_refusal_of(lambda: disk.verify(found))


def expect_refusal_of(judge):
    try:
        judge()
    except Failure:
        return
    raise RuntimeError("taken for good")


if __name__ == "__main__":
    main()
