// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Runs seeds of the simulator, a thousand at a time, and prints what they did, what they did not
// reach, and for each that fails the line that replays it.

import HostIO
import Primitives
import Shard
import Simulator
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

@main
struct MartletSim {
    static func main() {
        do throws(UserError) {
            let command = try SimCommand(CommandLine.arguments.dropFirst())
            exit(Runner(command).run() ? 0 : 1)
        } catch {
            print("\(error)\n\(SimCommand.usage)")
            exit(2)
        }
    }
}

/// The outcome of a seed.
private typealias Outcome = Result<SimulationReport, SimulationFailure>

/// Runs blocks of seeds on several threads; what it prints is in the order of the seeds.
private struct Runner {
    private let command: SimCommand
    private let clock = SystemClock()
    private let start: Instant

    init(_ command: SimCommand) {
        self.command = command
        start = clock.now
    }

    private var seconds: Double { Double(clock.now.nanoseconds(since: start)) / 1e9 }

    private var isOverdue: Bool { command.seconds.map { seconds >= Double($0) } ?? false }

    /// True if all held and everything was reached.
    func run() -> Bool {
        let pool = WorkerPool(threads: command.jobs, name: "seeds")
        defer { pool.stop() }
        var summary = SimulationSummary()
        var failures = 0
        var shortcomings: [String] = []
        var next = command.first
        let end = command.first + command.count
        while next < end, !isOverdue, failures == 0 || !command.endsAtFailure {
            let count = min(UInt64(SimulationSummary.coverageSeeds), end - next)
            var block = SimulationSummary()
            for outcome in outcomes(of: next..<(next + count), on: pool) {
                switch outcome {
                case .success(let report): block.add(report)
                case .failure(let failure):
                    failures += 1
                    tell(failure, shrinks: failures <= 3)
                }
            }
            if block.runs >= SimulationSummary.coverageSeeds {
                shortcomings += block.shortcomings.map { "seeds from \(next): \($0)" }
            }
            summary.add(block)
            next += count
        }
        tell(summary, failures: failures)
        for shortcoming in shortcomings { print("SHORT \(shortcoming)") }
        return failures == 0 && shortcomings.isEmpty
    }

    private func outcomes(of seeds: Range<UInt64>, on pool: WorkerPool) -> [Outcome] {
        let outcomes = Lock([Outcome?](repeating: nil, count: seeds.count))
        let command = command
        let start = start
        let clock = clock
        let hasFailed = Lock(false)
        pool.spread(seeds.count) { index in
            let elapsed = clock.now.nanoseconds(since: start) / 1_000_000_000
            if let most = command.seconds, elapsed >= most { return }
            let options = command.options(seed: seeds.lowerBound + UInt64(index))
            if command.endsAtFailure {
                if hasFailed.withLock({ $0 }) { return }
                // Should the process not outlive the seed, this says which it was.
                print("seed \(options.seed)")
                fflush(nil)
            }
            let outcome: Outcome
            do throws(SimulationFailure) {
                outcome = .success(try Simulation(options).run())
            } catch {
                outcome = .failure(error)
                hasFailed.withLock { $0 = true }
            }
            outcomes.withLock { $0[index] = outcome }
        }
        return outcomes.withLock { $0.compactMap { $0 } }
    }

    private func tell(_ failure: SimulationFailure, shrinks: Bool) {
        print("FAILED \(failure)")
        var options = command.options(seed: failure.seed)
        print("  replay: \(options.replay) --trace 1")
        guard shrinks, !command.isTraced, !command.endsAtFailure else { return }
        options.trace = nil
        let shrunk = Shrinker.shrink(options, failure)
        print("  shrunk: \(shrunk.options.replay) --trace 1")
        print("  which says: \(shrunk.failure)")
    }

    private func tell(_ summary: SimulationSummary, failures: Int) {
        print("\(summary.runs + failures) seeds, \(failures) failed")
        if summary.runs > 0 { print(summary) }
        let rate = Double(summary.runs + failures) * 60 / max(seconds, 0.001)
        print("\(Int(rate)) seeds a minute, \(Int(seconds)) s, \(command.jobs) threads")
    }
}
