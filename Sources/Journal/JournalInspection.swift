// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Looking at a journal without changing it: what a segment holds, and what a recovery would accept.
// Every payload after the cut is verified, as after a reboot: a recovery within one boot may trust
// more, never less.

public import Formats
public import HostIO
public import Primitives

/// A batch as it lies in a segment.
public struct InspectedBatch: Sendable {
    public let page: Int
    public let header: BatchHeader
    public let records: [JournalRecord]
}

/// A segment alone.
public struct InspectedSegment: Sendable {
    public let header: SegmentHeader
    /// Those that follow one another from the first page on.
    public let batches: [InspectedBatch]
    /// Where the next batch would begin, and what is wrong with the page there; nil: the segment
    /// is full. Usually this is just its unused rest.
    public let endPage: Int
    public let end: FormatError?
}

/// Why a segment cannot be looked at.
public enum InspectionError: Error, Equatable, Sendable {
    case io(HostIOError)
    /// Its superblock is not one.
    case format(FormatError)
}

/// What a recovery would make of a journal.
public struct JournalVerdict: Sendable {
    /// Segments that the walk visits, oldest first.
    public let walked: [String]
    /// Segments that are published whole, or cut off by a later generation.
    public let superseded: [String]
    /// Files without a superblock of this volume.
    public let strangers: [String]
    public let units: Int
    public let records: Int
    public let writtenBytes: UInt64
    /// The last accepted record; the cut if there is none after it.
    public let lastSequence: RecordSequence
    /// The volume would be quarantined, for this.
    public let rotted: JournalError?
}

public enum JournalInspection {
    /// Reads one segment from its superblock to the first page that is not the next batch.
    public static func segment(
        _ file: some BlockFile
    ) throws(InspectionError) -> InspectedSegment {
        let page = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.grainBytes, alignment: Limits.grainBytes)
        defer { page.deallocate() }
        let header: SegmentHeader
        do throws(HostIOError) { try readPage(0, of: file, into: page) } catch { throw .io(error) }
        do throws(FormatError) {
            header = try SegmentHeader(decoding: UnsafeRawBufferPointer(page))
        } catch { throw .format(error) }
        var batches: [InspectedBatch] = []
        var records: [JournalRecord] = []
        var next = 1
        var number = header.firstBatch
        var chain = header.chainBefore
        while next < header.pages {
            do throws(HostIOError) { try readPage(next, of: file, into: page) } catch {
                throw .io(error)
            }
            do throws(FormatError) {
                let batch = try BatchHeader.decode(
                    UnsafeRawBufferPointer(page), seed: header.nonce, index: next,
                    segmentPages: header.pages, records: &records)
                try check(batch, number: number, chain: chain)
                batches.append(InspectedBatch(page: next, header: batch, records: records))
                next += 1 + batch.payloadPages
                number = batch.number.next
                chain = UInt64(littleEndian: page.load(as: UInt64.self))
            } catch {
                return InspectedSegment(
                    header: header, batches: batches, endPage: next, end: error)
            }
        }
        return InspectedSegment(header: header, batches: batches, endPage: next, end: nil)
    }

    private static func check(
        _ batch: BatchHeader, number: BatchNumber, chain: UInt64
    ) throws(FormatError) {
        guard batch.number == number else {
            throw .wrongIdentity(
                .batch, field: "number", found: batch.number.rawValue, expected: number.rawValue)
        }
        guard batch.chainBefore == chain else {
            throw .wrongIdentity(
                .batch, field: "chain before", found: batch.chainBefore, expected: chain)
        }
    }

    /// The names of segments in a journal directory, ascending.
    public static func segmentNames(in directory: some StorageDirectory) throws(HostIOError)
        -> [String]
    {
        try directory.list().filter { SegmentName.number(of: $0) != nil }
    }

    /// Goes through a recovery of the records after `cut`, and keeps nothing of it.
    public static func verdict<Storage: StorageDirectory>(
        of directory: Storage, volume: VolumeID, cut: RecordSequence
    ) throws(HostIOError) -> JournalVerdict {
        try replay(directory, volume, cut) { _ in }.verdict
    }

    /// The same; `apply` gets every unit that counts, with pages of the survey's live segments.
    static func replay<Storage: StorageDirectory>(
        _ directory: Storage, _ volume: VolumeID, _ cut: RecordSequence,
        _ apply: (RecoveredUnit) -> Void
    ) throws(HostIOError) -> (verdict: JournalVerdict, survey: SegmentSurvey<Storage>) {
        let survey = try SegmentSurvey(
            directory: directory, volume: volume, cut: cut, writable: false)
        var run = RecoveryRun(survey: survey, cut: cut, bootID: .zero)
        var units = 0
        var records = 0
        var bytes: UInt64 = 0
        try run.measure()
        try run.replay { unit in
            units += 1
            records += unit.records.count
            for record in unit.records where record.record.kind == .write {
                bytes += record.record.length
            }
            apply(unit)
        }
        try run.judge()
        let verdict = JournalVerdict(
            walked: survey.live.map(\.name), superseded: survey.superseded.map(\.name),
            strangers: survey.strangers, units: units, records: records, writtenBytes: bytes,
            lastSequence: max(cut, run.accepted?.sequence ?? cut), rotted: run.rotted)
        return (verdict, survey)
    }
}
