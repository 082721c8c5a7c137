# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Two hosts that claim one volume at the same moment, again and again, while either may be stopped
# in the middle. The one thing to know: a stopped host is a slow one. It may wake after the other
# has taken the volume and believe that it serves; its first commit, or its next status, must say
# otherwise, and nothing of it may be in the store.

import os
import random
import signal
import threading
import time

import harness
import nbdclient
import stores
from harness import MIB, SECONDS, Skip, can_mount, check, equal, main, note, test
from s3world import Place

SIZE = 8 * MIB
ROUNDS = int(os.environ.get("E2E_KILLS", "0"))
SETTINGS = {"MARTLET_COMMIT_MAX_AGE_SECS": "3600", "MARTLET_STORAGE_REQUEST_TIMEOUT_SECS": "5"}


class Claim(threading.Thread):
    """One host's try to open the volume; its reply, once joined."""

    def __init__(self, daemon, start):
        super().__init__()
        self.daemon, self.start_together, self.reply = daemon, start, None

    def run(self):
        self.start_together.wait()
        self.reply = self.daemon.http("POST", "/api/exports/disk/open")


def disturb(generator, daemons):
    """Stops one of the hosts, or both, for up to half a second, somewhere in its claim."""
    stopped = [daemon for daemon in daemons if generator.random() < 0.5]
    time.sleep(generator.random() * 0.1)
    for daemon in stopped:
        daemon.signal(signal.SIGSTOP)
    time.sleep(generator.random() * 0.5)
    for daemon in stopped:
        daemon.signal(signal.SIGCONT)


def race(generator, daemons):
    start = threading.Barrier(len(daemons) + 1)
    claims = [Claim(daemon, start) for daemon in daemons]
    for claim in claims:
        claim.start()
    start.wait()
    disturb(generator, daemons)
    for claim in claims:
        claim.join()
    return {claim.daemon: claim.reply for claim in claims}


def write(daemon, at, letter):
    """True if the host takes a write and a drain brings it to the store."""
    try:
        with nbdclient.Connection(daemon.nbd, "disk", timeout=60) as connection:
            connection.write(at, letter * 4096)
            connection.flush()
    except (nbdclient.Refused, EOFError, OSError):
        return False
    return daemon.http("POST", "/api/exports/disk/drain").status == 200


def why_not(daemon, reply):
    """How a host that lost says so: in its refusal, or in its state. Empty: it does not."""
    if reply.status == 409:
        return reply.json["error"]
    status = daemon.http("GET", "/api/exports/disk/status").json or {}
    return status.get("failed", "") if status.get("operation_state") == "fenced" else ""


def judge(number, replies, letter):
    """One of the hosts brings its write to the store; the other says why it does not."""
    equal({reply.status for reply in replies.values()} - {200, 409}, set(), f"round {number}")
    claimed = [daemon for daemon, reply in replies.items() if reply.status == 200]
    check(claimed, f"round {number}: nobody has it: {[r for r in replies.values()]}")
    at = 4096 * (number % (SIZE // 4096))
    winners = [daemon for daemon in claimed if write(daemon, at, letter)]
    equal(len(winners), 1, f"round {number}: hosts that published")
    loser = next(daemon for daemon in replies if daemon is not winners[0])
    said = why_not(loser, replies[loser])
    check(said, f"round {number}: the loser says nothing: {replies[loser]} {loser.status('disk')}")
    return winners[0], loser, said


@test("of two hosts on RGW that race for one volume one wins each round, and the other says so")
def rounds():
    if not can_mount():
        raise Skip("no right to make a mount for a second machine id")
    note(f"seed {harness.SEED}")
    generator = random.Random(harness.SEED)
    place = Place(stores.shared("rgw"))
    daemons = [place.daemon(name, environment=SETTINGS, machine_id=letter * 32).start()
               for name, letter in (("first", "a"), ("second", "b"))]
    volume = daemons[0].create("disk", SIZE)["volume"]
    daemons[0].call("DELETE", "/api/exports/disk")
    expected = bytearray(SIZE)
    won = dict.fromkeys(daemons, 0)
    fenced = number = 0
    end = time.monotonic() + SECONDS / 3
    # A slow machine gets more time.
    while number < ROUNDS if ROUNDS else number < 3 or time.monotonic() < end:
        letter = bytes([1 + number % 255])
        winner, loser, said = judge(number, race(generator, daemons), letter)
        won[winner] += 1
        fenced += "fenced" in said
        at = 4096 * (number % (SIZE // 4096))
        expected[at:at + 4096] = letter * 4096
        # Both let go; the commits of the winner stay.
        for daemon in (loser, winner):
            daemon.http("DELETE", "/api/exports/disk")
        number += 1
    place.expect_chain(volume)
    third = place.daemon("third", machine_id="c" * 32).start()
    third.cli("open", "disk")
    found = nbdclient.read_all(third.nbd, "disk")
    check(found == expected, "the content is not what the winners wrote, in their order")
    return (f"{number} rounds, won {won[daemons[0]]} to {won[daemons[1]]}, "
            f"{fenced} losers were fenced, the others refused")


if __name__ == "__main__":
    main()
