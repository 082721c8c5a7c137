// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Packs: the input as a whole pack, as an index whose hash nobody checked, as a trailer with a
// right checksum, and as keys.

import Formats
import FuzzSupport
import Primitives

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPackIndex(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    if let (_, index) = try? PackIndex.read(bytes) { walk(index, in: bytes) }
    if let index = try? PackIndex(unhashed: bytes, offset: nil) {
        require(index.encode().elementsEqual(bytes), "an index has one encoding")
    }
    if count >= Pack.trailerBytes { trailer(Array(bytes.suffix(Pack.trailerBytes))) }
    keys(String(decoding: bytes.prefix(300), as: UTF8.self))
    return 0
}

private func walk(_ index: PackIndex, in bytes: UnsafeRawBufferPointer) {
    for member in index.members {
        let extent = Int(member.extent.offset)..<Int(member.extent.end)
        try? Pack.verify(
            UnsafeRawBufferPointer(rebasing: bytes[extent]), hash: member.hash, kind: member.kind)
    }
}

private func trailer(_ bytes: [UInt8]) {
    var sealed = bytes
    let checksum = bytes.withUnsafeBytes { PackTrailer.checksum($0) }
    for index in 0..<8 {
        sealed[56 + index] = UInt8(truncatingIfNeeded: checksum >> (8 * UInt64(index)))
    }
    lend(sealed) { lent in
        guard let trailer = try? PackTrailer(decodingEndOf: lent) else { return }
        require(trailer.index.end + 64 == trailer.packBytes, "the index ends at the trailer")
    }
}

private func keys(_ text: String) {
    if let pack = try? PackID(key: text) { require(pack.key == text, "a key has one spelling") }
    if let commit = try? CommitKey(key: text) {
        require(commit.key == text, "a key has one spelling")
    }
}
