// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the standard library leaves out of raw memory.

extension UnsafeMutableRawBufferPointer {
    /// Sets all bytes to zero.
    package func clear() {
        if let baseAddress {
            baseAddress.initializeMemory(as: UInt8.self, repeating: 0, count: count)
        }
    }
}
