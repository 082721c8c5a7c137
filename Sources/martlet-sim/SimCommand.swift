// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The command line of the simulator.

import Primitives
import Simulator

/// What is to be run.
struct SimCommand {
    static let usage = """
        usage: martlet-sim [--seed FIRST] [--count N] [--seconds MOST] [--jobs N] [--steps N]
                           [--skip A-B,C-D] [--without FAULT,FAULT] [--trace 1] [--disordered 1]
                           [--blind 1] [--until-failure 1]

        Runs seeds and prints what they did. A seed that fails is shrunk, and the line that replays
        it printed. Every 1,000 seeds must reach every fault, action and transition.
          --seconds     start no seed after that many seconds
          --jobs        threads that run seeds; the results do not depend on it
          --trace       print every request, effect, event and fault as it happens
          --disordered  let a dictionary's order decide, to see that two processes then differ
          --blind       hide snapshots from the collectors, to see that they are caught
          --until-failure  start no seed after one that failed, shrink none, tell each that begins
        """

    var first: UInt64 = 1
    var count: UInt64 = 1
    var seconds: UInt64?
    var jobs = 1
    var steps = SimulationOptions.defaultSteps
    var skipped: [ClosedRange<Int>] = []
    var without: Set<Fault> = []
    var isTraced = false
    var isDisordered = false
    var isBlind = false
    var endsAtFailure = false

    /// Fails with what is wrong.
    init(_ arguments: some Sequence<String>) throws(UserError) {
        var rest = Array(arguments)[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Self.refusal(name, "has no value") }
            try set(name, value)
        }
    }

    private mutating func set(_ name: String, _ value: String) throws(UserError) {
        switch name {
        case "--seed": first = try Self.number(name, value)
        case "--count": count = try Self.number(name, value)
        case "--seconds": seconds = try Self.number(name, value)
        case "--jobs": jobs = Int(max(1, min(64, try Self.number(name, value))))
        case "--steps": steps = Int(min(1 << 30, try Self.number(name, value)))
        case "--trace": isTraced = try Self.number(name, value) != 0
        case "--disordered": isDisordered = try Self.number(name, value) != 0
        case "--blind": isBlind = try Self.number(name, value) != 0
        case "--until-failure": endsAtFailure = try Self.number(name, value) != 0
        case "--skip":
            for part in value.split(separator: ",") {
                skipped.append(try Self.range(name, part))
            }
        case "--without":
            for part in value.split(separator: ",") {
                guard let fault = Fault(rawValue: String(part)) else {
                    throw Self.refusal(name, "knows no fault \(part)")
                }
                without.insert(fault)
            }
        default: throw Self.refusal(name, "is not an option")
        }
    }

    func options(seed: UInt64) -> SimulationOptions {
        var options = SimulationOptions(seed: seed, steps: steps)
        options.skipped = skipped
        options.without = without
        options.isDisordered = isDisordered
        options.isBlind = isBlind
        if isTraced { options.trace = { print("  \($0)") } }
        return options
    }

    private static func number(_ name: String, _ value: String) throws(UserError) -> UInt64 {
        guard let number = UInt64(value), number < 1 << 62 else {
            throw refusal(name, "takes a number, not \(value)")
        }
        return number
    }

    private static func range(
        _ name: String, _ value: Substring
    ) throws(UserError) -> ClosedRange<Int> {
        let ends = value.split(separator: "-").map { Int($0) }
        guard ends.count == 2, let low = ends[0], let high = ends[1], low <= high else {
            throw refusal(name, "takes ranges such as 1-20, not \(value)")
        }
        return low...high
    }

    private static func refusal(_ name: String, _ why: String) -> UserError {
        UserError(
            .badRequest, what: "cannot simulate", why: "\(name) \(why)",
            remedy: "see the usage below")
    }
}
