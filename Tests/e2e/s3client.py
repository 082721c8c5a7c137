# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# What `martlet doctor` and a daemon's start say of a store, as it should be and not. The client's own
# suite is Tests/stores/run's.

import json
import os

import stores
from harness import MARTLET, check, contains, equal, main, run, test


def settings(server, account=None):
    key, secret, token = account or server.account
    variables = {name: value for name, value in os.environ.items()
                 if not name.startswith(("MARTLET", "AWS_"))}
    variables.update(
        SWIFT_BACKTRACE="enable=no", AWS_EC2_METADATA_DISABLED="true", HOME=os.getcwd(),
        MARTLET_STORAGE_ENDPOINT=server.endpoint, MARTLET_STORAGE_REGION=stores.REGION)
    if key:
        variables.update(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)
    if token:
        variables["AWS_SESSION_TOKEN"] = token
    return variables


def doctor(url, variables):
    done = run(MARTLET, "doctor", "--json", "--store", url, "--cache", f"{os.getcwd()}/cache",
               env=variables, check_status=False, timeout=120)
    return json.loads(done.stdout)


def refused_start(url, variables):
    """What a daemon says that does not start on a store."""
    place = os.getcwd()
    done = run(MARTLET, "run", "--store", url, "--cache", f"{place}/cache", "--nbd",
               f"unix:{place}/n", "--api", f"unix:{place}/a", env=variables, check_status=False,
               timeout=120)
    equal(done.returncode, 1, f"exit status: {done.stderr[-1000:]}")
    lines = [line for line in done.stderr.splitlines() if line.startswith("martlet: ")]
    equal(len(lines), 1, f"messages: {done.stderr[-1000:]}")
    check(lines[0].count(" : ") >= 2, f"not what, why, what to do: {lines[0]}")
    return lines[0]


@test("nanio overwrites: doctor and a daemon's start find it out and refuse it")
def unfit():
    server = stores.shared("nanio")
    bucket = server.make_bucket("client-nanio")
    url, variables = f"s3://{bucket}/x", settings(server)
    equal(doctor(url, variables)["store"]["access"], "unfit", "doctor")
    contains(refused_start(url, variables), "a second create of one key succeeded", "the start")


@test("doctor measures a store that is as it should be")
def healthy():
    server = stores.shared("rgw")
    bucket = server.make_bucket("client-doctor")
    found = doctor(f"s3://{bucket}/x", settings(server))["store"]
    equal(found["access"], "read-write", found)
    check(all(found[name] > 0 for name in ("put_us", "get_us", "list_us")), found)
    equal(server.keys(bucket), [], "what doctor left")


@test("wrong secret, unknown key, absent bucket and no credentials end a start with what to do")
def refusals():
    server = stores.shared("rgw")
    bucket = server.make_bucket("client-refusals")
    key, secret, _ = server.account
    account = type(server.account)
    cases = (
        (bucket, account(key, "wrong", None), "SignatureDoesNotMatch", "correct the secret"),
        (bucket, account("NOBODY", secret, None), "InvalidAccessKeyId", "access key id"),
        ("no-such-bucket", account(key, secret, None), "NoSuchBucket", "create the bucket"),
        (bucket, account(None, None, None), "no credentials", "aws.access_key_id"),
    )
    for name, who, why, remedy in cases:
        said = refused_start(f"s3://{name}/x", settings(server, who))
        contains(said, why, "the reason")
        contains(said.rsplit(" : ", 1)[1], remedy, "the remedy")
        check(secret not in said, "a secret was shown")


if __name__ == "__main__":
    main()
