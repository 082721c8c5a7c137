// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Faults that are planted for the sanitizers: scripts/sanitize.sh asks for them by name, and each
// must be reported.

import Glibc
import Primitives
import TestSupport
import Testing

@Suite(
    "planted faults", .enabled(if: getenv("MARTLET_CANARY") != nil, "they are for the sanitizers"))
struct CanaryTests {
    private final class Unguarded: @unchecked Sendable {
        // Confined: to nobody. Planted.
        var value = 0
    }

    @Test("two threads change one number")
    func plantedRace() throws {
        let unguarded = Unguarded()
        let threads = try RacingThreads(count: 2) { _ in
            for _ in 0..<1000 { unguarded.value &+= 1 }
        }
        try threads.join()
        #expect(unguarded.value > 0)
    }

    @Test("a byte behind the end of a buffer is read")
    func plantedOverrun() throws {
        let count = 24
        // A typed pointer: the sanitizer does not see `load` of an untyped one.
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
        defer { bytes.deallocate() }
        bytes.initialize(repeating: 1, count: count)
        #expect(bytes[count] != 1)
    }
}
