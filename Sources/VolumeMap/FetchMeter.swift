// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a fetcher asked the store for.

internal import Synchronization

/// Counts of requests and bytes; any thread may add. Relaxed: nothing is ordered by a count.
package final class FetchMeter: Sendable {
    private let requests = Atomic<Int>(0)
    private let received = Atomic<Int>(0)
    private let nodesRead = Atomic<Int>(0)
    private let pagesRead = Atomic<Int>(0)

    package init() {}

    package var gets: Int { requests.load(ordering: .relaxed) }
    package var bytes: Int { received.load(ordering: .relaxed) }
    package var nodes: Int { nodesRead.load(ordering: .relaxed) }
    package var pages: Int { pagesRead.load(ordering: .relaxed) }

    func addGet(bytes: some BinaryInteger) {
        requests.add(1, ordering: .relaxed)
        received.add(Int(bytes), ordering: .relaxed)
    }

    func addNode() { nodesRead.add(1, ordering: .relaxed) }

    func addPage() { pagesRead.add(1, ordering: .relaxed) }
}
