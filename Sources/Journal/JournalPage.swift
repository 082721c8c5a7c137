// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How the memtable names a page of the journal: 20 bits of segment slot and 12 of page. Page 0 of a
// segment is its superblock and never payload, so the raw value 0 is free to mean "absent".

import Primitives

/// A payload page of one journal: the slot of its segment there, and the page in the segment.
public struct JournalPage: RawRepresentable, Hashable, Sendable {
    /// The mark of a zero grain in a leaf; no page has this number.
    public static let zeroMark = UInt32.max
    static let pageBits: UInt32 = 12
    /// Slots of a journal: the last is left out so that no page equals the zero mark.
    static let slotsMax = Limits.journalSegmentsMax - 1

    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    @inlinable
    public init(slot: Int, page: Int) {
        rawValue = UInt32(truncatingIfNeeded: slot) << 12 | UInt32(truncatingIfNeeded: page)
    }

    @inlinable
    public var slot: Int { Int(rawValue >> 12) }

    @inlinable
    public var page: Int { Int(rawValue & 4095) }

    /// The page `count` after this one, in the same segment.
    @inlinable
    public func advanced(by count: Int) -> JournalPage {
        JournalPage(rawValue: rawValue &+ UInt32(truncatingIfNeeded: count))
    }
}

/// What a memtable knows of a grain.
public enum GrainState: Equatable, Sendable {
    /// Nothing: an older memtable or the map decides.
    case absent
    case zero
    case page(JournalPage)

    /// From an entry of a leaf.
    @inlinable
    public init(entry: UInt32) {
        switch entry {
        case 0: self = .absent
        case JournalPage.zeroMark: self = .zero
        default: self = .page(JournalPage(rawValue: entry))
        }
    }
}
