// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a `MemoryStore` can be told to do wrong: the faults that Martlet promises to survive, and no
// others.

/// The requests of a store.
public enum StoreOperation: String, CaseIterable, Sendable {
    case put, get, head, list, delete
}

/// One fault: which requests it hits, and what happens to them.
public struct StoreFault: Equatable, Sendable {
    public enum Effect: Equatable, Sendable {
        /// The request never arrives; the caller learns that the store is away.
        case away
        /// A PUT or DELETE is carried out, but the answer is lost.
        case replyLost
        /// A PUT's answer is lost, and it is carried out only after this many further requests, if
        /// its key is free then or it is to replace what is there: a packet that wandered.
        case late(afterRequests: Int)
        /// The store has too much to do and says so (429 or 503); the request changes nothing.
        case throttled
        /// Another conditional PUT of the key is under way (409); this one changes nothing.
        case conflict
        /// A PUT is carried out, its answer is lost, and the client asks again below the seam: the
        /// key exists (412), with the bytes of the very caller.
        case repeated
        case forbidden
        /// A read's answer has one byte inverted, at a random place.
        case flipped
        /// A read's answer ends early, and the client noticed.
        case short
    }

    public var effect: Effect
    /// Nil for every kind of request.
    public var operation: StoreOperation?
    public var keyPrefix: String
    /// Requests that match but are let through first.
    public var skipping: Int
    /// Requests hit before the fault is spent.
    public var times: Int

    public init(
        _ effect: Effect, operation: StoreOperation? = nil, keyPrefix: String = "",
        skipping: Int = 0, times: Int = 1
    ) {
        precondition(skipping >= 0 && times > 0)
        self.effect = effect
        self.operation = operation
        self.keyPrefix = keyPrefix
        self.skipping = skipping
        self.times = times
    }

    func matches(_ request: StoreOperation, _ key: String) -> Bool {
        if let operation, operation != request { return false }
        guard key.hasPrefix(keyPrefix) else { return false }
        switch effect {
        case .away, .forbidden, .throttled: return true
        case .replyLost: return request == .put || request == .delete
        case .late, .conflict, .repeated: return request == .put
        case .flipped, .short: return request == .get
        }
    }
}

/// A request as a `MemoryStore` recorded it.
public struct StoreRequest: Equatable, Sendable {
    public let operation: StoreOperation
    /// For a listing the prefix, for a delete the first key.
    public let key: String
    public let bytes: Int
    public let fault: StoreFault.Effect?
}
