// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A segment without a readable superblock: was it torn, or did it rot? With the superblock the seed
// of all checksums is lost, but a batch also carries the checksum of the one before it. Page 1 of a
// segment in use is a header and never a guest's payload, each header tells where the next one is,
// and what is left over from an earlier use cannot carry a checksum that was made later. So the run
// of batches from page 1 can be followed by its links alone.

import Formats
import HostIO
import Primitives

/// Where a batch stands in the chain: its number, and the checksum of the one before it.
struct BatchLink: Equatable {
    let batch: BatchNumber
    let chainBefore: UInt64
}

struct UnreadableSegment<File: BlockFile>: Sendable {
    let file: File
    let name: String

    /// What the batches from page 1 on say.
    struct Content {
        let link: BatchLink
        let firstSequence: RecordSequence
        /// The last batch that one of these says was synced, and its last record.
        fileprivate(set) var synced: (batch: BatchNumber, sequence: RecordSequence)

        /// A batch of this segment that was synced and has records after `cut`.
        func promised(after cut: RecordSequence) -> BatchNumber? {
            synced.batch >= link.batch && synced.sequence > cut ? synced.batch : nil
        }
    }

    /// Nil if no batch follows page 0.
    func read() throws(HostIOError) -> Content? {
        let page = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.grainBytes, alignment: Limits.grainBytes)
        defer { page.deallocate() }
        let pages = Int(
            min(try file.size(), UInt64(Limits.segmentBytes)) / UInt64(Limits.grainBytes))
        var content: Content?
        var expected: BatchLink?
        var records: [JournalRecord] = []
        var index = 1
        while index < pages {
            try readPage(index, of: file, into: page)
            guard
                let header = try? BatchHeader.decode(
                    UnsafeRawBufferPointer(page), seed: nil, index: index, segmentPages: pages,
                    records: &records),
                let first = records.first
            else { break }
            let link = BatchLink(batch: header.number, chainBefore: header.chainBefore)
            guard expected == nil || expected == link else { break }
            content = Content(
                link: content?.link ?? link,
                firstSequence: content?.firstSequence ?? first.sequence,
                synced: (header.syncedTo, header.syncedSequence))
            let checksum = UInt64(littleEndian: page.load(as: UInt64.self))
            expected = BatchLink(batch: header.number.next, chainBefore: checksum)
            index += 1 + header.payloadPages
        }
        return content
    }
}
