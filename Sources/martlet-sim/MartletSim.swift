// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Runs seeds of the simulator and prints, for each that fails, the line that replays it.
//
//   martlet-sim [--seed FIRST] [--count N] [--steps N] [--trace 1]
//
// With --trace 1 every request, effect, event and fault is printed as it happens.

import Simulator

#if canImport(Glibc)
    import Glibc
#endif

@main
struct MartletSim {
    static func main() {
        var settings: [String: UInt64] = [
            "--seed": 1, "--count": 1, "--steps": 1_000, "--trace": 0,
        ]
        var arguments = CommandLine.arguments.dropFirst()
        while let name = arguments.popFirst() {
            guard settings[name] != nil, let value = arguments.popFirst().flatMap({ UInt64($0) })
            else {
                print("usage: martlet-sim [--seed FIRST] [--count N] [--steps N] [--trace 1]")
                exit(2)
            }
            settings[name] = value
        }
        let first = settings["--seed"] ?? 1
        var options = SimulationOptions(seed: first, steps: Int(settings["--steps"] ?? 1_000))
        if settings["--trace"] != 0 { options.trace = { print("  \($0)") } }
        let failures = run(first..<(first + (settings["--count"] ?? 1)), like: options)
        exit(failures == 0 ? 0 : 1)
    }

    /// The number of seeds that failed.
    private static func run(_ seeds: Range<UInt64>, like model: SimulationOptions) -> Int {
        var failures = 0
        var total = SimulationReport(seed: seeds.lowerBound)
        for seed in seeds {
            var options = SimulationOptions(seed: seed, steps: model.steps)
            options.trace = model.trace
            do throws(SimulationFailure) {
                total.add(try Simulation(options).run())
            } catch {
                failures += 1
                print("FAILED \(error)")
                print("  replay: martlet-sim --seed \(seed) --count 1 --steps \(model.steps)")
            }
        }
        print("\(seeds.count) seeds, \(failures) failed")
        print(total)
        return failures
    }
}
