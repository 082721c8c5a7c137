// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commits that carry no new data: the first of a volume, a fence, a close, a fork, a roll-back.
// They name pages that lie in packs already, so that each costs one PUT, whatever the size of the
// volume.

public import Formats
public import Primitives

/// Makes commits from other commits. Pure; a draft is published like any other.
public enum CommitDrafts {
    /// What every new commit has of its own.
    public struct Stamp: Sendable {
        public var epoch: Epoch
        public var token: Token
        public var state: CommitState
        public var labelSeconds: UInt64

        public init(epoch: Epoch, token: Token, state: CommitState, labelSeconds: UInt64) {
            self.epoch = epoch
            self.token = token
            self.state = state
            self.labelSeconds = labelSeconds
        }
    }

    /// The first commit of a new volume of zeros. It is the fence of its epoch. A volume bound to a
    /// used name begins at a higher `sequence`, so that snapshots of that name never repeat a
    /// number.
    public static func first(
        of volume: VolumeID, size: ByteCount, blockBytes: Int,
        at sequence: CommitSequence = CommitSequence(1), stamp: Stamp
    ) -> LocalRoot {
        sealed(
            Commit(
                volume: volume, sequence: sequence, epoch: stamp.epoch,
                token: stamp.token, state: stamp.state, isFence: true, size: size,
                blockBytes: blockBytes, cut: RecordSequence(0),
                labelSeconds: stamp.labelSeconds))
    }

    /// The next commit of the same content. A new epoch makes it a fence. `unclean` is recorded if
    /// it is given, else the parent's record is kept.
    public static func successor(
        of parent: Commit, stamp: Stamp, unclean: UncleanTakeover? = nil
    ) -> LocalRoot {
        precondition(stamp.epoch >= parent.epoch, "epochs rise")
        var commit = parent
        apply(stamp, after: parent, to: &commit)
        if let unclean { commit.uncleanTakeover = unclean }
        return sealed(commit)
    }

    /// The next commit with the record of an unclean take-over struck out.
    public static func acknowledged(_ parent: Commit, stamp: Stamp) -> LocalRoot {
        var commit = parent
        apply(stamp, after: parent, to: &commit)
        commit.uncleanTakeover = nil
        return sealed(commit)
    }

    /// The first commit of a new volume with the source's content. Its packs stay where they are,
    /// and their slots keep their numbers.
    public static func forked(
        from source: Commit, as volume: VolumeID, at sequence: CommitSequence = CommitSequence(1),
        stamp: Stamp
    ) -> LocalRoot {
        var commit = source
        commit.volume = volume
        commit.sequence = sequence
        commit.epoch = stamp.epoch
        commit.token = stamp.token
        commit.parentToken = .zero
        commit.state = stamp.state
        commit.isFence = true
        commit.keepsContent = false
        commit.cut = RecordSequence(0)
        commit.labelSeconds = stamp.labelSeconds
        commit.uncleanTakeover = nil
        commit.copied = nil
        return sealed(commit)
    }

    /// The commit behind `head` with the content of `old`, an earlier one of the same volume, at
    /// the head's size.
    public static func rolledBack(
        to old: Commit, after head: Commit, stamp: Stamp
    ) -> LocalRoot {
        precondition(old.volume == head.volume && old.blockBytes == head.blockBytes)
        precondition(old.size <= head.size, "a volume only grows")
        var commit = head
        apply(stamp, after: head, to: &commit)
        commit.chunkPages = old.chunkPages
        commit.packPages = old.packPages
        commit.slotCount = old.slotCount
        commit.digest = old.digest
        return sealed(commit)
    }

    /// The commit before `behind`, made anew: its number, token and epoch, which `behind` tells,
    /// with the content, the size, the label and the state of `content`. Nil if there was none.
    /// `parentToken`: that of the commit before it, zero if that is gone. `isFence`: whether it was
    /// one; true if that is not known, so that it stays where a fence would.
    public static func predecessor(
        of behind: Commit, content: Commit, isFence: Bool, parentToken: Token
    ) -> LocalRoot? {
        precondition(content.volume == behind.volume && content.state != .deleted)
        guard let epoch = epoch(before: behind), !behind.parentToken.isZero,
            behind.sequence.rawValue > 1
        else { return nil }
        var commit = content
        commit.sequence = CommitSequence(behind.sequence.rawValue - 1)
        commit.epoch = epoch
        commit.token = behind.parentToken
        commit.parentToken = parentToken
        commit.isFence = isFence
        commit.keepsContent = false
        commit.copied = nil
        commit.uncleanTakeover = behind.uncleanTakeover.flatMap { $0.epoch > epoch ? nil : $0 }
        return sealed(commit)
    }

    /// The epoch of the commit before. Nil: there is none.
    public static func epoch(before commit: Commit) -> Epoch? {
        guard commit.isFence else { return commit.epoch }
        return commit.epoch.rawValue > 1 ? Epoch(commit.epoch.rawValue - 1) : nil
    }

    private static func apply(_ stamp: Stamp, after parent: Commit, to commit: inout Commit) {
        commit.sequence = parent.sequence.next
        commit.parentToken = parent.token
        commit.isFence = stamp.epoch > parent.epoch
        commit.keepsContent = false
        commit.copied = nil
        commit.epoch = stamp.epoch
        commit.token = stamp.token
        commit.state = stamp.state
        commit.labelSeconds = stamp.labelSeconds
    }

    private static func sealed(_ commit: Commit) -> LocalRoot {
        LocalRoot(commit: commit, bytes: commit.encode())
    }
}
