# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Two writers of one volume. The first is stopped (SIGSTOP) with writes of its own not yet
# published, a second takes over, history is pruned, the first wakes up: it must be fenced, say why,
# keep its journal, and leave no trace in the store.

import glob
import json
import os
import re
import shutil
import signal
import time

import nbdclient
from harness import (
    MARTLET, MIB, Daemon, Failure, Skip, can_mount, check, contains, equal, main, run, test,
    wait_until)

SIZE = 64 * MIB
SLOW = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_COMMIT_TARGET_PACK_MB": "1"}


def two_hosts(environment):
    if not can_mount():
        raise Skip("no right to make a mount for a second machine id")
    first = Daemon("first", environment=environment,
                   machine_id="0123456789abcdef0123456789abcde0")
    second = Daemon("second", store=first.store, environment=environment,
                    machine_id="0123456789abcdef0123456789abcde1")
    return first, second


def write(daemon, offset, letter, count=MIB):
    with nbdclient.Connection(daemon.nbd, "disk") as connection:
        connection.write(offset, letter * count)
        connection.flush()


def error_of_write(daemon):
    """The error of a small write; None if it was taken."""
    try:
        with nbdclient.Connection(daemon.nbd, "disk", timeout=20) as connection:
            return connection.call(nbdclient.WRITE, 0, payload=bytes(512))[0] or None
    except (nbdclient.Refused, EOFError, OSError) as error:
        return error


def content_elsewhere(store):
    """What a third host, with nothing of its own, reads."""
    third = Daemon("third", store=store, machine_id="0123456789abcdef0123456789abcde2").start()
    third.create("witness", SIZE, readonly=True, **{"from": "export:disk"})
    data = nbdclient.read_all(third.nbd, "witness")
    third.kill()
    return data


def prune(store, volume, keep):
    """Deletes commits as a collector may: all but the head, fences and the last before each."""
    sequences = {}
    for path in glob.glob(f"{store}/volumes/{volume}/commits/*"):
        match = re.search(r"\.(\d+)$", path)
        if match:
            sequences[int(match.group(1))] = path
    pruned = 0
    for sequence, path in sequences.items():
        if sequence not in keep and sequence != max(sequences):
            os.unlink(path)
            pruned += 1
    return pruned


def take_over(first, second, volume, stopped):
    """Stops the first by `stopped()`, lets the second write and prune; its fence's number."""
    before = stopped()
    refusal = second.http("POST", "/api/exports/disk/open")
    if glob.glob(f"{first.store}/nodes/*/*"):
        equal(refusal.status, 409, f"a claim beside a live host, without force: {refusal}")
        contains(refusal.json["error"], "--force", "what to do")
    second.cli("open", "disk", "--force")
    status = second.status("disk")
    check(status.get("unclean_takeover"), f"no unclean_takeover: {status}")
    fence = status["sequence"]
    check(fence > before, f"the fence {fence} does not follow commit {before}")
    for number in range(4):
        write(second, number * MIB, b"B")
        second.drain("disk")
    # The fence and the commit before it stay for ever.
    pruned = prune(second.store, volume, {fence, fence - 1})
    check(pruned >= 2, f"only {pruned} commits were there to prune")
    return status


def first_wakes_up(first, volume):
    """The first goes on: fenced, with its reason, its journal kept."""
    reply = None

    def notices():
        nonlocal reply
        reply = first.http("POST", "/api/exports/disk/drain")
        return reply.status != 200
    wait_until(notices, "a drain of the fenced writer fails", seconds=30)
    check(reply.status in (409, 500), f"the drain of a fenced writer: {reply}")
    status = wait_until(
        lambda: (lambda s: s["operation_state"] == "fenced" and s)(first.status("disk")),
        "state fenced")
    check(status.get("failed"), f"no reason: {status}")
    error = error_of_write(first)
    check(error is not None, "a fenced writer still takes writes")
    journals = [
        path for path in glob.glob(f"{first.cache}/volumes/{volume}/journal*/*.seg")
        if os.path.getsize(path)]
    check(journals, "the fenced writer's journal is gone")
    check(any(b"A" * 4096 in read_file(path) for path in journals),
          "what the first wrote is in no journal of it")
    return status["failed"]


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def expect_second(store):
    data = content_elsewhere(store)
    equal(data[:4 * MIB], b"B" * 4 * MIB, "what the second wrote")
    equal(data[8 * MIB:9 * MIB], b"a" * MIB, "what the first had published")
    check(b"A" * 512 not in data, "a write of the fenced writer is in the store")


