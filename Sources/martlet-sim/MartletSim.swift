// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Runs seeds of the simulator and prints a line for each failure that replays it.
//
//   martlet-sim [FIRST-SEED [COUNT [STEPS]]]

import Simulator

@main
struct MartletSim {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst().map { UInt64($0) }
        guard !arguments.contains(nil), arguments.count <= 3 else {
            print("usage: martlet-sim [FIRST-SEED [COUNT [STEPS]]]")
            return
        }
        let numbers = arguments.compactMap { $0 }
        let first = numbers.first ?? 1
        let count = numbers.count > 1 ? numbers[1] : 1
        let steps = numbers.count > 2 ? Int(numbers[2]) : 3_000
        var failures = 0
        var total = SimulationReport(seed: first)
        for seed in first..<(first + count) {
            do throws(SimulationFailure) {
                let report = try Simulation(SimulationOptions(seed: seed, steps: steps)).run()
                total.add(report)
                if count == 1 { print(report) }
            } catch {
                failures += 1
                print("FAILED \(error)\n  replay: martlet-sim \(seed) 1 \(steps)")
            }
        }
        print("\(count) seeds, \(failures) failed: \(total)")
    }
}
