// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a journal holds beyond a commit, as a block diff from that commit: applied to its disk, it
// gives the disk as the writer of the journal had it.

import Formats
public import HostIO
public import Journal
public import Primitives
import VolumeMap

/// One salvage. Confined to the thread that calls it.
public struct JournalExport<Journals: StorageDirectory> {
    private let journal: SalvagedJournal<Journals>
    private let baseBytes: UInt64
    private let codec: Codec?
    private let report: ExportProgressReport

    /// - Parameters:
    ///   - base: the size of the commit that the journal continues.
    ///   - codec: how pieces of version 2 are stored; nil: version 1.
    public init(
        _ journal: SalvagedJournal<Journals>, base: ByteCount, codec: Codec?,
        progress: @escaping ExportProgressReport = { _ in true }
    ) {
        self.journal = journal
        baseBytes = base.rawValue
        self.codec = codec
        report = progress
    }

    /// Writes a file that is whole and durable on return, and its owner's alone unless it replaces
    /// one. If it throws, nothing is there that was not before. `token` is a random number, for the
    /// temporary name.
    public func write<Storage: ExtentDirectory>(
        _ place: ImagePlace<Storage>, replaces: Bool, token: UInt64
    ) throws(ExportError) -> ExportSummary {
        try OutputFile.make(place, replaces: replaces, token: token) { file throws(ExportError) in
            try write(FileSink(file))
        }
    }

    /// Writes to a stream, in order. What was written stays if it throws.
    public func write(to stream: some ByteStream) throws(ExportError) -> ExportSummary {
        try write(StreamSink(stream: stream))
    }

    private func write(_ sink: some DiffSink) throws(ExportError) -> ExportSummary {
        let size = journal.size.rawValue
        let diff = VolumeDiff(
            JournalFeed(journal: journal), targetBytes: size, baseBytes: baseBytes, report)
        let told =
            if let codec {
                try diff.writeV2(sink, codec: codec, targetDigest: nil, baseDigest: nil)
            } else {
                try diff.writeV1(sink)
            }
        return ExportSummary(size: size, dataBytes: told)
    }
}

/// Gives the blocks that a journal tells of.
private struct JournalFeed<Storage: StorageDirectory>: ImageFeed {
    let journal: SalvagedJournal<Storage>

    func run(
        into sink: some ImageSink, content: Bool, _ report: ExportProgressReport
    ) throws(ExportError) {
        let blockBytes = UInt64(journal.blockBytes)
        let room = FetchBuffer(byteCount: journal.blockBytes)
        let total = journal.verdict.writtenBytes
        var done: UInt64 = 0
        try journal.forEachBlock { index throws(ExportError) in
            let offset = index.rawValue * blockBytes
            guard offset < journal.size.rawValue else { return }
            let states = journal.grains(of: index)
            let (told, data) = masks(states)
            if content { try fill(room.bytes, with: states) }
            let byteCount = Int(min(blockBytes, journal.size.rawValue - offset))
            let bytes = UnsafeRawBufferPointer(rebasing: room.bytes[..<byteCount])
            try sink.take([
                ImageBlock(
                    offset: offset, grains: told, content: data == 0 ? nil : bytes,
                    byteCount: byteCount, isHole: data == 0)
            ])
            done += UInt64(data * Limits.grainBytes)
            guard report(ExportProgress(bytes: min(done, total), bytesTotal: total)) else {
                throw .stopped
            }
        }
    }

    /// The grains that are told, and how many of them are not zeros.
    private func masks(_ states: [GrainState]) -> (told: GrainMask, data: Int) {
        var told = GrainMask()
        var data = 0
        for (grain, state) in states.enumerated() where state != .absent {
            told.insert(grain..<(grain + 1))
            if state != .zero { data += 1 }
        }
        return (told, data)
    }

    /// Grains that follow each other in the journal are read by one call.
    private func fill(
        _ room: UnsafeMutableRawBufferPointer, with states: [GrainState]
    ) throws(ExportError) {
        room.initializeMemory(as: UInt8.self, repeating: 0)
        var grain = 0
        while grain < states.count {
            guard case .page(let first) = states[grain] else {
                grain += 1
                continue
            }
            var count = 1
            while grain + count < states.count,
                states[grain + count] == .page(first.advanced(by: count))
            {
                count += 1
            }
            let start = grain * Limits.grainBytes
            let part = UnsafeMutableRawBufferPointer(
                rebasing: room[start..<(start + count * Limits.grainBytes)])
            do throws(HostIOError) { try journal.read(first, into: part) } catch {
                throw .journal(error)
            }
            grain += count
        }
    }
}
