// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Superblocks and batch header pages, as they are and with a right checksum: what is accepted
// encodes to itself, and names only pages inside its segment.

import Formats
import FuzzSupport
import Primitives

private let pageIndex = 5
private let segmentPages = 4096
private let nonce: UInt64 = 0x0123_4567_89AB_CDEF

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJournal(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    tryAll(bytes)
    // A right checksum lets the fuzzer in; a page is filled up with zeros, as real ones are.
    var page = [UInt8](bytes.prefix(Limits.grainBytes))
    page.append(contentsOf: repeatElement(0, count: Limits.grainBytes - page.count))
    let storedNonce = page.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 48, as: UInt64.self) }
    for seed in [nonce, UInt64(littleEndian: storedNonce)] {
        page.withUnsafeMutableBytes { target in
            guard let base = target.baseAddress else { return }
            _ = BatchHeader.seal(page: base, seed: seed)
        }
        lend(page) { tryAll($0) }
    }
    return 0
}

private func tryAll(_ bytes: UnsafeRawBufferPointer) {
    if let header = try? SegmentHeader(decoding: bytes) {
        require(encode { header.encode(into: $0) }.elementsEqual(bytes), "one superblock encoding")
    }
    var records: [JournalRecord] = []
    guard
        let header = try? BatchHeader.decode(
            bytes, seed: nonce, index: pageIndex, segmentPages: segmentPages, records: &records)
    else { return }
    require(records.count == header.recordCount, "as many records as the header says")
    for record in records where record.kind == .write {
        require(
            Int(record.firstPage) + record.payloadPages <= segmentPages, "payload in the segment")
    }
    let again = encode { page in
        for (index, record) in records.enumerated() {
            record.encode(into: page + BatchHeader.offset(ofRecord: index))
        }
        header.encode(into: page)
        _ = BatchHeader.seal(page: page, seed: nonce)
    }
    require(again.elementsEqual(bytes), "a batch header page has one encoding")
}

private func encode(_ body: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
    let page = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Limits.grainBytes, alignment: Limits.grainBytes)
    defer { page.deallocate() }
    page.initializeMemory(as: UInt8.self, repeating: 0)
    if let base = page.baseAddress { body(base) }
    return [UInt8](page)
}
