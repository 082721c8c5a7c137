# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The life of a volume whose store is a real server, undisturbed and with faults in between: written,
# snapshotted, killed, its cache deleted, forked, and every byte compared.

import harness
import stores
from harness import MIB, check, main, note, test
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


if __name__ == "__main__":
    main()
