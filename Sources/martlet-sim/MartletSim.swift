// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Runs seeds of the simulator and prints, for each that fails, the line that replays it.
//
//   martlet-sim [--seed FIRST] [--count N] [--steps N]

import Simulator

#if canImport(Glibc)
    import Glibc
#endif

@main
struct MartletSim {
    static func main() {
        var settings: [String: UInt64] = ["--seed": 1, "--count": 1, "--steps": 1_000]
        var arguments = CommandLine.arguments.dropFirst()
        while let name = arguments.popFirst() {
            guard settings[name] != nil, let value = arguments.popFirst().flatMap({ UInt64($0) })
            else {
                print("usage: martlet-sim [--seed FIRST] [--count N] [--steps N]")
                exit(2)
            }
            settings[name] = value
        }
        let first = settings["--seed"] ?? 1
        let failures = run(
            first..<(first + (settings["--count"] ?? 1)), steps: Int(settings["--steps"] ?? 1_000))
        exit(failures == 0 ? 0 : 1)
    }

    /// The number of seeds that failed.
    private static func run(_ seeds: Range<UInt64>, steps: Int) -> Int {
        var failures = 0
        var total = SimulationReport(seed: seeds.lowerBound)
        for seed in seeds {
            do throws(SimulationFailure) {
                total.add(try Simulation(SimulationOptions(seed: seed, steps: steps)).run())
            } catch {
                failures += 1
                print("FAILED \(error)")
                print("  replay: martlet-sim --seed \(seed) --count 1 --steps \(steps)")
            }
        }
        print("\(seeds.count) seeds, \(failures) failed")
        print(total)
        return failures
    }
}
