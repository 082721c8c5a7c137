# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Runs docs/operations as written: the blocks of each page, after the two of README.md that every
# page asks for, by one shell in an empty directory, on the embedded default. The shell has a
# network and mounts of its own, so that default ports are free and nothing stays mounted.

import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import harness
from harness import MARTLET, ROOT, Skip, check, main, run, test

PAGES = f"{ROOT}/docs/operations"
NEW_NAMESPACES = 0x00020000 | 0x40000000  # mounts, network


def blocks(page):
    """The fenced bash blocks of a page, each with the line it starts at."""
    with open(f"{PAGES}/{page}.md") as file:
        text = file.read()
    return [(text[:match.start()].count("\n") + 2, match.group(1))
            for match in re.finditer(r"^```bash\n(.*?)^```$", text, re.M | re.S)]


def script_of(page):
    """One script; before each block it says which comes."""
    lines = ["set -euo pipefail"]
    # A test may say what a person would see: the block that was running when it failed.
    pages = [("README", block) for block in blocks("README")]
    if page != "README":
        pages += [(page, block) for block in blocks(page)]
    for name, (line, block) in pages:
        lines += [f"echo '--- docs/operations/{name}.md:{line}'", block]
    return "\n".join(lines) + "\n"


def own_world():
    """In the child before exec: own mounts and own network, with the loopback address."""
    os.setpgid(0, 0)
    harness.die_with_parent()
    if harness.libc.unshare(NEW_NAMESPACES) != 0:
        os._exit(126)
    recursive, private = 16384, 1 << 18
    harness.libc.mount(b"none", b"/", None, recursive | private, None)
    with socket.socket() as any_socket:
        up_and_running = struct.pack("16sH", b"lo", 0x1 | 0x40)
        fcntl.ioctl(any_socket, 0x8914, up_and_running)


def require_world(needs_mounts):
    if not harness.can_mount():
        raise Skip("no right to make a network and mounts of its own")
    if needs_mounts:
        harness.require("nbdfuse", "mkfs.ext4", "losetup")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise Skip("no /dev/fuse that may be opened here")
        found = run("losetup", "--find", check_status=False)
        if found.returncode != 0:
            raise Skip(f"no loop device: {found.stderr.strip()}")


def walk(page):
    script = script_of(page)
    require_world(needs_mounts=re.search(r"^\s*attach ", script, re.M) is not None)
    for program in ("curl", "jq", "nbdcopy", "nbdinfo", "qemu-img", "qemu-io"):
        if re.search(rf"\b{program} ", script):
            harness.require(program)
    directory = os.path.join(os.getcwd(), page)
    os.makedirs(f"{directory}/bin")
    os.symlink(MARTLET, f"{directory}/bin/martlet")
    os.makedirs(f"{directory}/work")
    with open(f"{directory}/script", "w") as file:
        file.write(script)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MARTLET")}
    environment["PATH"] = f"{directory}/bin:{environment['PATH']}:/usr/sbin:/sbin"
    environment["SWIFT_BACKTRACE"] = "enable=no"
    with open(f"{directory}/output", "w") as output:
        shell = subprocess.Popen(
            ["bash", f"{directory}/script"], cwd=f"{directory}/work", env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            preexec_fn=own_world)
        try:
            status = shell.wait(300)
        except subprocess.TimeoutExpired:
            status = "nothing for 300 s"
        finally:
            end_group(shell.pid)
    with open(f"{directory}/output", errors="replace") as output:
        said = output.read()
    check(status == 0, lambda: (
        f"the shell ended with {status}:\n{said[-3000:]}\n{logs_of(directory)}"))
    shutil.rmtree(directory)
    return f"{len(blocks(page))} blocks"


def end_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    # The daemon must have let go of its files before they are removed.
    harness.wait_until(lambda: not group_is_alive(group), "the end of the shell's processes")


def group_is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def logs_of(directory):
    text = ""
    for name in ("martlet.log", "second.log"):
        path = f"{directory}/work/{name}"
        if os.path.exists(path):
            with open(path, errors="replace") as file:
                text += f"--- {name}\n" + "".join(file.readlines()[-20:])
    return text


@test("start and attach are what docs/operations/README.md says")
def readme():
    return walk("README")


@test("code deploy: snapshot, fork, sync, check, swap, and back")
def code_deploy():
    return walk("code-deploy")


@test("setup cache: the second job with the same inputs skips the set-up")
def setup_cache():
    return walk("setup-cache")


@test("base images: forks take no space")
def base_images():
    return walk("base-images")


@test("rollback: by fork, by delete and create, in place")
def rollback():
    return walk("rollback")


@test("getting space back: condemned by one run, deleted by a later one")
def collecting():
    return walk("collecting")


@test("moving to another host, planned and after a loss")
def moving():
    return walk("moving")


@test("verify: what a daemon made is whole, in full and by a sample")
def verify():
    return walk("verify")


@test("export: a disk as raw and qcow2 files, from the store alone")
def export():
    return walk("export")


@test("block diffs of files: there and back, through a pipe, with digests")
def diffs():
    return walk("diffs")


@test("copying: snapshots and tags at another site, again, and refused once it was written there")
def copying():
    return walk("copying")


@test("every page with commands is walked, and every page is in the list of README.md")
def all_pages():
    with open(f"{PAGES}/README.md") as file:
        listed = file.read()
    with open(__file__) as file:
        walked = set(re.findall(r'walk\("([^"]+)"\)', file.read()))
    for name in sorted(os.listdir(PAGES)):
        page = name.removesuffix(".md")
        if name != "README.md":
            check(f"({name})" in listed, f"{name} is not in the list")
        if blocks(page):
            check(page in walked, f"nobody walks {name}")
    for page in walked:
        check(blocks(page), f"{page} has no commands")


if __name__ == "__main__":
    main()
