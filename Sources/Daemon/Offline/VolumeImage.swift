// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet export`: the exports of ImageTools over the configured store, with threads, retries and
// signals. The store is read, and pinned while it is; the file is there whole or not at all.

import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import ImageTools
import ObjectStore
public import Primitives
import Shard

/// What was asked for.
public struct ExportOrder: Sendable {
    public enum Format: String, Sendable, CaseIterable {
        case raw
        case qcow2
        case blockDiff = "bdiff"
        case blockDiffV2 = "bdiff-v2"
    }

    /// NAME, NAME@SEQ, tag:T, base:B.
    public var source: String
    /// A path, or `-` for standard output.
    public var file: String
    public var format = Format.raw
    /// What a block diff starts from: a number, or a source. Nil: nothing.
    public var since: String?
    public var compresses = false
    /// Of version 2 of block diffs: both disks are read in full.
    public var takesDigests = false
    /// A file that is there is replaced.
    public var replaces = false
    /// Requests under way at one time.
    public var threads = 16

    public init(source: String, file: String) {
        self.source = source
        self.file = file
    }
}

public struct ExportedImage: Sendable {
    public let lines: [String]
    public let json: String
}

public enum VolumeImage {
    private static let clock = SystemClock()

    /// Writes the image. `progress` hears of bytes done, bytes at most, and nanoseconds since the
    /// start, on this thread. SIGINT and SIGTERM end it with a failure, and nothing is left behind.
    public static func export(
        _ configuration: Configuration, _ order: ExportOrder,
        progress: @escaping (_ done: UInt64, _ total: UInt64, _ time: UInt64) -> Void
    ) throws(UserError) -> ExportedImage {
        let what = "cannot export \(order.source.prefix(300))"
        let format = try format(of: order, what)
        Interrupts.catchFirst()
        // A broken pipe is an error of the write.
        signal(SIGPIPE, SIG_IGN)
        var configuration = configuration
        configuration.storage.maxDownloads = Int64(order.threads)
        let store = try OfflineSource.patientStore(configuration, what)
        let pool = WorkerPool(threads: order.threads, name: "export")
        defer { pool.stop() }
        var random = SystemRandom()
        let sources = ExportSources(store: store, host: HostFacts.readHostName(), what: what)
        let source = try sources.open(order.source, since: order.since, random: &random)
        defer { sources.close(source) }
        let start = clock.now
        let export = ImageExport(
            source, from: store, as: format, spread: { pool.spread($0, $1) },
            progress: {
                progress($0.bytes, $0.bytesTotal, clock.now.nanoseconds(since: start))
                return !Interrupts.wasCaught
            })
        do throws(ExportError) {
            return answer(source, try write(export, order, &random))
        } catch { throw error.userError(what) }
    }

    private static func write(
        _ export: ImageExport<some ObjectStore>, _ order: ExportOrder, _ random: inout SystemRandom
    ) throws(ExportError) -> ExportSummary {
        if order.file == "-" { return try export.write(to: HostStream.output) }
        let place: ImagePlace<HostDirectory>
        do throws(ImageFileError) { place = try ImagePlace(path: order.file) } catch {
            throw ExportError(error)
        }
        return try export.write(place, replaces: order.replaces, token: random.next())
    }

    private static func format(
        of order: ExportOrder, _ what: String
    ) throws(UserError) -> ImageFormat {
        let codec: Codec = order.compresses ? .zstd : .raw
        let format: ImageFormat =
            switch order.format {
            case .raw: .raw
            case .qcow2: .qcow2(order.compresses ? .zstd : nil)
            case .blockDiff: .blockDiff(.v1)
            case .blockDiffV2: .blockDiff(.v2(codec, hasDigests: order.takesDigests))
            }
        func refusal(_ why: String, _ remedy: String) -> UserError {
            UserError(.badRequest, what: what, why: why, remedy: remedy)
        }
        let name = order.format.rawValue
        if order.compresses, order.format == .raw || order.format == .blockDiff {
            throw refusal(
                "a \(name) image is not compressed",
                "use --format qcow2 or bdiff-v2, or a compressor behind standard output")
        }
        if order.since != nil, !format.isDifference {
            throw refusal(
                "a \(name) image stands alone and is not since anything",
                "use --format bdiff or bdiff-v2")
        }
        if order.takesDigests, order.format != .blockDiffV2 {
            throw refusal("a \(name) image has no digests", "use --format bdiff-v2")
        }
        if order.file == "-", !format.isStream {
            throw refusal(
                "a \(name) image is written out of order, which standard output cannot be",
                "name a file, or use another format")
        }
        if order.file == "-", HostStream.output.isTerminal {
            throw refusal("standard output is a terminal", "send it to a file or a pipe")
        }
        return format
    }

    private static func answer(
        _ source: ExportSource, _ summary: ExportSummary
    ) -> ExportedImage {
        let commit = source.commit
        var lines = [
            "source: \(source.name)", "commit: \(commit.sequence)", "volume: \(commit.volume)",
            "size: \(summary.size)", "data: \(summary.dataBytes)",
        ]
        if let base = source.base {
            lines.insert("since: \(base.sequence) of volume \(base.volume)", at: 3)
        }
        if source.isUnpinned {
            lines.append("note: read without a pin, since nothing may be written to the store")
        }
        var members: [String: JSONValue] = [
            "source": .string(source.name), "sequence": .number(commit.sequence.rawValue),
            "volume": .string("\(commit.volume)"), "digest": .string("\(commit.digest)"),
            "label": .number(commit.labelSeconds), "size": .number(summary.size),
            "data": .number(summary.dataBytes), "pinned": .bool(!source.isUnpinned),
        ]
        if let base = source.base {
            members["since_sequence"] = .number(base.sequence.rawValue)
            members["since_volume"] = .string("\(base.volume)")
        }
        return ExportedImage(lines: lines, json: JSONValue.object(members).text)
    }
}
