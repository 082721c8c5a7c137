# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Daemons whose repository lies in a bucket on a real server. The one thing to know: a test file has
# one server of each kind, started with its first use, and each place in it a bucket of its own.

import random
import uuid

import nbdclient
import stores
from harness import KIB, MARTLET, Daemon, check, equal, run, wait_until

OPERATIONS = ("put", "get", "head", "list", "delete")


class Place:
    """A bucket on a server, and a repository in it."""

    def __init__(self, server, account=None, bucket=None, front=None):
        self.server = server
        self.front = front or server
        self.account = account or server.account
        self.bucket = bucket or server.make_bucket(f"b-{uuid.uuid4().hex[:12]}")

    @property
    def url(self):
        return (f"s3://{self.bucket}/repo?endpoint={self.front.endpoint}"
                f"&region={stores.REGION}")

    def environment(self, account=None):
        """What a daemon needs to get in; nothing of the machine's own credentials."""
        account = account or self.account
        variables = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent",
                     "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
        if account.key:
            variables["AWS_ACCESS_KEY_ID"] = account.key
            variables["AWS_SECRET_ACCESS_KEY"] = account.secret
        if account.token:
            variables["AWS_SESSION_TOKEN"] = account.token
        return variables

    def daemon(self, name=None, account=None, environment=None, **more):
        return Daemon(
            name, store=self.url,
            environment={**self.environment(account), **(environment or {})}, **more)

    def behind(self, front):
        """The same bucket, which daemons reach through what stands before the server."""
        return Place(self.server, self.account, self.bucket, front)

    # MARK: What is there

    def keys(self, prefix=""):
        """Keys in the repository."""
        return [key.removeprefix("repo/")
                for key in self.server.keys(self.bucket, f"repo/{prefix}")]

    def counts(self, since):
        """Requests to this bucket, by kind, as the server counted them."""
        found = self.server.counts(since, f"/{self.bucket}")
        return {name: found.get(name, 0) for name in OPERATIONS}

    def sequences(self, volume):
        """The numbers of a volume's commits in the store, ascending."""
        return sorted(int(key.rpartition(".")[2]) for key in self.keys(f"volumes/{volume}/commits/"))

    def expect_chain(self, volume):
        """Every commit from the first to the head is there; the head's number."""
        found = self.sequences(volume)
        equal(found, list(range(found[0], found[-1] + 1)), "numbers of commits")
        return found[-1]

    def orphans(self, volume):
        """Packs of a volume that no commit of it names."""
        packs = {key.rpartition("/")[2].removesuffix(".pack")
                 for key in self.keys(f"packs/{volume}/")}
        named = set()
        for key in self.keys(f"volumes/{volume}/commits/"):
            said = run(MARTLET, "inspect", "commit", "--store", self.url, key,
                       env=self.environment()).stdout
            named |= {pack for pack in packs if pack in said}
        return packs - named


def insist(daemon, path):
    """POSTs until it is done: 503 says that the store did not take it in time. The answer."""
    return wait_until(
        lambda: (lambda reply: reply.status == 200 and reply.json)(
            daemon.http("POST", path, timeout=120)), f"POST {path}", 300)


def counted(daemon):
    """Requests by kind, as the daemon counted them."""
    samples = daemon.metrics()
    return {name: int(samples[f'martlet_store_requests_total{{operation="{name}"}}'])
            for name in OPERATIONS}


class Image:
    """An export's content as its client knows it."""

    def __init__(self, daemon, name, size, seed):
        self.daemon, self.name = daemon, name
        self.content = bytearray(size)
        self.random = random.Random(seed)

    def scribble(self, count, largest=512 * KIB):
        """That many writes of any size and place, and a flush."""
        with nbdclient.Connection(self.daemon.nbd, self.name, timeout=300) as connection:
            for _ in range(count):
                length = 512 * self.random.randrange(1, largest // 512)
                at = 512 * self.random.randrange((len(self.content) - length) // 512)
                data = self.random.randbytes(length)
                connection.write(at, data)
                self.content[at:at + length] = data
            connection.flush()

    def expect(self, name=None, content=None):
        self.expect_on(self.daemon, name or self.name, content)

    def expect_on(self, daemon, name, content=None):
        """The export of that name on that daemon holds our content, or another."""
        found = nbdclient.read_all(daemon.nbd, name, timeout=300)
        expected = self.content if content is None else content
        if found != expected:
            at = next(at for at in range(0, len(found), 512)
                      if found[at:at + 512] != expected[at:at + 512])
            check(False, f"{name} differs at byte {at}")

