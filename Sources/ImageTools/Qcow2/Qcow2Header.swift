// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The header of a qcow2 image. All numbers are big-endian. What this reader does with each field
// is told in docs/formats/qcow2-input.md.
//
//     offset size  name                    valid here
//          0    4  magic                   "QFI\xfb"
//          4    4  version                 2, 3
//          8    8  backing file offset     0, or inside the first cluster
//         16    4  backing file size       up to 1023
//         20    4  cluster bits            9…21
//         24    8  size                    not 0
//         32    4  encryption              0
//         36    4  L1 entries              enough for the size, up to 2^22
//         40    8  L1 offset               at a cluster
//         72    8  incompatible features   version 3: dirty, compression type
//        100    4  header length           version 3: 104…cluster, a multiple of 8
//        104    1  compression             0 deflate, 1 zstd; if the header is that long

import Primitives

/// What a qcow2 image says of itself, as far as it matters to a reader. Pure.
package struct Qcow2Header: Equatable, Sendable {
    package enum Compression: UInt8, Sendable {
        case deflate = 0
        case zstd = 1
    }

    package let version: UInt32
    package let clusterBits: Int
    /// Bytes of the disk, as they stand there.
    package let diskBytes: UInt64
    package let l1Offset: UInt64
    package let l1Count: Int
    package let compression: Compression
    /// The name that the image gives its backing file: for messages, never opened.
    package let backingName: String?

    package var clusterBytes: Int { 1 << clusterBits }
    /// Entries of an L2 table, which is one cluster.
    package var l2Count: Int { clusterBytes / 8 }
    /// Bytes of the disk that one L2 table maps.
    package var l2Span: UInt64 { UInt64(l2Count) << UInt64(clusterBits) }

    static let magic: UInt32 = 0x5146_49FB
    static let clusterBitsRange: ClosedRange<UInt32> = 9...21
    /// Bytes of an L1 table: what other readers take, and what is held in memory.
    static let l1BytesMax = 32 << 20
    static let backingNameMax = 1023
    /// Bytes from which a header can be decoded: the largest cluster.
    package static let bytesMax = 1 << 21

    private static let dirty: UInt64 = 1 << 0
    private static let corrupt: UInt64 = 1 << 1
    private static let externalData: UInt64 = 1 << 2
    private static let compressionType: UInt64 = 1 << 3
    private static let extendedL2: UInt64 = 1 << 4

    /// True if the bytes begin as a qcow2 image does.
    package static func isHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 4 && bytes.bigEndian(UInt32.self, at: 0) == magic
    }

    /// Decodes the first bytes of a file of `fileBytes`: as many as there are, up to `bytesMax`.
    package init(
        decoding bytes: UnsafeRawBufferPointer, fileBytes: UInt64
    ) throws(ImageError) {
        guard Self.isHeader(bytes) else { throw .damaged(detail: "it does not begin as qcow2") }
        guard bytes.count >= 72 else { throw .damaged(detail: "its header is cut off") }
        version = bytes.bigEndian(at: 4)
        guard version == 2 || version == 3 else {
            throw .unsupported(
                feature: "it is qcow2 version \(version)",
                remedy: "convert it with qemu-img convert -O qcow2")
        }
        let bits = bytes.bigEndian(UInt32.self, at: 20)
        guard Self.clusterBitsRange.contains(bits) else {
            throw .damaged(detail: "clusters of 2^\(bits) bytes")
        }
        clusterBits = Int(bits)
        diskBytes = bytes.bigEndian(at: 24)
        guard diskBytes > 0 else { throw .damaged(detail: "its disk is empty") }
        guard diskBytes <= UInt64(Int64.max) else {
            throw .damaged(detail: "a disk of \(diskBytes) bytes")
        }
        let encryption = bytes.bigEndian(UInt32.self, at: 32)
        guard encryption == 0 else {
            throw .unsupported(
                feature: "it is encrypted (\(encryption == 1 ? "AES" : "LUKS"))",
                remedy: "decrypt it with qemu-img convert")
        }
        compression = try Self.features(bytes, version: version, clusterBits: clusterBits)
        l1Count = Int(bytes.bigEndian(UInt32.self, at: 36))
        l1Offset = bytes.bigEndian(at: 40)
        backingName = try Self.backingName(bytes, clusterBits: clusterBits)
        try checkL1(fileBytes: fileBytes)
    }

    private func checkL1(fileBytes: UInt64) throws(ImageError) {
        // No overflow: the disk is below 2^63, the span at least 2^15.
        let needed = (diskBytes - 1) / l2Span + 1
        guard needed <= UInt64(Self.l1BytesMax / 8), l1Count <= Self.l1BytesMax / 8 else {
            throw .damaged(detail: "its L1 table has more than \(Self.l1BytesMax / 8) entries")
        }
        guard UInt64(l1Count) >= needed else {
            throw .damaged(detail: "its L1 table has \(l1Count) entries, the disk needs \(needed)")
        }
        guard l1Offset.isMultiple(of: UInt64(clusterBytes)), l1Offset >= UInt64(clusterBytes),
            l1Offset <= fileBytes, fileBytes - l1Offset >= needed * 8
        else { throw .damaged(detail: "its L1 table at \(l1Offset) is not inside the file") }
    }

    private static func features(
        _ bytes: UnsafeRawBufferPointer, version: UInt32, clusterBits: Int
    ) throws(ImageError) -> Compression {
        guard version >= 3 else { return .deflate }
        guard bytes.count >= 104 else { throw .damaged(detail: "its header is cut off") }
        let length = Int(bytes.bigEndian(UInt32.self, at: 100))
        guard length >= 104, length.isMultiple(of: 8), length <= 1 << clusterBits,
            length <= bytes.count
        else { throw .damaged(detail: "a header of \(length) bytes") }
        let features = bytes.bigEndian(UInt64.self, at: 72)
        if features & corrupt != 0 {
            throw .unsupported(
                feature: "it is marked as corrupt", remedy: "repair it with qemu-img check -r all")
        }
        if features & externalData != 0 {
            throw .unsupported(
                feature: "its data is in an external data file",
                remedy: "convert it with qemu-img convert -O qcow2")
        }
        if features & extendedL2 != 0 {
            throw .unsupported(
                feature: "it has subclusters (extended L2 entries)",
                remedy: "convert it with qemu-img convert -O qcow2 -o extended_l2=off")
        }
        let unknown = features & ~(dirty | compressionType)
        if unknown != 0 {
            throw .unsupported(
                feature: "it needs features that are not known here: "
                    + names(of: unknown, bytes, from: length, to: 1 << clusterBits),
                remedy: "convert it with qemu-img convert -O qcow2")
        }
        let type = length > 104 ? bytes[104] : 0
        guard let compression = Compression(rawValue: type) else {
            throw .unsupported(
                feature: "its clusters are compressed by method \(type)",
                remedy: "convert it with qemu-img convert -O qcow2")
        }
        guard (compression != .deflate) == (features & compressionType != 0) else {
            throw .damaged(detail: "its compression type contradicts its features")
        }
        return compression
    }

    /// The names that the image itself gives to feature bits, else their numbers.
    private static func names(
        of features: UInt64, _ bytes: UnsafeRawBufferPointer, from start: Int, to end: Int
    ) -> String {
        var named: [Int: String] = [:]
        var at = start
        let end = min(end, bytes.count)
        while at + 8 <= end {
            let type = bytes.bigEndian(UInt32.self, at: at)
            let length = Int(bytes.bigEndian(UInt32.self, at: at + 4))
            at += 8
            guard type != 0, length <= end - at else { break }
            if type == 0x6803_F857 {
                for entry in stride(from: at, through: at + length - 48, by: 48)
                where bytes[entry] == 0 {
                    named[Int(bytes[entry + 1])] = text(
                        UnsafeRawBufferPointer(rebasing: bytes[(entry + 2)..<(entry + 48)]))
                }
            }
            at += (length + 7) / 8 * 8
        }
        return (0..<64).filter { features & (1 << UInt64($0)) != 0 }
            .map { bit in named[bit].map { "\($0) (bit \(bit))" } ?? "bit \(bit)" }
            .joined(separator: ", ")
    }

    private static func backingName(
        _ bytes: UnsafeRawBufferPointer, clusterBits: Int
    ) throws(ImageError) -> String? {
        let offset = bytes.bigEndian(UInt64.self, at: 8)
        guard offset != 0 else { return nil }
        let length = Int(bytes.bigEndian(UInt32.self, at: 16))
        let end = min(bytes.count, 1 << clusterBits)
        guard (1...backingNameMax).contains(length), offset <= UInt64(end),
            length <= end - Int(offset)
        else { throw .damaged(detail: "the name of its backing file is not in its first cluster") }
        return text(
            UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<(Int(offset) + length)]))
    }

    /// What an image says, fit for a message: printable ASCII, cut.
    private static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        let printable = bytes.prefix { $0 != 0 }.prefix(200).map { byte in
            (0x20...0x7E).contains(byte) ? byte : UInt8(ascii: "?")
        }
        return String(decoding: printable, as: UTF8.self)
    }
}

extension UnsafeRawBufferPointer {
    /// The big-endian integer at an offset inside the buffer.
    func bigEndian<Integer: FixedWidthInteger>(
        _ type: Integer.Type = Integer.self, at offset: Int
    ) -> Integer {
        Integer(bigEndian: loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }
}
