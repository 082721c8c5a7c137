// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The codecs yield the exact bytes at the exact size, or an error.

import Primitives
import Testing

@Suite("compression")
struct CompressionTests {
    private func compressible(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(($0 / 64) % 7) }
    }

    private func noise(_ count: Int) -> [UInt8] {
        var source = SplitMix64(seed: 4)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: source.next()) }
    }

    private func compress(_ bytes: [UInt8], _ codec: Codec, room: Int? = nil) -> [UInt8]? {
        var target = [UInt8](repeating: 0, count: room ?? Compression.capacity(for: bytes.count))
        let count = bytes.withUnsafeBytes { source in
            target.withUnsafeMutableBytes {
                Compression.compress(source, into: $0, codec: codec)
            }
        }
        return count.map { Array(target.prefix($0)) }
    }

    private func decompress(_ bytes: [UInt8], _ codec: Codec, count: Int) throws -> [UInt8] {
        var target = [UInt8](repeating: 0xEE, count: count)
        try bytes.withUnsafeBytes { source in
            try target.withUnsafeMutableBytes {
                try Compression.decompress(source, into: $0, codec: codec)
            }
        }
        return target
    }

    @Test("a block comes back as it was", arguments: Codec.allCases, [1, 4096, 131_072, 1 << 20])
    func roundTrip(codec: Codec, count: Int) throws {
        for bytes in [compressible(count), noise(count)] {
            let packed = try #require(compress(bytes, codec))
            #expect(try decompress(packed, codec, count: count) == bytes)
        }
    }

    @Test("repetitive bytes shrink", arguments: [Codec.lz4, .zstd])
    func shrinks(codec: Codec) throws {
        #expect(try #require(compress(compressible(131_072), codec)).count < 13_000)
    }

    @Test(
        "noise does not fit in its own size and is reported as such", arguments: [Codec.lz4, .zstd])
    func incompressible(codec: Codec) {
        #expect(compress(noise(4096), codec, room: 4096) == nil)
    }

    @Test("raw bytes need their full room")
    func raw() {
        #expect(compress(noise(100), .raw, room: 99) == nil)
        #expect(compress(noise(100), .raw, room: 100) == noise(100))
    }

    @Test(
        "a size that is not exactly what the bytes yield is refused", arguments: Codec.allCases,
        [-1, 1])
    func exactSize(codec: Codec, difference: Int) throws {
        let packed = try #require(compress(compressible(4096), codec))
        let wrong = 4096 + difference
        #expect(throws: CompressionError.corrupt(codec, expectedBytes: wrong)) {
            try decompress(packed, codec, count: wrong)
        }
    }

    @Test("a truncated stream is refused", arguments: Codec.allCases)
    func truncated(codec: Codec) throws {
        let packed = try #require(compress(compressible(4096), codec))
        #expect(throws: CompressionError.corrupt(codec, expectedBytes: 4096)) {
            try decompress(Array(packed.dropLast()), codec, count: 4096)
        }
    }

    @Test("garbage is refused or yields the exact size, and never more", arguments: 0..<200)
    func garbage(seed: UInt64) {
        var source = SplitMix64(seed: seed)
        let bytes = (0..<64).map { _ in UInt8(truncatingIfNeeded: source.next()) }
        for codec in [Codec.lz4, .zstd] {
            let result = try? decompress(bytes, codec, count: 512)
            #expect(result == nil || result?.count == 512)
        }
    }

    @Test("what is kept of earlier calls changes no result, with many threads at once")
    func contexts() async throws {
        let inputs = (1...24).map { $0 % 2 == 0 ? noise($0 * 700) : compressible($0 * 7_000) }
        let packed = try inputs.map { try #require(compress($0, .zstd)) }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for round in 0..<96 {
                let (input, expected) = (inputs[round % 24], packed[round % 24])
                group.addTask {
                    let again = compress(input, .zstd)
                    return try again == expected
                        && decompress(expected, .zstd, count: input.count) == input
                }
            }
            for try await isEqual in group { #expect(isEqual) }
        }
    }

    @Test("no codec has the number zero")
    func numbers() {
        #expect(Codec(rawValue: 0) == nil)
        #expect(Codec.allCases.map(\.rawValue) == [1, 2, 3])
    }
}
