// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What two files of one file system are known to have in common without a look at their bytes:
// plain extents at one address. Everything else is left to a comparison, so that an address that
// says nothing (compressed, inline, not chosen yet) costs time and never a wrong diff.

import HostIO

/// Walks two files side by side, an answer of the file system at a time.
struct SharedExtents<File: ExtentFile> {
    let target: File
    let base: File
    /// Beyond it nothing is common: the smaller size of the two.
    let commonBytes: UInt64

    /// Calls `body` with the ranges of 0..<`size` that have to be compared, ascending.
    func forEachUnproven(
        size: UInt64, _ body: (Range<UInt64>) throws(BlockDiffError) -> Void
    ) throws(BlockDiffError) {
        var pending: Range<UInt64>?
        // In a nested function, pending ranges that touch become one.
        func unproven(_ range: Range<UInt64>) throws(BlockDiffError) {
            guard !range.isEmpty else { return }
            if let before = pending, before.upperBound == range.lowerBound {
                pending = before.lowerBound..<range.upperBound
            } else {
                if let before = pending { try body(before) }
                pending = range
            }
        }
        var place: UInt64 = 0
        while place < commonBytes {
            guard let window = try window(at: place) else { break }
            var next = place
            for proven in window.proven {
                try unproven(next..<proven.lowerBound)
                next = proven.upperBound
            }
            try unproven(next..<window.end)
            place = window.end
        }
        try unproven(place..<size)
        if let pending { try body(pending) }
    }

    private struct Window {
        let proven: [Range<UInt64>]
        let end: UInt64
    }

    /// What one answer for each file says of the bytes from `place` on; nil where the file system
    /// says nothing.
    private func window(at place: UInt64) throws(BlockDiffError) -> Window? {
        let isFirst = place == 0
        guard
            let ours = try io({ () throws(HostIOError) in
                try target.extents(from: place, settled: isFirst)
            }),
            let theirs = try io({ () throws(HostIOError) in
                try base.extents(from: place, settled: isFirst)
            }),
            let again = try io({ () throws(HostIOError) in
                try target.extents(from: place, settled: false)
            })
        else { return nil }
        let end = min(ours.last?.end ?? commonBytes, theirs.last?.end ?? commonBytes, commonBytes)
        guard end > place else { return nil }
        // Extents that moved between the two questions may have left their address to others.
        guard ours == again else { return Window(proven: [], end: end) }
        return Window(proven: Self.common(ours, theirs, place..<end), end: end)
    }

    /// The parts of `range` where plain extents of both have the same address.
    static func common(
        _ ours: [FileExtent], _ theirs: [FileExtent], _ range: Range<UInt64>
    ) -> [Range<UInt64>] {
        var found: [Range<UInt64>] = []
        var mine = 0
        var other = 0
        while mine < ours.count && other < theirs.count {
            let (left, right) = (ours[mine], theirs[other])
            let start = max(left.logical, right.logical, range.lowerBound)
            let end = min(left.end, right.end, range.upperBound)
            if start < end, left.isPlain, right.isPlain,
                left.physical &- left.logical == right.physical &- right.logical
            {
                found.append(start..<end)
            }
            if left.end <= right.end { mine += 1 }
            if right.end <= left.end { other += 1 }
        }
        return found
    }
}
