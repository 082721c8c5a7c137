# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Stores that do not let us in, or must not be used: each case has a message that names what is
# wrong and what to do, and whatever was acknowledged is there once it is put right.

import glob
import threading

import harness
import nbdclient
import stores
from harness import MARTLET, MIB, check, contains, equal, main, run, test, wait_until
from s3world import Image, Place

SIZE = 16 * MIB
# Commits only when asked for.
SLOW = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_STORAGE_CONNECT_TIMEOUT_SECS": "2",
        "MARTLET_STORAGE_REQUEST_TIMEOUT_SECS": "3"}
# Within what Ceph's own tickets bear.
SLOW_CLOCK = {"FAKETIME": "-20m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def said(daemon):
    """What the process has written, to both of its streams."""
    with open(daemon.out) as out, open(daemon.log, errors="replace") as log:
        return out.read() + log.read().rpartition("--- start")[2]


def expect_message(text, *words):
    """A message `what : why : what to do` with these words."""
    for word in words:
        contains(text, word, "the message")
    line = next((line for line in text.splitlines() if words[0] in line), "")
    check(line.count(" : ") >= 2, f"not `what : why : what to do`: {line!r}")
    return line


def doctor(url, environment):
    """What `martlet doctor` says, and its exit status."""
    done = run(MARTLET, "doctor", "--store", url, check_status=False, timeout=120, env={
        "PATH": "/usr/bin:/bin", "SWIFT_BACKTRACE": "enable=no", **SLOW, **environment})
    return done.stdout + done.stderr, done.returncode


def written_volume(place):
    """A stopped daemon with a volume, some of it published and some only in its journal."""
    daemon = place.daemon(environment=SLOW).start()
    daemon.create("disk", SIZE)
    image = Image(daemon, "disk", SIZE, harness.SEED)
    image.scribble(20)
    daemon.drain("disk")
    image.scribble(20)
    daemon.kill()
    return daemon, image


def library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise harness.Skip("no libfaketime here")
    return found[0]


def refused_start(account=None, bucket=None, endpoint=None, word=""):
    """A start that fails says why; with the right settings, all that was acknowledged is there."""
    place = Place(stores.shared("rgw"))
    daemon, image = written_volume(place)
    right, where = dict(daemon.environment), daemon.store
    if account:
        daemon.environment.update(place.environment(account))
    if bucket:
        daemon.store = daemon.store.replace(place.bucket, bucket)
    if endpoint:
        daemon.store = daemon.store.replace(place.server.endpoint, endpoint)
    wrong = daemon.store
    daemon.start(wait=False)
    status = daemon.wait_end()
    equal(status, 1, f"exit status; it said: {said(daemon)}")
    line = expect_message(said(daemon), word, bucket or place.bucket)
    text, status = doctor(wrong, place.environment(account))
    contains(text, word, "what doctor says")
    check(status != 0, "doctor finds nothing wrong")
    daemon.environment, daemon.store = right, where
    daemon.start()
    image.expect()
    daemon.drain("disk")
    return line.strip()


@test("a wrong secret ends the start with a message, and nothing is lost")
def wrong_secret():
    key = stores.shared("rgw").account.key
    return refused_start(stores.Account(key, "wrong"), word="SignatureDoesNotMatch")


@test("an unknown key ends the start with a message, and nothing is lost")
def unknown_key():
    return refused_start(stores.Account("NOBODY", "none"), word="InvalidAccessKeyId")


@test("a missing bucket ends the start with a message, and nothing is lost")
def missing_bucket():
    return refused_start(bucket="no-such-bucket", word="NoSuchBucket")


@test("an expired token ends the start with a message, and nothing is lost")
def expired_token():
    return refused_start(
        stores.shared("rgw").make_session(is_expired=True), word="InvalidAccessKeyId")


@test("a store whose clock is 20 minutes behind ends the start with a message, and nothing is lost")
def clock_skew():
    # Not our clock: the library moves the environment, behind which Swift looks for arguments.
    endpoint = stores.shared("rgw").start_another({"LD_PRELOAD": library(), **SLOW_CLOCK})
    return refused_start(endpoint=endpoint, word="RequestTimeTooSkewed")


@test("temporary credentials with a token serve like others")
def session_token():
    place = Place(stores.shared("rgw"))
    daemon = place.daemon(account=place.server.make_session(), environment=SLOW).start()
    daemon.create("disk", SIZE)
    image = Image(daemon, "disk", SIZE, harness.SEED)
    image.scribble(10)
    daemon.drain("disk")
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    image.expect()


@test("a store that takes a second create of one key is refused by name, and keeps nothing of us")
def unfit():
    place = Place(stores.shared("nanio"))
    daemon = place.daemon(environment=SLOW)
    daemon.start(wait=False)
    equal(daemon.wait_end(), 1, f"exit status; it said: {said(daemon)}")
    line = expect_message(said(daemon), "second create")
    equal(place.keys(), [], "keys left in the store")
    text, status = doctor(place.url, place.environment())
    contains(text, "unfit", "what doctor says")
    check(status != 0, "doctor finds nothing wrong")
    return line.strip()


# MARK: Permissions

_users = iter(range(1, 1000))


def user_with(place, *actions):
    """A user who may do these on the bucket."""
    name = f"user{next(_users)}"
    account = place.server.make_user(name)
    place.server.allow(place.bucket, (name, actions))
    return name, account


EVERYTHING = ("GetObject", "PutObject", "DeleteObject", "ListBucket")


@test("without the right to put the daemon serves for reading and says so")
def no_put():
    place = Place(stores.shared("rgw"))
    daemon, image = written_volume(place)
    daemon.start()
    sequence = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    daemon.terminate()
    _, account = user_with(place, "GetObject", "ListBucket")
    reader = place.daemon("reader", account=account, environment=SLOW).start()
    expect_says(reader, "read")
    reply = reader.http("PUT", "/api/exports/other", {"size_bytes": SIZE})
    equal(reply.status, 403, f"creating without the right: {reply}")
    image.expect_on(reader, f"disk@{sequence}")
    return reply.json["error"]


def expect_says(daemon, word):
    check(word in said(daemon).lower(), f"it said: {said(daemon)}")


@test("without the right to list the start ends with a message that names the permission")
def no_list():
    place = Place(stores.shared("rgw"))
    _, account = user_with(place, "GetObject", "PutObject", "DeleteObject")
    daemon = place.daemon(account=account, environment=SLOW)
    daemon.start(wait=False)
    equal(daemon.wait_end(), 1, f"exit status; it said: {said(daemon)}")
    return expect_message(said(daemon), "AccessDenied", place.bucket, "ListBucket").strip()


@test("rights taken away in mid-run stop commits, not the guest, and given back drain all of it")
def taken_away():
    place = Place(stores.shared("rgw"))
    name, account = user_with(place, *EVERYTHING)
    daemon = place.daemon(account=account, environment={
        **SLOW, "MARTLET_COMMIT_MAX_AGE_SECS": "1"}).start()
    volume = daemon.create("disk", SIZE)["volume"]
    image = Image(daemon, "disk", SIZE, harness.SEED)
    image.scribble(10)
    daemon.drain("disk")
    before = place.expect_chain(volume)
    place.server.allow(place.bucket, (name, ["GetObject", "ListBucket"]))
    image.scribble(20)
    wait_until(lambda: daemon.status("disk")["unpublished_age_secs"] >= 3, "an age that grows")
    reply = daemon.http("POST", "/api/exports/disk/drain")
    check(reply.status in (403, 503), f"a drain without the right: {reply}")
    image.scribble(10)
    image.expect()
    equal(place.expect_chain(volume), before, "the head without the right")
    place.server.allow(place.bucket, (name, EVERYTHING))
    wait_until(lambda: daemon.http("POST", "/api/exports/disk/drain").status == 200,
               "a drain with the right back")
    equal(daemon.status("disk")["operation_state"], "serving", "the state after all")
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    image.expect()
    place.expect_chain(volume)
    return reply.json["error"]


@test("the right to get taken away in mid-run makes reads wait, and given back lets them through")
def reading_taken_away():
    place = Place(stores.shared("rgw"))
    # Another's objects: who wrote one may always read it.
    writer = place.daemon(environment=SLOW).start()
    writer.create("disk", SIZE)
    image = Image(writer, "disk", SIZE, harness.SEED)
    image.scribble(20)
    writer.terminate()
    name, account = user_with(place, *EVERYTHING)
    daemon = place.daemon(account=account, environment=SLOW).start()
    daemon.cli("open", "disk")
    place.server.allow(place.bucket, (name, ["PutObject", "DeleteObject", "ListBucket"]))
    found = []
    reader = threading.Thread(target=lambda: found.append(
        nbdclient.read_all(daemon.nbd, "disk", timeout=300)), daemon=True)
    reader.start()
    said = wait_until(lambda: daemon.status("disk").get("last_error"), "the status tells why")
    contains(said, "GetObject", "why")
    check(reader.is_alive() and not found, "a read did not wait")
    place.server.allow(place.bucket, (name, EVERYTHING))
    reader.join(harness.PATIENCE)
    check(found and found[0] == image.content, "the reads that waited")
    daemon.kill()
    return said


@test("a public bucket is served read-only without any credentials, snapshots too")
def public_bucket():
    place = Place(stores.shared("rgw"))
    daemon, image = written_volume(place)
    daemon.start()
    sequence = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    then = bytes(image.content)
    image.scribble(20)
    daemon.terminate()
    place.server.allow(place.bucket, ("*", ["GetObject", "ListBucket"]))
    before, mark = place.keys(), place.server.mark()
    reader = place.daemon(
        "reader", account=stores.Account(None, None), environment=SLOW,
        arguments=["--readonly"]).start()
    image.expect_on(reader, "disk")
    image.expect_on(reader, f"disk@{sequence}", then)
    with nbdclient.Connection(reader.nbd, "disk") as connection:
        error, _ = connection.call(nbdclient.WRITE, 0, payload=bytes(4096))
        check(error != 0, "a write was taken")
    reader.kill()
    equal(place.keys(), before, "keys in the bucket")
    counts = place.counts(mark)
    equal((counts["put"], counts["delete"]), (0, 0), f"requests that change something: {counts}")
    return f"{counts['get']} GETs, {counts['list']} LISTs"


if __name__ == "__main__":
    main()
