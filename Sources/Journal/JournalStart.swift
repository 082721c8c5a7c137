// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a journal begins with: nothing, or what recovery kept and sealed.

import Formats
public import HostIO
public import Primitives

/// A segment of a journal, with what its superblock says.
struct LiveSegment<Storage: StorageDirectory>: Sendable {
    let file: SegmentFile<Storage>
    let header: SegmentHeader
    /// The last record in it that counts; 0 while it has none.
    var lastSequence: RecordSequence
}

/// The state from which a volume's journal goes on. Made by recovery, or `fresh` for a new volume.
public struct JournalStart<Storage: StorageDirectory>: Sendable {
    public let volume: VolumeID
    public let bootID: BootID
    public let directory: Storage
    public let segmentPages: Int
    public let generation: UInt64
    public let nextBatch: BatchNumber
    public let chainBefore: UInt64
    public let nextSequence: RecordSequence
    /// The number for the next segment's name.
    public let nextSegmentNumber: UInt64
    /// Oldest first, in slots 0, 1, …; the last is the sealing segment, to which appends go.
    let segments: [LiveSegment<Storage>]

    /// For a volume without a journal: `directory` is empty, and its emptiness durable.
    public static func fresh(
        volume: VolumeID, bootID: BootID, directory: Storage, cut: RecordSequence,
        segmentPages: Int = Limits.segmentPages
    ) -> JournalStart {
        JournalStart(
            volume: volume, bootID: bootID, directory: directory, segmentPages: segmentPages,
            generation: 1, nextBatch: BatchNumber(1), chainBefore: 0, nextSequence: cut.next,
            nextSegmentNumber: 1, segments: [])
    }
}
