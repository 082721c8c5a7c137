// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Pages of the chunk table and of the pack table: the input is tried as both.

import Formats
import FuzzSupport
import Primitives

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPages(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    if let page = try? ChunkTablePage(decoding: bytes) {
        require(page.encode().elementsEqual(bytes), "a chunk page has one encoding")
        let view = ChunkTablePageView(validated: bytes)
        for entry in 0..<Limits.tablePageEntries {
            require(view.entry(at: entry) == page[entry], "view and decoded page agree")
        }
    }
    if let page = try? PackTablePage(decoding: bytes) {
        require(page.encode().elementsEqual(bytes), "a pack page has one encoding")
        let view = PackTablePageView(validated: bytes)
        for entry in 0..<Limits.tablePageEntries {
            require(view.entry(at: entry) == page[entry], "view and decoded page agree")
        }
    }
    return 0
}