def expect_salvage(first, volume, before):
    """What the fenced writer holds, over the last commit that it knew, is the disk as it had it."""
    folder, at = f"{first.cache}/volumes/{volume}", f"{first.directory}/salvage."
    first.cli("export", f"disk@{before}", at + "before", "--store", first.store_url, "--force")
    for options in ([], ["--format", "v2"]):
        told = json.loads(run(MARTLET, "journal", "salvage", folder, at + "diff", "--json", "--force",
                              *options).stdout)
        equal((told["since_sequence"], told["volume"], told["partial"]), (before, volume, False),
              "what the salvage says")
        run(MARTLET, "diff", "apply", at + "diff", at + "kept", "--base", at + "before", "--force")
        expected = bytearray(SIZE)
        expected[8 * MIB:9 * MIB] = b"a" * MIB
        expected[:6 * MIB] = b"A" * 6 * MIB
        check(read_file(at + "kept") == expected, f"the salvaged disk {options}")
        check(os.path.getsize(at + "diff") < 6 * MIB + 65536, "the diff holds more than was written")


def start_first(first, environment=None):
    first.start(environment)
    volume = first.create("disk", SIZE)["volume"]
    write(first, 8 * MIB, b"a")
    first.drain("disk")
    return volume


@test("a writer stopped with an unpublished journal wakes up fenced, and the store is the second's")
def stopped_with_journal():
    first, second = two_hosts(SLOW)
    volume = start_first(first)
    second.start()
    wait_until(lambda: glob.glob(f"{first.store}/nodes/*/*"), "the first one's beat")

    def stopped():
        write(first, 0, b"A", 6 * MIB)
        sequence = first.status("disk")["sequence"]
        first.signal(signal.SIGSTOP)
        return sequence
    before = first.status("disk")["sequence"]
    take_over(first, second, volume, stopped)
    first.signal(signal.SIGCONT)
    why = first_wakes_up(first, volume)
    expect_second(first.store)
    expect_salvage(first, volume, before)
    # A restart of the first changes nothing of that.
    first.kill()
    first.start()
    expect_salvage(first, volume, before)
    write(second, 5 * MIB, b"B")
    second.drain("disk")
    expect_second(first.store)
    check(any(b"A" * 4096 in read_file(path) for path in
              glob.glob(f"{first.cache}/volumes/{volume}/journal*/*.seg")),
          "a restart threw the fenced journal away")
    return f"it says: {why}"


@test("trims, zeros and a grown size are in a salvage, from the journal's own folder too")
def salvage_of_everything():
    daemon = Daemon(environment=SLOW).start()
    volume = daemon.create("disk", SIZE)["volume"]
    expected = bytearray(SIZE + MIB + 512)
    write(daemon, 0, b"a", 16 * MIB)
    expected[:16 * MIB] = b"a" * 16 * MIB
    daemon.drain("disk")
    before = daemon.status("disk")["sequence"]
    daemon.create("disk", len(expected))
    at = f"{daemon.directory}/all."
    run("qemu-io", "-f", "raw", "-c", f"write -P 98 {SIZE + MIB - 512} 1k",
        "-c", "discard 1M 9M", "-c", "write -z 12M 4k", "-c", "write -P 99 2M 8k", daemon.uri("disk"))
    expected[SIZE + MIB - 512:] = b"b" * 1024
    expected[MIB:10 * MIB] = bytes(9 * MIB)
    expected[12 * MIB:12 * MIB + 4096] = bytes(4096)
    expected[2 * MIB:2 * MIB + 8192] = b"c" * 8192
    daemon.kill()
    command = [MARTLET, "export", "--store", daemon.store_url, f"disk@{before}", at + "before"]
    run(*command, env={**os.environ, **daemon.environment})
    for options in ([], ["--format", "v2", "--codec", "lz4"]):
        run(MARTLET, "journal", "salvage", f"{daemon.cache}/volumes/{volume}/journal", at + "diff",
            "--force", *options)
        run(MARTLET, "diff", "apply", at + "diff", at + "kept", "--base", at + "before", "--force")
        check(read_file(at + "kept") == expected, f"the salvaged disk {options}")


