// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A qcow2 image over an open file, for reading. Nothing in it is trusted: every place that it names
// is checked against the file before it is read, an L2 table is used once, memory is bounded by
// constants. Reference counts, snapshots and bitmaps are not looked at. The backing file is the one
// that the caller opened, or none; a name in the header is only for messages.
//
//   L1 table (in memory) ─▶ L2 table (a cluster, some kept) ─▶ cluster

public import HostIO
public import Primitives
import Synchronization

/// An open qcow2 image. The file must not change while it is read.
public final class Qcow2Image<File: BlockFile>: DiskImage {
    private let file: File
    private let fileBytes: UInt64
    private let header: Qcow2Header
    /// Places of the L2 tables; zero: none.
    private let tables: [UInt64]
    private let backing: (any DiskImage)?
    private let kept: Lock<KeptTables>

    /// Bytes of L2 tables that are kept.
    private static var keptBytesMax: Int { 16 << 20 }

    private struct KeptTables {
        var tables: [Int: [UInt64]] = [:]
        /// Oldest first.
        var order: [Int] = []
        let countMax: Int
    }

    public let size: ByteCount
    public var format: String { "qcow2" }
    public var pieceBytes: Int { header.clusterBytes }

    /// `backing` is what the user named for an image that has a backing file. Fails with
    /// `unsupported` if the image has one and none was named, or the other way round.
    public init(_ file: File, backing: (any DiskImage)? = nil) throws(ImageError) {
        self.file = file
        self.backing = backing
        fileBytes = try Self.reading { () throws(HostIOError) in try file.size() }
        let fileBytes = fileBytes
        let head = try Self.bytes(
            file, at: 0, count: Int(min(fileBytes, UInt64(Qcow2Header.bytesMax))))
        let header = try head.withImageBytes { bytes throws(ImageError) in
            try Qcow2Header(decoding: bytes, fileBytes: fileBytes)
        }
        self.header = header
        if let name = header.backingName, backing == nil {
            throw .unsupported(
                feature:
                    "it has a backing file, \"\(name)\", and no file is opened because an image "
                    + "names it",
                remedy: "name the backing file with --backing")
        }
        if backing != nil, header.backingName == nil {
            throw .unsupported(
                feature: "it has no backing file", remedy: "leave --backing out")
        }
        let sector = UInt64(Limits.sectorBytes)
        size = ByteCount((header.diskBytes + sector - 1) / sector * sector)
        tables = try Self.tables(file, header, fileBytes: fileBytes)
        kept = Lock(
            KeptTables(countMax: max(4, Self.keptBytesMax / header.clusterBytes)))
    }

    // MARK: Maps

    /// The L1 table. No two entries may name one L2 table, and none the header or this table: so
    /// the map of a file is never larger than the file.
    private static func tables(
        _ file: File, _ header: Qcow2Header, fileBytes: UInt64
    ) throws(ImageError) -> [UInt64] {
        let count = Int((header.diskBytes - 1) / header.l2Span + 1)
        let bytes = try self.bytes(file, at: header.l1Offset, count: count * 8)
        let l1 = header.l1Offset..<(header.l1Offset + UInt64(count * 8))
        var tables: [UInt64] = []
        tables.reserveCapacity(count)
        try bytes.withImageBytes { bytes throws(ImageError) in
            for index in 0..<count {
                let entry = bytes.bigEndian(UInt64.self, at: index * 8)
                let table = try Qcow2Cluster.table(l1: entry, header: header)
                if let table {
                    try check(
                        table..<(table + UInt64(header.clusterBytes)), header, l1: l1,
                        fileBytes: fileBytes)
                }
                tables.append(table ?? 0)
            }
        }
        let sorted = tables.filter { $0 != 0 }.sorted()
        for (left, right) in zip(sorted, sorted.dropFirst()) where left == right {
            throw .damaged(detail: "two entries of its L1 table name the L2 table at \(left)")
        }
        return tables
    }

    /// A place that the map names: inside the file, and not in the header or the L1 table.
    private static func check(
        _ place: Range<UInt64>, _ header: Qcow2Header, l1: Range<UInt64>, fileBytes: UInt64
    ) throws(ImageError) {
        guard place.upperBound <= fileBytes else {
            throw .damaged(detail: "an L2 table at \(place.lowerBound) is not inside the file")
        }
        guard place.lowerBound >= UInt64(header.clusterBytes), !place.overlaps(l1) else {
            throw .damaged(detail: "an L2 table at \(place.lowerBound) overlaps another part")
        }
    }

    /// The L2 table that maps part `index` of the disk, decoded from big-endian; nil if there is
    /// none.
    private func table(_ index: Int) throws(ImageError) -> [UInt64]? {
        let place = tables[index]
        guard place != 0 else { return nil }
        if let table = kept.withLock({ $0.tables[index] }) { return table }
        let bytes = try Self.bytes(file, at: place, count: header.clusterBytes)
        let count = header.l2Count
        let table = bytes.withUnsafeBytes { bytes in
            (0..<count).map { bytes.bigEndian(UInt64.self, at: $0 * 8) }
        }
        kept.withLock { kept in
            guard kept.tables[index] == nil else { return }
            if kept.order.count == kept.countMax {
                kept.tables[kept.order.removeFirst()] = nil
            }
            kept.tables[index] = table
            kept.order.append(index)
        }
        return table
    }

