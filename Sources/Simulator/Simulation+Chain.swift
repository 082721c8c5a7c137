// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The oracle of the store: every commit that lands is the one successor of the last, comes from the
// host whose epoch it is, and holds a prefix of that host's history. What lands late is judged when
// it lands.

import Formats
import ObjectStore
import Primitives
import VolumeMap

/// What the store holds, as the world knows it.
struct Chain {
    /// The newest commit.
    var head: Commit { didSet { nextKey = Self.key(after: head) } }
    /// Where its successor will be; asked for after every step.
    private(set) var nextKey: String
    /// The volume as it is in the newest commit, and after how many requests.
    var history: GuestHistory
    var index: UInt64 = 0
    /// Who claimed which epoch.
    var owners: [Epoch: Int] = [:]

    init(head: Commit, history: GuestHistory) {
        self.head = head
        self.history = history
        nextKey = Self.key(after: head)
    }

    private static func key(after commit: Commit) -> String {
        CommitKey.key(commit.volume, commit.sequence.next)
    }

    /// Who may publish. Nil before the first claim.
    var owner: Int? { owners[head.epoch] }
}

extension Simulation {
    /// Takes in what has landed. Commits of a host whose recovery is not judged yet wait, unless
    /// `force`: then none of them can have a cut of after the recovery.
    func followChain(force: Bool = false) throws(SimulationFailure) {
        guard force || !nodes.contains(where: \.isUnjudged) else { return }
        while true {
            let key = chain.nextKey
            guard store.byteCount(of: key) != nil, let bytes = store.objects[key] else { return }
            let commit: Commit
            do throws(FormatError) {
                commit = try Self.decode(bytes)
            } catch { throw failure("\(key) was published and does not decode: \(error)") }
            guard let author = sent.sender(key, bytes) else {
                throw failure("nobody sent \(key)")
            }
            try judge(commit, by: nodes[author])
        }
    }

    private static func decode(_ bytes: [UInt8]) throws(FormatError) -> Commit {
        try bytes.withUnsafeBytes { raw in
            Result { () throws(FormatError) in try Commit(decoding: raw, key: nil) }
        }.get()
    }

    private func judge(_ commit: Commit, by author: Node) throws(SimulationFailure) {
        let what = "commit \(commit.sequence) of epoch \(commit.epoch) by host \(author.number)"
        tell("landed: \(what)")
        report.note(commit.sequence.rawValue << 16 | UInt64(author.number) << 8 | 0xC2)
        guard commit.parentToken == chain.head.token else {
            throw failure("\(what) does not follow commit \(chain.head.sequence)")
        }
        if commit.isFence {
            guard commit.epoch == chain.head.epoch.next, commit.digest == chain.head.digest,
                commit.cut == chain.head.cut
            else { throw failure("\(what) is a fence that changes more than the epoch") }
            try judgeTakeover(commit, by: author, what)
            chain.owners[commit.epoch] = author.number
            author.claimed = Node.Claimed(
                token: commit.token, index: chain.index, history: chain.history)
        } else {
            guard chain.owners[commit.epoch] == author.number, commit.epoch == chain.head.epoch
            else {
                throw failure("\(what) was published by a host that was fenced")
            }
            guard let index = author.indexByCut[commit.cut], index >= chain.index else {
                throw failure("\(what) has a cut that was never a moment, or an old one")
            }
            chain.index = index
            chain.history = author.history.prefix(index)
        }
        chain.head = commit
        report.commits += 1
        guard chance(1_250) else { return }
        try checkStore(Root(commit: commit), holds: chain.index...chain.index, of: chain.history)
    }

    /// Whoever was the writer may have acknowledged more than the store has: then the fence of
    /// another says so.
    private func judgeTakeover(
        _ fence: Commit, by author: Node, _ what: String
    ) throws(SimulationFailure) {
        guard let owner = chain.owner, owner != author.number, chain.head.state == .open else {
            return
        }
        report.transitions.note(.takenOver)
        guard nodes[owner].history.acknowledged > chain.index else { return }
        guard fence.uncleanTakeover != nil else {
            throw failure("\(what) does not say that acknowledged writes may be missing")
        }
    }
}
