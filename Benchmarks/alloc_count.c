// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Counts a process's allocations by thread, to be loaded with LD_PRELOAD. The counters lie in a
// file that is mapped shared: whoever reads it at two moments knows what was allocated between,
// without a signal and without stopping anything. alloc_count.py reads it.
//
//   ALLOC_COUNT_FILE=PATH   the counters go to PATH.<pid>
//   ALLOC_COUNT_PLANT=1     every recv allocates once: a check that must then fail
//
// File, little-endian u64: magic, used slots, traces left, reserve; then per slot: thread id,
// allocations, frees, bytes. Slots are taken at a thread's first allocation and never given back.

#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum { slots_max = 1020 };

struct slot {
    _Atomic uint64_t thread, allocations, frees, bytes;
};
struct counters {
    _Atomic uint64_t magic, used, traces, reserve;
    struct slot slots[slots_max];
};

static struct counters fallback;
static struct counters *_Atomic counters = &fallback;
static _Atomic bool plants;
static __thread struct slot *mine __attribute__((tls_model("initial-exec")));
static __thread struct counters *of __attribute__((tls_model("initial-exec")));
static __thread bool tracing __attribute__((tls_model("initial-exec")));

static struct slot *slot(struct counters *all) {
    if (mine && of == all) return mine;
    uint64_t index = atomic_fetch_add_explicit(&all->used, 1, memory_order_relaxed);
    // Threads beyond the last slot share it.
    if (index >= slots_max) index = slots_max - 1;
    mine = &all->slots[index];
    of = all;
    atomic_store_explicit(&mine->thread, (uint64_t)syscall(SYS_gettid), memory_order_relaxed);
    return mine;
}

static void trace(struct counters *all) {
    if (tracing || atomic_load_explicit(&all->traces, memory_order_relaxed) == 0) return;
    tracing = true;
    if (atomic_fetch_sub_explicit(&all->traces, 1, memory_order_relaxed) > 0) {
        void *frames[32];
        int count = backtrace(frames, 32);
        dprintf(2, "alloc-count: thread %ld\n", syscall(SYS_gettid));
        backtrace_symbols_fd(frames, count, 2);
    }
    tracing = false;
}

static void count(size_t bytes) {
    struct counters *all = atomic_load_explicit(&counters, memory_order_acquire);
    struct slot *own = slot(all);
    atomic_fetch_add_explicit(&own->allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&own->bytes, bytes, memory_order_relaxed);
    trace(all);
}

void *malloc(size_t bytes) {
    count(bytes);
    return __libc_malloc(bytes);
}
void *calloc(size_t number, size_t bytes) {
    count(number * bytes);
    return __libc_calloc(number, bytes);
}
void *realloc(void *old, size_t bytes) {
    count(bytes);
    return __libc_realloc(old, bytes);
}
void *memalign(size_t alignment, size_t bytes) {
    count(bytes);
    return __libc_memalign(alignment, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void **result, size_t alignment, size_t bytes) {
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
    void *memory = memalign(alignment, bytes);
    if (!memory) return ENOMEM;
    *result = memory;
    return 0;
}
void free(void *memory) {
    if (!memory) return;
    struct counters *all = atomic_load_explicit(&counters, memory_order_acquire);
    atomic_fetch_add_explicit(&slot(all)->frees, 1, memory_order_relaxed);
    __libc_free(memory);
}

ssize_t recv(int fd, void *buffer, size_t bytes, int flags) {
    if (atomic_load_explicit(&plants, memory_order_relaxed)) {
        void *volatile planted = malloc(48);
        free(planted);
    }
    return syscall(SYS_recvfrom, fd, buffer, bytes, flags, NULL, NULL);
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("ALLOC_COUNT_FILE");
    if (!path) return;
    char name[4096];
    snprintf(name, sizeof name, "%s.%d", path, (int)getpid());
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, sizeof(struct counters)) != 0) {
        dprintf(2, "alloc-count: cannot create %s: %s\n", name, strerror(errno));
        _exit(1);
    }
    struct counters *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED) {
        dprintf(2, "alloc-count: cannot map %s: %s\n", name, strerror(errno));
        _exit(1);
    }
    shared->magic = 0x31544E554F434C41ull; // ALCOUNT1
    // The first call of backtrace allocates and loads a library: not later, under somebody's lock.
    void *frame[1];
    backtrace(frame, 1);
    atomic_store_explicit(&counters, shared, memory_order_release);
    const char *plant = getenv("ALLOC_COUNT_PLANT");
    atomic_store_explicit(&plants, plant && plant[0] == '1', memory_order_relaxed);
}