    /// What the disk is at `offset`, and where that part ends: a cluster, or all that an absent L2
    /// table would map.
    private func part(
        at offset: UInt64
    ) throws(ImageError) -> (cluster: Qcow2Cluster, end: UInt64) {
        let index = Int(offset / header.l2Span)
        guard let table = try table(index) else {
            return (.unallocated, min((UInt64(index) + 1) * header.l2Span, size.rawValue))
        }
        let number = offset >> UInt64(header.clusterBits)
        let cluster = try Qcow2Cluster(
            l2: table[Int(number % UInt64(header.l2Count))], header: header)
        switch cluster {
        case .data(let place), .compressed(let place, _):
            // The last cluster of a file may be cut where its data ends.
            guard place >= UInt64(header.clusterBytes), place < fileBytes else {
                throw .damaged(detail: "a cluster at \(place) is not inside the file")
            }
        case .unallocated, .zeros: break
        }
        return (cluster, min((number + 1) << UInt64(header.clusterBits), size.rawValue))
    }

    public func nextData(from offset: UInt64) throws(ImageError) -> Range<UInt64>? {
        var at = offset
        while at < size.rawValue {
            let (cluster, end) = try part(at: at)
            switch cluster {
            case .data, .compressed: return at..<end
            case .zeros: break
            case .unallocated:
                if let below = try backing?.nextData(from: at), below.lowerBound < end {
                    return below.clamped(to: at..<end)
                }
            }
            at = end
        }
        return nil
    }

    // MARK: Reading

    public func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ImageError) {
        precondition(offset + UInt64(buffer.count) <= size.rawValue)
        var done = 0
        while done < buffer.count {
            let at = offset + UInt64(done)
            let (cluster, end) = try part(at: at)
            let count = Int(min(end - at, UInt64(buffer.count - done)))
            let target = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<(done + count)])
            let inside = at % UInt64(header.clusterBytes)
            switch cluster {
            case .zeros: target.clear()
            case .unallocated: try readBacking(at, into: target)
            case .data(let place): try readFile(place + inside, into: target)
            case .compressed(let place, let length):
                try readCompressed(place, length, from: Int(inside), into: target)
            }
            done += count
        }
        // A disk that ends inside a sector is padded with zeros.
        let past = Int(max(offset + UInt64(buffer.count), header.diskBytes) - header.diskBytes)
        UnsafeMutableRawBufferPointer(rebasing: buffer[max(0, buffer.count - past)...]).clear()
    }

    /// Past the end of a shorter backing file are zeros.
    private func readBacking(
        _ offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws(ImageError) {
        var there = 0
        if let backing, offset < backing.size.rawValue {
            there = Int(min(UInt64(target.count), backing.size.rawValue - offset))
            try backing.read(
                at: offset, into: UnsafeMutableRawBufferPointer(rebasing: target[..<there]))
        }
        UnsafeMutableRawBufferPointer(rebasing: target[there...]).clear()
    }

    private func readFile(
        _ place: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws(ImageError) {
        let count = try Self.reading { () throws(HostIOError) in
            place < fileBytes ? try file.read(at: place, into: target) : 0
        }
        UnsafeMutableRawBufferPointer(rebasing: target[count...]).clear()
    }

    private func readCompressed(
        _ place: UInt64, _ length: Int, from start: Int,
        into target: UnsafeMutableRawBufferPointer
    ) throws(ImageError) {
        let there = Int(min(UInt64(length), fileBytes - place))
        let stream = try Self.bytes(file, at: place, count: there)
        if target.count == header.clusterBytes {
            try stream.withImageBytes { stream throws(ImageError) in
                try Qcow2Stream.decode(stream, header.compression, into: target)
            }
            return
        }
        let cluster = UnsafeMutableRawBufferPointer.allocate(
            byteCount: header.clusterBytes, alignment: 16)
        defer { cluster.deallocate() }
        try stream.withImageBytes { stream throws(ImageError) in
            try Qcow2Stream.decode(stream, header.compression, into: cluster)
        }
        target.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: cluster[start..<(start + target.count)]))
    }

    private static func reading<Value>(
        _ body: () throws(HostIOError) -> Value
    ) throws(ImageError) -> Value {
        do throws(HostIOError) { return try body() } catch { throw .file(error) }
    }

    /// Bytes that the file must have.
    private static func bytes(
        _ file: File, at offset: UInt64, count: Int
    ) throws(ImageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: HostIOError?
        var read = 0
        bytes.withUnsafeMutableBytes { buffer in
            do throws(HostIOError) { read = try file.read(at: offset, into: buffer) } catch {
                failure = error
            }
        }
        if let failure { throw .file(failure) }
        guard read == count else { throw .damaged(detail: "it became shorter while it was read") }
        return bytes
    }
}

extension [UInt8] {
    /// `withUnsafeBytes` that lets a typed error through.
    func withImageBytes<Value>(
        _ body: (UnsafeRawBufferPointer) throws(ImageError) -> Value
    ) throws(ImageError) -> Value {
        var result: Result<Value, ImageError>?
        withUnsafeBytes { bytes in
            do throws(ImageError) { result = .success(try body(bytes)) } catch {
                result = .failure(error)
            }
        }
        guard let result else { preconditionFailure("the body was called") }
        return try result.get()
    }
}
