// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A lean NBD load generator: one thread, many connections, a fixed number of requests in flight on
// each. It speaks simple replies only and throws payloads away, so that the server is what is
// measured. One connection blocks in recv; several share an epoll loop.

#define _GNU_SOURCE
#include "nbdload.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { slots_max = 1024, connections_max = 1024, exports_max = 256, iov_max = 512 };
enum { pattern_bytes = 4 << 20, receive_bytes = 1 << 20, epoll_batch = 256 };

struct slot {
    struct nbd_request request;
    uint64_t began;
    uint32_t payload; // bytes that follow the reply of a read
};

struct connection {
    int fd;
    uint64_t size, cursor;
    uint32_t free_count, in_flight, since_flush;
    uint16_t free_slots[slots_max];
    struct slot *slots;
    // What is still to be sent: a ring would do, but it is always sent from the front.
    struct iovec *out;
    uint32_t out_first, out_count;
    // What arrived of a reply's header, and how much of its payload is still to come.
    uint8_t header[16];
    uint32_t header_count, discard;
    uint16_t current;
    bool wants_write;
};

static struct options {
    const char *unix_path, *host, *port;
    const char *exports[exports_max];
    uint32_t export_count, connections, depth, block, write_percent, flush_every;
    bool sequential, fua, json;
    double seconds, warmup;
    uint64_t requests, span, seed;
    int pid;
} options = {.port = "10809", .connections = 1, .depth = 1, .block = 4096, .seconds = 3, .seed = 1};

static uint8_t *pattern, *receive_buffer;
static struct histogram latency, flush_latency;
static uint64_t issued, completed, flushes, errors, random_state;
static bool stopping;

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t next_random(void) { // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Dull;
}

static uint64_t next_offset(struct connection *connection) {
    uint64_t span = connection->size;
    if (options.span && options.span < span) span = options.span;
    uint64_t blocks = span / options.block;
    uint64_t random = (uint64_t)(((__uint128_t)next_random() * blocks) >> 64);
    return (options.sequential ? connection->cursor++ % blocks : random) * options.block;
}

static void push(struct connection *connection, const void *bytes, size_t count) {
    struct iovec *piece = &connection->out[connection->out_first + connection->out_count++];
    piece->iov_base = (void *)bytes;
    piece->iov_len = count;
}

static void submit(struct connection *connection, uint64_t time) {
    uint16_t index = connection->free_slots[--connection->free_count];
    struct slot *slot = &connection->slots[index];
    bool is_write = options.write_percent && next_random() % 100 < options.write_percent;
    uint16_t command = is_write ? NBD_CMD_WRITE : NBD_CMD_READ;
    if (options.flush_every && connection->since_flush >= options.flush_every) {
        command = NBD_CMD_FLUSH;
        connection->since_flush = 0;
    }
    uint32_t length = command == NBD_CMD_FLUSH ? 0 : options.block;
    uint64_t offset = length ? next_offset(connection) : 0;
    uint16_t flags = command == NBD_CMD_WRITE && options.fua ? NBD_CMD_FLAG_FUA : 0;
    nbd_fill_request(&slot->request, flags, command, index, offset, length);
    slot->began = time;
    slot->payload = command == NBD_CMD_READ ? length : 0;
    push(connection, &slot->request, sizeof slot->request);
    if (command == NBD_CMD_WRITE) {
        push(connection, pattern + next_random() % (pattern_bytes / 64) * 64, length);
        connection->since_flush++;
    }
    connection->in_flight++;
    if (command != NBD_CMD_FLUSH) issued++;
}

static void fill(struct connection *connection) {
    // Room for two pieces per request was made; the front is reclaimed when all is sent.
    if (connection->out_count == 0) connection->out_first = 0;
    if (connection->free_count == 0) return;
    uint64_t time = now_ns();
    while (!stopping && connection->free_count > 0) {
        if (options.requests && issued >= options.requests) break;
        if (connection->out_first + connection->out_count + 2 > 4 * options.depth + 2) break;
        submit(connection, time);
    }
}

// Sends what the socket takes without waiting.
static void send_pending(struct connection *connection) {
    while (connection->out_count > 0) {
        struct iovec *pieces = connection->out + connection->out_first;
        struct msghdr message = {.msg_iov = pieces,
            .msg_iovlen = connection->out_count < iov_max ? connection->out_count : iov_max};
        ssize_t sent = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (sent < 0) fail("cannot send: %s", strerror(errno));
        while (sent > 0) {
            size_t take = (size_t)sent < pieces->iov_len ? (size_t)sent : pieces->iov_len;
            pieces->iov_base = (uint8_t *)pieces->iov_base + take;
            pieces->iov_len -= take;
            sent -= (ssize_t)take;
            if (pieces->iov_len > 0) break;
            pieces++;
            connection->out_first++;
            connection->out_count--;
        }
    }
}

// The whole reply is there.
static void finish(struct connection *connection, uint64_t time) {
    struct slot *slot = &connection->slots[connection->current];
    bool is_flush = nbd_request_command(&slot->request) == NBD_CMD_FLUSH;
    histogram_add(is_flush ? &flush_latency : &latency, time - slot->began);
    if (is_flush) flushes++; else completed++;
    connection->free_slots[connection->free_count++] = connection->current;
    connection->in_flight--;
}

