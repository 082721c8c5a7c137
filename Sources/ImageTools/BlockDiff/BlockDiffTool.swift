// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Block diffs of files: make one, apply one, look into one. Memory is bounded whatever the files
// hold: four pieces of 1 MiB and at most 24 MiB of ranges, 256 MiB for a diff of others.

import Formats
public import HostIO
public import Primitives

/// Where a diff is written to or read from.
public enum DiffEnd<Storage: ExtentDirectory>: Sendable {
    case file(ImagePlace<Storage>)
    case stream(HostStream)

    var path: String {
        switch self {
        case .file(let place): place.path
        case .stream(let stream): stream.name
        }
    }
}

public struct DiffCreation: Sendable {
    public var version = 1
    /// Version 2 only: how its pieces are stored.
    public var codec = Codec.zstd
    /// Version 2 only: reads both files to their ends, so that a wrong base can be refused.
    public var takesDigests = true
    /// A file that has the name of the diff is replaced.
    public var replaces = false

    public init() {}
}

public struct DiffApplication: Sendable {
    /// A file that has the name of the target is replaced.
    public var replaces = false
    /// The digest of the base is not checked.
    public var trustsBase = false

    public init() {}
}

/// What was made or applied.
public struct DiffSummary: Equatable, Sendable {
    public var head: DiffHead
    /// Ranges as version 1 counts them; pieces of version 2 when applied.
    public var rangeCount: Int
    /// Bytes of the target that are said to differ.
    public var changedBytes: UInt64
}

/// The tool, over the files of one kind of storage.
public struct BlockDiffTool<Storage: ExtentDirectory> {
    private let progress: (_ done: UInt64, _ total: UInt64) -> Bool
    private let token: UInt64

    /// - Parameters:
    ///   - token: a random number, for the name of temporary files.
    ///   - progress: bytes dealt with and in all, as far as is known; false stops the work, which
    ///     then leaves nothing behind.
    public init(
        token: UInt64, progress: @escaping (_ done: UInt64, _ total: UInt64) -> Bool
    ) {
        self.token = token
        self.progress = progress
    }

    private static var pieceBytes: Int { Int(BlockDiffPiece.dataBytesMax) }

