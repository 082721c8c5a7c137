// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Objects in memory, and every fault of `StoreFault` on request: the store of tests and of the
// simulator. Deterministic if the order of calls is.

import Primitives
import Synchronization

/// The store. Thread-safe by one lock.
public final class MemoryStore: ObjectStore {
    public let url: String
    public let deleteBatchMax: Int
    private let state: Lock<State>
    private let latency: (@Sendable (StoreOperation, _ key: String, _ bytes: Int) -> Void)?

    private struct Late {
        let key: String
        let body: [UInt8]
        /// It takes the key from whatever is there.
        var isReplacement = false
        var requestsLeft: Int
    }

    private struct State {
        var objects: [String: [UInt8]]
        /// The keys of `objects`, sorted.
        var keys: [String]
        var creations: UInt64 = 0
        var faults: [StoreFault] = []
        var randomFaults: [(fault: StoreFault, perMille: UInt64)] = []
        var late: [Late] = []
        var isAway = false
        var dateSeconds: UInt64?
        /// Keys of objects that reads do not find.
        var hidden: Set<String> = []
        /// Keys of objects of which reads find so many bytes.
        var truncated: [String: Int] = [:]
        var fingerprint: UInt64 = 0
        var random: SplitMix64
        var requests: [StoreRequest] = []
        var isRecording = false
        var counts = StoreCounts()
    }

    /// `latency` is called before every request, outside of the lock: it may sleep, or run other
    /// calls.
    public init(
        seed: UInt64 = 1, url: String = "memory:", objects: [String: [UInt8]] = [:],
        deleteBatchMax: Int = 1,
        latency: (@Sendable (StoreOperation, _ key: String, _ bytes: Int) -> Void)? = nil
    ) {
        precondition(deleteBatchMax >= 1)
        self.url = url
        self.deleteBatchMax = deleteBatchMax
        self.latency = latency
        state = Lock(
            State(
                objects: objects, keys: objects.keys.sorted(), random: SplitMix64(seed: seed)))
    }

    // MARK: Faults

    /// Adds a fault. Of several that match a request, the oldest hits.
    public func inject(_ fault: StoreFault) { state.withLock { $0.faults.append(fault) } }

    /// Hits every matching request with a probability; `skipping` and `times` of the fault are
    /// ignored.
    public func injectAtRandom(_ fault: StoreFault, perMille: UInt64) {
        state.withLock { $0.randomFaults.append((fault, perMille)) }
    }

    /// Ends all faults. Late requests are still to come.
    public func heal() {
        state.withLock {
            $0.faults = []
            $0.randomFaults = []
            $0.isAway = false
            $0.hidden = []
            $0.truncated = [:]
        }
    }

    /// Whether every request finds the store away.
    public func setAway(_ isAway: Bool) { state.withLock { $0.isAway = isAway } }

    /// The date that the store tells; nil, the first value: none.
    public func setDate(_ seconds: UInt64?) { state.withLock { $0.dateSeconds = seconds } }

    /// Carries out all late PUTs now.
    public func landLate() {
        state.withLock { state in
            for late in state.late { Self.land(late, &state) }
            state.late = []
        }
    }

    /// Inverts one byte of a stored object.
    public func rot(_ key: String, at offset: Int) {
        state.withLock { state in
            precondition(state.objects[key] != nil, "no object \(key)")
            state.objects[key]?[offset] ^= 0xFF
        }
    }

    /// GET and HEAD do not find the object until `heal`.
    public func hide(_ key: String) { state.withLock { _ = $0.hidden.insert(key) } }

    /// GET and HEAD find the first `count` bytes of the object, as if it had no more, until `heal`.
    public func truncate(_ key: String, to count: Int) {
        precondition(count >= 0)
        state.withLock { $0.truncated[key] = count }
    }

    // MARK: Observation

    /// All objects as they are.
    public var objects: [String: [UInt8]] { state.withLock { $0.objects } }

    /// The keys with a prefix, sorted.
    public func keys(prefix: String) -> [String] {
        state.withLock { state in
            state.keys[Self.place(of: prefix, in: state.keys)...]
                .prefix { $0.hasPrefix(prefix) }.map { $0 }
        }
    }

    /// One object as it is. Nil if there is none.
    public func object(_ key: String) -> [UInt8]? { state.withLock { $0.objects[key] } }

    /// Nil if there is no such object.
    public func byteCount(of key: String) -> Int? { state.withLock { $0.objects[key]?.count } }

    /// How many objects were ever created.
    public var creations: UInt64 { state.withLock { $0.creations } }

    public var counts: StoreCounts { state.withLock { $0.counts } }

