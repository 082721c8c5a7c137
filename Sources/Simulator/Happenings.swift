// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What can happen in a run, by name: what goes wrong, what is done, and what the volume goes
// through. Each of them is reached in every thousand seeds, or the runs show less than they seem
// to.

/// What goes wrong. docs/ARCHITECTURE.md says what is to come of each; nothing else is injected.
public enum Fault: String, CaseIterable, Sendable {
    // Of the process and the machine.
    case kill
    case killInCall = "kill-in-call"
    case powerLoss = "power-loss"
    case powerLossInCall = "power-loss-in-call"
    /// Nothing unsynced is lost, and the boot id is another one.
    case reboot
    case crashInRecovery = "crash-in-recovery"
    case cacheLoss = "cache-loss"
    /// The cache directory is put back to an older copy: in its place, or in another one.
    case cacheRolledBack = "cache-rolled-back"
    case cacheRestored = "cache-restored"
    /// Between two requests to the store.
    case killInRequest = "kill-in-request"
    /// Its wall clock is wrong by ten years from now on, or right again.
    case clockJump = "clock-jump"
    // Of the disk.
    case syncFails = "sync-fails"
    case writeFails = "write-fails"
    case readFails = "read-fails"
    case diskFull = "disk-full"
    /// With the power a byte goes of what was flushed into a journal, or a whole segment.
    case journalRot = "journal-rot"
    case segmentLost = "segment-lost"
    // Of the store.
    case storeAway = "store-away"
    case requestsAway = "requests-away"
    /// A few GETs of a commit that finds no cache.
    case readsAway = "reads-away"
    case replyLost = "reply-lost"
    case latePut = "late-put"
    /// Some of all requests are told to come again later, until it is healed.
    case throttled
    /// A PUT finds another one of its key under way, and is not carried out.
    case putConflict = "put-conflict"
    /// A PUT whose answer was lost was sent again below: its key is taken, by its own bytes.
    case putRepeated = "put-repeated"
    case shortRead = "short-read"
    case flippedRead = "flipped-read"
    case packDamaged = "pack-damaged"
    case packMissing = "pack-missing"
    case commitMissing = "commit-missing"
    /// A pack or a commit ends early.
    case objectTruncated = "object-truncated"
    // Of two hosts.
    /// It stands still before a request to the store, and the other one takes the volume.
    case writerStalls = "writer-stalls"
    /// A collector is never heard of again.
    case collectorDies = "collector-dies"

    /// It ends the process.
    var isCrash: Bool {
        switch self {
        case .kill, .killInCall, .powerLoss, .powerLossInCall, .reboot, .crashInRecovery,
            .cacheLoss, .cacheRolledBack, .cacheRestored, .killInRequest:
            true
        default: false
        }
    }
}

/// What is done, by the guest, the control plane and the shell around the volume.
public enum Action: String, CaseIterable, Sendable {
    case write, zero, trim, read, flush
    case forceUnitAccess = "force-unit-access"
    case submitAgain = "submit-again"
    case endTurn = "end-turn"
    case tick
    case effect, event
    case commit, resize, close
    /// Others need the whole clean cache.
    case evict
    case takeOver = "take-over"
    case heal
    // Of the control plane.
    case create, snapshot, tag, fork, view, rollback, detach, attach, purge, grow, compact
    case deleteSnapshot = "delete-snapshot"
    /// Off, and the same name again from one of its snapshots.
    case replace
    /// So on one host, while the other one serves it and hears of it.
    case overtake
    // Of the collector.
    case collect
    case collectDry = "collect-dry"
    case abandon

    /// Somebody asks a control plane.
    var isCall: Bool {
        switch self {
        case .create, .snapshot, .tag, .fork, .view, .rollback, .detach, .attach, .purge, .grow,
            .compact, .deleteSnapshot, .replace, .overtake:
            true
        default: false
        }
    }
}

