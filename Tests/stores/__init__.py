# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Real object stores for tests: each class is one server, started in a folder of its own on loopback
# ports of its own, and gone when the process that started it is. Needs what
# `scripts/setup.sh --test` installs.

from .base import REGION, Account, Entry, Missing, Server, free_port
from .faults import HAProxy, Proxy
from .moto import Moto
from .nanio import Nanio
from .rgw import Rgw

_running = {}


def shared(kind):
    """The one server of a kind in this process, started with its first use in ./KIND."""
    if kind not in _running:
        _running[kind] = KINDS[kind](kind).start()
    return _running[kind]


KINDS = {"rgw": Rgw, "moto": Moto, "nanio": Nanio}

__all__ = [
    "Account", "Entry", "HAProxy", "KINDS", "Missing", "Moto", "Nanio", "Proxy", "REGION", "Rgw", "Server",
    "free_port", "shared",
]
