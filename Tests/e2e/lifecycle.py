# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The life of exports over the API and the command line, as docs and INTERFACES promise it:
# statuses, shapes of replies and errors, exit codes, signals, settings, quarantine. Each test has a
# daemon of its own.

import glob
import os
import re
import signal
import struct

import nbdclient
from harness import (
    GIB, KIB, MARTLET, MIB, Daemon, Skip, can_mount, check, contains, equal, main, run, test,
    wait_until)


def fill(daemon, name, offset, text, count=4 * KIB):
    """Writes a pattern, and waits for nothing."""
    with nbdclient.Connection(daemon.nbd, name) as connection:
        connection.write(offset, (text.encode() * count)[:count])


def content(daemon, name, offset, count):
    with nbdclient.Connection(daemon.nbd, name) as connection:
        return connection.read(offset, count)


def expect_pattern(daemon, name, offset, text, count=4 * KIB):
    found = content(daemon, name, offset, count)
    equal(found[:64], (text.encode() * 64)[:64], f"{name} at {offset}")
    equal(found, (text.encode() * count)[:count], f"{name} at {offset}")


def refused(reply, status, code):
    """A failure of the documented shape: what, why and what to do."""
    equal(reply.status, status, f"status of {reply}")
    check(isinstance(reply.json, dict), f"no JSON: {reply}")
    equal(reply.json.get("success"), False, f"success in {reply}")
    equal(reply.json.get("code"), code, f"code in {reply}")
    check(reply.json["error"].count(" : ") >= 2, f"not what : why : what to do: {reply}")


# MARK: Create

@test("PUT creates with 201, repeats with 200, grows with 200, and refuses less with 409")
def put():
    daemon = Daemon().start()
    body = {"size_gb": 1, "block_size": 65536}
    reply = daemon.http("PUT", "/api/exports/disk", body)
    equal(reply.status, 201, f"first PUT: {reply}")
    equal(reply.json["size_bytes"], 1_000_000_000, "size_gb counts 10^9 bytes")
    equal(reply.json["block_size"], 65536, "block size")
    equal(reply.json["name"], "disk", "name")
    equal(reply.json["readonly"], False, "readonly")
    equal(reply.json["transport"], "nbd", "transport")
    equal(daemon.http("PUT", "/api/exports/disk", body).status, 200, "repeat")
    fill(daemon, "disk", 999_995_904, "end")
    reply = daemon.http("PUT", "/api/exports/disk", {"size_bytes": 2 * GIB})
    equal((reply.status, reply.json["size_bytes"]), (200, 2 * GIB), "grow")
    expect_pattern(daemon, "disk", 999_995_904, "end")
    fill(daemon, "disk", 2 * GIB - 4096, "new end")
    refused(daemon.http("PUT", "/api/exports/disk", body), 409, "conflict")
    refused(daemon.http("PUT", "/api/exports/disk", {"size_bytes": 2 * GIB, "block_size": 4096}),
            409, "conflict")
    refused(daemon.http("PUT", "/api/exports/disk", {"size_bytes": 2 * GIB, "from": "tag:none"}),
            409, "conflict")
    daemon.kill()
    daemon.start()
    equal(daemon.call("GET", "/api/exports/disk")["size_bytes"], 2 * GIB, "size after a kill")
    expect_pattern(daemon, "disk", 2 * GIB - 4096, "new end")
    expect_pattern(daemon, "disk", 999_995_904, "end")


@test("a size that no volume can have, a bad name, an unknown key and a long body are refused")
def bad_requests():
    daemon = Daemon().start()
    for body in ({"size_bytes": 0}, {"size_bytes": 511}, {"size_bytes": 16_000_000_000_512},
                 {"size_bytes": -512}, {"size_bytes": "1"}, {"size_gb": 20000}, {},
                 {"size_bytes": 512 * MIB, "block_size": 3000},
                 {"size_bytes": 512 * MIB, "block_size": 2 * MIB},
                 {"size_bytes": 512 << 30, "size_gb": 1},
                 # Over block size x 2^27.
                 {"size_bytes": (4096 << 27) + 512, "block_size": 4096},
                 {"size_bytes": MIB, "sise": 1}, {"size_bytes": MIB, "readonly": "yes"},
                 {"size_bytes": MIB, "transport": "carrier-pigeon"},
                 {"size_bytes": MIB, "snapshot_sequence": 1},
                 {"size_bytes": MIB, "from": "snapshot:x"}):
        refused(daemon.http("PUT", "/api/exports/bad", body), 400, "bad_request")
    for raw in (b"{", b"[]", b"\xff\xfe", b"nonsense"):
        refused(daemon.http("PUT", "/api/exports/bad", raw=raw), 400, "bad_request")
    for name in ("-a", ".a", "a%2fb", "a%20b", "%41%00", "x" * 129, "%c3%a4"):
        refused(daemon.http("PUT", f"/api/exports/{name}", {"size_bytes": MIB}),
                400, "bad_request")
    reply = daemon.http("PUT", "/api/exports/bad", raw=b'{"from":"' + b"x" * 70_000 + b'"}')
    refused(reply, 413, "too_large")
    refused(daemon.http("GET", "/api/exports/bad"), 404, "not_found")
    refused(daemon.http("GET", "/api/nothing"), 404, "not_found")
    equal(daemon.call("GET", "/api/exports"), {"exports": []}, "nothing was created")
    good = daemon.http("PUT", f"/api/exports/{'x' * 128}", {"size_bytes": 512})
    equal(good.status, 201, f"the longest name and the least size: {good}")


