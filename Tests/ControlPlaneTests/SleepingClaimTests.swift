// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Whoever fences a volume may sleep in front of any of its requests, while the writer goes on and a
// collector frees the very number that the fence takes.

import Documents
import Formats
import ObjectStore
import Primitives
import Testing

@testable import ControlPlane

@Suite("Claims that slept")
struct SleepingClaimTests {
    /// Two nodes on one store, the first of which has published to a volume.
    private final class Pair {
        let shared = SharedStore()
        let first: TestNode
        let second: TestNode
        let volume: VolumeID
        /// The number behind the head: what a fence would take now.
        let next: CommitKey
        /// What the first node wrote and published.
        private(set) var writes: [UInt64] = [1]

        init() throws {
            first = try TestNode("a", shared)
            second = try TestNode("b", shared, seed: 2)
            volume = try first.make("prod", writes: [1])
            _ = try first.plane.drain("prod")
            next = CommitKey(volume: volume, sequence: try shared.head(of: volume).sequence.next)
        }

        /// In front of the request number `point` that `body` makes, the first node publishes three
        /// times if it still can, and the number is collected. False if `body` makes fewer.
        func sleep(before point: Int, _ body: () throws -> Void) throws -> Bool {
            let box = UncheckedBox(self)
            shared.interrupt(after: point) { box.value.goOn() }
            try body()
            return !shared.endInterruption()
        }

        private func goOn() {
            for value in 2..<5 as Range<UInt64> {
                guard (try? first.host.write(value, to: volume)) != nil,
                    (try? first.plane.drain("prod")) != nil
                else { return }
                writes.append(value)
            }
            try? shared.store.delete([next.key])
        }

        /// The commits that are there, the newest first.
        var commits: [String] { shared.store.keys(prefix: CommitKey.prefix(of: volume)) }
    }

    @Test("a claim that slept while its number was taken and collected takes the newest state")
    func claim() throws {
        var wasFree = 0
        for point in 0..<16 {
            let pair = try Pair()
            let slept = try pair.sleep(before: point) {
                _ = try pair.second.plane.open("prod", force: true)
            }
            guard slept else { continue }
            if !pair.commits.contains(pair.next.key) { wasFree += 1 }
            let before = pair.writes
            #expect(try pair.second.content("prod") == before, "at request \(point)")
            let head = try pair.shared.head(of: pair.volume)
            #expect(head.isFence && pair.commits.first == head.key.key)
            try pair.second.host.write(5, to: pair.volume)
            _ = try pair.second.plane.drain("prod")
            let after = try pair.shared.head(of: pair.volume)
            #expect(pair.shared.content(of: after) == before + [5])
        }
        #expect(wasFree > 2)
    }

    @Test(
        "a purge or a detach that slept while its number was taken and collected ends the volume",
        arguments: [true, false])
    func end(purges: Bool) throws {
        var wasFree = 0
        for point in 0..<16 {
            let pair = try Pair()
            let slept = try pair.sleep(before: point) {
                try pair.second.plane.delete("prod", purge: purges)
            }
            guard slept else { continue }
            if !pair.commits.contains(pair.next.key) { wasFree += 1 }
            let head = try pair.shared.head(of: pair.volume)
            #expect(head.state == (purges ? .deleted : .clean) && head.isFence)
            #expect(pair.commits.first == head.key.key, "at request \(point)")
            if !purges { #expect(pair.shared.content(of: head) == pair.writes) }
        }
        #expect(wasFree > 0)
    }
}
