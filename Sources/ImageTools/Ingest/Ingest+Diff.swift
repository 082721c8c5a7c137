// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A block diff becomes a new export: a fork of the commit that it starts from, and one commit with
// what it changes. So the export is there whole or not at all, and blocks that the diff does not
// touch are neither read nor stored.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
public import HostIO
import ObjectStore
public import Primitives
import Shard
import VolumeMap

extension Ingest {
    /// Bytes of map nodes and table pages that are kept at hand.
    private static var nodeBytes: Int { 64 << 20 }

    /// Makes the export of the request from `diff` and the commit that it starts from: `base`, as
    /// `ForkSource` spells it, or nothing. On return the export is live, durably. Fails with
    /// `conflict` if the name is used, or if the base is not the one that the diff was made of.
    /// After any other failure the same call, with the diff from its beginning, makes it anew.
    public func apply<Storage: ExtentDirectory>(
        _ diff: DiffEnd<Storage>, base: String?, trustsBase: Bool,
        progress: @escaping (_ done: UInt64, _ total: UInt64) -> Bool
    ) throws(UserError) -> IngestReport {
        switch diff {
        case .stream(let stream):
            return try apply(StreamSource(stream), base, trustsBase, progress)
        case .file(let place):
            let source = try explainDiff { () throws(BlockDiffError) in
                let (file, _) = try named { () throws(ImageFileError) in try place.open() }
                return try FileSource(file, name: place.path)
            }
            return try apply(source, base, trustsBase, progress)
        }
    }

    private func explainDiff<Value>(
        _ body: () throws(BlockDiffError) -> Value
    ) throws(UserError) -> Value {
        do throws(BlockDiffError) { return try body() } catch { throw error.forUser(what) }
    }

    private func apply(
        _ source: some DiffSource, _ base: String?, _ trustsBase: Bool,
        _ progress: @escaping (UInt64, UInt64) -> Bool
    ) throws(UserError) -> IngestReport {
        try checkRepository()
        let room = FetchBuffer(byteCount: 2 * Int(BlockDiffPiece.dataBytesMax))
        var reader = try explainDiff { () throws(BlockDiffError) in
            try DiffReader(source, room: room.bytes)
        }
        let head = reader.head
        let origin = try checkDiff(head, base)
        return try withThreads { threads, uploads throws(UserError) in
            let means = Means(spread: threads.map { $0.spread } ?? oneByOne, uploads: uploads)
            return try holdingOrigin(origin) { () throws(UserError) in
                if let origin, let expected = head.baseDigest, !trustsBase {
                    try checkDigest(origin, expected, bytes: head.baseBytes, means, progress)
                }
                try endOther(than: origin)
                let (ref, isResumed) = try begin(size(of: head), base: origin)
                let parent = try self.head(of: ref)
                var report = try publish(
                    &reader, behind: parent, base: origin?.commit ?? parent, means, progress)
                report.isResumed = isResumed
                try bind(report.commit, ref)
                return report
            }
        }
    }

    /// What an application may use.
    private struct Means {
        let spread: FetchSpread
        let uploads: PackUploads
    }

    /// An earlier try is gone on with if it holds the base and nothing else: what it published
    /// behind that may be of another diff.
    private func endOther(
        than origin: (origin: ExportOrigin, commit: Commit)?
    ) throws(UserError) {
        guard let work: ExportRef = try refs.newest(.export(name)), work.state == .creating,
            work.isImage
        else { return }
        let head = try explain { () throws(CommitError) in
            try HeadFinder(store: store).headSequence(of: work.volume)
        }
        if work.origin?.commit.token == origin?.commit.token, head ?? .none <= work.firstSequence {
            return
        }
        try VolumeEnd(refs: refs, clock: clock).publish(work, token: fresh())
        _ = try refs.append(work.next { $0.state = .deleted })
    }

    // MARK: Checks

    /// A disk is made of sectors; what a file lacks of its last one is zeros.
    private func size(of head: DiffHead) -> ByteCount { ByteCount(Self.rounded(head.targetBytes)) }

    private static func rounded(_ bytes: UInt64) -> UInt64 {
        let sector = UInt64(Limits.sectorBytes)
        return (bytes + sector - 1) / sector * sector
    }

    /// What the diff starts from, if it says that it starts from something.
    private func checkDiff(
        _ head: DiffHead, _ base: String?
    ) throws(UserError) -> (origin: ExportOrigin, commit: Commit)? {
        func refusal(_ why: String, _ remedy: String) -> UserError {
            UserError(.badRequest, what: what, why: why, remedy: remedy)
        }
        if try boundCommit() != nil {
            throw UserError(
                .conflict, what: what, why: "\(name) exists", remedy: "choose another name")
        }
        guard head.targetBytes > 0, head.targetBytes <= Limits.volumeBytesMax else {
            throw refusal(
                "the diff leads to a disk of \(head.targetBytes) bytes",
                "a disk has from 1 to \(Limits.volumeBytesMax)")
        }
        guard let base else {
            guard head.baseBytes == 0 else {
                throw BlockDiffError.baseMissing(bytes: head.baseBytes).forUser(what)
            }
            return nil
        }
        let sources = CommitSources(refs: refs)
        let meant = try ForkSource(from: base)
        guard let found = try sources.find(meant, history: true) else {
            throw sources.notFound(meant)
        }
        let commit = try Pinner(refs: refs).read(found.commit).commit
        guard head.baseBytes > 0 else { throw BlockDiffError.baseNotWanted(base).forUser(what) }
        guard commit.size.rawValue == Self.rounded(head.baseBytes) else {
            throw BlockDiffError.wrongBaseSize(
                base, found: commit.size.rawValue, expected: head.baseBytes
            ).forUser(what)
        }
        guard head.targetBytes >= head.baseBytes else {
            throw refusal(
                "the diff makes the disk smaller, which no volume becomes",
                "apply it to a file, and import that")
        }
        return (ExportOrigin(name: found.name, commit: found.commit), commit)
    }