@test("the command line creates, lists, shows, resizes and deletes, with exit codes 0, 1 and 2")
def command_line():
    daemon = Daemon().start()
    daemon.cli("create", "disk", "--size", "10M")
    equal(daemon.cli_json("info", "disk")["size_bytes"], 10 * MIB, "size of info")
    equal([export["name"] for export in daemon.cli_json("list")["exports"]], ["disk"], "list")
    contains(daemon.cli("list").stdout, "disk", "list as text")
    daemon.cli("resize", "disk", "--size", "1G")
    equal(daemon.cli_json("status", "disk")["size_bytes"], GIB, "size of status")
    contains(daemon.cli("status", "disk").stdout, "1", "status as text")
    for arguments, status in (
            (("info", "nothing"), 1), (("resize", "disk", "--size", "1M"), 1),
            (("resize", "nothing", "--size", "1M"), 1), (("create", "b", "--size", "x"), 2),
            (("create", "/bad", "--size", "1M"), 2), (("create", "b"), 2), (("nonsense",), 2),
            (("info",), 2), (("rollback", "disk", "--to", "1"), 2),
            (("create", "b", "--size", "1M", "--from", "tag:none"), 1),
            (("gc",), 2), (("list", "--api", "unix:/nonexistent/api.sock"), 1)):
        done = daemon.cli(*arguments, check_status=False)
        equal(done.returncode, status, f"exit status of {arguments}: {done.stderr}")
        check(re.match(r"martlet: .+ : .+ : .+\n\Z", done.stderr),
              f"{arguments}: not `martlet: what : why : what to do`: {done.stderr!r}")
        equal(done.stdout, "", f"stdout of {arguments}")
    for arguments in (("--help",), ("create", "--help"), ("--version",)):
        equal(daemon.cli(*arguments).stderr, "", f"stderr of {arguments}")
    contains(daemon.cli("--generate-completion-script", "bash").stdout, "martlet", "completions")
    daemon.cli("delete", "disk")
    daemon.cli("delete", "disk", "--purge")
    refused(daemon.http("GET", "/api/exports/disk"), 404, "not_found")


# MARK: Delete

@test("DELETE keeps the volume, PUT attaches it again, and purge ends it")
def delete():
    daemon = Daemon().start()
    daemon.create("disk", 64 * MIB)
    fill(daemon, "disk", MIB, "kept")
    sequence = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    fill(daemon, "disk", 2 * MIB, "drained by the delete")
    equal(daemon.http("DELETE", "/api/exports/disk").status, 200, "delete")
    equal(daemon.http("DELETE", "/api/exports/disk").status, 200, "delete again")
    refused(daemon.http("DELETE", "/api/exports/nothing"), 404, "not_found")
    volumes = glob.glob(f"{daemon.cache}/volumes/*/journal/*")
    equal(volumes, [], "journals left in the cache")
    try:
        nbdclient.Connection(daemon.nbd, "disk").close()
        check(False, "a detached export is still served")
    except nbdclient.Refused:
        pass
    reply = daemon.http("PUT", "/api/exports/disk", {"size_bytes": 64 * MIB})
    equal(reply.status, 200, f"attach again: {reply}")
    expect_pattern(daemon, "disk", MIB, "kept")
    expect_pattern(daemon, "disk", 2 * MIB, "drained by the delete")
    equal(daemon.call("GET", "/api/exports/disk/snapshots"), [sequence], "snapshots")
    daemon.call("DELETE", "/api/exports/disk?purge=true")
    daemon.call("DELETE", "/api/exports/disk?purge=true")
    refused(daemon.http("GET", "/api/exports/disk"), 404, "not_found")
    equal(daemon.http("HEAD", "/api/manifests/exports/disk").status, 404, "a purged manifest")
    reply = daemon.http("PUT", "/api/exports/disk", {"size_bytes": MIB})
    equal(reply.status, 201, f"the name is free: {reply}")
    equal(content(daemon, "disk", 0, MIB), bytes(MIB), "a new volume is empty")
    made = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    check(made > sequence, f"snapshot {made} of the new volume is not above {sequence}")


