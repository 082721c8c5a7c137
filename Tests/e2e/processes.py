# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The daemon as a process: signals, its lock, its settings, and what it does at a start with a
# journal that is damaged.

import glob
import os
import signal
import struct

import nbdclient
from content import content, expect_pattern, fill, refused
from harness import (
    MARTLET, MIB, Daemon, check, contains, equal, main, run, test, wait_until)


@test("SIGTERM drains and exits 0, SIGUSR1 drains and goes on")
def signals():
    daemon = Daemon(environment={"MARTLET_COMMIT_MAX_AGE_SECS": "3600"}).start()
    daemon.create("disk", 64 * MIB)
    fill(daemon, "disk", 0, "by SIGUSR1")
    before = daemon.status("disk")["sequence"]
    daemon.signal(signal.SIGUSR1)
    wait_until(lambda: daemon.status("disk")["sequence"] > before, "a commit after SIGUSR1")
    expect_pattern(daemon, "disk", 0, "by SIGUSR1")
    fill(daemon, "disk", MIB, "by SIGTERM")
    with nbdclient.Connection(daemon.nbd, "disk") as idle:
        equal(daemon.terminate(), 0, "exit status of SIGTERM")
        check(idle.closed_by_server(5), "the client is still connected")
    check(not os.path.exists(daemon.nbd), "the NBD socket is left behind")
    daemon.lose_cache()
    daemon.start()
    expect_pattern(daemon, "disk", 0, "by SIGUSR1")
    expect_pattern(daemon, "disk", MIB, "by SIGTERM")
    check("unclean_takeover" not in daemon.status("disk"), "a clean close counts as unclean")


@test("a second daemon on one cache directory is refused, and the first goes on")
def second_daemon():
    daemon = Daemon().start()
    daemon.create("disk", MIB)
    done = run(MARTLET, "run", "--store", f"file://{daemon.store}", "--cache", daemon.cache,
               "--nbd", f"unix:{daemon.directory}/other.sock", "--api",
               f"unix:{daemon.directory}/other-api.sock", check_status=False, timeout=60,
               env=daemon._variables(None))
    equal(done.returncode, 1, f"exit status of the second: {done.stderr}")
    contains(done.stderr, daemon.cache.split("/")[-1], "the message names the directory")
    fill(daemon, "disk", 0, "still served")


@test("unknown settings are refused with the nearest known one, built-in ones by name")
def settings():
    daemon = Daemon()
    for config, words in (("[comit]\nmax_age_secs = 1\n", ["comit", "commit"]),
                          ("[commit]\nmax_age_sec = 1\n", ["max_age_sec", "max_age_secs"]),
                          ("[commit]\nmax_age_secs = -1\n", ["max_age_secs"]),
                          ("[commit]\ncodec = \"rar\"\n", ["codec", "lz4"]),
                          ("[policy]\ndurability = \"peer\"\n", ["durability", "not built"]),
                          ("[storage]\nurl = \"gs://b/p\"\n", ["gs://", "not built"]),
                          ("[storage]\nurl = \"s3://B/p\"\n", ["no bucket's name"]),
                          ("nonsense\n", ["martlet.toml"])):
        path = f"{daemon.directory}/martlet.toml"
        with open(path, "w") as file:
            file.write(config)
        done = run(MARTLET, "run", "--config", path, "--cache", daemon.cache, "--nbd",
                   f"unix:{daemon.nbd}", "--api", f"unix:{daemon.api}", check_status=False,
                   timeout=60, env=daemon._variables(None))
        check(done.returncode != 0, f"{config!r} was taken")
        for word in words:
            contains(done.stderr, word, f"the refusal of {config!r}")
    done = run(MARTLET, "run", check_status=False, timeout=60, cwd=daemon.directory,
               env=daemon._variables({"MARTLET_COMMIT_MAX_AGE_SEC": "1"}))
    contains(done.stderr, "MARTLET_COMMIT_MAX_AGE_SECS", "the refusal of a variable")
    daemon.config = '[[exports]]\nname = "declared"\nsize_bytes = 1048576\n'
    daemon.start()
    wait_until(lambda: daemon.http("GET", "/api/exports/declared").status == 200,
               "the export of the file")
    done = run(MARTLET, "init", f"{daemon.directory}/sample.toml")
    check(os.path.getsize(f"{daemon.directory}/sample.toml") > 1000, "init wrote little")
    check(run(MARTLET, "init", f"{daemon.directory}/sample.toml",
              check_status=False).returncode != 0, "init overwrote a file")


@test("a volume whose flushed journal rotted is quarantined with its reason, the others serve")
def quarantine():
    daemon = Daemon(environment={"MARTLET_COMMIT_MAX_AGE_SECS": "3600",
                                 "MARTLET_COMMIT_MAX_JOURNAL_MB": "1024"}).start()
    volumes = {}
    for name in ("good", "rotten"):
        volumes[name] = daemon.create(name, 64 * MIB)["volume"]
        with nbdclient.Connection(daemon.nbd, name) as connection:
            # Each flushed batch is claimed by the headers after it.
            for number in range(12):
                connection.write(number * MIB, struct.pack("<Q", number + 1) * 512)
                connection.flush()
    daemon.kill()
    files = sorted(glob.glob(f"{daemon.cache}/volumes/{volumes['rotten']}/journal/*.seg"))
    check(files, "no journal to damage")
    rot_flushed_batch(files)
    daemon.start()
    with nbdclient.Connection(daemon.nbd, "good") as connection:
        equal(connection.read(11 * MIB, 8), struct.pack("<Q", 12), "the good volume")
        connection.write(0, bytes(4096))
    try:
        nbdclient.Connection(daemon.nbd, "rotten").close()
        check(False, "the damaged volume serves")
    except nbdclient.Refused as error:
        check(error.code != 0x80000006, f"the refusal says that it is unknown: {error}")
    status = wait_until(
        lambda: (lambda s: s["operation_state"] == "failed" and s)(daemon.status("rotten")),
        "state failed")
    contains(status["failed"], "journal", "the reason")
    refused(daemon.http("POST", "/api/exports/rotten/drain"), 500, "failed")
    kept = glob.glob(f"{daemon.cache}/volumes/{volumes['rotten']}/journal/*.seg")
    equal(sorted(kept), files, "the journal is kept as it was")
    # The way out that the message names: the last commit, the journal set aside.
    daemon.cli("open", "rotten", "--force")
    equal(content(daemon, "rotten", 0, MIB), bytes(MIB), "the last commit's content")
    aside = glob.glob(f"{daemon.cache}/volumes/{volumes['rotten']}/journal.salvage-*")
    equal(len(aside), 1, "the journal set aside")


def rot_flushed_batch(files):
    """Flips a byte in the payload of the first record whose content is known."""
    wanted = struct.pack("<Q", 4) * 512
    for path in files:
        with open(path, "r+b") as file:
            data = file.read()
            at = data.find(wanted)
            if at >= 0:
                # The whole batch is lost: its header too, as a lost page would be.
                file.seek(at - 4096)
                file.write(bytes(8192))
                return
    check(False, "the payload is in no segment")


if __name__ == "__main__":
    main()
