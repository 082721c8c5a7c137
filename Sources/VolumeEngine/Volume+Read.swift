// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The read path: active memtable, frozen memtable, map. A walk over a range gives each run of bytes
// to a sink: one copies into the caller's buffer, the other notes where they lie (ReadSink.swift).

public import BlockDevice
import CleanCache
import Glibc
import HostIO
import Journal
public import Primitives
import VolumeMap

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

    public mutating func view(
        at offset: ByteOffset, count: Int, into pieces: inout MemoryPieces
    ) -> Bool {
        guard count > 0, contains(offset, UInt64(count)), !isResolving else { return false }
        let isWhole = withUnsafeMutablePointer(to: &pieces) { pieces in
            var sink = ViewSink(pieces: pieces)
            swap(&sink.held, &viewed)
            defer { swap(&sink.held, &viewed) }
            return walk(at: offset.rawValue, count: count, &sink)
        }
        guard isWhole else {
            endView()
            return false
        }
        counters.reads &+= 1
        counters.readBytes &+= UInt64(count)
        if let ahead = readAhead.hit(offset: offset.rawValue, count: UInt64(count)) {
            orderAhead(ahead)
        }
        return true
    }

    public mutating func endView() { viewed.removeAll(keepingCapacity: true) }

    /// Walks over whole and partial blocks; false where a sink takes no more.
    private mutating func walk(
        at offset: UInt64, count: Int, _ sink: inout ViewSink
    ) -> Bool {
        var position = offset
        var left = count
        while left > 0 {
            let within = Int(truncatingIfNeeded: position & (UInt64(blockBytes) &- 1))
            let part = min(left, blockBytes &- within)
            let block = BlockIndex(rawValue: position >> blockShift)
            guard case .copied = walk(block, from: within, count: part, &sink) else { return false }
            position &+= UInt64(part)
            left &-= part
        }
        return true
    }

    /// What to answer while nobody knows which commit is the root; nil: it is known.
    mutating func waitForResolution(_ tag: RequestTag) -> Submission? {
        guard isResolving else { return nil }
        if case .closed(let failure) = gate, failure != .closing { return .failed(.failed) }
        return parkForRoom(tag, pages: 0)
    }

    /// Copies `target.count` bytes of `block`, from byte `within` on, in the newest state.
    @inline(__always)
    mutating func copy(
        _ block: BlockIndex, from within: Int, into target: UnsafeMutableRawBufferPointer
    ) -> CopyOutcome {
        guard let base = target.baseAddress else { return .copied }
        var sink = CopySink(target: base)
        return walk(block, from: within, count: target.count, &sink)
    }

    /// Gives the sink `count` bytes of `block`, from byte `within` on, in the newest state.
    @inline(__always)
    mutating func walk<Sink: ReadSink>(
        _ block: BlockIndex, from within: Int, count: Int, _ sink: inout Sink
    ) -> CopyOutcome {
        let newer = active.leaf(of: block)
        let newerIsZero = newer == nil && active.isZeroRange(block: block)
        let older = newerIsZero ? nil : frozen?.leaf(of: block)
        if newer == nil && older == nil {
            if newerIsZero || frozen?.isZeroRange(block: block) ?? false {
                return sink.takeZeros(count)
            }
            return walkBase(block, from: within, count: count, &sink)
        }
        let olderIsZero =
            newerIsZero || (older == nil && frozen?.isZeroRange(block: block) ?? false)
        let lookup = LayeredLeaf(
            newer: newer, newerIsZero: newerIsZero, older: older, olderIsZero: olderIsZero)
        return walkLayered(block, lookup, from: within, count: count, &sink)
    }

    private mutating func walkLayered<Sink: ReadSink>(
        _ block: BlockIndex, _ leaf: LayeredLeaf, from within: Int, count total: Int,
        _ sink: inout Sink
    ) -> CopyOutcome {
        var done = 0
        while done < total {
            let position = within &+ done
            let grain = position / Limits.grainBytes
            let inside = position % Limits.grainBytes
            let left = inside &+ total &- done
            let grains = leaf.run(from: grain, limit: (left &- 1) / Limits.grainBytes &+ 1)
            let count = min(left, grains &* Limits.grainBytes) &- inside
            let outcome: CopyOutcome
            switch leaf.state(grain) {
            case .absent: outcome = walkBase(block, from: position, count: count, &sink)
            case .zero: outcome = sink.takeZeros(count)
            case .page(let page):
                if let mapped = journal.page(page) {
                    outcome = sink.take(mapped + inside, count)
                } else {
                    let (segment, offset) = journal.file(of: page)
                    outcome = sink.take(page, of: segment, at: offset + UInt64(inside), count)
                }
            }
            guard case .copied = outcome else { return outcome }
            done &+= count
        }
        return .copied
    }

    @inline(__always)
    private mutating func walkBase<Sink: ReadSink>(
        _ block: BlockIndex, from within: Int, count: Int, _ sink: inout Sink
    ) -> CopyOutcome {
        switch map.resolve(block) {
        case .zeros: return sink.takeZeros(count)
        case .cached(let cached):
            precondition(within &+ count <= cached.bytes.count)
            return sink.take(cached, from: within, count)
        case .missing: return .missingBase
        }
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
