// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The image of a volume in a file or a stream: from a pinned source to a whole file under its name,
// or nothing.

import Formats
public import HostIO
public import ObjectStore
public import Primitives
public import VolumeMap

/// What an image is written as.
public enum ImageFormat: Equatable, Sendable {
    case raw
    case qcow2(QcowCompression?)
    /// What differs from another commit; without one, what is not zeros.
    case blockDiff(BlockDiffForm)
}

/// How a block diff of volumes is written.
public enum BlockDiffForm: Equatable, Sendable {
    case v1
    /// With digests both disks are read in full, and not only what changed.
    case v2(Codec, hasDigests: Bool)
}

/// What came out.
public struct ExportSummary: Equatable, Sendable {
    /// Bytes of the disk.
    public let size: UInt64
    /// Bytes of its blocks that hold data; of a block diff, bytes that it tells.
    public let dataBytes: UInt64
}

/// One export. Confined to the thread that calls it; reads and writes are spread as `spread` says.
public struct ImageExport<Store: ObjectStore> {
    private let store: Store
    private let source: ExportSource
    private let format: ImageFormat
    private let spread: FetchSpread
    private let report: ExportProgressReport

    public init(
        _ source: ExportSource, from store: Store, as format: ImageFormat,
        spread: @escaping FetchSpread = oneByOne,
        progress: @escaping ExportProgressReport = { _ in true }
    ) {
        precondition(source.base == nil || format.isDifference, "an image stands alone")
        self.source = source
        self.store = store
        self.format = format
        self.spread = spread
        report = progress
    }

    /// Writes a file that is whole and durable on return, and its owner's alone unless it replaces
    /// one. If it throws, nothing is there that was not before. `token` is a random number, for the
    /// temporary name.
    public func write<Storage: ExtentDirectory>(
        _ place: ImagePlace<Storage>, replaces: Bool, token: UInt64
    ) throws(ExportError) -> ExportSummary {
        try OutputFile.make(place, replaces: replaces, token: token) { file throws(ExportError) in
            try fill(file)
        }
    }

    private func fill<File: BlockFile>(_ file: File) throws(ExportError) -> ExportSummary {
        let reader = try reader()
        let size = source.commit.size
        switch format {
        case .raw:
            let sink = RawFile(file, spread: spread)
            try reader.run(into: sink, report)
            try sink.finish(size: size)
        case .qcow2(let compression):
            let sink = QcowFile(
                file,
                layout: QcowLayout(
                    size: size, blockBytes: source.commit.blockBytes, compression: compression),
                spread: spread)
            try reader.run(into: sink, report)
            try sink.finish()
        case .blockDiff(let form): return try diff(form, reader, FileSink(file))
        }
        return try summary(reader)
    }

    /// Writes to a stream, in order. What was written stays if it throws. Only formats for which
    /// `isStream` holds.
    public func write(to stream: some ByteStream) throws(ExportError) -> ExportSummary {
        precondition(format.isStream, "the format is written out of order")
        let reader = try reader()
        if case .blockDiff(let form) = format {
            return try diff(form, reader, StreamSink(stream: stream))
        }
        let sink = RawStream(stream)
        try reader.run(into: sink, report)
        try sink.finish(size: source.commit.size)
        return try summary(reader)
    }

    private func diff(
        _ form: BlockDiffForm, _ reader: ImageReader<Store>, _ sink: some DiffSink
    ) throws(ExportError) -> ExportSummary {
        let diff = VolumeDiff(
            reader, targetBytes: source.commit.size.rawValue,
            baseBytes: source.base?.size.rawValue ?? 0, report)
        let told: UInt64
        switch form {
        case .v1: told = try diff.writeV1(sink)
        case .v2(let codec, let hasDigests):
            let target = try hasDigests ? digest(of: source.commit) : nil
            var base: Hash128?
            if hasDigests, let older = source.base { base = try digest(of: older) }
            told = try diff.writeV2(sink, codec: codec, targetDigest: target, baseDigest: base)
        }
        return ExportSummary(size: source.commit.size.rawValue, dataBytes: told)
    }

    private func digest(of commit: Commit) throws(ExportError) -> Hash128 {
        let sink = DigestSink(size: commit.size.rawValue)
        try ImageReader(store: store, target: commit, base: nil, spread: spread)
            .run(into: sink) { report(ExportProgress(bytes: 0, bytesTotal: $0.bytesTotal)) }
        return sink.finish()
    }

    private func reader() throws(ExportError) -> ImageReader<Store> {
        try ImageReader(store: store, target: source.commit, base: source.base, spread: spread)
    }

    private func summary(_ reader: ImageReader<Store>) throws(ExportError) -> ExportSummary {
        ExportSummary(size: source.commit.size.rawValue, dataBytes: try reader.bytesMax())
    }
}

extension OutputFile {
    /// A file of its owner's that has its name once `fill` succeeded and all is durable; else
    /// nothing is left.
    static func make<Value>(
        _ place: ImagePlace<Storage>, replaces: Bool, token: UInt64,
        _ fill: (Storage.File) throws(ExportError) -> Value
    ) throws(ExportError) -> Value {
        let made: OutputFile<Storage>
        do throws(ImageFileError) {
            made = try OutputFile(place, replaces: replaces, readers: .owner, token: token)
        } catch { throw ExportError(error) }
        do throws(ExportError) {
            let value = try fill(made.file)
            do throws(ImageFileError) { try made.publish() } catch { throw ExportError(error) }
            return value
        } catch {
            made.discard()
            throw error
        }
    }
}

extension ImageFormat {
    /// It can be written from its beginning to its end.
    public var isStream: Bool {
        if case .qcow2 = self { false } else { true }
    }

    /// It can say what changed since another commit.
    public var isDifference: Bool {
        if case .blockDiff = self { true } else { false }
    }
}