    /// A hash over every request, what it sent, and the fault that hit it, in order: equal for
    /// equal histories, in any process.
    public var fingerprint: UInt64 { state.withLock { $0.fingerprint } }

    /// Starts (emptying it) or stops the record of requests.
    public func record(_ isOn: Bool) {
        state.withLock {
            $0.isRecording = isOn
            if isOn { $0.requests = [] }
        }
    }

    public var requests: [StoreRequest] { state.withLock { $0.requests } }

    // MARK: Requests

    /// Counts the request, lands what is late, and picks the fault that hits it.
    private static func begin(
        _ operation: StoreOperation, _ key: String, bytes: Int, _ state: inout State
    ) throws(ObjectStoreError) -> StoreFault.Effect? {
        for index in state.late.indices { state.late[index].requestsLeft -= 1 }
        for late in state.late where late.requestsLeft <= 0 {
            land(late, &state)
        }
        state.late.removeAll { $0.requestsLeft <= 0 }

        let effect = state.isAway ? .away : pickFault(operation, key, &state)
        state.fingerprint = Fingerprint.of(operation.rawValue, after: state.fingerprint)
        state.fingerprint = Fingerprint.of(key, after: state.fingerprint)
        state.fingerprint ^= UInt64(bytes) << 1 | (effect == nil ? 0 : 1)
        if state.isRecording {
            state.requests.append(
                StoreRequest(operation: operation, key: key, bytes: bytes, fault: effect))
        }
        if effect != nil { state.counts.failures += 1 }
        switch effect {
        case .away: throw .away(key: key, detail: "injected")
        case .throttled: throw .away(key: key, detail: "injected: SlowDown (HTTP status 429)")
        case .conflict:
            throw .away(
                key: key, detail: "injected: ConditionalRequestConflict (HTTP status 409)")
        case .forbidden: throw .forbidden(key: key, detail: "injected")
        default: return effect
        }
    }

    private static func pickFault(
        _ operation: StoreOperation, _ key: String, _ state: inout State
    ) -> StoreFault.Effect? {
        for index in state.faults.indices where state.faults[index].matches(operation, key) {
            if state.faults[index].skipping > 0 {
                state.faults[index].skipping -= 1
                continue
            }
            let effect = state.faults[index].effect
            state.faults[index].times -= 1
            if state.faults[index].times == 0 { state.faults.remove(at: index) }
            return effect
        }
        for (fault, perMille) in state.randomFaults where fault.matches(operation, key) {
            if state.random.next(below: 1000) < perMille { return fault.effect }
        }
        return nil
    }

    private static func land(_ late: Late, _ state: inout State) {
        if late.isReplacement {
            overwrite(late.key, late.body, &state)
        } else {
            create(late.key, late.body, &state)
        }
    }

    private static func overwrite(_ key: String, _ body: [UInt8], _ state: inout State) {
        if create(key, body, &state) == .exists { state.objects[key] = body }
    }

    @discardableResult
    private static func create(_ key: String, _ body: [UInt8], _ state: inout State) -> PutOutcome {
        guard state.objects[key] == nil else { return .exists }
        state.objects[key] = body
        state.creations += 1
        state.keys.insert(key, at: place(of: key, in: state.keys))
        return .created
    }

