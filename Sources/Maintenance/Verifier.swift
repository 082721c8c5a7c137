// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Proof that a repository is whole, from the store alone. Writes nothing.
//
//   commit keys ─▶ refs ─▶ commits ─▶ pack keys ─▶ batches of commits: tables ─▶ nodes ─▶ frames
//                                                                     └▶ ends of their packs
//
// Commit keys are listed before refs, and both before packs, since things are made in the opposite
// order: what is named by something listed is listed, or was made since and is asked for.
//
// All commits of a batch are walked side by side, chunk by chunk: what several share is read once
// and reported for each. Memory is bounded by the batch and by the window of frames, not by the
// repository, but for some hundred bytes for each commit, ref and pack.

import Documents
import Formats
public import ObjectStore
public import Primitives
public import VolumeMap

/// A state of a volume that somebody may want to read.
struct VerifySubject {
    let key: CommitKey
    /// Bytes of the disk; of a commit that cannot be read, the best guess.
    var size: UInt64
    /// Bytes that the commit takes in memory; 0: it cannot be read.
    var weight = 0
    var token = Token.zero
    var parentToken = Token.zero
    var state = CommitState.open
    var labelSeconds: UInt64 = 0
    /// Kept while there is room, else read again.
    var commit: Commit?
    /// What people call it.
    var names: [String] = []
    /// It must be whole: a head, or named by a ref. Else it is history.
    var isRoot = false
    /// Root for being the head of its volume alone.
    var isRootAsHead = false
    /// The volume that its first pack was made for: forks lie beside their source.
    var family: VolumeID

    var whole: Range<UInt64> { 0..<size }
}

/// One verification. Confined to the thread that calls it; reads are spread as `spread` says.
public struct Verifier<Store: ObjectStore> {
    let store: Store
    let options: VerifyOptions
    let spread: FetchSpread
    let meter = VerifyMeter()
    let reads: MemberReads<Store>
    let report: VerifyProgressReport
    var random: any RandomSource
    var log: VerifyLog
    var counts = VerifyCounts()
    /// Keys that are not ours: noted, never faults.
    var foreign: [String] = []
    var lostForeign = 0

    // What refs and commits say.
    var subjects: [VerifySubject] = []
    var subjectByKey: [CommitKey: Int] = [:]
    /// Subjects of each volume, newest first.
    var history: [VolumeID: [Int]] = [:]
    /// Volumes in question; nil: all.
    var scope: Set<VolumeID>?
    /// A collector has run here: old commits may lack packs.
    var wasCollected = false
    var heldBytes = 0

    var packs = VerifyPacks()

    /// Set: pointers to some packs are gathered, and no frame is read.
    var needs: PackNeeds?
    /// Who has map nodes and pages that cannot be read, in a survey.
    var rescue: ((Piece) -> FetchBuffer?)?
    /// Tokens of commits as refs name them.
    var pinned: [CommitKey: Set<Token>] = [:]

    /// `random` decides what a sample takes.
    public init(
        store: Store, options: VerifyOptions, random: any RandomSource,
        spread: @escaping FetchSpread = oneByOne,
        progress: @escaping VerifyProgressReport = { _ in }
    ) {
        precondition((1...VerifyOptions.wholeSample).contains(options.sample))
        self.store = store
        self.options = options
        self.random = random
        self.spread = spread
        report = progress
        reads = MemberReads(store: store, spread: spread)
        log = VerifyLog(faultsMax: options.faultsMax, rangesMax: options.rangesMax)
    }

    /// Reads everything there is. Throws if the store does not answer: then there is no verdict.
    public mutating func run() throws(VerifyError) -> VerifyReport {
        var commitKeys = try listCommits(prefix: "volumes/")
        let refs = try readRefs()
        if let name = options.name {
            let scope = try volumes(
                named: name, refs, among: Set(commitKeys.map(\.volume)))
            self.scope = scope
            commitKeys = commitKeys.filter { scope.contains($0.volume) }
        }
        try readCommits(commitKeys)
        try name(refs)
        checkHistory()
        checkNames(refs)
        try listPacks()
        for batch in batches() { try verify(batch) }
        return try finish()
    }

    // MARK: Small things that all phases use

    func listing(_ prefix: String) throws(VerifyError) -> [ListPage.Entry] {
        do throws(ObjectStoreError) { return try store.listAll(prefix: prefix) } catch {
            throw VerifyError(FetchError(error))
        }
    }

    /// The size of an object; nil if it is not there.
    func size(of key: String) throws(VerifyError) -> UInt64? {
        do throws(ObjectStoreError) { return try store.head(key) } catch {
            if case .notFound = error { return nil }
            throw VerifyError(FetchError(error))
        }
    }

    func objects<Value: Sendable>(
        _ keys: [String], limit: Int, as type: Value.Type = Value.self,
        _ decode: @escaping ObjectReads<Store, Value>.Decode
    ) throws(VerifyError) -> [ReadObject<Value>] {
        let (objects, bytes) = try ObjectReads(
            store: store, keys: keys, limit: limit, decode: decode
        ).run(spread)
        meter.add(bytes)
        tell()
        return objects
    }

    mutating func noteForeign(_ key: String) {
        if foreign.count < options.faultsMax { foreign.append(key) } else { lostForeign += 1 }
    }

    func tell() {
        report(
            VerifyProgress(
                bytes: meter.bytes, bytesTotal: max(packs.bytesInUse, meter.bytes),
                faults: log.entries.count))
    }
}