# MARK: History

@test("snapshots are listed, shown in detail, idempotent while nothing changes, and deleted")
def snapshots():
    daemon = Daemon().start()
    daemon.create("disk", 64 * MIB)
    made = []
    for number in range(3):
        fill(daemon, "disk", number * MIB, f"text {number}")
        reply = daemon.call("POST", "/api/exports/disk/snapshot")
        check(reply["manifest_etag"], f"no manifest_etag: {reply}")
        made.append(reply["sequence"])
    equal(made, sorted(set(made)), "sequences rise")
    again = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    equal(again, made[-1], "a snapshot of an unchanged volume")
    equal(daemon.call("GET", "/api/exports/disk/snapshots"), made, "list")
    detail = daemon.call("GET", "/api/exports/disk/snapshots?detail=true")
    equal([one["sequence"] for one in detail], made, "detail")
    equal(daemon.cli_json("snapshots", "disk"), made, "the command's list")
    daemon.call("DELETE", f"/api/exports/disk/snapshots/{made[1]}")
    daemon.call("DELETE", f"/api/exports/disk/snapshots/{made[1]}")
    equal(daemon.call("GET", "/api/exports/disk/snapshots"), [made[0], made[2]], "after a delete")
    # A read-only view of one.
    with nbdclient.Connection(daemon.nbd, f"disk@{made[0]}") as view:
        check(view.flags & 2, "the view is not READ_ONLY")
        equal(view.read(0, 6), b"text 0", "the view's content")
        equal(view.read(MIB, 6), bytes(6), "written after the snapshot")
        equal(view.call(nbdclient.WRITE, 0, payload=bytes(512))[0], 1, "a write is EPERM")
    refused(daemon.http("POST", "/api/exports/nothing/snapshot"), 404, "not_found")


@test("tags name commits, move, and are found as manifests and bases")
def tags():
    daemon = Daemon().start()
    daemon.create("disk", 64 * MIB)
    fill(daemon, "disk", 0, "one")
    reply = daemon.call("POST", "/api/exports/disk/snapshot", {"tag": "setup-abc"})
    equal(reply["tag"], "setup-abc", "tag of the snapshot")
    first = reply["sequence"]
    fill(daemon, "disk", 0, "two")
    daemon.drain("disk")
    reply = daemon.call("POST", "/api/exports/disk/tag", {"tag": "latest"})
    check(reply["sequence"] > first, f"the tag names no newer commit: {reply}")
    daemon.call("POST", "/api/exports/disk/tag", {"tag": "setup-abc"})
    named = {tag["tag"]: tag["sequence"] for tag in daemon.cli_json("tags")["tags"]}
    equal(named, {"latest": reply["sequence"], "setup-abc": reply["sequence"]}, "tags")
    for path, status in (("bases/setup-abc", 200), ("bases/nothing", 404), ("tags/latest", 200),
                         (f"snapshots/disk@{first}", 200),
                         ("snapshots/disk@999", 404), ("exports/disk", 200)):
        found = daemon.http("HEAD", f"/api/manifests/{path}")
        equal((found.status, found.body), (status, b""), f"HEAD of {path}")
    refused(daemon.http("POST", "/api/exports/disk/tag", {"tag": "/"}), 400, "bad_request")
    refused(daemon.http("POST", "/api/exports/disk/tag", {}), 400, "bad_request")
    # No export runs, even without one there.
    daemon.call("DELETE", "/api/exports/disk")
    equal(daemon.http("HEAD", "/api/manifests/bases/setup-abc").status, 200, "without an export")


