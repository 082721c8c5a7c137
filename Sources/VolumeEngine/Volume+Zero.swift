// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Zeros and trims: whole grains become one record and one memtable range, however long; the edges
// are merged as sub-grain writes are. All records of a request are one unit.

public import BlockDevice
import Formats
import Glibc
import Journal
public import Primitives

extension Volume {
    public mutating func zero(
        at offset: ByteOffset, count: ByteCount, options: ZeroOptions, fua: Bool, tag: RequestTag
    ) -> Submission {
        guard contains(offset, count.rawValue) else { return .failed(.outOfRange) }
        if let refusal = refusalOfWrites(tag) { return refusal }
        guard count.rawValue > 0 else { return completeEmpty(fua: fua, tag: tag) }
        guard hasRoom(pages: 2) else { return parkForRoom(tag, pages: 2) }
        let range = ZeroedRange(offset: offset.rawValue, count: count.rawValue, size: size.rawValue)
        if range.head != nil || range.tail != nil {
            prepareToMerge(
                range.head?.grain ?? range.middle.lowerBound,
                range.tail?.grain ?? range.middle.lowerBound)
        }
        var head: UnsafeMutableRawBufferPointer?
        var tail: UnsafeMutableRawBufferPointer?
        if let edge = range.head {
            switch mergeZeros(edge, options: options, tag: tag) {
            case .ready(let page): head = page
            case .blocked(let submission): return submission
            }
        }
        if let edge = range.tail {
            switch mergeZeros(edge, options: options, tag: tag) {
            case .ready(let page): tail = page
            case .blocked(let submission): return submission
            }
        }
        guard stage(range, head: head, tail: tail, isTrim: options.contains(.trim)) else {
            return .failed(.failed)
        }
        staged.requests.append(StagedRequest(tag: tag, needsSync: fua))
        counters.zeroes &+= 1
        counters.zeroedBytes &+= count.rawValue
        return .staged
    }

    private mutating func mergeZeros(
        _ edge: ZeroedRange.Edge, options: ZeroOptions, tag: RequestTag
    ) -> MergeOutcome {
        let outcome = zeroPage.withUnsafeBytes { zeros in
            merge(
                grain: edge.grain, at: edge.inside,
                UnsafeRawBufferPointer(rebasing: zeros[..<edge.count]), tag: tag)
        }
        guard options.contains(.fastOnly), case .blocked(.parked) = outcome else { return outcome }
        parks.cancel(tag)
        return .blocked(.failed(.notSupported))
    }

    private mutating func stage(
        _ range: ZeroedRange, head: UnsafeMutableRawBufferPointer?,
        tail: UnsafeMutableRawBufferPointer?, isTrim: Bool
    ) -> Bool {
        let hasMiddle = !range.middle.isEmpty
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        if let edge = range.head, let head {
            let write = WidenedWrite(
                firstGrain: edge.grain, grains: 1, head: head, tail: nil, middle: nothing)
            guard stage(write, continues: hasMiddle || tail != nil) else { return false }
        }
        if hasMiddle {
            let offset = range.middle.lowerBound * grainBytes
            let length = UInt64(range.middle.count) * grainBytes
            guard
                stageMark(
                    isTrim ? .trim : .zero, offset: offset, length: length,
                    continues: tail != nil)
            else { return false }
            staged.ranges.append(
                StagedRange(
                    firstGrain: range.middle.lowerBound, count: UInt64(range.middle.count),
                    page: nil))
        }
        if let edge = range.tail, let tail {
            let write = WidenedWrite(
                firstGrain: edge.grain, grains: 1, head: tail, tail: nil, middle: nothing)
            guard stage(write, continues: false) else { return false }
        }
        return true
    }

    /// Stages a record without payload; false if an append on the way closed the volume.
    mutating func stageMark(
        _ kind: JournalRecord.Kind, offset: UInt64, length: UInt64, continues: Bool
    ) -> Bool {
        if journal.failure != nil { return false }
        for _ in 0..<2 {
            switch journal.stageMark(
                kind: kind, offset: offset, length: length, epoch: epoch, continues: continues)
            {
            case .at: return true
            case .batchFull: appendStaged(keepingEdges: true)
            }
            if journal.failure != nil { return false }
        }
        preconditionFailure("an empty batch takes any mark")
    }
}

/// A range to zero, cut into whole grains and edges. The last, short grain of a device counts as
/// whole when the range reaches the end: what lies past the size is zero already.
struct ZeroedRange {
    struct Edge {
        let grain: UInt64
        let inside: Int
        let count: Int
    }

    let head: Edge?
    let tail: Edge?
    /// Grains zeroed whole.
    let middle: Range<UInt64>

    init(offset: UInt64, count: UInt64, size: UInt64) {
        precondition(count > 0 && offset + count <= size)
        let end = offset + count
        let firstWhole = (offset + grainBytes - 1) / grainBytes
        let endWhole = end == size ? (end + grainBytes - 1) / grainBytes : end / grainBytes
        if firstWhole > endWhole {
            // Both ends lie inside one grain.
            head = Edge(
                grain: offset / grainBytes, inside: Int(offset % grainBytes), count: Int(count))
            tail = nil
            middle = firstWhole..<firstWhole
            return
        }
        middle = firstWhole..<endWhole
        head =
            offset % grainBytes == 0
            ? nil
            : Edge(
                grain: offset / grainBytes, inside: Int(offset % grainBytes),
                count: Int(firstWhole * grainBytes - offset))
        tail =
            end <= endWhole * grainBytes
            ? nil
            : Edge(grain: endWhole, inside: 0, count: Int(end - endWhole * grainBytes))
    }
}

private let zeroPage = [UInt8](repeating: 0, count: Limits.grainBytes)
