// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// See nbdload.h. Nothing here runs while requests are measured but the two codecs and the
// histogram.

#define _GNU_SOURCE
#include "nbdload.h"

#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void fail(const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    fputs("nbdload: ", stderr);
    vfprintf(stderr, form, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void put16(uint8_t *at, uint16_t value) {
    value = htobe16(value);
    memcpy(at, &value, 2);
}
static void put32(uint8_t *at, uint32_t value) {
    value = htobe32(value);
    memcpy(at, &value, 4);
}
static void put64(uint8_t *at, uint64_t value) {
    value = htobe64(value);
    memcpy(at, &value, 8);
}
static uint16_t get16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, 2);
    return be16toh(value);
}
static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return be32toh(value);
}
static uint64_t get64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return be64toh(value);
}

int connect_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) fail("the socket path is too long: %s", path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("cannot connect to %s: %s", path, strerror(errno));
    return fd;
}

int connect_tcp(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) fail("cannot resolve %s: %s", host, gai_strerror(status));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        fail("cannot connect to %s:%s: %s", host, port, strerror(errno));
    freeaddrinfo(found);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void send_all(int fd, const void *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) fail("cannot send: %s", strerror(errno));
        bytes = (const uint8_t *)bytes + sent;
        count -= (size_t)sent;
    }
}

static void receive_all(int fd, void *bytes, size_t count) {
    while (count > 0) {
        ssize_t received = recv(fd, bytes, count, 0);
        if (received < 0 && errno == EINTR) continue;
        if (received < 0) fail("cannot receive: %s", strerror(errno));
        if (received == 0) fail("the server hung up in the handshake");
        bytes = (uint8_t *)bytes + received;
        count -= (size_t)received;
    }
}

static const uint64_t option_magic = 0x49484156454F5054ull; // IHAVEOPT
static const uint64_t option_reply_magic = 0x0003E889045565A9ull;
enum { NBD_OPT_GO = 7, NBD_REP_ACK = 1, NBD_REP_INFO = 3, NBD_INFO_EXPORT = 0 };

uint64_t nbd_negotiate(int fd, const char *export_name) {
    uint8_t greeting[18];
    receive_all(fd, greeting, sizeof greeting);
    if (memcmp(greeting, "NBDMAGIC", 8) != 0 || get64(greeting + 8) != option_magic)
        fail("this is no newstyle NBD server");
    uint32_t length = (uint32_t)strlen(export_name);
    uint8_t *option = malloc(4 + 16 + 4 + length + 2);
    if (!option) fail("no memory");
    put32(option, get16(greeting + 16) & 3); // fixed newstyle, no zeroes: as the server offers
    put64(option + 4, option_magic);
    put32(option + 12, NBD_OPT_GO);
    put32(option + 16, 4 + length + 2);
    put32(option + 20, length);
    memcpy(option + 24, export_name, length);
    put16(option + 24 + length, 0);
    send_all(fd, option, 4 + 16 + 4 + length + 2);
    free(option);

    uint64_t size = 0;
    while (true) {
        uint8_t header[20], data[4096];
        receive_all(fd, header, sizeof header);
        if (get64(header) != option_reply_magic) fail("the server answered no option reply");
        uint32_t type = get32(header + 12), count = get32(header + 16);
        if (count > sizeof data) fail("an option reply of %u bytes is too long", count);
        receive_all(fd, data, count);
        if (type == NBD_REP_ACK) break;
        if (type & 0x80000000u)
            fail("the server refused export '%s': error %u: %.*s", export_name, type & 0xFFFF,
                (int)count, data);
        if (type == NBD_REP_INFO && count >= 12 && get16(data) == NBD_INFO_EXPORT)
            size = get64(data + 2);
    }
    return size;
}

void nbd_disconnect(int fd) {
    struct nbd_request request;
    nbd_fill_request(&request, 0, NBD_CMD_DISC, 0, 0, 0);
    send(fd, &request, sizeof request, MSG_NOSIGNAL);
    close(fd);
}

void nbd_fill_request(struct nbd_request *request, uint16_t flags, uint16_t command,
    uint64_t cookie, uint64_t offset, uint32_t length) {
    put32(request->bytes, 0x25609513);
    put16(request->bytes + 4, flags);
    put16(request->bytes + 6, command);
    put64(request->bytes + 8, cookie);
    put64(request->bytes + 16, offset);
    put32(request->bytes + 24, length);
}

uint16_t nbd_request_command(const struct nbd_request *request) {
    return get16(request->bytes + 6);
}

uint64_t nbd_parse_reply(const uint8_t *header, uint32_t *error) {
    if (get32(header) != 0x67446698) fail("this is no simple reply: magic %08x", get32(header));
    *error = get32(header + 4);
    return get64(header + 8);
}

static uint32_t bucket(uint64_t nanoseconds) {
    if (nanoseconds < 32) return (uint32_t)nanoseconds;
    uint32_t exponent = 63 - (uint32_t)__builtin_clzll(nanoseconds);
    return (exponent - 4) * 32 + (uint32_t)(nanoseconds >> (exponent - 5)) - 32;
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds) {
    histogram->counts[bucket(nanoseconds)]++;
    histogram->total++;
    if (nanoseconds > histogram->most) histogram->most = nanoseconds;
}

double histogram_quantile(const struct histogram *histogram, double quantile) {
    double wanted = quantile * (double)histogram->total;
    double seen = 0;
    for (uint32_t index = 0; index < 64 * 32; index++) {
        seen += (double)histogram->counts[index];
        if (histogram->counts[index] == 0 || seen < wanted) continue;
        if (index < 32) return index;
        uint32_t exponent = index / 32 + 4;
        return (double)((uint64_t)(index % 32 + 33) << (exponent - 5));
    }
    return 0;
}

double process_cpu_seconds(int pid) {
    char path[64], line[2048];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file)) fail("cannot read %s", path);
    fclose(file);
    // The name is in parentheses and may hold anything; the fields follow the last one.
    char *fields = strrchr(line, ')');
    unsigned long user = 0, system = 0;
    const char *form = "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu";
    if (!fields || sscanf(fields + 2, form, &user, &system) != 2)
        fail("%s has an unknown form", path);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}
