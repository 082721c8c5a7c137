// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A commit's bytes. The plain header says whose commit it is and carries the hash of everything
// else that is stored, so that a damaged commit is refused before the decompressor sees a byte.
//
// Header, 64 bytes:
//     offset size type  name     meaning                               valid
//          0    8 u64   magic    "MRTLCMIT"
//          8    2 u16   version                                        1
//         10    1 u8    codec    how the body is stored                1 raw, 3 zstd
//         11    1 u8    cipher   how the body is encrypted             1 none
//         12    4 u32   raw      bytes of the body                     160 … 64 MiB
//         16   16 id    volume                                         not 0
//         32    8 u64   sequence                                       not 0, < 2^63
//         40    4 u32   epoch                                          not 0, < 2^31
//         44    4       reserve                                        0
//         48   16 hash  hash     of header bytes 0…47 and the stored body, domain commit
// Body, stored as the codec says:
//          0   16 id    token                                          not 0
//         16   16 id    parent   token of the commit before            any
//         32    1 u8    state                                          1 open, 2 clean, 3 deleted
//         33    1 u8    flags    bit 0 fence, 1 take-over, 2 same content  others 0
//         34    2       reserve                                        0
//         36    4 u32   block bytes                                    4 KiB…1 MiB, power of two
//         40    8 u64   size     bytes of the volume                   multiple of 512, in bounds
//         48    8 u64   cut      last journal record included          < 2^63
//         56    8 u64   label    wall clock, seconds since 1970        any
//         64    4 u32   slots    pack slots ever used                  <= 2^22
//         68    4 u32   chunk pages                                    <= 128
//         72    4 u32   pack pages                                     <= 4096
//         76    4 u32   epoch    of the unclean take-over              0 without one
//         80    8 u64   sequence of the head it claimed over           0 without one
//         88    8 u64   label    of the claim                          0 without one
//         96   16 hash  digest   of the volume's content               not 0
//        112   16 id    volume   of the commit that this is a copy of   0: it is no copy
//        128   16 id    token    of that commit                         not 0; 0 without a volume
//        144    8 u64   sequence of that commit                         not 0; 0 without a volume
//        152    8       reserve                                        0
//        160            pages of the chunk table, then of the pack table, each ascending:
//          0    4 u32   index    of the page                           inside the volume
//          4    1 u8    kind                                           1 inline, 2 packed
//          5    3       reserve                                        0
//          8    4 u32   length   inline: of the page                   packed: 72
//         12    4       reserve                                        0
//         16            the page, valid by its own format, or a pack pointer

package import Primitives

extension Commit {
    static let magic = magicWord("MRTLCMIT")
    static let version: UInt16 = 1
    static let headerBytes = 64
    static let bodyBytesMin = 160
    private static let hashOffset = 48

    // MARK: Encoding

    /// The bytes to publish. Traps on a commit that a decoder would refuse.
    public func encode() -> [UInt8] {
        let body = encodeBody()
        precondition(body.count <= FormatLimits.commitBytesMax, "a commit above 64 MiB")
        var stored = [UInt8](repeating: 0, count: Compression.capacity(for: body.count))
        let storedBytes = body.withUnsafeBytes { source in
            stored.withUnsafeMutableBytes {
                Compression.compress(source, into: $0, codec: .zstd, zstdLevel: 3)
            }
        }
        guard let storedBytes, storedBytes < body.count else {
            return Self.seal(body, codec: .raw, rawBytes: body.count, key: key, epoch: epoch)
        }
        stored.removeLast(stored.count - storedBytes)
        return Self.seal(stored, codec: .zstd, rawBytes: body.count, key: key, epoch: epoch)
    }

    /// Puts the header in front of a stored body.
    package static func seal(
        _ stored: [UInt8], codec: Codec, rawBytes: Int, key: CommitKey, epoch: Epoch
    ) -> [UInt8] {
        precondition(!key.volume.isZero && key.sequence.rawValue != 0 && epoch.rawValue != 0)
        var writer = ByteWriter(capacity: headerBytes + stored.count)
        writer.append(magic)
        writer.append(version)
        writer.append(codec.rawValue)
        writer.append(Cipher.none.rawValue)
        writer.append(UInt32(rawBytes))
        writer.append(key.volume)
        writer.append(key.sequence.rawValue)
        writer.append(epoch.rawValue)
        writer.appendZeros(4)
        let hash = writer.bytes.withUnsafeBytes { header in
            stored.withUnsafeBytes { hashOfStored(header: header, body: $0) }
        }
        writer.append(hash)
        writer.append(stored)
        return writer.bytes
    }

    private static func hashOfStored(
        header: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer
    ) -> Hash128 {
        var hasher = BLAKE3(domain: .commit)
        hasher.update(UnsafeRawBufferPointer(rebasing: header[..<hashOffset]))
        hasher.update(body)
        return hasher.finish()
    }

