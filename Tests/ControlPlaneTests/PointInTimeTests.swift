// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Going back to a commit that no snapshot names: by its number, or by the time when it was made.

import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing

@Suite("points in time")
struct PointInTimeTests {
    private let shared = SharedStore()

    private struct Point {
        let sequence: CommitSequence
        let seconds: UInt64
        let content: [UInt64]
    }

    /// A volume with a commit a minute, each with one write more.
    private func history(_ node: TestNode) throws -> [Point] {
        let volume = try node.make("prod", writes: [])
        var points: [Point] = []
        for number in 1...9 as ClosedRange<UInt64> {
            shared.clock.advance(seconds: 60)
            try node.host.write(number, to: volume)
            let done = try node.plane.drain("prod")
            points.append(
                Point(
                    sequence: done.sequence, seconds: done.labelSeconds,
                    content: Array(1...number)))
        }
        return points
    }

    private func fork(_ node: TestNode, _ name: String, _ source: String) throws -> [UInt64] {
        _ = try node.plane.put(name, PutRequest(source: try ForkSource(from: source)))
        return try node.content(name)
    }

    @Test("a fork takes any commit that is there, by number and by time")
    func forks() throws {
        let node = try TestNode("a", shared)
        for (index, point) in try history(node).enumerated() {
            #expect(try fork(node, "n\(index)", "prod@\(point.sequence)") == point.content)
            for (kind, later) in [("a", 0), ("b", 59)] as [(String, UInt64)] {
                let time = UTCTime.text(point.seconds + later)
                #expect(try fork(node, "\(kind)\(index)", "prod@\(time)") == point.content)
                #expect(
                    try fork(node, "s\(kind)\(index)", "snapshot:prod@\(time)") == point.content)
            }
        }
        // The same words again change nothing, whatever was written since.
        let request = PutRequest(source: try ForkSource(from: "prod@2999-01-01T00:00:00Z"))
        _ = try node.plane.put("late", request)
        try node.host.write(10, to: try node.plane.info("prod").volume)
        _ = try node.plane.drain("prod")
        #expect(try node.plane.put("late", request).outcome == .unchanged)
        #expect(try node.content("late") == Array(1...9))
    }

    @Test("a view and a rollback take them too; the state before is kept")
    func rollback() throws {
        let node = try TestNode("a", shared)
        let points = try history(node)
        let view = try node.plane.attach("prod@\(UTCTime.text(points[4].seconds + 1))")
        #expect(node.host.content(view.served) == points[4].content)
        #expect(view.served.snapshot == points[4].sequence)
        let reply = try node.plane.rollback("prod", to: UTCTime.text(points[2].seconds))
        #expect(try node.content("prod") == points[2].content)
        let kept = try #require(reply.keptSnapshot)
        #expect(try fork(node, "kept", "prod@\(kept)") == points[8].content)
        _ = try node.plane.rollback("prod", to: "\(points[6].sequence)")
        #expect(try node.content("prod") == points[6].content)
    }

    @Test("a time before all that is there is refused with the oldest, a gap is stepped over")
    func missing() throws {
        let node = try TestNode("a", shared)
        let points = try history(node)
        let volume = try node.plane.info("prod").volume
        let first = try #require(points.first)
        for point in points[1...3] {
            try shared.store.delete([CommitKey.key(volume, point.sequence)])
        }
        #expect(
            try fork(node, "gap", "prod@\(UTCTime.text(points[3].seconds + 1))") == first.content)
        // What `make` committed is older than the first point.
        for number in 1...first.sequence.rawValue {
            try shared.store.delete([CommitKey.key(volume, CommitSequence(number))])
        }
        let error = try failure {
            _ = try fork(node, "early", "prod@\(UTCTime.text(points[3].seconds))")
        }
        #expect(error.kind == .notFound)
        #expect(error.why.contains(UTCTime.text(points[4].seconds)), "\(error)")
        let gone = try failure { _ = try fork(node, "gone", "prod@\(points[2].sequence)") }
        #expect(gone.kind == .notFound)
        #expect(
            try failure { _ = try node.plane.rollback("prod", to: "yesterday") }.kind
                == .badRequest)
        // A manifest is what a ref names.
        #expect(
            try failure {
                _ = try node.plane.manifest(prefix: "snapshots", name: "prod@\(points[5].sequence)")
            }.kind == .notFound)
    }

    @Test("after a delete the name comes back from a point of its own history")
    func again() throws {
        let node = try TestNode("a", shared)
        let points = try history(node)
        try node.plane.delete("prod", purge: false)
        let time = UTCTime.text(points[5].seconds)
        #expect(try fork(node, "prod", "prod@\(time)") == points[5].content)
    }
}
