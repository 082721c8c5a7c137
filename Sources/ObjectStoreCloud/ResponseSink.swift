// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Receives one answer on an event loop, for the thread that waits in `HTTPExchange.send`.

import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Primitives
import Synchronization

final class ResponseSink: HTTPClientResponseDelegate {
    typealias Response = HTTPReply

    /// Bytes kept of an answer that is no success.
    private static let refusalBytesMax = 64 << 10

    private struct Overflow: Error {}

    private struct State: @unchecked Sendable {
        // Confined: to the mutex around it; the memory is the waiting caller's until it detaches.
        var target: UnsafeMutableRawBufferPointer?
        let fills: Bool
        let limit: Int
        var head: HTTPResponseHead?
        var body: [UInt8] = []
        var count = 0
        var isOverflown = false

        var isSuccess: Bool { head.map { (200..<300).contains($0.status.code) } ?? false }

        /// False if the answer is a success and longer than it may be.
        mutating func take(_ part: ByteBuffer) -> Bool {
            let bytes = part.readableBytesView
            guard isSuccess else {
                body += bytes.prefix(max(0, ResponseSink.refusalBytesMax - body.count))
                return true
            }
            guard bytes.count <= limit - count else {
                isOverflown = true
                return false
            }
            if !fills {
                body += bytes
            } else if let target {
                bytes.withUnsafeBytes { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: target[count...])
                        .copyMemory(from: bytes)
                }
            }
            count += bytes.count
            return true
        }
    }

    private let state: Lock<State>
    private let isHead: Bool

    init(_ plan: BodyPlan, isHead: Bool) {
        self.isHead = isHead
        switch plan {
        case .collect(let limit): state = Lock(State(target: nil, fills: false, limit: limit))
        case .fill(let target):
            state = Lock(State(target: target, fills: true, limit: target.count))
        }
    }

    var isOverflown: Bool { state.withLock { $0.isOverflown } }

    /// From here on nothing touches the caller's memory.
    func detach() { state.withLock { $0.target = nil } }

    func didReceiveHead(
        task: HTTPClient.Task<HTTPReply>, _ head: HTTPResponseHead
    ) -> EventLoopFuture<Void> {
        let length = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
        let isTooLong = state.withLock { state in
            state.head = head
            // Said in advance: not even begun.
            state.isOverflown = !isHead && state.isSuccess && length > state.limit
            return state.isOverflown
        }
        return isTooLong
            ? task.eventLoop.makeFailedFuture(Overflow()) : task.eventLoop.makeSucceededVoidFuture()
    }

    func didReceiveBodyPart(
        task: HTTPClient.Task<HTTPReply>, _ buffer: ByteBuffer
    ) -> EventLoopFuture<Void> {
        state.withLock { $0.take(buffer) }
            ? task.eventLoop.makeSucceededVoidFuture()
            : task.eventLoop.makeFailedFuture(Overflow())
    }

    func didFinishRequest(task: HTTPClient.Task<HTTPReply>) throws -> HTTPReply {
        try state.withLock { state in
            guard let head = state.head else { throw HTTPClientError.remoteConnectionClosed }
            return HTTPReply(
                status: Int(head.status.code), headers: head.headers, body: state.body,
                bodyBytes: state.count)
        }
    }
}
