// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Snapshots that go because they are old. The one deletion that a wrong clock would make wrong, so
// it is the one that asks two clocks, and does not happen where they disagree.

import ControlPlane
public import Documents
import Formats
import ObjectStore
public import Primitives

public struct ExpiryReport: Equatable, Sendable {
    public struct Snapshot: Equatable, Sendable {
        public let name: RefName
        public let sequence: UInt64
    }

    /// Those that are gone, or would be; by name, oldest first.
    public var expired: [Snapshot]
    public var kept: Int

    public init(expired: [Snapshot] = [], kept: Int = 0) {
        self.expired = expired
        self.kept = kept
    }
}

extension Collector {
    /// Seconds that this host's clock may differ from the store's.
    public static var clockDifferenceSecondsMax: UInt64 { 300 }

    /// Deletes the refs of snapshots that are older than `age` seconds, but never the newest of a
    /// name. Fails, before anything is deleted, if this host's clock is more than
    /// `clockDifferenceSecondsMax` away from the store's date; a store without a date of its own
    /// has this host's clock.
    ///
    /// A snapshot is as old as its commit's label says, and no older than the one before it: a
    /// host whose clock was behind cannot make it older than it is. A label from the future says
    /// nothing, and such a snapshot stays until that time has come.
    public static func expireSnapshots(
        olderThan age: UInt64, isDryRun: Bool, in store: Store, clock: Time
    ) throws(UserError) -> ExpiryReport {
        let refs = RefStore(store: store, what: "cannot delete old snapshots")
        guard let _: Repository = try refs.find(RefKey.repository.text) else {
            throw refs.noRepository
        }
        let now = try trustedSeconds(refs, clock)
        let snapshots = try refs.snapshots(below: RefKey.snapshotsPrefix)
        var report = ExpiryReport()
        var keys: [String] = []
        var dated: UInt64 = 0
        for (index, snapshot) in snapshots.enumerated() {
            let name = snapshot.name
            if index == 0 || snapshots[index - 1].name != name { dated = 0 }
            let isNewest = index + 1 == snapshots.count || snapshots[index + 1].name != name
            let label = snapshot.commit.labelSeconds
            if label <= now { dated = max(dated, label) }
            guard !isNewest, label <= now, now - dated > age else {
                report.kept += 1
                continue
            }
            report.expired.append(
                ExpiryReport.Snapshot(name: name, sequence: snapshot.commit.sequence.rawValue))
            keys.append(RefKey.snapshot(name, snapshot.commit.sequence).text)
        }
        if !isDryRun {
            for start in stride(from: 0, to: keys.count, by: 1000) {
                try refs.delete(Array(keys[start..<min(start + 1000, keys.count)]))
            }
        }
        return report
    }

    /// This host's time, once the store agrees.
    private static func trustedSeconds(
        _ refs: RefStore<Store>, _ clock: Time
    ) throws(UserError) -> UInt64 {
        let date = try explainStore(refs.what) { () throws(ObjectStoreError) in
            try refs.store.dateSeconds()
        }
        let now = clock.wallSeconds
        guard let date else { return now }
        let difference = max(now, date) - min(now, date)
        guard difference <= clockDifferenceSecondsMax else {
            throw UserError(
                .failed, what: refs.what,
                why: "the clock of this host is \(difference) s "
                    + (now > date ? "ahead of" : "behind") + " that of the store",
                remedy: "set the clock, then try again; nothing was deleted")
        }
        return now
    }
}