    /// Room for two pieces.
    private func withRoom<Value>(
        _ body: (UnsafeMutableRawBufferPointer) throws(BlockDiffError) -> Value
    ) throws(BlockDiffError) -> Value {
        let room = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 2 * Self.pieceBytes, alignment: 4096)
        defer { room.deallocate() }
        return try body(room)
    }

    /// Makes a file that has its name once `body` succeeded and all is durable; else nothing is
    /// left.
    private func make(
        _ place: ImagePlace<Storage>, replacing: Bool, readers: FileReaders,
        _ body: (Storage.File) throws(BlockDiffError) -> Void
    ) throws(BlockDiffError) {
        let made = try named { () throws(ImageFileError) in
            try OutputFile(place, replaces: replacing, readers: readers, token: token)
        }
        do throws(BlockDiffError) {
            try body(made.file)
            try named { () throws(ImageFileError) in try made.publish() }
        } catch {
            made.discard()
            throw error
        }
    }

    // MARK: Create

    /// Writes what `target` has that `base` has not. Neither may be written meanwhile: where the
    /// times of the files show it, that is an error.
    public func create(
        _ diff: DiffEnd<Storage>, target: ImagePlace<Storage>, base: ImagePlace<Storage>?,
        _ options: DiffCreation
    ) throws(BlockDiffError) -> DiffSummary {
        precondition(options.version == 1 || options.version == 2)
        let ours = try Input(target)
        let theirs = try base.map { place throws(BlockDiffError) in try Input(place) }
        // Refused before hours of reading.
        switch diff {
        case .stream(let stream): if stream.isTerminal { throw .terminal }
        case .file(let place):
            try Self.check(place, replacing: options.replaces, others: [ours, theirs])
        }
        return try withRoom { room throws(BlockDiffError) in
            var progress = DiffProgress(progress)
            let hasDigests = options.version == 2 && options.takesDigests
            progress.expect(ours.facts.size)
            if hasDigests { progress.expect(ours.facts.size + (theirs?.facts.size ?? 0)) }
            let targetDigest =
                try hasDigests ? ours.digest(room, &progress) : nil
            let baseDigest = try hasDigests ? theirs?.digest(room, &progress) : nil
            var finder = DiffFinder(
                target: ours.file, targetBytes: ours.facts.size, base: theirs?.file,
                baseBytes: theirs?.facts.size ?? 0, room: room)
            let changed = try finder.find(
                areNeighbours: ours.facts.device == theirs?.facts.device, &progress)
            progress.expect(changed.byteCount)
            let parts = Parts(
                ours: ours, theirs: theirs, changed: changed, targetDigest: targetDigest,
                baseDigest: baseDigest, options: options, room: room)
            switch diff {
            case .stream(let stream): try write(parts, StreamSink(stream: stream), &progress)
            case .file(let place):
                try make(place, replacing: options.replaces, readers: .mode(ours.facts.mode)) {
                    file throws(BlockDiffError) in
                    try write(parts, FileSink(file), &progress)
                }
            }
            return DiffSummary(
                head: DiffHead(
                    version: options.version, targetBytes: ours.facts.size,
                    baseBytes: theirs?.facts.size ?? 0, baseDigest: baseDigest,
                    targetDigest: targetDigest),
                rangeCount: changed.plain.count, changedBytes: changed.byteCount)
        }
    }

    /// A file that is read, as it was when the work began.
    private struct Input {
        let file: Storage.File
        let facts: FileFacts
        let path: String

        init(_ place: ImagePlace<Storage>) throws(BlockDiffError) {
            (file, facts) = try named { () throws(ImageFileError) in try place.open() }
            path = place.path
        }

        func digest(
            _ room: UnsafeMutableRawBufferPointer, _ progress: inout DiffProgress
        ) throws(BlockDiffError) -> Hash128 {
            try DiffDigest.of(file, path: path, size: facts.size, room: room, &progress)
        }

        /// Throws if the file was written since.
        func checkUnchanged() throws(BlockDiffError) {
            let now = try io { () throws(HostIOError) in try file.facts() }
            guard now.size == facts.size, now.modified == facts.modified else {
                throw .changed(path)
            }
        }
    }

    private struct Parts {
        let ours: Input
        let theirs: Input?
        let changed: ChangedRanges
        let targetDigest: Hash128?
        let baseDigest: Hash128?
        let options: DiffCreation
        let room: UnsafeMutableRawBufferPointer
    }

    private func write(
        _ parts: Parts, _ sink: some DiffSink, _ progress: inout DiffProgress
    ) throws(BlockDiffError) {
        var writer = DiffWriter(
            target: parts.ours.file, targetPath: parts.ours.path,
            targetBytes: parts.ours.facts.size, baseBytes: parts.theirs?.facts.size ?? 0,
            changed: parts.changed, sink: sink, room: parts.room)
        if parts.options.version == 1 {
            try writer.writeV1(&progress)
        } else {
            try writer.writeV2(
                baseDigest: parts.baseDigest, targetDigest: parts.targetDigest,
                codec: parts.options.codec, &progress)
        }
        try parts.ours.checkUnchanged()
        try parts.theirs?.checkUnchanged()
    }

    // MARK: Apply

    /// Makes the target of a diff. It has its name when it is whole and durable; the file that had
    /// the name until then stays as it was if anything fails.
    public func apply(
        _ diff: DiffEnd<Storage>, target: ImagePlace<Storage>, base: ImagePlace<Storage>?,
        _ options: DiffApplication
    ) throws(BlockDiffError) -> DiffSummary {
        switch diff {
        case .stream(let stream):
            try Self.check(target, replacing: options.replaces, others: [])
            return try apply(StreamSource(stream), target: target, base: base, options)
        case .file(let place):
            let input = try Input(place)
            try Self.check(target, replacing: options.replaces, others: [input])
            return try apply(
                try FileSource(input.file, name: place.path), target: target, base: base, options)
        }
    }

    /// Refuses to write over what may not be replaced, and over what is read under another name.
    private static func check(
        _ place: ImagePlace<Storage>, replacing: Bool, others: [Input?]
    ) throws(BlockDiffError) {
        let found = try named { () throws(ImageFileError) in
            try place.check(replacing: replacing)
        }
        guard let found else { return }
        for other in others where other?.facts.inode == found.inode {
            guard other?.facts.device != found.device else { throw .sameFile(place.path) }
        }
    }

    private func apply(
        _ source: some DiffSource, target: ImagePlace<Storage>, base: ImagePlace<Storage>?,
        _ options: DiffApplication
    ) throws(BlockDiffError) -> DiffSummary {
        try withRoom { room throws(BlockDiffError) in
            var reader = try DiffReader(source, room: room)
            let head = reader.head
            let input = try check(base, against: head)
            return try withRoom { (space: UnsafeMutableRawBufferPointer) throws(BlockDiffError) in
                var progress = DiffProgress(progress)
                progress.expect(head.targetBytes)
                if let input, let expected = head.baseDigest, !options.trustsBase {
                    progress.expect(head.baseBytes)
                    let found = try input.digest(space, &progress)
                    guard found == expected else {
                        throw .wrongBase(input.path, found: found, expected: expected)
                    }
                }
                var summary = DiffSummary(head: head, rangeCount: 0, changedBytes: 0)
                try make(
                    target, replacing: options.replaces,
                    readers: input.map { .mode($0.facts.mode) } ?? .user
                ) { file throws(BlockDiffError) in
                    let applier = DiffApplier(
                        file: file, base: input?.file, basePath: input?.path ?? "", head: head,
                        room: space)
                    try applier.takeBase(&progress)
                    while let (range, bytes) = try reader.next() {
                        try applier.put(range, bytes)
                        summary.rangeCount += 1
                        summary.changedBytes += range.length
                        try progress.advance(range.length)
                    }
                    try input?.checkUnchanged()
                }
                return summary
            }
        }
    }

    /// The base, if the diff wants one and its size is right.
    private func check(
        _ base: ImagePlace<Storage>?, against head: DiffHead
    ) throws(BlockDiffError) -> Input? {
        guard let base else {
            guard head.baseBytes == 0 else { throw .baseMissing(bytes: head.baseBytes) }
            return nil
        }
        let input = try Input(base)
        guard head.baseBytes > 0 || input.facts.size == 0 else { throw .baseNotWanted(base.path) }
        guard input.facts.size == head.baseBytes else {
            throw .wrongBaseSize(base.path, found: input.facts.size, expected: head.baseBytes)
        }
        return input
    }

    // MARK: View

    /// Reads a diff to its end, with every check that `apply` makes of it.
    public func check(_ diff: DiffEnd<Storage>) throws(BlockDiffError) -> DiffSummary {
        switch diff {
        case .stream(let stream): return try check(StreamSource(stream))
        case .file(let place):
            return try check(try FileSource(try Input(place).file, name: place.path))
        }
    }

    private func check(_ source: some DiffSource) throws(BlockDiffError) -> DiffSummary {
        try withRoom { room throws(BlockDiffError) in
            var reader = try DiffReader(source, room: room)
            var progress = DiffProgress(progress)
            var summary = DiffSummary(head: reader.head, rangeCount: 0, changedBytes: 0)
            while let (range, _) = try reader.next() {
                summary.rangeCount += 1
                summary.changedBytes += range.length
                try progress.advance(range.length)
            }
            return summary
        }
    }

    /// Tells what a diff holds: its head, then what changed, in order. Data is passed over, but its
    /// length is checked.
    public func view(
        _ diff: DiffEnd<Storage>, _ head: (DiffHead) -> Void, _ range: (ChangedRange) -> Void
    ) throws(BlockDiffError) {
        switch diff {
        case .stream(let stream): try view(StreamSource(stream), head, range)
        case .file(let place):
            try view(try FileSource(try Input(place).file, name: place.path), head, range)
        }
    }

    private func view(
        _ source: some DiffSource, _ head: (DiffHead) -> Void, _ range: (ChangedRange) -> Void
    ) throws(BlockDiffError) {
        try withRoom { room throws(BlockDiffError) in
            var reader = try DiffReader(source, room: room)
            head(reader.head)
            while let next = try reader.nextRange() { range(next) }
        }
    }
}
