// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reads what one frozen block was written with: its leaf of the memtable says which journal page
// holds which grain, and pages that lie one behind the other are read with one call.

internal import Formats
internal import HostIO
internal import Journal
internal import Primitives

/// The written grains of one block.
struct WrittenGrains {
    /// The grains that the frozen memtable holds, zeroed ones included.
    var mask: GrainMask
    /// True if nothing of the block's old content shows any more.
    var isWhole: Bool
}

/// Fills blocks from a frozen journal. Owned by one commit.
struct GrainSource<Storage: StorageDirectory> {
    private let journal: FrozenJournal<Storage>
    private let grains: Int

    init(journal: FrozenJournal<Storage>, grainsPerBlock: Int) {
        self.journal = journal
        grains = grainsPerBlock
    }

    /// Lays the leaf's grains into `block`, and zeros where it has none. `realGrains` of them are
    /// inside the volume; those past its end count as written zeros.
    func fill(
        _ block: UnsafeMutableRawBufferPointer, from leaf: UnsafePointer<UInt32>, realGrains: Int
    ) throws(CommitError) -> WrittenGrains {
        var mask = GrainMask()
        var written = 0
        var grain = 0
        while grain < grains {
            let raw = leaf[grain]
            guard raw != 0 else {
                Self.clear(block, grain)
                grain += 1
                continue
            }
            var end = grain + 1
            if raw == JournalPage.zeroMark {
                Self.clear(block, grain)
            } else {
                // Consecutive pages of one segment: page numbers rise with the grains.
                while end < grains, leaf[end] != JournalPage.zeroMark,
                    leaf[end] == raw + UInt32(end - grain)
                { end += 1 }
                try read(raw, into: block, grains: grain..<end)
            }
            for index in grain..<end { mask.insert(index) }
            written += (grain..<end).clamped(to: 0..<realGrains).count
            grain = end
        }
        return WrittenGrains(mask: mask, isWhole: written == realGrains)
    }

    private static func clear(_ block: UnsafeMutableRawBufferPointer, _ grain: Int) {
        let start = grain * Limits.grainBytes
        _ = UnsafeMutableRawBufferPointer(rebasing: block[start..<(start + Limits.grainBytes)])
            .initializeMemory(as: UInt8.self, repeating: 0)
    }

    private func read(
        _ raw: UInt32, into block: UnsafeMutableRawBufferPointer, grains range: Range<Int>
    ) throws(CommitError) {
        let target = UnsafeMutableRawBufferPointer(
            rebasing: block[
                (range.lowerBound * Limits.grainBytes)..<(range.upperBound * Limits.grainBytes)])
        do throws(HostIOError) {
            try journal.read(JournalPage(rawValue: raw), into: target)
        } catch { throw .local(error) }
    }
}
