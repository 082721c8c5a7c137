// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What image tools ask of a file beyond reading and writing: where its bytes lie on the disk, which
// of them are holes, and to share them with another file. Plain shapes: the kernel's structures
// with flexible arrays do not reach Swift.

#pragma once

#include <stdint.h>
#include <sys/types.h>

/// A run of a file's bytes and where they lie; `flags` are FIEMAP_EXTENT_*.
struct clinux_extent {
    uint64_t logical;
    uint64_t physical;
    uint64_t length;
    uint32_t flags;
};

enum { CLINUX_EXTENTS_MAX = 256 };

/// FIEMAP: at most `capacity` extents of the bytes from `offset` on, in order, or -1 with errno.
/// With `sync`, what the file has in memory is given its place first.
int clinux_extents(int fd, uint64_t offset, uint64_t length, int sync,
                   struct clinux_extent *extents, int capacity);

/// 1 if the address of the extent names its bytes as they are read, 0 if not: unknown, not yet
/// chosen, packed with others, compressed, encrypted or never written.
int clinux_extent_is_plain(const struct clinux_extent *extent);

/// 1 if equal addresses of plain extents of two such files on one file system mean equal bytes: on
/// XFS and btrfs. Not through an overlay, whose files may lie on two; and not on the realtime
/// device of XFS, which counts its addresses from 0 as the data device does.
int clinux_has_comparable_extents(int fd);

/// Where data, or a hole, begins at or after `offset`; -1 with ENXIO past the last.
off_t clinux_seek_data(int fd, off_t offset);
off_t clinux_seek_hole(int fd, off_t offset);

/// Makes `target` share all bytes of `source`.
int clinux_clone(int target, int source);

/// Copies inside the kernel; what the file system shares or copies on the server takes no transfer.
ssize_t clinux_copy_range(int source, off_t from, int target, off_t to, size_t count);

/// Frees a range: it reads as zeros, the size stays.
int clinux_punch(int fd, off_t offset, off_t count);

/// The first SIGINT, SIGTERM or SIGHUP no longer ends the process but is remembered; the next one
/// ends it.
void clinux_catch_first_interrupt(void);

/// 1 after such a signal.
int clinux_was_interrupted(void);
