// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The read path: active memtable, frozen memtable, map. Every byte is copied into the caller's
// buffer, so nothing of the volume's state is held once the call returns.

public import BlockDevice
import CleanCache
import Glibc
import HostIO
import Journal
public import Primitives
import VolumeMap

/// What stood in the way of copying a piece of one block.
enum CopyOutcome {
    case copied
    /// The base block is not in the clean cache.
    case missingBase
    /// A journal page is neither mapped nor in the page cache.
    case coldPage(JournalPage)
    case failed
}

extension Volume {
    public mutating func read(
        at offset: ByteOffset, into buffer: UnsafeMutableRawBufferPointer, tag: RequestTag
    ) -> Submission {
        guard contains(offset, UInt64(buffer.count)) else { return .failed(.outOfRange) }
        if let wait = waitForResolution(tag) { return wait }
        counters.reads &+= 1
        counters.readBytes &+= UInt64(buffer.count)
        var position = offset.rawValue
        var target = buffer
        while target.count > 0 {
            let within = Int(truncatingIfNeeded: position & (UInt64(blockBytes) &- 1))
            let count = min(target.count, blockBytes &- within)
            let block = BlockIndex(rawValue: position >> blockShift)
            let piece = UnsafeMutableRawBufferPointer(rebasing: target[..<count])
            switch copy(block, from: within, into: piece) {
            case .copied: break
            case .missingBase:
                let rest = ByteCount(UInt64(target.count))
                return parkOnFetches(from: ByteOffset(position), count: rest, tag: tag)
            case .coldPage(let page): return parkOnWarming(page, tag: tag)
            case .failed: return .failed(.failed)
            }
            position &+= UInt64(count)
            target = UnsafeMutableRawBufferPointer(rebasing: target[count...])
        }
        if let ahead = readAhead.hit(offset: offset.rawValue, count: UInt64(buffer.count)) {
            orderAhead(ahead)
        }
        return .done
    }

    /// What to answer while nobody knows which commit is the root; nil: it is known.
    mutating func waitForResolution(_ tag: RequestTag) -> Submission? {
        guard isResolving else { return nil }
        if case .closed(let failure) = gate, failure != .closing { return .failed(.failed) }
        return parkForRoom(tag, pages: 0)
    }

    /// Copies `target.count` bytes of `block`, from byte `within` on, in the newest state.
    mutating func copy(
        _ block: BlockIndex, from within: Int, into target: UnsafeMutableRawBufferPointer
    ) -> CopyOutcome {
        let newer = active.leaf(of: block)
        let newerIsZero = newer == nil && active.isZeroRange(block: block)
        let older = newerIsZero ? nil : frozen?.leaf(of: block)
        if newer == nil && older == nil {
            if newerIsZero || frozen?.isZeroRange(block: block) ?? false {
                zeroFill(target)
                return .copied
            }
            return copyBase(block, from: within, into: target)
        }
        let olderIsZero =
            newerIsZero || (older == nil && frozen?.isZeroRange(block: block) ?? false)
        let lookup = LayeredLeaf(
            newer: newer, newerIsZero: newerIsZero, older: older, olderIsZero: olderIsZero)
        return copyLayered(block, lookup, from: within, into: target)
    }

    private mutating func copyLayered(
        _ block: BlockIndex, _ leaf: LayeredLeaf, from within: Int,
        into target: UnsafeMutableRawBufferPointer
    ) -> CopyOutcome {
        var done = 0
        while done < target.count {
            let position = within &+ done
            let grain = position / Limits.grainBytes
            let inside = position % Limits.grainBytes
            let left = inside &+ target.count &- done
            let grains = leaf.run(from: grain, limit: (left &- 1) / Limits.grainBytes &+ 1)
            let count = min(left, grains &* Limits.grainBytes) &- inside
            let piece = UnsafeMutableRawBufferPointer(
                rebasing: target[done..<(done &+ count)])
            let outcome: CopyOutcome
            switch leaf.state(grain) {
            case .absent: outcome = copyBase(block, from: position, into: piece)
            case .zero:
                zeroFill(piece)
                outcome = .copied
            case .page(let page): outcome = copyPages(page, from: inside, into: piece)
            }
            guard case .copied = outcome else { return outcome }
            done &+= count
        }
        return .copied
    }

    private mutating func copyBase(
        _ block: BlockIndex, from within: Int, into target: UnsafeMutableRawBufferPointer
    ) -> CopyOutcome {
        switch map.resolve(block) {
        case .zeros: zeroFill(target)
        case .cached(let cached):
            guard let base = cached.bytes.baseAddress, let to = target.baseAddress else {
                return .copied
            }
            precondition(within &+ target.count <= cached.bytes.count)
            memcpy(to, base + within, target.count)
            withExtendedLifetime(cached) {}
        case .missing: return .missingBase
        }
        return .copied
    }

    /// Copies from consecutive pages of one segment, with one system call if they are not mapped.
    private func copyPages(
        _ page: JournalPage, from inside: Int, into target: UnsafeMutableRawBufferPointer
    ) -> CopyOutcome {
        guard let to = target.baseAddress else { return .copied }
        if let mapped = journal.page(page) {
            memcpy(to, mapped + inside, target.count)
            return .copied
        }
        let (segment, offset) = journal.file(of: page)
        do throws(HostIOError) {
            let count = try segment.file.readIfCached(at: offset + UInt64(inside), into: target)
            guard let count else { return .coldPage(page) }
            return count == target.count ? .copied : .failed
        } catch { return .failed }
    }
}

/// The two memtables' view of one block.
struct LayeredLeaf {
    let newer: UnsafePointer<UInt32>?
    let newerIsZero: Bool
    let older: UnsafePointer<UInt32>?
    let olderIsZero: Bool

    @inline(__always)
    func state(_ grain: Int) -> GrainState { GrainState(entry: entry(grain)) }

    /// The memtable entry that shows: 0 for absent, the zero mark, or a page.
    @inline(__always)
    func entry(_ grain: Int) -> UInt32 {
        if newerIsZero { return JournalPage.zeroMark }
        if let newer, newer[grain] != 0 { return newer[grain] }
        if olderIsZero { return JournalPage.zeroMark }
        return older?[grain] ?? 0
    }

    /// Grains from `first` on, at most `limit`, that one copy can serve: all absent, all zero, or
    /// on consecutive pages. Pages never run from one segment into the next, whose page 0 is no
    /// payload.
    @inline(__always)
    func run(from first: Int, limit: Int) -> Int {
        let start = entry(first)
        let isPage = start != 0 && start != JournalPage.zeroMark
        var count = 1
        while count < limit {
            let expected = isPage ? start &+ UInt32(truncatingIfNeeded: count) : start
            if entry(first &+ count) != expected { break }
            count &+= 1
        }
        return count
    }
}

@inline(__always)
func zeroFill(_ target: UnsafeMutableRawBufferPointer) {
    guard let base = target.baseAddress else { return }
    memset(base, 0, target.count)
}
