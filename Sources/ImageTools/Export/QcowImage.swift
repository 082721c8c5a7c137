// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A qcow2 image in a file: each block with data is one cluster. Places are given out in order by
// one thread, blocks are compressed and written by many; the same image comes out of any number of
// threads. The header is written last: before that the file is no qcow2 image.

import Committer
import HostIO
import Primitives
import Synchronization
import VolumeMap

/// Fills a fresh, empty file.
final class QcowFile<File: BlockFile>: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another; threads of a call share its blocks alone.
    private let file: File
    private let layout: QcowLayout
    private let spread: FetchSpread
    private var clusters: QcowClusters
    private var firstTable: [UInt64]
    private var table: SecondTable?

    /// The second-level table that is being filled.
    private struct SecondTable {
        let index: Int
        let offset: UInt64
        var entries: [UInt64]
    }

    init(_ file: File, layout: QcowLayout, spread: @escaping FetchSpread) {
        self.file = file
        self.layout = layout
        self.spread = spread
        clusters = QcowClusters(layout)
        firstTable = Array(repeating: 0, count: layout.firstTableEntries)
    }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        let shared = SharedBlocks(blocks)
        let stored = StoredClusters(count: blocks.count)
        let (layout, file) = (layout, file)
        try together(blocks.count, spread) { index throws(ExportError) in
            stored.pack(index, shared.blocks[index], layout)
        }
        var places = [UInt64](repeating: 0, count: blocks.count)
        for index in blocks.indices {
            places[index] = try place(blocks[index], stored.forms[index])
        }
        let offsets = places
        try together(blocks.count, spread) { index throws(ExportError) in
            try output { () throws(HostIOError) in
                switch stored.forms[index] {
                case .zeros: break
                case .whole: try file.writeData(of: shared.blocks[index], at: offsets[index])
                case .compressed(let buffer, let count):
                    try file.write(
                        at: offsets[index],
                        UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
                }
            }
        }
    }

    /// Everything is in. Not yet durable.
    func finish() throws(ExportError) {
        try closeTable()
        try write(QcowLayout.bytes(of: firstTable), at: layout.firstTableOffset)
        let last = clusters.finish()
        try write(last)
        try write(QcowLayout.bytes(of: clusters.refcountBlocks), at: layout.refcountTableOffset)
        try output { () throws(HostIOError) in try file.resize(clusters.fileBytes) }
        try write(layout.header(), at: 0)
    }

    /// Gives a cluster its place in the file and in its table.
    private func place(
        _ block: ImageBlock, _ form: StoredClusters.Form
    ) throws(ExportError) -> UInt64 {
        if case .zeros = form { return 0 }
        let cluster = block.offset / UInt64(layout.clusterBytes)
        let index = Int(cluster / UInt64(layout.tableEntries))
        if table?.index != index {
            try closeTable()
            table = SecondTable(
                index: index, offset: clusters.one(),
                entries: Array(repeating: 0, count: layout.tableEntries))
        }
        let offset: UInt64
        let entry: UInt64
        if case .compressed(_, let count) = form {
            offset = clusters.room(for: count)
            entry = layout.entry(compressedAt: offset, count: count)
        } else {
            offset = clusters.one()
            entry = QcowLayout.entry(at: offset)
        }
        table?.entries[Int(cluster % UInt64(layout.tableEntries))] = entry
        try write(clusters.takeFinished())
        return offset
    }

    private func closeTable() throws(ExportError) {
        guard let table else { return }
        try write(QcowLayout.bytes(of: table.entries), at: table.offset)
        firstTable[table.index] = QcowLayout.entry(at: table.offset)
        self.table = nil
    }

    private func write(_ blocks: [QcowClusters.RefcountBlock]) throws(ExportError) {
        for block in blocks { try write(block.bytes, at: block.offset) }
    }

    private func write(_ bytes: [UInt8], at offset: UInt64) throws(ExportError) {
        try output { () throws(HostIOError) in try file.write(at: offset, bytes) }
    }
}

/// What becomes of each block of a call. Threads fill places of their own.
private final class StoredClusters: Sendable {
    enum Form: Sendable {
        /// It reads as zeros without a place.
        case zeros
        case whole
        case compressed(FetchBuffer, count: Int)
    }

    private let found: Lock<[Form]>

    init(count: Int) { found = Lock(Array(repeating: .zeros, count: count)) }

    var forms: [Form] { found.withLock { $0 } }

    func pack(_ index: Int, _ block: ImageBlock, _ layout: QcowLayout) {
        guard let content = block.content, !isAllZero(content) else { return }
        let form = Self.compressed(content, layout) ?? .whole
        found.withLock { $0[index] = form }
    }

    /// Nil if it gains nothing, or is not asked for. A short last block is padded with zeros.
    private static func compressed(
        _ content: UnsafeRawBufferPointer, _ layout: QcowLayout
    ) -> Form? {
        guard layout.compression == .zstd else { return nil }
        var content = content
        let padded = content.count < layout.clusterBytes
        let whole = FetchBuffer(byteCount: padded ? layout.clusterBytes : 0)
        if padded {
            whole.bytes.initializeMemory(as: UInt8.self, repeating: 0)
            whole.bytes.copyMemory(from: content)
            content = UnsafeRawBufferPointer(whole.bytes)
        }
        // Less than a cluster, and at least a sector less, or reading it only costs.
        let room = FetchBuffer(byteCount: layout.clusterBytes - 512)
        let count = Compression.compress(content, into: room.bytes, codec: .zstd, zstdLevel: 3)
        guard let count else { return nil }
        let kept = FetchBuffer(
            copying: UnsafeRawBufferPointer(rebasing: room.bytes[..<count]))
        return .compressed(kept, count: count)
    }
}
