// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Bless and import: an image becomes a commit of a volume of its own, on the store alone.
//
//   export ref `creating` ─▶ empty first commit, or a fork of the base that is named ─▶ packs
//     ─▶ commit ─▶ base ref, then export ref `deleted`      (bless)
//               ─▶ export ref `live`                        (import)
//
// The export ref makes the volume a root of the collector from the first step on, and packs behind
// the head are in flight; so whatever was uploaded stays until somebody abandons it. Each step is a
// create-if-absent. A try that was broken off anywhere is finished by the next: it reads the image
// again and sends the blocks that no pack has. See docs/decisions/0023-ingest.md.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
public import ObjectStore
public import Primitives
import Shard
import VolumeMap

/// One import. Confined to its caller; blocks.
public final class Ingest<Store: ObjectStore, Time: Clock, Random: RandomSource> {
    let store: Store
    let clock: Time
    let request: IngestRequest
    let refs: RefStore<Store>
    private let resources: IngestResources
    var random: Random

    /// Bytes of map nodes and table pages that are kept at hand.
    private static var cacheBytes: Int { 64 << 20 }

    /// `store` should retry by itself what is worth it. Copies of `random` must not repeat one
    /// another.
    public init(
        _ request: IngestRequest, store: Store, clock: Time, random: Random,
        resources: IngestResources
    ) {
        self.request = request
        self.store = store
        self.clock = clock
        self.random = random
        self.resources = resources
        let what =
            switch request.target {
            case .base(let name, _): "cannot bless \(name)"
            case .export(let name): "cannot import \(name)"
            }
        refs = RefStore(store: store, what: what)
    }

    var what: String { refs.what }

    func fresh<ID: Identifier128>(_ type: ID.Type = ID.self) -> ID {
        ID.random(from: &random)
    }

    /// Imports the image. On return the name means it, durably. Fails with `conflict` if the name
    /// is used by something else. After any other failure the same call goes on where this one
    /// ended. `progress` is called by this thread and says whether to go on.
    public func run(
        _ image: some DiskImage, progress: (IngestProgress) -> Bool = { _ in true }
    ) throws(UserError) -> IngestReport {
        try checkRepository()
        return try withThreads { threads, uploads throws(UserError) in
            try run(image, threads, uploads, progress)
        }
    }

    func checkRepository() throws(UserError) {
        guard let _: Repository = try refs.find(RefKey.repository.text) else {
            throw UserError(
                .notFound, what: what, why: "there is no repository at \(store.url)",
                remedy:
                    "name the store with --store or --config; the first start of a daemon makes "
                    + "one")
        }
    }

    /// Runs `body` with the threads of the resources.
    func withThreads<Value>(
        _ body: (WorkerPool?, PackUploads) throws(UserError) -> Value
    ) throws(UserError) -> Value {
        let threads =
            resources.threads > 0
            ? WorkerPool(threads: resources.threads, name: "ingest") : nil
        let senders =
            resources.uploads > 0
            ? WorkerPool(threads: resources.uploads, name: "upload") : nil
        defer {
            threads?.stop()
            senders?.stop()
        }
        let uploads =
            senders.map { senders in
                PackUploads(packsMax: resources.uploads) { senders.trySubmit($0) }
            } ?? .none
        return try body(threads, uploads)
    }

    private func run(
        _ image: some DiskImage, _ threads: WorkerPool?, _ uploads: PackUploads,
        _ progress: (IngestProgress) -> Bool
    ) throws(UserError) -> IngestReport {
        let base = try request.base.map { name throws(UserError) in try dedupBase(name) }
        var isReplacing = false
        if let bound = try boundCommit() {
            if let report = try compare(bound, with: image, threads, progress) { return report }
            isReplacing = true
        }
        // What cannot be imported leaves nothing in the store.
        let expected = request.blockBytes ?? base?.commit.blockBytes ?? Limits.blockBytesDefault
        try checkSize(image.size, blockBytes: expected)
        let total = try ImagePass(
            image: image, blockBytes: expected, known: KnownFrames(), settings: nil,
            threads: nil, what: what
        ).byteCount()
        let (ref, isResumed) = try begin(image.size, base: base)
        try checkSize(image.size, blockBytes: ref.definition.blockBytes)
        let head = try head(of: ref)
        let pass = ImagePass(
            image: image, blockBytes: head.blockBytes, known: KnownFrames(),
            settings: settings(for: image.size), threads: threads, what: what)
        var report = try publish(pass, total: total, behind: head, uploads, progress)
        report.isResumed = isResumed
        report.outcome = isReplacing ? .replaced : .created
        try bind(report.commit, ref)
        return report
    }

    /// Larger packs for an image that needs more of them than a commit can number.
    private func settings(for size: ByteCount) -> PackSettings {
        var settings = request.settings
        let wanted = Int(size.rawValue / UInt64(UInt16.max / 2))
        settings.targetBytes = max(
            settings.targetBytes, min(wanted, 4 * Limits.packBytesTarget))
        return settings
    }

