// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The calls of clinux_net.h. A file of its own, not inlines: they need _GNU_SOURCE, which a header
// that is imported as a module cannot set for the C library's headers.

#define _GNU_SOURCE 1
#include "clinux_net.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { READY_MAX = 64, LISTEN_BACKLOG = 128, UNIX_BUFFER_BYTES = 1 << 20 };

int clinux_epoll_create(void) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    return poller < 0 ? -errno : poller;
}

static int control(int poller, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(poller, operation, descriptor, &event) < 0 ? -errno : 0;
}

int clinux_epoll_add(int poller, int descriptor, uint32_t events, uint64_t token) {
    return control(poller, EPOLL_CTL_ADD, descriptor, events, token);
}

int clinux_epoll_modify(int poller, int descriptor, uint32_t events, uint64_t token) {
    return control(poller, EPOLL_CTL_MOD, descriptor, events, token);
}

int clinux_epoll_remove(int poller, int descriptor) {
    return control(poller, EPOLL_CTL_DEL, descriptor, 0, 0);
}

int clinux_epoll_wait(int poller, struct clinux_ready *ready, int capacity, int timeout_ms) {
    struct epoll_event events[READY_MAX];
    int count = epoll_wait(poller, events, capacity < READY_MAX ? capacity : READY_MAX, timeout_ms);
    if (count < 0) return errno == EINTR ? 0 : -errno;
    for (int index = 0; index < count; index++) {
        ready[index].token = events[index].data.u64;
        ready[index].events = events[index].events;
    }
    return count;
}

int clinux_eventfd(void) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

void clinux_eventfd_signal(int descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {}
}

void clinux_eventfd_clear(int descriptor) {
    uint64_t value;
    while (read(descriptor, &value, sizeof value) < 0 && errno == EINTR) {}
}

static int unix_address(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

static int close_with(int descriptor, int code) {
    close(descriptor);
    return -code;
}

int clinux_listen_unix(const char *path, uint32_t mode) {
    struct sockaddr_un address;
    int bad = unix_address(path, &address);
    if (bad) return bad;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -errno;
    // The permission bits of the socket's inode are copied to the name at bind: no moment exists in
    // which others could connect.
    if (fchmod(listener, mode) < 0) return close_with(listener, errno);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        return close_with(listener, errno);
    if (chmod(path, mode) < 0) return close_with(listener, errno);
    if (listen(listener, LISTEN_BACKLOG) < 0) return close_with(listener, errno);
    return listener;
}

int clinux_connect_unix(const char *path) {
    struct sockaddr_un address;
    int bad = unix_address(path, &address);
    if (bad) return bad;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        return close_with(descriptor, errno);
    return descriptor;
}

int clinux_unix_is_served(const char *path) {
    int descriptor = clinux_connect_unix(path);
    if (descriptor == -ECONNREFUSED) return 0;
    if (descriptor < 0) return descriptor;
    close(descriptor);
    return 1;
}

int clinux_is_socket(const char *path) {
    struct stat status;
    if (lstat(path, &status) < 0) return -errno;
    return S_ISSOCK(status.st_mode) ? 1 : 0;
}

static int resolve(const char *host, uint16_t port, int passive, struct addrinfo **found) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
    };
    int code = getaddrinfo(host[0] ? host : NULL, service, &hints, found);
    if (code == 0) return 0;
    return code == EAI_SYSTEM ? -errno : -EADDRNOTAVAIL;
}

int clinux_listen_tcp(const char *host, uint16_t port, uint16_t *bound_port) {
    struct addrinfo *found = NULL;
    int code = resolve(host, port, 1, &found);
    if (code < 0) return code;
    int listener = socket(
        found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, found->ai_protocol);
    int one = 1;
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (listener < 0) {
        code = -errno;
    } else if (
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0
        || bind(listener, found->ai_addr, found->ai_addrlen) < 0
        || listen(listener, LISTEN_BACKLOG) < 0
        || getsockname(listener, (struct sockaddr *)&name, &length) < 0) {
        code = close_with(listener, errno);
    } else {
        *bound_port = ntohs(
            name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                       : ((struct sockaddr_in *)&name)->sin_port);
        code = listener;
    }
    freeaddrinfo(found);
    return code;
}

int clinux_connect_tcp(const char *host, uint16_t port) {
    struct addrinfo *found = NULL;
    int code = resolve(host, port, 0, &found);
    if (code < 0) return code;
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, found->ai_protocol);
    if (descriptor < 0) {
        code = -errno;
    } else if (connect(descriptor, found->ai_addr, found->ai_addrlen) < 0) {
        code = close_with(descriptor, errno);
    } else {
        code = descriptor;
    }
    freeaddrinfo(found);
    return code;
}

int clinux_accept(int listener) {
    int descriptor;
    do {
        descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED));
    return descriptor < 0 ? -errno : descriptor;
}

int clinux_socket_pair(int descriptors[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, descriptors) < 0 ? -errno : 0;
}

int clinux_set_nonblocking(int descriptor, int enabled) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    flags = enabled ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(descriptor, F_SETFL, flags) < 0 ? -errno : 0;
}

void clinux_tune_connection(int descriptor) {
    int one = 1, idle = 30, interval = 10, probes = 4, bytes = UNIX_BUFFER_BYTES;
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (getsockname(descriptor, (struct sockaddr *)&name, &length) < 0) return;
    if (name.ss_family == AF_UNIX) {
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        return;
    }
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

ssize_t clinux_receive(int descriptor, void *buffer, size_t count) {
    ssize_t received;
    do {
        received = recv(descriptor, buffer, count, MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

ssize_t clinux_receive_two(
    int descriptor, void *first, size_t first_count, void *second, size_t second_count) {
    struct iovec pieces[2] = {
        {.iov_base = first, .iov_len = first_count},
        {.iov_base = second, .iov_len = second_count},
    };
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
    ssize_t received;
    do {
        received = recvmsg(descriptor, &message, MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

ssize_t clinux_send(int descriptor, const void *buffer, size_t count) {
    ssize_t sent;
    do {
        sent = send(descriptor, buffer, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

ssize_t clinux_send_pieces(int descriptor, const void *pieces, size_t count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

void clinux_name_thread(const char *name) {
    char cut[16];
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(pthread_self(), cut);
}

void clinux_nice_thread(int niceness) {
    // On Linux a thread's id names it alone, not its process.
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), niceness);
}
