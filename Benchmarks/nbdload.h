// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The parts of nbdload that no request loop needs to see: connecting, the fixed newstyle handshake,
// the wire form of requests and replies, a latency histogram, a process's CPU time. All integers on
// the wire are big-endian.

#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { NBD_CMD_READ = 0, NBD_CMD_WRITE = 1, NBD_CMD_DISC = 2, NBD_CMD_FLUSH = 3 };
enum { NBD_CMD_FLAG_FUA = 1 };

struct nbd_request {
    uint8_t bytes[28];
};

/// Prints a message in the form of printf and ends the program with status 1.
_Noreturn void fail(const char *form, ...) __attribute__((format(printf, 1, 2)));

int connect_unix(const char *path);
int connect_tcp(const char *host, const char *port);

/// Negotiates the export with simple replies and returns its size.
uint64_t nbd_negotiate(int fd, const char *export_name);
void nbd_disconnect(int fd);

void nbd_fill_request(struct nbd_request *request, uint16_t flags, uint16_t command,
    uint64_t cookie, uint64_t offset, uint32_t length);
uint16_t nbd_request_command(const struct nbd_request *request);

/// The cookie of a simple reply; ends the program if the 16 bytes are none.
uint64_t nbd_parse_reply(const uint8_t *header, uint32_t *error);

/// Nanoseconds in buckets of at most 1/32 relative width.
struct histogram {
    uint64_t counts[64 * 32];
    uint64_t total, most;
};
void histogram_add(struct histogram *histogram, uint64_t nanoseconds);
/// The upper end of the bucket that holds the quantile, in nanoseconds.
double histogram_quantile(const struct histogram *histogram, double quantile);

/// User and system time of a process with all its threads.
double process_cpu_seconds(int pid);
