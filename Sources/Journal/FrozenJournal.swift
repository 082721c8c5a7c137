// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the committer reads of a journal while its shard goes on appending: the segments as they
// were at the cut, by `pread`, with every checksum verified before a grain is packed.

import Formats
import Glibc
public import HostIO
public import Primitives

/// The segments of a frozen range. Valid until the journal retires one of them.
public struct FrozenJournal<Storage: StorageDirectory>: Sendable {
    struct Segment: Sendable {
        let slot: Int
        let live: LiveSegment<Storage>
    }

    private let segments: [Segment]
    /// By slot.
    private let files: [SegmentFile<Storage>?]

    init(segments: [Segment]) {
        self.segments = segments
        var files = [SegmentFile<Storage>?](
            repeating: nil, count: (segments.map(\.slot).max() ?? -1) + 1)
        for segment in segments { files[segment.slot] = segment.live.file }
        self.files = files
    }

    /// Walks all records after `from` up to and including `cut`: the chain must hold and every
    /// payload match. Throws what is missing or rotten; then nothing of the range may be published.
    public func verify(from: RecordSequence, to cut: RecordSequence) throws(JournalError) {
        if cut <= from { return }
        let walk = segments.map {
            WalkSegment(
                file: $0.live.file.file, name: $0.live.file.name, header: $0.live.header)
        }
        guard let start = walk.lastIndex(where: { $0.header.firstSequence <= from.next }) else {
            throw .incomplete(from: from, upTo: cut, found: RecordSequence(0))
        }
        var walker = BatchWalker(walk, from: start)
        let verifier = PayloadVerifier()
        var wrong: JournalError?
        do throws(HostIOError) {
            while wrong == nil, walker.nextSequence <= cut, try walker.next() != nil {
                let segment = walk[walker.index]
                for record in walker.records
                where record.sequence > from && record.sequence <= cut {
                    let matches = try verifier.matches(
                        record, in: segment.file, seed: segment.header.nonce)
                    if !matches {
                        wrong = .wrongPayload(segment: segment.name, sequence: record.sequence)
                    }
                }
            }
        } catch {
            throw .io(error)
        }
        if let wrong { throw wrong }
        if walker.nextSequence <= cut {
            throw .incomplete(from: from, upTo: cut, found: walker.nextSequence)
        }
    }

    /// Fills `buffer`, a whole number of grains, from consecutive pages of one segment.
    public func read(
        _ page: JournalPage, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) {
        precondition(buffer.count.isMultiple(of: Limits.grainBytes))
        guard page.slot < files.count, let segment = files[page.slot] else {
            preconditionFailure("page outside the frozen range")
        }
        let offset = UInt64(page.page * Limits.grainBytes)
        guard try segment.file.read(at: offset, into: buffer) == buffer.count else {
            throw HostIOError(.read, path: segment.name, code: EIO)
        }
    }
}