    private func checkSize(_ size: ByteCount, blockBytes: Int) throws(UserError) {
        let most = min(Limits.volumeBytesMax, UInt64(blockBytes) * Limits.volumeBlocksMax)
        guard size.rawValue <= most else {
            throw UserError(
                .badRequest, what: what,
                why: "\(size) bytes are more than the \(most) that blocks of \(blockBytes) "
                    + "bytes can hold",
                remedy: "use a larger --block-size, or a smaller image")
        }
    }

    // MARK: What is there already

    /// The report of a repeated import if the bound commit has the image's content; nil if it is to
    /// be replaced.
    private func compare(
        _ bound: Commit, with image: some DiskImage, _ threads: WorkerPool?,
        _ progress: (IngestProgress) -> Bool
    ) throws(UserError) -> IngestReport? {
        var isSame = bound.size == image.size
        if let asked = request.blockBytes { isSame = isSame && asked == bound.blockBytes }
        var told = IngestProgress()
        if isSame {
            let pass = ImagePass(
                image: image, blockBytes: bound.blockBytes, known: KnownFrames(), settings: nil,
                threads: threads, what: what)
            told.totalBytes = try pass.byteCount()
            var digest = ContentDigest(blockBytes: bound.blockBytes)
            try pass.run(
                progress: { bytes throws(UserError) in
                    told.doneBytes = bytes
                    guard progress(told) else { throw interrupted }
                }, { block, hash, _ throws(UserError) in digest.add(block, hash) })
            isSame = digest.finish() == bound.digest
        }
        guard isSame else {
            if case .base(_, replaces: true) = request.target { return nil }
            throw otherContent(bound)
        }
        try forgetUnfinished()
        var report = self.report(bound, image)
        report.readBytes = told.totalBytes
        return report
    }

    private func report(_ commit: Commit, _ image: some DiskImage) -> IngestReport {
        IngestReport(
            outcome: .unchanged, name: name.text, commit: commit.pointer,
            digest: commit.digest, size: commit.size, blockBytes: commit.blockBytes,
            format: image.format)
    }

    // MARK: The pass

    private func publish<Image: DiskImage>(
        _ pass: ImagePass<Image>, total: UInt64, behind head: Commit, _ uploads: PackUploads,
        _ progress: (IngestProgress) -> Bool
    ) throws(UserError) -> IngestReport {
        var told = IngestProgress(totalBytes: total)
        guard let settings = pass.settings else { preconditionFailure("a pass that makes frames") }
        var builder = ImageBuilder(
            ImageBuilderSource(parent: Root(commit: head)), size: pass.image.size,
            settings: settings, store: store,
            uploads: uploads, cache: CleanCache(capacityBytes: Self.cacheBytes), known: pass.known,
            random: random)
        let made: LocalRoot?
        do throws(UserError) {
            try explain { () throws(CommitError) in try builder.learnParent() }
            let earlier = EarlierPacks(
                store: store, what: what, spread: pass.threads.map { $0.spread } ?? oneByOne)
            for found in try earlier.of(head) {
                try explain { () throws(CommitError) in
                    try builder.adopt(found.index, bytes: found.bytes)
                }
            }
            try pass.run(
                progress: { bytes throws(UserError) in
                    told.doneBytes = bytes
                    told.uploadedBytes = UInt64(builder.statistics.packBytes)
                    guard progress(told) else { throw interrupted }
                },
                { block, hash, frame throws(UserError) in
                    try explain { () throws(CommitError) in
                        try builder.add(block, hash: hash, frame: frame)
                    }
                })
            made = try explain { () throws(CommitError) in
                try builder.finish(token: fresh(), labelSeconds: clock.wallSeconds)
            }
        } catch {
            builder.abandon()
            throw error
        }
        if let made { try publish(made) }
        var report = self.report(made?.commit ?? head, pass.image)
        report.readBytes = told.doneBytes
        report.blocksStored = builder.statistics.frames
        report.blocksReused = builder.blocksReused
        report.packs = builder.statistics.packs
        report.packBytes = UInt64(builder.statistics.packBytes)
        return report
    }

    func publish(_ made: LocalRoot) throws(UserError) {
        let outcome = try explain { () throws(CommitError) in
            try Publisher(store: store).publish(made)
        }
        switch outcome {
        case .published: return
        case .unresolved(let detail):
            throw UserError(what, .away(key: made.commit.key.key, detail: detail))
        case .fenced(let other) where other.state == .deleted: throw abandoned
        case .fenced:
            throw UserError(
                .conflict, what: what, why: "another process imports the same name",
                remedy: "wait for it, then repeat this: nothing is uploaded twice")
        }
    }

    var abandoned: UserError {
        UserError(
            .conflict, what: what, why: "it was abandoned by martlet gc while it ran",
            remedy: "repeat it: it starts anew")
    }

    var interrupted: UserError {
        UserError(
            .failed, what: what, why: "it was interrupted",
            remedy: "repeat it to go on: nothing is uploaded twice")
    }

    func explain<Value>(_ body: () throws(CommitError) -> Value) throws(UserError) -> Value {
        try explainCommit(what, body)
    }
}