    private func encodeBody() -> [UInt8] {
        precondition(!token.isZero && !digest.isZero)
        precondition(Self.isSize(size.rawValue, blockBytes: blockBytes))
        precondition(slotCount <= FormatLimits.packSlotsMax)
        var writer = ByteWriter(capacity: 4096)
        writer.append(token)
        writer.append(parentToken)
        writer.append(state.rawValue)
        let flags = (isFence ? 1 : 0) | (uncleanTakeover == nil ? 0 : 2) | (keepsContent ? 4 : 0)
        writer.append(UInt8(flags))
        writer.appendZeros(2)
        writer.append(UInt32(blockBytes))
        writer.append(size.rawValue)
        writer.append(cut.rawValue)
        writer.append(labelSeconds)
        writer.append(slotCount)
        writer.append(UInt32(chunkPages.count))
        writer.append(UInt32(packPages.count))
        writer.append(uncleanTakeover?.epoch.rawValue ?? 0)
        writer.append(uncleanTakeover?.sequence.rawValue ?? 0)
        writer.append(uncleanTakeover?.labelSeconds ?? 0)
        writer.append(digest)
        writer.append(copied?.volume ?? .zero)
        writer.append(copied?.token ?? .zero)
        writer.append(copied?.sequence.rawValue ?? 0)
        writer.appendZeros(8)
        precondition(writer.count == Self.bodyBytesMin)
        encode(chunkPages, limit: chunkPageLimit, into: &writer)
        encode(packPages, limit: packPageLimit, into: &writer)
        return writer.bytes
    }

    private func encode(_ list: PageList, limit: UInt32, into writer: inout ByteWriter) {
        for entry in list.entries {
            precondition(entry.index < limit, "a page past the volume")
            writer.append(entry.index)
            switch entry.page {
            case .inline(let bytes):
                writer.append(PageKind.inline.rawValue)
                writer.appendZeros(3)
                writer.append(UInt32(bytes.count))
                writer.appendZeros(4)
                writer.append(bytes)
            case .packed(let pointer):
                writer.append(PageKind.packed.rawValue)
                writer.appendZeros(3)
                writer.append(UInt32(PackPointer.byteCount))
                writer.appendZeros(4)
                pointer.encode(into: &writer)
            }
        }
    }

    private enum PageKind: UInt8 {
        case inline = 1
        case packed = 2
    }

    // MARK: Bounds

    /// Chunk-table pages that the volume's size can have.
    public var chunkPageLimit: UInt32 {
        let blocksPerPage = UInt64(Limits.chunkBlocks * Limits.tablePageEntries)
        return UInt32((blockCount + blocksPerPage - 1) / blocksPerPage)
    }

    /// Pack-table pages that the volume's slots can have.
    public var packPageLimit: UInt32 {
        let perPage = UInt32(Limits.tablePageEntries)
        return (slotCount + perPage - 1) / perPage
    }

    /// True for a size that a volume of this block size can have.
    public static func isSize(_ bytes: UInt64, blockBytes: Int) -> Bool {
        bytes > 0 && bytes.isMultiple(of: UInt64(Limits.sectorBytes))
            && bytes <= Limits.volumeBytesMax
            && bytes <= UInt64(blockBytes) * Limits.volumeBlocksMax
    }

    // MARK: Decoding

    /// Decodes a commit that was read from `key`; nil: from anywhere.
    public init(
        decoding bytes: UnsafeRawBufferPointer, key expected: CommitKey?
    ) throws(FormatError) {
        var reader = FieldReader(bytes, format: .commit)
        try reader.magic(Self.magic)
        try reader.version(Self.version)
        let codec: Codec = try reader.tag(field: "codec")
        guard codec != .lz4 else {
            throw .badValue(.commit, field: "codec", offset: 10, found: UInt64(codec.rawValue))
        }
        let _: Cipher = try reader.tag(field: "cipher")
        let rawBytes = Int(
            try reader.integer(
                in: UInt32(Self.bodyBytesMin)...UInt32(FormatLimits.commitBytesMax), field: "raw"))
        let volume: VolumeID = try reader.present(field: "volume")
        let sequence = CommitSequence(
            try reader.integer(in: 1...Limits.numberMax, field: "sequence"))
        let epoch = Epoch(try reader.integer(in: 1...Limits.epochMax, field: "epoch"))
        try reader.reserved(4)
        let hash: Hash128 = try reader.identifier()
        let stored = try reader.bytes(reader.remaining)
        let found = Self.hashOfStored(header: bytes, body: stored)
        guard found == hash else { throw .wrongHash(.commit, found: found, expected: hash) }
        let key = CommitKey(volume: volume, sequence: sequence)
        if let expected { try key.check(expected) }
        guard codec != .raw else {
            guard stored.count == rawBytes else {
                throw .badValue(.commit, field: "raw", offset: 12, found: UInt64(rawBytes))
            }
            try self.init(body: stored, key: key, epoch: epoch)
            return
        }
        let body = UnsafeMutableRawBufferPointer.allocate(byteCount: rawBytes, alignment: 16)
        defer { body.deallocate() }
        do {
            try Compression.decompress(stored, into: body, codec: codec)
        } catch {
            throw .corruptCompression(
                .commit, storedBytes: stored.count, expectedBytes: rawBytes)
        }
        try self.init(body: UnsafeRawBufferPointer(body), key: key, epoch: epoch)
    }

