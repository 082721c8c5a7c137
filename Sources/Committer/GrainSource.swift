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

/// Fills blocks from a frozen journal. Any thread.
struct GrainSource<Storage: StorageDirectory>: Sendable {
    private let journal: FrozenJournal<Storage>
    private let grains: Int

    init(journal: FrozenJournal<Storage>, grainsPerBlock: Int) {
        self.journal = journal
        grains = grainsPerBlock
    }

    /// What the leaf holds. `realGrains` of the block are inside the volume; those past its end
    /// count as written zeros.
    func written(_ leaf: UnsafePointer<UInt32>, realGrains: Int) -> WrittenGrains {
        var mask = GrainMask()
        var isWhole = true
        for grain in 0..<grains {
            if leaf[grain] != 0 {
                mask.insert(grain)
            } else if grain < realGrains {
                isWhole = false
            }
        }
        return WrittenGrains(mask: mask, isWhole: isWhole)
    }

    /// Lays the leaf's grains into `block`, and zeros where it has none.
    func fill(
        _ block: UnsafeMutableRawBufferPointer, from leaf: UnsafePointer<UInt32>
    ) throws(CommitError) {
        var grain = 0
        while grain < grains {
            let run = run(of: leaf, from: grain)
            let target = Self.grains(run, of: block)
            if leaf[grain] == 0 { target.clear() } else { try read(leaf[grain], into: target) }
            grain = run.upperBound
        }
    }

    /// Lays the leaf's grains one behind the other; `content` has room for just these.
    func gather(
        _ leaf: UnsafePointer<UInt32>, into content: UnsafeMutableRawBufferPointer
    ) throws(CommitError) {
        var grain = 0
        var count = 0
        while grain < grains {
            let run = run(of: leaf, from: grain)
            if leaf[grain] != 0 {
                try read(
                    leaf[grain], into: Self.grains(count..<(count + run.count), of: content))
                count += run.count
            }
            grain = run.upperBound
        }
    }

    /// The grains from `first` on that are alike: absent, zeros, or consecutive pages of one
    /// segment, whose page numbers rise with the grains.
    private func run(of leaf: UnsafePointer<UInt32>, from first: Int) -> Range<Int> {
        let raw = leaf[first]
        let rises = raw != 0 && raw != JournalPage.zeroMark
        var end = first + 1
        while end < grains, leaf[end] == (rises ? raw + UInt32(end - first) : raw),
            !rises || leaf[end] != JournalPage.zeroMark
        { end += 1 }
        return first..<end
    }

    private static func grains(
        _ range: Range<Int>, of memory: UnsafeMutableRawBufferPointer
    ) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            rebasing: memory[
                (range.lowerBound * Limits.grainBytes)..<(range.upperBound * Limits.grainBytes)])
    }

    private func read(
        _ raw: UInt32, into target: UnsafeMutableRawBufferPointer
    ) throws(CommitError) {
        guard raw != JournalPage.zeroMark else { return target.clear() }
        do throws(HostIOError) {
            try journal.read(JournalPage(rawValue: raw), into: target)
        } catch { throw .local(error) }
    }
}
