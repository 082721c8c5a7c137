// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A journal on the volatile disk with its reference model: a list of units, each a list of changes.
// After any crash the recovered volume must equal the model cut after one unit, at or beyond the
// last flushed one; then the rig forgets the units that are gone, as their guest never had an
// answer.

import Formats
import Glibc
import HostIO
import Journal
import Primitives
import Testing

typealias Volatile = VolatileDirectory

/// One record's effect: grains filled with a stamp, or zeroed.
struct Change: Equatable {
    var grains: Range<UInt64>
    /// Nil for zeros.
    var stamp: UInt64?

    static func write(_ first: UInt64, _ count: UInt64, _ stamp: UInt64) -> Change {
        Change(grains: first..<(first + count), stamp: stamp)
    }
    static func zero(_ first: UInt64, _ count: UInt64) -> Change {
        Change(grains: first..<(first + count), stamp: nil)
    }
}

struct ModelUnit {
    var changes: [Change]
    var last: RecordSequence
}

/// The failures of a rig that are findings, not faults that a test injected.
enum RigFinding: Error, Equatable {
    case flushedUnitLost(flushed: RecordSequence, recovered: RecordSequence)
    case unitSplit(recovered: RecordSequence)
    case wrongContent(grain: UInt64)
}

final class JournalRig {
    static let grainCount: UInt64 = 128
    static let blockBytes = 16 << 10
    static let segmentPages = 32

    let disk: VolatileDisk
    let volume = VolumeID(low: 7, high: 9)
    var bootID = BootID(low: 1, high: 1)
    var directory: Volatile
    var pool: SegmentPool<Volatile>
    var journal: Journal<Volatile>
    var memtable: Memtable
    var units: [ModelUnit] = []
    /// What the published commit holds: a stamp a grain, and the cut.
    var base = [UInt64?](repeating: nil, count: Int(grainCount))
    var cut = RecordSequence(0)
    var flushed = RecordSequence(0)
    private var lent: [UnsafeMutableRawBufferPointer] = []
    private var unappended: [(Change, JournalPage)] = []

    init(seed: UInt64 = 1, names: VolatileDisk.NameRule = .independent, budget: UInt64 = 1 << 40)
        throws
    {
        disk = VolatileDisk(seed: seed, names: names)
        let root = disk.root
        let segments = try root.directory("segments", create: true)
        directory = try root.directory("journal", create: true)
        try root.sync()
        pool = SegmentPool(
            directory: segments, segmentPages: Self.segmentPages, budgetBytes: budget,
            freeSegmentsMax: 3, random: SplitMix64(seed: seed &+ 77))
        try pool.prepare(bootID: bootID)
        journal = Journal(
            starting: .fresh(
                volume: volume, bootID: bootID, directory: directory, cut: cut,
                segmentPages: Self.segmentPages))
        memtable = Memtable(blockBytes: Self.blockBytes)
    }

    // MARK: The life of a volume

    func offer(_ count: Int) throws {
        for _ in 0..<count {
            let number = journal.reserveSegmentNumber()
            journal.offer(try pool.take(into: directory, number: number))
        }
    }

    /// Stages a unit; appends only when a batch is full.
    func stage(_ changes: [Change]) throws {
        let pages = changes.reduce(0) { $0 + ($1.stamp == nil ? 0 : $1.grains.count) }
        let missing = journal.segmentsWanted(forPages: pages, records: changes.count)
        try offer(missing)
        let hasRoom = journal.room(forPages: pages, records: changes.count)
        #expect(hasRoom)
        for (index, change) in changes.enumerated() {
            let continues = index + 1 < changes.count
            if try stage(change, continues: continues) { continue }
            try append()
            #expect(try stage(change, continues: continues))
        }
        units.append(ModelUnit(changes: changes, last: journal.lastStaged))
    }

    private func stage(_ change: Change, continues: Bool) throws -> Bool {
        let grain = UInt64(Limits.grainBytes)
        guard let stamp = change.stamp else {
            let staged = journal.stageMark(
                kind: .zero, offset: change.grains.lowerBound * grain,
                length: UInt64(change.grains.count) * grain, epoch: Epoch(1),
                continues: continues)
            guard case .at(let page) = staged else { return false }
            unappended.append((change, page))
            return true
        }
        var pieces: [iovec] = []
        for index in change.grains {
            let payload = UnsafeMutableRawBufferPointer.allocate(
                byteCount: Limits.grainBytes, alignment: 16)
            Self.fill(payload, grain: index, stamp: stamp)
            lent.append(payload)
            pieces.append(iovec(iov_base: payload.baseAddress, iov_len: payload.count))
        }
        let staged = pieces.withUnsafeBufferPointer {
            journal.stageWrite(
                firstGrain: GrainIndex(change.grains.lowerBound), pieces: $0, epoch: Epoch(1),
                continues: continues)
        }
        guard case .at(let page) = staged else { return false }
        unappended.append((change, page))
        return true
    }

    func append() throws {
        defer {
            for payload in lent { payload.deallocate() }
            lent.removeAll()
            unappended.removeAll()
        }
        try journal.append()
        for (change, page) in unappended { apply(change, at: page) }
    }

