# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Small contents that can be told apart, and the shape that every failure of the API must have.

import nbdclient
from harness import KIB, check, equal


def fill(daemon, name, offset, text, count=4 * KIB):
    """Writes a pattern, and waits for nothing."""
    with nbdclient.Connection(daemon.nbd, name) as connection:
        connection.write(offset, (text.encode() * count)[:count])


def content(daemon, name, offset, count):
    with nbdclient.Connection(daemon.nbd, name) as connection:
        return connection.read(offset, count)


def expect_pattern(daemon, name, offset, text, count=4 * KIB):
    found = content(daemon, name, offset, count)
    equal(found[:64], (text.encode() * 64)[:64], f"{name} at {offset}")
    equal(found, (text.encode() * count)[:count], f"{name} at {offset}")


def refused(reply, status, code):
    """A failure of the documented shape: what, why and what to do."""
    equal(reply.status, status, f"status of {reply}")
    check(isinstance(reply.json, dict), f"no JSON: {reply}")
    equal(reply.json.get("success"), False, f"success in {reply}")
    equal(reply.json.get("code"), code, f"code in {reply}")
    check(reply.json["error"].count(" : ") >= 2, f"not what : why : what to do: {reply}")
