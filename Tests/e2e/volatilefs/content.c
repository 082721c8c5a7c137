// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a file was before it was last synced, sector by sector. The newest content lies in the file
// below; here are the older ones, each with the moment of the write that ended it. A sync forgets
// those that ended before it began.

#include "volatilefs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *grown(void *old, size_t bytes) {
    void *made = realloc(old, bytes);
    if (!made) abort();
    return made;
}

static void make_room(struct node *node, size_t sectors) {
    if (sectors <= node->sector_room) return;
    size_t room = sectors + sectors / 2;
    node->sectors = grown(node->sectors, room * sizeof *node->sectors);
    memset(node->sectors + node->sector_room, 0,
           (room - node->sector_room) * sizeof *node->sectors);
    node->sector_room = room;
}

// True if one more content between the first and the last must be remembered: there are few, or a
// sync began since, which will forget those before it.
static bool is_needed(size_t count, uint64_t last, const struct node *node) {
    return count < versions_max || last <= node->newest_sync;
}

static void remember(struct node *node, size_t number, const unsigned char *bytes) {
    struct sector *sector = &node->sectors[number];
    if (sector->count &&
        !is_needed(sector->count, sector->versions[sector->count - 1].until, node)) {
        return;
    }
    sector->versions = grown(sector->versions, (sector->count + 1) * sizeof *sector->versions);
    sector->versions[sector->count].until = disk.moment;
    memcpy(sector->versions[sector->count].bytes, bytes, sector_bytes);
    if (sector->count++ == 0) {
        node->unsynced++;
        disk.watched_unsynced += node->is_watched;
    }
}

void content_will_write(struct node *node, off_t offset, size_t count) {
    if (count == 0) return;
    size_t first = (size_t)offset / sector_bytes;
    size_t end = ((size_t)offset + count + sector_bytes - 1) / sector_bytes;
    make_room(node, end);
    size_t bytes = (end - first) * sector_bytes, have = 0;
    // Beyond the end of the file there are zeros.
    unsigned char *old = calloc(1, bytes);
    if (!old) abort();
    while (have < bytes) {
        ssize_t part = pread(node->descriptor, old + have, bytes - have,
                             (off_t)(first * sector_bytes + have));
        if (part <= 0) break;
        have += (size_t)part;
    }
    for (size_t number = first; number < end; number++) {
        remember(node, number, old + (number - first) * sector_bytes);
    }
    free(old);
}

void content_will_resize(struct node *node, off_t size) {
    struct stat status;
    if (fstat(node->descriptor, &status) != 0) abort();
    if (status.st_size == size) return;
    if (node->size_count &&
        !is_needed(node->size_count, node->sizes[node->size_count - 1].until, node)) {
        return;
    }
    node->sizes = grown(node->sizes, (node->size_count + 1) * sizeof *node->sizes);
    node->sizes[node->size_count++] = (struct old_size){disk.moment, status.st_size};
}

int content_resize(struct node *node, off_t size) {
    struct stat status;
    if (size > file_bytes_max) return EFBIG;
    if (fstat(node->descriptor, &status) != 0) return errno;
    if (size < status.st_size) content_will_write(node, size, (size_t)(status.st_size - size));
    content_will_resize(node, size);
    return ftruncate(node->descriptor, size) == 0 ? 0 : errno;
}

static void clear(struct node *node, size_t number) {
    free(node->sectors[number].versions);
    node->sectors[number] = (struct sector){0};
    node->unsynced--;
    disk.watched_unsynced -= node->is_watched;
}

void content_synced(struct node *node, uint64_t moment) {
    for (size_t number = 0; number < node->sector_room && node->unsynced; number++) {
        struct sector *sector = &node->sectors[number];
        uint32_t gone = 0;
        while (gone < sector->count && sector->versions[gone].until <= moment) gone++;
        if (gone == 0) continue;
        if (gone == sector->count) {
            clear(node, number);
            continue;
        }
        sector->count -= gone;
        memmove(sector->versions, sector->versions + gone,
                sector->count * sizeof *sector->versions);
    }
    size_t gone = 0;
    while (gone < node->size_count && node->sizes[gone].until <= moment) gone++;
    node->size_count -= gone;
    memmove(node->sizes, node->sizes + gone, node->size_count * sizeof *node->sizes);
}

void content_forget(struct node *node) { content_synced(node, UINT64_MAX); }

void content_count(struct node *node, struct tally *tally) {
    tally->bytes += node->unsynced * sector_bytes;
    tally->files += node->unsynced || node->size_count;
    if (node->is_watched) tally->watched_bytes += node->unsynced * sector_bytes;
}

// Which of `count` older contents comes back; `count` if the newest has landed.
static size_t pick(size_t count, uint64_t odds, struct fate *fate) {
    if (fate->rule == none) return 0;
    if (chance_below(&fate->chance, 8) < odds) return count;
    return chance_below(&fate->chance, count);
}

static size_t pick_version(const struct sector *sector, uint64_t odds, struct fate *fate) {
    if (fate->rule != all_in_order) return pick(sector->count, odds, fate);
    size_t index = 0;
    while (index < sector->count && sector->versions[index].until <= fate->moment) index++;
    return index;
}

static void settle_size(struct node *node, uint64_t odds, struct fate *fate) {
    if (node->size_count == 0) return;
    size_t index = 0;
    if (fate->rule == all_in_order) {
        while (index < node->size_count && node->sizes[index].until <= fate->moment) index++;
    } else {
        index = pick(node->size_count, odds, fate);
    }
    if (index < node->size_count && ftruncate(node->descriptor, node->sizes[index].size) != 0) {
        abort();
    }
}

// Writes an older content back, as far as the file still goes.
static void put_back(struct node *node, size_t number, const unsigned char *bytes) {
    struct stat status;
    off_t start = (off_t)(number * sector_bytes);
    if (fstat(node->descriptor, &status) != 0) abort();
    if (start >= status.st_size) return;
    size_t room = (size_t)(status.st_size - start);
    size_t length = room < sector_bytes ? room : sector_bytes;
    if (pwrite(node->descriptor, bytes, length, start) != (ssize_t)length) abort();
}

void content_settle(struct node *node, struct fate *fate, struct tally *tally) {
    static const uint64_t all_odds[] = {0, 1, 4, 4, 7, 8};
    // In eighths: runs of all or nothing matter as much as mixtures.
    uint64_t odds = all_odds[chance_below(&fate->chance, 6)];
    // First the size, so that what was cut off has a place to come back to.
    settle_size(node, odds, fate);
    bool has_landed = false, has_gone = false;
    for (size_t number = 0; number < node->sector_room; number++) {
        if (number % page_sectors == 0) has_landed = has_gone = false;
        struct sector *sector = &node->sectors[number];
        if (sector->count == 0) continue;
        bool was_torn = has_landed && has_gone;
        size_t index = pick_version(sector, odds, fate);
        if (index < sector->count) {
            put_back(node, number, sector->versions[index].bytes);
            has_gone = true;
            tally->bytes_gone += sector_bytes;
        } else {
            has_landed = true;
            tally->bytes_landed += sector_bytes;
        }
        tally->pages_torn += !was_torn && has_landed && has_gone;
    }
}
