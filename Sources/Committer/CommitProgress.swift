// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What earlier tries of one commit have done, so that the next does the same again and not
// something else: a build that the store broke off half-way left packs behind, and the try after it
// makes those very packs, byte for byte, and does not send what has arrived. Without it every break
// would leave orphans.
//
// Three things could make a second build differ: chance, which is kept; whether a block's base was
// at hand in the clean cache, which is kept for each block; and the clock, which nothing asks.

public import Primitives

/// The memory of one commit's tries. Confined to the worker that makes the try.
public final class CommitProgress: @unchecked Sendable {
    // Confined: to the one worker that has the commit; the shard hands it from try to try.
    private var words: [UInt64] = []
    private var position = 0
    private var bases: [BlockIndex: Bool] = [:]
    /// Packs by key: the hash of their bytes, and whether the store has confirmed them.
    private var packs: [String: (hash: UInt64, isStored: Bool)] = [:]

    public init() {}

    /// Starts a try.
    public func begin() { position = 0 }

    /// The next word of chance: that of an earlier try, or a new one.
    func word(from source: inout some RandomSource) -> UInt64 {
        if position == words.count { words.append(source.next()) }
        defer { position += 1 }
        return words[position]
    }

    /// Whether a block was made whole with its base, if an earlier try came that far.
    func hadBase(_ block: BlockIndex) -> Bool? { bases[block] }

    func note(_ block: BlockIndex, hadBase: Bool) { bases[block] = hadBase }

    enum Pack {
        /// To be PUT.
        case wanted
        /// In the store already, these very bytes.
        case stored
        /// An earlier try sent other bytes under this key: the tries differ after all.
        case differs
    }

    /// What is to be done with a pack.
    func state(of key: String, bytes: UnsafeRawBufferPointer) -> Pack {
        let hash = XXH3.hash(bytes, seed: 0)
        guard let known = packs[key] else {
            packs[key] = (hash, false)
            return .wanted
        }
        if known.hash != hash { return .differs }
        return known.isStored ? .stored : .wanted
    }

    func noteStored(_ key: String) { packs[key]?.isStored = true }

    /// Forgets everything: the next try begins anew, and what was sent is orphaned.
    func forget() {
        words = []
        position = 0
        bases = [:]
        packs = [:]
    }
}

/// Chance that a commit's next try draws again.
public struct RepeatedChance<Source: RandomSource>: RandomSource {
    private let progress: CommitProgress
    private var source: Source

    public init(_ progress: CommitProgress, _ source: Source) {
        self.progress = progress
        self.source = source
    }

    public mutating func next() -> UInt64 { progress.word(from: &source) }
}
