// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the kernel asks of the file system. Every operation runs whole under the disk's lock, but
// for syncs, which begin, wait as a disk does, and end. After a cut each answers EIO.

#include "volatilefs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static const double kept_seconds = 3600;

// Takes the lock; false, and an answer, if the disk is off.
static bool enter(fuse_req_t request) {
    pthread_mutex_lock(&disk.lock);
    disk.operations++;
    if (!disk.is_off) return true;
    pthread_mutex_unlock(&disk.lock);
    fuse_reply_err(request, EIO);
    return false;
}

static void leave(void) {
    pthread_cond_broadcast(&disk.changed);
    pthread_mutex_unlock(&disk.lock);
}

static void leave_with(fuse_req_t request, int error) {
    leave();
    fuse_reply_err(request, error);
}

// Answers with the node of a name, which the kernel knows from now on.
static bool fill_entry(struct node *node, struct fuse_entry_param *entry) {
    *entry = (struct fuse_entry_param){
        .ino = inode_of(node), .attr_timeout = kept_seconds, .entry_timeout = kept_seconds};
    if (node_attributes(node, &entry->attr) != 0) return false;
    node->lookups++;
    return true;
}

static void leave_with_entry(fuse_req_t request, struct node *node, int error) {
    struct fuse_entry_param entry;
    if (!error && !fill_entry(node, &entry)) error = EIO;
    leave();
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_entry(request, &entry);
    }
}

static void start(void *context, struct fuse_conn_info *connection) {
    (void)context;
    // All writes come from this one kernel, at once: what it has cached stays true.
    connection->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
                                    FUSE_CAP_ATOMIC_O_TRUNC);
}

// MARK: Names

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name) {
    if (!enter(request)) return;
    struct node *node = node_find(node_of(parent), name);
    leave_with_entry(request, node, node ? 0 : errno);
}

static void forget(fuse_req_t request, fuse_ino_t inode, uint64_t count) {
    pthread_mutex_lock(&disk.lock);
    struct node *node = node_of(inode);
    node->lookups -= count < node->lookups ? count : node->lookups;
    if (!disk.is_off) node_let_go(node);
    pthread_mutex_unlock(&disk.lock);
    fuse_reply_none(request);
}

// A new file or directory under a name that was free.
static struct node *make(struct node *parent, const char *name, mode_t mode, int *error) {
    int failed = 0;
    if (S_ISDIR(mode)) {
        failed = mkdirat(parent->descriptor, name, mode);
    } else {
        int made = openat(parent->descriptor, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        failed = made < 0;
        if (!failed) close(made);
    }
    struct node *node = failed ? NULL : node_find(parent, name);
    *error = node ? 0 : errno;
    if (!node) return NULL;
    disk.moment++;
    names_changed(parent, name, NULL, node);
    return node;
}

static void make_directory(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode) {
    if (!enter(request)) return;
    int error;
    struct node *node = make(node_of(parent), name, S_IFDIR | (mode & 07777), &error);
    leave_with_entry(request, node, error);
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                   struct fuse_file_info *file) {
    if (!enter(request)) return;
    int error = 0;
    struct fuse_entry_param entry;
    struct node *node = node_find(node_of(parent), name);
    if (!node) node = make(node_of(parent), name, mode & 07777, &error);
    if (!error && !fill_entry(node, &entry)) error = EIO;
    leave();
    file->keep_cache = 1;
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_create(request, &entry, file);
    }
}

