// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Identifiers print, parse and sort as their sixteen bytes.

import Primitives
import Testing

@Suite("identifiers")
struct IdentifiersTests {
    @Test("print as their sixteen bytes, the first byte of the low word first")
    func prints() {
        let id = VolumeID(low: 0x0706_0504_0302_0100, high: 0x0F0E_0D0C_0B0A_0908)
        #expect(id.description == "000102030405060708090a0b0c0d0e0f")
    }

    @Test("round trip through their text", arguments: 0..<64)
    func roundTrip(seed: UInt64) {
        var source = SplitMix64(seed: seed)
        let id = Token.random(from: &source)
        #expect(Token(hexadecimal: id.description) == id)
    }

    @Test(
        "refuse text that is not exactly 32 lower-case digits",
        arguments: [
            "", "0", "000102030405060708090a0b0c0d0e0", "000102030405060708090a0b0c0d0e0f0",
            "000102030405060708090A0B0C0D0E0F", "000102030405060708090a0b0c0d0e0g",
            " 00102030405060708090a0b0c0d0e0f", "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "٠00102030405060708090a0b0c0d0e0f",
        ])
    func refuses(text: String) {
        #expect(Hash128(hexadecimal: text) == nil)
    }

    @Test("sort as their texts sort")
    func sorts() throws {
        var source = SplitMix64(seed: 9)
        let ids = (0..<200).map { _ in BootID.random(from: &source) }
        #expect(ids.sorted().map(\.description) == ids.map(\.description).sorted())
        let small = try #require(VolumeID(hexadecimal: "00" + String(repeating: "f", count: 30)))
        let large = try #require(VolumeID(hexadecimal: "01" + String(repeating: "0", count: 30)))
        #expect(small < large)
    }

    @Test("are never drawn as zero")
    func neverZero() {
        var source = ScriptedSource(words: [0, 0, 0, 5])
        #expect(Token.random(from: &source) == Token(low: 0, high: 5))
        #expect(Token.zero.isZero)
        #expect(!Token(low: 0, high: 1).isZero)
        #expect(!Token(low: 1, high: 0).isZero)
    }
}

private struct ScriptedSource: RandomSource {
    var words: [UInt64]
    mutating func next() -> UInt64 { words.isEmpty ? 0 : words.removeFirst() }
}
