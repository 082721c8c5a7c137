// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The loss of power: one seed decides what of the unsynced state is on the disk. The limbo is left
// to the next start, which clears it.

#include "volatilefs.h"

uint64_t chance_next(struct chance *chance) {
    uint64_t mixed = chance->state += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
}

uint64_t chance_below(struct chance *chance, uint64_t limit) {
    return chance_next(chance) % limit;
}

static void count_node(struct node *node, void *context) { content_count(node, context); }

void count(struct tally *tally) {
    *tally = (struct tally){.syncs = (uint64_t)disk.syncs,
                            .watched_syncs = (uint64_t)disk.watched_syncs};
    for_each_node(count_node, tally);
    names_count(tally);
}

struct settling {
    struct fate *fate;
    struct tally *tally;
};

static void settle_node(struct node *node, void *context) {
    struct settling *settling = context;
    // Each file draws from a stream of its own.
    struct fate own = *settling->fate;
    own.chance.state ^= chance_next(&(struct chance){node->number});
    content_settle(node, &own, settling->tally);
}

static void note_oldest(struct node *node, void *context) {
    uint64_t *oldest = context;
    for (size_t number = 0; number < node->sector_room; number++) {
        const struct sector *sector = &node->sectors[number];
        if (sector->count && sector->versions[0].until < *oldest) {
            *oldest = sector->versions[0].until;
        }
    }
}

void cut(uint64_t seed, struct tally *tally) {
    struct fate fate = {.chance = {seed}};
    static const int rules[] = {each_alone,     each_alone,     each_alone,   each_alone,
                                names_in_order, names_in_order, all_in_order, none};
    count(tally);
    fate.rule = rules[chance_below(&fate.chance, 8)];
    uint64_t oldest = names_oldest();
    for_each_node(note_oldest, &oldest);
    // From just before the oldest unsynced change up to now.
    fate.moment = oldest - 1 + chance_below(&fate.chance, disk.moment - oldest + 2);
    names_settle(&fate, tally);
    struct settling settling = {&fate, tally};
    for_each_node(settle_node, &settling);
    disk.is_off = true;
    pthread_cond_broadcast(&disk.changed);
}
