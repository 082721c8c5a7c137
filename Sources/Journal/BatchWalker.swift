// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Walks the batches of a journal in order and stops at the first that is not exactly what must come
// next: number, chain, checksum, sequence. Used by recovery and by the committer's verification, so
// that both agree on what the journal says. Payloads are not looked at.

import Formats
import Glibc
import HostIO
import Primitives

/// A segment to walk: an open file and its superblock.
struct WalkSegment<File: BlockFile>: Sendable {
    let file: File
    let name: String
    let header: SegmentHeader
}

/// Reads one page; a file that ends before it reads as zeros there.
func readPage(
    _ index: Int, of file: some BlockFile, into page: UnsafeMutableRawBufferPointer
) throws(HostIOError) {
    let count = try file.read(at: UInt64(index * Limits.grainBytes), into: page)
    if count < page.count {
        UnsafeMutableRawBufferPointer(rebasing: page[count...]).initializeMemory(
            as: UInt8.self, repeating: 0)
    }
}

struct BatchWalker<File: BlockFile>: ~Copyable {
    /// Ascending by generation and first batch; none is cut off whole by a later one.
    let segments: [WalkSegment<File>]
    private(set) var index: Int
    /// The page where the next batch must begin.
    private(set) var page = 1
    private(set) var expected: BatchNumber
    private(set) var chain: UInt64
    private(set) var nextSequence: RecordSequence
    /// The end of the last whole unit.
    private(set) var lastWhole: RecordSequence
    /// Records of the batch that `next` returned last.
    private(set) var records: [JournalRecord] = []
    /// The header page of that batch.
    private(set) var headerPage = 0
    /// The batch that `next` returned last is the first of a new generation: an unfinished unit
    /// before it was dropped by the recovery in between.
    private(set) var isNewGeneration = false
    private let buffer: UnsafeMutableRawBufferPointer

    /// `start` is the index of the segment to begin with.
    init(_ segments: [WalkSegment<File>], from start: Int) {
        self.segments = segments
        index = start
        let header = segments[start].header
        expected = header.firstBatch
        chain = header.chainBefore
        nextSequence = header.firstSequence
        lastWhole = RecordSequence(header.firstSequence.rawValue - 1)
        buffer = .allocate(byteCount: Limits.grainBytes, alignment: Limits.grainBytes)
        records.reserveCapacity(Limits.batchRecordsMax)
    }

    deinit { buffer.deallocate() }

    /// The next batch, or nil at the end: `expected` is then the first that does not exist or is
    /// bad, and `index` and `page` where it was looked for.
    mutating func next() throws(HostIOError) -> BatchHeader? {
        isNewGeneration = false
        while index + 1 < segments.count,
            segments[index + 1].header.firstBatch == expected
        {
            guard enterNextSegment() else { return nil }
        }
        let segment = segments[index]
        guard page < segment.header.pages else { return nil }
        try readPage(page, of: segment.file, into: buffer)
        guard
            let header = try? BatchHeader.decode(
                UnsafeRawBufferPointer(buffer), seed: segment.header.nonce, index: page,
                segmentPages: segment.header.pages, records: &records),
            header.number == expected, header.chainBefore == chain,
            records.first?.sequence == nextSequence
        else { return nil }
        headerPage = page
        page += 1 + header.payloadPages
        expected = expected.next
        chain = UInt64(littleEndian: buffer.load(as: UInt64.self))
        for record in records where !record.continues { lastWhole = record.sequence }
        if let last = records.last { nextSequence = last.sequence.next }
        return header
    }

    private mutating func enterNextSegment() -> Bool {
        let header = segments[index + 1].header
        let isNew = header.generation != segments[index].header.generation
        let wanted = isNew ? lastWhole.next : nextSequence
        guard header.chainBefore == chain, header.firstSequence == wanted else { return false }
        index += 1
        page = 1
        nextSequence = header.firstSequence
        if isNew { isNewGeneration = true }
        return true
    }
}

/// Reads payloads and compares them with their records.
struct PayloadVerifier: ~Copyable {
    private let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Limits.batchPayloadPagesMax * Limits.grainBytes,
        alignment: Limits.grainBytes)

    deinit { buffer.deallocate() }

    func matches(
        _ record: JournalRecord, in file: some BlockFile, seed: UInt64
    ) throws(HostIOError) -> Bool {
        guard record.kind == .write else { return true }
        let payload = UnsafeMutableRawBufferPointer(rebasing: buffer[0..<Int(record.length)])
        let offset = UInt64(record.firstPage) * UInt64(Limits.grainBytes)
        guard try file.read(at: offset, into: payload) == payload.count else { return false }
        return XXH3.hash(UnsafeRawBufferPointer(payload), seed: seed) == record.checksum
    }
}
