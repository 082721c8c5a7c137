// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a volume asks of a worker for its compaction, and what it hears back.

public import Committer
internal import Formats
public import Primitives
internal import Synchronization
public import VolumeMap

/// When a volume stores blocks again that nobody has written.
public struct CompactionOptions: Equatable, Sendable {
    /// A pack of which a smaller share is live is emptied, on a volume that is written.
    public var liveShareMin = 0.5
    /// The same on a volume that is quiet.
    public var quietLiveShareMin = 0.9
    /// A stack of which a larger share is hidden becomes one frame, on a quiet volume.
    public var quietHiddenShareMax = 0.1
    /// Seconds without a commit of new data after which a volume is quiet.
    public var quietSeconds: UInt64 = 600
    /// Seconds between two looks at the tables at least, and at most if nothing is committed: what
    /// kept packs may have gone meanwhile. A volume that was not written since it was opened is
    /// looked at after the latter.
    public var lookSeconds: UInt64 = 60
    public var idleLookSeconds: UInt64 = 3600
    /// Dead bytes in the packs of a round at least.
    public var deadBytesMin: UInt64 = 32 << 20

    public init() {}

    func rules(isQuiet: Bool) -> CompactionRules {
        CompactionRules(
            liveShareMin: isQuiet ? quietLiveShareMin : liveShareMin,
            hiddenShareMax: isQuiet ? quietHiddenShareMax : nil, deadBytesMin: deadBytesMin)
    }
}

/// Tells a worker that nobody waits for it any more.
final class StopMark: Sendable {
    // Relaxed: nothing is ordered by it; a read more or less does not matter.
    private let mark = Atomic<Bool>(false)

    var isSet: Bool { mark.load(ordering: .relaxed) }

    func set() { mark.store(true, ordering: .relaxed) }
}

/// A look at the tables, or a step of a round that goes on.
public struct GatherOrder: Sendable {
    enum Task: Sendable {
        case look(CompactionRules, spent: Set<PackID>)
        case step(CompactionRound)
    }

    let task: Task
    let stop: StopMark
    public let root: Root
}

/// How a gathering ended.
public enum GatherOutcome: Sendable {
    /// No round is worthwhile.
    case nothing
    case gathered(CompactionStep)
    /// Other volumes of the host are gathering: ask again.
    case crowded
    /// It was told to stop.
    case stopped
    case failed(FetchError)
}

/// Says which of a volume's commits is the newest that something else keeps: a snapshot, a tag, a
/// base, a fork's origin. Blocks.
public typealias PinnedCommit =
    @Sendable (_ volume: VolumeID) throws(FetchError) -> CommitSequence?
