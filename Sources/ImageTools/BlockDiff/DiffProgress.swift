// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How far a diff has come, told after each piece of work, and the way to stop it.

/// Counts bytes of the files that were dealt with, read or not.
struct DiffProgress {
    private let tell: (UInt64, UInt64) -> Bool
    private var done: UInt64 = 0
    private var total: UInt64 = 0

    /// `tell` gets bytes done and in all, as far as is known; false stops the work.
    init(_ tell: @escaping (UInt64, UInt64) -> Bool) { self.tell = tell }

    mutating func expect(_ bytes: UInt64) { total += bytes }

    mutating func advance(_ bytes: UInt64) throws(BlockDiffError) {
        done += bytes
        guard tell(done, max(done, total)) else { throw .cancelled }
    }
}
