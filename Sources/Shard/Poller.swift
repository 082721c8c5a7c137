// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Readiness of descriptors, by token. Level-triggered: what is left unread is reported again, so
// that a handler may take one bite of a connection per turn and stay fair to the others.

import CLinux
import Glibc

/// What a handler wants to hear of a descriptor. Errors and hang-ups are always told, a peer that
/// closed its side of a TCP connection included.
public struct Interest: OptionSet, Sendable {
    public let rawValue: UInt32
    @inline(__always)
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let readable = Interest(rawValue: UInt32(CLINUX_READABLE))
    public static let writable = Interest(rawValue: UInt32(CLINUX_WRITABLE))
}

/// What became ready.
public struct Readiness: Sendable {
    public let rawValue: UInt32
    @inline(__always)
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    @inline(__always)
    public var isReadable: Bool { rawValue & UInt32(CLINUX_READABLE) != 0 }
    @inline(__always)
    public var isWritable: Bool { rawValue & UInt32(CLINUX_WRITABLE) != 0 }
    /// The peer sends no more, is gone, or the connection failed. What it sent before may still be
    /// unread: then it is readable too.
    @inline(__always)
    public var isHangup: Bool {
        rawValue & UInt32(CLINUX_HANGUP | CLINUX_ERROR | CLINUX_PEER_CLOSED) != 0
    }
}

/// The set of descriptors that a shard listens to. A value that names the shard's epoll set; valid
/// while the shard lives.
public struct Poller: Sendable {
    let descriptor: Int32

    /// Listens to `fd`. False if the kernel has no room for it.
    public func add(_ fd: Int32, token: UInt64, _ interest: Interest) -> Bool {
        precondition(token != Poller.mailboxToken)
        let code = clinux_epoll_add(descriptor, fd, interest.rawValue | always, token)
        precondition(code != -EBADF && code != -EEXIST && code != -EINVAL, "our own descriptor")
        return code == 0
    }

    /// Replaces what is listened to.
    public func modify(_ fd: Int32, token: UInt64, _ interest: Interest) {
        let code = clinux_epoll_modify(descriptor, fd, interest.rawValue | always, token)
        precondition(code == 0, "the descriptor was added")
    }

    /// Forgets `fd`. Called before it is closed: readiness already gathered may still be told once,
    /// so tokens carry a generation.
    public func remove(_ fd: Int32) {
        let code = clinux_epoll_remove(descriptor, fd)
        precondition(code == 0, "the descriptor was added")
    }

    static let mailboxToken = UInt64.max
    private var always: UInt32 { UInt32(CLINUX_PEER_CLOSED) }

    init(descriptor: Int32) { self.descriptor = descriptor }

    // MARK: Without a shard

    /// An epoll set for driving a handler's parts without a shard, in a fuzzer. Never closed.
    package init() {
        descriptor = clinux_epoll_create()
        precondition(descriptor >= 0, "no descriptor left")
    }

    /// Tells what is ready now.
    package func poll(_ body: (UInt64, Readiness) -> Void) {
        withUnsafeTemporaryAllocation(of: clinux_ready.self, capacity: 16) { ready in
            let count = clinux_epoll_wait(descriptor, ready.baseAddress, 16, 0)
            for index in 0..<max(0, Int(count)) {
                body(ready[index].token, Readiness(rawValue: ready[index].events))
            }
        }
    }
}
