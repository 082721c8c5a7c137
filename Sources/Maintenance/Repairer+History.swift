// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Damaged commits in the middle of a history that no source has. They stop every collector, and the
// commit behind one says its token and its epoch. What it held is known if a neighbour is a fence,
// which changes nothing, or says that it changed nothing. Else it is lost, and the number gets what
// the commit before it has, unless something names the lost one.

import Committer
import Formats
import Primitives

/// Where the content of a damaged commit comes from.
private struct Replacement {
    let content: Commit
    /// Nil: it is another content than was lost.
    let proof: String?
}

extension Repairer {
    /// Makes damaged commits of their neighbours. True if one was made.
    mutating func rebuildHistory(
        _ verifier: Verifier<Store>, _ fallBack: FallBack
    ) throws(VerifyError) -> Bool {
        var hasMoved = false
        for volume in verifier.history.keys.sorted() {
            // The newest first: of two in a row the older one has nothing else to stand before.
            var made: Commit?
            for subject in verifier.history[volume, default: []]
            where verifier.subjects[subject].weight == 0 {
                let key = verifier.subjects[subject].key
                let isBehindMade = made?.sequence == key.sequence.next
                guard
                    let behind = isBehindMade
                        ? made : try? verifier.read(volume, key.sequence.next)
                else { continue }
                made = try rebuild(
                    key, before: behind, isMade: isBehindMade, in: verifier, fallBack.makeToken)
                hasMoved = hasMoved || made != nil
            }
        }
        return hasMoved
    }

    /// Makes the commit before `behind` anew and returns it; nil if that is not possible, or it is
    /// whole, or gone. `isMade`: so was `behind`, and it tells nothing of this one's content.
    mutating func rebuild(
        _ key: CommitKey, before behind: Commit, isMade: Bool, in verifier: Verifier<Store>,
        _ makeToken: () -> Token
    ) throws(VerifyError) -> Commit? {
        let names = verifier.pinned[key] ?? []
        let earlier = CommitKey(
            volume: key.volume, sequence: CommitSequence(key.sequence.rawValue - 1))
        let older: Commit?
        do throws(CommitError) { older = try verifier.lastReadable(before: key) } catch {
            return nil
        }
        let isFirst = verifier.subjectByKey[earlier] == nil
        var parentToken = older?.sequence == earlier.sequence ? older?.token ?? .zero : .zero
        if parentToken.isZero, !isFirst {
            // Damaged, too: this one must not say anything of it that a name denies.
            guard verifier.pinned[earlier, default: []].isEmpty else { return nil }
            parentToken = makeToken()
        }
        let epoch = CommitDrafts.epoch(before: behind)
        // Where that is not known it stays where a fence would.
        let isFence = older?.epoch != epoch && (isFirst || epoch != Epoch(1))
        guard names.isSubset(of: [behind.parentToken]),
            let chosen = Self.replacement(
                before: behind, isMade: isMade, after: older, isFence: isFence,
                isNamed: !names.isEmpty),
            let root = CommitDrafts.predecessor(
                of: behind, content: chosen.content, isFence: isFence, parentToken: parentToken)
        else { return nil }
        let own = try fresh(key.key, limit: CommitLimits.commitBytesMax) {
            Self.decode($0, key) != nil
        }
        guard own?.isWhole == false else { return nil }
        try write(
            key.key, root.bytes, isMissing: false, isNamed: true, chosen.proof ?? "", from: [])
        guard outcomes[key.key]?.result == .repaired else { return nil }
        if chosen.proof == nil { noteLost(key, chosen.content) }
        return root.commit
    }

    private mutating func noteLost(_ key: CommitKey, _ content: Commit) {
        note(
            key.key, .fellBack,
            "what it held is lost, and nothing names it; it is what commit \(content.sequence) of "
                + "\(UTCTime.text(content.labelSeconds)) is")
    }

    private static func replacement(
        before behind: Commit, isMade: Bool, after older: Commit?, isFence: Bool, isNamed: Bool
    ) -> Replacement? {
        if !isMade, behind.isFence, behind.state != .deleted {
            return Replacement(
                content: behind, proof: "made of the fence behind it, which has its content")
        }
        if !isMade, behind.keepsContent {
            return Replacement(
                content: behind, proof: "made of the commit behind it, which changed nothing")
        }
        let isNext = older?.sequence.next.next == behind.sequence
        if let older, isNext, isFence, older.state != .deleted {
            return Replacement(
                content: older,
                proof: "made of the commit before it: it was a fence, which changed nothing")
        }
        guard !isNamed, case let content = older ?? behind, content.state != .deleted
        else { return nil }
        return Replacement(content: content, proof: nil)
    }
}

extension Verifier {
    /// A commit that was whole when it was verified. Nil: none was there.
    fileprivate func read(
        _ volume: VolumeID, _ sequence: CommitSequence
    ) throws(CommitError) -> Commit? {
        let key = CommitKey(volume: volume, sequence: sequence)
        guard let subject = subjectByKey[key], subjects[subject].weight > 0 else { return nil }
        return try HeadFinder(store: store).commit(of: volume, sequence).commit
    }

    fileprivate func lastReadable(before key: CommitKey) throws(CommitError) -> Commit? {
        let older = history[key.volume, default: []].first {
            subjects[$0].key.sequence < key.sequence && subjects[$0].weight > 0
        }
        guard let older else { return nil }
        return try read(key.volume, subjects[older].key.sequence)
    }
}
