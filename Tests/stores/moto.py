# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# moto with authentication on: the second store, which follows AWS where RGW does not. The one thing
# to know: its first three requests are taken from anyone, and those make the account; from then on
# every request must be signed, and the account's policy allow it.

import json
import os
import re

from .base import Account, Server, boto3, parse_request_line, venv_program, REGION

# 127.0.0.1 - - [21/Nov/2026 12:00:00] "PUT /bucket/key HTTP/1.1" 200 -
LINE = re.compile(r'"(?:\x1b\[[\d;]*m)*([A-Z]+) (\S+) HTTP/[\d.]+(?:\x1b\[[\d;]*m)*" (\d+)')


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": resources}
        for actions, resources in statements]})


class Moto(Server):
    """moto; keys are made by it, not by us."""

    name = "moto"

    @property
    def log_path(self):
        return f"{self.directory}/moto.out"

    def _start(self):
        self.spawn(
            "moto", [venv_program("python3"), f"{os.path.dirname(os.path.abspath(__file__))}/motoserver.py",
                     "-H", "127.0.0.1", "-p", str(self.port)],
            {"INITIAL_NO_AUTH_ACTION_COUNT": "3", "PYTHONUNBUFFERED": "1"})
        self.wait_for(self._listens, "no answer on its port")
        self.account = Account("anyone", "anything")
        self.account = self.make_user("martlet", policy(("*", "*")))
        self._clients.clear()

    def _listens(self):
        # A request would be one of the three.
        import socket
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
            return True
        except OSError:
            return False

    def make_user(self, name, allowed):
        """A user with keys who may do what the policy says."""
        iam = boto3().client(
            "iam", endpoint_url=self.endpoint, region_name=REGION,
            aws_access_key_id=self.account.key, aws_secret_access_key=self.account.secret)
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=allowed)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return Account(made["AccessKeyId"], made["SecretAccessKey"])

    def parse(self, line):
        match = LINE.search(line)
        return parse_request_line(*match.groups()) if match else None
