// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// 128-bit identifiers. All print as 32 lower-case hexadecimal digits, first byte first, and are
// stored as their 16 bytes in that order.

/// Sixteen bytes, held as two little-endian words.
public protocol Identifier128: Hashable, Comparable, Sendable, CustomStringConvertible {
    var low: UInt64 { get }
    var high: UInt64 { get }
    init(low: UInt64, high: UInt64)
}

extension Identifier128 {
    public static var zero: Self { Self(low: 0, high: 0) }

    public var isZero: Bool { low | high == 0 }

    /// A fresh random identifier, never zero.
    public static func random(from source: inout some RandomSource) -> Self {
        while true {
            let value = Self(low: source.next(), high: source.next())
            if !value.isZero { return value }
        }
    }

    public static func < (left: Self, right: Self) -> Bool {
        (left.low.byteSwapped, left.high.byteSwapped)
            < (right.low.byteSwapped, right.high.byteSwapped)
    }

    public var description: String {
        String(unsafeUninitializedCapacity: 32) { room in
            for index in 0..<16 {
                let word = index < 8 ? low : high
                let byte = UInt8(truncatingIfNeeded: word >> (UInt64(index % 8) * 8))
                room[2 * index] = hexDigits[Int(byte >> 4)]
                room[2 * index + 1] = hexDigits[Int(byte & 15)]
            }
            return 32
        }
    }

    /// Parses exactly 32 lower-case hexadecimal digits.
    public init?(hexadecimal text: some StringProtocol) {
        var words: (UInt64, UInt64) = (0, 0)
        var count = 0
        for character in text.utf8 {
            let digit: UInt64
            switch character {
            case 0x30...0x39: digit = UInt64(character - 0x30)
            case 0x61...0x66: digit = UInt64(character - 0x61 + 10)
            default: return nil
            }
            guard count < 32 else { return nil }
            let shift = UInt64((count / 2) % 8) * 8 + (count % 2 == 0 ? 4 : 0)
            if count < 16 { words.0 |= digit << shift } else { words.1 |= digit << shift }
            count += 1
        }
        guard count == 32 else { return nil }
        self.init(low: words.0, high: words.1)
    }
}

private let hexDigits = Array("0123456789abcdef".utf8)

/// A volume's identity, made once and kept by every commit and journal of it.
public struct VolumeID: Identifier128 {
    public let low: UInt64
    public let high: UInt64
    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}

/// A random value that tells one attempt to publish from every other.
public struct Token: Identifier128 {
    public let low: UInt64
    public let high: UInt64
    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}

/// The first 16 bytes of a BLAKE3 hash.
public struct Hash128: Identifier128 {
    public let low: UInt64
    public let high: UInt64
    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}

/// The identity of one boot of the host, from the kernel; in the simulator, from the seed.
public struct BootID: Identifier128 {
    public let low: UInt64
    public let high: UInt64
    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}
