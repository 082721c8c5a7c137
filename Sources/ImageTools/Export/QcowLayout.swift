// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The numbers of a qcow2 file, version 3, as far as we write it: header, table entries, and which
// cluster of the file is given to what. All integers are big-endian. A cluster is a block of the
// volume. See docs/formats/qcow2.md.
//
// Clusters are given out in order and never taken back. The first of each region, as many clusters
// as one refcount block counts, holds that refcount block, so that any number can be written as a
// stream would, with one refcount block in memory.

import Primitives

/// How clusters are compressed.
public enum QcowCompression: String, Sendable, CaseIterable {
    case zstd
}

struct QcowLayout {
    let size: UInt64
    let clusterBytes: Int
    let compression: QcowCompression?

    init(size: ByteCount, blockBytes: Int, compression: QcowCompression?) {
        precondition(blockBytes >= 4096 && blockBytes <= 2 << 20 && blockBytes.nonzeroBitCount == 1)
        self.size = size.rawValue
        clusterBytes = blockBytes
        self.compression = compression
    }

    var clusterBits: Int { clusterBytes.trailingZeroBitCount }
    var tableEntries: Int { clusterBytes / 8 }
    /// Guest clusters, the last one perhaps short.
    var guestClusters: UInt64 { (size + UInt64(clusterBytes) - 1) / UInt64(clusterBytes) }
    var firstTableEntries: Int {
        Int((guestClusters + UInt64(tableEntries) - 1) / UInt64(tableEntries))
    }

    /// Clusters that one refcount block counts: its entries have 16 bits.
    var regionClusters: UInt64 { UInt64(clusterBytes / 2) }

    var firstTableClusters: Int { clusters(firstTableEntries * 8) }

    /// Of the refcount table, for the largest file that can come out.
    var refcountTableClusters: Int {
        let most = guestClusters + UInt64(firstTableEntries + firstTableClusters) + 1024
        // Each region gives one cluster away for its own refcount block.
        return clusters(Int(most / (regionClusters - 1) + 2) * 8)
    }

    private func clusters(_ bytes: Int) -> Int {
        max(1, (bytes + clusterBytes - 1) / clusterBytes)
    }

    // What lies in front: header, the first refcount block, the refcount table, the first table.
    var refcountTableOffset: UInt64 { UInt64(2 * clusterBytes) }
    var firstTableOffset: UInt64 {
        refcountTableOffset + UInt64(refcountTableClusters * clusterBytes)
    }
    var frontClusters: UInt64 { UInt64(2 + refcountTableClusters + firstTableClusters) }

    // MARK: Bytes

    func header() -> [UInt8] {
        var bytes: [UInt8] = []
        func append<Value: FixedWidthInteger>(_ value: Value) {
            withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
        }
        append(UInt32(0x5146_49FB))
        append(UInt32(3))
        append(UInt64(0))  // no backing file
        append(UInt32(0))
        append(UInt32(clusterBits))
        append(size)
        append(UInt32(0))  // not encrypted
        append(UInt32(firstTableEntries))
        append(firstTableOffset)
        append(refcountTableOffset)
        append(UInt32(refcountTableClusters))
        append(UInt32(0))  // no snapshots
        append(UInt64(0))
        append(UInt64(compression == .zstd ? 1 << 3 : 0))
        append(UInt64(0))
        append(UInt64(0))
        append(UInt32(4))  // refcounts of 2^4 bits
        append(UInt32(112))
        append(UInt64(compression == .zstd ? 1 << 56 : 0))  // compression type, seven zeros
        append(UInt64(0))  // the end of the header extensions
        return bytes
    }

    /// An entry of either table for something that nothing else shares.
    static func entry(at offset: UInt64) -> UInt64 { 1 << 63 | offset }

    /// An entry for `count` bytes of compressed data at any offset.
    func entry(compressedAt offset: UInt64, count: Int) -> UInt64 {
        let sectorsBehindFirst = (offset + UInt64(count) - 1) / 512 - offset / 512
        let shift = UInt64(62 - (clusterBits - 8))
        precondition(offset < 1 << shift)
        return 1 << 62 | sectorsBehindFirst << shift | offset
    }

    static func bytes(of entries: [UInt64]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(entries.count * 8)
        for entry in entries {
            withUnsafeBytes(of: entry.bigEndian) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }
}

/// Gives out the clusters of a qcow2 file and counts their users.
struct QcowClusters {
    /// A refcount block that will not change any more.
    struct RefcountBlock {
        let offset: UInt64
        let counts: [UInt16]

        var bytes: [UInt8] {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(counts.count * 2)
            for count in counts {
                bytes.append(UInt8(count >> 8))
                bytes.append(UInt8(count & 255))
            }
            return bytes
        }
    }

    private let clusterBytes: UInt64
    private let regionClusters: UInt64
    private var next: UInt64
    private var counts: [UInt16]
    /// Behind the last compressed bytes.
    private var tail: UInt64 = 0
    /// Offsets of the refcount blocks, by region.
    private(set) var refcountBlocks: [UInt64]
    private var finished: [RefcountBlock] = []

    init(_ layout: QcowLayout) {
        clusterBytes = UInt64(layout.clusterBytes)
        regionClusters = layout.regionClusters
        precondition(layout.frontClusters < regionClusters, "the front is part of the first region")
        next = layout.frontClusters
        counts = Array(repeating: 0, count: Int(regionClusters))
        for cluster in 0..<Int(next) { counts[cluster] = 1 }
        refcountBlocks = [clusterBytes]
    }

    /// Bytes of the file so far.
    var fileBytes: UInt64 { next * clusterBytes }

    /// The offset of a cluster that nothing else has.
    mutating func one() -> UInt64 {
        if next.isMultiple(of: regionClusters) { openRegion() }
        let cluster = next
        next += 1
        counts[Int(cluster % regionClusters)] = 1
        return cluster * clusterBytes
    }

    /// The offset of `count` bytes, less than a cluster, behind earlier such bytes if that is
    /// possible.
    mutating func room(for count: Int) -> UInt64 {
        precondition(count > 0 && UInt64(count) < clusterBytes)
        var start = tail
        let open = tail / clusterBytes
        let last = (tail + UInt64(count) - 1) / clusterBytes
        let isOpen =
            !tail.isMultiple(of: clusterBytes)
            && open / regionClusters == (next - 1) / regionClusters
            && counts[Int(open % regionClusters)] < UInt16.max
        if isOpen, last == open {
            counts[Int(open % regionClusters)] += 1
        } else if isOpen, next == open + 1, !next.isMultiple(of: regionClusters) {
            counts[Int(open % regionClusters)] += 1
            _ = one()
        } else {
            start = one()
        }
        tail = start + UInt64(count)
        return start
    }

    private mutating func openRegion() {
        finishRegion()
        counts = Array(repeating: 0, count: Int(regionClusters))
        counts[0] = 1
        refcountBlocks.append(next * clusterBytes)
        next += 1
    }

    private mutating func finishRegion() {
        finished.append(
            RefcountBlock(offset: refcountBlocks[refcountBlocks.count - 1], counts: counts))
    }

    /// Refcount blocks that are to be written now.
    mutating func takeFinished() -> [RefcountBlock] {
        defer { finished.removeAll() }
        return finished
    }

    /// The last ones: nothing is given out any more.
    mutating func finish() -> [RefcountBlock] {
        finishRegion()
        return takeFinished()
    }
}
