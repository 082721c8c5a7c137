# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Ceph's RADOS gateway as the strict store: one monitor, one OSD that keeps its objects in memory,
# one gateway. The one thing to know: cephx stays on, with one keyring for all, since a gateway with
# authentication off waits for ever.

import base64
import json
import os
import re
import signal
import subprocess
import uuid

from .base import Account, Server, free_port, parse_request_line, program

STS_KEY = "martlet-sts-key1"

CONFIGURATION = """\
[global]
fsid = {fsid}
mon_host = {monitors}
keyring = {directory}/keyring
run_dir = {directory}
admin_socket = {directory}/$name.asok
pid_file = {directory}/$name.pid
log_file = {directory}/$name.log
mon_cluster_log_file = {directory}/cluster.log
crash_dir = {directory}
setuser_match_path = {directory}/no-such-file
auth_allow_insecure_global_id_reclaim = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 2
osd_pool_default_pgp_num = 2
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
ms_bind_ipv6 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
[mon]
mon_data = {directory}/mon
[osd]
osd_data = {directory}/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
osd_class_load_list = *
osd_class_default_list = *
[client.rgw]
log_file = {log}
debug_rgw = 1/1
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_thread_pool_size = 64
rgw_run_sync_thread = false
rgw_s3_auth_use_sts = true
rgw_s3_auth_order = local, sts
rgw_sts_key = {sts_key}
rgw_enable_usage_log = false
"""

# beast: 0x7f.. : 127.0.0.1 - user [date] "PUT /bucket/key HTTP/1.1" 200 0 - "agent" range latency=..
LINE = re.compile(r'beast: 0x\w+: .*?"([A-Z]+) (\S+) HTTP/[\d.]+" (\d+)')


class Rgw(Server):
    """RGW with an owner and, by `user`, others; about 12 s until it answers."""

    name = "rgw"

    def __init__(self, directory):
        super().__init__(directory)
        self.monitors = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        self.configuration = f"{self.directory}/ceph.conf"

    def _start(self):
        self.fsid = str(uuid.uuid4())
        with open(self.configuration, "w") as file:
            file.write(CONFIGURATION.format(
                fsid=self.fsid, monitors=self.monitors, directory=self.directory, port=self.port,
                log=self.log_path, sts_key=STS_KEY))
        self._make_keyring()
        self._start_monitor()
        self._start_osd()
        self._start_gateway()
        self.make_user("martlet", self.account)
        self.wait_for(self.answers, "no answer on its port", 120)

    def _run(self, name, *arguments, seconds=120):
        done = subprocess.run(
            [program(name), "-c", self.configuration, *arguments], cwd=self.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(arguments)}: {done.stdout[-3000:]}")
        return done.stdout

    def _make_keyring(self):
        keyring = f"{self.directory}/keyring"
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        for entity, capabilities in (
                ("mon.", ["--cap", "mon", "allow *"]), ("client.admin", everything),
                ("client.rgw", everything),
                ("osd.0", ["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"])):
            create = [] if os.path.exists(keyring) else ["--create-keyring"]
            self._run("ceph-authtool", *create, keyring, "--gen-key", "-n", entity, *capabilities)

    def _start_monitor(self):
        map_path = f"{self.directory}/monmap"
        self._run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", self.monitors,
                  map_path)
        os.makedirs(f"{self.directory}/mon")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", map_path,
                  "--keyring", f"{self.directory}/keyring")
        self.spawn("mon.a", [program("ceph-mon"), "-c", self.configuration, "-f", "-i", "a"])

    def _start_osd(self):
        identity = str(uuid.uuid4())
        os.makedirs(f"{self.directory}/osd")
        self._run("ceph", "osd", "new", identity)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity)
        self.spawn("osd.0", [program("ceph-osd"), "-c", self.configuration, "-f", "-i", "0"])

    def _start_gateway(self):
        self.spawn("gateway", self._gateway_command())

    def _gateway_command(self):
        return [program("radosgw"), "-c", self.configuration, "-f", "-n", "client.rgw"]

    def start_another(self, environment):
        """Another gateway to the same buckets, with these variables; its endpoint. Not logged."""
        port = free_port()
        self.spawn(f"gateway.{port}", [
            *self._gateway_command(), f"--rgw_frontends=beast endpoint=127.0.0.1:{port}",
            f"--log_file={self.directory}/gateway.{port}.log"], environment)
        endpoint = f"http://127.0.0.1:{port}"
        self.wait_for(lambda: self.answers(endpoint), "no answer of another gateway", 60)
        return endpoint

    # MARK: Accounts

    def make_user(self, name, account=None):
        """A user with keys and no rights on others' buckets."""
        account = account or Account(f"KEY{name.upper()}0123456789", f"secret-of-{name}-0123456789")
        self._run("radosgw-admin", "user", "create", "--uid", name, "--display-name", name,
                  "--access-key", account.key, "--secret-key", account.secret,
                  "--caps", "user-policy=*")
        return account

    def make_session(self, is_expired=False):
        """Temporary credentials of the owner, valid for an hour, or since long ago not any more.

        RGW gives none for less than 15 minutes, so the expired ones are a token of its own with an
        earlier year in it, sealed again with its key.
        """
        self.client(service="iam").put_user_policy(
            UserName="martlet", PolicyName="sessions", PolicyDocument=json.dumps({
                "Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Action": ["sts:GetSessionToken"], "Resource": ["*"]}]}))
        made = self.client(service="sts").get_session_token(DurationSeconds=3600)["Credentials"]
        token = base64.b64decode(made["SessionToken"])
        if is_expired:
            plain = self._cipher("-d", token)
            end = made["Expiration"].strftime("%Y-").encode()
            at = plain.index(end)
            token = self._cipher("-e", plain[:at] + b"2020" + plain[at + 4:])
        return Account(
            made["AccessKeyId"], made["SecretAccessKey"], base64.b64encode(token).decode())

    @staticmethod
    def _cipher(direction, data):
        return subprocess.run(
            [program("openssl"), "enc", direction, "-aes-128-cbc", "-K", STS_KEY.encode().hex(),
             "-iv", b"cephsageyudagreg".hex()],
            input=data, stdout=subprocess.PIPE, check=True).stdout

    def allow(self, bucket, *grants):
        """Replaces the bucket's policy: (user name or "*", actions) each; none takes all back."""
        if not grants:
            self.client().delete_bucket_policy(Bucket=bucket)
            return
        statements = [{
            "Effect": "Allow", "Action": [f"s3:{action}" for action in actions],
            "Principal": "*" if name == "*" else {"AWS": [f"arn:aws:iam:::user/{name}"]},
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        } for name, actions in grants]
        self.client().put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def freeze(self, is_frozen):
        """Stops the gateway in its tracks, or lets it go on: connections stay, answers do not."""
        gateway = next(process for process in self.processes if process.label == "gateway")
        gateway.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)

    # MARK: The log

    def parse(self, line):
        match = LINE.search(line)
        return parse_request_line(*match.groups()) if match else None
