// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Qcow2 images: the input as a file, with and without a backing file, read where it says that it
// has data; and entries of its tables and compressed streams by themselves.

import FuzzSupport
import HostIO
import ImageTools
import Primitives

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzQcow2(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    guard let file = try? VolatileDisk(seed: 1).root.create("disk"),
        (try? file.write(at: 0, Array(bytes))) != nil
    else { return 0 }
    if let image = try? Qcow2Image(file) { walk(image) }
    if let below = try? RawDisk(file), let image = try? Qcow2Image(file, backing: below) {
        walk(image)
    }
    stream(bytes)
    return 0
}

/// Reads the start of each of the first parts that hold data.
private func walk(_ image: some DiskImage) {
    let size = image.size.rawValue
    require(size > 0 && size.isMultiple(of: 512), "a disk is whole sectors")
    var at: UInt64 = 0
    // A map of nothing but zeros is as long as its file, so this ends.
    for _ in 0..<32 {
        guard let range = (try? image.nextData(from: at)) ?? nil else { return }
        require(range.lowerBound >= at && !range.isEmpty, "parts ascend")
        require(range.upperBound <= size, "data ends with the disk")
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Int(min(UInt64(range.count), 8192)), alignment: 1)
        defer { buffer.deallocate() }
        try? image.read(at: range.lowerBound, into: buffer)
        at = range.upperBound
    }
}

private func stream(_ bytes: UnsafeRawBufferPointer) {
    for compression in [Qcow2Header.Compression.deflate, .zstd] {
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 1)
        defer { target.deallocate() }
        try? Qcow2Stream.decode(bytes, compression, into: target)
    }
}