@test("a fork comes from an export, a snapshot or a tag, and then lives its own life")
def forks():
    daemon = Daemon().start()
    daemon.create("prod", 64 * MIB)
    fill(daemon, "prod", 0, "first")
    first = daemon.call("POST", "/api/exports/prod/snapshot", {"tag": "v1"})["sequence"]
    fill(daemon, "prod", 0, "second")
    daemon.drain("prod")
    fill(daemon, "prod", 0, "third, not drained")
    for name, body, expected in (
            ("a", {"from": "export:prod"}, "third, not drained"),
            ("b", {"from": f"snapshot:prod@{first}"}, "first"),
            ("c", {"from": "tag:v1"}, "first"), ("d", {"from": "prod"}, "third, not drained"),
            ("e", {"manifest_name": "prod", "snapshot_sequence": first}, "first"),
            ("f", {"manifest_name": "bases/v1"}, "first"),
            ("g", {"manifest_name": "prod"}, "third, not drained")):
        reply = daemon.http("PUT", f"/api/exports/{name}", body)
        equal(reply.status, 201, f"fork {name}: {reply}")
        equal(reply.json["size_bytes"], 64 * MIB, f"size of fork {name}")
        equal(daemon.http("PUT", f"/api/exports/{name}", body).status, 200, f"repeat of {name}")
        expect_pattern(daemon, name, 0, expected)
    fill(daemon, "a", 0, "only in the fork")
    expect_pattern(daemon, "prod", 0, "third, not drained")
    expect_pattern(daemon, "g", 0, "third, not drained")
    larger = daemon.http("PUT", "/api/exports/h", {"from": "tag:v1", "size_bytes": 128 * MIB})
    equal((larger.status, larger.json["size_bytes"]), (201, 128 * MIB), "a larger fork")
    equal(content(daemon, "h", 127 * MIB, MIB), bytes(MIB), "the added end")
    smaller = daemon.http("PUT", "/api/exports/i", {"from": "tag:v1", "size_bytes": MIB})
    equal(smaller.json["size_bytes"], 64 * MIB, "a fork is never smaller than its source")
    refused(daemon.http("PUT", "/api/exports/a", {"from": "tag:v1"}), 409, "conflict")
    refused(daemon.http("PUT", "/api/exports/z", {"from": "tag:none"}), 404, "not_found")
    daemon.cli("create", "j", "--from", f"snapshot:prod@{first}")
    # A fork stays whole when its source is gone.
    daemon.call("DELETE", "/api/exports/prod?purge=true")
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    expect_pattern(daemon, "c", 0, "first")
    expect_pattern(daemon, "j", 0, "first")
    expect_pattern(daemon, "h", 0, "first")


@test("rollback in place is refused with writers, keeps the state before, and returns the old one")
def rollback():
    daemon = Daemon().start()
    daemon.create("disk", 64 * MIB)
    fill(daemon, "disk", 0, "old")
    old = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    fill(daemon, "disk", 0, "new")
    with nbdclient.Connection(daemon.nbd, "disk"):
        refused(daemon.http("POST", "/api/exports/disk/rollback", {"snapshot_sequence": old}),
                409, "conflict")
    wait_until(lambda: daemon.status("disk")["writers"] == 0, "the writer leaves")
    reply = daemon.call("POST", "/api/exports/disk/rollback", {"snapshot_sequence": old})
    expect_pattern(daemon, "disk", 0, "old")
    kept = [s for s in daemon.call("GET", "/api/exports/disk/snapshots") if s != old]
    equal(len(kept), 1, f"the snapshot of the state before: {reply}")
    daemon.create("before", 64 * MIB, **{"from": f"snapshot:disk@{kept[0]}"})
    expect_pattern(daemon, "before", 0, "new")
    refused(daemon.http("POST", "/api/exports/disk/rollback", {"snapshot_sequence": 4711}),
            404, "not_found")
    fill(daemon, "disk", 0, "after the rollback")
    daemon.kill()
    daemon.start()
    expect_pattern(daemon, "disk", 0, "after the rollback")
    daemon.cli("rollback", "disk", "--to", kept[0], "--yes")
    expect_pattern(daemon, "disk", 0, "new")
    # The documented way without it: delete, then PUT the name from its snapshot.
    daemon.call("DELETE", "/api/exports/disk")
    reply = daemon.http(
        "PUT", "/api/exports/disk", {"manifest_name": "disk", "snapshot_sequence": old})
    equal(reply.status, 201, f"fork into its own name: {reply}")
    expect_pattern(daemon, "disk", 0, "old")
    check(set([old, *kept]) <= set(daemon.call("GET", "/api/exports/disk/snapshots")),
          "the old history is no longer reachable")


