// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What changed in a read-only view since an older snapshot, for clients that ask for
// `qemu:dirty-bitmap:<snapshot>`: read from the tables of both commits when the first client comes,
// and kept for the next ones. Both commits are immutable, and so is what was found.

import BlockDevice
import Documents
import Formats
import HostIO
import ImageTools
import ObjectStore
import Primitives
import Shard
import Synchronization

final class ChangeDirectory: Sendable {
    private struct Known {
        let commits: [Token]
        let map: ChangeMap
    }

    private let parts: HostParts
    /// A look that goes on for long ends with the daemon.
    private let stop: StopFlag
    /// The newest last.
    private let known = Lock<[Known]>([])

    /// Each at most 16 MiB.
    private static let knownMax = 8

    init(parts: HostParts, stop: StopFlag) {
        self.parts = parts
        self.stop = stop
    }

    /// What the commit `sequence` of an export's history has that snapshot `since` has not. Blocks:
    /// for control threads.
    func changes(
        of export: String, _ sequence: CommitSequence, volume: VolumeID, since: String
    ) throws(UserError) -> ChangeMap {
        let what = "cannot tell what changed in \(export)@\(sequence) since \(since.prefix(140))"
        var random = SystemRandom()
        let sources = ExportSources(
            store: parts.store, node: RefName(parts.facts.machineID), what: what)
        let source = try sources.open("\(export)@\(sequence)", since: since, random: &random)
        defer { sources.close(source) }
        guard source.commit.volume == volume, let base = source.base else {
            throw UserError(
                .conflict, what: what, why: "\(export)@\(sequence) means another commit by now",
                remedy: "connect again")
        }
        let commits = [source.commit.token, base.token]
        if let found = known.withLock({ $0.first { $0.commits == commits } }) { return found.map }
        do throws(ExportError) {
            let ranges = try ChangedBytes.ranges(
                of: source, from: parts.store,
                spread: { [fetch = parts.hands.fetch] in fetch.spread($0, $1) },
                isWanted: { [stop] in !stop.isSet })
            let map = ChangeMap(size: source.commit.size, ranges: ranges)
            known.withLock { known in
                if known.count == Self.knownMax { known.removeFirst() }
                known.append(Known(commits: commits, map: map))
            }
            return map
        } catch { throw error.userError(what) }
    }
}
