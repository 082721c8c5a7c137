// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The calls of clinux_files.h. A file of its own: the kernel's headers that it needs clash with the
// C library's where both are imported as modules.

#define _GNU_SOURCE 1
#include "clinux_files.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

int clinux_extents(int fd, uint64_t offset, uint64_t length, int sync,
                   struct clinux_extent *extents, int capacity) {
    union {
        struct fiemap map;
        char room[sizeof(struct fiemap) + CLINUX_EXTENTS_MAX * sizeof(struct fiemap_extent)];
    } request;
    if (capacity > CLINUX_EXTENTS_MAX) capacity = CLINUX_EXTENTS_MAX;
    memset(&request.map, 0, sizeof request.map);
    request.map.fm_start = offset;
    request.map.fm_length = length;
    request.map.fm_flags = sync ? FIEMAP_FLAG_SYNC : 0;
    request.map.fm_extent_count = (uint32_t)capacity;
    if (ioctl(fd, FS_IOC_FIEMAP, &request.map) != 0) return -1;
    int count = (int)request.map.fm_mapped_extents;
    for (int i = 0; i < count; i++) {
        const struct fiemap_extent *found = &request.map.fm_extents[i];
        extents[i].logical = found->fe_logical;
        extents[i].physical = found->fe_physical;
        extents[i].length = found->fe_length;
        extents[i].flags = found->fe_flags;
    }
    return count;
}

int clinux_extent_is_plain(const struct clinux_extent *extent) {
    // Whatever flag a later kernel adds makes an extent unfit until it is known here.
    return (extent->flags & ~(uint32_t)(FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED |
                                        FIEMAP_EXTENT_SHARED)) == 0;
}

int clinux_has_comparable_extents(int fd) {
    struct statfs status;
    if (fstatfs(fd, &status) != 0) return 0;
    if (status.f_type == BTRFS_SUPER_MAGIC) return 1;
    if (status.f_type != XFS_SUPER_MAGIC) return 0;
    struct fsxattr attributes;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return 0;
    return (attributes.fsx_xflags & FS_XFLAG_REALTIME) == 0;
}

off_t clinux_seek_data(int fd, off_t offset) { return lseek(fd, offset, SEEK_DATA); }

off_t clinux_seek_hole(int fd, off_t offset) { return lseek(fd, offset, SEEK_HOLE); }

int clinux_clone(int target, int source) { return ioctl(target, FICLONE, source); }

ssize_t clinux_copy_range(int source, off_t from, int target, off_t to, size_t count) {
    return copy_file_range(source, &from, target, &to, count, 0);
}

int clinux_punch(int fd, off_t offset, off_t count) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count);
}

static volatile sig_atomic_t was_interrupted;

static void note_interrupt(int signal_number) {
    (void)signal_number;
    was_interrupted = 1;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
}

void clinux_catch_first_interrupt(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note_interrupt;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

int clinux_was_interrupted(void) { return was_interrupted != 0; }
