// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet copy`: two configured stores, threads and signals for the copy of ImageTools.

import Committer
import Documents
import Glibc
import HostIO
public import ImageTools
import ObjectStore
public import Primitives
import Shard

/// What was asked for.
public struct CopyOrder: Sendable {
    public var names: [String]
    public var takesSnapshots = false
    /// Requests under way at one time, to either store.
    public var threads = 16

    public init(_ names: [String]) { self.names = names }
}

public enum StoreCopy {
    private static let clock = SystemClock()

    /// `progress` is called by this thread, with nanoseconds since the start. SIGINT and SIGTERM
    /// end it with a failure; repeating it goes on.
    public static func run(
        from source: Configuration, to target: Configuration, _ order: CopyOrder,
        progress: @escaping (CopyProgress, _ nanoseconds: UInt64) -> Void
    ) throws(UserError) -> CopyReport {
        Interrupts.catchFirst()
        let what = "cannot copy to \(target.storage.url)"
        guard !target.storage.readonly else {
            throw UserError(
                .forbidden, what: what, why: "storage.readonly is set",
                remedy: "use settings that may write")
        }
        let (from, onto) = (
            try store(source, order, "cannot copy from \(source.storage.url)"),
            try store(target, order, what)
        )
        let processors = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let reads = WorkerPool(threads: order.threads, name: "copy")
        let frames = WorkerPool(threads: processors, name: "frames")
        let senders = WorkerPool(threads: order.threads, name: "upload")
        defer { for pool in [reads, frames, senders] { pool.stop() } }
        let node = RefName("copy-" + HostFacts.readHostName().prefix(100)) ?? RefName("copy")
        guard let node else { preconditionFailure("a valid name") }
        var request = CopyRequest(
            names: order.names, takesSnapshots: order.takesSnapshots, node: node)
        request.settings = DaemonParts.packs(target.commit)
        let start = clock.now
        let copy = RepositoryCopy(
            request, from: from, to: onto, clock: clock, random: SystemRandom(),
            resources: CopyResources(
                reads: { reads.spread($0, $1) }, frames: { frames.spread($0, $1) },
                uploads: PackUploads(packsMax: min(order.threads, 8)) { senders.trySubmit($0) }),
            progress: {
                progress($0, clock.now.nanoseconds(since: start))
                return !Interrupts.wasCaught
            })
        return try copy.run()
    }

    private static func store(
        _ configuration: Configuration, _ order: CopyOrder, _ what: String
    ) throws(UserError) -> PatientStore {
        var configuration = configuration
        configuration.storage.maxDownloads = Int64(order.threads)
        configuration.storage.maxUploads = Int64(order.threads)
        return try OfflineSource.patientStore(configuration, what)
    }
}
