# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The test servers themselves, seen by the vendor's client: what the tests of Martlet on them take
# for granted. Where servers differ from each other, the difference is written down here as a test.

import base64
import contextlib
import datetime
import hashlib
import random
import threading
import time
import urllib.error
import urllib.request

import harness
import stores
from harness import KIB, MIB, Failure, check, equal, main, test

STRICT = ("rgw", "moto")


def attempt(call, **arguments):
    """(status, code) of a boto3 call, whatever it is."""
    from botocore.exceptions import ClientError
    try:
        return call(**arguments)["ResponseMetadata"]["HTTPStatusCode"], None
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def fails(call, **arguments):
    """The name of the exception of a call that gets no valid answer."""
    from botocore.exceptions import BotoCoreError
    try:
        call(**arguments)
    except BotoCoreError as error:
        return type(error).__name__
    raise Failure(f"{arguments} succeeded")


def bucket_of(server):
    return server.make_bucket(f"b{random.randrange(1 << 40)}")


def body_of(client, bucket, key, **more):
    return client.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


@test("RGW and moto take one create-if-absent per key, of eight racing ones too")
def create_once():
    for kind in STRICT:
        server = stores.shared(kind)
        client, bucket = server.client(max_pool_connections=8), bucket_of(server)
        put = client.put_object
        equal(attempt(put, Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*"), (200, None), kind)
        equal(attempt(put, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*"),
              (412, "PreconditionFailed"), kind)
        equal(body_of(client, bucket, "k"), b"1", kind)
        outcomes = []

        def race(number):
            outcomes.append(attempt(
                put, Bucket=bucket, Key="race", Body=b"%d" % number, IfNoneMatch="*")[0])
        threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(outcomes.count(200), 1, f"winners on {kind} of {outcomes}")


@test("nanio takes a second create-if-absent and overwrites: the store to be refused")
def overwrites():
    server = stores.shared("nanio")
    client, bucket = server.client(), bucket_of(server)
    for body in (b"1", b"2"):
        equal(attempt(client.put_object, Bucket=bucket, Key="k", Body=body, IfNoneMatch="*"),
              (200, None), "nanio")
        equal(body_of(client, bucket, "k"), body, "nanio")


@test("RGW and moto answer ranges and suffixes exactly, and 416 beyond the end")
def ranges():
    for kind in STRICT:
        server = stores.shared(kind)
        client, bucket = server.client(), bucket_of(server)
        body = random.Random(1).randbytes(5000)
        client.put_object(Bucket=bucket, Key="k", Body=body)
        for text, part in (
                ("bytes=0-0", body[:1]), ("bytes=100-199", body[100:200]),
                ("bytes=4990-9999", body[4990:]), ("bytes=-10", body[-10:]),
                ("bytes=-9999", body)):
            equal(body_of(client, bucket, "k", Range=text), part, f"{text} on {kind}")
        equal(attempt(client.get_object, Bucket=bucket, Key="k", Range="bytes=5000-")[0], 416, kind)
        equal(attempt(client.get_object, Bucket=bucket, Key="none"), (404, "NoSuchKey"), kind)


@test("RGW and moto list in pages in byte order, from any place, and delete in batches")
def listing():
    for kind in STRICT:
        server = stores.shared(kind)
        client, bucket = server.client(), bucket_of(server)
        names = sorted([f"l/{n:03d}" for n in range(25)] + ["l/~", "l/A", "l/a.b", "l-0", "m"])
        for name in names:
            client.put_object(Bucket=bucket, Key=name, Body=b"x")
        expected = [name for name in names if name.startswith("l/")]
        found, pages, token = [], 0, {}
        while True:
            page = client.list_objects_v2(Bucket=bucket, Prefix="l/", MaxKeys=10, **token)
            found += [entry["Key"] for entry in page["Contents"]]
            pages += 1
            if not page["IsTruncated"]:
                break
            token = {"ContinuationToken": page["NextContinuationToken"]}
        equal((found, pages), (expected, 3), f"listing on {kind}")
        page = client.list_objects_v2(Bucket=bucket, Prefix="l/", StartAfter="l/020")
        equal([entry["Key"] for entry in page["Contents"]], expected[21:], f"start-after on {kind}")
        reply = client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": name} for name in [*found, "none"]]})
        equal(reply.get("Errors", []), [], f"batch delete on {kind}")
        equal(server.keys(bucket), ["l-0", "m"], f"left on {kind}")


@test("RGW tells a wrong secret, an unknown key, an expired token, a damaged body and a wrong time")
def refusals():
    server = stores.shared("rgw")
    bucket = bucket_of(server)
    key, secret, _ = server.account
    for account, expected in (
            (stores.Account(key, "wrong"), (403, "SignatureDoesNotMatch")),
            (stores.Account("UNKNOWN", secret), (403, "InvalidAccessKeyId")),
            (server.make_session(), (200, None)),
            # AWS calls it ExpiredToken; our proxy can say that.
            (server.make_session(is_expired=True), (403, "InvalidAccessKeyId"))):
        equal(attempt(server.client(account).list_objects_v2, Bucket=bucket), expected,
              str(account))
    put = server.client().put_object
    digest = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    equal(attempt(put, Bucket=bucket, Key="k", Body=b"x", ContentMD5=digest),
          (400, "BadDigest"), "Content-MD5")
    check_signed_time(server, bucket)
    equal(attempt(server.client().list_objects_v2, Bucket="missing-bucket"),
          (404, "NoSuchBucket"), "a bucket that is not there")


def check_signed_time(server, bucket):
    """A request that was signed long ago."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    url = f"{server.endpoint}/{bucket}?list-type=2"
    for hours, expected in ((0, 200), (2, 403)):
        request = AWSRequest("GET", url)
        with past(hours):
            S3SigV4Auth(Credentials(*server.account[:2]), "s3", stores.REGION).add_auth(request)
        try:
            with urllib.request.urlopen(
                    urllib.request.Request(url, headers=dict(request.headers))) as reply:
                found, text = reply.status, ""
        except urllib.error.HTTPError as error:
            found, text = error.code, error.read().decode()
        equal(found, expected, f"signed {hours} hours ago: {text}")
        check(found == 200 or "RequestTimeTooSkewed" in text, text)


@contextlib.contextmanager
def past(hours):
    """The clock of the vendor's client, so many hours ago."""
    import botocore.auth
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    now, botocore.auth.get_current_datetime = (
        botocore.auth.get_current_datetime, lambda remove_tzinfo=True: then)
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = now


@test("RGW and moto let a user do what a policy allows and nothing else")
def permissions():
    rgw, moto = stores.shared("rgw"), stores.shared("moto")
    reader = rgw.make_user("reader")
    bucket = bucket_of(rgw)
    rgw.client().put_object(Bucket=bucket, Key="k", Body=b"1")
    rgw.allow(bucket, ("reader", ["GetObject"]))
    from stores.moto import policy
    other = moto.make_user("reader", policy(("s3:GetObject", f"arn:aws:s3:::{bucket}/*")))
    moto.make_bucket(bucket)
    moto.client().put_object(Bucket=bucket, Key="k", Body=b"1")
    for server, account in ((rgw, reader), (moto, other)):
        client = server.client(account)
        equal(body_of(client, bucket, "k"), b"1", server.name)
        for call, arguments in (
                (client.list_objects_v2, {}), (client.put_object, {"Key": "p", "Body": b""}),
                (client.delete_object, {"Key": "k"})):
            equal(attempt(call, Bucket=bucket, **arguments), (403, "AccessDenied"), server.name)
    equal(attempt(rgw.client(reader).get_object, Bucket=bucket, Key="none"), (403, "AccessDenied"),
          "RGW hides what is missing from those who may not list")


@test("each server's log shows every request, with the haproxy and our proxy before it as well")
def logs():
    expected = {"put": 2, "get": 1, "head": 1, "list": 1, "delete": 2}
    counted = []
    with stores.HAProxy("h", stores.shared("rgw")) as haproxy, \
            stores.Proxy("p", stores.shared("rgw")) as proxy:
        for server in (*map(stores.shared, ("rgw", "moto", "nanio")), haproxy, proxy):
            bucket, client = bucket_of(server), server.client()
            before = server.mark()
            for name in ("a b", "c/d+é"):
                client.put_object(Bucket=bucket, Key=name, Body=b"x" * 100_000)
            client.get_object(Bucket=bucket, Key="a b")["Body"].read()
            client.head_object(Bucket=bucket, Key="a b")
            client.list_objects_v2(Bucket=bucket)
            client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a b"}]})
            client.delete_object(Bucket=bucket, Key="c/d+é")
            counts = server.counts(before, f"/{bucket}")
            equal(dict(counts), expected, server.name)
            paths = [entry.path for entry in server.requests(before) if entry.kind == "put"]
            equal(paths, [f"/{bucket}/a b", f"/{bucket}/c/d+é"], server.name)
            counted.append(server.name)
    return ", ".join(counted)


@test("haproxy refuses and silences the shares it is told to, while it runs")
def haproxy():
    server = stores.shared("rgw")
    bucket = bucket_of(server)
    with stores.HAProxy("haproxy", server) as front:
        client = front.client(read_timeout=1)

        def tally(count):
            return [attempt(client.list_objects_v2, Bucket=bucket)[0] for _ in range(count)]
        equal(set(tally(20)), {200}, "told nothing")
        front.fail(http503=0.4, http500=0.3)
        found = tally(150)
        check({200, 500, 503} == set(found), f"found {set(found)}")
        check(30 < found.count(503) < 90, f"{found.count(503)} of 150 are 503")
        front.fail(http503=1)
        equal(set(tally(20)), {503}, "all refused")
        front.fail(drop=1)
        began = time.monotonic()
        equal(fails(client.list_objects_v2, Bucket=bucket), "ReadTimeoutError", "silence")
        check(time.monotonic() - began >= 1, "an answer came instead of silence")
        front.fail()
        equal(set(tally(20)), {200}, "told nothing again")


@test("our proxy passes everything through unharmed until told otherwise")
def proxy_passes():
    for kind in STRICT:
        server = stores.shared(kind)
        with stores.Proxy(f"proxy-{kind}", server) as proxy:
            client, bucket = proxy.client(), bucket_of(server)
            body = random.Random(2).randbytes(9 * MIB + 1)
            client.put_object(Bucket=bucket, Key="k", Body=body)
            check(body_of(client, bucket, "k") == body, "content differs")
            client.head_object(Bucket=bucket, Key="k")
            check(body_of(client, bucket, "k", Range="bytes=-5") == body[-5:], "suffix differs")
            equal(attempt(client.get_object, Bucket=bucket, Key="none")[0], 404, kind)
            client.delete_object(Bucket=bucket, Key="k")
            equal(proxy.keys(bucket), [], kind)
            equal(proxy.effects(), [], kind)


@test("our proxy loses, holds, cuts off, resets, flips, refuses, each as often as it is told")
def proxy_faults():
    server = stores.shared("rgw")
    bucket, body = bucket_of(server), random.Random(3).randbytes(200 * KIB)
    with stores.Proxy("proxy", server) as proxy:
        client = proxy.client(read_timeout=1)
        put = {"Bucket": bucket, "Body": body}
        for effect, failure, is_there in (
                ("lose-reply", "ConnectionClosedError", True),
                ("hold-reply", "ReadTimeoutError", True),
                ("refuse", "ConnectionClosedError", False),
                ("hold", "ReadTimeoutError", False)):
            proxy.set(faults=[{"effect": effect, "method": "PUT", "path": "/k-"}])
            equal(fails(client.put_object, Key=f"k-{effect}", **put), failure, effect)
            equal(f"k-{effect}" in server.keys(bucket), is_there, f"carried out: {effect}")
            client.put_object(Key=f"k-{effect}", **put)
            equal(proxy.state()["hits"], [1], effect)
            equal([name for name, _, _ in proxy.effects()][-1], effect, "its log")
        client.put_object(Key="whole", **put)
        proxy.set(faults=[{"effect": "flip", "bytes": 1000, "skip": 1, "times": 1}])
        check(body_of(client, bucket, "whole") == body, "struck too early")
        found = body_of(client, bucket, "whole")
        differing = [at for at in range(len(body)) if found[at] != body[at]]
        equal(differing, [1000], "flipped bytes")
        check(body_of(client, bucket, "whole") == body, "struck too often")
        for effect, failure in (
                ("truncate", "IncompleteReadError"), ("reset", "ResponseStreamingError")):
            proxy.set(faults=[{"effect": effect, "method": "GET", "bytes": 100_000}])
            found = fails(lambda **all: body_of(client, bucket, "whole"))
            check(found in (failure, "ResponseStreamingError"), f"{effect}: {found}")
        proxy.set(faults=[{"effect": "status", "status": 503, "times": 2}])
        statuses = [attempt(client.head_object, Bucket=bucket, Key="whole")[0] for _ in range(3)]
        equal(statuses, [503, 503, 200], "an injected status")
        proxy.set(faults=[{"effect": "status", "status": 400, "code": "ExpiredToken"}])
        equal(attempt(client.get_object, Bucket=bucket, Key="whole"), (400, "ExpiredToken"),
              "an injected code")
        try:
            proxy.set(faults=[{"effect": "explode"}])
            raise Failure("an unknown effect was taken")
        except urllib.error.HTTPError as error:
            equal(error.code, 400, "an unknown effect")


@test("our proxy delays each request and holds all to one bandwidth")
def proxy_slows():
    server = stores.shared("rgw")
    bucket, body = bucket_of(server), bytes(2 * MIB)
    with stores.Proxy("proxy", server) as proxy:
        client = proxy.client()
        proxy.set(latency_ms=200)
        began = time.monotonic()
        for _ in range(3):
            client.list_objects_v2(Bucket=bucket)
        took = time.monotonic() - began
        check(took >= 0.6, f"3 requests took {took:.2f} s")
        proxy.set(bandwidth=4 * MIB)
        for name, call in (
                ("upload", lambda: client.put_object(Bucket=bucket, Key="k", Body=body)),
                ("download", lambda: body_of(client, bucket, "k"))):
            began = time.monotonic()
            call()
            took = time.monotonic() - began
            check(0.4 <= took < 0.5 + harness.PATIENCE / 4, f"{name} of 2 MiB: {took:.2f} s")


if __name__ == "__main__":
    main()
