// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Hash vectors. They were computed with the reference bindings for Python (`xxhash`, `blake3`), so
// that a wrong seed, byte order or domain prefix cannot agree with itself.

import Primitives
import Testing

/// The bytes 0, 1, … 250, 0, 1, … as the official BLAKE3 vectors use them.
private func pattern(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8($0 % 251) }
}

@Suite("hashes")
struct HashingTests {
    @Test(
        "XXH3 equals the reference",
        arguments: [
            (0, 0, 0x2D06_8005_38D3_94C2), (1, 0, 0xC44B_DFF4_074E_ECDB),
            (16, 7, 0xEE0B_9003_ECE2_CFF1),
            (200, 0x9E37_79B9_7F4A_7C15, 0xB913_DB16_47ED_D288),
            (4096, 42, 0x9932_19A6_7AE6_D3FB), (131_072, UInt64.max, 0x3505_BF9D_1309_6EE3),
        ] as [(Int, UInt64, UInt64)])
    func xxh3(count: Int, seed: UInt64, expected: UInt64) {
        #expect(pattern(count).withUnsafeBytes { XXH3.hash($0, seed: seed) } == expected)
    }

    @Test(
        "XXH3 over pieces is that of the bytes joined, wherever they are cut, and after a reset",
        arguments: [0, 1, 16, 240, 241, 1024, 4096, 131_072])
    func pieces(count: Int) {
        let bytes = pattern(count)
        let stream = XXH3Stream()
        for cut in [0, 1, count / 3, count / 2, count] where cut <= count {
            stream.reset(seed: UInt64(cut))
            bytes.withUnsafeBytes { raw in
                stream.update(UnsafeRawBufferPointer(rebasing: raw[..<cut]))
                stream.update(UnsafeRawBufferPointer(rebasing: raw[cut...]))
            }
            let whole = bytes.withUnsafeBytes { XXH3.hash($0, seed: UInt64(cut)) }
            #expect(stream.finish() == whole, "cut at \(cut)")
        }
    }

    @Test(
        "BLAKE3 equals the reference over the domain's eight bytes and the content",
        arguments: [
            (HashDomain.block, 0, "1a0d12016999e47689dae5744d2b8c19"),
            (.block, 4096, "eec478621e5fa4be015e0ec687ec72cc"),
            (.block, 131_072, "cbc5ac932398baaca615b6e3ca361374"),
            (.delta, 1, "c837765444815de6db1a10b88c56b546"),
            (.stack, 32, "3c19562c87502aea50e47fb7ff4d2e22"),
            (.volumeDigest, 5000, "6160a7547648705f3e23883f07a0c37d"),
        ])
    func blake3(domain: HashDomain, count: Int, expected: String) {
        let hash = pattern(count).withUnsafeBytes { BLAKE3.hash($0, domain: domain) }
        #expect(hash.description == expected)
    }

    @Test("integers and hashes enter BLAKE3 as little-endian bytes")
    func words() throws {
        var hasher = BLAKE3(domain: .chunkDigest)
        hasher.update(integer: 0x0102_0304_0506_0708)
        hasher.update(try #require(Hash128(hexadecimal: "000102030405060708090a0b0c0d0e0f")))
        #expect(hasher.finish().description == "bbfa873320526b6fc47b0ee58096288e")
    }

    @Test("BLAKE3 in pieces equals BLAKE3 at once")
    func pieces() {
        let bytes = pattern(10_000)
        var hasher = BLAKE3(domain: .node)
        bytes.withUnsafeBytes { all in
            for start in stride(from: 0, to: all.count, by: 777) {
                let end = min(start + 777, all.count)
                hasher.update(UnsafeRawBufferPointer(rebasing: all[start..<end]))
            }
        }
        let whole = bytes.withUnsafeBytes { BLAKE3.hash($0, domain: .node) }
        #expect(hasher.finish() == whole)
    }

    @Test("equal bytes of unlike kinds have unlike hashes, and no domain is zero")
    func domains() {
        let domains: [HashDomain] = [
            .block, .delta, .stack, .node, .page, .chunkDigest, .volumeDigest,
        ]
        let hashes = domains.map { domain in
            pattern(64).withUnsafeBytes { BLAKE3.hash($0, domain: domain) }
        }
        #expect(Set(hashes).count == domains.count)
        #expect(domains.allSatisfy { $0.rawValue != 0 })
    }
}
