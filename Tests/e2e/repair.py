# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Objects of a real store damaged by hand, and put back by `martlet verify --repair` from a replica
# or from a repository that disks were copied to, beside a daemon and after it.

import json
import os
import random
import shutil
import subprocess

import nbdclient
from harness import (
    KIB, MARTLET, MIB, Daemon, check, contains, equal, main, require, run, test, wait_until,
    write_image)


def objects(store, below):
    """Files of a directory store, each with its bytes."""
    found = {}
    for folder, _, names in os.walk(f"{store}/{below}"):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, store)] = file.read()
    return found


def put(store, key, data):
    with open(f"{store}/{key}", "wb") as file:
        file.write(data)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1:]


def verify(daemon, *arguments):
    """The exit status, and what was said as JSON."""
    done = run(MARTLET, "verify", "--store", daemon.store_url, "--json", "--no-progress",
               *arguments, check_status=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def filled():
    require("nbdcopy")
    daemon = Daemon().start()
    image = write_image(f"{daemon.directory}/disk.img", 24 * MIB, seed=5)
    daemon.create("prod", 24 * MIB, block_size=64 * KIB)
    run("nbdcopy", image, daemon.uri("prod"))
    daemon.cli("snapshot", "prod", "--tag", "first")
    daemon.cli("create", "work", "--from", "tag:first")
    run("nbdcopy", write_image(f"{daemon.directory}/more.img", 6 * MIB, seed=6),
        daemon.uri("work"))
    daemon.drain("work")
    return daemon, image


@test("packs and commits damaged in every way are put back from a replica, beside the daemon")
def from_replica():
    daemon, image = filled()
    daemon.drain("prod")
    replica = f"{daemon.directory}/replica"
    shutil.copytree(daemon.store, replica)
    whole = objects(daemon.store, "packs") | objects(daemon.store, "volumes")
    generator = random.Random(3)
    packs = [key for key in whole if key.startswith("packs/")]
    commits = [key for key in whole if key.startswith("volumes/")]
    ways = [
        lambda key, data: put(daemon.store, key, flipped(data, generator.randrange(len(data)))),
        lambda key, data: put(daemon.store, key, data[:len(data) // 2]),
        lambda key, data: put(daemon.store, key, b""),
        lambda key, data: os.remove(f"{daemon.store}/{key}"),
    ]
    tried = 0
    for key in packs[:6]:
        for way in ways:
            way(key, whole[key])
            status, before = verify(daemon)
            if status == 0:
                # A pack that nothing needs, or a member of it.
                put(daemon.store, key, whole[key])
                continue
            check(before["faults"], "faults without faults")
            status, report = verify(daemon, "--repair", f"from=file://{replica}")
            equal(status, 0, f"exit of the repair of {key}: {report}")
            check(any(done["key"] == key and done["result"] == "repaired" for done in report["repairs"]),
                  f"{key} is not among {report['repairs']}")
            tried += 1
    for key in commits:
        put(daemon.store, key, flipped(whole[key], len(whole[key]) - 1))
    equal(verify(daemon)[0], 1, "exit with damaged commits")
    status, report = verify(daemon, "--repair", f"from=file://{replica}")
    equal(status, 0, f"exit of the repair of commits: {report}")
    equal(objects(daemon.store, "packs") | objects(daemon.store, "volumes"), whole, "the store")
    check(tried >= 4, f"only {tried} damages were found")
    # From the store alone, the fork too.
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    daemon.lose_cache()
    daemon.start()
    images = []
    for name in (image, f"{daemon.directory}/more.img"):
        with open(name, "rb") as file:
            images.append(file.read())
    check(nbdclient.read_all(daemon.nbd, "prod") == images[0], "prod reads wrong")
    check(nbdclient.read_all(daemon.nbd, "work") == images[1] + images[0][len(images[1]):],
          "work reads wrong")
    return f"{tried} damages of packs, {len(commits)} of commits"


@test("frames are found by their content where the disk was copied to, and nothing is guessed")
def from_copy():
    daemon, _ = filled()
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    copy = f"{daemon.directory}/copy"
    other = Daemon("other", store=copy).start()
    equal(other.terminate(), 0, "exit status of SIGTERM")
    run(MARTLET, "copy", "--no-progress", daemon.store_url, f"file://{copy}", "prod")
    whole = objects(daemon.store, "packs")
    largest = max(whole, key=lambda key: len(whole[key]))
    put(daemon.store, largest, flipped(whole[largest], 200))
    equal(verify(daemon)[0], 1, "exit with a damaged frame")
    # A store that has nothing of it.
    status, report = verify(daemon, "--repair", f"from=file://{other.directory}/cache")
    equal(status, 1, "exit of a repair from nothing")
    contains(report["repairs"][0]["detail"], "no source has 1 of its", "what is missing")
    status, report = verify(daemon, "--repair", f"from=file://{copy}")
    equal(status, 0, f"exit of the repair: {report}")
    equal(objects(daemon.store, "packs"), whole, "the packs")
    refused = run(MARTLET, "verify", "--store", daemon.store_url, "--repair",
                  f"from={daemon.store_url}", check_status=False)
    equal(refused.returncode, 2, "exit of a repair from itself")
    contains(refused.stderr, "that is the repository itself", "the refusal")


@test("what a daemon has read comes back from its cache, and its commit from its directory")
def from_cache():
    daemon, _ = filled()
    nbdclient.read_all(daemon.nbd, "prod")
    nbdclient.read_all(daemon.nbd, "work")
    whole = objects(daemon.store, "packs") | objects(daemon.store, "volumes")
    here = ["--cache", daemon.cache, "--api", f"unix:{daemon.api}"]
    generator = random.Random(4)
    packs = [key for key in whole if key.startswith("packs/")]
    for key in packs:
        data = whole[key]
        for _ in range(6):
            data = flipped(data, generator.randrange(64, len(data)))
        put(daemon.store, key, data)
    equal(verify(daemon)[0], 1, "exit with damaged packs")
    status, report = verify(daemon, "--repair", "cache", *here)
    equal(status, 0, f"exit of the repair: {report}")
    check(all(done["sources"] == ["the cache of this host"] for done in report["repairs"]),
          f"the sources: {report['repairs']}")
    # Members that nothing refers to are not read, and stay as they are.
    now = objects(daemon.store, "packs")
    equal([key for key in packs if now[key] != whole[key]], [], "packs that differ")
    # Without the daemon there are the roots of its volumes.
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    roots = 0
    for key, data in objects(daemon.store, "volumes").items():
        volume, sequence = key.split("/")[1], key.rsplit(".", 1)[1]
        if not os.path.exists(f"{daemon.cache}/volumes/{volume}/root/{sequence}"):
            continue
        put(daemon.store, key, b"")
        status, report = verify(daemon, "--repair", "cache", *here)
        equal(status, 0, f"exit of the repair of {key}: {report}")
        equal(objects(daemon.store, "volumes")[key], data, f"the commit {key}")
        roots += 1
    equal(roots, 2, "newest commits in the cache directory")
    equal(daemon.start().terminate(), 0, "exit status of SIGTERM")
    # And nothing that only a daemon has.
    put(daemon.store, packs[0], flipped(now[packs[0]], 100))
    status, report = verify(daemon, "--repair", "cache", *here)
    equal(status, 1, "exit of a repair without the daemon")
    contains(report["repairs"][0]["detail"], "cannot reach the daemon", "the reason")
    return f"{len(packs)} packs, {roots} commits"


@test("an export that nobody can repair goes back to its last good commit, and clients stop it")
def last_good():
    daemon, image = filled()
    good = daemon.drain("prod")
    before = objects(daemon.store, "packs")
    run("nbdcopy", f"{daemon.directory}/more.img", daemon.uri("prod"))
    daemon.drain("prod")
    lost = next(key for key in objects(daemon.store, "packs") if key not in before)
    os.remove(f"{daemon.store}/{lost}")
    here = ["--repair", "last-good", "--cache", daemon.cache, "--api", f"unix:{daemon.api}"]

    def outcome(report):
        return next(done for done in report["repairs"] if done["key"] == "export prod")

    # A daemon of a replica must not be taken for this one.
    shutil.copytree(daemon.store, f"{daemon.directory}/replica")
    other = Daemon("other", store=f"{daemon.directory}/replica").start()
    status, report = verify(daemon, "--repair", "last-good", "--api", f"unix:{other.api}")
    equal((status, outcome(report)["result"]), (1, "not repaired"), "by another's daemon")
    contains(outcome(report)["detail"], "in another repository", "the reason")
    equal(other.terminate(), 0, "exit status of SIGTERM")

    with subprocess.Popen(
            ["qemu-io", "-f", "raw", daemon.uri("prod")], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL) as client:
        wait_until(lambda: daemon.status("prod")["writers"] > 0, "a client")
        status, report = verify(daemon, *here)
        equal((status, outcome(report)["result"]), (1, "not repaired"), "with a client")
        client.stdin.close()
    wait_until(lambda: daemon.status("prod")["writers"] == 0, "the client's end")

    status, report = verify(daemon, *here)
    equal((status, outcome(report)["result"]), (1, "fell back"), f"without: {report}")
    contains(outcome(report)["detail"], f"to commit {good} of ", "the commit")
    hit = [name for fault in report["faults"] for hit in fault["hits"] for name in hit["names"]]
    check("export prod" not in hit, f"prod is still hit: {hit}")
    check(any(name.startswith("snapshot prod@") for name in hit), f"no snapshot: {hit}")
    with open(image, "rb") as file:
        check(nbdclient.read_all(daemon.nbd, "prod") == file.read(), "prod reads wrong")
    # Once more there is nothing to go back.
    status, report = verify(daemon, *here)
    check(all(done["result"] != "fell back" for done in report["repairs"]), "it went back again")


@test("refs come back from a replica and from the cache directory, another repository's do not")
def refs():
    daemon, _ = filled()
    replica = f"{daemon.directory}/replica"
    shutil.copytree(daemon.store, replica)
    whole = objects(daemon.store, "refs")
    generator = random.Random(5)
    for key, data in whole.items():
        put(daemon.store, key, flipped(data, generator.randrange(len(data))))
    equal(verify(daemon)[0], 1, "exit with damaged refs")
    status, report = verify(daemon, "--repair", f"from=file://{replica}")
    equal(status, 0, f"exit of the repair: {report}")
    equal(objects(daemon.store, "refs"), whole, "the refs")
    # The newest of prod, of which nothing is left, as the host that serves it keeps it.
    newest = min(key for key in whole if key.startswith("refs/exports/prod/"))
    put(daemon.store, newest, b"")
    status, report = verify(daemon, "--repair", f"from=file://{replica}")
    equal((status, report["repairs"][0]["result"]), (1, "not repaired"), "nothing speaks for it")
    contains(report["repairs"][0]["detail"], "nothing proves that the ref", "the reason")
    here = ["--repair", "cache", "--cache", daemon.cache, "--api", f"unix:{daemon.api}"]
    status, report = verify(daemon, *here)
    equal(status, 0, f"exit of the repair from the cache: {report}")
    equal(objects(daemon.store, "refs"), whole, "the refs")
    other = Daemon("other").start()
    other.create("prod", 24 * MIB, block_size=64 * KIB)
    equal(other.terminate(), 0, "exit status of SIGTERM")
    put(daemon.store, newest, flipped(whole[newest], 20))
    status, report = verify(daemon, "--repair", f"from=file://{other.store}")
    equal((status, report["repairs"][0]["result"]), (1, "not repaired"), "another repository")
    put(daemon.store, newest, whole[newest])
    equal(daemon.terminate(), 0, "exit status of SIGTERM")
    return f"{len(whole)} refs"


@test("a disk whose newest commit nobody can read comes back with what was before it")
def lost_head():
    daemon, image = filled()
    good = daemon.drain("prod")
    run("nbdcopy", f"{daemon.directory}/more.img", daemon.uri("prod"))
    lost = daemon.drain("prod")
    key = next(key for key in objects(daemon.store, "volumes") if key.endswith(f".{lost}"))
    data = objects(daemon.store, "volumes")[key]
    put(daemon.store, key, flipped(data, len(data) // 2))
    here = ["--repair", "last-good", "--cache", daemon.cache, "--api", f"unix:{daemon.api}"]

    def outcome(report):
        return next(done for done in report["repairs"] if done["key"] == "export prod")

    # The host that serves it has the commit.
    status, report = verify(daemon, *here)
    equal((status, outcome(report)["result"]), (1, "not repaired"), "while it is served")
    contains(outcome(report)["detail"], "has it open", "the reason")
    # It is gone for good, with its cache, and its beat is old.
    daemon.kill()
    daemon.lose_cache()
    for folder, _, names in os.walk(f"{daemon.store}/nodes"):
        for name in names:
            os.remove(os.path.join(folder, name))
    status, report = verify(daemon, *here)
    equal((status, outcome(report)["result"]), (0, "fell back"), f"afterwards: {report}")
    contains(outcome(report)["detail"], f"to commit {good} of ", "the commit")
    daemon.start()
    with open(image, "rb") as file:
        check(nbdclient.read_all(daemon.nbd, "prod") == file.read(), "prod reads wrong")
    check(daemon.status("prod")["unclean_takeover"], "nothing says that writes are lost")
    run("nbdcopy", f"{daemon.directory}/more.img", daemon.uri("prod"))
    daemon.drain("prod")
    run(MARTLET, "gc", "--store", daemon.store_url, "--grace-period", "0s")
    equal(verify(daemon)[0], 0, "exit of the last verification")


@test("a damaged old commit stops the collector until its number is given what was before it")
def old_commit():
    require("qemu-io")
    daemon, _ = filled()
    for number in range(3):
        run("qemu-io", "-f", "raw", "-c", f"write -P {number + 1} 0 64k", daemon.uri("prod"))
        newest = daemon.drain("prod")
    key = next(key for key in objects(daemon.store, "volumes") if key.endswith(f".{newest - 1}"))
    data = objects(daemon.store, "volumes")[key]
    put(daemon.store, key, flipped(data, len(data) // 2))
    collect = [MARTLET, "gc", "--store", daemon.store_url, "--grace-period", "0s"]
    refused = run(*collect, check_status=False)
    equal(refused.returncode, 1, "exit of the collector")
    contains(refused.stderr, f"{key} is damaged", "why")
    here = ["--repair", "last-good", "--cache", daemon.cache, "--api", f"unix:{daemon.api}"]
    status, report = verify(daemon, *here)
    done = next(done for done in report["repairs"] if done["key"] == key)
    equal((status, done["result"]), (0, "fell back"), f"{report}")
    contains(done["detail"], f"it is what commit {newest - 2} of ", "the commit")
    run(*collect)
    run("qemu-io", "-f", "raw", "-c", "read -P 3 0 64k", daemon.uri("prod"))
    equal(verify(daemon)[0], 0, "exit of the last verification")


if __name__ == "__main__":
    main()
