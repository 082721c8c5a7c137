// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// File calls that the C library's Swift module lacks. Raw system calls where glibc hides the
// declaration behind _GNU_SOURCE, which an importer of this module cannot set. 64-bit Linux only.
// <sys/uio.h> is not included: `struct iovec` must stay the C library module's own in Swift.

#pragma once

#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "offsets travel in one register");

/// preadv2 with RWF_NOWAIT: EAGAIN where it would wait for the disk.
static inline ssize_t clinux_pread_nowait(int fd, void *buffer, size_t count, off_t offset) {
    struct {
        void *base;
        size_t count;
    } piece = {buffer, count};
    return syscall(SYS_preadv2, fd, &piece, 1, offset, 0L, 0x8 /* RWF_NOWAIT */);
}

/// `pieces` points to `count` values of `struct iovec`.
static inline ssize_t clinux_pwritev(int fd, const void *pieces, int count, off_t offset) {
    return syscall(SYS_pwritev, fd, pieces, count, offset, 0L);
}

/// Starts write-back of a range and does not wait for it.
static inline int clinux_start_writeback(int fd, off_t offset, off_t count) {
    return (int)syscall(SYS_sync_file_range, fd, offset, count, 2 /* SYNC_FILE_RANGE_WRITE */);
}

static inline int clinux_fallocate(int fd, off_t count) {
    return (int)syscall(SYS_fallocate, fd, 0, 0L, count);
}

static inline ssize_t clinux_getrandom(void *buffer, size_t count) {
    return syscall(SYS_getrandom, buffer, count, 0);
}

/// Takes an exclusive lock of the open file description; -1 with EWOULDBLOCK if another holds it.
static inline int clinux_try_lock(int fd) {
    return flock(fd, LOCK_EX | LOCK_NB);
}

// openat is variadic in C, so Swift needs a fixed shape.
static inline int clinux_openat(int directory, const char *name, int flags, mode_t mode) {
    return openat(directory, name, flags | O_CLOEXEC, mode);
}

/// Lets this process open as many descriptors as it is allowed to ask for; the limit that holds.
static inline uint64_t clinux_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

/// Lets freed memory of blocks and buffers serve again instead of going back to the kernel, which
/// clears each page anew: a fifth of the time of a commit or a cold read. Up to 64 MiB at the end
/// of a heap are kept.
static inline void clinux_keep_freed_memory(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}
