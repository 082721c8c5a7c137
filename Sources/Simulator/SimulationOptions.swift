// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a run is made of. Everything follows from the seed; what is taken away from a run to shrink
// it changes nothing of the rest.

import Primitives

/// The shape of one run.
public struct SimulationOptions: Sendable {
    public static let defaultSteps = 1_600

    public let seed: UInt64
    public var steps: Int
    public var blockBytes: Int
    /// Pages of a journal segment: few, so that a run rolls over many, and some requests do.
    public var segmentPages: Int
    /// Sectors of the volume at the start.
    public var sectors: Int
    /// Requests of the guest in flight at most.
    public var depth: Int
    /// Steps in which nothing happens.
    public var skipped: [ClosedRange<Int>] = []
    /// Faults that do not happen.
    public var without: Set<Fault> = []
    /// Lets one decision hang on the order of an unordered dictionary, so that the check of
    /// determinism has something to find.
    public var isDisordered = false
    /// The collectors do not see snapshots: for the check that what they then delete is noticed.
    public var isBlind = false
    /// Told of every step, for who replays a seed to see what happened.
    public var trace: (@Sendable (String) -> Void)?

    /// A shape drawn from the seed: block size, volume size, depth, size of segments.
    public init(seed: UInt64, steps: Int = Self.defaultSteps) {
        self.seed = seed
        self.steps = steps
        var random = SplitMix64(seed: seed ^ 0x5EED)
        // Mostly small: what is large costs time and shows the same. Now and then it does not.
        let kibibytes = [4, 4, 4, 4, 4, 16, 16, 16, 16, 16, 16, 16, 128, 128, 128, 128]
        blockBytes = kibibytes[Int(random.next(below: 16))] << 10
        if random.next(below: 24) == 0 { blockBytes = 1 << 20 }
        sectors = 64 + Int(random.next(below: random.next(below: 8) == 0 ? 4096 : 1024))
        depth = 1 + Int(random.next(below: 32))
        segmentPages = [16, 32, 64, 64][Int(random.next(below: 4))]
    }

    func isSkipped(_ step: Int) -> Bool { skipped.contains { $0.contains(step) } }

    /// How to run it again.
    public var replay: String {
        var text = "martlet-sim --seed \(seed) --steps \(steps)"
        if !skipped.isEmpty {
            let ranges = skipped.map { "\($0.lowerBound)-\($0.upperBound)" }
            text += " --skip \(ranges.joined(separator: ","))"
        }
        if !without.isEmpty {
            let names = Fault.allCases.filter(without.contains).map(\.rawValue)
            text += " --without \(names.joined(separator: ","))"
        }
        return text
    }
}

/// A promise that did not hold, and the seed that shows it.
public struct SimulationFailure: Error, Equatable, Sendable, CustomStringConvertible {
    public let seed: UInt64
    public let step: Int
    public let detail: String

    public var description: String { "seed \(seed), step \(step): \(detail)" }

    /// What did not hold, without numbers and names: the first words of letters.
    var kind: String {
        detail.prefix(512).split(separator: " ").filter { word in
            word.utf8.allSatisfy { (0x61...0x7A).contains($0 | 0x20) || $0 == UInt8(ascii: ":") }
        }.prefix(5).joined(separator: " ")
    }
}
