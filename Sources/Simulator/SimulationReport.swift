// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What one run did, and what many did together: the distribution that says whether runs bite, and
// what was never reached.

import Primitives

/// What happened in a run.
public struct SimulationReport: Equatable, Sendable {
    public let seed: UInt64
    /// Requests of the guest, each counted once.
    public var requests = 0
    public var commits = 0
    public var diskChecks = 0
    public var storeChecks = 0
    public var faults = Tally<Fault>()
    public var actions = Tally<Action>()
    public var transitions = Tally<Transition>()
    /// A hash over every effect, event, answer and byte written, in order: equal for equal seeds.
    public var trace: UInt64 = 0

    init(seed: UInt64) { self.seed = seed }

    public var crashes: Int {
        Fault.allCases.reduce(0) { $1.isCrash ? $0 + faults[$1] : $0 }
    }

    public var calls: Int {
        Action.allCases.reduce(0) { $1.isCall ? $0 + actions[$1] : $0 }
    }

    /// Runs of collectors that began.
    public var collections: Int { actions[.collect] + actions[.collectDry] }

    /// Sums the counts of another run.
    mutating func add(_ other: SimulationReport) {
        requests += other.requests
        commits += other.commits
        diskChecks += other.diskChecks
        storeChecks += other.storeChecks
        faults.add(other.faults)
        actions.add(other.actions)
        transitions.add(other.transitions)
        note(other.trace)
    }

    /// Mixes a value into the trace.
    mutating func note(_ value: UInt64) {
        trace = (trace ^ value) &* 0x100_0000_01B3
        trace ^= trace >> 29
    }
}

/// What many runs did together.
public struct SimulationSummary: Sendable, CustomStringConvertible {
    /// So many seeds must reach everything there is.
    public static let coverageSeeds = 1_000

    public private(set) var total = SimulationReport(seed: 0)
    private var requests: [Int] = []
    private var commits: [Int] = []
    private var crashes: [Int] = []
    private var kinds: [Int] = []
    private var calls: [Int] = []
    private var collections: [Int] = []

    public init() {}

    public var runs: Int { requests.count }

    public mutating func add(_ report: SimulationReport) {
        total.add(report)
        requests.append(report.requests)
        commits.append(report.commits)
        crashes.append(report.crashes)
        kinds.append(report.faults.kinds)
        calls.append(report.calls)
        collections.append(report.collections)
    }

    public mutating func add(_ other: SimulationSummary) {
        total.add(other.total)
        requests += other.requests
        commits += other.commits
        crashes += other.crashes
        kinds += other.kinds
        calls += other.calls
        collections += other.collections
    }

    /// What was never reached, and by how much the median run falls short: empty if the runs bite.
    public var shortcomings: [String] {
        var found: [String] = []
        found += total.faults.missing.map { "fault \($0) was never injected" }
        found += total.actions.missing.map { "action \($0) was never taken" }
        found += total.transitions.missing.map { "transition \($0) was never reached" }
        for (values, name, least) in [
            (requests, "guest requests", 500), (commits, "commits", 5), (crashes, "crashes", 1),
            (kinds, "kinds of fault", 3), (calls, "calls of names", 10),
            (collections, "collections", 3),
        ] where Self.quantile(values, 50) < least {
            found.append(
                "the median run has \(Self.quantile(values, 50)) \(name), not \(least)")
        }
        return found
    }

    public var description: String {
        var lines = ["  a run has          least    10 %  median    90 %    most"]
        for (values, name) in [
            (requests, "guest requests"), (commits, "commits"), (crashes, "crashes"),
            (kinds, "kinds of fault"), (calls, "calls of names"), (collections, "collections"),
        ] {
            let cells = [0, 10, 50, 90, 100].map { Self.padded(Self.quantile(values, $0), to: 8) }
            lines.append("  " + name + Self.spaces(16 - name.count) + cells.joined())
        }
        lines.append(
            "  in all: \(total.requests) guest requests, \(total.commits) commits, "
                + "\(total.crashes) crashes, \(total.diskChecks) disks and \(total.storeChecks) "
                + "commits read back whole")
        lines.append("  faults: \(total.faults.text)")
        lines.append("  actions: \(total.actions.text)")
        lines.append("  transitions: \(total.transitions.text)")
        lines.append("  trace: \(String(total.trace, radix: 16))")
        return lines.joined(separator: "\n")
    }

    /// The value that this many percent of the runs do not exceed; 0 without runs.
    static func quantile(_ values: [Int], _ percent: Int) -> Int {
        guard !values.isEmpty else { return 0 }
        return values.sorted()[(values.count - 1) * percent / 100]
    }

    private static func spaces(_ count: Int) -> String {
        String(repeating: " ", count: max(0, count))
    }

    private static func padded(_ value: Int, to width: Int) -> String {
        let text = String(value)
        return spaces(width - text.count) + text
    }
}
