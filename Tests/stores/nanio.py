# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# nanio, a real server that takes `If-None-Match: *` and overwrites all the same: the store that
# Martlet must refuse. The one thing to know: its buckets are folders, its objects files.

import re

from .base import Server, parse_request_line, venv_program

# ... INFO uvicorn.access: 127.0.0.1:40000 - "PUT /bucket/key HTTP/1.1" 200
LINE = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d+)')


class Nanio(Server):
    name = "nanio"

    @property
    def log_path(self):
        return f"{self.directory}/nanio.out"

    def _start(self):
        self.spawn(
            "nanio",
            [venv_program("nanio"), "serve", "--host", "127.0.0.1", "--port", str(self.port),
             "--data-dir", f"{self.directory}/data"],
            {"NANIO_ACCESS_KEY": self.account.key, "NANIO_SECRET_KEY": self.account.secret,
             "PYTHONUNBUFFERED": "1"})
        self.wait_for(self.answers, "no answer on its port")

    def parse(self, line):
        match = LINE.search(line)
        return parse_request_line(*match.groups()) if match else None
