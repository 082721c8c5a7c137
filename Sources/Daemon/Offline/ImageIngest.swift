// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet bless` and `martlet import`: files of this host and the configured store for ImageTools.

public import Documents
import Glibc
import HostIO
public import ImageTools
import ObjectStore
public import Primitives

/// What was asked for.
public struct ImageOrder: Sendable {
    /// Paths: the image, then the backing files that the user named, from the top down.
    public var files: [String]
    /// Of the image; nil: its first bytes tell.
    public var format: DiskFormat?
    public var request: IngestRequest
    /// Folder in the bucket, behind what the configured URL names.
    public var prefix: String?
    /// Threads that read and compress; nil: one for each processor.
    public var threads: Int?

    public init(_ image: String, _ target: IngestRequest.Target) {
        files = [image]
        request = IngestRequest(target: target, source: image, node: ImageIngest.node)
    }
}

public enum ImageIngest {
    private static let clock = SystemClock()
    private static let threadsMax = 64

    /// `progress` is called by this thread, with nanoseconds since the start, and says whether to
    /// go on. An interrupt that was caught ends the retries of a store that is away.
    public static func run(
        _ configuration: Configuration, _ order: ImageOrder,
        progress: (IngestProgress, _ nanoseconds: UInt64) -> Bool
    ) throws(UserError) -> IngestReport {
        let what = "cannot import \(order.files.first ?? "")"
        var configuration = configuration
        if let prefix = order.prefix { configuration.storage.url += "/" + prefix }
        guard !configuration.storage.readonly else {
            throw UserError(
                .forbidden, what: what, why: "storage.readonly is set",
                remedy: "use settings that may write")
        }
        let image = try open(order, configuration, what)
        let processors = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let ingest = try ingest(
            order.request, configuration, threads: min(order.threads ?? processors, threadsMax),
            what)
        let start = clock.now
        return try ingest.run(image) { progress($0, clock.now.nanoseconds(since: start)) }
    }

    private static func ingest(
        _ request: IngestRequest, _ configuration: Configuration, threads: Int, _ what: String
    ) throws(UserError) -> Ingest<PatientStore, SystemClock, SystemRandom> {
        var request = request
        request.settings = DaemonParts.packs(configuration.commit)
        return Ingest(
            request, store: try OfflineSource.patientStore(configuration, what), clock: clock,
            random: SystemRandom(),
            resources: IngestResources(
                threads: threads, uploads: Int(configuration.storage.maxUploads)))
    }

    /// Makes an export of a block diff: a path, or `-` for standard input. `progress` is as for
    /// files.
    public static func apply(
        _ configuration: Configuration, _ diff: String, to name: RefName, base: String?,
        trustsBase: Bool, progress: @escaping (_ done: UInt64, _ total: UInt64) -> Bool
    ) throws(UserError) -> IngestReport {
        let what = "cannot apply \(diff.prefix(300))"
        let end: DiffEnd<HostDirectory>
        do throws(ImageFileError) {
            end = diff == "-" ? .stream(.input) : .file(try ImagePlace(path: diff))
        } catch { throw BlockDiffError(error).forUser(what) }
        // Reads of the base are spread over the same threads.
        return try ingest(
            IngestRequest(target: .export(name), source: "a block diff", node: node),
            configuration, threads: applyThreads, what
        ).apply(end, base: base, trustsBase: trustsBase, progress: progress)
    }

    private static let applyThreads = 8

    private static func open(
        _ order: ImageOrder, _ configuration: Configuration, _ what: String
    ) throws(UserError) -> any DiskImage {
        var files: [HostFile] = []
        for path in order.files {
            do throws(HostIOError) {
                let (folder, name) =
                    OfflineSource(path, verb: "import", configuration: configuration).place
                files.append(
                    try HostDirectory.open(path: folder, create: false)
                        .open(name, writable: false))
            } catch {
                throw UserError(
                    .failed, what: what, why: error.description,
                    remedy: "give files that this user may read")
            }
        }
        do throws(ImageError) {
            return try ImageFile.open(files, format: order.format)
        } catch { throw UserError(what, error) }
    }

    /// This host, as the collector names who holds a pin.
    static var node: RefName {
        RefName("import-" + HostFacts.readHostName().prefix(100)) ?? fallback
    }

    private static let fallback: RefName = {
        guard let name = RefName("import") else { preconditionFailure("a valid name") }
        return name
    }()
}
