// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a store costs in the end: in a share of the runs an operator gives up all that is old, has
// every volume stored again as one base, and collects. Then the store holds little more than fresh
// copies of the volumes would take.

import CleanCache
import Committer
import Documents
import Formats
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    static let wornRate: UInt64 = 3_000

    /// For each volume, beside a tenth of its blocks: commits, pages, the ends of packs; for each
    /// of its blocks, an entry of an index, and one of a map node. A base comes in several commits,
    /// and a volume here has one node, which all of them store anew.
    private static let volumeBytes = 4 << 10
    private static let memberBytes = 32
    private static let entryBytes = 64

    /// Nothing but the volumes has a name any more.
    func giveUpOld() throws(SimulationFailure) {
        names.withdraw { _ in true }
        names.tags = [:]
        names.views = []
        let keys = store.keys(prefix: RefKey.snapshotsPrefix) + store.keys(prefix: "refs/tags/")
        for key in keys {
            do throws(ObjectStoreError) { try store.delete([key]) } catch {
                throw failure("\(key) cannot be deleted: \(error)")
            }
        }
    }

    /// The volume of this step is stored again, whole, while nobody writes. The number of commits
    /// that it took.
    func storeAnew(_ host: SimulatedHost) throws(SimulationFailure) -> Int {
        try quieten(node)
        // A base that a process before this one had begun may be packed by another codec.
        for _ in 0..<200 where host.volume.report().isCommitting { try turnTheWheel(host) }
        let before = host.volume.root.commit.sequence
        tell("\(node.track.name) is stored again, from commit \(before)")
        node.isHeld = true
        defer { node.isHeld = false }
        let answer = try converse(with: host, of: node, isPatient: true) {
            $0.requestCompaction($1)
        }
        guard case .committed = answer else {
            throw failure("a volume is not stored again: \(answer as Any)")
        }
        return Int(host.volume.root.commit.sequence.rawValue - before.rawValue)
    }

    /// Bytes of a fresh copy of a commit, with what is allowed beside it when it was made in so
    /// many commits.
    func noteFresh(_ root: Root, commits: Int, codec: Codec) throws(SimulationFailure) {
        let fetcher = MapFetcher(
            store: PeekStore(store.objects),
            cache: CleanCache(capacityBytes: Limits.cacheBytesMin))
        var seen: Set<Hash128> = []
        var (bytes, blocks) = (0, 0)
        for index in 0..<root.blockCount {
            let found: CachedBlock?
            do throws(FetchError) {
                found = try fetcher.content(of: BlockIndex(index), in: root)
            } catch { throw failure("block \(index) cannot be read at the end: \(error)") }
            guard let content = found?.bytes else { continue }
            blocks += 1
            let hash = Frame.hash(ofBlock: content)
            guard seen.insert(hash).inserted else { continue }
            let grains = content.count / Limits.grainBytes
            bytes +=
                Frame.encode(
                    content, mask: GrainMask(full: grains), hash: hash, grains: grains,
                    codec: codec
                ).count
        }
        tell("a fresh copy would have \(blocks) blocks in \(bytes) bytes")
        let allowed =
            bytes + bytes / 10 + Self.volumeBytes
            + blocks * (Self.memberBytes + commits * Self.entryBytes)
        names.fresh[root.commit.volume] = NameBook.FreshCopy(
            allowed: allowed, packs: root.commit.packPages)
    }

    /// After the last collection: what other volumes need and what is never deleted is left out.
    func checkBytes() throws(SimulationFailure) {
        var others: Set<String> = []
        var allowed = 0
        // While the last collectors ran somebody may have taken a snapshot, or stored one of them
        // once more, with another codec.
        var fresh: Set<Token> = []
        for track in tracks {
            let head = try storedHead(of: track)
            guard let copy = names.fresh[track.volume], copy.packs == head.packPages else {
                continue
            }
            allowed += copy.allowed
            fresh.insert(head.token)
        }
        for (holder, commit) in try roots() where !fresh.contains(commit.token) {
            others.formUnion(try examine(commit, holder))
        }
        var bytes = 0
        for key in store.keys(prefix: "packs/") + store.keys(prefix: "volumes/") {
            if others.contains(key) { continue }
            if try isKept(key) { continue }
            let count = store.byteCount(of: key) ?? 0
            tell("\(count) bytes are left in \(key)")
            bytes += count
        }
        tell("\(bytes) bytes are left of all volumes, and \(allowed) allowed")
        guard bytes <= allowed else {
            throw failure(
                "\(bytes) bytes are left of all volumes, fresh copies would have \(allowed)")
        }
        if !fresh.isEmpty { report.transitions.note(.storedAnew) }
    }
}
