#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Makes signing.json: requests as signed by botocore, which is independent of our signer. Needs
# botocore from PyPI; run it again only to add a case: signing.py > signing.json
import hashlib
import json

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

EMPTY = hashlib.sha256(b"").hexdigest()
KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def vector(name, method, host, path, query=(), headers=(), body=b"", token=None,
           region="us-east-1", date="20130524T000000Z", secret=SECRET, scheme="https"):
    """One signed request. `query` holds plain pairs, `path` is encoded already."""
    sha = hashlib.sha256(body).hexdigest()
    request = AWSRequest(method=method, url=f"{scheme}://{host}{path}", params=list(query),
                         headers=dict(headers), data=body)
    request.context["timestamp"] = date
    request.context["payload_signing_enabled"] = True
    request.headers["Host"] = host
    auth = S3SigV4Auth(Credentials(KEY, secret, token), "s3", region)
    auth._modify_request_before_signing(request)
    del request.headers["X-Amz-Content-SHA256"]
    request.headers["X-Amz-Content-SHA256"] = sha
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    signed = sorted((k.lower(), v) for k, v in request.headers.items()
                    if k.lower() not in ("authorization", "expect", "user-agent"))
    return {
        "name": name, "method": method, "path": path, "query": [list(pair) for pair in query],
        "headers": [list(pair) for pair in signed], "payloadHash": sha, "region": region,
        "date": date, "accessKeyID": KEY, "secretAccessKey": secret, "canonical": canonical,
        "signature": signature,
    }


def main():
    bucket = "examplebucket.s3.amazonaws.com"
    vectors = [
        vector("get of a range", "GET", bucket, "/test.txt", headers=[("Range", "bytes=0-9")]),
        vector("put with odd bytes in the key", "PUT", bucket, "/test%24file.text",
               headers=[("x-amz-date", "20130524T000000Z"),
                        ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
               body=b"Welcome to Amazon S3."),
        vector("get of a subresource", "GET", bucket, "/", query=[("lifecycle", "")]),
        vector("listing", "GET", bucket, "/", query=[("max-keys", "2"), ("prefix", "J")]),
        vector("listing as martlet asks", "GET", "127.0.0.1:7480", "/bucket",
               query=[("list-type", "2"), ("encoding-type", "url"), ("max-keys", "1000"),
                      ("prefix", "a/b~c/refs/"), ("start-after", "a/b~c/refs/exports/x y+z")],
               scheme="http", date="20261121T123456Z"),
        vector("create if absent", "PUT", "bucket.s3.eu-central-1.amazonaws.com",
               "/pre/volumes/v/commits/~1.2",
               headers=[("If-None-Match", "*"), ("Content-Type", "application/octet-stream")],
               body=bytes(range(256)) * 17, region="eu-central-1", date="20271231T235959Z"),
        vector("with a session token", "GET", "bucket.s3.eu-central-1.amazonaws.com", "/k",
               token="FwoGZXIvYXdzEXAMPLE//token==", region="eu-central-1",
               date="20240229T010203Z"),
        vector("batch of deletes", "POST", "store.example:9000", "/bucket", query=[("delete", "")],
               headers=[("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
                        ("Content-Type", "application/xml")],
               body=b"<Delete/>", region="garage", date="20300101T000000Z"),
        vector("spaces in a header count once", "GET", bucket, "/k",
               headers=[("x-amz-meta-note", "  a   b  c ")]),
        vector("a secret with slashes and plus signs", "HEAD", bucket, "/k",
               secret="a/+b=c d", date="19991231T235959Z"),
    ]
    print(json.dumps(vectors, indent=1))


main()
