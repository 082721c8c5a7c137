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

extension Simulation {
    /// Takes in what has landed of all volumes.
    func followChains() throws(SimulationFailure) {
        guard store.creations != names.followed else { return }
        // Who lost its name in this step may be at work, and others make forks of what it leaves.
        for track in tracks + leaving { try followChain(of: track) }
        let waits = (tracks + leaving).contains { $0.isWaiting }
        names.followed = waits ? nil : store.creations
    }

    /// Which commits are taken in while the recovery of a host is not judged yet.
    enum Patience {
        /// None of its volume.
        case full
        /// Those of the other host that come before its own: somebody asks what they hold.
        case others
        /// All: none of them can have a cut of after the recovery.
        case none
    }

    /// Takes in what has landed, up to `last`.
    func followChain(
        of track: Track, _ patience: Patience = .full, upTo last: Token? = nil
    ) throws(SimulationFailure) {
        guard patience != .full || !track.isWaiting else { return }
        while track.chain.head.token != last {
            let key = track.chain.nextKey
            guard let bytes = store.object(key) ?? buried[key] else { return }
            let commit = try decode(bytes, key)
            guard let sender = sent.sender(key, bytes) else {
                throw failure("nobody sent \(key)")
            }
            let author = sender < track.nodes.count ? track.nodes[sender] : nil
            if patience == .others, author?.isWaiting == true { return }
            buried[key] = nil
            if let author {
                try judge(commit, by: author, of: track)
            } else {
                try judgeEnd(commit, by: sender, of: track)
            }
        }
    }

    /// What a commit of another volume holds is asked for, and a host may be in the middle of a
    /// claim there.
    func learn(of commit: Token, for asking: VolumeID) throws(SimulationFailure) {
        guard contents[commit] == nil else { return }
        for track in tracks + leaving where track.volume != asking {
            try followChain(of: track, .others, upTo: commit)
        }
    }

    func decode(_ bytes: [UInt8], _ key: String) throws(SimulationFailure) -> Commit {
        let commit = bytes.withUnsafeBytes { raw in
            Result { () throws(FormatError) in try Commit(decoding: raw, key: nil) }
        }
        do throws(FormatError) { return try commit.get() } catch {
            throw failure("\(key) was published and does not decode: \(error)")
        }
    }

    private func judge(
        _ commit: Commit, by author: Node, of track: Track
    ) throws(SimulationFailure) {
        let head = track.chain.head
        let what = "commit \(commit.sequence) of epoch \(commit.epoch) by host \(author.number)"
        tell("landed: \(what) of \(track.name)")
        report.note(commit.sequence.rawValue << 16 | UInt64(author.number) << 8 | 0xC2)
        guard commit.parentToken == head.token, !track.chain.isEnded else {
            throw failure("\(what) does not follow commit \(head.sequence)")
        }
        if commit.isFence {
            try judgeFence(commit, by: author, of: track, what)
        } else {
            guard track.chain.owner == author.number, commit.epoch == head.epoch else {
                throw failure("\(what) was published by a host that was fenced")
            }
            // A cut moves with every commit of writes: this one has other content and no writes.
            if commit.cut == head.cut, commit.digest != head.digest, !commit.keepsContent {
                return try judgeRollback(commit, by: author, of: track, what)
            }
            try judgeContent(commit, by: author, of: track, what)
        }
        try accept(commit, of: track, what)
    }

    /// An operator, who is no host, gave up what was being created, and its creator was faster.
    private func judgeEnd(
        _ commit: Commit, by sender: Int, of track: Track
    ) throws(SimulationFailure) {
        let head = track.chain.head
        tell("given up: commit \(commit.sequence) of \(track.name)")
        guard commit.state == .deleted, commit.parentToken == head.token, !track.chain.isEnded,
            commit.epoch == head.epoch.next
        else {
            throw failure("commit \(commit.sequence) of \(track.name) is no host's")
        }
        track.chain.owners[commit.epoch] = sender
        track.chain.head = commit
    }

