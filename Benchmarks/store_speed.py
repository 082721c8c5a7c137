#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Throughput of martlet's S3 client beside boto3 and curl, against one server, in turns so that a
# slow moment hits all of them. The server is a Ceph RGW of its own, which shares the processors with
# its clients: the rates say little, their ratios something. What it needs, scripts/setup.sh --test
# installs.
#
#   Benchmarks/store_speed.py --martlet .build/release/martlet [--rounds 5] [--threads 4]

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{ROOT}/Tests")
sys.dont_write_bytecode = True
import stores  # noqa: E402

SIZE = 4 << 20
PIECE = 128 << 10


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
    def __init__(self, options, server):
        self.options = options
        self.endpoint, self.bucket = server.endpoint, server.make_bucket("speed")
        self.key, self.secret, _ = server.account
        self.region = stores.REGION
        from boto3 import client
        from botocore.config import Config
        self.client = client(
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

    def boto3(self):
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
        """One curl for all requests of a phase, with as many transfers at one time. It signs, and
        the server checks; the hashes of the bodies are made for it, each in the time that counts,
        as the others make them."""
        prefix = f"bench-curl/{uuid.uuid4()}/"
        count, result = self.options.objects, {}
        urls = [f"{self.endpoint}/{self.bucket}/{prefix}{index}" for index in range(count)]
        common = ["curl", "--fail", "--silent", "--show-error", "--no-progress-meter", "--parallel",
                  "--parallel-immediate", "--parallel-max", str(self.options.threads),
                  "--aws-sigv4", f"aws:amz:{self.region}:s3", "--user", f"{self.key}:{self.secret}"]
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/body", "wb") as file:
                file.write(self.body)
            for phase, sent, each in (
                    ("put", self.body, ["--upload-file", f"{folder}/body"]),
                    ("get", b"", ["--output", "/dev/null"])):
                words = common + [
                    "--header", f"x-amz-content-sha256: {hashlib.sha256(sent).hexdigest()}"]
                if phase == "get":
                    words += ["--range", f"0-{SIZE - 1}"]
                words += [word for url in urls for word in (*each, url)]
                start = time.monotonic()
                spread(self.options.threads, count, lambda _, sent=sent: hashlib.sha256(sent))
                subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
                result[phase] = SIZE * count / (time.monotonic() - start) / 2**20
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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="m-speed-") as directory:
        with stores.Rgw(f"{directory}/rgw") as server:
            return report(compare(Bench(options, server)))


def compare(bench):
    """{phase: {client: [MiB/s of each round]}}"""
    rates = {}
    for number in range(bench.options.rounds):
        for name in ("martlet", "boto3", "curl"):
            for phase, rate in getattr(bench, name)().items():
                rates.setdefault(phase, {}).setdefault(name, []).append(rate)
        print(f"store_speed: round {number + 1} of {bench.options.rounds}", file=sys.stderr)
    return rates


def report(rates):
    """Prints a line a phase; 1 if the client is slower than 0.9 of the best of the others."""
    failed = False
    for phase, clients in rates.items():
        medians = {name: statistics.median(values) for name, values in clients.items()}
        shown = ", ".join(f"{name} {value:.0f} MiB/s" for name, value in medians.items())
        ratios = ", ".join(f"{medians['martlet'] / value:.2f} of {name}"
                           for name, value in medians.items() if name != "martlet")
        failed |= medians["martlet"] < 0.9 * max(medians.values())
        print(f"{phase}: {shown}; martlet {ratios}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except stores.Missing as missing:
        sys.exit(f"store_speed: {missing}")
