# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# A real file system on a volume: mounted where this machine can (FUSE and loop devices), else made
# as an image and copied. Its snapshot is forked after the daemon was killed and the cache deleted,
# and every byte and e2fsck must agree.

import filecmp
import os
import random
import shutil

import harness
from harness import KIB, MIB, Daemon, Skip, check, equal, main, require, run, test
from mounts import block_device, mounted


def write_tree(directory, generator, files=120):
    """Files of every size, holes, links, and a few that are written over and removed."""
    for number in range(files):
        folder = f"{directory}/d{number % 7}/e{number % 3}"
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/f{number}"
        with open(path, "wb") as file:
            file.write(generator.randbytes(int(2 ** generator.uniform(0, 19))))
            if number % 5 == 0:
                file.seek(generator.randrange(MIB))
                file.write(generator.randbytes(3000))
        if number % 11 == 0:
            os.symlink(path, f"{folder}/l{number}")
        if number % 13 == 0:
            os.unlink(path)


def compare_trees(left, right):
    """Every name, and every byte of every file."""
    def names(root):
        return sorted(
            os.path.relpath(os.path.join(folder, name), root)
            for folder, folders, files in os.walk(root) for name in folders + files
            if "lost+found" not in os.path.join(folder, name))
    equal(names(left), names(right), "names")
    count = 0
    for name in names(left):
        one, other = f"{left}/{name}", f"{right}/{name}"
        if os.path.islink(one):
            equal(os.readlink(one), os.readlink(other), f"link {name}")
        elif os.path.isfile(one):
            check(filecmp.cmp(one, other, shallow=False), f"{name} differs")
            count += 1
    return count


@test("a mounted ext4, snapshotted while in use, comes back as a fork after the cache is lost")
def mounted_file_system():
    if os.getuid() != 0:
        raise Skip("only root mounts")
    require("mkfs.ext4", "e2fsck", "mount", "fstrim")
    daemon = Daemon().start()
    generator = random.Random(harness.SEED)
    daemon.create("disk", 200 * MIB)
    truth = f"{daemon.directory}/truth"
    with block_device(daemon, "disk") as device:
        run("mkfs.ext4", "-q", "-F", device)
        with mounted(device, f"{daemon.directory}/mnt") as directory:
            write_tree(directory, generator)
            run("sync", "-f", directory)
            shutil.copytree(directory, truth, symlinks=True,
                            ignore=lambda *_: ["lost+found"])
            sequence = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
            # After the snapshot, and not in it.
            write_tree(f"{directory}/later", generator, files=30)
            run("sync", "-f", directory)
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    daemon.cli("create", "fork", "--from", f"snapshot:disk@{sequence}")
    with block_device(daemon, "fork") as device:
        # As after a power cut: the journal of ext4 is replayed by the mount.
        with mounted(device, f"{daemon.directory}/mnt") as directory:
            count = compare_trees(truth, directory)
            write_tree(f"{directory}/new", generator, files=10)
        equal(run("e2fsck", "-fn", device, check_status=False).returncode, 0, "e2fsck of the fork")
        with mounted(device, f"{daemon.directory}/mnt") as directory:
            run("fstrim", directory)
            compare_trees(f"{truth}/d0", f"{directory}/d0")
        equal(run("e2fsck", "-fn", device, check_status=False).returncode, 0, "e2fsck after trim")
    return f"{count} files"


@test("an ext4 image of a tree, copied up, comes back as a fork after the cache is lost")
def image():
    require("mkfs.ext4", "e2fsck", "nbdcopy")
    daemon = Daemon().start()
    generator = random.Random(harness.SEED)
    tree, path = f"{daemon.directory}/tree", f"{daemon.directory}/image"
    os.makedirs(tree)
    write_tree(tree, generator)
    run("truncate", "-s", "128M", path)
    run("mkfs.ext4", "-q", "-F", "-d", tree, path)
    daemon.create("disk", 128 * MIB)
    run("nbdcopy", "--connections=4", path, daemon.uri("disk"))
    sequence = daemon.call("POST", "/api/exports/disk/snapshot")["sequence"]
    daemon.kill()
    daemon.lose_cache()
    daemon.start()
    daemon.cli("create", "fork", "--from", f"snapshot:disk@{sequence}")
    for name in ("disk", "fork"):
        run("nbdcopy", "--connections=4", daemon.uri(name), f"{daemon.directory}/back")
        run("cmp", path, f"{daemon.directory}/back")
        run("e2fsck", "-fn", f"{daemon.directory}/back")
    stored = sum(os.path.getsize(os.path.join(folder, name))
                 for folder, _, names in os.walk(daemon.store) for name in names)
    return f"the store holds {stored // KIB} KiB"


if __name__ == "__main__":
    main()