    private func judgeContent(
        _ commit: Commit, by author: Node, of track: Track, _ what: String
    ) throws(SimulationFailure) {
        if commit.keepsContent {
            let head = track.chain.head
            guard commit.cut == head.cut, commit.size == head.size else {
                throw failure("\(what) says that it keeps the content, and has another cut or size")
            }
            report.transitions.note(.compacted)
            return
        }
        guard let index = author.indexByCut[commit.cut], index >= track.chain.index else {
            throw failure("\(what) has a cut that was never a moment, or an old one")
        }
        track.chain.index = index
        track.chain.history = author.history.prefix(index)
    }

    private func judgeRollback(
        _ commit: Commit, by author: Node, of track: Track, _ what: String
    ) throws(SimulationFailure) {
        if let token = author.rollback { try learn(of: token, for: commit.volume) }
        guard let token = author.rollback, let target = contents[token] else {
            throw failure("\(what) has other content and no writes")
        }
        track.chain.generation += 1
        track.chain.index = target.index
        track.chain.history = target.base(sectors: track.sectors)
        report.transitions.note(.rolledBack)
        setBase(commit, of: author, track)
        try accept(commit, of: track, what, isRollback: true)
    }

    /// The author's history goes on from here.
    private func setBase(_ commit: Commit, of author: Node, _ track: Track) {
        author.claimed = Node.Claimed(
            token: commit.token, index: track.chain.index, history: track.chain.history,
            generation: track.chain.generation, cut: commit.cut)
    }

    private func accept(
        _ commit: Commit, of track: Track, _ what: String, isRollback: Bool = false
    ) throws(SimulationFailure) {
        track.chain.head = commit
        contents[commit.token] = Content(index: track.chain.index, history: track.chain.history)
        report.commits += 1
        // What was overtaken and collected before anybody looked is nobody's any more, nor is what
        // a claim made that slept while its volume lost the name.
        guard !track.chain.isEnded, store.byteCount(of: commit.key.key) != nil,
            try isNewest(commit, of: track), !leaving.contains(where: { $0 === track })
        else { return }
        // What was deleted while it was made may be what it needs.
        if names.deletions > 0, chance(2_500) { try examine(commit, "\(what) of \(track.name)") }
        guard commit.keepsContent || isRollback || chance(1_250) else { return }
        let index = track.chain.index
        try checkStore(Root(commit: commit), holds: index...index, of: track.chain.history)
    }

    private func isNewest(_ commit: Commit, of track: Track) throws(SimulationFailure) -> Bool {
        guard names.deletions > 0 else { return true }
        return try storedHead(of: track).token == commit.token
    }

    private func judgeFence(
        _ commit: Commit, by author: Node, of track: Track, _ what: String
    ) throws(SimulationFailure) {
        let head = track.chain.head
        guard commit.epoch == head.epoch.next else {
            throw failure("\(what) is a fence of another epoch than the next")
        }
        let owner = track.chain.owner
        track.chain.owners[commit.epoch] = author.number
        // The end of the volume: what it held is nobody's any more.
        if commit.state == .deleted { return }
        if commit.state == .clean { report.transitions.note(.detachedElsewhere) }
        guard commit.digest == head.digest, commit.cut == head.cut else {
            throw failure("\(what) is a fence that changes more than the epoch")
        }
        try judgeTakeover(commit, by: author, from: owner, of: track, what)
        setBase(commit, of: author, track)
    }

    /// Whoever was the writer may have acknowledged more than the store has: then the fence of
    /// another says so.
    private func judgeTakeover(
        _ fence: Commit, by author: Node, from owner: Int?, of track: Track, _ what: String
    ) throws(SimulationFailure) {
        guard let owner, owner != author.number, track.chain.head.state == .open else { return }
        report.transitions.note(.takenOver)
        guard track.nodes[owner].history.acknowledged > track.chain.index else { return }
        guard fence.uncleanTakeover != nil else {
            throw failure("\(what) does not say that acknowledged writes may be missing")
        }
    }
}