    private func holdingOrigin<Value>(
        _ origin: (origin: ExportOrigin, commit: Commit)?, _ body: () throws(UserError) -> Value
    ) throws(UserError) -> Value {
        guard let origin else { return try body() }
        return try holding(origin.origin.commit) { _ throws(UserError) in try body() }
    }

    /// Reads all of the base. `bytes`: of it as the diff knows it, perhaps short of its last
    /// sector.
    private func checkDigest(
        _ base: (origin: ExportOrigin, commit: Commit), _ expected: Hash128, bytes: UInt64,
        _ means: Means, _ progress: (UInt64, UInt64) -> Bool
    ) throws(UserError) {
        let sink = DigestSink(size: bytes)
        do throws(ExportError) {
            try ImageReader(store: store, target: base.commit, base: nil, spread: means.spread)
                .run(into: sink) { progress($0.bytes, $0.bytesTotal) }
        } catch { throw error.userError(what) }
        let found = sink.finish()
        guard found == expected else {
            throw BlockDiffError.wrongBase(base.origin.name, found: found, expected: expected)
                .forUser(what)
        }
    }

    // MARK: Blocks

    private func publish<Source: DiffSource>(
        _ reader: inout DiffReader<Source>, behind parent: Commit, base: Commit, _ means: Means,
        _ progress: (UInt64, UInt64) -> Bool
    ) throws(UserError) -> IngestReport {
        let known = KnownFrames()
        let size = size(of: reader.head)
        let intake = BlockIntake(
            ImageBuilder(
                ImageBuilderSource(parent: Root(commit: parent), keepsRest: true), size: size,
                settings: request.settings, store: store, uploads: means.uploads,
                cache: CleanCache(capacityBytes: Self.nodeBytes), known: known, random: random),
            known: known, settings: request.settings, blockBytes: parent.blockBytes,
            spread: means.spread)
        var changed: UInt64 = 0
        let made: LocalRoot?
        do throws(UserError) {
            try adoptEarlier(intake, behind: parent, means)
            var blocks = DiffBlocks(
                base: Root(commit: base), size: size, store: store, spread: means.spread,
                sink: intake)
            while let (range, bytes) = try next(&reader) {
                try put(range, bytes, &blocks, intake)
                changed += range.length
                guard progress(range.end, reader.head.targetBytes) else { throw interrupted }
            }
            try flush(&blocks, intake)
            made = try explain { () throws(CommitError) in
                try intake.finish(token: fresh(), labelSeconds: clock.wallSeconds)
            }
        } catch {
            intake.abandon()
            throw error
        }
        if let made { try publish(made) }
        return report(
            made?.commit ?? parent, intake.builder, version: reader.head.version, changed: changed)
    }

    private func report(
        _ commit: Commit, _ builder: ImageBuilder<Store, Random>, version: Int, changed: UInt64
    ) -> IngestReport {
        var report = IngestReport(
            outcome: .created, name: name.text, commit: commit.pointer, digest: commit.digest,
            size: commit.size, blockBytes: commit.blockBytes,
            format: "block diff, version \(version)")
        report.readBytes = changed
        report.blocksStored = builder.statistics.frames
        report.blocksReused = builder.blocksReused
        report.packs = builder.statistics.packs
        report.packBytes = UInt64(builder.statistics.packBytes)
        return report
    }

    private func adoptEarlier(
        _ intake: BlockIntake<Store, Random>, behind parent: Commit, _ means: Means
    ) throws(UserError) {
        let earlier = try EarlierPacks(store: store, what: what, spread: means.spread).of(parent)
        try explain { () throws(CommitError) in
            try intake.prime { builder throws(CommitError) in
                for found in earlier { try builder.adopt(found.index, bytes: found.bytes) }
            }
        }
    }

    private func next<Source: DiffSource>(
        _ reader: inout DiffReader<Source>
    ) throws(UserError) -> (ChangedRange, UnsafeRawBufferPointer)? {
        try explainDiff { () throws(BlockDiffError) in try reader.next() }
    }

    private func put(
        _ range: ChangedRange, _ bytes: UnsafeRawBufferPointer,
        _ blocks: inout DiffBlocks<Store, Random>,
        _ intake: BlockIntake<Store, Random>
    ) throws(UserError) {
        do throws(ExportError) { try blocks.put(range, bytes) } catch {
            throw failure(error, intake)
        }
    }

    private func flush(
        _ blocks: inout DiffBlocks<Store, Random>, _ intake: BlockIntake<Store, Random>
    ) throws(UserError) {
        do throws(ExportError) { try blocks.flush() } catch { throw failure(error, intake) }
    }

    private func failure(
        _ error: ExportError, _ intake: BlockIntake<Store, Random>
    ) -> UserError {
        intake.failure.map { UserError(what, $0) } ?? error.userError(what)
    }
}
