// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// For a program under valgrind whose main thread waits by libdispatch. Valgrind writes to the mask
// that sigsuspend is given, and libdispatch's lies in read-only memory: valgrind itself dies. Here
// the mask is copied first.

#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

int sigsuspend(const sigset_t *mask) {
    sigset_t copy = *mask;
    return (int)syscall(SYS_rt_sigsuspend, &copy, 8L);
}