/// What the volume goes through.
public enum Transition: String, CaseIterable, Sendable {
    case openedFromRoot = "opened-from-root"
    case openedFromStore = "opened-from-store"
    case openedPending = "opened-with-pending-commit"
    case replayed = "replayed-journal"
    case parked
    case answered
    case cut
    case published
    case publishedPending = "published-pending-commit"
    case postponed
    case grown
    case fetched
    case fetchFailed = "fetch-failed"
    case segmentsReturned = "segments-returned"
    case foundFull = "found-disk-full"
    case closedByFailure = "closed-by-failure"
    case requestFailed = "request-failed"
    case diedInAppend = "died-in-append"
    case diedInSync = "died-in-sync"
    case diedTakingSegments = "died-taking-segments"
    case diedReturningSegments = "died-returning-segments"
    case diedInCommit = "died-in-commit"
    case closedClean = "closed-clean"
    case takenOver = "taken-over"
    case fenced
    case journalSetAside = "journal-set-aside"
    /// A journal that lost what was flushed was found out, and not served.
    case quarantined
    // What a copy of a cache directory goes through.
    /// Made of what a daemon, or a power cut, had left.
    case copiedAtRest = "copied-at-rest"
    case copiedAtPowerCut = "copied-at-power-cut"
    /// In its place, with nothing newer in the store.
    case copyWentOn = "copy-went-on"
    /// In its place, and the store had gone on: until its next commit nobody can tell.
    case copyServed = "copy-served"
    case copyFenced = "copy-fenced"
    /// In another place: the claim found that the store has its last commit, and says that it is
    /// a copy; or that the store has another one, and set its journal aside.
    case copyNoted = "copy-noted"
    case copySetAside = "copy-set-aside"
    // What names go through.
    case rolledBack = "rolled-back"
    case leftBehind = "left-behind"
    case snapshotTaken = "snapshot-taken"
    case snapshotUnflushed = "snapshot-of-unflushed-writes"
    case tagMoved = "tag-moved"
    case forkedExport = "forked-export"
    case forkedSnapshot = "forked-snapshot"
    case forkedTag = "forked-tag"
    /// From an old commit that need not have a name.
    case forkedCommit = "forked-commit"
    case detached
    /// By a host that did not have it open: whoever had is fenced.
    case detachedElsewhere = "detached-elsewhere"
    case attached
    case replaced
    case purged
    case nameReused = "name-reused"
    /// A guest connects by a name that the other host had given to another volume.
    case connectedAnew = "connected-anew"
    case viewed
    case creationLeft = "creation-left"
    /// A commit that stores again what nobody wrote.
    case compacted
    // What the collector goes through.
    case condemned
    case packsDeleted = "packs-deleted"
    case commitsDeleted = "commits-deleted"
    case collectionResumed = "collection-resumed"
    case collectionOvertaken = "collection-overtaken"
    /// Everything that is old was given up, and the store looked at for what is left.
    case storedAnew = "stored-anew"
}

/// How often each kind of something happened.
public struct Tally<Kind>: Equatable, Sendable
where Kind: CaseIterable & Hashable & Sendable & RawRepresentable, Kind.RawValue == String {
    private var counts: [Kind: Int] = [:]

    init() {}

    mutating func note(_ kind: Kind) { counts[kind, default: 0] += 1 }

    mutating func add(_ other: Tally) {
        for kind in Kind.allCases where other[kind] > 0 { counts[kind, default: 0] += other[kind] }
    }

    public subscript(kind: Kind) -> Int { counts[kind] ?? 0 }

    /// Kinds that happened at all.
    public var kinds: Int { counts.count }

    /// Kinds that never happened, by name.
    var missing: [String] { Kind.allCases.filter { self[$0] == 0 }.map(\.rawValue) }

    /// `name count`, in the order of the declaration.
    var text: String {
        Kind.allCases.map { "\($0.rawValue) \(self[$0])" }.joined(separator: ", ")
    }
}
