// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The frames of a stack come in one round trip, and never more requests are under way than the
// threads of the pool that spreads them.

import CleanCache
import Formats
import Glibc
import ObjectStore
import Primitives
import Shard
import Synchronization
import TestSupport
import Testing

@testable import VolumeMap

/// Counts GETs of packs that are under way. While it is armed, each waits a while for the others.
private final class Rendezvous: Sendable {
    private struct State {
        var isArmed = false
        var wanted = 0
        var underWay = 0
        var most = 0
        var gets = 0
    }
    private let state = Lock(State())

    func arm(wanted: Int) {
        state.withLock { $0 = State(isArmed: true, wanted: wanted) }
    }

    var gets: Int { state.withLock { $0.gets } }
    var most: Int { state.withLock { $0.most } }

    func pass(_ operation: StoreOperation) {
        guard operation == .get else { return }
        let isArmed = state.withLock { state in
            state.gets += 1
            state.underWay += 1
            state.most = max(state.most, state.underWay)
            return state.isArmed
        }
        // Long enough for the others to come, if they are let.
        for _ in 0..<2_000 where isArmed && state.withLock({ $0.most < $0.wanted }) {
            usleep(1_000)
        }
        if isArmed && state.withLock({ $0.wanted }) == 0 { usleep(20_000) }
        state.withLock { $0.underWay -= 1 }
    }
}

@Suite("Fetching side by side")
struct ParallelFetchTests {
    /// A block of four frames in four packs, behind a rendezvous. What it reads as.
    private func bench(
        _ rendezvous: Rendezvous
    ) throws -> (client: MapClient, root: Root, content: [UInt8]) {
        let store = MemoryStore(latency: { operation, _, _ in rendezvous.pass(operation) })
        var bench = MapBench(packs: 4, store: store)
        bench.put(7)
        var content = bench.content(7)
        for layer in 1...3 {
            bench.putDelta(7, grain: layer, from: UInt64(layer), pack: layer)
            content.replaceSubrange(
                (layer * 4096)..<((layer + 1) * 4096), with: bench.content(UInt64(layer))[..<4096])
        }
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: store, root: root)
        try client.fetcher.bringMap(for: blocks([7]), of: root)
        return (client, root, content)
    }

    private func makeFetcher(_ client: MapClient, _ pool: WorkerPool) -> MapFetcher<MemoryStore> {
        MapFetcher(store: client.store, cache: client.cache) { pool.spread($0, $1) }
    }

    @Test("four frames in four packs are four GETs under way at once")
    func oneRoundTrip() throws {
        let rendezvous = Rendezvous()
        let (client, root, content) = try bench(rendezvous)
        let pool = WorkerPool(threads: 4, name: "fetch")
        defer { pool.stop() }
        rendezvous.arm(wanted: 4)
        try makeFetcher(client, pool).bring(blocks([7]), of: root)
        #expect(rendezvous.gets == 4 && rendezvous.most == 4)
        #expect(client.isCached(7, content))
    }

    @Test("the pool's threads bound the GETs of several fetches together", arguments: [1, 2, 3])
    func bounded(threads: Int) throws {
        let rendezvous = Rendezvous()
        let pool = WorkerPool(threads: threads, name: "fetch")
        let benches = try (0..<4).map { _ in try bench(rendezvous) }
        rendezvous.arm(wanted: 0)
        let failures = Lock(0)
        for bench in benches {
            let fetcher = makeFetcher(bench.client, pool)
            let root = bench.root
            pool.submit {
                do { try fetcher.bring([BlockIndex(7)], of: root) } catch {
                    failures.withLock { $0 += 1 }
                }
            }
        }
        pool.stop()
        #expect(failures.withLock { $0 } == 0)
        #expect(rendezvous.gets == 16 && rendezvous.most <= threads)
        for bench in benches { #expect(bench.client.isCached(7, bench.content)) }
    }

    @Test("a store that is away ends the fetch, and the next one brings everything")
    func away() throws {
        let (client, root, content) = try bench(Rendezvous())
        let pool = WorkerPool(threads: 4, name: "fetch")
        defer { pool.stop() }
        client.store.inject(StoreFault(.away, operation: .get, skipping: 2))
        let error = #expect(throws: FetchError.self) {
            try makeFetcher(client, pool).bring(blocks([7]), of: root)
        }
        #expect(error?.isRetryable == true && !client.isCached(7, content))
        try makeFetcher(client, pool).bring(blocks([7]), of: root)
        #expect(client.isCached(7, content))
    }

    @Test("a damaged frame of a stack is an error, and a block beside it comes")
    func damaged() throws {
        var bench = MapBench(packs: 2)
        bench.put(1)
        bench.put(2)
        bench.putDelta(2, grain: 0, from: 9, pack: 1)
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        let pool = WorkerPool(threads: 2, name: "fetch")
        defer { pool.stop() }
        let key = try #require(bench.store.objects.keys.sorted().last)
        bench.store.rot(key, at: 4200)
        let error = #expect(throws: FetchError.self) {
            try makeFetcher(client, pool).bring(blocks([1, 2]), of: root)
        }
        #expect(error?.isRetryable == false)
        #expect(client.isCached(1, bench.content(1)) && !client.isCached(2, bench.content(2)))
    }
}