static bool is_empty(struct node *directory) {
    int descriptor = openat(directory->descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (!stream) return false;
    int count = 0;
    while (readdir(stream)) count++;
    closedir(stream);
    return count == 2;
}

// Takes a name away from what has it; the change itself is the caller's to note.
static int drop(struct node *parent, const char *name, struct node *node) {
    if (node->is_directory && !is_empty(node)) return ENOTEMPTY;
    int error = names_keep(parent, name, node);
    if (error || node->is_directory) return error;
    return unlinkat(parent->descriptor, name, 0) == 0 ? 0 : errno;
}

static void remove_name(fuse_req_t request, fuse_ino_t parent, const char *name, bool directory) {
    if (!enter(request)) return;
    struct node *folder = node_of(parent), *node = node_find(folder, name);
    int error = node ? 0 : errno;
    if (!error && node->is_directory != directory) error = directory ? ENOTDIR : EISDIR;
    if (!error) error = drop(folder, name, node);
    if (!error) {
        disk.moment++;
        names_changed(folder, name, node, NULL);
    }
    leave_with(request, error);
}

static void unlink_file(fuse_req_t request, fuse_ino_t parent, const char *name) {
    remove_name(request, parent, name, false);
}

static void remove_directory(fuse_req_t request, fuse_ino_t parent, const char *name) {
    remove_name(request, parent, name, true);
}

static int move(struct node *from, const char *name, struct node *to, const char *new_name) {
    struct node *node = node_find(from, name);
    if (!node) return errno;
    struct node *victim = node_find(to, new_name);
    if (victim == node) return 0;
    if (victim && victim->is_directory != node->is_directory) {
        return victim->is_directory ? EISDIR : ENOTDIR;
    }
    int error = victim ? drop(to, new_name, victim) : 0;
    // A file keeps a name in the limbo, in case this one is taken back.
    if (!error && !node->is_directory) error = names_keep(from, name, node);
    if (error) return error;
    if (renameat(from->descriptor, name, to->descriptor, new_name) != 0) return errno;
    disk.moment++;
    names_changed(to, new_name, victim, node);
    names_changed(from, name, node, NULL);
    node_watch(node, new_name);
    return 0;
}

static void rename_node(fuse_req_t request, fuse_ino_t parent, const char *name,
                        fuse_ino_t new_parent, const char *new_name, unsigned flags) {
    if (!enter(request)) return;
    struct node *to = node_of(new_parent);
    int error = flags & ~(unsigned)RENAME_NOREPLACE ? EINVAL : 0;
    if (!error && flags && node_find(to, new_name)) error = EEXIST;
    if (!error) error = move(node_of(parent), name, to, new_name);
    leave_with(request, error);
}

static void link_file(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char *name) {
    if (!enter(request)) return;
    struct node *node = node_of(inode), *folder = node_of(parent);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", node->descriptor);
    int error = 0;
    if (linkat(AT_FDCWD, path, folder->descriptor, name, AT_SYMLINK_FOLLOW) != 0) error = errno;
    if (!error) {
        disk.moment++;
        names_changed(folder, name, NULL, node);
    }
    leave_with_entry(request, node, error);
}

// MARK: Attributes

static void leave_with_attributes(fuse_req_t request, struct node *node, int error) {
    struct stat attributes;
    if (!error) error = node_attributes(node, &attributes);
    leave();
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_attr(request, &attributes, kept_seconds);
    }
}

static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
    (void)file;
    if (!enter(request)) return;
    leave_with_attributes(request, node_of(inode), 0);
}

// Sizes count; owners, modes and times are as they are at once.
static void set_attributes(fuse_req_t request, fuse_ino_t inode, struct stat *wanted, int which,
                           struct fuse_file_info *file) {
    (void)file;
    if (!enter(request)) return;
    struct node *node = node_of(inode);
    int error = 0;
    if (which & FUSE_SET_ATTR_SIZE) {
        disk.moment++;
        error = content_resize(node, wanted->st_size);
    }
    if (!error && which & FUSE_SET_ATTR_MODE && fchmod(node->descriptor, wanted->st_mode) != 0) {
        error = errno;
    }
    leave_with_attributes(request, node, error);
}

static void get_space(fuse_req_t request, fuse_ino_t inode) {
    (void)inode;
    if (!enter(request)) return;
    struct statvfs space;
    int error = fstatvfs(disk.root.descriptor, &space) == 0 ? 0 : errno;
    leave();
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_statfs(request, &space);
    }
}

// MARK: Content

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
    (void)inode;
    if (!enter(request)) return;
    leave();
    file->keep_cache = 1;
    fuse_reply_open(request, file);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                      struct fuse_file_info *file) {
    (void)file;
    char *bytes = malloc(size);
    if (!bytes) abort();
    if (!enter(request)) {
        free(bytes);
        return;
    }
    ssize_t count = pread(node_of(inode)->descriptor, bytes, size, offset);
    int error = count < 0 ? errno : 0;
    leave();
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_buf(request, bytes, (size_t)count);
    }
    free(bytes);
}

static int put(struct node *node, const char *bytes, size_t size, off_t offset) {
    off_t past = offset + (off_t)size;
    struct stat status;
    if (past > file_bytes_max) return EFBIG;
    if (fstat(node->descriptor, &status) != 0) return errno;
    disk.moment++;
    content_will_write(node, offset, size);
    if (past > status.st_size) content_will_resize(node, past);
    size_t done = 0;
    while (done < size) {
        ssize_t part = pwrite(node->descriptor, bytes + done, size - done, offset + (off_t)done);
        if (part < 0) return errno;
        done += (size_t)part;
    }
    return 0;
}

static void write_file(fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size,
                       off_t offset, struct fuse_file_info *file) {
    (void)file;
    if (!enter(request)) return;
    int error = put(node_of(inode), bytes, size, offset);
    leave();
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_write(request, size);
    }
}

