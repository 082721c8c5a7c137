// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The checks on the runs themselves: what was never reached fails them, and what fails is made
// small.

import Primitives
import Testing

@testable import Simulator

@Suite("Runs that bite")
struct CoverageTests {
    private func report(_ change: (inout SimulationReport) -> Void) -> SimulationReport {
        var report = SimulationReport(seed: 1)
        report.requests = 500
        report.commits = 5
        for fault in Fault.allCases { report.faults.note(fault) }
        report.actions = actions(without: nil)
        for transition in Transition.allCases { report.transitions.note(transition) }
        change(&report)
        return report
    }

    /// Each often enough for a median run.
    private func actions(without missing: Action?) -> Tally<Action> {
        var tally = Tally<Action>()
        for action in Action.allCases where action != missing {
            for _ in 0..<3 { tally.note(action) }
        }
        return tally
    }

    private func shortcomings(_ change: (inout SimulationReport) -> Void) -> [String] {
        var summary = SimulationSummary()
        summary.add(report(change))
        return summary.shortcomings
    }

    @Test("each fault, action and transition that is missing is named")
    func missing() {
        #expect(shortcomings { _ in } == [])
        for fault in Fault.allCases {
            let found = shortcomings { report in
                report.faults = Tally()
                for other in Fault.allCases where other != fault { report.faults.note(other) }
            }
            #expect(found == ["fault \(fault.rawValue) was never injected"])
        }
        for action in Action.allCases {
            let found = shortcomings { report in
                report.actions = actions(without: action)
            }
            #expect(found == ["action \(action.rawValue) was never taken"])
        }
        for transition in Transition.allCases {
            let found = shortcomings { report in
                report.transitions = Tally()
                for other in Transition.allCases where other != transition {
                    report.transitions.note(other)
                }
            }
            #expect(found == ["transition \(transition.rawValue) was never reached"])
        }
    }

    @Test("a median run that does too little is named")
    func median() {
        #expect(
            shortcomings { $0.requests = 499 } == ["the median run has 499 guest requests, not 500"]
        )
        #expect(shortcomings { $0.commits = 4 } == ["the median run has 4 commits, not 5"])
        let few = shortcomings { report in
            report.actions = Tally()
            for action in Action.allCases { report.actions.note(action) }
        }
        #expect(few == ["the median run has 2 collections, not 3"])
        #expect(SimulationSummary.quantile([1, 9, 2, 8, 3], 50) == 3)
        #expect(SimulationSummary.quantile([1, 9, 2, 8, 3], 100) == 9)
    }

    @Test("a fault that is left out does not happen")
    func leftOut() throws {
        var summary = SimulationSummary()
        for seed in 1..<20 as Range<UInt64> {
            var options = SimulationOptions(seed: seed, steps: 400)
            options.without = Set(Fault.allCases).subtracting([.replyLost])
            summary.add(try Simulation(options).run())
        }
        #expect(summary.total.faults.kinds == 1)
        #expect(summary.total.faults[.replyLost] > 0)
        #expect(summary.shortcomings.contains("fault kill was never injected"))
    }

    @Test("a run that fails is shrunk to the steps and faults that it takes")
    func shrinking() {
        let options = SimulationOptions(seed: 3, steps: 1_000)
        func failure(_ options: SimulationOptions) -> SimulationFailure? {
            guard !options.isSkipped(117), !options.isSkipped(402), options.steps >= 402,
                !options.without.contains(.latePut)
            else { return nil }
            // With a store that is always there something else fails.
            let isOther = options.without.contains(.storeAway)
            return SimulationFailure(
                seed: 3, step: 402,
                detail: isOther ? "commit 7 is lost" : "commit \(options.steps) is no prefix")
        }
        guard let first = failure(options) else { return }
        var shrinker = Shrinker(options, first, tries: 500, run: failure)
        let shrunk = shrinker.shrunk().options
        #expect(shrunk.skipped == [1...116, 118...401])
        #expect(shrunk.steps == 402)
        #expect(shrunk.without == Set(Fault.allCases).subtracting([.latePut, .storeAway]))
        #expect(shrunk.replay.hasPrefix("martlet-sim --seed 3 --steps 402 --skip 1-116,118-401 "))
    }
}
