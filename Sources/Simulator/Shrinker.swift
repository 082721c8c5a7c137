// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From a run that fails to a smaller one that fails alike: fewer steps, fewer kinds of fault, then
// steps left out in pieces that get smaller. Every step draws from a stream of its own, so that
// what is left does what it did.

/// Makes failing runs smaller.
public struct Shrinker {
    /// Runs it may still spend.
    private var triesLeft: Int
    private var best: (options: SimulationOptions, failure: SimulationFailure)
    private let run: (SimulationOptions) -> SimulationFailure?

    /// `run` tells the failure of a run, nil if it held.
    init(
        _ options: SimulationOptions, _ failure: SimulationFailure, tries: Int,
        run: @escaping (SimulationOptions) -> SimulationFailure?
    ) {
        best = (options, failure)
        triesLeft = tries
        self.run = run
    }

    /// The smallest run found that fails in the same way: another fault is another matter.
    public static func shrink(
        _ options: SimulationOptions, _ failure: SimulationFailure, tries: Int = 200
    ) -> (options: SimulationOptions, failure: SimulationFailure) {
        var shrinker = Shrinker(options, failure, tries: tries) { options in
            do throws(SimulationFailure) {
                _ = try Simulation(options).run()
                return nil
            } catch { return error }
        }
        return shrinker.shrunk()
    }

    mutating func shrunk() -> (options: SimulationOptions, failure: SimulationFailure) {
        best.options.trace = nil
        cutTail()
        for fault in Fault.allCases {
            _ = attempt { $0.without.insert(fault) }
        }
        leaveOutSteps()
        cutTail()
        return best
    }

    /// What comes after the failing step is not needed; the end of the run may be.
    private mutating func cutTail() {
        let step = best.failure.step
        guard step < best.options.steps else { return }
        _ = attempt { $0.steps = step }
    }

    private mutating func leaveOutSteps() {
        var size = max(1, best.options.steps / 2)
        while size >= 1, triesLeft > 0 {
            var first = 1
            while first <= best.options.steps, triesLeft > 0 {
                let last = min(first + size - 1, best.options.steps)
                if !(first...last).allSatisfy(best.options.isSkipped) {
                    _ = attempt { $0.skipped = Self.joined($0.skipped, first...last) }
                }
                first += size
            }
            size /= 2
        }
    }

    private mutating func attempt(_ change: (inout SimulationOptions) -> Void) -> Bool {
        guard triesLeft > 0 else { return false }
        triesLeft -= 1
        var options = best.options
        change(&options)
        guard let failure = run(options), failure.kind == best.failure.kind else { return false }
        best = (options, failure)
        return true
    }

    /// Ranges in order that neither overlap nor touch.
    static func joined(
        _ ranges: [ClosedRange<Int>], _ more: ClosedRange<Int>
    ) -> [ClosedRange<Int>] {
        var result: [ClosedRange<Int>] = []
        for range in (ranges + [more]).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.last, range.lowerBound <= last.upperBound + 1 {
                result[result.count - 1] =
                    last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                result.append(range)
            }
        }
        return result
    }
}
