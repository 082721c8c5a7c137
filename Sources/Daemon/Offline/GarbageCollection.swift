// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet gc`: one run of the collector on the store alone, or one thing given up, told in lines
// and as JSON. May run on any host, beside daemons and beside another of itself.

import ControlPlane
import Documents
import Formats
import HostIO
import Maintenance
import ObjectStore
public import Primitives

/// What was asked for.
public struct CollectionOrder: Sendable {
    public var gracePeriodSeconds: UInt64
    public var deletesMax: Int
    public var isDryRun = false
    /// Snapshots older than so many seconds go first; nil: none does for its age.
    public var snapshotRetentionSeconds: UInt64?
    /// The id of a reader, of a stop, or of the volume of an unfinished export, to give up instead
    /// of collecting.
    public var abandon: String?
    var retention: Retention

    /// As `[gc]` and `policy.retain` say.
    public init(_ configuration: Configuration) throws(UserError) {
        let gc = configuration.gc
        gracePeriodSeconds = UInt64(gc.gracePeriodSecs)
        deletesMax = gc.maxDeletes == 0 ? .max : Int(gc.maxDeletes)
        snapshotRetentionSeconds =
            gc.snapshotRetentionSecs == 0 ? nil : UInt64(gc.snapshotRetentionSecs)
        retention = try Retention(parsing: configuration.policy.retain)
    }
}

/// What a run did.
struct CollectionResult {
    /// False if it was broken off: the next run goes on.
    let isOver: Bool
    let report: CollectionReport
    /// Nil if no snapshot goes for its age.
    let expiry: ExpiryReport?
}

public struct CollectionAnswer: Sendable {
    public let lines: [String]
    public let json: String
}

public enum GarbageCollection {
    /// Fails with `forbidden` if the configuration is read-only and the order is not a dry run.
    public static func run(
        _ configuration: Configuration, _ order: CollectionOrder
    ) throws(UserError) -> CollectionAnswer {
        let what = "cannot collect garbage"
        guard !configuration.storage.readonly || (order.isDryRun && order.abandon == nil) else {
            throw UserError(
                .forbidden, what: what, why: "storage.readonly is set",
                remedy: "use --dry-run, or settings that may write")
        }
        let clock = SystemClock()
        let store = try OfflineSource.patientStore(configuration, what)
        if let id = order.abandon {
            var random = SystemRandom()
            return answer(
                try Collector.abandon(id, in: store, clock: clock, random: &random))
        }
        return answer(
            try collect(
                order, node: HostFacts.readHostName(), in: store, clock: clock,
                isStopping: { false }))
    }

    /// One run, until `isStopping` says so between two of its steps.
    static func collect<Store: ObjectStore, Time: Clock>(
        _ order: CollectionOrder, node: String, in store: Store, clock: Time,
        isStopping: () -> Bool
    ) throws(UserError) -> CollectionResult {
        var expiry: ExpiryReport?
        if let age = order.snapshotRetentionSeconds {
            expiry = try Collector.expireSnapshots(
                olderThan: age, isDryRun: order.isDryRun, in: store, clock: clock)
        }
        var collector = Collector(
            store: store, clock: clock,
            options: CollectorOptions(
                node: node, gracePeriodSeconds: order.gracePeriodSeconds,
                deletesMax: order.deletesMax, isDryRun: order.isDryRun,
                retention: order.retention))
        var isOver = false
        while !isOver, !isStopping() { isOver = try collector.step() }
        return CollectionResult(isOver: isOver, report: collector.report, expiry: expiry)
    }

    // MARK: Telling

    private static func answer(_ result: CollectionResult) -> CollectionAnswer {
        let report = result.report
        let verb = report.outcome == .dryRun ? "would be " : ""
        var lines = [
            "run: \(report.run)", "outcome: \(text(report))", "roots: \(report.roots)",
            "stored: \(text(report.stored))",
            "\(verb)condemned: \(text(report.condemned))", "waiting: \(text(report.waiting))",
            "\(verb)deleted: \(text(report.deleted))",
        ]
        let expired = result.expiry?.expired.map { "\($0.name)@\($0.sequence)" }
        if let expired {
            lines.append("\(verb)expired: \(expired.count) snapshots")
            lines += expired.map { "\(verb)expired: \($0)" }
        }
        for reader in report.readers {
            lines.append(
                "reader \(reader.id): \(reader.node) holds commit \(reader.commit.sequence) of "
                    + "volume \(reader.commit.volume) (\(reader.purpose.rawValue))")
        }
        for stop in report.stops {
            lines.append(
                "stop \(stop.id): \(stop.node) needs \(stop.pack.key), which run \(stop.run) "
                    + "condemned")
        }
        for export in report.creating {
            lines.append("unfinished \(export.volume): export \(export.name)")
        }
        var members: [String: JSONValue] = [
            "run": .number(report.run), "outcome": .string(report.outcome.rawValue),
            "resumed": .bool(report.isResumed), "roots": .number(UInt64(report.roots)),
            "stored": json(report.stored), "condemned": json(report.condemned),
            "waiting": json(report.waiting), "deleted": json(report.deleted),
            "readers": .array(report.readers.map { .object($0.members) }),
            "stops": .array(report.stops.map { .object($0.members) }),
            "unfinished": .array(report.creating.map { .object($0.members) }),
        ]
        if let expired { members["expired"] = .array(expired.map { .string($0) }) }
        return CollectionAnswer(lines: lines, json: JSONValue.object(members).text)
    }

    private static func text(_ report: CollectionReport) -> String {
        switch report.outcome {
        case .done:
            report.isResumed ? "finished a run that another process had begun" : "done"
        case .nothing: "nothing to do"
        case .dryRun: "dry run, nothing was changed"
        case .overtaken: "another collector finished the run"
        }
    }

    private static func text(_ tally: ObjectTally) -> String {
        "\(tally.packs) packs, \(tally.commits) commits, \(tally.bytes) bytes"
    }

    private static func json(_ tally: ObjectTally) -> JSONValue {
        .object([
            "packs": .number(UInt64(tally.packs)), "commits": .number(UInt64(tally.commits)),
            "bytes": .number(tally.bytes),
        ])
    }

    private static func answer(_ abandonment: Abandonment) -> CollectionAnswer {
        let line: String
        let kind: String
        let document: any Document
        switch abandonment {
        case .reader(let reader):
            kind = "reader"
            document = reader
            line =
                "abandoned: reader \(reader.id) of \(reader.node), commit "
                + "\(reader.commit.sequence) of volume \(reader.commit.volume)"
        case .stop(let stop):
            kind = "stop"
            document = stop
            line = "abandoned: stop \(stop.id) of \(stop.node), pack \(stop.pack.key)"
        case .creation(let export):
            kind = "unfinished"
            document = export
            line = "abandoned: unfinished export \(export.name), volume \(export.volume)"
        }
        return CollectionAnswer(
            lines: [line],
            json: JSONValue.object(["abandoned": .object([kind: .object(document.members)])]).text)
    }
}
