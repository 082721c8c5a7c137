// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the fuzz targets share. A target is a folder of its own with one file that exports
// `LLVMFuzzerTestOneInput`; libFuzzer brings `main`. See Fuzz/README.md.

/// An input as the decoders want it. Valid during the call that lent it.
public func fuzzInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: data, count: count)
}

/// Stops the fuzzer if a property of accepted input does not hold.
public func require(_ condition: Bool, _ property: StaticString) {
    precondition(condition, "\(property)")
}

/// Lends the bytes of an array: exactly as many as it has, so that the sanitizer sees an overrun.
public func lend(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) -> Void) {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { copy.deallocate() }
    copy.copyBytes(from: bytes)
    body(UnsafeRawBufferPointer(copy))
}
