// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One sync of a journal as an effect: the shard begins it, a worker performs it while the shard
// goes on appending, the shard ends it. All flushes that wait when it begins are answered by it.

public import HostIO
public import Primitives

/// The files and names that must reach the disk so that everything up to `target` is durable.
public struct SyncWork<Storage: StorageDirectory>: Sendable {
    /// The last batch that this sync covers.
    public let target: BatchNumber
    /// The last record that this sync covers.
    public let targetSequence: RecordSequence
    let segments: [SegmentFile<Storage>]

    /// Blocks until all of it is durable: one `fdatasync` for each segment written since the last
    /// sync, and for segments new in the journal also both directories of their rename. After a
    /// failure the journal must be told and never trusted again.
    public func perform() throws(HostIOError) {
        for segment in segments { try segment.file.sync() }
        let unnamed = segments.filter { !$0.nameIsDurable }
        guard let first = unnamed.first else { return }
        try first.directory.sync()
        try first.poolDirectory.sync()
        for segment in unnamed { segment.markNameDurable() }
    }
}
