// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a journal holds beyond a commit, for a volume that will never publish it: read, never
// changed, never replayed. A recovery decides what counts, as after a reboot.

import Formats
import Glibc
public import HostIO
public import Primitives

/// A journal's content beyond a cut. Blocking; confined to one thread.
public struct SalvagedJournal<Storage: StorageDirectory> {
    /// What a recovery would make of it.
    public let verdict: JournalVerdict
    /// Of the volume, after the resizes that the journal holds.
    public let size: ByteCount
    public let blockBytes: Int
    /// By slot.
    private let files: [WalkSegment<Storage.File>]
    private let memtable: Memtable

    /// Reads every record after `cut`, and verifies every payload. `size` and `blockBytes` are
    /// those of the commit at `cut`.
    public init(
        _ directory: Storage, volume: VolumeID, cut: RecordSequence, size: ByteCount,
        blockBytes: Int
    ) throws(HostIOError) {
        let memtable = Memtable(blockBytes: blockBytes)
        var grown = size
        let (verdict, survey) = try JournalInspection.replay(directory, volume, cut) { unit in
            for recovered in unit.records {
                let record = recovered.record
                switch record.kind {
                case .write:
                    memtable.set(
                        firstGrain: GrainIndex(record.grains.lowerBound),
                        count: record.grains.count, firstPage: recovered.page)
                case .zero, .trim: memtable.setZero(grains: record.grains)
                case .resize: grown = max(grown, ByteCount(record.length))
                case .cut, .published, .epoch: break
                }
            }
        }
        memtable.freeze()
        self.memtable = memtable
        self.verdict = verdict
        self.blockBytes = blockBytes
        self.size = grown
        files = survey.live.map(\.walk)
    }

    /// Calls `body` with every block that something was written to, ascending; those of a long
    /// zeroed range one by one.
    public func forEachBlock<Failure: Error>(
        _ body: (BlockIndex) throws(Failure) -> Void
    ) throws(Failure) {
        var next: UInt64 = 0
        var zeros = memtable.zeroRanges[...]
        func giveZeros(before end: UInt64) throws(Failure) {
            while let range = zeros.first, range.lowerBound < end {
                for block in max(next, range.lowerBound)..<max(next, min(range.upperBound, end)) {
                    try body(BlockIndex(block))
                }
                guard range.upperBound <= end else { return }
                zeros.removeFirst()
            }
        }
        for block in memtable.sortedBlocks() {
            try giveZeros(before: block.rawValue)
            try body(block)
            next = block.rawValue + 1
        }
        try giveZeros(before: .max)
    }

    /// What is known of a block: the state of each of its grains.
    public func grains(of block: BlockIndex) -> [GrainState] {
        let count = blockBytes / Limits.grainBytes
        guard let leaf = memtable.leaf(of: block) else {
            let state: GrainState = memtable.isZeroRange(block: block) ? .zero : .absent
            return [GrainState](repeating: state, count: count)
        }
        return (0..<count).map { GrainState(entry: leaf[$0]) }
    }

    /// Fills `buffer`, a whole number of grains, from consecutive pages.
    public func read(
        _ page: JournalPage, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) {
        let segment = files[page.slot]
        let offset = UInt64(page.page * Limits.grainBytes)
        guard try segment.file.read(at: offset, into: buffer) == buffer.count else {
            throw HostIOError(.read, path: segment.name, code: EIO)
        }
    }
}
