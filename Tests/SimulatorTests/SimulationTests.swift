// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Seeds of the simulator as tests: a fresh range on every change, the seeds that once failed, and
// the model's own judgement on histories that are wrong.

import Primitives
import Simulator
import Testing

@Suite("Simulation")
struct SimulationTests {
    @Test(
        "after every death the disk is a prefix of the guest's history, and the store at every cut",
        arguments: 0..<6)
    func prefixHolds(slice: UInt64) throws {
        var total = SimulationReport(seed: slice)
        for seed in (10_000 + slice * 10)..<(10_000 + slice * 10 + 10) {
            total.add(try Simulation(SimulationOptions(seed: seed, steps: 600)).run())
        }
        #expect(total.requests > 500)
        #expect(total.commits > 20)
        #expect(total.kills + total.powerCuts + total.cacheLosses > 5)
        #expect(total.diskChecks > 10)
        #expect(total.storeChecks > 10)
    }

    /// What each of them showed, when it failed:
    /// 1: records staged when a sync failed were appended all the same.
    /// 19: a commit whose reply was lost was taken for another writer's.
    /// 56: the model knew neither writes that fail for a damaged base, nor writes that are woken
    ///     within the turn that a read ends.
    /// 91: an append that failed inside a request did not stop the rest of the request.
    /// 129: a recycled segment passed for a later life of the journal, whose records were dropped.
    /// 541: a crash between the two names of a rename left no local root.
    /// 671: a folder whose maker was killed before it synced the name was never synced.
    /// 989: a sync failed, the process was killed, and the pages it dropped passed for durable.
    /// 6513: a root found after a kill went back with the power, and its pending name was gone.
    /// 8947: the model kept a write behind the end of a disk whose grow was lost.
    static let seeds: [UInt64] = [1, 19, 56, 91, 129, 541, 671, 989, 6513, 8947]

    @Test("seeds that once failed hold", arguments: seeds)
    func regressions(seed: UInt64) throws {
        _ = try Simulation(SimulationOptions(seed: seed, steps: 1_000)).run()
    }

    @Test("a seed gives the same trace twice", arguments: [7, 8] as [UInt64])
    func determinism(seed: UInt64) throws {
        let first = try Simulation(SimulationOptions(seed: seed, steps: 500)).run()
        let second = try Simulation(SimulationOptions(seed: seed, steps: 500)).run()
        #expect(first == second)
    }
}
