// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The journal's parts as lines for people.

internal import Primitives

extension InspectText {
    public static func inspectSegment(_ header: SegmentHeader) -> [String] {
        var text = InspectText()
        text.title("journal segment, version \(SegmentHeader.version)")
        text.field("volume", header.volume)
        text.field("pages", header.pages)
        text.field("generation", header.generation)
        text.field("nonce", hexadecimal(header.nonce, digits: 16))
        text.field("first batch", header.firstBatch)
        text.field("chain before", hexadecimal(header.chainBefore, digits: 16))
        text.field("first sequence", header.firstSequence)
        text.field("synced to", header.syncedTo)
        text.field("synced sequence", header.syncedSequence)
        text.field("boot", header.bootID)
        return text.lines
    }

    /// A batch at page `page` of its segment.
    public static func inspectBatch(
        _ header: BatchHeader, page: Int, records: [JournalRecord]
    ) -> [String] {
        var text = InspectText()
        text.part("batch \(header.number)") { text in
            text.field("page", page)
            text.field("payload pages", header.payloadPages)
            text.field("synced to", header.syncedTo)
            text.field("chain before", hexadecimal(header.chainBefore, digits: 16))
            text.field("boot", header.bootID)
            for record in records { text.field("record \(record.sequence)", line(record)) }
        }
        return text.lines
    }

    private static func line(_ record: JournalRecord) -> String {
        var words = ["\(record.kind)", "epoch \(record.epoch)"]
        switch record.kind {
        case .write, .zero, .trim:
            words.append("offset \(record.offset) length \(record.length)")
        case .resize: words.append("size \(record.length)")
        case .cut, .published: words.append("commit \(record.offset)")
        case .epoch: break
        }
        if record.kind == .write { words.append("payload at page \(record.firstPage)") }
        if record.continues { words.append("continues") }
        return words.joined(separator: " ")
    }
}
