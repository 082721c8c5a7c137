// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet bench store`: how fast this host reaches its store, with the client that volumes use.
// Objects of random bytes go up, come down whole and in pieces, and are removed.

import ControlPlane
import Documents
import HostIO
import ObjectStore
public import Primitives
import Shard
import Synchronization

public struct StoreBenchOptions: Sendable {
    public var objectBytes = 4 << 20
    public var objects = 32
    /// Bytes of each of the small reads.
    public var pieceBytes = 128 << 10
    public var pieces = 512
    /// Requests under way at one time.
    public var threads = 4

    public init() {}
}

/// What was measured.
public struct StoreBenchReport: Sendable {
    public let lines: [String]
    public let json: String
}

public struct StoreBench: Sendable {
    private static let what = "cannot measure the store"
    private static let clock = SystemClock()

    private let store: OfflineStore
    private let options: StoreBenchOptions
    private let prefix: String

    /// Runs all phases; what was made is removed, also after a failure.
    public static func run(
        _ configuration: Configuration, _ options: StoreBenchOptions
    ) throws(UserError) -> StoreBenchReport {
        var random = SystemRandom()
        var configuration = configuration
        // The measure says how many; the caps of the daemon are not what is measured.
        configuration.storage.maxUploads = Int64(options.threads)
        configuration.storage.maxDownloads = Int64(options.threads)
        let bench = StoreBench(
            store: try OfflineSource.store(configuration, what), options: options,
            prefix: "probe/bench-\(Token.random(from: &random))/")
        let keys = (0..<options.objects).map { "\(bench.prefix)\($0)" }
        defer { try? bench.store.delete(keys) }
        do throws(ObjectStoreError) { return try bench.measure(keys) } catch {
            throw UserError(what, error)
        }
    }

    private struct Phase {
        let name: String
        let bytes: Int
        let nanoseconds: [UInt64]
        let wallNanoseconds: UInt64

        private func microseconds(_ perMille: Int) -> UInt64 {
            let sorted = nanoseconds.sorted()
            return sorted[min(sorted.count - 1, sorted.count * perMille / 1000)] / 1000
        }

        var kibPerSecond: UInt64 {
            UInt64(bytes * nanoseconds.count) * 1_000_000_000 / max(1, wallNanoseconds) / 1024
        }

        var value: JSONValue {
            .object([
                "requests": .number(UInt64(nanoseconds.count)), "bytes": .number(UInt64(bytes)),
                "kib_per_s": .number(kibPerSecond), "p50_us": .number(microseconds(500)),
                "p99_us": .number(microseconds(990)),
            ])
        }

        var line: String {
            "\(name): \(kibPerSecond / 1024) MiB/s, "
                + "\(nanoseconds.count) requests of \(bytes) bytes, "
                + "median \(microseconds(500)) us, 99 % \(microseconds(990)) us"
        }
    }

    private func measure(_ keys: [String]) throws(ObjectStoreError) -> StoreBenchReport {
        var random = SplitMix64(seed: Self.clock.now.nanoseconds)
        let body = (0..<options.objectBytes / 8).flatMap { _ in
            withUnsafeBytes(of: random.next()) { Array($0) }
        }
        // The first request opens a connection and finds the credentials: not measured.
        _ = try store.head(keys[0])
        let bytes = body.count
        let store = store
        let put = try phase("put", bytes, keys.count) { index throws(ObjectStoreError) in
            _ = try store.putIfAbsent(keys[index], body)
        }
        let get = try phase("get", bytes, keys.count) { index throws(ObjectStoreError) in
            try Self.read(store, keys[index], at: 0, count: bytes)
        }
        let piece = min(options.pieceBytes, bytes)
        let places = bytes / piece
        let pieces = try phase("range", piece, options.pieces) { index throws(ObjectStoreError) in
            try Self.read(
                store, keys[index % keys.count], at: UInt64(index / keys.count % places * piece),
                count: piece)
        }
        let phases = [put, get, pieces]
        let members =
            phases.map { ($0.name, $0.value) } + [
                ("url", JSONValue.string(store.url)),
                ("threads", JSONValue.number(UInt64(options.threads))),
            ]
        return StoreBenchReport(
            lines: phases.map(\.line),
            json: JSONValue.object(Dictionary(uniqueKeysWithValues: members)).text)
    }

    private static func read(
        _ store: OfflineStore, _ key: String, at offset: UInt64, count: Int
    ) throws(ObjectStoreError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        defer { buffer.deallocate() }
        try store.get(key, at: offset, into: buffer)
    }

    /// Runs numbered requests on all threads; the first failure is thrown at the end.
    private func phase(
        _ name: String, _ bytes: Int, _ count: Int,
        _ request: @escaping @Sendable (Int) throws(ObjectStoreError) -> Void
    ) throws(ObjectStoreError) -> Phase {
        let pool = WorkerPool(threads: options.threads, name: "bench")
        let start = Self.clock.now
        let run = PhaseRun(count: count, request: request)
        for _ in 0..<options.threads { pool.submit { run.work(Self.clock) } }
        pool.stop()
        let wall = Self.clock.now.nanoseconds(since: start)
        return Phase(
            name: name, bytes: bytes, nanoseconds: try run.times(), wallNanoseconds: wall)
    }
}

/// One phase's requests, shared by its threads.
private final class PhaseRun: Sendable {
    private let count: Int
    private let request: @Sendable (Int) throws(ObjectStoreError) -> Void
    /// Relaxed: only uniqueness matters.
    private let next = Atomic<Int>(0)
    private let state = Lock<(times: [UInt64], failure: ObjectStoreError?)>(([], nil))

    init(count: Int, request: @escaping @Sendable (Int) throws(ObjectStoreError) -> Void) {
        self.count = count
        self.request = request
    }

    func work(_ clock: SystemClock) {
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count, state.withLock({ $0.failure == nil }) else { return }
            let start = clock.now
            do throws(ObjectStoreError) { try request(index) } catch {
                state.withLock { $0.failure = error }
                return
            }
            let time = clock.now.nanoseconds(since: start)
            state.withLock { $0.times.append(time) }
        }
    }

    func times() throws(ObjectStoreError) -> [UInt64] {
        let (times, failure) = state.withLock { ($0.times, $0.failure) }
        if let failure { throw failure }
        return times
    }
}