static void allocate(fuse_req_t request, fuse_ino_t inode, int mode, off_t offset, off_t length,
                     struct fuse_file_info *file) {
    (void)file;
    if (!enter(request)) return;
    struct node *node = node_of(inode);
    off_t past = offset + length;
    struct stat status;
    int error = 0;
    if (fstat(node->descriptor, &status) != 0) {
        error = errno;
    } else if (past > file_bytes_max) {
        error = EFBIG;
    } else if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
        disk.moment++;
        off_t last = past < status.st_size ? past : status.st_size;
        if (offset < last) content_will_write(node, offset, (size_t)(last - offset));
    } else if (mode == 0) {
        disk.moment++;
        if (past > status.st_size) content_will_resize(node, past);
    } else if (mode != FALLOC_FL_KEEP_SIZE) {
        error = EOPNOTSUPP;
    }
    if (!error && fallocate(node->descriptor, mode, offset, length) != 0) error = errno;
    leave_with(request, error);
}

// MARK: Syncs

static struct timespec moment_in(unsigned micros) {
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_nsec += (long)(micros % 1000000) * 1000;
    when.tv_sec += micros / 1000000 + when.tv_nsec / 1000000000;
    when.tv_nsec %= 1000000000;
    return when;
}

// As long as a disk takes, or, if a cut wants one outstanding, until it came.
static void wait_for_disk(const struct node *node) {
    unsigned micros = disk.sync_micros
                          ? (unsigned)chance_below(&disk.chance, 2 * (uint64_t)disk.sync_micros)
                          : 0;
    struct timespec when = moment_in(micros);
    int waited = micros ? 0 : ETIMEDOUT;
    while (!disk.is_off && (waited == 0 || (disk.holds_syncs && node->is_watched))) {
        if (waited == 0) {
            waited = pthread_cond_timedwait(&disk.changed, &disk.lock, &when);
        } else {
            pthread_cond_wait(&disk.changed, &disk.lock);
        }
    }
}

static void sync_node(fuse_req_t request, struct node *node) {
    if (!enter(request)) return;
    uint64_t moment = disk.moment;
    node->newest_sync = moment;
    node->pins++;
    disk.syncs++;
    bool is_watched = node->is_watched;
    disk.watched_syncs += is_watched;
    pthread_cond_broadcast(&disk.changed);
    wait_for_disk(node);
    int error = disk.is_off ? EIO : 0;
    disk.syncs--;
    disk.watched_syncs -= is_watched;
    node->pins--;
    if (!error && !disk.lies) {
        if (node->is_directory) {
            names_synced(node, moment);
        } else {
            content_synced(node, moment);
        }
    }
    leave_with(request, error);
}

static void sync_file(fuse_req_t request, fuse_ino_t inode, int data, struct fuse_file_info *file) {
    (void)data;
    (void)file;
    sync_node(request, node_of(inode));
}

// MARK: Lists

static void open_directory(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
    if (!enter(request)) return;
    int descriptor =
        openat(node_of(inode)->descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = descriptor < 0 ? NULL : fdopendir(descriptor);
    int error = stream ? 0 : errno;
    leave();
    file->fh = (uint64_t)(uintptr_t)stream;
    if (error) {
        fuse_reply_err(request, error);
    } else {
        fuse_reply_open(request, file);
    }
}

static void list_directory(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                           struct fuse_file_info *file) {
    (void)inode;
    DIR *stream = (DIR *)(uintptr_t)file->fh;
    char *bytes = malloc(size);
    if (!bytes) abort();
    if (!enter(request)) {
        free(bytes);
        return;
    }
    if (telldir(stream) != offset) seekdir(stream, offset);
    size_t used = 0;
    for (struct dirent *entry; (entry = readdir(stream));) {
        struct stat status = {.st_ino = entry->d_ino, .st_mode = (mode_t)entry->d_type << 12};
        size_t needed = fuse_add_direntry(request, bytes + used, size - used, entry->d_name,
                                          &status, telldir(stream));
        if (needed > size - used) break;
        used += needed;
        offset = telldir(stream);
    }
    // What did not fit comes first next time.
    seekdir(stream, offset);
    leave();
    fuse_reply_buf(request, bytes, used);
    free(bytes);
}

static void release_directory(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file) {
    (void)inode;
    closedir((DIR *)(uintptr_t)file->fh);
    fuse_reply_err(request, 0);
}

const struct fuse_lowlevel_ops operations = {
    .init = start,
    .lookup = look_up,
    .forget = forget,
    .getattr = get_attributes,
    .setattr = set_attributes,
    .statfs = get_space,
    .create = create,
    .mkdir = make_directory,
    .unlink = unlink_file,
    .rmdir = remove_directory,
    .rename = rename_node,
    .link = link_file,
    .open = open_file,
    .read = read_file,
    .write = write_file,
    .fallocate = allocate,
    .fsync = sync_file,
    .fsyncdir = sync_file,
    .opendir = open_directory,
    .readdir = list_directory,
    .releasedir = release_directory,
};
