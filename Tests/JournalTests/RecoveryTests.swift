// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The rules of recovery one by one, on journals damaged on purpose.

import Formats
import Glibc
import HostIO
import Primitives
import Testing

@testable import Journal

@Suite struct RecoveryTests {
    private static let page = UInt64(Limits.grainBytes)

    private func path(_ number: Int) -> String {
        "journal/" + SegmentName.text(of: UInt64(number))
    }

    @Test("an empty directory starts a journal after the cut, without any segment")
    func emptyDirectory() throws {
        let rig = try JournalRig()
        rig.cut = RecordSequence(41)
        try rig.crash(keeping: nil)
        let last = rig.journal.lastAppended
        let segments = rig.journal.segmentCount
        #expect(last == RecordSequence(41) && segments == 0)
        try rig.write([.write(0, 1, 1)])
        #expect(rig.units[0].last == RecordSequence(42))
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }

    @Test("a pwritev torn behind its header is dropped, payload and all")
    func tornPayload() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        try rig.stage([.write(4, 1, 2)])
        try rig.stage([.write(5, 4, 3)])
        try rig.append()
        // Batch 2 begins at page 4; its last payload page never came.
        rig.disk.rot(path(1), at: 9 * Self.page + 100)
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }

    @Test("a write cut by a kill leaves the units before it")
    func tornByKill() throws {
        for seed in 0..<20 {
            let rig = try JournalRig(seed: UInt64(seed))
            try rig.write([.write(0, 2, 1)])
            rig.disk.crashAt(rig.disk.operationCount + 1)
            try rig.stage([.write(0, 6, 2)])
            #expect(throws: HostIOError.self) { try rig.append() }
            try rig.crash(keeping: nil)
        }
    }

    @Test("a recovered segment with only the beginning of a unit is kept until that is published")
    func unitAcrossSegments() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 8, 1)])
        try rig.write([.write(8, 8, 2)])
        let before = rig.journal.lastAppended
        // Eight pages still fit into the first segment; the others begin the second.
        try rig.write([.write(16, 8, 3), .write(24, 8, 3), .write(32, 8, 3)])
        let last = rig.journal.lastAppended
        try rig.crash(keeping: nil)
        let early = rig.journal.retire(upTo: before)
        #expect(early.isEmpty)
        try rig.checkContent()
        let late = rig.journal.retire(upTo: last)
        #expect(late.count == 2)
    }

    @Test("a lost segment is missed although what it had cut off has the numbers of its batches")
    func lostGeneration() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 8, 1)])
        try rig.write([.write(8, 8, 2)])
        // Batch 3 holds the beginning of a unit whose end is lost with its segment.
        try rig.write([.write(16, 8, 3), .write(24, 8, 3)])
        try rig.directory.remove(SegmentName.text(of: 2))
        rig.powerDown(keeping: nil)
        rig.reboot()
        try rig.recover()
        #expect(rig.units.count == 2)
        // Another batch 3 is flushed, and only the segment behind its own says so.
        try rig.write([.write(32, 8, 4)])
        try rig.flush()
        for step in 0..<3 { try rig.write([.write(40 + UInt64(step) * 4, 8, 5)]) }
        let names = try rig.directory.list().sorted()
        try #require(names.count == 3)
        try rig.directory.remove(names[1])
        rig.powerDown(keeping: nil)
        rig.reboot()
        #expect(throws: JournalError.self) { try rig.recover() }
    }

    @Test("bytes of a segment's earlier use are never taken for batches")
    func staleBytes() throws {
        let rig = try JournalRig()
        for step in 0..<6 { try rig.write([.write(UInt64(step), 4, UInt64(step))]) }
        try rig.publish(idle: true)
        // The recycled file still holds whole batches behind the new superblock and batch.
        try rig.write([.write(50, 1, 77)])
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
        let last = rig.journal.lastAppended
        #expect(last == RecordSequence(7))
    }

    @Test("a guest's payload that looks like the next batch is refused")
    func guestMadeHeader() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        let last = rig.journal.lastAppended
        let chain = try chainAfterFirstBatch(rig)
        try rig.write([.write(1, 1, 2)])
        // Page 4 is the payload of batch 2. Make it what batch 2 could be, but without the nonce.
        let forged = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { forged.deallocate() }
        forged.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
        JournalRecord(
            kind: .zero, continues: false, epoch: Epoch(1), sequence: last.next, offset: 0,
            length: 4096
        ).encode(into: forged + BatchHeader.recordsOffset)
        BatchHeader(
            number: BatchNumber(2), syncedTo: BatchNumber(1), syncedSequence: last,
            chainBefore: chain, bootID: rig.bootID, recordCount: 1, payloadPages: 0
        ).encode(into: forged)
        _ = BatchHeader.seal(page: forged, seed: 0)
        let file = try rig.directory.open("00000001.seg", writable: true)
        try file.write(at: 3 * Self.page, UnsafeRawBufferPointer(start: forged, count: 4096))
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }

    private func chainAfterFirstBatch(_ rig: JournalRig) throws -> UInt64 {
        let bytes = try #require(rig.disk.bytes(path(1)))
        return bytes.withUnsafeBytes {
            UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 4096, as: UInt64.self))
        }
    }

    @Test("rot in a batch that was flushed quarantines the volume", arguments: [true, false])
    func rotInFlushed(isHeader: Bool) throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        try rig.write([.write(2, 2, 2)])
        try rig.flush()
        try rig.write([.write(4, 2, 3)])
        rig.disk.rot(path(1), at: (isHeader ? 1 : 2) * Self.page + 300)
        // A payload is looked at only after another boot, or if it may be torn.
        rig.powerDown(keeping: isHeader ? nil : .all)
        rig.reboot()
        #expect(
            throws: JournalError.rotted(
                segment: "00000001.seg", batch: BatchNumber(1), claimed: BatchNumber(2))
        ) { try rig.recover() }
        #expect(try rig.directory.list() == ["00000001.seg"])
    }

    @Test("rot in what an earlier recovery sealed quarantines the volume")
    func rotInSealed() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        try rig.crash(keeping: nil)
        rig.disk.rot(path(1), at: Self.page + 300)
        rig.powerDown(keeping: nil)
        rig.reboot()
        #expect(
            throws: JournalError.rotted(
                segment: "00000001.seg", batch: BatchNumber(1), claimed: BatchNumber(1))
        ) { try rig.recover() }
    }

    @Test("rot in what is published does no harm")
    func rotInPublished() throws {
        let rig = try JournalRig()
        for step in 0..<5 { try rig.write([.write(UInt64(step) * 6, 6, 1)]) }
        try rig.flush()
        rig.base = rig.content(upTo: 5)
        rig.units.removeAll()
        rig.cut = RecordSequence(5)
        try rig.write([.write(0, 6, 9)])
        rig.disk.rot(path(1), at: 2 * Self.page + 300)
        try rig.crash(keeping: .all)
        #expect(rig.units.count == 1)
    }

    @Test("a missing segment ends an unflushed journal", arguments: [false, true])
    func missingSegment(isFlushed: Bool) throws {
        let rig = try JournalRig()
        for step in 0..<9 { try rig.write([.write(UInt64(step) * 8, 8, 5)]) }
        let held = rig.journal.segmentCount
        #expect(held == 3)
        if isFlushed {
            try rig.flush()
            try rig.write([.write(0, 1, 6)])
        }
        try rig.directory.remove("00000002.seg")
        rig.powerDown(keeping: nil)
        rig.reboot()
        if isFlushed {
            #expect(
                throws: JournalError.rotted(
                    segment: "00000001.seg", batch: BatchNumber(4), claimed: BatchNumber(9))
            ) { try rig.recover() }
        } else {
            try rig.recover()
            #expect(rig.units.count == 3)
        }
    }

    @Test("a missing first segment is never passed over", arguments: [false, true])
    func missingFirst(isFlushed: Bool) throws {
        let rig = try JournalRig()
        for step in 0..<5 { try rig.write([.write(UInt64(step) * 8, 8, 5)]) }
        if isFlushed {
            try rig.flush()
            try rig.write([.write(0, 1, 6)])
        }
        try rig.directory.remove("00000001.seg")
        rig.powerDown(keeping: nil)
        rig.reboot()
        if isFlushed {
            #expect(throws: JournalError.self) { try rig.recover() }
        } else {
            try rig.recover()
            #expect(rig.units.isEmpty)
        }
    }

    @Test(
        "nor is one whose first batches alone were flushed, be it gone or its superblock rotted",
        arguments: [false, true])
    func missingFirstHalf(isRot: Bool) throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 8, 5)])
        try rig.flush()
        for step in 1..<4 { try rig.write([.write(UInt64(step) * 8, 8, 5)]) }
        let held = rig.journal.segmentCount
        #expect(held == 2)
        if isRot {
            rig.disk.rot(path(1), at: 300)
        } else {
            try rig.directory.remove("00000001.seg")
        }
        rig.powerDown(keeping: .all)
        rig.reboot()
        #expect(
            throws: JournalError.rotted(
                segment: "00000002.seg", batch: BatchNumber(3), claimed: BatchNumber(1))
        ) { try rig.recover() }
    }

    @Test("a root older than the journal is refused, not filled with later writes")
    func olderRoot() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        try rig.publish(idle: true)
        try rig.write([.write(1, 1, 2)])
        rig.cut = RecordSequence(0)
        rig.powerDown(keeping: nil)
        rig.reboot()
        #expect(throws: JournalError.self) { try rig.recover() }
    }

    @Test("unused, foreign, torn and double names are removed, and nothing else is touched")
    func strangers() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        try rig.offer(1)
        let foreign = try rig.pool.take(into: rig.directory, number: 70)
        var header = SegmentHeader(
            volume: VolumeID(low: 99, high: 1), pages: JournalRig.segmentPages, generation: 9,
            nonce: 3, firstBatch: BatchNumber(1), chainBefore: 0, firstSequence: RecordSequence(1),
            syncedTo: BatchNumber(0), syncedSequence: RecordSequence(0), bootID: rig.bootID)
        try write(header, to: foreign.file)
        let torn = try rig.pool.take(into: rig.directory, number: 71)
        header.volume = rig.volume
        try write(header, to: torn.file)
        rig.disk.rot(path(71), at: 3000)
        try rig.directory.link("00000001.seg", to: rig.directory, as: "00000080.seg")
        _ = try rig.directory.create("notes.txt")
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
        #expect(try rig.directory.list() == ["00000080.seg", "00000081.seg", "notes.txt"])
        try rig.checkContent()
    }

    @Test("a segment that a later generation cut off is given back once, whatever names it has")
    func doubleName() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        try rig.crash(keeping: nil)
        let seal = try #require(try rig.directory.list().max())
        try rig.directory.link(seal, to: rig.directory, as: "00000090.seg")
        rig.powerDown(keeping: nil)
        rig.reboot()
        // The next recovery dies behind its own seal, with nothing given back.
        rig.disk.cutNext(.directorySync, pathEnding: "segments")
        #expect(throws: JournalError.self) { try rig.recover() }
        rig.powerDown(keeping: nil)
        rig.reboot()
        try rig.recover()
        for step in 1...12 { try rig.write([.write(UInt64(step) * 8, 8, UInt64(step))]) }
        try rig.checkContent()
        try rig.flush()
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 13)
    }

    private func write(_ header: SegmentHeader, to file: VolatileFile) throws {
        let page = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { page.deallocate() }
        header.encode(into: page)
        try file.write(at: 0, UnsafeRawBufferPointer(start: page, count: 4096))
    }

    @Test("a superblock without batches changes nothing, however often it is recovered")
    func onlySuperblocks() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        for _ in 0..<5 { try rig.crash(keeping: nil) }
        #expect(rig.units.count == 1)
        // The seals of earlier recoveries are superseded and given back.
        let segments = rig.journal.segmentCount
        #expect(segments == 2)
        try rig.publish(idle: true)
        for _ in 0..<3 { try rig.crash(keeping: nil) }
        let none = rig.journal.segmentCount
        #expect(none == 0)
    }

    @Test("a seal cuts off the batches that recovery dropped")
    func sealCutsTail() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        try rig.write([.write(2, 2, 2)])
        try rig.write([.write(4, 2, 3)])
        // Batch 2 is torn; batch 3 is whole but can follow nothing. None was flushed.
        rig.disk.rot(path(1), at: 4 * Self.page + 300)
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
        rig.disk.rot(path(1), at: 4 * Self.page + 300)
        try rig.write([.write(6, 2, 4)])
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 2)
    }

    @Test(
        "what a seal cut off stays cut off when the recovery after the commit is broken off",
        arguments: [true, false])
    func cutOffForGood(byKill: Bool) throws {
        var steps = 0
        while true {
            let rig = try JournalRig(seed: UInt64(steps))
            for step in UInt64(0)..<3 { try rig.write([.write(step * 2, 2, step)]) }
            // The payload of batch 2 is torn; batch 3 is whole, of a record after the cut below.
            rig.disk.rot(path(1), at: 5 * Self.page + 300)
            try rig.crash(keeping: nil)
            #expect(rig.units.count == 1)
            try rig.write([.write(6, 2, 4)])
            try rig.publishWithoutRetiring()
            rig.powerDown(keeping: nil)
            rig.reboot()
            rig.disk.crashAt(rig.disk.operationCount + 1 + steps)
            let wasBrokenOff = (try? rig.recover()) == nil
            rig.powerDown(keeping: byKill ? nil : .random(seed: UInt64(steps)))
            rig.reboot()
            try rig.recover()
            try rig.checkContent()
            guard wasBrokenOff else { break }
            steps += 1
        }
        #expect(steps > 6)
    }

    @Test("records up to the cut are not handed out")
    func cutIsIgnored() throws {
        let rig = try JournalRig()
        for step in 0..<4 { try rig.write([.write(UInt64(step), 1, 1)]) }
        var seen: [RecordSequence] = []
        rig.powerDown(keeping: nil)
        rig.reboot()
        let recovered = try JournalRecovery.recover(
            directory: try rig.disk.root.directory("journal", create: false), volume: rig.volume,
            cut: RecordSequence(2), bootID: rig.bootID
        ) { unit in seen.append(contentsOf: unit.records.map(\.record.sequence)) }
        #expect(seen == [RecordSequence(3), RecordSequence(4)])
        #expect(recovered.lastSequence == RecordSequence(4))
    }
}
