// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Power cuts and kills through the real journal code on the volatile disk. Which test fails when a
// sync is taken out of the code:
//
//   SyncWork, sync of the files       "an answered flush survives a power cut that keeps nothing"
//   SyncWork, journal directory       the same
//   SyncWork, pool directory          "a flush syncs both directories of a segment's rename once"
//   seal, sync of the kept segments   "what a recovery served survives the next power cut"
//   seal, directory after new segment "a flush after a recovery survives a power cut"
//   seal, new segment, pool directory "a recovery is sealed by syncs in the right order"
//     directory before it
//   SegmentPool.prepare, directory    "free segments of another boot are forgotten durably"
//   SegmentPool, a segment's sync     "a fresh segment is written whole and synced before its use"

import Formats
import Glibc
import HostIO
import Primitives
import Testing

@testable import Journal

@Suite struct CrashTests {
    @Test("an answered flush survives a power cut that keeps nothing")
    func flushSurvives() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        try rig.flush()
        try rig.write([.write(4, 1, 12)])
        try rig.crash(keeping: VolatileDisk.Keeping.none)
        #expect(rig.units.count == 1)
    }

    @Test("a flush syncs both directories of a segment's rename once")
    func directoriesAreSynced() throws {
        let rig = try JournalRig()
        rig.disk.record(true)
        try rig.write([.write(0, 1, 1)])
        try rig.flush()
        let paths = rig.disk.trace.filter { $0.kind == .directorySync }.map(\.path)
        #expect(paths.contains { $0.hasSuffix("segments") })
        #expect(paths.contains { $0.hasSuffix("journal") })
        rig.disk.record(true)
        try rig.write([.write(0, 1, 2)])
        try rig.flush()
        let again = rig.disk.trace.filter { $0.kind == .directorySync || $0.kind == .sync }
        #expect(again.map(\.kind) == [.sync])
    }

    @Test("what a recovery served survives the next power cut")
    func recoveredSurvives() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
        let isSynced = rig.journal.isSynced
        #expect(isSynced)
        try rig.crash(keeping: VolatileDisk.Keeping.none)
        #expect(rig.units.count == 1)
    }

    @Test("what a failed sync dropped is written again by the recovery that serves it")
    func failedSyncBeforeRecovery() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        try rig.flush()
        try rig.write([.write(5, 2, 12)])
        rig.disk.failNext(.sync, code: EIO)
        #expect(throws: HostIOError.self) { try rig.flush() }
        // The process dies before it can note the failure; the page cache still shows everything.
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 2)
        try rig.crash(keeping: VolatileDisk.Keeping.none)
        #expect(rig.units.count == 2)
    }

    @Test("a recovery writes again what may be lost, and nothing else")
    func writtenAgain() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        try rig.flush()
        // Says that the first is synced.
        try rig.write([.write(5, 2, 12)])
        rig.powerDown(keeping: nil)
        rig.reboot()
        rig.disk.record(true)
        try rig.recover()
        let again = rig.disk.trace.filter { $0.kind == .write && $0.path.hasSuffix(".seg") }
        #expect(again.map(\.count) == [3 * 4096])
        // After another boot what is read is what the disk has.
        try rig.write([.write(7, 2, 13)])
        rig.powerDown(keeping: .all)
        rig.reboot()
        rig.disk.record(true)
        try rig.recover()
        let later = rig.disk.trace.filter { $0.kind == .write && $0.path.hasSuffix(".seg") }
        #expect(later.isEmpty)
    }

    @Test("a flush after a recovery survives a power cut")
    func flushAfterRecovery() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        try rig.crash(keeping: nil)
        try rig.write([.write(5, 2, 12)])
        try rig.flush()
        try rig.crash(keeping: VolatileDisk.Keeping.none)
        #expect(rig.units.count == 2)
    }

    @Test("a recovery is sealed by syncs in the right order")
    func sealOrder() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        rig.powerDown(keeping: nil)
        rig.reboot()
        rig.disk.record(true)
        try rig.recover()
        let trace = rig.disk.trace
        let rename = try #require(
            trace.lastIndex { $0.kind == .rename && $0.path.hasSuffix(".free") })
        let before = trace[..<rename].filter { !$0.path.hasPrefix("/segments") }
        // Before the new segment has its name: the kept one is durable, and what was renamed.
        #expect(
            before.filter { $0.kind == .sync || $0.kind == .directorySync }.map(\.kind)
                == [.sync, .directorySync])
        let after = trace[rename...].filter { $0.kind.isNumbered }
        #expect(after.map(\.kind) == [.rename, .write, .sync, .directorySync, .directorySync])
        #expect(Set(after.suffix(2).map(\.path)) == ["/journal", "/segments"])
    }

    @Test("an empty journal settles its directory before it starts anew")
    func emptySettles() throws {
        let rig = try JournalRig()
        try rig.write([.write(3, 2, 11)])
        try rig.publish(idle: true)
        rig.powerDown(keeping: nil)
        rig.reboot()
        rig.disk.record(true)
        try rig.recover()
        let segments = rig.journal.segmentCount
        #expect(segments == 0)
        #expect(
            rig.disk.trace.contains { $0.kind == .directorySync && $0.path.hasSuffix("journal") })
    }

    @Test(
        "after random requests and a random power cut the volume is the model cut at one unit",
        arguments: 0..<24)
    func randomHistory(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed) + 1)
        let rig = try JournalRig(
            seed: UInt64(seed) + 1, names: seed.isMultiple(of: 2) ? .independent : .journaled)
        for _ in 0..<4 {
            try RandomGuest.run(rig, steps: 25, random: &random)
            switch random.next(below: 5) {
            case 0: try rig.crash(keeping: nil)
            case 1: try rig.crash(keeping: VolatileDisk.Keeping.none)
            default: try rig.crash(keeping: .random(seed: random.next()))
            }
        }
    }

    @Test("a power cut inside any operation loses nothing flushed", arguments: 0..<12)
    func cutAnywhere(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed) + 400)
        let rig = try JournalRig(seed: UInt64(seed) + 400)
        for _ in 0..<6 {
            rig.disk.crashAt(rig.disk.operationCount + 1 + Int(random.next(below: 60)))
            do {
                try RandomGuest.run(rig, steps: 40, random: &random)
            } catch is HostIOError {} catch JournalError.io {}
            let isKill = random.next(below: 2) == 0
            try rig.crash(keeping: isKill ? nil : .random(seed: random.next()))
        }
    }

    @Test("a kill during recovery, at any operation, leads to the same volume", arguments: 0..<2)
    func killDuringRecovery(seed: Int) throws {
        try sweepRecovery(seed: UInt64(seed) + 50, keeping: { _ in nil })
    }

    @Test("a power cut during recovery, at any operation, loses nothing flushed", arguments: 0..<2)
    func cutDuringRecovery(seed: Int) throws {
        try sweepRecovery(seed: UInt64(seed) + 90, keeping: { .random(seed: $0) })
    }

    /// Plays one history again and again, each time stopping its recovery one operation later.
    private func sweepRecovery(
        seed: UInt64, keeping: (UInt64) -> VolatileDisk.Keeping?
    ) throws {
        var reference: RecordSequence?
        for operation in 1..<200 {
            var random = SplitMix64(seed: seed)
            let rig = try JournalRig(seed: seed)
            try RandomGuest.run(rig, steps: 40, random: &random)
            rig.powerDown(keeping: seed.isMultiple(of: 2) ? nil : .random(seed: seed))
            rig.reboot()
            rig.disk.crashAt(rig.disk.operationCount + operation)
            var wasCut = false
            do { try rig.recover() } catch is HostIOError { wasCut = true } catch JournalError.io {
                wasCut = true
            }
            if wasCut {
                let kept = keeping(seed &+ UInt64(operation))
                try rig.crash(keeping: kept)
                let last = rig.journal.lastAppended
                if kept == nil, let reference { #expect(last == reference) }
                if kept == nil { reference = last }
            }
            rig.disk.crashAt(nil)
            try rig.write([.write(1, 1, 99)])
            try rig.flush()
            try rig.crash(keeping: VolatileDisk.Keeping.none)
            if !wasCut { return }
        }
        Issue.record("recovery never ended")
    }
}

