// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is on a `VolatileDisk`: file contents with, per 512-byte sector, every version that a crash
// may bring back, and directories with the names that a crash is sure to keep. Nothing here locks:
// all of it is confined to the lock of the disk it belongs to.

import Glibc
import Primitives

/// A file or a directory.
enum VolatileNode: Sendable {
    case file(VolatileContent)
    case directory(VolatileEntries)

    func isSame(as other: VolatileNode) -> Bool {
        switch (self, other) {
        case (.file(let left), .file(let right)): left === right
        case (.directory(let left), .directory(let right)): left === right
        default: false
        }
    }
}

/// The names in a directory: as running programs see them, and as they are on disk.
final class VolatileEntries: @unchecked Sendable {
    // Confined: to the lock of its disk.
    let identity: UInt64
    var current: [String: VolatileNode] = [:]
    var durable: [String: VolatileNode] = [:]
    var isRemoved = false

    init(identity: UInt64) { self.identity = identity }

    /// All below, durable as it is seen now. `files`: copies by their originals, so that two names
    /// of one file stay so.
    func copy(
        identity: UInt64, _ files: inout [ObjectIdentifier: VolatileContent]
    ) -> VolatileEntries {
        let made = VolatileEntries(identity: identity)
        for name in current.keys.sorted() {
            switch current[name] {
            case .file(let content)?:
                let copy = files[ObjectIdentifier(content)] ?? VolatileContent(copying: content)
                files[ObjectIdentifier(content)] = copy
                made.current[name] = .file(copy)
            case .directory(let child)?:
                made.current[name] = .directory(child.copy(identity: child.identity, &files))
            case nil: break
            }
        }
        made.durable = made.current
        return made
    }
}

/// How much of what was not synced a crash keeps.
enum SectorChoice {
    case newest
    case oldest
    case random(SplitMix64)
}

/// The bytes of a file, as running programs see them, and what a crash may make of them.
final class VolatileContent: @unchecked Sendable {
    // Confined: to the lock of its disk. A mapping is read outside of it, under the rule of the
    // seam that ranges which are written are not read at the same time.
    static let sectorBytes = 512
    /// Versions remembered of a sector that is rewritten between syncs; above, a random one gives
    /// way.
    private static let versionsMax = 4

    private var storage: UnsafeMutableRawPointer
    private var capacity: Int
    private var isPinned = false
    private(set) var size = 0
    private var durableSize = 0
    /// Sector to its possible contents besides the current one, the durable one first. An empty
    /// array stands for zeros.
    private var unsynced: [Int: [[UInt8]]] = [:]
    /// Sectors that a failed sync marked clean though they never reached the disk.
    private var lost: [Int: [[UInt8]]] = [:]

    var links = 0
    var handles = 0
    var isLocked = false
    /// Where its pages lie; nil on a disk that does not tell.
    var extents: VolatileExtents?
    var mode: UInt32 = 0o600
    /// Counts changes of the content: the twin's time of the last one.
    private(set) var changes = 0

    init(extents: VolatileExtents? = nil) {
        self.extents = extents
        capacity = 4096
        storage = Self.zeroed(capacity)
    }

    /// Its bytes as running programs see them, durable.
    init(copying other: VolatileContent) {
        capacity = max(4096, (other.size + 4095) / 4096 * 4096)
        storage = Self.zeroed(capacity)
        memcpy(storage, other.storage, other.size)
        size = other.size
        durableSize = size
        mode = other.mode
        changes = other.changes
    }

    deinit { free(storage) }

    private static func zeroed(_ count: Int) -> UnsafeMutableRawPointer {
        guard let made = calloc(count, 1) else { preconditionFailure("out of memory") }
        return made
    }

    var isAlive: Bool { links > 0 || handles > 0 }

    /// Bytes counted against the capacity of the disk.
    var spaceBytes: UInt64 { Self.space(size) }

    static func space(_ size: Int) -> UInt64 { (UInt64(size) + 4095) / 4096 * 4096 }

    var hasUnsynced: Bool { !unsynced.isEmpty || !lost.isEmpty || size != durableSize }

