// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The integers of the domain, each a type of its own: most storage bugs multiply or add the wrong
// kind. A scalar is a bare UInt64 (or UInt32) at run time; conversions between kinds are named.

/// A domain integer over 64 bits. Comparable and hashable by its raw value, printed as a number.
public protocol Scalar: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible
where RawValue == UInt64 {
    init(rawValue: UInt64)
}

extension Scalar {
    @inline(__always)
    public init(_ value: UInt64) { self.init(rawValue: value) }

    @inline(__always)
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    public var description: String { String(rawValue) }

    /// The value `count` after this one. Traps on overflow.
    @inline(__always)
    public func advanced(by count: UInt64) -> Self { Self(rawValue: rawValue + count) }

    /// The next value. Traps on overflow.
    @inline(__always)
    public var next: Self { advanced(by: 1) }
}

/// A place on a volume, in bytes from its start.
public struct ByteOffset: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A length in bytes.
public struct ByteCount: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A 4 KiB grain of a volume, counted from its start.
public struct GrainIndex: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A block of a volume, counted from its start. Blocks are the unit of the map.
public struct BlockIndex: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A chunk of a volume: the 1,024 blocks of one map node.
public struct ChunkIndex: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// The number of a commit in its volume's history, from 1. Zero means "none yet".
public struct CommitSequence: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let none = CommitSequence(0)
}

/// The number of a journal record in its volume's history, from 1, across journals. A cut names the
/// last record it includes; zero means "before the first".
public struct RecordSequence: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// The number of a batch in one journal, from 1, across its segments.
public struct BatchNumber: Scalar {
    public var rawValue: UInt64
    @inline(__always)
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A writer generation of a volume, from 1.
public struct Epoch: RawRepresentable, Comparable, Hashable, Sendable, CustomStringConvertible {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(_ value: UInt32) { rawValue = value }
    public static func < (left: Epoch, right: Epoch) -> Bool { left.rawValue < right.rawValue }
    public var next: Epoch { Epoch(rawValue + 1) }
    public var description: String { String(rawValue) }
}