static void begin(struct connection *connection, const uint8_t *header, uint64_t time) {
    uint32_t error;
    uint64_t cookie = nbd_parse_reply(header, &error);
    if (cookie >= options.depth) fail("a reply's cookie is %llu", (unsigned long long)cookie);
    connection->current = (uint16_t)cookie;
    if (error) errors++;
    connection->discard = error ? 0 : connection->slots[cookie].payload;
    if (connection->discard == 0) finish(connection, time);
}

static void parse(struct connection *connection, const uint8_t *bytes, size_t count) {
    uint64_t time = now_ns();
    while (count > 0) {
        if (connection->discard > 0) {
            size_t take = count < connection->discard ? count : connection->discard;
            connection->discard -= (uint32_t)take;
            if (connection->discard == 0) finish(connection, time);
            bytes += take;
            count -= take;
            continue;
        }
        if (connection->header_count == 0 && count >= 16) {
            begin(connection, bytes, time);
            bytes += 16;
            count -= 16;
            continue;
        }
        connection->header[connection->header_count++] = *bytes++;
        count--;
        if (connection->header_count == 16) {
            connection->header_count = 0;
            begin(connection, connection->header, time);
        }
    }
}

// Receives once; false if nothing was there.
static bool receive(struct connection *connection, int flags) {
    ssize_t count = recv(connection->fd, receive_buffer, receive_bytes, flags);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count < 0) fail("cannot receive: %s", strerror(errno));
    if (count == 0) fail("the server hung up");
    parse(connection, receive_buffer, (size_t)count);
    return true;
}

static bool finished(uint64_t end) {
    if (options.requests) stopping = stopping || issued >= options.requests;
    else stopping = stopping || now_ns() >= end;
    return stopping;
}

static void run_one(struct connection *connection, uint64_t end) {
    while (!finished(end) || connection->in_flight > 0) {
        fill(connection);
        send_pending(connection);
        if (connection->out_count > 0) {
            struct pollfd wait = {.fd = connection->fd, .events = POLLIN | POLLOUT};
            poll(&wait, 1, -1);
            if (wait.revents & POLLIN) receive(connection, MSG_DONTWAIT);
        } else if (connection->in_flight > 0) {
            receive(connection, 0);
        }
    }
}

static void watch(int epoll, struct connection *connection, int operation) {
    struct epoll_event event = {.data.ptr = connection,
        .events = EPOLLIN | (connection->wants_write ? (uint32_t)EPOLLOUT : 0)};
    if (epoll_ctl(epoll, operation, connection->fd, &event) != 0)
        fail("epoll: %s", strerror(errno));
}

static void serve(int epoll, struct connection *connection) {
    fill(connection);
    send_pending(connection);
    bool wants_write = connection->out_count > 0;
    if (wants_write != connection->wants_write) {
        connection->wants_write = wants_write;
        watch(epoll, connection, EPOLL_CTL_MOD);
    }
}

static void run_many(struct connection *connections, uint64_t end) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll: %s", strerror(errno));
    for (uint32_t i = 0; i < options.connections; i++) watch(epoll, &connections[i], EPOLL_CTL_ADD);
    for (uint32_t i = 0; i < options.connections; i++) serve(epoll, &connections[i]);
    while (true) {
        uint64_t in_flight = 0;
        if (finished(end))
            for (uint32_t i = 0; i < options.connections; i++)
                in_flight += connections[i].in_flight;
        if (stopping && in_flight == 0) break;
        struct epoll_event events[epoll_batch];
        int count = epoll_wait(epoll, events, epoll_batch, 1000);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & ~(uint32_t)EPOLLOUT) receive(connection, MSG_DONTWAIT);
            serve(epoll, connection);
        }
    }
    close(epoll);
}

static void run(struct connection *connections, double seconds) {
    stopping = false;
    issued = completed = flushes = errors = 0;
    memset(&latency, 0, sizeof latency);
    memset(&flush_latency, 0, sizeof flush_latency);
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    if (options.connections == 1) run_one(connections, end);
    else run_many(connections, end);
}

static void report(double seconds, double cpu_seconds) {
    uint64_t all = completed + flushes;
    double iops = (double)completed / seconds;
    double cpu_us = options.pid && all ? cpu_seconds * 1e6 / (double)all : 0;
    const char *form = options.json
        ? "{\"requests\": %llu, \"seconds\": %.3f, \"iops\": %.1f, \"mb_s\": %.2f,"
          " \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f,"
          " \"flushes_s\": %.1f, \"flush_p50_us\": %.1f, \"flush_p99_us\": %.1f, \"cpu_us\": %.3f,"
          " \"errors\": %llu}\n"
        : "%llu requests in %.3f s: %.1f IOPS, %.2f MB/s, p50 %.1f us, p99 %.1f us, max %.1f us;"
          " %.1f flushes/s, p50 %.1f us, p99 %.1f us; server CPU %.3f us per I/O; %llu errors\n";
    printf(form, (unsigned long long)completed, seconds, iops, iops * options.block / 1e6,
        histogram_quantile(&latency, 0.5) / 1e3, histogram_quantile(&latency, 0.99) / 1e3,
        (double)latency.most / 1e3, (double)flushes / seconds,
        histogram_quantile(&flush_latency, 0.5) / 1e3,
        histogram_quantile(&flush_latency, 0.99) / 1e3, cpu_us, (unsigned long long)errors);
}

