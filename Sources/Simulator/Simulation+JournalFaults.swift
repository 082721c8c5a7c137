// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A power cut that takes more than it may: a byte of what was flushed into a journal, or a segment
// of it. Nobody can tell that the newest flush is missing, so only what a later batch or segment
// says was flushed is taken; then the volume must say that it is gone, and the others go on.

import Committer
import Formats
import HostIO
import Journal
import Primitives

/// A journal as its own superblocks and headers tell of it.
private struct JournalPicture {
    struct Batch {
        let segment: Int
        let pages: Range<Int>
        let number: BatchNumber
    }

    /// What a page says was flushed: up to this batch.
    struct Claim {
        let segment: Int
        let page: Int
        let batch: BatchNumber
    }

    let names: [String]
    private(set) var batches: [Batch] = []
    private(set) var claims: [Claim] = []

    /// `segments` in the order of their batches; claims up to `cut` are void, because what they are
    /// about is published.
    init(_ segments: [(name: String, content: InspectedSegment)], cut: RecordSequence) {
        names = segments.map(\.name)
        for (index, segment) in segments.enumerated() {
            let header = segment.content.header
            // What a later recovery cut off does not exist.
            let end = segments[(index + 1)...].map(\.content.header.firstBatch).min()
            if header.syncedSequence > cut {
                claims.append(Claim(segment: index, page: 0, batch: header.syncedTo))
            }
            for batch in segment.content.batches where batch.header.number < end ?? .max {
                let pages = batch.page..<(batch.page + 1 + batch.header.payloadPages)
                batches.append(Batch(segment: index, pages: pages, number: batch.header.number))
                if batch.header.syncedSequence > cut {
                    claims.append(
                        Claim(segment: index, page: batch.page, batch: batch.header.syncedTo))
                }
            }
        }
    }

    /// Pages whose loss something else tells of.
    var rottable: [(segment: Int, pages: Range<Int>)] {
        batches.flatMap { batch -> [(segment: Int, pages: Range<Int>)] in
            let places = batch.pages.lowerBound == 1 ? [batch.pages, 0..<1] : [batch.pages]
            return places.filter { pages in
                claims.contains {
                    $0.batch >= batch.number
                        && ($0.segment != batch.segment || !pages.contains($0.page))
                }
            }.map { (batch.segment, $0) }
        }
    }

    /// Segments whose loss another one tells of.
    var losable: [Int] {
        names.indices.filter { index in
            guard let first = batches.first(where: { $0.segment == index }) else { return false }
            return claims.contains { $0.segment != index && $0.batch >= first.number }
        }
    }
}

extension BatchNumber {
    fileprivate static var max: BatchNumber { BatchNumber(UInt64.max) }
}

extension Simulation {
    /// The power went, and something of the journal of this step's volume with it. Counted if there
    /// was something to take.
    func spoilJournal(_ fault: Fault) {
        let path = "volumes/\(node.track.volume)/journal"
        guard let picture = try? journalPicture(of: node) else { return }
        switch fault {
        case .segmentLost:
            guard let index = draw(picture.losable) else { return }
            tell("segment \(picture.names[index]) of \(node.track.name) is lost")
            guard let journal = try? folder(["volumes", "\(node.track.volume)", "journal"], node)
            else { return }
            try? journal.remove(picture.names[index])
            try? journal.sync()
        default:
            let places = picture.rottable
            // Superblocks are few, and what a page says of itself stands in front.
            let superblocks = places.filter { $0.pages.lowerBound == 0 }
            let isSuperblock = chance(3_000) && !superblocks.isEmpty
            guard let place = draw(isSuperblock ? superblocks : places),
                let page = draw(Array(place.pages))
            else { return }
            let most: UInt64 = chance(5_000) ? 128 : 4096
            let offset = page * Limits.grainBytes + Int(random.next(below: most))
            tell("byte \(offset) of \(picture.names[place.segment]) rots")
            node.disk.rot("\(path)/\(picture.names[place.segment])", at: UInt64(offset))
        }
        node.machine.spoiled.insert(node.track.volume)
        report.faults.note(fault)
    }

    private func folder(_ path: [String], _ node: Node) throws -> Storage {
        var folder = node.disk.root
        for name in path { folder = try folder.directory(name, create: false) }
        return folder
    }

    private func journalPicture(of node: Node) throws -> JournalPicture {
        let volume = node.track.volume
        let journal = try folder(["volumes", "\(volume)", "journal"], node)
        var found: [(name: String, content: InspectedSegment)] = []
        for name in try journal.list() where name.hasSuffix(".seg") {
            let file = try journal.open(name, writable: false)
            guard let content = try? JournalInspection.segment(file) else { continue }
            guard content.header.volume == volume,
                !found.contains(where: { $0.content.header == content.header })
            else { continue }
            found.append((name, content))
        }
        found.sort {
            ($0.content.header.generation, $0.content.header.firstBatch)
                < ($1.content.header.generation, $1.content.header.firstBatch)
        }
        return JournalPicture(found, cut: try newestCut(of: node))
    }

    /// The highest cut that a recovery may begin at.
    private func newestCut(of node: Node) throws -> RecordSequence {
        let roots = try folder(["volumes", "\(node.track.volume)", "root"], node)
        var cut = node.track.chain.head.cut
        for name in try roots.list() {
            guard let bytes = try? roots.readAll(name, limit: CommitLimits.commitBytesMax),
                let commit = try? decode(bytes, name)
            else { continue }
            cut = max(cut, commit.cut)
        }
        return cut
    }
}
