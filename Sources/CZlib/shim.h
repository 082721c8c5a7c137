// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The headers of the system library for DEFLATE, as the module CZlib.

#pragma once
#include <string.h>
#include <zlib.h>

// Decodes a raw DEFLATE stream, without zlib or gzip header, until it ends or `target` is full.
// Returns the bytes written, or -1 for anything that is no such stream or ends early.
static inline long czlib_inflate_raw(
    const void *source, unsigned source_bytes, void *target, unsigned target_bytes) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (inflateInit2(&stream, -15) != Z_OK) return -1;
    stream.next_in = (Bytef *)source;
    stream.avail_in = source_bytes;
    stream.next_out = (Bytef *)target;
    stream.avail_out = target_bytes;
    int result = inflate(&stream, Z_FINISH);
    long written = (long)(target_bytes - stream.avail_out);
    inflateEnd(&stream);
    if (result == Z_STREAM_END) return written;
    return result == Z_BUF_ERROR && written == (long)target_bytes ? written : -1;
}