    /// The first index whose key is not below `key`.
    private static func place(of key: String, in keys: [String]) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    public func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        try ObjectKey.check(key)
        latency?(.put, key, body.count)
        let bytes = [UInt8](body)
        return try state.withLock { state throws(ObjectStoreError) in
            state.counts.puts += 1
            state.fingerprint = XXH3.hash(body, seed: state.fingerprint)
            state.counts.bytesSent += UInt64(bytes.count)
            switch try Self.begin(.put, key, bytes: bytes.count, &state) {
            case .replyLost:
                Self.create(key, bytes, &state)
                throw .away(key: key, detail: "injected: carried out, answer lost")
            case .late(let count):
                state.late.append(Late(key: key, body: bytes, requestsLeft: max(1, count)))
                throw .away(key: key, detail: "injected: carried out later")
            case .repeated:
                Self.create(key, bytes, &state)
                return .exists
            default: return Self.create(key, bytes, &state)
            }
        }
    }

    public func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try ObjectKey.check(key)
        latency?(.put, key, body.count)
        let bytes = [UInt8](body)
        try state.withLock { state throws(ObjectStoreError) in
            state.counts.puts += 1
            state.fingerprint = XXH3.hash(body, seed: state.fingerprint)
            state.counts.bytesSent += UInt64(bytes.count)
            switch try Self.begin(.put, key, bytes: bytes.count, &state) {
            case .replyLost:
                Self.overwrite(key, bytes, &state)
                throw .away(key: key, detail: "injected: carried out, answer lost")
            case .late(let count):
                state.late.append(
                    Late(key: key, body: bytes, isReplacement: true, requestsLeft: max(1, count)))
                throw .away(key: key, detail: "injected: carried out later")
            default: Self.overwrite(key, bytes, &state)
            }
        }
    }

    /// Common to the reads: finds the object and cuts `range` out of it; `nil` range if refused.
    private func read(
        _ key: String, bytes: Int,
        _ range: (_ size: Int) throws(ObjectStoreError) -> Range<Int>
    ) throws(ObjectStoreError) -> [UInt8] {
        try ObjectKey.check(key)
        latency?(.get, key, bytes)
        return try state.withLock { state throws(ObjectStoreError) in
            state.counts.gets += 1
            let effect = try Self.begin(.get, key, bytes: bytes, &state)
            guard let object = state.objects[key], !state.hidden.contains(key) else {
                throw .notFound(key: key)
            }
            let size = min(object.count, state.truncated[key] ?? object.count)
            var answer = Array(object[try range(size)])
            switch effect {
            case .short: throw .damaged(key: key, detail: "injected: the answer ended early")
            case .flipped where !answer.isEmpty:
                let place = Int(state.random.next(below: UInt64(answer.count)))
                answer[place] ^= UInt8(1 << state.random.next(below: 8))
            default: break
            }
            state.counts.bytesReceived += UInt64(answer.count)
            return answer
        }
    }

    public func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try read(key, bytes: limit) { size throws(ObjectStoreError) in
            guard size <= limit else {
                throw .refused(key: key, detail: "the object is larger than \(limit) bytes")
            }
            return 0..<size
        }
    }

    public func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let count = buffer.count
        let bytes = try read(key, bytes: count) { size throws(ObjectStoreError) in
            guard offset <= UInt64(size), UInt64(count) <= UInt64(size) - offset else {
                throw .damaged(key: key, detail: "the object ends at \(size)")
            }
            return Int(offset)..<Int(offset) + count
        }
        buffer.copyBytes(from: bytes)
    }

    public func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        precondition(count >= 0)
        return try read(key, bytes: count) { size throws(ObjectStoreError) in
            max(0, size - count)..<size
        }
    }

    public func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        try ObjectKey.check(key)
        latency?(.head, key, 0)
        return try state.withLock { state throws(ObjectStoreError) in
            state.counts.heads += 1
            _ = try Self.begin(.head, key, bytes: 0, &state)
            guard !state.hidden.contains(key) else { return nil }
            return state.objects[key].map {
                UInt64(min($0.count, state.truncated[key] ?? $0.count))
            }
        }
    }

    public func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        precondition((1...1000).contains(limit))
        try ObjectKey.check(prefix: prefix)
        latency?(.list, prefix, 0)
        return try state.withLock { state throws(ObjectStoreError) in
            state.counts.lists += 1
            _ = try Self.begin(.list, prefix, bytes: 0, &state)
            var index = Self.place(of: max(prefix, after ?? ""), in: state.keys)
            if let after, index < state.keys.count, state.keys[index] == after { index += 1 }
            var entries: [ListPage.Entry] = []
            while index < state.keys.count, state.keys[index].hasPrefix(prefix) {
                let key = state.keys[index]
                if entries.count == limit {
                    return ListPage(entries: entries, isTruncated: true)
                }
                entries.append(.init(key: key, bytes: UInt64(state.objects[key]?.count ?? 0)))
                index += 1
            }
            return ListPage(entries: entries, isTruncated: false)
        }
    }

    public func delete(_ keys: [String]) throws(ObjectStoreError) {
        for key in keys { try ObjectKey.check(key) }
        guard let first = keys.first else { return }
        latency?(.delete, first, keys.count)
        try state.withLock { state throws(ObjectStoreError) in
            state.counts.deletes += UInt64(keys.count)
            let effect = try Self.begin(.delete, first, bytes: 0, &state)
            for key in keys where state.objects.removeValue(forKey: key) != nil {
                state.keys.remove(at: Self.place(of: key, in: state.keys))
            }
            if effect == .replyLost {
                throw .away(key: first, detail: "injected: carried out, answer lost")
            }
        }
    }

    public func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        latency?(.head, "", 0)
        return try state.withLock { state throws(ObjectStoreError) in
            state.counts.heads += 1
            _ = try Self.begin(.head, "", bytes: 0, &state)
            return state.dateSeconds
        }
    }
}
