// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which bytes of a commit differ from an older one, without what they are: for those that read the
// disk themselves.

import Formats
public import ObjectStore
public import VolumeMap

public enum ChangedBytes {
    /// Ascending, apart, none empty. Content is read only where that decides what differs. Beyond a
    /// million ranges neighbours are joined over what did not change. `source` has a base. Ends
    /// with `stopped` when it is not wanted any more.
    public static func ranges<Store: ObjectStore>(
        of source: ExportSource, from store: Store, spread: @escaping FetchSpread = oneByOne,
        isWanted: () -> Bool = { true }
    ) throws(ExportError) -> [Range<UInt64>] {
        precondition(source.base != nil, "changes are since something")
        let sink = RangeSink()
        try ImageReader(store: store, target: source.commit, base: source.base, spread: spread)
            .run(into: sink, content: false) { _ in isWanted() }
        return sink.ranges
    }
}

private final class RangeSink: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private var told = ChangedRanges()

    func take(_ blocks: [ImageBlock]) {
        for block in blocks {
            block.forEachRun { run in
                told.append(
                    ChangedRange(
                        .data, offset: block.offset + UInt64(run.lowerBound),
                        length: UInt64(run.count)))
            }
        }
    }

    var ranges: [Range<UInt64>] { told.ranges.map { $0.offset..<$0.end } }
}
