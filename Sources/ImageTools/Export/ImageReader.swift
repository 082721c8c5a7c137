// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reads the image of a commit, or its difference from another, from a store into a sink: window by
// window, in order. While a sink takes one window the next is being read, so that store and disk
// work at the same time. Nothing reaches a sink before its hash was checked.

import CleanCache
import Formats
import ObjectStore
import Primitives
import Synchronization
import VolumeMap

/// How far an export has come.
public struct ExportProgress: Sendable {
    /// Bytes of blocks that are in the image.
    public let bytes: UInt64
    /// Of those that there will be at most.
    public let bytesTotal: UInt64
}

/// Hears of progress, on the thread that exports; false: stop.
public typealias ExportProgressReport = (ExportProgress) -> Bool

/// Takes the blocks of an image. Calls come one after another, from any thread.
protocol ImageSink: AnyObject, Sendable {
    /// Blocks ascend, over all calls. Their content is lent for the call.
    func take(_ blocks: [ImageBlock]) throws(ExportError)
}

/// Gives the blocks of an image, or of a difference, to a sink. Every run gives the same.
protocol ImageFeed {
    /// Without `content` the sink gets what is told of each block, and content is read only where
    /// that depends on it.
    func run(
        into sink: some ImageSink, content: Bool, _ report: ExportProgressReport
    ) throws(ExportError)
}

/// Confined to the thread that exports; reads are spread as `spread` says.
struct ImageReader<Store: ObjectStore>: ImageFeed {
    /// Bytes of blocks that are held at one time, twice: one window is written while the next is
    /// read.
    static var windowBytes: Int { 32 << 20 }
    /// Bytes of one GET: several for each window.
    private static var rangeBytesMax: UInt64 { 2 << 20 }
    private static var packsKnownMax: Int { 1 << 16 }

    private let walk: ImageWalk<Store>
    private let fetcher: MapFetcher<Store>
    private let spread: FetchSpread

    /// Fails if the two commits have blocks of different sizes. `tellsWhole`: each block that may
    /// differ is told as a whole.
    init(
        store: Store, target: Commit, base: Commit?, tellsWhole: Bool = false,
        spread: @escaping FetchSpread
    ) throws(ExportError) {
        if let base, base.blockBytes != target.blockBytes {
            throw .blockSizes(target: target.blockBytes, base: base.blockBytes)
        }
        // For table pages alone; nodes and frames pass by.
        let fetcher = MapFetcher(
            store: store, cache: CleanCache(capacityBytes: Limits.cacheBytesMin), spread: spread)
        self.fetcher = fetcher
        self.spread = spread
        walk = ImageWalk(
            target: Root(commit: target), base: base.map { Root(commit: $0) },
            tellsWhole: tellsWhole, fetcher: fetcher)
    }

    private var size: ByteCount { walk.target.root.size }
    private var blockBytes: Int { walk.target.root.blockBytes }

    /// Bytes that the blocks of the image take at most, from the tables alone.
    func bytesMax() throws(ExportError) -> UInt64 { try walk.blocksMax() * UInt64(blockBytes) }

    /// Reads everything into the sink. If it throws, what the sink has is a whole beginning.
    func run(
        into sink: some ImageSink, content: Bool = true, _ report: ExportProgressReport
    ) throws(ExportError) {
        let total = try bytesMax()
        var filling = window(content)
        var resting = window(content)
        var packs: [ContentWindow.Side: [PackSlot: PackID]] = [:]
        var ready: [ImageBlock] = []
        var done: UInt64 = 0

        func tell() throws(ExportError) {
            let progress = ExportProgress(bytes: min(done, total), bytesTotal: total)
            guard report(progress) else { throw .stopped }
        }
        func turn() throws(ExportError) {
            try tell()
            let taken = ready
            try read(filling, &packs, beside: Handing(taken, to: sink))
            done += UInt64(taken.count) * UInt64(blockBytes)
            ready = filling.settle(size: size)
            (filling, resting) = (resting, filling)
            filling.clear()
        }

        try walk.forEachDemand { demand throws(ExportError) in
            if !filling.hasRoom { try turn() }
            filling.add(demand)
        }
        try turn()
        try turn()
        try tell()
    }

    private func window(_ content: Bool) -> ContentWindow {
        ContentWindow(blockBytes: blockBytes, bytes: Self.windowBytes, readsAll: content)
    }

    /// Brings the window's frames, while `handing` is done.
    private func read(
        _ window: ContentWindow, _ packs: inout [ContentWindow.Side: [PackSlot: PackID]],
        beside handing: Handing
    ) throws(ExportError) {
        var located: [WantedBytes] = []
        located.reserveCapacity(window.wanted.count)
        for (tag, wanted) in window.wanted.enumerated() {
            let side = side(wanted.side)
            let pack: PackID
            if let known = packs[wanted.side]?[wanted.frame.slot] {
                pack = known
            } else {
                do throws(FetchError) {
                    pack = try fetcher.packID(of: wanted.frame.slot, in: side.root)
                } catch { throw failure(error, tag, window) }
                if packs[wanted.side]?.count ?? 0 >= Self.packsKnownMax { packs = [:] }
                packs[wanted.side, default: [:]][wanted.frame.slot] = pack
            }
            located.append(WantedBytes(pack: pack, extent: wanted.frame.extent, tag: tag))
        }
        let ranges = planRanges(located, rangeBytesMax: Self.rangeBytesMax)
        let failures: [Int: FetchError]
        do throws(FetchError) {
            failures = try fetcher.reads.beside(handing.run).read(ranges) {
                tag, bytes throws(FormatError) in try window.decode(tag, bytes)
            }
        } catch { throw .away(error) }
        if let failure = handing.failure { throw failure }
        let first = failures.min { window.block(of: $0.key) < window.block(of: $1.key) }
        if let (tag, error) = first { throw failure(error, tag, window) }
    }

    private func side(_ side: ContentWindow.Side) -> ImageSide {
        switch side {
        case .target: walk.target
        case .base: walk.base ?? walk.target
        }
    }

    private func failure(_ error: FetchError, _ tag: Int, _ window: ContentWindow) -> ExportError {
        let block = window.block(of: tag).rawValue
        let side = side(window.wanted[tag].side)
        return side.failure(side.range(ofBlocks: block..<(block + 1)), error)
    }
}

/// Blocks on their way into a sink, beside reads.
private final class Handing: @unchecked Sendable {
    // Confined: the blocks to the one call of `run`; the outcome is read after it has returned.
    private let blocks: [ImageBlock]
    private let sink: any ImageSink
    private(set) var failure: ExportError?

    init(_ blocks: [ImageBlock], to sink: any ImageSink) {
        self.blocks = blocks
        self.sink = sink
    }

    @Sendable func run() {
        if blocks.isEmpty { return }
        do throws(ExportError) { try sink.take(blocks) } catch { failure = error }
    }
}
