# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Exports as block devices and mounted file systems, by nbdfuse and loop devices; what this machine
# does not let us do skips the test.

import contextlib
import os
import subprocess

import harness
from harness import Skip, check, require, run, wait_until


@contextlib.contextmanager
def block_device(daemon, name, read_only=False):
    """An export as a loop device, by nbdfuse."""
    require("nbdfuse", "losetup", "umount")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Skip("no /dev/fuse that may be opened here")
    path = f"{daemon.directory}/{name}.nbdfuse"
    open(path, "w").close()
    options = ["--readonly"] if read_only else []
    fuse = subprocess.Popen(["nbdfuse", *options, path, daemon.uri(name)],
                            stderr=subprocess.PIPE, text=True, preexec_fn=harness.die_with_parent)
    device = None
    try:
        def is_mounted():
            check(fuse.poll() is None, lambda: f"nbdfuse: {fuse.stderr.read()}")
            return os.path.getsize(path) > 0
        wait_until(is_mounted, "nbdfuse mounts")
        attached = run("losetup", "--find", "--show", *(["-r"] if read_only else []), path,
                       check_status=False)
        if attached.returncode != 0:
            raise Skip(f"no loop device: {attached.stderr.strip()}")
        device = attached.stdout.strip()
        yield device
    finally:
        if device:
            run("losetup", "--detach", device, check_status=False)
            # It goes when its last user has; only then may the file below it.
            wait_until(lambda: not run("losetup", device, check_status=False).stdout, "detach")
        run("umount", path, check_status=False)
        try:
            fuse.wait(20)
        except subprocess.TimeoutExpired:
            fuse.kill()


@contextlib.contextmanager
def mounted(device, directory, *options):
    os.makedirs(directory, exist_ok=True)
    done = run("mount", *options, device, directory, check_status=False)
    if done.returncode != 0:
        raise Skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        run("umount", directory)
