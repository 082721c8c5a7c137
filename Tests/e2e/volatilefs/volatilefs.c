// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The process: mounts, serves, and does what standard input says, a line at a time, with a line for
// each on standard output.
//
//   volatilefs BACKING MOUNTPOINT [WATCHED [SYNC_MICROS]]
//
//   cut SEED any|sync WAIT MILLIS [PID]   after WAIT operations more, at the first moment at which
//         something watched is unsynced and, with `sync`, a sync of it is outstanding: kills PID
//         and cuts. "cut KEY=VALUE…", or "missed" if that moment did not come within MILLIS.
//   lie   from now on syncs change nothing
//   count what is unsynced: "count KEY=VALUE…"
//
// WATCHED is an ending of names: files that have it are counted apart. The end of input ends it
// all.

#include "volatilefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct disk disk;

static void fail(const char *what) {
    fprintf(stderr, "volatilefs: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void print_tally(const char *word, const struct tally *tally) {
    printf("%s bytes=%" PRIu64 " watched_bytes=%" PRIu64 " files=%" PRIu64 " names=%" PRIu64
           " syncs=%" PRIu64 " watched_syncs=%" PRIu64 " bytes_landed=%" PRIu64
           " bytes_gone=%" PRIu64 " names_landed=%" PRIu64 " names_gone=%" PRIu64
           " pages_torn=%" PRIu64 "\n",
           word, tally->bytes, tally->watched_bytes, tally->files, tally->names, tally->syncs,
           tally->watched_syncs, tally->bytes_landed, tally->bytes_gone, tally->names_landed,
           tally->names_gone, tally->pages_torn);
}

static bool is_time(bool wants_sync, uint64_t operation) {
    return disk.operations >= operation && disk.watched_unsynced > 0 &&
           (!wants_sync || disk.watched_syncs > 0);
}

static struct timespec moment_in(uint64_t micros) {
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_nsec += (long)(micros % 1000000) * 1000;
    when.tv_sec += (time_t)(micros / 1000000) + when.tv_nsec / 1000000000;
    when.tv_nsec %= 1000000000;
    return when;
}

// Under the lock.
static void wait_and_cut(uint64_t seed, bool wants_sync, uint64_t wait, unsigned millis, int pid) {
    struct timespec when = moment_in(1000 * (uint64_t)millis);
    uint64_t operation = disk.operations + wait;
    int waited = 0;
    while (!is_time(wants_sync, operation) && waited == 0) {
        // A sync that begins from then on is held until the cut.
        disk.holds_syncs = wants_sync && disk.operations >= operation;
        waited = pthread_cond_timedwait(&disk.changed, &disk.lock, &when);
    }
    if (wants_sync && is_time(wants_sync, operation)) {
        // Others go on for a moment while it is outstanding.
        disk.holds_syncs = true;
        when = moment_in(chance_below(&disk.chance, 4000));
        while (pthread_cond_timedwait(&disk.changed, &disk.lock, &when) == 0) continue;
    }
    disk.holds_syncs = false;
    struct tally tally;
    if (is_time(wants_sync, operation)) {
        if (pid > 0) kill(pid, SIGKILL);
        cut(seed, &tally);
        print_tally("cut", &tally);
    } else {
        pthread_cond_broadcast(&disk.changed);
        puts("missed");
    }
}

static void obey(char *line) {
    uint64_t seed, wait;
    char kind[8];
    unsigned millis;
    int pid = 0;
    struct tally tally;
    pthread_mutex_lock(&disk.lock);
    if (sscanf(line, "cut %" SCNu64 " %7s %" SCNu64 " %u %d", &seed, kind, &wait, &millis, &pid) >=
        4) {
        wait_and_cut(seed, strcmp(kind, "sync") == 0, wait, millis, pid);
    } else if (strcmp(line, "lie\n") == 0) {
        disk.lies = true;
        puts("lies");
    } else if (strcmp(line, "count\n") == 0) {
        count(&tally);
        print_tally("count", &tally);
    } else {
        puts("unknown");
    }
    pthread_mutex_unlock(&disk.lock);
    fflush(stdout);
}

static void *listen_to_input(void *mountpoint) {
    char line[256];
    while (fgets(line, sizeof line, stdin)) obey(line);
    umount2(mountpoint, MNT_DETACH);
    _exit(0);
}

// What an earlier cut left without a name.
static void clear(int directory) {
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream) fail("limbo");
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(directory, entry->d_name, 0) == 0) continue;
        int child = openat(directory, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (child < 0) fail(entry->d_name);
        clear(child);
        close(child);
        if (unlinkat(directory, entry->d_name, AT_REMOVEDIR) != 0) fail(entry->d_name);
    }
    closedir(stream);
}

static int open_folder(int parent, const char *name) {
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) fail(name);
    int opened = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) fail(name);
    return opened;
}

static void open_disk(int count, char **words) {
    int backing = open_folder(AT_FDCWD, words[1]);
    struct stat status;
    pthread_condattr_t attributes;
    disk.root.descriptor = open_folder(backing, "tree");
    disk.limbo = open_folder(backing, "limbo");
    if (fstat(disk.root.descriptor, &status) != 0) fail("tree");
    disk.root.number = status.st_ino;
    disk.root.is_directory = true;
    clear(disk.limbo);
    disk.watched = count > 3 ? words[3] : NULL;
    disk.sync_micros = count > 4 ? (unsigned)atoi(words[4]) : 0;
    pthread_mutex_init(&disk.lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&disk.changed, &attributes);
}

int main(int count, char **words) {
    if (count < 3 || count > 5) {
        fprintf(stderr, "usage: volatilefs BACKING MOUNTPOINT [WATCHED [SYNC_MICROS]]\n");
        return 2;
    }
    // Each file that is known is open.
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    umask(0);
    open_disk(count, words);

    char *options[] = {words[0], "-o", "fsname=volatilefs", NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, options);
    struct fuse_session *session =
        fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (!session || fuse_set_signal_handlers(session) != 0 ||
        fuse_session_mount(session, words[2]) != 0) {
        return 1;
    }
    puts("mounted");
    fflush(stdout);
    pthread_t listener;
    if (pthread_create(&listener, NULL, listen_to_input, words[2]) != 0) fail("thread");
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    // Those that wait in a sync take a thread each.
    fuse_loop_cfg_set_max_threads(loop, 64);
    int status = fuse_session_loop_mt(session, loop);
    fuse_session_unmount(session);
    return status != 0;
}
