// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Frames: the input as it is, and again with a right checksum, since mutation never hits one.

import Formats
import FuzzSupport
import Primitives

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFrame(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    decode(bytes)
    guard count >= 16 else { return 0 }
    var sealed = Array(bytes)
    let checksum = FrameHeader.checksum(bytes)
    for index in 0..<8 {
        sealed[8 + index] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt64(index)))
    }
    lend(sealed, decode)
    return 0
}

private func decode(_ frame: UnsafeRawBufferPointer) {
    guard let header = try? FrameHeader(decoding: frame) else { return }
    let payload = UnsafeRawBufferPointer(rebasing: frame[header.byteCount...])
    require(header.encode(with: payload).elementsEqual(frame), "a frame has one encoding")
    let target = UnsafeMutableRawBufferPointer.allocate(
        byteCount: header.rawLength, alignment: 16)
    defer { target.deallocate() }
    let pointer = FramePointer(
        slot: PackSlot(0), offset: 64, length: UInt32(frame.count), hash: header.hash,
        mask: header.mask)
    try? Frame.decode(frame, pointer: pointer, grains: header.grains, into: target)
}
