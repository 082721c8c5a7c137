// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The first step of recovery: read every superblock in the directory and decide which segments
// exist. Batches at or beyond the first batch of a later generation do not exist, so a segment that
// begins there is void; and everything before the youngest segment that begins at or before the
// record after the cut is published, so the walk starts at that one.

import Formats
import HostIO
import Primitives

/// A segment of this volume found in the directory.
struct FoundSegment<Storage: StorageDirectory>: Sendable {
    let file: Storage.File
    let number: UInt64
    let header: SegmentHeader

    var name: String { SegmentName.text(of: number) }
    var walk: WalkSegment<Storage.File> {
        WalkSegment(file: file, name: name, header: header)
    }
}

struct SegmentSurvey<Storage: StorageDirectory>: Sendable {
    /// Ascending by generation and first batch; what the walk may visit.
    private(set) var live: [FoundSegment<Storage>] = []
    /// This volume's, but cut off whole by a later generation, or published whole: for the pool.
    private(set) var superseded: [FoundSegment<Storage>] = []
    /// Names without a superblock of this volume: never used, torn, another volume's, or a second
    /// name of one file. Only the names are removed: the files may have other owners.
    private(set) var strangers: [String] = []
    /// Those of the strangers whose superblock is nobody's: never written, torn, or rotted.
    private(set) var unreadable: [UnreadableSegment<Storage.File>] = []
    private(set) var highestNumber: UInt64 = 0

    /// `writable`: the files are kept and written later.
    init(
        directory: Storage, volume: VolumeID, cut: RecordSequence, writable: Bool = true
    ) throws(HostIOError) {
        let page = UnsafeMutableRawBufferPointer.allocate(
            byteCount: SegmentHeader.byteCount, alignment: Limits.grainBytes)
        defer { page.deallocate() }
        var found: [FoundSegment<Storage>] = []
        for name in try directory.list() {
            guard let number = SegmentName.number(of: name) else { continue }
            highestNumber = max(highestNumber, number)
            let file = try directory.open(name, writable: writable)
            try readPage(0, of: file, into: page)
            let header = try? SegmentHeader(decoding: UnsafeRawBufferPointer(page))
            if let header, header.volume == volume {
                found.append(FoundSegment(file: file, number: number, header: header))
            } else {
                strangers.append(name)
                if header == nil { unreadable.append(UnreadableSegment(file: file, name: name)) }
            }
        }
        sortOut(found)
        dropPublished(upTo: cut)
    }

    private mutating func sortOut(_ found: [FoundSegment<Storage>]) {
        var found = found
        found.sort {
            ($0.header.generation, $0.header.firstBatch, $0.number)
                < ($1.header.generation, $1.header.firstBatch, $1.number)
        }
        // From the youngest down: a segment exists only if it begins before all younger ones.
        for segment in found.reversed() {
            if (live + superseded).contains(where: { $0.header == segment.header }) {
                strangers.append(segment.name)
            } else if let next = live.last, next.header.firstBatch <= segment.header.firstBatch {
                superseded.append(segment)
            } else {
                live.append(segment)
            }
        }
        live.reverse()
    }

    private mutating func dropPublished(upTo cut: RecordSequence) {
        guard let start = live.lastIndex(where: { $0.header.firstSequence <= cut.next }) else {
            return
        }
        superseded.append(contentsOf: live[..<start])
        live.removeFirst(start)
    }
}
