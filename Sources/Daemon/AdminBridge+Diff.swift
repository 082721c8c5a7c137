// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The difference of two commits for clients of the API, made from the store by a thread of its own.

import AdminAPI
import Documents
import HostIO
import ImageTools
import ObjectStore
import Primitives
import Shard

extension AdminBridge {
    func diff(
        _ name: String, _ request: DiffRequest
    ) async throws(UserError) -> any AdminStream {
        let pipe = BytePipe(
            isStopped: { [stop] in stop.isSet },
            pause: { [stop, clock = host.parts.clock] in
                stop.pause(nanoseconds: $0, clock: clock)
            })
        let isQueued = hands.diffs.trySubmit { [parts = host.parts] in
            do throws(UserError) {
                try Self.write(name, request, parts, into: pipe)
                pipe.end(nil)
            } catch { pipe.end(error) }
        }
        guard isQueued else { throw Self.busy }
        return DiffAnswer(pipe)
    }

    private static func write(
        _ name: String, _ request: DiffRequest, _ parts: HostParts, into pipe: BytePipe
    ) throws(UserError) {
        let what = "cannot tell what changed in \(name)"
        guard pipe.isWanted else { throw busy }
        var random = SystemRandom()
        let sources = ExportSources(
            store: parts.store, node: RefName(parts.facts.machineID), what: what)
        let source = try sources.open(
            request.to.map { "\(name)@\($0)" } ?? "export:\(name)",
            since: request.from.map(String.init), random: &random)
        defer { sources.close(source) }
        let form: BlockDiffForm = request.version == 1 ? .v1 : .v2(.zstd, hasDigests: false)
        do throws(ExportError) {
            _ = try ImageExport(
                source, from: parts.store, as: .blockDiff(form),
                spread: { [fetch = parts.hands.fetch] in fetch.spread($0, $1) },
                progress: { _ in pipe.isWanted }
            ).write(to: pipe)
        } catch { throw error.userError(what) }
    }
}

/// The end that is read: letting go of it ends the work.
private final class DiffAnswer: AdminStream {
    private let pipe: BytePipe
    init(_ pipe: BytePipe) { self.pipe = pipe }
    deinit { pipe.leave() }
    func next() async throws(UserError) -> [UInt8]? { try await pipe.next() }
}
