// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the twin keeps a file's pages, for image tools: copy on write as on a file system with
// reflinks. Every write takes new addresses, a shared page keeps its own. Kept only on a disk that
// was made with extents, and of running programs' view: a crash does not bring addresses back.

import Primitives

/// Gives out addresses of pages. Confined to the lock of its disk.
final class VolatileAddresses: @unchecked Sendable {
    // Confined: to the lock of its disk.
    private var next: UInt64 = 1 << 20

    func take() -> UInt64 {
        defer { next += VolatileExtents.pageBytes }
        return next
    }
}

/// The pages of one file that are not holes.
struct VolatileExtents: Sendable {
    static let pageBytes: UInt64 = 4096
    /// Extents of one answer: few, so that callers meet the seams between answers.
    static let answerMax = 3

    private struct Page: Sendable {
        var address: UInt64
        var isPlain: Bool
    }

    private let addresses: VolatileAddresses
    private var pages: [UInt64: Page] = [:]

    init(addresses: VolatileAddresses) { self.addresses = addresses }

    private static func pages(of range: Range<UInt64>) -> Range<UInt64> {
        range.lowerBound / pageBytes..<(range.upperBound + pageBytes - 1) / pageBytes
    }

    mutating func wrote(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        for page in Self.pages(of: range) {
            pages[page] = Page(address: addresses.take(), isPlain: true)
        }
    }

    mutating func cut(to size: UInt64) {
        let first = (size + Self.pageBytes - 1) / Self.pageBytes
        pages = pages.filter { $0.key < first }
        // The rest of the last page became zeros.
        if size % Self.pageBytes > 0 { rewrote(size / Self.pageBytes) }
    }

    /// A page whose content changed in place, if it is no hole.
    private mutating func rewrote(_ page: UInt64) {
        if pages[page] != nil { pages[page] = Page(address: addresses.take(), isPlain: true) }
    }

    /// Whole pages of the range become holes; those at its edges are written.
    mutating func punched(_ range: Range<UInt64>) {
        let first = (range.lowerBound + Self.pageBytes - 1) / Self.pageBytes
        let end = range.upperBound / Self.pageBytes
        if range.lowerBound % Self.pageBytes > 0 { rewrote(range.lowerBound / Self.pageBytes) }
        if range.upperBound % Self.pageBytes > 0 { rewrote(range.upperBound / Self.pageBytes) }
        guard first < end else { return }
        for page in first..<end { pages[page] = nil }
    }

    mutating func share(_ other: VolatileExtents) { pages = other.pages }

    mutating func share(_ other: VolatileExtents, _ range: Range<UInt64>) {
        for page in Self.pages(of: range) { pages[page] = other.pages[page] }
    }

    /// Makes the addresses of a range say nothing, as those of compressed extents: all of it gets
    /// one and the same.
    mutating func blur(_ range: Range<UInt64>, address: UInt64) {
        for page in Self.pages(of: range) where pages[page] != nil {
            pages[page] = Page(address: address, isPlain: false)
        }
    }

    func extents(from offset: UInt64) -> [FileExtent] {
        var found: [FileExtent] = []
        for page in pages.keys.sorted() where (page + 1) * Self.pageBytes > offset {
            guard let known = pages[page] else { continue }
            let start = page * Self.pageBytes
            if let last = found.last, last.end == start, last.isPlain == known.isPlain,
                last.isPlain ? last.physical + last.length == known.address : true
            {
                found[found.count - 1].length += Self.pageBytes
            } else if found.count == Self.answerMax {
                break
            } else {
                found.append(
                    FileExtent(
                        logical: start, physical: known.address, length: Self.pageBytes,
                        isPlain: known.isPlain))
            }
        }
        return found
    }

    func nextData(from offset: UInt64, size: UInt64) -> Range<UInt64>? {
        let candidates = pages.keys.filter { ($0 + 1) * Self.pageBytes > offset }
        guard let first = candidates.min() else { return nil }
        var end = first + 1
        while pages[end] != nil { end += 1 }
        let start = max(offset, first * Self.pageBytes)
        guard start < size else { return nil }
        return start..<min(size, end * Self.pageBytes)
    }
}
