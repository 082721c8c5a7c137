// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Socket, event and thread calls that the C library's Swift module lacks. Every call that can fail
// answers a negative errno instead of setting errno, retries EINTR, and never raises SIGPIPE.

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// What epoll says of one descriptor.
struct clinux_ready {
    uint64_t token;
    uint32_t events;
};

enum {
    CLINUX_READABLE = 0x1,
    CLINUX_WRITABLE = 0x4,
    CLINUX_ERROR = 0x8,
    CLINUX_HANGUP = 0x10,
    CLINUX_PEER_CLOSED = 0x2000,
};

int clinux_epoll_create(void);
int clinux_epoll_add(int poller, int descriptor, uint32_t events, uint64_t token);
int clinux_epoll_modify(int poller, int descriptor, uint32_t events, uint64_t token);
int clinux_epoll_remove(int poller, int descriptor);
// Waits for at most timeout_ms (0: not at all) and fills at most `capacity` (up to 64) entries.
int clinux_epoll_wait(int poller, struct clinux_ready *ready, int capacity, int timeout_ms);

int clinux_eventfd(void);
void clinux_eventfd_signal(int descriptor);
void clinux_eventfd_clear(int descriptor);

// A listening socket bound to a path that does not exist yet, with the given permission bits.
int clinux_listen_unix(const char *path, uint32_t mode);
// 1 if somebody accepts connections at the path, 0 if it is a socket that nobody serves.
int clinux_unix_is_served(const char *path);
// 1 if the path is a socket, 0 if it is something else, negative errno otherwise.
int clinux_is_socket(const char *path);
// A listening TCP socket. Port 0 takes a free one; bound_port says which.
int clinux_listen_tcp(const char *host, uint16_t port, uint16_t *bound_port);
// A non-blocking connection, or -EAGAIN.
int clinux_accept(int listener);
// Connects, blocking. For tools and tests.
int clinux_connect_unix(const char *path);
int clinux_connect_tcp(const char *host, uint16_t port);
int clinux_socket_pair(int descriptors[2]);
int clinux_set_nonblocking(int descriptor, int enabled);
// No delay and keep-alive where it is TCP; larger buffers where it is a unix socket.
void clinux_tune_connection(int descriptor);

// One non-blocking call each.
ssize_t clinux_receive(int descriptor, void *buffer, size_t count);
ssize_t clinux_receive_two(
    int descriptor, void *first, size_t first_count, void *second, size_t second_count);
ssize_t clinux_send(int descriptor, const void *buffer, size_t count);
// `pieces` points to `count` values laid out like struct iovec, at most UIO_MAXIOV (1,024).
ssize_t clinux_send_pieces(int descriptor, const void *pieces, size_t count);

// Names the calling thread (cut to 15 characters).
void clinux_name_thread(const char *name);

// The calling thread alone runs at this niceness from now on; a refusal changes nothing.
void clinux_nice_thread(int niceness);
