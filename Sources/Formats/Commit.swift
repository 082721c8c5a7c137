// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A commit: the whole root of a volume at one cut. Immutable; published by one create-if-absent of
// its key. Here the decoded form; the bytes are made and read in Commit+Codec.swift.

public import Primitives

/// What the volume was when the commit was made.
public enum CommitState: UInt8, Sendable, CaseIterable {
    /// Somebody serves the volume for writing: newer writes may lie in a journal.
    case open = 1
    /// Closed in order: the commit is everything that was ever acknowledged.
    case clean = 2
    /// Purged, for ever: the last commit of the volume.
    case deleted = 3
}

/// A claim over a head that was not closed in order: flushed writes may be missing. Copied into
/// every later commit until somebody acknowledges it.
public struct UncleanTakeover: Hashable, Sendable {
    /// The epoch that claimed.
    public var epoch: Epoch
    /// The head that it claimed over.
    public var sequence: CommitSequence
    /// Wall clock of the claim, seconds since 1970: a label.
    public var labelSeconds: UInt64

    public init(epoch: Epoch, sequence: CommitSequence, labelSeconds: UInt64) {
        self.epoch = epoch
        self.sequence = sequence
        self.labelSeconds = labelSeconds
    }
}

/// The commit of another repository whose content a commit has: where it was copied from.
public struct CopiedCommit: Hashable, Sendable {
    public var volume: VolumeID
    public var sequence: CommitSequence
    public var token: Token

    public init(volume: VolumeID, sequence: CommitSequence, token: Token) {
        self.volume = volume
        self.sequence = sequence
        self.token = token
    }
}

/// A table page as a commit holds it.
public enum PageReference: Hashable, Sendable {
    /// The page's bytes, in the commit itself.
    case inline([UInt8])
    /// The page is in a pack.
    case packed(PackPointer)

    /// The hash of the page's bytes: the clean cache's key.
    public var hash: Hash128 {
        switch self {
        case .inline(let bytes): bytes.withUnsafeBytes { Pack.hash(ofPage: $0) }
        case .packed(let pointer): pointer.hash
        }
    }

    public var isInline: Bool {
        if case .inline = self { true } else { false }
    }
}

/// The pages of one table, by index. An absent page has no entry: all its chunks are zeros, or all
/// its slots free.
public struct PageList: Hashable, Sendable {
    /// Index and page, ascending.
    public private(set) var entries: [Entry]

    public struct Entry: Hashable, Sendable {
        public var index: UInt32
        public var page: PageReference
        public init(index: UInt32, page: PageReference) {
            self.index = index
            self.page = page
        }
    }

    public init() { entries = [] }

    public var isEmpty: Bool { entries.isEmpty }
    public var count: Int { entries.count }

    /// The page of `index`; nil if it is absent. A binary search.
    public subscript(index: UInt32) -> PageReference? {
        get {
            let at = position(of: index)
            return at < entries.count && entries[at].index == index ? entries[at].page : nil
        }
        set {
            let at = position(of: index)
            let isThere = at < entries.count && entries[at].index == index
            switch (isThere, newValue) {
            case (true, let page?): entries[at].page = page
            case (true, nil): entries.remove(at: at)
            case (false, let page?): entries.insert(Entry(index: index, page: page), at: at)
            case (false, nil): break
            }
        }
    }

    /// The packs that the list names.
    public var packs: [PackID] {
        entries.compactMap { entry in
            if case .packed(let pointer) = entry.page { pointer.pack } else { nil }
        }
    }

    private func position(of index: UInt32) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].index < index { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

public struct Commit: Hashable, Sendable {
    public var volume: VolumeID
    public var sequence: CommitSequence
    public var epoch: Epoch
    /// Random: tells this attempt to publish from every other.
    public var token: Token
    /// The token of the commit before, or zero if there is none.
    public var parentToken: Token
    public var state: CommitState
    /// True for the first commit of its epoch, which takes the previous writer's next key.
    public var isFence: Bool
    /// True if the content is that of the commit before, byte for byte: only its form changed.
    /// False says nothing.
    public var keepsContent = false
    /// Bytes of the volume: a multiple of 512.
    public var size: ByteCount
    public var blockBytes: Int
    /// The last journal record that is included.
    public var cut: RecordSequence
    /// Wall clock of the cut, seconds since 1970: a label.
    public var labelSeconds: UInt64
    public var uncleanTakeover: UncleanTakeover?
    /// What this very commit is a copy of; later commits of the volume do not say it.
    public var copied: CopiedCommit?
    public var chunkPages: PageList
    public var packPages: PageList
    /// Slots ever used: every slot of the map is below it.
    public var slotCount: UInt32
    /// The digest of the volume's content; see `Commit.volumeDigest`.
    public var digest: Hash128

    public init(
        volume: VolumeID, sequence: CommitSequence, epoch: Epoch, token: Token,
        parentToken: Token = .zero, state: CommitState, isFence: Bool, size: ByteCount,
        blockBytes: Int, cut: RecordSequence, labelSeconds: UInt64,
        uncleanTakeover: UncleanTakeover? = nil, chunkPages: PageList = PageList(),
        packPages: PageList = PageList(), slotCount: UInt32 = 0,
        digest: Hash128 = Commit.emptyDigest
    ) {
        self.volume = volume
        self.sequence = sequence
        self.epoch = epoch
        self.token = token
        self.parentToken = parentToken
        self.state = state
        self.isFence = isFence
        self.size = size
        self.blockBytes = blockBytes
        self.cut = cut
        self.labelSeconds = labelSeconds
        self.uncleanTakeover = uncleanTakeover
        self.chunkPages = chunkPages
        self.packPages = packPages
        self.slotCount = slotCount
        self.digest = digest
    }

    /// Where the commit is published.
    public var key: CommitKey { CommitKey(volume: volume, sequence: sequence) }

    /// Blocks of the volume, the last one perhaps short.
    public var blockCount: UInt64 {
        (size.rawValue + UInt64(blockBytes) - 1) / UInt64(blockBytes)
    }

    /// The digest of a volume: BLAKE3-128 over (chunk index, digest) of its present chunks,
    /// ascending.
    public static func volumeDigest(
        _ chunks: some Sequence<(chunk: ChunkIndex, digest: Hash128)>
    ) -> Hash128 {
        var hasher = VolumeDigest()
        for (chunk, digest) in chunks { hasher.add(chunk, digest) }
        return hasher.finish()
    }

    /// The digest of a volume of zeros.
    public static let emptyDigest = VolumeDigest().finish()
}

/// A volume's digest in the making; chunks ascend.
public struct VolumeDigest: ~Copyable {
    private var hasher = BLAKE3(domain: .volumeDigest)
    private var next: UInt64 = 0

    public init() {}

    public mutating func add(_ chunk: ChunkIndex, _ digest: Hash128) {
        precondition(chunk.rawValue >= next, "chunks must ascend")
        next = chunk.rawValue + 1
        hasher.update(integer: chunk.rawValue)
        hasher.update(digest)
    }

    public consuming func finish() -> Hash128 { hasher.finish() }
}
