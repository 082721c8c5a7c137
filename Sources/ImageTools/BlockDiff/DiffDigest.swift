// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The digest of a file's content, the same however it is stored: holes and written zeros are equal,
// and neither is hashed, so that a sparse file costs what its data costs.

import HostIO
import Primitives

/// BLAKE3 over the size, then number and hash of each piece of 1 MiB that is not all zeros.
enum DiffDigest {
    static let pieceBytes: UInt64 = 1 << 20

    /// `room`: one piece.
    static func of<File: ExtentFile>(
        _ file: File, path: String, size: UInt64, room: UnsafeMutableRawBufferPointer,
        _ progress: inout DiffProgress
    ) throws(BlockDiffError) -> Hash128 {
        precondition(room.count >= Int(pieceBytes))
        var digest = ImageDigest(size: size)
        var data = DataCursor(file)
        var place: UInt64 = 0
        while place < size, let next = try data.next(from: place), next.lowerBound < size {
            let start = next.lowerBound / pieceBytes * pieceBytes
            let count = Int(min(pieceBytes, size - start))
            let piece = UnsafeMutableRawBufferPointer(rebasing: room[..<count])
            let read = try io { () throws(HostIOError) in try file.read(at: start, into: piece) }
            guard read == count else { throw .changed(path) }
            digest.add(start / pieceBytes, UnsafeRawBufferPointer(piece))
            try progress.advance(start + UInt64(count) - place)
            place = start + UInt64(count)
        }
        try progress.advance(size - min(place, size))
        return digest.finish()
    }
}

/// The digest as pieces come, those that hold data ascending.
struct ImageDigest: ~Copyable {
    private var digest = BLAKE3(domain: .image)

    init(size: UInt64) { digest.update(integer: size) }

    mutating func add(_ number: UInt64, _ piece: UnsafeRawBufferPointer) {
        guard !Blocks.areZero(piece) else { return }
        digest.update(integer: number)
        digest.update(BLAKE3.hash(piece, domain: .imagePiece))
    }

    consuming func finish() -> Hash128 { digest.finish() }
}
