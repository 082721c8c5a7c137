// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Makes the target of a diff in a new file: the base, shared or copied, then the changes over it.

import Formats
import HostIO

/// Fills a new file. Confined to one call.
struct DiffApplier<File: ExtentFile> {
    let file: File
    let base: File?
    let basePath: String
    let head: DiffHead
    /// One piece.
    let room: UnsafeMutableRawBufferPointer

    /// The bytes of the base that the target keeps, unless a piece says otherwise.
    private var keptBytes: UInt64 { base == nil ? 0 : min(head.baseBytes, head.targetBytes) }

    /// Takes the base over: shared where the file system can, else copied without its holes.
    func takeBase(_ progress: inout DiffProgress) throws(BlockDiffError) {
        if let base, try !io({ () throws(HostIOError) in try file.share(from: base) }) {
            try copy(base, &progress)
        } else {
            try progress.advance(keptBytes)
        }
        try io { () throws(HostIOError) in try file.resize(head.targetBytes) }
    }

    private func copy(_ base: File, _ progress: inout DiffProgress) throws(BlockDiffError) {
        var data = DataCursor(base)
        var place: UInt64 = 0
        var isInKernel = true
        while place < keptBytes, let next = try data.next(from: place) {
            guard next.lowerBound < keptBytes else { break }
            try progress.advance(next.lowerBound - place)
            place = next.lowerBound
            let end = min(next.upperBound, keptBytes)
            while place < end {
                let count = min(end - place, UInt64(room.count))
                let from = place
                var copied: UInt64?
                if isInKernel {
                    copied = try io { () throws(HostIOError) in
                        try file.copy(from: base, at: from, count: end - from)
                    }
                    isInKernel = copied != nil
                }
                if copied == nil {
                    let part = UnsafeMutableRawBufferPointer(rebasing: room[..<Int(count)])
                    try io { () throws(HostIOError) in
                        guard try base.read(at: from, into: part) == part.count else { return }
                        try file.write(at: from, UnsafeRawBufferPointer(part))
                        copied = count
                    }
                }
                guard let copied else { throw .changed(basePath) }
                place += copied
                try progress.advance(copied)
            }
        }
        try progress.advance(keptBytes - min(place, keptBytes))
    }

    /// Puts one piece of a diff in its place. Version 1 cannot tell zeros from holes: whole blocks
    /// of zeros become holes, as they do in version 2 where it says so.
    func put(_ range: ChangedRange, _ bytes: UnsafeRawBufferPointer) throws(BlockDiffError) {
        switch range.kind {
        case .data where head.version == 1:
            try Runs.forEach(of: bytes, at: range.offset) {
                (run, place, isZero) throws(BlockDiffError) in
                if isZero {
                    try makeHole(place, UInt64(run.count))
                } else {
                    try io { () throws(HostIOError) in try file.write(at: place, run) }
                }
            }
        case .data:
            try io { () throws(HostIOError) in try file.write(at: range.offset, bytes) }
        case .zeros: try writeZeros(range.offset, range.length)
        case .hole: try makeHole(range.offset, range.length)
        }
    }

    private func makeHole(_ place: UInt64, _ count: UInt64) throws(BlockDiffError) {
        // Beyond what came from the base there is nothing to free.
        let end = min(place + count, keptBytes)
        guard place < end else { return }
        let isFree = try io { () throws(HostIOError) in
            try file.punch(at: place, count: end - place)
        }
        if !isFree { try writeZeros(place, end - place) }
    }

    private func writeZeros(_ place: UInt64, _ count: UInt64) throws(BlockDiffError) {
        let zeros = UnsafeMutableRawBufferPointer(
            rebasing: room[..<Int(min(count, UInt64(room.count)))])
        for index in zeros.indices { zeros[index] = 0 }
        var done: UInt64 = 0
        while done < count {
            let part = UnsafeRawBufferPointer(
                rebasing: zeros[..<Int(min(count - done, UInt64(zeros.count)))])
            let from = place + done
            try io { () throws(HostIOError) in try file.write(at: from, part) }
            done += UInt64(part.count)
        }
    }
}
