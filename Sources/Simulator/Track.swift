// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume as the world knows it: what the store holds of it, and the two hosts that may run it.

import Documents
import Formats
import Primitives

/// What the store holds of a volume.
struct Chain {
    /// The newest commit.
    var head: Commit { didSet { nextKey = Self.key(after: head) } }
    /// Where its successor will be; asked for after every step.
    private(set) var nextKey: String
    /// The volume as it is in the newest commit, and after how many requests.
    var history: GuestHistory
    var index: UInt64
    /// Rollbacks so far.
    var generation = 0
    /// Who claimed which epoch.
    var owners: [Epoch: Int] = [:]

    init(head: Commit, content: Content) {
        self.head = head
        history = content.history
        index = content.index
        nextKey = Self.key(after: head)
    }

    private static func key(after commit: Commit) -> String {
        CommitKey.key(commit.volume, commit.sequence.next)
    }

    /// Who may publish. Nil before the first claim.
    var owner: Int? { owners[head.epoch] }

    /// The volume was ended for ever.
    var isEnded: Bool { head.state == .deleted }
}

/// What a commit holds: a volume after so many requests.
struct Content {
    let index: UInt64
    let history: GuestHistory

    /// As a history of its own, of which this is the beginning.
    func base(sectors: Int) -> GuestHistory {
        var copy = history.prefix(index)
        copy.grow(to: max(sectors, copy.sectors))
        return copy
    }
}

/// A volume, its name, and its two hosts. Confined to its simulation.
final class Track {
    let volume: VolumeID
    let name: String
    let blockBytes: Int
    var chain: Chain
    private(set) var nodes: [Node] = []
    /// What the store says of its name.
    var state = ExportRef.State.live

    init(name: String, first: Commit, content: Content, machines: [Machine]) {
        self.name = name
        volume = first.volume
        blockBytes = first.blockBytes
        chain = Chain(head: first, content: content)
        nodes = machines.map { Node(machine: $0, track: self, history: content.history) }
    }

    /// The recovery of a host is not judged yet, and what it publishes neither.
    var isWaiting: Bool { nodes.contains(where: \.isWaiting) }

    /// A host may open it.
    var isOpen: Bool { state == .live && !chain.isEnded }

    /// Sectors of the newest commit.
    var sectors: Int { Int(chain.head.size.rawValue) / Limits.sectorBytes }
}
