// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a run is made of, and what it reports. Everything follows from the seed.

import Primitives

/// The shape of one run.
public struct SimulationOptions: Sendable {
    public var seed: UInt64
    public var steps: Int
    public var blockBytes: Int
    /// Sectors of the volume at the start.
    public var sectors: Int
    /// Requests of the guest in flight at most.
    public var depth: Int
    /// Chances in 10,000 steps.
    public var killRate: UInt64 = 12
    public var powerRate: UInt64 = 12
    public var cacheLossRate: UInt64 = 4
    public var storeFaultRate: UInt64 = 60
    public var syncFailureRate: UInt64 = 1
    /// Told of every step, for who replays a seed to see what happened.
    public var trace: (@Sendable (String) -> Void)?

    /// A shape drawn from the seed: block size, volume size, depth.
    public init(seed: UInt64, steps: Int = 3_000) {
        self.seed = seed
        self.steps = steps
        var random = SplitMix64(seed: seed ^ 0x5EED)
        let shift = random.next(below: 4)
        blockBytes = [4 << 10, 16 << 10, 128 << 10, 1 << 20][Int(shift)]
        sectors = 64 + Int(random.next(below: 4096))
        depth = 1 + Int(random.next(below: 32))
    }
}

/// What happened in a run.
public struct SimulationReport: Equatable, Sendable {
    public var seed: UInt64
    public var requests = 0
    public var parked = 0
    public var flushes = 0
    public var commits = 0
    public var kills = 0
    public var powerCuts = 0
    public var cacheLosses = 0
    public var crashesInRecovery = 0
    public var storeFaults = 0
    public var syncFailures = 0
    public var diskChecks = 0
    public var storeChecks = 0
    /// A hash over every effect, event and answer, in order: equal for equal seeds.
    public var trace: UInt64 = 0

    public init(seed: UInt64) { self.seed = seed }

    /// Sums the counts of another run.
    public mutating func add(_ other: SimulationReport) {
        requests += other.requests
        parked += other.parked
        flushes += other.flushes
        commits += other.commits
        kills += other.kills
        powerCuts += other.powerCuts
        cacheLosses += other.cacheLosses
        crashesInRecovery += other.crashesInRecovery
        storeFaults += other.storeFaults
        syncFailures += other.syncFailures
        diskChecks += other.diskChecks
        storeChecks += other.storeChecks
        note(other.trace)
    }

    /// Mixes a value into the trace.
    mutating func note(_ value: UInt64) {
        trace = (trace ^ value) &* 0x100_0000_01B3
        trace ^= trace >> 29
    }
}

/// A promise that did not hold, and the seed that shows it.
public struct SimulationFailure: Error, Equatable, Sendable, CustomStringConvertible {
    public let seed: UInt64
    public let step: Int
    public let detail: String

    public var description: String { "seed \(seed), step \(step): \(detail)" }
}