    /// Decodes a body whose header was checked.
    package init(
        body: UnsafeRawBufferPointer, key: CommitKey, epoch: Epoch
    ) throws(FormatError) {
        var reader = FieldReader(body, format: .commit)
        let token: Token = try reader.present(field: "token")
        let parentToken: Token = try reader.identifier()
        let state: CommitState = try reader.tag(field: "state")
        let flags = try reader.integer(in: 0...UInt8(7), field: "flags")
        try reader.reserved(2)
        let blockBytes = try reader.blockBytes()
        let size = try reader.integer(UInt64.self)
        guard Self.isSize(size, blockBytes: blockBytes) else {
            throw .badValue(.commit, field: "size", offset: 40, found: size)
        }
        let cut = RecordSequence(try reader.integer(in: 0...Limits.numberMax, field: "cut"))
        let label = try reader.integer(UInt64.self)
        let slots = try reader.integer(in: 0...FormatLimits.packSlotsMax, field: "slots")
        self.init(
            volume: key.volume, sequence: key.sequence, epoch: epoch, token: token,
            parentToken: parentToken, state: state, isFence: flags & 1 != 0,
            size: ByteCount(size), blockBytes: blockBytes, cut: cut, labelSeconds: label,
            slotCount: slots)
        keepsContent = flags & 4 != 0
        let chunkCount = try reader.integer(in: 0...chunkPageLimit, field: "chunk pages")
        let packCount = try reader.integer(in: 0...packPageLimit, field: "pack pages")
        uncleanTakeover = try Self.takeover(&reader, isPresent: flags & 2 != 0)
        digest = try reader.present(field: "digest")
        copied = try Self.copied(&reader)
        try reader.reserved(8)
        chunkPages = try Self.pages(
            &reader, format: .chunkPage, count: chunkCount, limit: chunkPageLimit,
            blockBytes: blockBytes)
        packPages = try Self.pages(
            &reader, format: .packPage, count: packCount, limit: packPageLimit,
            blockBytes: blockBytes)
        try reader.end()
    }

    private static func takeover(
        _ reader: inout FieldReader, isPresent: Bool
    ) throws(FormatError) -> UncleanTakeover? {
        guard isPresent else {
            try reader.reserved(20)
            return nil
        }
        return UncleanTakeover(
            epoch: Epoch(try reader.integer(in: 1...UInt32.max, field: "take-over epoch")),
            sequence: CommitSequence(try reader.integer()),
            labelSeconds: try reader.integer())
    }

    private static func copied(
        _ reader: inout FieldReader
    ) throws(FormatError) -> CopiedCommit? {
        let volume: VolumeID = try reader.identifier()
        guard !volume.isZero else {
            try reader.reserved(24)
            return nil
        }
        let token: Token = try reader.present(field: "copied token")
        let sequence = try reader.integer(in: 1...UInt64.max, field: "copied sequence")
        return CopiedCommit(volume: volume, sequence: CommitSequence(sequence), token: token)
    }

    private static func pages(
        _ reader: inout FieldReader, format: FormatName, count: UInt32, limit: UInt32,
        blockBytes: Int
    ) throws(FormatError) -> PageList {
        var list = PageList()
        var next: UInt32 = 0
        for _ in 0..<count {
            let start = reader.offset
            let index = try reader.integer(UInt32.self)
            guard index >= next, index < limit else {
                throw .badValue(.commit, field: "page index", offset: start, found: UInt64(index))
            }
            next = index + 1
            let kind: PageKind = try reader.tag(field: "page kind")
            try reader.reserved(3)
            let length = try reader.integer(UInt32.self)
            try reader.reserved(4)
            switch kind {
            case .inline:
                let page = try reader.bytes(Int(length))
                try validate(page, format: format, index: index, blockBytes: blockBytes)
                list[index] = .inline(Array(page))
            case .packed:
                guard length == UInt32(PackPointer.byteCount) else {
                    throw .badValue(
                        .commit, field: "page length", offset: start + 8, found: UInt64(length))
                }
                list[index] = .packed(try PackPointer(decoding: &reader))
            }
        }
        return list
    }

    private static func validate(
        _ page: UnsafeRawBufferPointer, format: FormatName, index: UInt32, blockBytes: Int
    ) throws(FormatError) {
        if format == .chunkPage {
            _ = try ChunkTablePage(decoding: page, index: index, blockBytes: blockBytes)
        } else {
            _ = try PackTablePage(decoding: page, index: index)
        }
    }
}