    // MARK: Access by running programs

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard offset < UInt64(size), let target = buffer.baseAddress else { return 0 }
        let count = min(buffer.count, size - Int(offset))
        memcpy(target, storage + Int(offset), count)
        return count
    }

    func write(at offset: Int, _ source: UnsafeRawBufferPointer, random: inout SplitMix64) {
        guard source.count > 0, let start = source.baseAddress else { return }
        remember(offset..<offset + source.count, random: &random)
        reserve(offset + source.count)
        memcpy(storage + offset, start, source.count)
        size = max(size, offset + source.count)
        changes += 1
        extents?.wrote(UInt64(offset)..<UInt64(offset + source.count))
    }

    func resize(_ count: Int, random: inout SplitMix64) {
        if count < size {
            remember(count..<size, random: &random)
            memset(storage + count, 0, size - count)
        }
        reserve(count)
        size = count
        changes += 1
        extents?.cut(to: UInt64(count))
    }

    /// Makes the part of a range that lies inside the file zeros, and its whole pages holes.
    func punch(_ range: Range<UInt64>, random: inout SplitMix64) {
        let end = min(Int(range.upperBound), size)
        guard Int(range.lowerBound) < end else { return }
        remember(Int(range.lowerBound)..<end, random: &random)
        memset(storage + Int(range.lowerBound), 0, end - Int(range.lowerBound))
        changes += 1
        extents?.punched(range)
    }

    /// The first `count` bytes at an address that stays. From here on the file cannot outgrow them.
    func map(_ count: Int) -> UnsafeRawBufferPointer {
        reserve(max(count, size))
        isPinned = true
        return UnsafeRawBufferPointer(start: storage, count: count)
    }

    /// Makes room. New room is zero.
    private func reserve(_ count: Int) {
        guard count > capacity else { return }
        precondition(!isPinned, "a mapped file of the volatile disk outgrew its mapping")
        let wanted = (max(count, capacity * 2) + 4095) / 4096 * 4096
        let larger = Self.zeroed(wanted)
        memcpy(larger, storage, capacity)
        free(storage)
        storage = larger
        capacity = wanted
    }

    /// Keeps what the sectors of a range hold now among the contents that a crash may bring back.
    private func remember(_ range: Range<Int>, random: inout SplitMix64) {
        let first = range.lowerBound / Self.sectorBytes
        let last = (range.upperBound - 1) / Self.sectorBytes
        for sector in first...last {
            var versions = unsynced[sector] ?? lost.removeValue(forKey: sector) ?? []
            if versions.count < Self.versionsMax {
                versions.append(sectorContent(sector))
            } else {
                let victim = 1 + Int(random.next(below: UInt64(Self.versionsMax - 1)))
                versions[victim] = sectorContent(sector)
            }
            unsynced[sector] = versions
        }
    }

    private func sectorContent(_ sector: Int) -> [UInt8] {
        let start = sector * Self.sectorBytes
        guard start < size else { return [] }
        return [UInt8](UnsafeRawBufferPointer(start: storage + start, count: Self.sectorBytes))
    }

    // MARK: Durability

    func sync() {
        unsynced.removeAll()
        durableSize = size
    }

    /// What Linux does when write-back fails: the pages stay readable and count as clean, the disk
    /// keeps the old bytes, and a later sync succeeds without writing them.
    func failSync() {
        lost.merge(unsynced) { _, newer in newer }
        unsynced.removeAll()
    }

    /// Memory pressure drops clean pages: what a failed sync lost is now lost to readers too.
    func evictCleanPages() {
        for (sector, versions) in lost { set(sector, to: versions[0]) }
        lost.removeAll()
    }

    /// Settles every unsynced sector and the size, as a power cut does. Everything left is durable.
    func settle(_ choice: SectorChoice) {
        guard hasUnsynced else { return }
        var choice = choice
        let odds = Self.odds(&choice)
        for sector in unsynced.keys.sorted() {
            let versions = unsynced[sector] ?? []
            if let index = Self.pick(versions.count, odds: odds, &choice) {
                set(sector, to: versions[index])
            }
        }
        for sector in lost.keys.sorted() {
            let versions = lost[sector] ?? []
            // Even a crash that keeps everything cannot keep what write-back gave up on.
            var lostChoice = choice
            if case .newest = choice { lostChoice = .oldest }
            if let index = Self.pick(versions.count, odds: odds, &lostChoice) {
                set(sector, to: versions[index])
            }
            if case .random = choice { choice = lostChoice }
        }
        if size != durableSize, Self.pick(1, odds: odds, &choice) != nil {
            if durableSize < size { memset(storage + durableSize, 0, size - durableSize) }
            size = durableSize
        }
        unsynced.removeAll()
        lost.removeAll()
        durableSize = size
    }

    /// How likely, in eighths, a sector of this file is kept: runs of all or nothing matter as much
    /// as mixtures.
    private static func odds(_ choice: inout SectorChoice) -> UInt64 {
        guard case .random(var random) = choice else { return 4 }
        let odds: [UInt64] = [0, 1, 4, 4, 7, 8]
        let picked = odds[Int(random.next(below: UInt64(odds.count)))]
        choice = .random(random)
        return picked
    }

    /// Which older version comes back, or nil if the newest is kept.
    private static func pick(_ count: Int, odds: UInt64, _ choice: inout SectorChoice) -> Int? {
        switch choice {
        case .newest: return nil
        case .oldest: return 0
        case .random(var random):
            defer { choice = .random(random) }
            if random.next(below: 8) < odds { return nil }
            return Int(random.next(below: UInt64(count)))
        }
    }

    private func set(_ sector: Int, to bytes: [UInt8]) {
        let start = sector * Self.sectorBytes
        reserve(start + Self.sectorBytes)
        bytes.withUnsafeBytes { source -> Void in
            if let address = source.baseAddress, source.count > 0 {
                memcpy(storage + start, address, source.count)
            } else {
                memset(storage + start, 0, Self.sectorBytes)
            }
        }
    }

    /// Inverts all bits of a byte, in memory and in every version on disk.
    func rot(at offset: Int) {
        precondition(offset < size, "rot lies inside the file")
        let sector = offset / Self.sectorBytes
        let place = offset % Self.sectorBytes
        let address = storage + offset
        address.storeBytes(of: ~address.load(as: UInt8.self), as: UInt8.self)
        for index in unsynced[sector]?.indices ?? 0..<0
        where unsynced[sector]?[index].isEmpty == false {
            unsynced[sector]?[index][place] ^= 0xFF
        }
    }

    func bytes() -> [UInt8] { [UInt8](UnsafeRawBufferPointer(start: storage, count: size)) }
}
