#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Throughput of martlet's S3 client beside boto3 and curl, against one server, in turns so that a
# slow moment hits all of them. The server is named by MARTLET_TEST_S3_ENDPOINT and its neighbours
# (see Tests/ObjectStoreCloudTests/RealStoreTests.swift). Needs boto3.
#
#   Benchmarks/store_speed.py --martlet .build/release/martlet [--rounds 5] [--threads 4]
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import boto3
from botocore.config import Config

SIZE = 4 << 20
PIECE = 128 << 10


def variable(name, default=None):
    value = os.environ.get("MARTLET_TEST_S3_" + name, default)
    if value is None:
        sys.exit(f"store_speed: MARTLET_TEST_S3_{name} is not set")
    return value


def spread(threads, count, work):
    """Runs work(i) for all i below count on threads; MB/s come from the wall time."""
    position = iter(range(count))
    lock = threading.Lock()
    failures = []

    def loop():
        while True:
            with lock:
                index = next(position, None)
            if index is None or failures:
                return
            try:
                work(index)
            except Exception as error:  # shown below, and the run ends
                failures.append(error)

    start = time.monotonic()
    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - start


class Bench:
    def __init__(self, options):
        self.options = options
        self.endpoint, self.bucket = variable("ENDPOINT"), variable("BUCKET")
        self.key, self.secret = variable("ACCESS_KEY_ID"), variable("SECRET_ACCESS_KEY")
        self.region = variable("REGION", "us-east-1")
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=self.key,
            aws_secret_access_key=self.secret, region_name=self.region,
            config=Config(max_pool_connections=options.threads, s3={"addressing_style": "path"},
                          request_checksum_calculation="when_required",
                          response_checksum_validation="when_required"))
        self.body = os.urandom(SIZE)

    def martlet(self):
        environment = dict(os.environ, MARTLET_STORAGE_ENDPOINT=self.endpoint,
                           MARTLET_STORAGE_REGION=self.region, MARTLET_STORAGE_PATH_STYLE="true",
                           AWS_ACCESS_KEY_ID=self.key, AWS_SECRET_ACCESS_KEY=self.secret)
        done = subprocess.run(
            [self.options.martlet, "bench", "store", "--json", "--store",
             f"s3://{self.bucket}/bench", "--size", str(SIZE), "--objects",
             str(self.options.objects), "--piece-size", str(PIECE), "--pieces",
             str(self.options.pieces), "--threads", str(self.options.threads)],
            env=environment, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        return {name: found[name]["kib_per_s"] / 1024 for name in ("put", "get", "range")}

    def boto(self):
        prefix = f"bench-boto/{uuid.uuid4()}/"
        count, threads = self.options.objects, self.options.threads
        keys = [f"{prefix}{index}" for index in range(count)]
        self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)

        def read(index, first, length):
            got = self.client.get_object(Bucket=self.bucket, Key=keys[index % count],
                                         Range=f"bytes={first}-{first + length - 1}")["Body"].read()
            assert len(got) == length

        put = spread(threads, count, lambda index: self.client.put_object(
            Bucket=self.bucket, Key=keys[index], Body=self.body, IfNoneMatch="*"))
        get = spread(threads, count, lambda index: read(index, 0, SIZE))
        small = spread(threads, self.options.pieces,
                       lambda index: read(index, index // count % (SIZE // PIECE) * PIECE, PIECE))
        for key in keys:
            self.client.delete_object(Bucket=self.bucket, Key=key)
        return {"put": SIZE * count / put / 2**20, "get": SIZE * count / get / 2**20,
                "range": PIECE * self.options.pieces / small / 2**20}

    def curl(self):
        """One curl for all requests of a phase, with as many transfers at one time, by URLs that
        are signed beforehand and bodies that are not: less work than the others have."""
        prefix = f"bench-curl/{uuid.uuid4()}/"
        count, result = self.options.objects, {}
        common = ["curl", "--fail", "--silent", "--show-error", "--parallel", "--parallel-max",
                  str(self.options.threads), "--parallel-immediate"]
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/body", "wb") as file:
                file.write(self.body)
            for phase, operation in (("put", "put_object"), ("get", "get_object")):
                words = list(common)
                for index in range(count):
                    url = self.client.generate_presigned_url(
                        operation, {"Bucket": self.bucket, "Key": f"{prefix}{index}"})
                    words += (["--upload-file", f"{folder}/body"] if phase == "put" else
                              ["--output", "/dev/null"]) + [url]
                start = time.monotonic()
                done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
                seconds = time.monotonic() - start
                if done.returncode != 0:
                    print(f"SKIPPED: curl: the server takes no signed URLs ({done.returncode})",
                          file=sys.stderr)
                    break
                result[phase] = SIZE * count / seconds / 2**20
        for index in range(count):
            self.client.delete_object(Bucket=self.bucket, Key=f"{prefix}{index}")
        return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--martlet", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--objects", type=int, default=32)
    parser.add_argument("--pieces", type=int, default=512)
    bench = Bench(parser.parse_args())
    rates = {}
    for number in range(bench.options.rounds):
        for name in ("martlet", "boto", "curl"):
            for phase, rate in getattr(bench, name)().items():
                rates.setdefault(phase, {}).setdefault(name, []).append(rate)
        print(f"store_speed: round {number + 1} of {bench.options.rounds}", file=sys.stderr)
    failed = False
    for phase, clients in rates.items():
        medians = {name: statistics.median(values) for name, values in clients.items()}
        best = max(value for name, value in medians.items() if name != "martlet")
        ratio = medians["martlet"] / best
        failed = failed or (ratio < 0.9 and phase != "range")
        shown = ", ".join(f"{name} {value:.0f} MiB/s" for name, value in medians.items())
        print(f"{phase}: {shown}; martlet to the best of the others {ratio:.2f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
