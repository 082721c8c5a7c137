// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet verify`: the verification of Maintenance over the configured store, with threads and
// retries, and its repair from where the operator says. Without that it reads only.

import ControlPlane
public import Documents
import HostIO
import Maintenance
import ObjectStore
public import Primitives
import Shard

public struct RepositoryCheckOptions: Sendable {
    /// An export, tag or base; nil: everything.
    public var name: RefName?
    /// Share of the data in millionths, 1 to 1,000,000.
    public var sample: UInt64 = 1_000_000
    /// Requests under way at one time, to each store.
    public var threads = 16
    /// Where damaged objects may be repaired from, in the order of trust. None: nothing is written.
    public var repairs: [RepairPlace] = []
    /// Takes exports that stay damaged back to their last good commits; nil: nobody does.
    public var rollbacks: (any RollbackService)?

    public init() {}
}

/// What was found, as it is printed.
public struct RepositoryVerdict: Equatable, Sendable {
    public let lines: [String]
    public let json: String
    public let isWhole: Bool
}

public enum RepositoryCheck {
    private static let clock = SystemClock()

    /// Verifies. `progress` hears of bytes read, bytes there are as far as is known, faults, and
    /// nanoseconds since the start; it is called by this thread.
    public static func run(
        _ configuration: Configuration, _ options: RepositoryCheckOptions,
        progress: @escaping (_ done: UInt64, _ total: UInt64, _ faults: Int, _ time: UInt64) -> Void
    ) throws(UserError) -> RepositoryVerdict {
        let what = options.name.map { "cannot verify \($0)" } ?? "cannot verify the repository"
        var configuration = configuration
        configuration.storage.maxDownloads = Int64(options.threads)
        let store = try OfflineSource.patientStore(configuration, what)
        let pool = WorkerPool(threads: options.threads, name: "verify")
        defer { pool.stop() }
        let isRepair = !options.repairs.isEmpty || options.rollbacks != nil
        if isRepair, configuration.storage.readonly {
            throw UserError(
                .forbidden, what: "cannot repair", why: "storage.readonly is set",
                remedy: "use settings that may write, or leave out --repair")
        }
        var sources: [any RepairSource] = []
        for place in options.repairs {
            sources.append(try place.source(for: configuration, store, options, pool))
        }
        var verifying = VerifyOptions()
        verifying.name = options.name
        verifying.sample = options.sample
        let start = clock.now
        let verifier = { (verifying: VerifyOptions) in
            Verifier(
                store: store, options: verifying, random: SystemRandom(),
                spread: { pool.spread($0, $1) },
                progress: {
                    progress(
                        $0.bytes, $0.bytesTotal, $0.faults, clock.now.nanoseconds(since: start))
                })
        }
        do throws(VerifyError) {
            guard isRepair else {
                var verifier = verifier(verifying)
                let report = try verifier.run()
                return RepositoryVerdict(
                    lines: report.lines, json: report.json.text, isWhole: report.isWhole)
            }
            var fallBack: FallBack?
            if let service = options.rollbacks {
                let rollback = LastGoodRollback(service: service, store: store)
                fallBack = FallBack(
                    clock: clock, makeToken: makeToken,
                    checkClosed: { item throws(UserError) in try rollback.checkClosed(item) },
                    rollBack: { item throws(UserError) in try rollback.run(item) })
            }
            var repairer = Repairer(
                store: store, options: verifying, sources: sources, fallBack: fallBack,
                verifier: verifier)
            let report = try repairer.run()
            return RepositoryVerdict(
                lines: report.lines, json: report.json.text, isWhole: report.isWhole)
        } catch { throw explain(error, what) }
    }

    private static func makeToken() -> Token {
        var random = SystemRandom()
        return Token.random(from: &random)
    }

    private static func explain(_ error: VerifyError, _ what: String) -> UserError {
        switch error {
        case .away(let key, let detail):
            UserError(
                .storeAway, what: what,
                why: "the object store does not answer (\(key): \(detail))",
                remedy: "try again when it does: there is no verdict")
        case .unknownName(let name):
            UserError(
                .notFound, what: what, why: "no export, tag or base is called \(name)",
                remedy: "see martlet list and martlet tags")
        }
    }
}
