// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The headers of the system library for XXH3, as the module CXXHash.
//
// The library's plain functions are compiled for the oldest processor of the distribution: on
// x86-64 they hash with SSE2, a quarter as fast as those that look at the processor first. These
// have names of their own, which a header puts in place of the plain ones by macros; Swift sees no
// macros of functions, so what is used gets a function here.

#pragma once
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

static inline XXH64_hash_t cxxhash_xxh3(const void *bytes, size_t count, XXH64_hash_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}

static inline void cxxhash_xxh3_update(XXH3_state_t *state, const void *bytes, size_t count) {
    XXH3_64bits_update(state, bytes, count);
}
