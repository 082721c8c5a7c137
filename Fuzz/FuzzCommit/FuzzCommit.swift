// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commits: the input as a whole commit, and as a body whose hash was right.

import Formats
import FuzzSupport
import Primitives

private let key = CommitKey(volume: VolumeID(low: 1, high: 1), sequence: CommitSequence(1))

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCommit(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    _ = try? Commit(decoding: bytes, key: nil)
    guard let commit = try? Commit(body: bytes, key: key, epoch: Epoch(1)) else { return 0 }
    lend(commit.encode()) { lent in
        require(
            (try? Commit(decoding: lent, key: key)) == commit, "an accepted commit comes back")
    }
    return 0
}
