// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The API's view of the daemon: each call runs the blocking control plane on a control thread, and
// the domain's types are spelled as the API spells them. An asynchronous thread never blocks here.

import AdminAPI
import CleanCache
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import Shard

struct AdminBridge: AdminService {
    let control: DaemonControl
    let host: ShardHost
    let hands: Hands
    let health: Health
    let gauges: Gauges
    let stop: StopFlag

    /// Runs a blocking call on a control thread.
    private func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(UserError) -> Value
    ) async throws(UserError) -> Value {
        let result = await withCheckedContinuation {
            (continuation: CheckedContinuation<Result<Value, UserError>, Never>) in
            let isQueued = hands.control.trySubmit {
                do throws(UserError) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
            if !isQueued { continuation.resume(returning: .failure(Self.busy)) }
        }
        return try result.get()
    }

    static var busy: UserError {
        UserError(
            .storeAway, what: "cannot take the request", why: "too many wait, or the daemon stops",
            remedy: "try again later")
    }

    // MARK: Exports

    func exports() async throws(UserError) -> [ExportReply] {
        try await run { [control] in control.list().map { Self.reply($0) } }
    }

    func putExport(
        _ name: String, _ request: PutExportRequest
    ) async throws(UserError) -> PutExportResult {
        try await run { [control] () throws(UserError) in
            try Self.put(name, request, on: control)
        }
    }

    static func put(
        _ name: String, _ request: PutExportRequest, on control: DaemonControl
    ) throws(UserError) -> PutExportResult {
        var wanted = PutRequest(
            size: request.sizeBytes.map { ByteCount($0) }, blockBytes: request.blockSize,
            isReadOnly: request.readonly,
            transport: request.transport.flatMap(Transport.init(rawValue:)))
        if let from = request.from {
            wanted.source = try ForkSource(from: from)
        } else if let manifest = request.manifestName {
            wanted.source = try ForkSource(
                manifestName: manifest, snapshotSequence: request.snapshotSequence)
        }
        let reply = try control.put(name, wanted)
        var info = Self.reply(reply.export)
        if let point = reply.forkedFrom {
            info.sourceSequence = point.sequence.rawValue
            info.sourceAgeSecs = point.ageSeconds
            info.sourceIsCurrent = point.isCurrent
        }
        return PutExportResult(isCreated: reply.outcome == .created, info: info)
    }

    func export(_ name: String) async throws(UserError) -> ExportReply {
        try await run { [control] () throws(UserError) in Self.reply(try control.info(name)) }
    }

    func deleteExport(_ name: String, purge: Bool) async throws(UserError) {
        try await run { [control] () throws(UserError) in
            try control.delete(name, purge: purge)
        }
    }

    func promote(_ name: String, force: Bool) async throws(UserError) -> ExportReply {
        try await run { [control] () throws(UserError) in
            Self.reply(try control.promote(name, force: force))
        }
    }

    func open(_ name: String, force: Bool) async throws(UserError) -> ExportReply {
        try await run { [control] () throws(UserError) in
            Self.reply(try control.open(name, force: force))
        }
    }

    func acknowledge(_ name: String) async throws(UserError) {
        try await run { [control] () throws(UserError) in try control.acknowledge(name) }
    }

    func resetCache(_ name: String) async throws(UserError) -> ResetReply {
        try await run { [control] () throws(UserError) in
            let reset = try control.resetCache(name)
            var reply = ResetReply(
                discardedJournalBytes: reset.journalBytes,
                sequence: reset.status.sequence.rawValue, epoch: reset.status.epoch.rawValue)
            reply.discardedUnpublishedBytes = reset.unpublishedBytes
            return reply
        }
    }

    func compact(_ name: String) async throws(UserError) -> CompactReply {
        try await run { [control] () throws(UserError) in
            let status = try control.compact(name)
            return Self.reply(status.freshBase) ?? CompactReply(state: "running")
        }
    }

    private static func reply(_ state: FreshBaseState?) -> CompactReply? {
        guard let state else { return nil }
        switch state {
        case .running(let done, let total):
            var reply = CompactReply(state: "running")
            reply.blocksDone = done
            reply.blocksTotal = total
            return reply
        case .done(let sequence, let etag):
            var reply = CompactReply(state: "done")
            reply.generation = sequence.rawValue
            reply.snapshotId = etag
            return reply
        case .failed(let why):
            var reply = CompactReply(state: "failed")
            reply.error = why
            return reply
        }
    }

    private static func reply(_ info: ExportInfo) -> ExportReply {
        var reply = ExportReply(
            name: info.name, sizeBytes: info.size.rawValue, blockSize: info.blockBytes,
            readonly: info.isReadOnly, transport: info.transport.rawValue,
            state: info.state.rawValue, volume: info.volume.description)
        reply.attached = info.isAttached
        reply.from = info.origin?.name
        reply.sourceSequence = info.origin?.commit.sequence.rawValue
        return reply
    }

    // MARK: History

    func drain(_ name: String) async throws(UserError) -> CommitReply {
        try await run { [control] () throws(UserError) in
            let head = try control.drain(name)
            return CommitReply(sequence: head.sequence.rawValue, manifestEtag: head.etag)
        }
    }

    func snapshot(_ name: String, tag: String?) async throws(UserError) -> SnapshotReply {
        try await run { [control] () throws(UserError) in
            Self.reply(try control.snapshot(name, tag: tag))
        }
    }

    func snapshots(_ name: String) async throws(UserError) -> [SnapshotReply] {
        try await run { [control] () throws(UserError) in
            try control.snapshots(name).map { Self.reply($0) }
        }
    }

    func deleteSnapshot(_ name: String, sequence: UInt64) async throws(UserError) {
        try await run { [control] () throws(UserError) in
            try control.deleteSnapshot(name, sequence: sequence)
        }
    }

    func tag(_ name: String, tag: String) async throws(UserError) -> TagReply {
        try await run { [control] () throws(UserError) in
            Self.reply(try control.tag(name, tag: tag))
        }
    }

    func tags() async throws(UserError) -> [TagReply] {
        try await run { [control] () throws(UserError) in
            try control.tags().map { Self.reply($0) }
        }
    }

    func rollback(_ name: String, to point: String) async throws(UserError) -> CommitReply {
        try await run { [control] () throws(UserError) in
            let done = try control.rollback(name, to: point)
            return CommitReply(
                sequence: done.sequence.rawValue, manifestEtag: done.etag,
                keptSnapshot: done.keptSnapshot?.rawValue)
        }
    }

    func manifest(prefix: String, name: String) async throws(UserError) -> String? {
        try await run { [control] () throws(UserError) in
            do throws(UserError) {
                return try control.manifest(prefix: prefix, name: name).etag
            } catch {
                if error.kind == .notFound { return nil }
                throw error
            }
        }
    }

    func cachedBlock(_ hash: Hash128) async throws(UserError) -> [UInt8]? {
        host.parts.cache.lookup(hash).map { Array($0.bytes) }
    }

    private static func reply(_ info: SnapshotInfo) -> SnapshotReply {
        SnapshotReply(
            sequence: info.sequence.rawValue, manifestEtag: info.etag, tag: info.tag,
            labelSecs: info.labelSeconds)
    }

    private static func reply(_ info: TagInfo) -> TagReply {
        TagReply(
            tag: info.tag, volume: info.volume.description, sequence: info.sequence.rawValue,
            export: info.export)
    }

    // MARK: State

    func status(_ name: String) async throws(UserError) -> StatusReply {
        try await run { [control] () throws(UserError) in
            Self.reply(try control.status(name), name: name)
        }
    }

    private static func reply(_ status: VolumeStatus, name: String) -> StatusReply {
        var reply = StatusReply(
            name: name, volume: status.volume.description, sizeBytes: status.size.rawValue,
            blockSize: status.blockBytes, readonly: status.isReadOnly,
            operationState: status.state.rawValue, sequence: status.sequence.rawValue,
            epoch: status.epoch.rawValue)
        reply.journalBytes = status.journalBytes
        reply.journalSegments = UInt64(status.journalSegments)
        reply.unreturnedSegments = UInt64(status.unreturnedSegments)
        reply.dirtyBlocks = status.dirtyBlocks
        reply.readers = UInt64(status.readers)
        reply.writers = UInt64(status.writers)
        reply.unpublishedAgeSecs = status.unpublishedAgeSeconds
        reply.unpublishedBytes = status.unpublishedBytes
        reply.slowdownPercent = UInt64(status.slowdownPercent)
        reply.stalled = status.stall
        reply.storeAwaySecs = status.storeAwaySeconds
        reply.lastError = status.lastError
        reply.uncleanTakeover = status.uncleanTakeover.map { takeover in
            StatusReply.UncleanTakeover(
                epoch: takeover.epoch.rawValue, sequence: takeover.sequence.rawValue,
                labelSecs: takeover.labelSeconds)
        }
        reply.failed = status.failure
        guard status.state != .detached else { return reply }
        reply.storeRequests = requests(status.requests)
        reply.storedBytes = status.storedBytes
        reply.compaction = Self.reply(status.freshBase)
        reply.cost = StatusReply.Cost(
            requestsUsdPerMonth: status.requestDollarsPerMonth,
            storedUsdPerMonth: status.storedDollarsPerMonth)
        return reply
    }

    private static func requests(_ counts: StoreCounts) -> StatusReply.StoreRequests {
        var reply = StatusReply.StoreRequests()
        reply.put = counts.puts
        reply.get = counts.gets
        reply.head = counts.heads
        reply.list = counts.lists
        reply.delete = counts.deletes
        reply.failures = counts.failures
        reply.sentBytes = counts.bytesSent
        reply.receivedBytes = counts.bytesReceived
        return reply
    }

    func metrics(_ name: String) async throws(UserError) -> [String: UInt64] {
        try await run { [control, host] () throws(UserError) in
            let info = try control.info(name)
            let served = host.running.first { $0.location.name == name }?.served
            let report = host.report(served ?? ServedVolume(info.volume))
            return report.map { StatusText.counters(of: $0) } ?? [:]
        }
    }

    func readiness() async -> AdminAPI.Readiness {
        AdminAPI.Readiness(reasons: health.reasons)
    }

    func metricFamilies() async -> [MetricFamily] {
        let gauges = self.gauges
        return (try? await run { () throws(UserError) in gauges.families() }) ?? []
    }
}
