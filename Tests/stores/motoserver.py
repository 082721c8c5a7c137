# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# moto's server with its PUTs one after another. The one thing to know: moto looks whether a key is
# free and then takes it, in as many threads as there are connections, so that two racing creators of
# a key can both win; S3 promises that one does.

import sys
import threading

# This folder has a moto.py of its own.
sys.path.pop(0)
from moto import server  # noqa: E402

_call = server.DomainDispatcherApplication.__call__
_puts = threading.Lock()


def _in_turn(application, environ, start_response):
    if environ["REQUEST_METHOD"] != "PUT":
        return _call(application, environ, start_response)
    with _puts:
        return _call(application, environ, start_response)


server.DomainDispatcherApplication.__call__ = _in_turn
server.main()
