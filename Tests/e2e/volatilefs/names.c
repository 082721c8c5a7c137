// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Changes of names that no sync of their directory has made durable, oldest first. By the letter of
// POSIX each name of each directory keeps any earlier state on its own, so a rename may leave both
// names or none; under the rules in order, what landed is all that came before one moment. A
// directory that was moved always has one name.

#include "volatilefs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct change *first, **end = &first;

// What a name is to be after the cut.
struct binding {
    const struct change *change;
    struct node *now, *then;
};

static void limbo_name(const struct node *node, char text[32]) {
    snprintf(text, 32, "%llu", (unsigned long long)node->number);
}

int names_keep(struct node *directory, const char *name, struct node *node) {
    char kept[32];
    limbo_name(node, kept);
    if (node->is_in_limbo) return 0;
    int failed = node->is_directory
                     ? renameat(directory->descriptor, name, disk.limbo, kept)
                     : linkat(directory->descriptor, name, disk.limbo, kept, 0);
    if (failed) return errno;
    node->is_in_limbo = true;
    return 0;
}

static void unmention(struct node *node) {
    if (!node || --node->mentions > 0) return;
    if (node->is_in_limbo) {
        char kept[32];
        limbo_name(node, kept);
        unlinkat(disk.limbo, kept, node->is_directory ? AT_REMOVEDIR : 0);
        node->is_in_limbo = false;
    }
    node_let_go(node);
}

void names_changed(struct node *directory, const char *name, struct node *before,
                   struct node *after) {
    struct change *change = calloc(1, sizeof *change + strlen(name) + 1);
    if (!change) abort();
    change->moment = disk.moment;
    change->directory = directory;
    change->before = before;
    change->after = after;
    strcpy(change->name, name);
    directory->mentions++;
    if (before) before->mentions++;
    if (after) after->mentions++;
    *end = change;
    end = &change->next;
}

void names_synced(struct node *directory, uint64_t moment) {
    struct change **place = &first, *gone = NULL;
    while (*place) {
        struct change *change = *place;
        if (change->directory != directory || change->moment > moment) {
            place = &change->next;
            continue;
        }
        *place = change->next;
        change->next = gone;
        gone = change;
    }
    end = place;
    while (gone) {
        struct change *change = gone;
        gone = change->next;
        unmention(change->before);
        unmention(change->after);
        unmention(change->directory);
        free(change);
    }
}

void names_count(struct tally *tally) {
    for (struct change *change = first; change; change = change->next) tally->names++;
}

uint64_t names_oldest(void) { return first ? first->moment : disk.moment; }

// Moved, and not made or removed: another change of the same operation names it, too.
static bool is_move_of_directory(const struct change *change) {
    const struct node *node = change->before ? change->before : change->after;
    if (!node || !node->is_directory) return false;
    for (const struct change *other = first; other; other = other->next) {
        if (other != change && other->moment == change->moment &&
            (other->before == node || other->after == node)) {
            return true;
        }
    }
    return false;
}

// Looks at all changes of one name, of which this is the first, and decides how many landed.
static struct binding decide(struct change *change, struct fate *fate, struct tally *tally) {
    uint64_t all = 0, landed = 0, by_moment = 0;
    bool is_in_order = fate->rule == names_in_order || fate->rule == all_in_order;
    for (struct change *each = change; each; each = each->next) {
        if (each->directory != change->directory || strcmp(each->name, change->name)) continue;
        all++;
        by_moment += each->moment <= fate->moment;
        is_in_order = is_in_order || is_move_of_directory(each);
    }
    landed = is_in_order ? by_moment : chance_below(&fate->chance, all + 1);
    if (fate->rule == none) landed = 0;
    struct binding binding = {change, NULL, change->before};
    uint64_t number = 0;
    for (struct change *each = change; each; each = each->next) {
        if (each->directory != change->directory || strcmp(each->name, change->name)) continue;
        each->is_settled = true;
        binding.now = each->after;
        if (++number == landed) binding.then = each->after;
    }
    tally->names_landed += landed;
    tally->names_gone += all - landed;
    return binding;
}

static void take_away(const struct binding *binding) {
    int directory = binding->change->directory->descriptor;
    const char *name = binding->change->name;
    if (names_keep(binding->change->directory, name, binding->now) != 0) abort();
    if (!binding->now->is_directory && unlinkat(directory, name, 0) != 0) abort();
}

static void bring_back(const struct binding *binding) {
    int directory = binding->change->directory->descriptor;
    char kept[32];
    limbo_name(binding->then, kept);
    if (!binding->then->is_in_limbo) abort();
    int failed = binding->then->is_directory
                     ? renameat(disk.limbo, kept, directory, binding->change->name)
                     : linkat(disk.limbo, kept, directory, binding->change->name, 0);
    if (failed) abort();
    if (binding->then->is_directory) binding->then->is_in_limbo = false;
}

void names_settle(struct fate *fate, struct tally *tally) {
    size_t count = 0, room = 0;
    struct binding *bindings = NULL;
    for (struct change *change = first; change; change = change->next) {
        if (change->is_settled) continue;
        if (count == room) {
            room = room ? 2 * room : 64;
            bindings = realloc(bindings, room * sizeof *bindings);
            if (!bindings) abort();
        }
        bindings[count++] = decide(change, fate, tally);
    }
    for (size_t index = 0; index < count; index++) {
        if (bindings[index].now && bindings[index].now != bindings[index].then) {
            take_away(&bindings[index]);
        }
    }
    for (size_t index = 0; index < count; index++) {
        if (bindings[index].then && bindings[index].now != bindings[index].then) {
            bring_back(&bindings[index]);
        }
    }
    free(bindings);
}
