// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A disk that lies in a file, of whatever format: its size, where it may hold data, and its bytes.
// Reading follows no name that the image itself gives.

public import HostIO
public import Primitives

/// Why an image cannot be read.
public enum ImageError: Error, Equatable, Sendable {
    /// The host could not read the file.
    case file(HostIOError)
    /// The image breaks its format, or contradicts itself.
    case damaged(detail: String)
    /// The image needs what this reader does not do.
    case unsupported(feature: String, remedy: String)
}

extension UserError {
    /// As a sentence; `what` could not be done.
    package init(_ what: String, _ error: ImageError) {
        switch error {
        case .file(let error):
            self.init(
                .failed, what: what, why: error.description,
                remedy: "give a file that this user may read")
        case .damaged(let detail):
            self.init(
                .failed, what: what, why: "the image is damaged: \(detail)",
                remedy: "check it with qemu-img check, or fetch it again")
        case .unsupported(let feature, let remedy):
            self.init(.badRequest, what: what, why: feature, remedy: remedy)
        }
    }
}

/// An image that is open for reading. Calls may come from any thread, several at one time.
public protocol DiskImage: Sendable {
    /// `raw`, `qcow2`.
    var format: String { get }

    /// Bytes of the disk: a multiple of 512, not zero.
    var size: ByteCount { get }

    /// Reads that begin at a multiple of this and are as long do no work twice. A power of two.
    var pieceBytes: Int { get }

    /// The first range at or behind `offset` that may hold anything but zeros; nil if there is none
    /// up to the end. Ends at `size`.
    func nextData(from offset: UInt64) throws(ImageError) -> Range<UInt64>?

    /// Fills `buffer` from `offset` on, with zeros where there is no data. The range lies inside
    /// `size`. On an error the buffer holds anything.
    func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ImageError)
}