@test("a read-only export refuses writes, and promote makes it writable")
def promote():
    daemon = Daemon().start()
    daemon.create("prod", 64 * MIB)
    fill(daemon, "prod", 0, "content")
    daemon.create("copy", 64 * MIB, readonly=True, **{"from": "export:prod"})
    with nbdclient.Connection(daemon.nbd, "copy") as connection:
        check(connection.flags & 2, "no READ_ONLY flag")
        for kind, payload in ((nbdclient.WRITE, bytes(512)), (nbdclient.TRIM, b""),
                              (nbdclient.WRITE_ZEROES, b"")):
            equal(connection.call(kind, 0, 0 if payload else 512, payload=payload)[0], 1, "EPERM")
        equal(connection.call(nbdclient.FLUSH)[0], 0, "a flush of a reader")
    expect_pattern(daemon, "copy", 0, "content")
    daemon.cli("promote", "copy")
    equal(daemon.call("GET", "/api/exports/copy")["readonly"], False, "readonly after promote")
    fill(daemon, "copy", 0, "written")
    expect_pattern(daemon, "copy", 0, "written")
    daemon.call("POST", "/api/exports/copy/promote")
    expect_pattern(daemon, "prod", 0, "content")


# MARK: State

@test("status, metrics and health say what is there")
def state():
    daemon = Daemon(environment={"MARTLET_COMMIT_MAX_AGE_SECS": "3600"}).start()
    daemon.create("disk", 64 * MIB)
    for place in range(0, 8 * MIB, 2 * MIB):
        fill(daemon, "disk", place, "x", 128 * KIB)
    with nbdclient.Connection(daemon.nbd, "disk"):
        status = wait_until(
            lambda: (lambda s: s["writers"] == 1 and s)(daemon.status("disk")), "one writer")
    equal(status["operation_state"], "serving", "state")
    equal(status["dirty_blocks"], 4, "dirty blocks")
    check(status["unpublished_bytes"] >= 512 * KIB, f"unpublished_bytes: {status}")
    check(status["journal_bytes"] >= 512 * KIB, f"journal_bytes: {status}")
    for key in ("sequence", "epoch", "unpublished_age_secs", "size_bytes"):
        check(isinstance(status[key], int), f"{key}: {status}")
    before = status["sequence"]
    check(daemon.drain("disk") > before, "the drain made no commit")
    after = daemon.status("disk")
    equal((after["dirty_blocks"], after["unpublished_bytes"]), (0, 0), "after the drain")
    equal(daemon.drain("disk"), after["sequence"], "a drain of a clean volume")
    metrics = daemon.call("GET", "/api/exports/disk/metrics")
    check(metrics["writes"] >= 4 and metrics["commits"] >= 1, f"metrics: {metrics}")
    equal(daemon.http("GET", "/health").status, 200, "health")
    equal(daemon.http("GET", "/health/ready").status, 200, "ready")
    text = daemon.http("GET", "/metrics").body.decode()
    for line in text.splitlines():
        check(re.fullmatch(r"#.*|[a-z_]+(\{[^}]*\})? [-+0-9.eNaInf]+", line), f"line: {line!r}")
    contains(text, 'martlet_store_requests_total{operation="put"}', "Prometheus text")
    contains(text, 'export="disk"', "Prometheus text")
    refused(daemon.http("GET", "/api/exports/nothing/status"), 404, "not_found")
    refused(daemon.http("POST", "/api/exports/nothing/drain"), 404, "not_found")


@test("open serves what another host closed, and a claim needs force while that host serves it")
def another_host():
    if not can_mount():
        raise Skip("no right to make a mount for a second machine id")
    here = Daemon("here", machine_id="0123456789abcdef0123456789abcde0").start()
    there = Daemon("there", store=here.store,
                   machine_id="0123456789abcdef0123456789abcde1").start()
    here.create("disk", 64 * MIB)
    fill(here, "disk", 0, "made here")
    here.drain("disk")
    # The beat that says who serves it comes within a second or two.
    wait_until(lambda: glob.glob(f"{here.store}/nodes/*/*"), "a beat")
    refused(there.http("POST", "/api/exports/disk/open"), 409, "conflict")
    here.call("DELETE", "/api/exports/disk")
    opened = there.http("POST", "/api/exports/disk/open")
    equal(opened.status, 200, f"open after the delete there: {opened}")
    expect_pattern(there, "disk", 0, "made here")
    check("unclean_takeover" not in there.status("disk"), "a clean one counts as unclean")
    refused(there.http("POST", "/api/exports/nothing/open"), 404, "not_found")


# MARK: Processes

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
                          ("[storage]\nurl = \"s3://b/p\"\n", ["s3", "not built"]),
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
