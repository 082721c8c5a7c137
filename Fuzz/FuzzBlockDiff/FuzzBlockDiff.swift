// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Block diffs of both versions, as whole files on the twin: listed, checked, and applied where the
// target is small. Checksums of version 2 are set right first, since mutation never hits one.

import Formats
import FuzzSupport
import HostIO
import ImageTools
import Primitives

private let targetBytesMax: UInt64 = 1 << 20

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBlockDiff(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    read(Array(bytes))
    if let sealed = seal(Array(bytes)) { read(sealed) }
    return 0
}

/// Sets the checksums of a diff of version 2 right, of as many pieces as there are.
private func seal(_ bytes: [UInt8]) -> [UInt8]? {
    var bytes = bytes
    guard bytes.count >= BlockDiffHeader.byteCount else { return nil }
    bytes.replaceSubrange(0..<8, with: Array("BDIFFv2\0".utf8))
    func put(_ value: UInt64, at offset: Int) {
        for index in 0..<8 {
            bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
        }
    }
    let seed = bytes.withUnsafeBytes {
        XXH3.hash(UnsafeRawBufferPointer(rebasing: $0[..<88]), seed: 0)
    }
    put(seed, at: 88)
    var offset = BlockDiffHeader.byteCount
    var number: UInt64 = 0
    while offset + BlockDiffPiece.byteCount <= bytes.count {
        let start = offset + BlockDiffPiece.byteCount
        let stored = Int(bytes[offset + 16]) | Int(bytes[offset + 17]) << 8
        guard start + stored <= bytes.count else { break }
        let checksum = bytes.withUnsafeBytes { all in
            let head = UnsafeRawBufferPointer(rebasing: all[offset..<offset + 24])
            return XXH3.hash(
                UnsafeRawBufferPointer(rebasing: all[start..<start + stored]),
                seed: XXH3.hash(head, seed: seed &+ number))
        }
        put(checksum, at: offset + 24)
        offset = start + stored
        number += 1
    }
    return bytes
}

private func read(_ bytes: [UInt8]) {
    let disk = VolatileDisk(hasExtents: true)
    guard let file = try? disk.root.create("diff"), (try? file.write(at: 0, bytes)) != nil else {
        return
    }
    func place(_ name: String) -> ImagePlace<VolatileDirectory> {
        ImagePlace(directory: disk.root, name: name, path: name)
    }
    let tool = BlockDiffTool<VolatileDirectory>(token: 1) { _, _ in true }
    var end: UInt64 = 0
    var head: DiffHead?
    var listed: UInt64 = 0
    let isListed: Void? = try? tool.view(.file(place("diff")), { head = $0 }) { range in
        require(range.length > 0 && range.offset >= end, "ranges ascend")
        end = range.end
        listed += range.length
    }
    guard let head, isListed != nil else { return }
    require(end <= head.targetBytes, "ranges lie in the target")
    let checked = try? tool.check(.file(place("diff")))
    if head.version == 1 { require(checked != nil, "a listed diff of version 1 is whole") }
    guard let checked, head.targetBytes <= targetBytesMax, head.baseBytes <= targetBytesMax else {
        return
    }
    require(checked.changedBytes == listed, "both ways see the same ranges")
    var base: ImagePlace<VolatileDirectory>?
    if head.baseBytes > 0 {
        guard let file = try? disk.root.create("base"), (try? file.resize(head.baseBytes)) != nil
        else { return }
        base = place("base")
    }
    var options = DiffApplication()
    options.trustsBase = true
    let applied = try? tool.apply(
        .file(place("diff")), target: place("target"), base: base, options)
    require(applied != nil, "a whole diff applies")
    require(
        (try? disk.root.facts(of: "target"))??.size == head.targetBytes, "and makes its target")
}
