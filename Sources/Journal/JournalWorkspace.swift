// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The memory that a journal stages a batch in: header page, superblock page, iovecs. Made at the
// first write, dropped when the volume is idle.

import Formats
import Glibc
import Primitives

struct JournalWorkspace: ~Copyable {
    /// Pieces of one `pwritev`: superblock, header, payload.
    static let piecesMax = 1024
    static let payloadPiecesMax = piecesMax - 2

    let header: UnsafeMutableRawPointer
    let superblock: UnsafeMutableRawPointer
    let pieces: UnsafeMutablePointer<iovec>
    let hasher = XXH3Stream()

    init() {
        header = .allocate(byteCount: Limits.grainBytes, alignment: Limits.grainBytes)
        header.initializeMemory(as: UInt8.self, repeating: 0, count: Limits.grainBytes)
        superblock = .allocate(byteCount: Limits.grainBytes, alignment: Limits.grainBytes)
        pieces = .allocate(capacity: Self.piecesMax)
        pieces.initialize(repeating: iovec(), count: Self.piecesMax)
    }

    deinit {
        header.deallocate()
        superblock.deallocate()
        pieces.deallocate()
    }
}
