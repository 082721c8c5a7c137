// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From commits to frames. What cannot be read hits exactly what a reader would miss: a frame its
// block, a node its chunk, a page its chunks, a page of the pack table whatever lies in its packs.

import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Verifier {
    /// Nodes that are read at one time: at most a quarter of a megabyte each.
    private static var nodesAtOnce: Int { 128 }

    mutating func verify(_ subjects: [Int]) throws(VerifyError) {
        let commits = try commits(of: subjects).map {
            WalkedCommit(subject: $0.subject, commit: $0.commit)
        }
        let batch = VerifyBatch(commits)
        try loadPackTables(batch)
        let pages = commits.map(\.commit.chunkPageLimit).max() ?? 0
        for page in 0..<pages { try walk(page, batch) }
        try readNodes(batch)
        if needs != nil { return noteSizes(batch) }
        try readFrames(batch)
        try close(batch)
    }

    // MARK: Members of packs

    /// Bytes of a pack that are wanted, and what must be true of them.
    struct Piece: Sendable {
        let pack: UInt32
        let extent: PackExtent
        let hash: Hash128
        let part: String
        let check: @Sendable (UnsafeRawBufferPointer) throws(FormatError) -> Void
    }

    enum PieceOutcome {
        case bytes(FetchBuffer)
        case lost(FaultPlace)
    }

    /// Reads pages or nodes. Those that do not come whole are faults from here on.
    mutating func read(_ pieces: [Piece]) throws(VerifyError) -> [PieceOutcome] {
        var outcomes = [PieceOutcome?](repeating: nil, count: pieces.count)
        var wanted: [WantedBytes] = []
        for (tag, piece) in pieces.enumerated() {
            let pack = packs[piece.pack].id
            if try !isThere(piece.pack) {
                if let bytes = rescue?(piece) {
                    outcomes[tag] = .bytes(bytes)
                    continue
                }
                outcomes[tag] = .lost(missingPack(piece.pack))
            } else if piece.extent.length > FetchLimits.nodeBytesMax {
                let place = place(of: piece.extent, in: piece.pack, piece.part)
                log.add(place, .damaged, "a \(piece.part) of that length", owner: pack.volume)
                outcomes[tag] = .lost(place)
            } else {
                wanted.append(WantedBytes(pack: pack, extent: piece.extent, tag: tag))
            }
        }
        let kept = KeptBytes()
        let ranges = planRanges(wanted)
        let failures = try read(ranges) { tag, bytes throws(FormatError) in
            try pieces[tag].check(bytes)
            kept.keep(tag, bytes)
        }
        for (tag, piece) in pieces.enumerated() where outcomes[tag] == nil {
            if failures[tag] != nil, let bytes = rescue?(piece) {
                outcomes[tag] = .bytes(bytes)
            } else if let failure = failures[tag] {
                outcomes[tag] = .lost(fault(failure, piece.extent, piece.pack, piece.part))
            } else if let bytes = kept.take(tag) {
                outcomes[tag] = .bytes(bytes)
            }
        }
        return outcomes.map { $0 ?? .lost(FaultPlace("", "")) }
    }

    func read(
        _ ranges: [FetchRange], _ check: @escaping MemberCheck
    ) throws(VerifyError) -> [Int: FetchError] {
        var failures: [Int: FetchError] = [:]
        var rest = ranges[...]
        while !rest.isEmpty {
            var bytes: UInt64 = 0
            let some = rest.prefix { range in
                defer { bytes += range.length }
                return bytes < Self.sliceBytesMax
            }
            rest = rest.dropFirst(some.count)
            do throws(FetchError) {
                failures.merge(try reads.read(Array(some), check: check)) { $1 }
            } catch { throw VerifyError(error) }
            meter.add(some.reduce(0) { $0 + $1.length })
            tell()
        }
        return failures
    }

    /// Bytes between two words on how far it has come.
    private static var sliceBytesMax: UInt64 { 512 << 20 }

    func place(of extent: PackExtent, in pack: UInt32, _ part: String) -> FaultPlace {
        FaultPlace(packs[pack].id.key, part, UInt64(extent.offset)..<extent.end)
    }

    /// Notes why a member of a pack does not come.
    mutating func fault(
        _ failure: FetchError, _ extent: PackExtent, _ pack: UInt32, _ part: String
    ) -> FaultPlace {
        let owner = packs[pack].id.volume
        if case .missingObject = failure { return missingPack(pack) }
        let place = place(of: extent, in: pack, part)
        let detail =
            switch failure {
            case .damaged(_, let detail), .refused(_, let detail), .away(_, let detail): detail
            case .missingObject(let key): key
            }
        log.add(place, .damaged, detail, owner: owner)
        return place
    }

    // MARK: Pack tables

    private mutating func loadPackTables(_ batch: VerifyBatch) throws(VerifyError) {
        var wanted: [PackPointer: [(commit: Int, page: UInt32)]] = [:]
        for (number, walked) in batch.commits.enumerated() {
            for entry in walked.commit.packPages.entries {
                switch entry.page {
                case .packed(let pointer):
                    wanted[pointer, default: []].append((number, entry.index))
                case .inline(let bytes):
                    let page = bytes.withUnsafeBytes {
                        try? PackTablePage(decoding: $0, index: entry.index)
                    }
                    if let page { walked.slotPages[entry.index] = SlotPage(page, &packs) }
                }
            }
        }
        let order = wanted.sorted { $0.key.offset < $1.key.offset }
        notePages(order.map(\.key), .packPage)
        let outcomes = try read(
            order.map { pointer, users in
                let (hash, index) = (pointer.hash, users[0].page)
                return Piece(
                    pack: packs.number(of: pointer.pack), extent: pointer.extent, hash: hash,
                    part: FormatName.packPage.rawValue
                ) { bytes throws(FormatError) in
                    try MapChecks.packPage(bytes, hash: hash, index: index)
                }
            })
        counts.pages += outcomes.count
        for ((_, users), outcome) in zip(order, outcomes) {
            for (commit, index) in users {
                let walked = batch.commits[commit]
                switch outcome {
                case .lost(let place):
                    walked.lostPages[index] = place
                    walked.isWhole = false
                    log.hit(place, walked.subject, nil)
                case .bytes(let buffer):
                    let bytes = UnsafeRawBufferPointer(buffer.bytes)
                    if let page = try? PackTablePage(decoding: bytes, index: index) {
                        walked.slotPages[index] = SlotPage(page, &packs)
                    }
                }
            }
        }
    }

    // MARK: Chunk tables

    private mutating func walk(_ page: UInt32, _ batch: VerifyBatch) throws(VerifyError) {
        var pages: [(bytes: FetchBuffer, commits: [Int])] = []
        var wanted: [PackPointer: [Int]] = [:]
        for (number, walked) in batch.commits.enumerated() {
            switch walked.commit.chunkPages[page] {
            case nil: continue
            case .inline(let bytes):
                pages.append((bytes.withUnsafeBytes { FetchBuffer(copying: $0) }, [number]))
            case .packed(let pointer): wanted[pointer, default: []].append(number)
            }
        }
        let order = wanted.sorted { $0.key.offset < $1.key.offset }
        notePages(order.map(\.key), .chunkPage)
        let outcomes = try read(
            order.map { pointer, users in
                let (hash, blockBytes) = (
                    pointer.hash, batch.commits[users[0]].commit.blockBytes
                )
                return Piece(
                    pack: packs.number(of: pointer.pack), extent: pointer.extent, hash: hash,
                    part: FormatName.chunkPage.rawValue
                ) { bytes throws(FormatError) in
                    try MapChecks.chunkPage(
                        bytes, hash: hash, index: page, blockBytes: blockBytes)
                }
            })
        counts.pages += outcomes.count
        for ((_, users), outcome) in zip(order, outcomes) {
            switch outcome {
            case .bytes(let buffer): pages.append((buffer, users))
            case .lost(let place):
                for user in users {
                    let walked = batch.commits[user]
                    walked.isWhole = false
                    log.hit(place, walked.subject, walked.range(ofChunkPage: page))
                }
            }
        }
        try walk(pages, page, batch)
    }

    /// Chunk by chunk, all commits side by side.
    private mutating func walk(
        _ pages: [(bytes: FetchBuffer, commits: [Int])], _ page: UInt32, _ batch: VerifyBatch
    ) throws(VerifyError) {
        let views = pages.map {
            ChunkTablePageView(validated: UnsafeRawBufferPointer($0.bytes.bytes))
        }
        var next = views.compactMap { $0.firstPresent(from: 0) }.min()
        while let index = next {
            let chunk = ChunkIndex(UInt64(page) * UInt64(Limits.tablePageEntries) + UInt64(index))
            for (view, users) in zip(views, pages.map(\.commits)) {
                guard let entry = view.entry(at: index) else { continue }
                for user in users { meet(entry, of: chunk, user, batch) }
            }
            if batch.nodeOrder.count >= Self.nodesAtOnce { try readNodes(batch) }
            next = views.compactMap { $0.firstPresent(from: index + 1) }.min()
        }
    }

    /// A commit's entry of a chunk.
    private mutating func meet(
        _ entry: ChunkEntry, of chunk: ChunkIndex, _ commit: Int, _ batch: VerifyBatch
    ) {
        let walked = batch.commits[commit]
        walked.digest?.add(chunk, entry.digest)
        walked.refer(to: entry.slot)
        guard let pack = resolve(entry.slot, walked, walked.range(of: chunk)) else {
            walked.isWhole = false
            return
        }
        let place = NodePlace(
            chunk: chunk, entry: entry, pack: pack, blockBytes: walked.commit.blockBytes)
        if batch.nodes[place] == nil { batch.nodeOrder.append(place) }
        batch.nodes[place, default: []].append(commit)
    }

    /// The pack that a slot means to a commit; nil: a fault that takes `range` with it.
    mutating func resolve(
        _ slot: PackSlot, _ walked: WalkedCommit, _ range: Range<UInt64>?
    ) -> UInt32? {
        switch walked.meaning(of: slot) {
        case .pack(let number): return number
        case .unreadable(let place): log.hit(place, walked.subject, range)
        case .free:
            let place = FaultPlace(walked.commit.key.key, "pack slot \(slot)")
            log.add(
                place, .inconsistent, "the map refers to it, and the pack table has nothing there",
                owner: walked.commit.volume)
            log.hit(place, walked.subject, range)
        }
        return nil
    }
}
