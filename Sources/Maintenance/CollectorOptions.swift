// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What an operator decides about a run of the collector, and what it tells when it is over.

public import Documents
import Primitives

public struct CollectorOptions: Sendable {
    /// Who collects, for people: at most 64 characters are kept.
    public var node: String
    /// Seconds between the run that condemned something and its deletion, by this host's clock. A
    /// clock that is wrong deletes earlier or later, never anything that is in use.
    public var gracePeriodSeconds: UInt64
    /// Objects that one run deletes at most.
    public var deletesMax: Int
    /// Looks and tells; changes nothing.
    public var isDryRun: Bool
    /// Old commits that stay although nothing names them.
    public var retention: Retention

    public static let gracePeriodSecondsDefault: UInt64 = 24 * 3600

    public init(
        node: String, gracePeriodSeconds: UInt64 = gracePeriodSecondsDefault,
        deletesMax: Int = .max, isDryRun: Bool = false, retention: Retention = Retention()
    ) {
        precondition(deletesMax >= 0)
        self.node = node
        self.gracePeriodSeconds = gracePeriodSeconds
        self.deletesMax = deletesMax
        self.isDryRun = isDryRun
        self.retention = retention
    }
}

/// Objects and their bytes in the store.
public struct ObjectTally: Equatable, Sendable {
    public var commits = 0
    public var packs = 0
    public var bytes: UInt64 = 0

    public init() {}
}

public struct CollectionReport: Equatable, Sendable {
    public enum Outcome: String, Sendable {
        /// The run is over and its set is published.
        case done
        /// Nothing to condemn and nothing to delete: the store is as it was.
        case nothing
        /// Nothing was changed; the tallies tell what a run would do.
        case dryRun = "dry_run"
        /// Another collector was faster: the run is over, not by this one.
        case overtaken
    }

    public var outcome = Outcome.nothing
    /// The run's number, from 1.
    public var run: UInt64 = 0
    /// True if a run that another process had begun was finished.
    public var isResumed = false
    /// Commits that keep something: heads, what refs name, what is retained.
    public var roots = 0
    /// What the store holds.
    public var stored = ObjectTally()
    /// Unreachable since this run: deleted by a later one.
    public var condemned = ObjectTally()
    /// Condemned before and still to be deleted: too young, or over the limit of deletions.
    public var waiting = ObjectTally()
    /// What this run deleted.
    public var deleted = ObjectTally()
    /// Pins that readers hold. One whose node is gone for good holds space until it is abandoned.
    public var readers: [ReaderRef] = []
    /// Hosts that object; nothing is deleted while there is one.
    public var stops: [CollectionStop] = []
    /// Exports that somebody began to create.
    public var creating: [ExportRef] = []

    public init() {}
}