    private func apply(_ change: Change, at page: JournalPage) {
        if change.stamp == nil {
            memtable.setZero(grains: change.grains)
        } else {
            memtable.set(
                firstGrain: GrainIndex(change.grains.lowerBound), count: change.grains.count,
                firstPage: page)
        }
    }

    func write(_ changes: [Change]) throws {
        try stage(changes)
        try append()
    }

    func flush() throws {
        if let work = journal.beginSync() {
            do {
                try work.perform()
            } catch {
                journal.syncFailed(error)
                throw error
            }
            journal.syncEnded(work)
        }
        flushed = max(flushed, journal.syncedSequence)
    }

    /// What a commit does to the journal: everything so far is published.
    func publish(idle: Bool) throws {
        try publishWithoutRetiring()
        do throws(GiveBackFailure<Volatile>) {
            try pool.give(back: journal.retire(upTo: cut, idle: idle))
        } catch { throw error.reason }
    }

    /// The process ends before the journal hears of the commit.
    func publishWithoutRetiring() throws {
        try flush()
        base = content(upTo: units.count)
        cut = journal.lastAppended
        units.removeAll()
        memtable = Memtable(blockBytes: Self.blockBytes)
    }

    // MARK: Crashes

    /// The power goes, or with nil the process dies; then a new process recovers and seals.
    func crash(keeping: VolatileDisk.Keeping?) throws {
        powerDown(keeping: keeping)
        reboot()
        try recover()
    }

    func powerDown(keeping: VolatileDisk.Keeping?) {
        if let keeping {
            disk.crash(keeping: keeping)
            bootID = BootID(low: bootID.low + 1, high: 1)
        } else {
            disk.kill()
        }
    }

    func reboot() { _ = disk.reboot() }

    /// Recovers, checks against the model, and goes on with the sealed journal.
    func recover() throws {
        let root = disk.root
        directory = try root.directory("journal", create: false)
        pool = SegmentPool(
            directory: try root.directory("segments", create: false),
            segmentPages: Self.segmentPages, budgetBytes: pool.budgetBytes, freeSegmentsMax: 3,
            random: SplitMix64(seed: UInt64(disk.operationCount) &+ 1234))
        try pool.prepare(bootID: bootID)
        memtable = Memtable(blockBytes: Self.blockBytes)
        let recovered = try JournalRecovery.recover(
            directory: directory, volume: volume, cut: cut, bootID: bootID
        ) { unit in
            for item in unit.records {
                let stamp: UInt64? = item.record.kind == .write ? 1 : nil
                self.apply(Change(grains: item.record.grains, stamp: stamp), at: item.page)
            }
        }
        let start = try recovered.seal(pool: pool)
        journal = Journal(starting: start)
        try check(upTo: recovered.lastSequence)
        flushed = max(cut, recovered.lastSequence)
    }

    /// Compares the volume with the model cut at `last`, and forgets what lies beyond.
    private func check(upTo last: RecordSequence) throws {
        guard last >= flushed else {
            throw RigFinding.flushedUnitLost(flushed: flushed, recovered: last)
        }
        let kept = units.prefix { $0.last <= last }.count
        guard last == (kept == 0 ? cut : units[kept - 1].last) else {
            throw RigFinding.unitSplit(recovered: last)
        }
        units.removeLast(units.count - kept)
        try checkContent()
    }

    /// Every grain reads as the model says, from the journal or from the base.
    func checkContent() throws {
        let wanted = content(upTo: units.count)
        let expected = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.grainBytes, alignment: 16)
        let found = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.grainBytes, alignment: 16)
        defer {
            expected.deallocate()
            found.deallocate()
        }
        for grain in 0..<Self.grainCount {
            Self.fill(expected, grain: grain, stamp: wanted[Int(grain)])
            switch memtable.state(of: GrainIndex(grain)) {
            case .absent: Self.fill(found, grain: grain, stamp: base[Int(grain)])
            case .zero: Self.fill(found, grain: grain, stamp: nil)
            case .page(let page):
                let place = journal.file(of: page)
                _ = try place.segment.file.read(at: place.offset, into: found)
                if let mapped = journal.page(page), !Self.areEqual(mapped, found) {
                    throw RigFinding.wrongContent(grain: grain)
                }
            }
            guard let base = expected.baseAddress, Self.areEqual(base, found) else {
                throw RigFinding.wrongContent(grain: grain)
            }
        }
    }

    // MARK: The model

    func content(upTo count: Int) -> [UInt64?] {
        var content = base
        for unit in units[..<count] {
            for change in unit.changes {
                for grain in change.grains { content[Int(grain)] = change.stamp }
            }
        }
        return content
    }

    private static func areEqual(
        _ left: UnsafeRawPointer, _ right: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard let base = right.baseAddress else { return right.isEmpty }
        return memcmp(left, base, right.count) == 0
    }

    /// A grain's bytes: each word tells stamp and grain.
    static func fill(_ target: UnsafeMutableRawBufferPointer, grain: UInt64, stamp: UInt64?) {
        let word = stamp.map { $0 &* 0x9E37_79B9_7F4A_7C15 &+ grain &+ 1 } ?? 0
        _ = target.initializeMemory(as: UInt64.self, repeating: word)
    }
}
