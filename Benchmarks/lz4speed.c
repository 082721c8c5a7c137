// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How fast LZ4 alone compresses a file's blocks of 128 KiB on one core: what a commit is compared
// with. Prints the seconds of the fastest of three passes, and the bytes that came out.

#define _GNU_SOURCE
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { block_bytes = 128 << 10, passes = 3 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: lz4speed FILE\n"), 2;
    FILE *file = fopen(arguments[1], "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) return perror(arguments[1]), 1;
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(size);
    char *out = malloc((size_t)LZ4_compressBound(block_bytes));
    if (!bytes || !out || fread(bytes, 1, size, file) != size) return perror("lz4speed"), 1;
    double best = 1e9;
    size_t total = 0;
    for (int pass = 0; pass < passes; pass++) {
        double began = now();
        total = 0;
        for (size_t at = 0; at < size; at += block_bytes) {
            size_t left = size - at < block_bytes ? size - at : block_bytes;
            int made = LZ4_compress_default(
                bytes + at, out, (int)left, LZ4_compressBound(block_bytes));
            total += (size_t)made;
        }
        double took = now() - began;
        if (took < best) best = took;
    }
    printf("%.6f %zu\n", best, total);
    return 0;
}