@test("a salvage of what is no journal, or of several, is refused in words and leaves nothing")
def salvage_refused():
    daemon = Daemon(environment=SLOW).start()
    volume = daemon.create("disk", SIZE)["volume"]
    folder, out = f"{daemon.cache}/volumes/{volume}", f"{daemon.directory}/out"

    def refused(why, *options, folder=folder, status=1):
        done = run(MARTLET, "journal", "salvage", folder, out, *options, check_status=False)
        equal(done.returncode, status, f"exit status of {options}: {done.stderr}")
        contains(done.stderr, why, "the message")
        check(done.stderr.count(" : ") >= 2, f"not what : why : what to do: {done.stderr}")
        check(not os.path.exists(out), "a file was left")
    refused("No such file", folder=folder + "x")
    write(daemon, 4 * MIB, b"a")
    daemon.drain("disk")
    refused("no journal with segments")
    write(daemon, 0, b"A")
    daemon.kill()
    shutil.copytree(folder + "/journal", folder + "/journal.salvage-9")
    refused("it has several: journal, journal.salvage-9", status=2)
    refused("no journal nothing, but journal", "--journal", "nothing", status=2)
    # The volume's root is not what a journal continued that was set aside.
    refused("no commit lies beside", "--journal", "journal.salvage-9")
    refused("no commit lies beside", folder=folder + "/journal.salvage-9/")
    shutil.move(folder + "/root", folder + "/away")
    refused("no commit lies beside", "--journal", "journal")
    shutil.move(folder + "/away", folder + "/root")
    done = run(MARTLET, "journal", "salvage", folder, out, "--journal", "journal")
    contains(done.stdout, f"data: {MIB}", "what was salvaged")
    done = run(MARTLET, "journal", "salvage", folder, out, "--journal", "journal",
               check_status=False)
    equal(done.returncode, 1, "exit status over a file")
    contains(done.stderr, "exists", "the message")
    # Flushed bytes that rot behind what was flushed later.
    os.unlink(out)
    daemon.start()
    write(daemon, MIB, b"B", 4096)
    write(daemon, 2 * MIB, b"C", 4096)
    daemon.kill()
    for path in glob.glob(folder + "/journal/*.seg"):
        with open(path, "r+b") as file:
            at = file.read().find(b"B" * 4096)
            if at >= 0:
                file.seek(at)
                file.write(b"x")
    refused("--partial", "--journal", "journal")
    done = run(MARTLET, "journal", "salvage", folder, out, "--journal", "journal", "--partial")
    contains(done.stdout, "note: a part", "what it says")
    contains(done.stdout, f"data: {MIB}", "what stands before the rot")


@test("a writer stopped between pack and commit wakes up fenced, its packs without effect")
def stopped_between_pack_and_commit():
    first, second = two_hosts(SLOW)
    # The first commit is that of `start_first`; it has one pack.
    volume = start_first(first, {"MARTLET_FAILPOINT": "commit.after-pack@2=stop"})
    second.start()

    def stopped():
        write(first, 0, b"A", 6 * MIB)
        sequence = first.status("disk")["sequence"]
        first.signal(signal.SIGUSR1)
        wait_until(lambda: is_stopped(first.pid), "the first stops between pack and commit")
        return sequence
    packs = set(glob.glob(f"{first.store}/packs/{volume}/*"))
    take_over(first, second, volume, stopped)
    check(set(glob.glob(f"{first.store}/packs/{volume}/*")) - packs, "no pack of the first")
    first.signal(signal.SIGCONT)
    why = first_wakes_up(first, volume)
    expect_second(first.store)
    equal(second.status("disk")["operation_state"], "serving", "the second's state")
    return f"it says: {why}"


def is_stopped(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] in "Tt"
    except OSError:
        raise Failure("the first died") from None


@test("of two that claim in turn each fences the other, and content follows the last")
def turns():
    first, second = two_hosts(SLOW)
    volume = start_first(first)
    second.start()
    expected = bytearray(SIZE)
    expected[8 * MIB:9 * MIB] = b"a" * MIB
    epoch = first.status("disk")["epoch"]
    for turn in range(4):
        daemon = (second, first)[turn % 2]
        began = time.monotonic()
        daemon.cli("open", "disk", "--force")
        status = daemon.status("disk")
        check(status["epoch"] > epoch, f"epoch {status['epoch']} after {epoch}")
        epoch = status["epoch"]
        letter = bytes([ord("k") + turn])
        write(daemon, turn * MIB, letter)
        daemon.drain("disk")
        expected[turn * MIB:(turn + 1) * MIB] = letter * MIB
        check(nbdclient.read_all(daemon.nbd, "disk") == expected, f"content after turn {turn}")
        check(time.monotonic() - began < 60, "a turn takes long")
    check(content_elsewhere(first.store) == expected, "content of the store")
    aside = glob.glob(f"{first.cache}/volumes/{volume}/journal.salvage-*")
    return f"{len(aside)} journals set aside at the first"


if __name__ == "__main__":
    main()
