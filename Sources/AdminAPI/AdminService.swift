// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the API needs of the daemon. Names are valid when they arrive here; every operation that
// changes state is idempotent and durable when it returns.

public import Primitives

public protocol AdminService: Sendable {
    func exports() async throws(UserError) -> [ExportReply]
    func putExport(
        _ name: String, _ request: PutExportRequest
    ) async throws(UserError) -> PutExportResult
    func export(_ name: String) async throws(UserError) -> ExportReply
    func deleteExport(_ name: String, purge: Bool) async throws(UserError)

    /// Commits everything; the head then.
    func drain(_ name: String) async throws(UserError) -> CommitReply
    func snapshot(_ name: String, tag: String?) async throws(UserError) -> SnapshotReply
    /// Ascending by sequence.
    func snapshots(_ name: String) async throws(UserError) -> [SnapshotReply]
    func deleteSnapshot(_ name: String, sequence: UInt64) async throws(UserError)
    /// Names the last commit; an existing tag moves.
    func tag(_ name: String, tag: String) async throws(UserError) -> TagReply
    func tags() async throws(UserError) -> [TagReply]

    func promote(_ name: String, force: Bool) async throws(UserError) -> ExportReply
    /// Makes an older commit's content the new head.
    /// `point`: the number of a snapshot or commit, or a time.
    func rollback(_ name: String, to point: String) async throws(UserError) -> CommitReply
    func open(_ name: String, force: Bool) async throws(UserError) -> ExportReply
    func acknowledge(_ name: String) async throws(UserError)
    /// Begins to store the volume again as a fresh base, or tells how far that is.
    func compact(_ name: String) async throws(UserError) -> CompactReply
    /// Throws away what this host holds beyond the store, and opens the export from there.
    func resetCache(_ name: String) async throws(UserError) -> ResetReply

    /// The bytes of a block diff. What is refused may be so only when they are asked for.
    func diff(
        _ name: String, _ request: DiffRequest
    ) async throws(UserError) -> any AdminStream

    func status(_ name: String) async throws(UserError) -> StatusReply
    func metrics(_ name: String) async throws(UserError) -> [String: UInt64]
    /// The token of `bases/NAME`, `tags/NAME`, `snapshots/NAME@SEQ` or `exports/NAME`, from the
    /// store alone; nil if there is none.
    func manifest(prefix: String, name: String) async throws(UserError) -> String?

    /// Clean bytes that this host's cache holds under a hash; nil: none.
    func cachedBlock(_ hash: Hash128) async throws(UserError) -> [UInt8]?

    func readiness() async -> Readiness
    func metricFamilies() async -> [MetricFamily]
}
