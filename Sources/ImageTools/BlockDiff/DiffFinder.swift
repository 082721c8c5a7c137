// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Finds the blocks of a target that differ from a base. What extents prove to be shared is not
// read; the rest is compared, holes unread. The result depends on the content of the two files
// alone, not on the file system below or on how it was found, but for the kinds of zeros.

import Formats
import Glibc
import HostIO

/// The next bytes of a file that are not a hole, in whole blocks, asked for as seldom as possible.
struct DataCursor<File: ExtentFile> {
    private let file: File
    private var known: Range<UInt64>?
    private var isAtEnd = false

    init(_ file: File) { self.file = file }

    /// The first run of blocks with data that reaches beyond `place`, which only grows.
    mutating func next(from place: UInt64) throws(BlockDiffError) -> Range<UInt64>? {
        let block = DiffFinder<File>.blockBytes
        while !isAtEnd {
            if let known, known.upperBound > place {
                return max(place, known.lowerBound)..<known.upperBound
            }
            let from = max(place, known?.upperBound ?? 0)
            let found = try io { () throws(HostIOError) in try file.nextData(from: from) }
            guard let found, !found.isEmpty else {
                isAtEnd = true
                break
            }
            known =
                found.lowerBound / block * block..<(found.upperBound + block - 1) / block * block
        }
        return nil
    }
}

struct DiffFinder<File: ExtentFile> {
    /// What is compared, and named as changed, as a whole.
    static var blockBytes: UInt64 { 4096 }
    /// What is read at one time.
    static var pieceBytes: Int { 1 << 20 }

    private let target: File
    private let base: File?
    private let targetBytes: UInt64
    private let baseBytes: UInt64
    private let ours: UnsafeMutableRawBufferPointer
    private let theirs: UnsafeMutableRawBufferPointer
    private var targetData: DataCursor<File>
    private var baseData: DataCursor<File>?
    private(set) var changed: ChangedRanges

    /// The caller keeps both files as they are until `find` is done. `room`: two pieces.
    init(
        target: File, targetBytes: UInt64, base: File?, baseBytes: UInt64,
        room: UnsafeMutableRawBufferPointer, changed: ChangedRanges = ChangedRanges()
    ) {
        precondition(room.count >= 2 * Self.pieceBytes)
        self.target = target
        self.base = base
        self.targetBytes = targetBytes
        self.baseBytes = base == nil ? 0 : baseBytes
        ours = UnsafeMutableRawBufferPointer(rebasing: room[..<Self.pieceBytes])
        theirs = UnsafeMutableRawBufferPointer(
            rebasing: room[Self.pieceBytes..<2 * Self.pieceBytes])
        targetData = DataCursor(target)
        baseData = base.map { DataCursor($0) }
        self.changed = changed
    }

    /// `areNeighbours`: both lie on one file system, so that addresses of extents can be compared.
    mutating func find(
        areNeighbours: Bool, _ progress: inout DiffProgress
    ) throws(BlockDiffError) -> ChangedRanges {
        guard targetBytes > 0 else { return changed }
        guard let base, areNeighbours else {
            try compare(0..<targetBytes, &progress)
            return changed
        }
        // Extents end at the file system's blocks, which may be smaller than ours.
        var done: UInt64 = 0
        let shared = SharedExtents(
            target: target, base: base, commonBytes: min(targetBytes, baseBytes))
        try shared.forEachUnproven(size: targetBytes) { range throws(BlockDiffError) in
            let start = max(done, range.lowerBound / Self.blockBytes * Self.blockBytes)
            let end = (range.upperBound + Self.blockBytes - 1) / Self.blockBytes * Self.blockBytes
            guard start < min(end, targetBytes) else { return }
            try progress.advance(start - done)
            try compare(start..<min(end, targetBytes), &progress)
            done = min(end, targetBytes)
        }
        try progress.advance(targetBytes - done)
        return changed
    }

    /// Compares a range that begins at a block and ends at one, or with the target.
    private mutating func compare(
        _ range: Range<UInt64>, _ progress: inout DiffProgress
    ) throws(BlockDiffError) {
        var place = range.lowerBound
        while place < range.upperBound {
            let mine = try targetData.next(from: place)
            let other = try place < baseBytes ? baseData?.next(from: place) : nil
            let first = min(mine?.lowerBound ?? .max, other?.lowerBound ?? .max, range.upperBound)
            guard first == place else {
                // A hole in both.
                try progress.advance(first - place)
                place = first
                continue
            }
            let hasMine = mine?.lowerBound == place
            let hasOther = other?.lowerBound == place
            var end = min(range.upperBound, place + UInt64(Self.pieceBytes))
            for edge in [
                mine?.lowerBound, mine?.upperBound, other?.lowerBound, other?.upperBound,
            ] {
                if let edge, edge > place { end = min(end, edge) }
            }
            let count = Int(end - place)
            if hasMine { try Self.fill(target, ours, place, count) }
            if let base, hasOther { try Self.fill(base, theirs, place, count) }
            judge(place, count, hasMine: hasMine, hasOther: hasOther)
            try progress.advance(UInt64(count))
            place = end
        }
    }

    /// Reads `count` bytes; what lies beyond the end is zeros.
    private static func fill(
        _ file: File, _ room: UnsafeMutableRawBufferPointer, _ place: UInt64, _ count: Int
    ) throws(BlockDiffError) {
        let wanted = UnsafeMutableRawBufferPointer(rebasing: room[..<count])
        let read = try io { () throws(HostIOError) in try file.read(at: place, into: wanted) }
        UnsafeMutableRawBufferPointer(rebasing: wanted[read...])
            .initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Names the blocks of a piece that differ.
    private mutating func judge(_ place: UInt64, _ count: Int, hasMine: Bool, hasOther: Bool) {
        if hasMine && hasOther
            && Blocks.areEqual(
                UnsafeRawBufferPointer(rebasing: ours[..<count]),
                UnsafeRawBufferPointer(rebasing: theirs[..<count]))
        {
            return
        }
        var offset = 0
        while offset < count {
            let length = min(Int(Self.blockBytes), count - offset)
            let mine = UnsafeRawBufferPointer(rebasing: ours[offset..<offset + length])
            let other = UnsafeRawBufferPointer(rebasing: theirs[offset..<offset + length])
            let isZero = !hasMine || Blocks.areZero(mine)
            let isSame =
                hasOther
                ? (hasMine ? Blocks.areEqual(mine, other) : Blocks.areZero(other))
                : isZero
            if !isSame {
                changed.append(
                    ChangedRange(
                        hasMine ? (isZero ? .zeros : .data) : .hole,
                        offset: place + UInt64(offset), length: UInt64(length)))
            }
            offset += length
        }
    }
}

/// Looks at bytes as a whole.
enum Blocks {
    static func areEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        precondition(left.count == right.count)
        guard let first = left.baseAddress, let second = right.baseAddress else { return true }
        return memcmp(first, second, left.count) == 0
    }

    static func areZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return true }
        // Equal to itself moved by one: the first byte is that of all.
        return bytes[0] == 0 && memcmp(start, start + 1, bytes.count - 1) == 0
    }
}
