// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A disk that loses power, as a file system: files and directories of a folder, of which a cut
// takes back what was not synced. The folder holds what running programs see; memory holds what
// each unsynced sector, size and name was before, and at the cut a seed decides which of those come
// back. The one thing to know: all of it is one state behind one lock, and a cut happens between
// two operations.
//
//   BACKING/tree    what the mount shows
//   BACKING/limbo   what has lost a name and may get it back, under its inode's number

#ifndef VOLATILEFS_H
#define VOLATILEFS_H

#define _GNU_SOURCE 1
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
    sector_bytes = 512,
    page_sectors = 8,
    // Older contents kept of one sector: what it was when last synced, and some in between.
    versions_max = 3,
};
// A file beyond that is a mistake.
static const off_t file_bytes_max = (off_t)1 << 30;

// What a sector was until write `until`.
struct version {
    uint64_t until;
    unsigned char bytes[sector_bytes];
};

struct sector {
    struct version *versions;  // oldest first
    uint32_t count;
};

struct old_size {
    uint64_t until;
    off_t size;
};

struct node {
    struct node *next;
    ino_t number;
    int descriptor;
    bool is_directory, is_watched, is_in_limbo;
    uint64_t lookups;   // that the kernel holds
    uint64_t mentions;  // by changes of names that are not durable
    uint64_t pins;      // by syncs under way
    // Of files: what is not synced.
    struct sector *sectors;
    size_t sector_room, unsynced;
    struct old_size *sizes;
    size_t size_count;
    uint64_t newest_sync;  // the moment at which the last sync began
};

// One name of one directory set or removed, and not synced since.
struct change {
    struct change *next;
    uint64_t moment;  // those of one operation share it
    struct node *directory, *before, *after;
    bool is_settled;
    char name[];
};

// splitmix64
struct chance {
    uint64_t state;
};

// What a cut keeps.
struct fate {
    struct chance chance;
    enum { each_alone, names_in_order, all_in_order, none } rule;
    uint64_t moment;  // of the rules in order: what came later is gone
};

struct tally {
    uint64_t bytes, watched_bytes, files, names, syncs, watched_syncs;
    uint64_t bytes_landed, bytes_gone, names_landed, names_gone, pages_torn;
};

struct disk {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct node root;
    int limbo;
    uint64_t moment;  // counts all that changes content or names
    uint64_t operations;
    uint64_t watched_unsynced;
    int syncs, watched_syncs;
    bool is_off, lies, holds_syncs;
    const char *watched;
    unsigned sync_micros;
    struct chance chance;
};

extern struct disk disk;

uint64_t chance_next(struct chance *chance);
// Below `limit`, which is not zero.
uint64_t chance_below(struct chance *chance, uint64_t limit);

// MARK: nodes.c

struct node *node_of(fuse_ino_t inode);
fuse_ino_t inode_of(struct node *node);
// The node that has this name, or NULL with errno; takes no reference.
struct node *node_find(struct node *directory, const char *name);
// Frees a node that nobody knows any more, with what it would not lose.
void node_let_go(struct node *node);
// A file is watched while its last name has the ending that the disk was told.
void node_watch(struct node *node, const char *name);
void for_each_node(void (*body)(struct node *, void *), void *context);
int node_attributes(struct node *node, struct stat *attributes);

// MARK: content.c

// To be called before bytes change, and before the size does.
void content_will_write(struct node *node, off_t offset, size_t count);
void content_will_resize(struct node *node, off_t size);
int content_resize(struct node *node, off_t size);
// What was written up to `moment` is durable.
void content_synced(struct node *node, uint64_t moment);
void content_forget(struct node *node);
void content_count(struct node *node, struct tally *tally);
void content_settle(struct node *node, struct fate *fate, struct tally *tally);

// MARK: names.c

void names_changed(struct node *directory, const char *name, struct node *before,
                   struct node *after);
// Keeps what is about to lose a name; 0 or errno.
int names_keep(struct node *directory, const char *name, struct node *node);
void names_synced(struct node *directory, uint64_t moment);
void names_count(struct tally *tally);
uint64_t names_oldest(void);
void names_settle(struct fate *fate, struct tally *tally);

// MARK: cut.c

// Decides what stays, and turns the disk off. Under the lock.
void cut(uint64_t seed, struct tally *tally);
void count(struct tally *tally);

// MARK: operations.c

extern const struct fuse_lowlevel_ops operations;

#endif