/// Requests as a guest makes them, in turns.
enum RandomGuest {
    static func run(
        _ rig: JournalRig, steps: Int, random: inout SplitMix64
    ) throws {
        for _ in 0..<steps {
            switch random.next(below: 20) {
            case 0, 1, 2: try rig.flush()
            case 3: try rig.publish(idle: random.next(below: 2) == 0)
            case 4: try rig.write(largeUnit(&random))
            default:
                for _ in 0...random.next(below: 6) { try rig.stage(smallUnit(&random)) }
                try rig.append()
            }
        }
    }

    private static func smallUnit(_ random: inout SplitMix64) -> [Change] {
        let first = random.next(below: JournalRig.grainCount - 8)
        let count = 1 + random.next(below: 4)
        if random.next(below: 5) == 0 { return [.zero(first, count * 2)] }
        let write = Change.write(first, count, random.next())
        return random.next(below: 6) == 0 ? [.zero(first, 1), write] : [write]
    }

    /// Larger than a batch, now and then than a segment.
    private static func largeUnit(_ random: inout SplitMix64) -> [Change] {
        let records = 2 + random.next(below: 8)
        let stamp = random.next()
        return (0..<records).map {
            .write(($0 * 8) % (JournalRig.grainCount - 8), 1 + random.next(below: 8), stamp &+ $0)
        }
    }
}
