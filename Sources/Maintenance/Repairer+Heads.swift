// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A newest commit N that cannot be read, and that no source has. Nobody can open its volume then,
// and no host can publish behind it, since whoever does must know it first. Two objects put that
// right, in this order:
//
//   N + 1   a fence with the content of the last good commit: who had N publishes nothing behind it
//   N       what the fence says of the commit before it. A number that was taken is never free
//           again: a writer that slept finds another commit there than its own
//
// Broken off in between, the volume can be opened, and the next repair makes N of the fence, as it
// does wherever a damaged commit lies before a fence: see Repairer+History.swift.

import Committer
import ControlPlane
import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Repairer {
    /// Publishes a fence with the last good content behind a head that cannot be read, and puts the
    /// head right by it. Says what was done.
    mutating func replaceHead(
        of item: LastGood, _ verifier: Verifier<Store>, _ fallBack: FallBack
    ) throws(UserError) -> String {
        let what = "cannot take \(item.name) back to commit \(item.good)"
        let key = CommitKey(volume: item.volume, sequence: item.head)
        let refs = RefStore(store: store, what: what)
        try fallBack.checkClosed(item)
        let look = BeatLook(now: fallBack.clock.wallSeconds)
        if let node = try look.server(of: item.volume, refs).server {
            throw UserError(
                .conflict, what: what,
                why: "\(node) serves it now, and knows its commit \(item.head)",
                remedy: "there: martlet verify --repair cache; or stop it first")
        }
        guard verifier.tokens(of: key).isEmpty else {
            throw UserError(
                .conflict, what: what,
                why: "a snapshot, a tag or a reader names commit "
                    + "\(item.head), which cannot be read",
                remedy: "delete that first, or fork \(item.name)@\(item.good) into another name")
        }
        let fence = try explainCommit(what) { () throws(CommitError) -> LocalRoot in
            try makeFence(over: item, fallBack)
        }
        let outcome = try explainStore(what) { () throws(ObjectStoreError) in
            try store.putIfAbsent(fence.commit.key.key, fence.bytes)
        }
        guard outcome == .created else {
            throw UserError(
                .conflict, what: what,
                why: "commit \(fence.commit.sequence) was published meanwhile",
                remedy: "run the repair again")
        }
        do throws(VerifyError) {
            _ = try rebuild(
                key, before: fence.commit, isMade: false, in: verifier, fallBack.makeToken)
        } catch {
            throw UserError(
                .storeAway, what: what, why: "commit \(item.head) is not replaced yet: \(error)",
                remedy: "run the repair again")
        }
        return "to commit \(item.good) of \(UTCTime.text(item.labelSeconds)), which is now commit "
            + "\(fence.commit.sequence). Commit \(item.head) could not be read: what only that had "
            + "is lost"
    }

    private func makeFence(over item: LastGood, _ fallBack: FallBack) throws(CommitError)
        -> LocalRoot
    {
        let finder = HeadFinder(store: store)
        let good = try finder.commit(of: item.volume, item.good).commit
        var last = try finder.commit(of: item.volume, item.readable).commit
        // Each commit raises the epoch by one at most. No token: its own parent is not looked at.
        let steps = UInt32(clamping: item.head.rawValue - item.readable.rawValue)
        guard last.epoch.rawValue < .max - 1, steps < .max - 1 - last.epoch.rawValue else {
            throw Self.impossible(last, "epoch", UInt64(last.epoch.rawValue))
        }
        guard good.size <= last.size, good.blockBytes == last.blockBytes else {
            throw Self.impossible(good, "size", good.size.rawValue)
        }
        last.sequence = CommitSequence(item.head.rawValue - 1)
        last.epoch = Epoch(last.epoch.rawValue + steps)
        let now = fallBack.clock.wallSeconds
        let head = CommitDrafts.rolledBack(
            to: good, after: last,
            stamp: .init(
                epoch: last.epoch, token: fallBack.makeToken(), state: .clean, labelSeconds: now))
        let epoch = last.epoch.next
        return CommitDrafts.successor(
            of: head.commit,
            stamp: .init(
                epoch: epoch, token: fallBack.makeToken(), state: .clean, labelSeconds: now),
            unclean: UncleanTakeover(epoch: epoch, sequence: item.head, labelSeconds: now))
    }

    private static func impossible(
        _ commit: Commit, _ field: String, _ found: UInt64
    ) -> CommitError {
        let error = FormatError.badValue(.commit, field: field, offset: 0, found: found)
        return .damagedObject(key: commit.key.key, error)
    }
}
