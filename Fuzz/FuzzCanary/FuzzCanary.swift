// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The canary: a planted overrun that only coverage leads to, one byte after another, from nothing.
// If the fuzzer does not find it, no other target's silence means anything.

import FuzzSupport

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCanary(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    guard let data, count >= 6 else { return 0 }
    let bytes = fuzzInput(data, count)
    var matched = 0
    for (index, character) in "MRTLET".utf8.enumerated() {
        guard isEqual(bytes[index], character) else { return 0 }
        matched += 1
        // An edge for each byte, as a decoder's chain of checks has.
        switch matched {
        case 1: steps.0 += 1
        case 2: steps.1 += 1
        case 3: steps.2 += 1
        case 4: steps.3 += 1
        case 5: steps.4 += 1
        default: break
        }
    }
    // Planted: believes that more follows.
    return Int32(data[count + matched])
}

nonisolated(unsafe) private var steps = (0, 0, 0, 0, 0)

/// Bit by bit, so that no traced comparison gives the answer away.
private func isEqual(_ left: UInt8, _ right: UInt8) -> Bool { (left ^ right).nonzeroBitCount == 0 }
