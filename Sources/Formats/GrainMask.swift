// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which grains of a block a frame holds. Up to 256 bits; how many of them count is the block size's
// business, so the number of grains is an argument wherever it matters.

internal import Primitives

/// A set of grain numbers 0..<256, held in four words and stored as `wordCount(grains:)` of them.
public struct GrainMask: Hashable, Sendable {
    private var word0: UInt64 = 0
    private var word1: UInt64 = 0
    private var word2: UInt64 = 0
    private var word3: UInt64 = 0

    /// Grains of the largest block.
    public static let grainsMax = Limits.blockBytesMax / Limits.grainBytes

    /// The empty mask.
    public init() {}

    /// The mask of a whole block of `grains` grains.
    public init(full grains: Int) {
        self.init()
        insert(0..<grains)
    }

    /// The stored words of a mask over `grains` grains.
    public static func wordCount(grains: Int) -> Int {
        precondition(grains > 0 && grains <= grainsMax)
        return (grains + 63) / 64
    }

    /// The grains of a block.
    public static func grains(ofBlockBytes blockBytes: Int) -> Int {
        blockBytes / Limits.grainBytes
    }

    /// Word `index` of the four, the lowest grains first.
    public subscript(word index: Int) -> UInt64 {
        get {
            switch index {
            case 0: word0
            case 1: word1
            case 2: word2
            default: word3
            }
        }
        set {
            switch index {
            case 0: word0 = newValue
            case 1: word1 = newValue
            case 2: word2 = newValue
            default: word3 = newValue
            }
        }
    }

    public func contains(_ grain: Int) -> Bool {
        precondition(grain >= 0 && grain < Self.grainsMax)
        return self[word: grain >> 6] & (1 << UInt64(grain & 63)) != 0
    }

    public mutating func insert(_ grain: Int) {
        precondition(grain >= 0 && grain < Self.grainsMax)
        self[word: grain >> 6] |= 1 << UInt64(grain & 63)
    }

    public mutating func insert(_ grains: Range<Int>) {
        precondition(grains.lowerBound >= 0 && grains.upperBound <= Self.grainsMax)
        for index in 0..<4 {
            let low = max(grains.lowerBound, index * 64) - index * 64
            let high = min(grains.upperBound, index * 64 + 64) - index * 64
            guard low < high else { continue }
            self[word: index] |= (UInt64.max >> UInt64(64 - (high - low))) << UInt64(low)
        }
    }

    public mutating func remove(_ grain: Int) {
        precondition(grain >= 0 && grain < Self.grainsMax)
        self[word: grain >> 6] &= ~(1 << UInt64(grain & 63))
    }

    public var isEmpty: Bool { word0 | word1 | word2 | word3 == 0 }

    public var count: Int {
        word0.nonzeroBitCount + word1.nonzeroBitCount + word2.nonzeroBitCount
            + word3.nonzeroBitCount
    }

    /// True if every grain of a block of `grains` grains is in.
    public func isFull(grains: Int) -> Bool { self == GrainMask(full: grains) }

    public mutating func formUnion(_ other: GrainMask) {
        word0 |= other.word0
        word1 |= other.word1
        word2 |= other.word2
        word3 |= other.word3
    }

    public func union(_ other: GrainMask) -> GrainMask {
        var result = self
        result.formUnion(other)
        return result
    }

    public func intersection(_ other: GrainMask) -> GrainMask {
        var result = self
        for index in 0..<4 { result[word: index] &= other[word: index] }
        return result
    }

    public func subtracting(_ other: GrainMask) -> GrainMask {
        var result = self
        for index in 0..<4 { result[word: index] &= ~other[word: index] }
        return result
    }

    public func isSubset(of other: GrainMask) -> Bool { subtracting(other).isEmpty }

    /// The first grain at or after `start` that is in; nil if there is none.
    public func first(from start: Int) -> Int? {
        var grain = start
        while grain < Self.grainsMax {
            let rest = self[word: grain >> 6] >> UInt64(grain & 63)
            if rest != 0 { return grain + rest.trailingZeroBitCount }
            grain = (grain | 63) + 1
        }
        return nil
    }

    /// The first run of consecutive grains at or after `start`; nil if there is none.
    public func run(from start: Int) -> Range<Int>? {
        guard let low = first(from: start) else { return nil }
        var high = low + 1
        while high < Self.grainsMax, contains(high) { high += 1 }
        return low..<high
    }

    // MARK: Stored form: the lowest grain is bit 0 of the first byte

    func encode(into writer: inout ByteWriter, grains: Int) {
        precondition(isSubset(of: GrainMask(full: grains)), "a mask of another block size")
        for index in 0..<Self.wordCount(grains: grains) { writer.append(self[word: index]) }
    }

    /// Reads a mask that is not empty and has no grain past the block.
    init(decoding reader: inout FieldReader, grains: Int) throws(FormatError) {
        self.init()
        let start = reader.offset
        for index in 0..<Self.wordCount(grains: grains) {
            self[word: index] = try reader.integer()
        }
        guard !isEmpty, isSubset(of: GrainMask(full: grains)) else {
            throw .badValue(reader.format, field: "mask", offset: start, found: word0)
        }
    }

    /// Reads words that were validated before.
    init(validated bytes: UnsafeRawBufferPointer, at offset: Int, words: Int) {
        self.init()
        for index in 0..<words {
            self[word: index] = UInt64(
                littleEndian: bytes.loadUnaligned(
                    fromByteOffset: offset + index * 8, as: UInt64.self))
        }
    }

    func hash(into hasher: inout BLAKE3, grains: Int) {
        for index in 0..<Self.wordCount(grains: grains) {
            hasher.update(integer: self[word: index])
        }
    }
}
