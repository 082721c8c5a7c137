# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The life of exports over the API and the command line, as docs and INTERFACES promise it:
# statuses, shapes of replies and errors, exit codes, signals, settings, quarantine. Each test has a
# daemon of its own.

import glob
import re

import nbdclient
from content import content, expect_pattern, fill, refused
from harness import (
    GIB, KIB, MIB, Daemon, Skip, can_mount, check, contains, equal, main, test, wait_until)


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
            (("copy",), 2), (("list", "--api", "unix:/nonexistent/api.sock"), 1)):
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


@test("a reset of the cache goes back to the last commit, counts what is lost, and frees a volume "
      "whose journal is damaged")
def reset_cache():
    daemon = Daemon().start()
    daemon.create("disk", 64 * MIB)
    fill(daemon, "disk", 0, "committed")
    published = daemon.call("POST", "/api/exports/disk/drain")["sequence"]
    fill(daemon, "disk", 0, "lost")
    with nbdclient.Connection(daemon.nbd, "disk"):
        refused(daemon.http("POST", "/api/exports/disk/cache/reset"), 409, "conflict")
    wait_until(lambda: daemon.status("disk")["writers"] == 0, "the writer leaves")
    expect_pattern(daemon, "disk", 0, "lost")
    reply = daemon.call("POST", "/api/exports/disk/cache/reset")
    check(reply["discarded_unpublished_bytes"] > 0, f"nothing was thrown away: {reply}")
    check(reply["discarded_journal_bytes"] >= reply["discarded_unpublished_bytes"], f"{reply}")
    expect_pattern(daemon, "disk", 0, "committed")
    takeover = daemon.status("disk")["unclean_takeover"]
    equal(takeover["sequence"], published, "the commit that it went back to")
    daemon.cli("acknowledge", "disk")
    fill(daemon, "disk", 0, "after")
    daemon.cli("drain", "disk")
    # Flushed bytes that rot behind what was flushed later.
    with nbdclient.Connection(daemon.nbd, "disk") as connection:
        for text in (b"rotten", b"later", b"last"):
            connection.write(0, (text * 4096)[:4096])
            equal(connection.call(nbdclient.FLUSH)[0], 0, "a flush")
    daemon.kill()
    for segment in glob.glob(f"{daemon.cache}/volumes/*/journal/*.seg"):
        with open(segment, "r+b") as file:
            data = file.read()
            place = data.find(b"rotten" * 600)
            if place >= 0:
                # The header of its batch stands in the page before.
                file.seek(place - 4096 + 100)
                file.write(b"????")
    daemon.start()
    refused(daemon.http("POST", "/api/exports/disk/open"), 500, "failed")
    unsure = daemon.cli("reset-cache", "disk", check_status=False)
    equal(unsure.returncode, 2, "without --yes")
    contains(unsure.stderr, "--yes", "what it asks for")
    said = daemon.cli("reset-cache", "disk", "--yes")
    contains(said.stdout, "starts from commit", "what it says")
    expect_pattern(daemon, "disk", 0, "after")


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


if __name__ == "__main__":
    main()
