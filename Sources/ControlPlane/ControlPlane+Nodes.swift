// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Beats say who serves what, and the end of a node's service. Beats decide convenience only: they
// let a claim be refused with the name of the host to look at. Safety is the epoch alone, whatever
// the clocks.

import Documents
import Formats
import ObjectStore
public import Primitives
import Synchronization

/// Beats that were read, by key: a beat never changes. And the number of our own newest.
final class BeatBook: Sendable {
    struct State {
        var read: [String: NodeBeat] = [:]
        /// Nil until the store was asked.
        var own: UInt64?
        /// What that beat says.
        var told: Set<VolumeID> = []
    }
    let state = Lock(State())
    /// One beat at a time.
    let writing = NameLocks<String>()
}

extension ControlPlane {
    /// Says in the store what this node serves for writing; takes that back when it is nothing.
    /// Call every minute or so. A claim is told of by the next beat, so that a volume whose host
    /// died young can be taken over unforced. A node whose volumes have no client and nothing
    /// unpublished asks nothing of the store: its beat goes stale, and nobody's write is at risk.
    public func beat() throws(UserError) {
        try beats.writing.withLock(["beat"]) { () throws(UserError) in
            try writeBeat("cannot say what this node serves")
        }
    }

    private func writeBeat(_ what: String) throws(UserError) {
        let refs = refs(what)
        let series = RefSeries.node(configuration.node)
        let writers = table.writers.map(\.served)
        let volumes = writers.map(\.volume)
        let (known, told) = beats.state.withLock { ($0.own, $0.told) }
        if known == 0, volumes.isEmpty { return }
        if known != nil, told == Set(volumes), writers.allSatisfy(isQuiet) { return }
        var last = known ?? 0
        var old: [String] = []
        if known == nil {
            old = try refs.keys(prefix: series.prefix)
            last = old.first.flatMap { series.number(of: $0) } ?? 0
        }
        if !volumes.isEmpty {
            repeat {
                last += 1
            } while try !refs.append(
                NodeBeat(
                    node: configuration.node, number: last, address: configuration.address,
                    labelSeconds: clock.wallSeconds, volumes: volumes))
        }
        // A number that was taken is an earlier try of ours, whose answer was lost.
        if let known, known > 0 { old = (known..<max(last, known + 1)).map { series.key($0) } }
        try refs.delete(old)
        let own = volumes.isEmpty ? 0 : last
        beats.state.withLock {
            $0.own = own
            $0.told = Set(volumes)
        }
    }

    private func isQuiet(_ served: ServedVolume) -> Bool {
        guard let status = host.status(served) else { return true }
        return status.writers == 0 && status.unpublishedBytes == 0
    }

    /// The other node whose newest beat says that it serves the volume now, with its address.
    func liveServer(of volume: VolumeID) throws(UserError) -> String? {
        let known = beats.state.withLock { $0.read }
        let look = BeatLook(
            now: clock.wallSeconds, staleSeconds: configuration.beatStaleSeconds,
            except: configuration.node)
        let (server, seen) = try look.server(
            of: volume, refs("cannot see who serves the volume \(volume)"), known: known)
        beats.state.withLock { $0.read = seen }
        return server
    }

    // MARK: All volumes at once

    /// Commits every volume that runs for writing. Names and reasons of those that failed.
    public func drainAll(run: JobRunner = sequentially) -> [String: UserError] {
        let failed = Lock<[String: UserError]>([:])
        run(
            table.writers.map { name, served in
                {
                    do throws(UserError) {
                        _ = try self.host.commitAll(
                            served.volume, reason: .drain, deadline: self.commitDeadline)
                    } catch { failed.withLock { $0[name.text] = error } }
                }
            })
        return failed.withLock { $0 }
    }

    /// Closes every volume cleanly; what the store has not taken by `deadline` is left open, its
    /// journal kept. Call when no more requests come.
    public func shutdown(
        deadline: Instant, run: JobRunner = sequentially
    ) -> ShutdownReport {
        let report = Lock(ShutdownReport())
        run(
            table.writers.map { name, served in
                {
                    do throws(UserError) {
                        try self.locks.withLock([name]) { () throws(UserError) in
                            try self.host.detach(served, clean: true, deadline: deadline)
                            self.table.setAttachment(nil, of: name)
                        }
                        report.withLock { $0.clean.append(name.text) }
                    } catch {
                        report.withLock { $0.left[name.text] = error }
                    }
                }
            })
        for name in table.refs.map(\.name) { endView(of: name) }
        // Nobody waits for a beat that goes stale by itself.
        try? beat()
        return report.withLock { report in
            report.clean.sort()
            return report
        }
    }
}
