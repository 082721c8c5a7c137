// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Steps 2 and 3a of publishing: from a frozen memtable to packs in the store and the bytes of the
// commit that names them. Nothing of the volume changes here: if it fails, or the host dies, packs
// without a commit are left in the store, which nobody refers to, and the same inputs serve for
// another try.

public import CleanCache
internal import Formats
public import HostIO
internal import Journal
public import ObjectStore
public import Primitives
public import VolumeMap

/// Builds commits. Stateless; calls block.
public struct CommitBuilder<Storage: StorageDirectory, Store: ObjectStore>: Sendable {
    private let store: Store
    private let cache: CleanCache
    private let uploads: PackUploads
    private let spread: FetchSpread

    /// `store` decides about retries: what it throws ends the build. `spread` calls for blocks that
    /// are hashed and compressed side by side.
    public init(
        store: Store, cache: CleanCache, uploads: PackUploads = .none,
        spread: @escaping FetchSpread = oneByOne
    ) {
        self.spread = spread
        self.store = store
        self.cache = cache
        self.uploads = uploads
    }

    /// Verifies the frozen journal, packs what changed, PUTs the packs, and encodes the commit.
    ///
    /// `random` names the packs. On return all packs are durable in the store; the commit is
    /// nowhere yet. Fails with `journal` before anything was PUT if a record does not have its
    /// checksum.
    public func build(
        _ inputs: CommitInputs<Storage>, random: inout some RandomSource
    ) throws(CommitError) -> PreparedCommit {
        precondition(inputs.frozen.isFrozen, "a commit reads what nobody changes")
        precondition(inputs.newSize >= inputs.parent.size, "a volume only grows")
        precondition(inputs.cut >= inputs.parent.commit.cut)
        do throws(JournalError) {
            try inputs.journal.verify(from: inputs.parent.commit.cut, to: inputs.cut)
        } catch { throw .journal(error) }
        let meter = FetchMeter()
        var statistics = CommitStatistics()
        let tables: CommitTables
        if isAllZeroed(inputs) {
            tables = CommitTables(
                chunkPages: PageList(), packPages: PageList(), slotCount: 0,
                digest: Commit.emptyDigest)
        } else {
            var pass = CommitPass(
                inputs: inputs, store: store, uploads: uploads, cache: cache,
                fetcher: MapFetcher(store: store, cache: cache, meter: meter), spread: spread,
                random: random)
            defer { random = pass.sink.random }
            do throws(CommitError) {
                try pass.run()
                tables = try pass.finish()
            } catch {
                pass.sink.abandon()
                throw error
            }
            statistics = pass.sink.statistics
        }
        let commit = Self.commit(inputs, tables)
        let bytes = commit.encode()
        statistics.commitBytes = bytes.count
        statistics.puts = statistics.packs
        statistics.gets = meter.gets
        statistics.getBytes = meter.bytes
        return PreparedCommit(
            root: LocalRoot(commit: commit, bytes: bytes), statistics: statistics)
    }

    /// True if the whole device was zeroed and nothing written since: then nothing refers to any
    /// pack, and no node has to be read to count that.
    private func isAllZeroed(_ inputs: CommitInputs<Storage>) -> Bool {
        inputs.frozen.leafCount == 0 && !inputs.parent.commit.chunkPages.isEmpty
            && inputs.frozen.zeroRanges.contains {
                $0.lowerBound == 0 && $0.upperBound >= inputs.parent.blockCount
            }
    }

    private static func commit(
        _ inputs: CommitInputs<Storage>, _ tables: CommitTables
    ) -> Commit {
        var commit = Commit(
            volume: inputs.parent.commit.volume, sequence: inputs.sequence, epoch: inputs.epoch,
            token: inputs.token, parentToken: inputs.parentToken, state: inputs.state,
            isFence: inputs.isFence, size: inputs.newSize,
            blockBytes: inputs.parent.blockBytes, cut: inputs.cut,
            labelSeconds: inputs.labelSeconds, uncleanTakeover: inputs.uncleanTakeover,
            chunkPages: tables.chunkPages, packPages: tables.packPages,
            slotCount: tables.slotCount, digest: tables.digest)
        commit.keepsContent =
            inputs.relocation != nil && inputs.frozen.isEmpty
            && inputs.newSize == inputs.parent.size
        return commit
    }
}
