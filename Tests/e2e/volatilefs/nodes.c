// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Files and directories by the number of their inode below. A node holds the inode open, so that
// its number is not used again while anything unsynced is remembered of it.

#include "volatilefs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { bucket_count = 4096 };

static struct node *buckets[bucket_count];

struct node *node_of(fuse_ino_t inode) {
    return inode == FUSE_ROOT_ID ? &disk.root : (struct node *)(uintptr_t)inode;
}

fuse_ino_t inode_of(struct node *node) {
    return node == &disk.root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

static struct node **place_of(ino_t number) {
    struct node **place = &buckets[number % bucket_count];
    while (*place && (*place)->number != number) place = &(*place)->next;
    return place;
}

struct node *node_find(struct node *directory, const char *name) {
    struct stat status;
    if (fstatat(directory->descriptor, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return NULL;
    struct node **place = place_of(status.st_ino);
    if (*place) return *place;
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
        errno = EPERM;
        return NULL;
    }
    int flags = S_ISDIR(status.st_mode) ? O_RDONLY | O_DIRECTORY : O_RDWR;
    int descriptor = openat(directory->descriptor, name, flags | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0) return NULL;
    struct node *made = calloc(1, sizeof *made);
    if (!made) abort();
    made->number = status.st_ino;
    made->descriptor = descriptor;
    made->is_directory = S_ISDIR(status.st_mode);
    node_watch(made, name);
    *place = made;
    return made;
}

void node_let_go(struct node *node) {
    if (node == &disk.root || node->lookups || node->mentions || node->pins) return;
    if (node->unsynced || node->size_count) {
        struct stat status;
        // What has no name left loses nothing that anyone could miss.
        if (fstat(node->descriptor, &status) != 0 || status.st_nlink > 0) return;
        content_forget(node);
    }
    *place_of(node->number) = node->next;
    close(node->descriptor);
    free(node->sectors);
    free(node->sizes);
    free(node);
}

void node_watch(struct node *node, const char *name) {
    if (node->is_directory || !disk.watched) return;
    size_t length = strlen(name), ending = strlen(disk.watched);
    if (node->is_watched) disk.watched_unsynced -= node->unsynced;
    node->is_watched = length >= ending && strcmp(name + length - ending, disk.watched) == 0;
    if (node->is_watched) disk.watched_unsynced += node->unsynced;
}

void for_each_node(void (*body)(struct node *, void *), void *context) {
    for (int bucket = 0; bucket < bucket_count; bucket++) {
        for (struct node *node = buckets[bucket]; node; node = node->next) body(node, context);
    }
}

int node_attributes(struct node *node, struct stat *attributes) {
    if (fstat(node->descriptor, attributes) != 0) return errno;
    // The second name that keeps it is nobody's business.
    if (node->is_in_limbo && !node->is_directory) attributes->st_nlink -= 1;
    return 0;
}
