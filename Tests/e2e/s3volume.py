# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The life of a volume whose store is a real server, undisturbed and with faults in between: written,
# snapshotted, killed, its cache deleted, forked, and every byte compared.

import signal
import time

import harness
import nbdclient
import stores
from harness import MIB, check, equal, main, note, test, wait_until
from s3world import Image, Place, insist

SETTINGS = {
    "MARTLET_COMMIT_MAX_AGE_SECS": "2", "MARTLET_COMMIT_MAX_JOURNAL_MB": "8",
    "MARTLET_COMMIT_TARGET_PACK_MB": "4", "MARTLET_STORAGE_REQUEST_TIMEOUT_SECS": "3"}


def outlive(place):
    note(f"seed {harness.SEED}")
    daemon = place.daemon(environment=SETTINGS).start()
    volume = daemon.create("disk", 40 * MIB + 512)["volume"]
    image = Image(daemon, "disk", 40 * MIB + 512, harness.SEED)
    image.scribble(120)
    sequence = insist(daemon, "/api/exports/disk/snapshot")["sequence"]
    then = bytes(image.content)
    image.scribble(60)
    # With the cache: nothing that was answered is lost, published or not.
    daemon.kill()
    daemon.start()
    image.expect()
    image.scribble(60)
    insist(daemon, "/api/exports/disk/drain")
    # Without it: the last commit, which a drain has made the last write.
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    daemon.cli("create", "fork", "--from", f"snapshot:disk@{sequence}")
    image.expect()
    image.expect("fork", then)
    head = place.expect_chain(volume)
    packs = len(place.keys(f"packs/{volume}/"))
    return f"{head} commits, {packs} packs"


@test("on RGW a volume outlives kill -9 and the loss of its cache, and forks from its snapshot")
def on_rgw():
    return outlive(Place(stores.shared("rgw")))


@test("on moto a volume outlives kill -9 and the loss of its cache, and forks from its snapshot")
def on_moto():
    return outlive(Place(stores.shared("moto")))


@test("the same with every tenth request refused with 503, others with 500, and a few never answered")
def with_refusals():
    place = Place(stores.shared("rgw"))
    with stores.HAProxy("haproxy", place.server) as front:
        front.fail(http503=0.1, http500=0.05, drop=0.01)
        said = outlive(place.behind(front))
        statuses = [entry.status for entry in front.requests()]
    refused = sum(status in (500, 503) for status in statuses)
    dropped = sum(status <= 0 for status in statuses)
    check(refused > 10, f"only {refused} requests were refused")
    return f"{said}; {len(statuses)} requests, {refused} refused, {dropped} dropped"


@test("the same with replies lost, held back, cut off, reset and damaged, over a slow line")
def with_damage():
    place = Place(stores.shared("rgw"))
    # A listing has no hash; what TCP and TLS do not see, nobody could.
    harms = [("lose-reply", "PUT", "", 0.1), ("hold-reply", "PUT", "", 0.02),
             ("truncate", "GET", "", 0.05), ("reset", "GET", "", 0.05),
             ("flip", "GET", "/packs/", 0.05), ("refuse", None, "", 0.03)]
    with stores.Proxy("proxy", place.server) as front:
        front.set(latency_ms=5, bandwidth=200 * MIB, faults=[
            {"effect": effect, "method": method, "path": path, "share": share, "times": 0,
             "bytes": 100} for effect, method, path, share in harms])
        said = outlive(place.behind(front))
        struck = [effect for effect, _, _ in front.effects()]
    for effect in ("lose-reply", "truncate", "reset", "flip"):
        check(effect in struck, f"{effect} never struck")
    return f"{said}; {len(struck)} requests harmed"


@test("a rollback that the store does not take in time keeps guests out until it is done")
def late_rollback():
    place = Place(stores.shared("rgw"))
    with stores.Proxy("commits", place.server) as front:
        daemon = place.behind(front).daemon(environment={
            "MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_STORAGE_REQUEST_TIMEOUT_SECS": "3"})
        daemon.start().create("disk", 8 * MIB)
        image = Image(daemon, "disk", 8 * MIB, harness.SEED)
        image.scribble(20)
        sequence = insist(daemon, "/api/exports/disk/snapshot")["sequence"]
        then = bytes(image.content)
        image.scribble(20)
        insist(daemon, "/api/exports/disk/drain")
        front.set(faults=[{"effect": "refuse", "method": "PUT", "path": "/commits/", "times": 0}])
        body = {"snapshot_sequence": sequence}
        reply = daemon.http("POST", "/api/exports/disk/rollback", body, timeout=120)
        equal(reply.status, 503, "the status of the rollback")
        # A guest that came now would see its disk change under it; so would one behind a commit
        # that somebody else asked for meanwhile.
        for _ in range(2):
            refusal = raised(nbdclient.read_all, daemon.nbd, "disk")
            check("being rolled back" in str(refusal), f"a guest was told: {refusal!r}")
            daemon.signal(signal.SIGUSR1)
            time.sleep(1)
        front.set(faults=[])
        wait_until(lambda: raised(nbdclient.read_all, daemon.nbd, "disk") is None, "the rollback")
        image.expect(content=then)
        daemon.call("POST", "/api/exports/disk/rollback", body)
        image.expect(content=then)


def raised(body, *arguments):
    """What it fails with; None if it does not."""
    try:
        body(*arguments)
    except (nbdclient.Refused, EOFError, OSError) as error:
        return error
    return None


if __name__ == "__main__":
    main()
