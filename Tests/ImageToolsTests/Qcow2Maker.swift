// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Makes qcow2 files for tests, cluster by cluster, right or wrong.

import Primitives

/// A qcow2 file in the making. Clusters of the file: header, L1 table, then what is added.
struct Qcow2Maker {
    enum Cluster {
        case unallocated
        case zeros
        case data([UInt8])
        case deflate([UInt8])
        case zstd([UInt8])
    }

    var version: UInt32 = 3
    var clusterBits: UInt32 = 12
    var diskBytes: UInt64
    var backingName: String?
    var incompatible: UInt64 = 0
    var clusters: [Cluster] = []

    var clusterBytes: Int { 1 << Int(clusterBits) }

    /// Bytes of the file.
    func make() -> [UInt8] {
        var file = header()
        pad(&file)
        let perTable = clusterBytes / 8
        let tables = max(1, (clusters.count + perTable - 1) / perTable)
        var l1 = [UInt8]()
        let l1Place = file.count
        file += [UInt8](
            repeating: 0,
            count: (tables * 8 + clusterBytes - 1) / clusterBytes
                * clusterBytes)
        for table in 0..<tables {
            let part = clusters[(table * perTable)..<min(clusters.count, (table + 1) * perTable)]
            let isAbsent = part.allSatisfy { if case .unallocated = $0 { true } else { false } }
            guard !isAbsent else {
                l1 += bigEndian(UInt64(0))
                continue
            }
            var l2 = [UInt8]()
            for cluster in part { l2 += bigEndian(add(cluster, to: &file)) }
            l2 += [UInt8](repeating: 0, count: clusterBytes - l2.count)
            pad(&file)
            l1 += bigEndian(UInt64(file.count) | 1 << 63)
            file += l2
        }
        file.replaceSubrange(l1Place..<(l1Place + l1.count), with: l1)
        return file
    }

    private func add(_ cluster: Cluster, to file: inout [UInt8]) -> UInt64 {
        switch cluster {
        case .unallocated: return 0
        case .zeros: return 1
        case .data(let bytes):
            pad(&file)
            defer { file += bytes }
            return UInt64(file.count) | 1 << 63
        case .deflate(let bytes): return addStream(Self.stored(bytes), to: &file)
        case .zstd(let bytes): return addStream(Self.zstd(bytes), to: &file)
        }
    }

    /// Streams lie at any byte, one behind the other.
    private func addStream(_ stream: [UInt8], to file: inout [UInt8]) -> UInt64 {
        let place = file.count
        file += stream
        let sectors = (place % 512 + stream.count + 511) / 512 - 1
        return UInt64(place) | UInt64(sectors) << UInt64(62 - (clusterBits - 8)) | 1 << 62
    }

    /// A DEFLATE stream of stored blocks.
    static func stored(_ bytes: [UInt8]) -> [UInt8] {
        var stream: [UInt8] = []
        var rest = bytes[...]
        repeat {
            let part = rest.prefix(0xFFFF)
            rest = rest.dropFirst(part.count)
            let count = UInt16(part.count)
            stream.append(rest.isEmpty ? 1 : 0)
            for word in [count, ~count] {
                stream += [UInt8(truncatingIfNeeded: word), UInt8(truncatingIfNeeded: word >> 8)]
            }
            stream += part
        } while !rest.isEmpty
        return stream
    }

    static func zstd(_ bytes: [UInt8]) -> [UInt8] {
        var target = [UInt8](repeating: 0, count: Compression.capacity(for: bytes.count))
        let count = target.withUnsafeMutableBytes { target in
            bytes.withUnsafeBytes { Compression.compress($0, into: target, codec: .zstd) }
        }
        return Array(target[..<(count ?? 0)])
    }

    private func pad(_ file: inout [UInt8]) {
        let over = file.count % clusterBytes
        if over > 0 { file += [UInt8](repeating: 0, count: clusterBytes - over) }
    }

    private func header() -> [UInt8] {
        let isZstd = clusters.contains { if case .zstd = $0 { true } else { false } }
        let perTable = UInt64(clusterBytes / 8)
        let needed = (diskBytes - 1) / (perTable << UInt64(clusterBits)) + 1
        let l1Count = max(UInt64(max(1, clusters.count)) / perTable + 1, needed)
        var bytes: [UInt8] = bigEndian(UInt32(0x5146_49FB)) + bigEndian(version)
        bytes += bigEndian(UInt64(backingName == nil ? 0 : 256))
        bytes += bigEndian(UInt32(backingName?.utf8.count ?? 0)) + bigEndian(clusterBits)
        bytes += bigEndian(diskBytes) + bigEndian(UInt32(0)) + bigEndian(UInt32(l1Count))
        bytes += bigEndian(UInt64(clusterBytes))
        bytes += [UInt8](repeating: 0, count: 72 - bytes.count)
        if version >= 3 {
            bytes += bigEndian(incompatible | (isZstd ? 8 : 0))
            bytes += [UInt8](repeating: 0, count: 16) + bigEndian(UInt32(4))
            bytes += bigEndian(UInt32(112)) + [isZstd ? 1 : 0, 0, 0, 0, 0, 0, 0, 0]
        }
        bytes += [UInt8](repeating: 0, count: 256 - bytes.count) + Array((backingName ?? "").utf8)
        return bytes
    }
}

func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}
