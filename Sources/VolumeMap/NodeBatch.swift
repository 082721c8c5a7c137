// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Nodes of many chunks at once, past the cache: for walks over whole volumes, which need each node
// once and would evict what others read.

package import Formats
package import Primitives

/// A chunk's node, as its table entry names it.
package struct NodeWanted: Sendable {
    package let chunk: ChunkIndex
    package let entry: ChunkEntry

    package init(chunk: ChunkIndex, entry: ChunkEntry) {
        self.chunk = chunk
        self.entry = entry
    }
}

/// Bytes of a member of a pack, or why it does not come.
package enum MemberOutcome {
    case bytes(FetchBuffer)
    case lost(FetchError)
}

extension MapFetcher {
    /// Reads nodes of `root`, neighbours of a pack with one GET. Outcome i is that of `wanted[i]`;
    /// bytes were validated. Throws if the store is away.
    package func nodes(
        _ wanted: [NodeWanted], of root: Root
    ) throws(FetchError) -> [MemberOutcome] {
        var outcomes = [MemberOutcome?](repeating: nil, count: wanted.count)
        var located: [WantedBytes] = []
        for (tag, node) in wanted.enumerated() {
            do throws(FetchError) {
                let pack = try packID(of: node.entry.slot, in: root)
                let extent = node.entry.extent
                guard extent.length <= FetchLimits.nodeBytesMax else {
                    throw .damaged(key: pack.key, detail: "a node of \(extent.length) bytes")
                }
                located.append(WantedBytes(pack: pack, extent: extent, tag: tag))
            } catch {
                if error.isRetryable { throw error }
                outcomes[tag] = .lost(error)
            }
        }
        let kept = KeptBytes()
        let blockBytes = root.blockBytes
        let failures = try reads.read(planRanges(located)) { tag, bytes throws(FormatError) in
            try MapChecks.node(
                bytes, hash: wanted[tag].entry.hash, chunk: wanted[tag].chunk,
                blockBytes: blockBytes)
            kept.keep(tag, bytes)
        }
        for _ in located { meter.addNode() }
        return outcomes.enumerated().map { tag, outcome in
            if let outcome { return outcome }
            if let failure = failures[tag] { return .lost(failure) }
            guard let bytes = kept.take(tag) else {
                preconditionFailure("a member neither came nor failed")
            }
            return .bytes(bytes)
        }
    }
}
