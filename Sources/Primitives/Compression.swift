// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// LZ4 and zstd over raw buffers. Decompression takes the exact size it must yield, so that a length
// from an object can neither overrun nor come out short unnoticed.

private import CLZ4
private import CZstd

/// How bytes are stored. The raw value is on disk; 0 is never valid.
public enum Codec: UInt8, Sendable, CaseIterable {
    case raw = 1
    case lz4 = 2
    case zstd = 3
}

public enum CompressionError: Error, Equatable {
    /// The bytes are not a whole stream of the codec, or do not yield the expected size.
    case corrupt(Codec, expectedBytes: Int)
    case zstdFailed(code: UInt)
}

public enum Compression {
    /// The room to offer `compress` so that any input fits.
    public static func capacity(for byteCount: Int) -> Int {
        max(Int(LZ4_compressBound(Int32(byteCount))), ZSTD_compressBound(byteCount))
    }

    /// Compresses `source` into `target`; nil when it does not fit there (incompressible).
    public static func compress(
        _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, codec: Codec,
        zstdLevel: Int32 = 1
    ) -> Int? {
        switch codec {
        case .raw:
            guard source.count <= target.count else { return nil }
            target.copyMemory(from: source)
            return source.count
        case .lz4:
            let written = LZ4_compress_default(
                source.baseAddress?.assumingMemoryBound(to: CChar.self),
                target.baseAddress?.assumingMemoryBound(to: CChar.self),
                Int32(source.count), Int32(target.count))
            return written > 0 ? Int(written) : nil
        case .zstd:
            let written = ZstdContexts.compressing.use { context in
                ZSTD_compressCCtx(
                    context, target.baseAddress, target.count, source.baseAddress, source.count,
                    zstdLevel)
            }
            return ZSTD_isError(written) == 0 ? written : nil
        }
    }

    /// Decompresses `source` so that it fills `target` exactly.
    public static func decompress(
        _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, codec: Codec
    ) throws(CompressionError) {
        let written: Int
        switch codec {
        case .raw:
            guard source.count == target.count else {
                throw .corrupt(codec, expectedBytes: target.count)
            }
            target.copyMemory(from: source)
            written = source.count
        case .lz4:
            written = Int(
                LZ4_decompress_safe(
                    source.baseAddress?.assumingMemoryBound(to: CChar.self),
                    target.baseAddress?.assumingMemoryBound(to: CChar.self),
                    Int32(source.count), Int32(target.count)))
        case .zstd:
            let result = ZstdContexts.decompressing.use { context in
                ZSTD_decompressDCtx(
                    context, target.baseAddress, target.count, source.baseAddress, source.count)
            }
            written = ZSTD_isError(result) == 0 ? result : -1
        }
        guard written == target.count else { throw .corrupt(codec, expectedBytes: target.count) }
    }
}
