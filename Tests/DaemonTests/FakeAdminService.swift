// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A service that records what the API asks of it and answers with fixed values, or with one
// failure.

import AdminAPI
import Primitives
import Synchronization

final class FakeAdminService: AdminService {
    private struct State {
        var calls: [String] = []
        var failure: UserError?
        var isCreated = true
        var manifest: String? = "token"
        var reasons: [String] = []
        var streamFailure: UserError?
    }

    private let state = Lock(State())

    var calls: [String] { state.withLock { $0.calls } }

    func fail(with kind: UserError.Kind?) {
        state.withLock { state in
            state.failure = kind.map { UserError($0, what: "w", why: "y", remedy: "r") }
        }
    }

    /// Streams fail before their first byte.
    func failStreams(with kind: UserError.Kind) {
        state.withLock { $0.streamFailure = UserError(kind, what: "w", why: "y", remedy: "r") }
    }

    func set(isCreated: Bool = true, manifest: String? = "token", reasons: [String] = []) {
        state.withLock { state in
            state.isCreated = isCreated
            state.manifest = manifest
            state.reasons = reasons
        }
    }

    private func record(_ call: String) throws(UserError) {
        let failure = state.withLock { state in
            state.calls.append(call)
            return state.failure
        }
        if let failure { throw failure }
    }

    static let info = ExportReply(
        name: "prod", sizeBytes: 4096, blockSize: 131_072, readonly: false, transport: "nbd",
        state: "live", volume: "00")

    func exports() async throws(UserError) -> [ExportReply] {
        try record("exports")
        return [Self.info]
    }

    func putExport(
        _ name: String, _ request: PutExportRequest
    ) async throws(UserError) -> PutExportResult {
        let fields: [String?] = [
            request.sizeBytes.map { "size=\($0)" }, request.blockSize.map { "block=\($0)" },
            request.readonly.map { "readonly=\($0)" }, request.transport.map { "transport=\($0)" },
            request.manifestName.map { "manifest=\($0)" },
            request.snapshotSequence.map { "at=\($0)" }, request.from.map { "from=\($0)" },
        ]
        try record("put \(name) " + fields.compactMap { $0 }.joined(separator: " "))
        return PutExportResult(isCreated: state.withLock { $0.isCreated }, info: Self.info)
    }

    func export(_ name: String) async throws(UserError) -> ExportReply {
        try record("export \(name)")
        return Self.info
    }

    func deleteExport(_ name: String, purge: Bool) async throws(UserError) {
        try record("delete \(name) purge=\(purge)")
    }

    func drain(_ name: String) async throws(UserError) -> CommitReply {
        try record("drain \(name)")
        return CommitReply(sequence: 7, manifestEtag: "e7")
    }

    func snapshot(_ name: String, tag: String?) async throws(UserError) -> SnapshotReply {
        try record("snapshot \(name) tag=\(tag ?? "-")")
        return SnapshotReply(sequence: 42, manifestEtag: "e42", tag: tag)
    }

    func snapshots(_ name: String) async throws(UserError) -> [SnapshotReply] {
        try record("snapshots \(name)")
        return [1, 5, 42].map { SnapshotReply(sequence: $0, manifestEtag: "e\($0)") }
    }

    func deleteSnapshot(_ name: String, sequence: UInt64) async throws(UserError) {
        try record("delete snapshot \(name)@\(sequence)")
    }

    func tag(_ name: String, tag: String) async throws(UserError) -> TagReply {
        try record("tag \(name) \(tag)")
        return TagReply(tag: tag, volume: "00", sequence: 9, export: name)
    }

    func tags() async throws(UserError) -> [TagReply] {
        try record("tags")
        return [TagReply(tag: "t", volume: "00", sequence: 9)]
    }

    func promote(_ name: String, force: Bool) async throws(UserError) -> ExportReply {
        try record("promote \(name) force=\(force)")
        return Self.info
    }

    func rollback(_ name: String, to point: String) async throws(UserError) -> CommitReply {
        try record("rollback \(name) to=\(point)")
        return CommitReply(sequence: 8, manifestEtag: "e8", keptSnapshot: 7)
    }

    func open(_ name: String, force: Bool) async throws(UserError) -> ExportReply {
        try record("open \(name) force=\(force)")
        return Self.info
    }

    func resetCache(_ name: String) async throws(UserError) -> ResetReply {
        try record("reset \(name)")
        return ResetReply(discardedJournalBytes: 4096, sequence: 7, epoch: 2)
    }

    func acknowledge(_ name: String) async throws(UserError) { try record("acknowledge \(name)") }

    func compact(_ name: String) async throws(UserError) -> CompactReply {
        try record("compact \(name)")
        return CompactReply(state: "running")
    }

    func status(_ name: String) async throws(UserError) -> StatusReply {
        try record("status \(name)")
        var status = StatusReply(
            name: name, volume: "00", sizeBytes: 4096, blockSize: 131_072, readonly: false,
            operationState: "serving", sequence: 3, epoch: 2)
        status.uncleanTakeover = StatusReply.UncleanTakeover(epoch: 1, sequence: 2, labelSecs: 3)
        return status
    }

    func metrics(_ name: String) async throws(UserError) -> [String: UInt64] {
        try record("metrics \(name)")
        return ["journal_bytes": 5]
    }

    func diff(
        _ name: String, _ request: DiffRequest
    ) async throws(UserError) -> any AdminStream {
        let from = request.from.map { "\($0)" } ?? "-"
        let to = request.to.map { "\($0)" } ?? "-"
        try record("diff \(name) from=\(from) to=\(to) version=\(request.version)")
        return FakeStream(parts: [[1, 2], [3]], failure: state.withLock { $0.streamFailure })
    }

    func manifest(prefix: String, name: String) async throws(UserError) -> String? {
        try record("manifest \(prefix) \(name)")
        return state.withLock { $0.manifest }
    }

    func cachedBlock(_ hash: Hash128) async throws(UserError) -> [UInt8]? {
        try record("cached \(hash)")
        return state.withLock { $0.manifest }.map { Array($0.utf8) }
    }

    func readiness() async -> Readiness { Readiness(reasons: state.withLock { $0.reasons }) }

    func metricFamilies() async -> [MetricFamily] {
        var family = MetricFamily("martlet_up", .gauge, "Up.")
        family.add(1)
        return [family]
    }
}

/// Bytes in parts, or a failure.
final class FakeStream: AdminStream {
    private let left: Lock<[[UInt8]]>
    private let failure: UserError?

    init(parts: [[UInt8]], failure: UserError?) {
        left = Lock(parts)
        self.failure = failure
    }

    func next() async throws(UserError) -> [UInt8]? {
        if let failure { throw failure }
        return left.withLock { $0.isEmpty ? nil : $0.removeFirst() }
    }
}