static void usage(FILE *out) {
    fputs("usage: nbdload -u SOCKET | -h HOST [-p PORT]  [options]\n"
          "  -x NAME   export, the empty name by default; repeat it to spread connections\n"
          "  -c N      connections (1)             -d N    requests in flight on each (1)\n"
          "  -b BYTES  request size (4096)         -S BYTES  stay in the first BYTES\n"
          "  -w N      percent of writes (0)       -q      sequential (random)\n"
          "  -f N      a flush after every N writes of a connection   -F  writes with FUA\n"
          "  -s SECS   how long (3)                -n N    this many requests instead\n"
          "  -W SECS   warm-up before              -P PID  server process, for its CPU time\n"
          "  -r SEED   of the random offsets (1)   -j      print JSON\n", out);
}

static void parse_options(int count, char **arguments) {
    int letter;
    while ((letter = getopt(count, arguments, "u:h:p:x:c:d:b:S:w:qf:Fs:n:W:P:r:j")) != -1) {
        switch (letter) {
        case 'u': options.unix_path = optarg; break;
        case 'h': options.host = optarg; break;
        case 'p': options.port = optarg; break;
        case 'x':
            if (options.export_count == exports_max) fail("too many exports");
            options.exports[options.export_count++] = optarg;
            break;
        case 'c': options.connections = (uint32_t)atoi(optarg); break;
        case 'd': options.depth = (uint32_t)atoi(optarg); break;
        case 'b': options.block = (uint32_t)atoi(optarg); break;
        case 'S': options.span = strtoull(optarg, NULL, 10); break;
        case 'w': options.write_percent = (uint32_t)atoi(optarg); break;
        case 'q': options.sequential = true; break;
        case 'f': options.flush_every = (uint32_t)atoi(optarg); break;
        case 'F': options.fua = true; break;
        case 's': options.seconds = atof(optarg); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        case 'W': options.warmup = atof(optarg); break;
        case 'P': options.pid = atoi(optarg); break;
        case 'r': options.seed = strtoull(optarg, NULL, 10); break;
        case 'j': options.json = true; break;
        default: usage(stderr); exit(2);
        }
    }
    bool valid = (options.unix_path || options.host) && optind == count && options.connections >= 1
        && options.connections <= connections_max && options.depth >= 1
        && options.depth <= slots_max && options.block >= 1 && options.block <= (32 << 20)
        && options.write_percent <= 100;
    if (!valid) {
        usage(stderr);
        exit(2);
    }
}

static void open_connection(struct connection *connection, uint32_t index) {
    const char *name = options.export_count ? options.exports[index % options.export_count] : "";
    connection->fd = options.unix_path ? connect_unix(options.unix_path)
                                       : connect_tcp(options.host, options.port);
    connection->size = nbd_negotiate(connection->fd, name);
    if (connection->size < options.block) fail("export '%s' is smaller than a request", name);
    connection->slots = calloc(options.depth, sizeof *connection->slots);
    connection->out = calloc(4 * options.depth + 4, sizeof *connection->out);
    if (!connection->slots || !connection->out) fail("no memory");
    for (uint32_t i = 0; i < options.depth; i++) connection->free_slots[i] = (uint16_t)i;
    connection->free_count = options.depth;
    connection->cursor = connection->size / options.block / options.connections * index;
}

int main(int count, char **arguments) {
    parse_options(count, arguments);
    random_state = options.seed * 0x9E3779B97F4A7C15ull + 1;
    pattern = malloc(pattern_bytes + (32 << 20));
    receive_buffer = malloc(receive_bytes);
    struct connection *connections = calloc(options.connections, sizeof *connections);
    if (!pattern || !receive_buffer || !connections) fail("no memory");
    for (size_t i = 0; i < (pattern_bytes + options.block + 7) / 8; i++)
        ((uint64_t *)pattern)[i] = next_random();
    for (uint32_t i = 0; i < options.connections; i++) open_connection(&connections[i], i);

    if (options.warmup > 0) {
        uint64_t requests = options.requests;
        options.requests = 0;
        run(connections, options.warmup);
        options.requests = requests;
    }
    double cpu = options.pid ? process_cpu_seconds(options.pid) : 0;
    uint64_t began = now_ns();
    run(connections, options.seconds);
    double seconds = (double)(now_ns() - began) / 1e9;
    report(seconds, options.pid ? process_cpu_seconds(options.pid) - cpu : 0);
    for (uint32_t i = 0; i < options.connections; i++) nbd_disconnect(connections[i].fd);
    return errors ? 1 : 0;
}
