// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Bytes between a thread and a task: in order, bounded, and ended from either side.

import Glibc
import HostIO
import Primitives
import Shard
import Synchronization
import Testing

@testable import ImageTools

/// The failure of a write.
private func put(_ bytes: [UInt8], into pipe: BytePipe) -> HostIOError? {
    var failure: HostIOError?
    bytes.withUnsafeBytes { bytes in
        do throws(HostIOError) { try pipe.write(bytes) } catch { failure = error }
    }
    return failure
}

@Suite("a pipe from a thread to a task")
struct BytePipeTests {
    private let gone = HostIOError(.write, path: "the connection", code: EPIPE)

    private func pipe() -> BytePipe {
        BytePipe(isStopped: { false }, pause: { _ in true })
    }

    @Test("what was written comes out in order, then the end")
    func order() async throws {
        let pipe = pipe()
        #expect(put([1, 2], into: pipe) == nil && put([3], into: pipe) == nil)
        pipe.end(nil)
        #expect(try await pipe.next() == [1, 2, 3])
        #expect(try await pipe.next() == nil)
    }

    @Test("a failure comes behind all that was written before it")
    func failure() async throws {
        let pipe = pipe()
        #expect(put([7], into: pipe) == nil)
        let error = UserError(.notFound, what: "a", why: "b", remedy: "c")
        pipe.end(error)
        #expect(try await pipe.next() == [7])
        await #expect(throws: error) { try await pipe.next() }
    }

    @Test("a reader that takes nothing gets a bounded number of bytes and a bounded patience")
    func patience() {
        let waited = Lock<UInt64>(0)
        let pipe = BytePipe(isStopped: { false }) { nanoseconds in
            waited.withLock { $0 += nanoseconds }
            return true
        }
        let piece = [UInt8](repeating: 5, count: BytePipe.bytesMax)
        #expect(put(piece, into: pipe) == nil)
        #expect(waited.withLock { $0 } == 0)
        #expect(put([1], into: pipe) == gone)
        let limit = BytePipe.patienceNanoseconds
        #expect((limit..<(limit + 1_000_000_000)).contains(waited.withLock { $0 }))
    }

    @Test("a reader that leaves, and a stop, end the writer")
    func ends() {
        let left = pipe()
        #expect(left.isWanted)
        left.leave()
        #expect(!left.isWanted && put([1], into: left) == gone)
        let stopped = BytePipe(isStopped: { true }, pause: { _ in true })
        #expect(!stopped.isWanted && put([1], into: stopped) == gone)
        let stopping = BytePipe(isStopped: { false }, pause: { _ in false })
        #expect(put([UInt8](repeating: 1, count: BytePipe.bytesMax), into: stopping) == nil)
        #expect(put([1], into: stopping) == gone)
    }

    @Test("a task that waits is woken by bytes and by the end, and slows a faster thread")
    func woken() async throws {
        let pool = WorkerPool(threads: 1, name: "pipe")
        defer { pool.stop() }
        let pipe = BytePipe(isStopped: { false }) { nanoseconds in
            // Tests beside this one keep the reader from its thread, for a minute at worst.
            SystemClock().sleep(nanoseconds: 20 * nanoseconds)
            return true
        }
        pool.submit {
            for number in 0..<64 as Range<UInt8> {
                _ = put([UInt8](repeating: number, count: 100_000), into: pipe)
            }
            pipe.end(nil)
        }
        var taken: [UInt8] = []
        var largest = 0
        while let bytes = try await pipe.next() {
            largest = max(largest, bytes.count)
            taken += bytes
        }
        #expect(taken.count == 6_400_000 && largest <= BytePipe.bytesMax + 100_000)
        let isRight = (0..<64).allSatisfy { number in
            taken[(number * 100_000)..<((number + 1) * 100_000)].allSatisfy { $0 == UInt8(number) }
        }
        #expect(isRight)
    }
}
