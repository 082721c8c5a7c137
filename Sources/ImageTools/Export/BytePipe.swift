// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From a thread that makes bytes to a task that sends them, a few megabytes at a time. The thread
// looks for room now and then instead of being woken, since it also has to notice that the reader
// is gone, takes nothing, or that all is to stop.

import Glibc
public import HostIO
public import Primitives
import Synchronization

/// Both ends. One thread writes and ends, one task reads.
public final class BytePipe: ByteStream {
    private struct State {
        var bytes: [UInt8] = []
        var isEnded = false
        var failure: UserError?
        /// Nobody takes anything any more.
        var isLeft = false
        /// Who waits for bytes, or for the end.
        var taker: CheckedContinuation<Void, Never>?
    }

    /// Bytes that wait to be taken; the write that reaches it is let in whole.
    static let bytesMax = 1 << 20
    /// A reader that takes nothing for so long is given up: what is read for it is pinned.
    static let patienceNanoseconds: UInt64 = 60_000_000_000
    private static let pauseNanoseconds: ClosedRange<UInt64> = 500_000...100_000_000

    private let state = Lock(State())
    private let isStopped: @Sendable () -> Bool
    private let pause: @Sendable (UInt64) -> Bool

    /// `pause` waits for that many nanoseconds; false: all is to stop.
    public init(
        isStopped: @escaping @Sendable () -> Bool, pause: @escaping @Sendable (UInt64) -> Bool
    ) {
        self.isStopped = isStopped
        self.pause = pause
    }

    // MARK: Writing

    /// False as soon as nobody will take the rest.
    public var isWanted: Bool { !isStopped() && !state.withLock { $0.isLeft } }

    /// Waits for room. Fails with EPIPE if nobody takes the bytes.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(HostIOError) {
        let copy = Array(bytes)
        var waited: UInt64 = 0
        var nanoseconds = Self.pauseNanoseconds.lowerBound
        while isWanted, waited < Self.patienceNanoseconds {
            if append(copy) { return }
            guard pause(nanoseconds) else { break }
            waited += nanoseconds
            nanoseconds = min(2 * nanoseconds, Self.pauseNanoseconds.upperBound)
        }
        throw HostIOError(.write, path: "the connection", code: EPIPE)
    }

    private func append(_ bytes: [UInt8]) -> Bool {
        let (isIn, taker) = state.withLock { state in
            let hasRoom = state.bytes.count < Self.bytesMax
            if hasRoom { state.bytes += bytes }
            let taker = hasRoom ? state.taker : nil
            if hasRoom { state.taker = nil }
            return (hasRoom, taker)
        }
        taker?.resume()
        return isIn
    }

    /// Nothing follows. Once.
    public func end(_ failure: UserError?) {
        let taker = state.withLock { state in
            state.isEnded = true
            state.failure = failure
            let taker = state.taker
            state.taker = nil
            return taker
        }
        taker?.resume()
    }

    // MARK: Reading

    /// Nothing more will be taken.
    public func leave() {
        state.withLock { state in
            state.isLeft = true
            state.bytes = []
        }
    }

    /// The next bytes, at least one; nil after the last. Throws what the writer ended with, once
    /// all before it was taken.
    public func next() async throws(UserError) -> [UInt8]? {
        while true {
            guard let bytes = try take() else { return nil }
            if !bytes.isEmpty { return bytes }
            await withCheckedContinuation { (taker: CheckedContinuation<Void, Never>) in
                let isReady = state.withLock { state in
                    let isReady = state.isEnded || !state.bytes.isEmpty
                    if !isReady { state.taker = taker }
                    return isReady
                }
                if isReady { taker.resume() }
            }
        }
    }

    /// What is there; empty: nothing yet; nil: nothing follows.
    private func take() throws(UserError) -> [UInt8]? {
        let (bytes, isEnded, failure) = state.withLock { state in
            let bytes = state.bytes
            state.bytes = []
            return (bytes, state.isEnded, state.failure)
        }
        if bytes.isEmpty, let failure { throw failure }
        return bytes.isEmpty && isEnded ? nil : bytes
    }
}
