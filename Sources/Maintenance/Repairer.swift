// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Damaged and missing objects, made whole under their own keys from sources that were asked for.
//
//   verify ─▶ commits, packs with faults ─▶ what pointers need of those packs
//     ─▶ each read again ─▶ the same object of a source, or members from wherever they are
//     ─▶ wholly checked ─▶ replaced ─▶ read back ─▶ verify, and again as long as that helps
//
// An object stays under its key, so that every disk, snapshot and fork that depends on it is whole
// again and no map changes. What is written is what was written once, down to each hash that
// anything names; else nothing is. The argument about collectors, readers and other repairs is in
// docs/decisions/0027-repair.md.

import Formats
public import ObjectStore
import Primitives
import VolumeMap

/// One repair. Confined to the thread that calls it.
public struct Repairer<Store: ObjectStore> {
    /// A verifier with these options, as it is to be used for this run.
    public typealias MakeVerifier = (VerifyOptions) -> Verifier<Store>

    /// A damaged commit hides pages, these hide nodes, and these frames.
    private static var roundsMax: Int { 6 }

    let store: Store
    let sources: [any RepairSource]
    private let options: VerifyOptions
    private let makeVerifier: MakeVerifier
    private let fallBack: FallBack?
    var condemned: CondemnedKeys<Store>
    var outcomes: [String: RepairOutcome] = [:]
    /// Why sources did not answer, by their names.
    var troubles: [String: String] = [:]
    /// Something was written since the last verification.
    var hasWritten = false

    /// `sources` in the order of trust. `fallBack`: what stays damaged goes back to its last good
    /// commit, as far as all data is read.
    public init(
        store: Store, options: VerifyOptions, sources: [any RepairSource],
        fallBack: FallBack? = nil, verifier: @escaping MakeVerifier
    ) {
        precondition(fallBack == nil || options.sample == VerifyOptions.wholeSample)
        self.fallBack = fallBack
        self.store = store
        self.options = options
        self.sources = sources
        makeVerifier = verifier
        condemned = CondemnedKeys(store)
    }

    /// Verifies, repairs what can be, and verifies again what is then there. Throws if the store
    /// does not answer: what was repaired by then stays, and another run goes on.
    public mutating func run() throws(VerifyError) -> RepairReport {
        var verifier = makeVerifier(options)
        let found = try verifier.run()
        var left = found
        for _ in 0..<Self.roundsMax where !left.faults.isEmpty {
            hasWritten = false
            try repairRefs(of: left)
            try repairCommits(of: left, verifier)
            try repairPacks(of: left)
            tellOthers(of: left)
            guard hasWritten else { break }
            verifier = makeVerifier(options)
            left = try verifier.run()
        }
        if let fallBack, left.isComplete, try fallBackNames(verifier, fallBack) {
            verifier = makeVerifier(options)
            left = try verifier.run()
        }
        // A sample may have missed this time what it found before.
        let known = Set(left.faults.map { FaultPlace($0.key, $0.part, $0.extent) })
        left.faults += found.faults.filter { fault in
            outcomes[fault.key]?.result != .repaired
                && !known.contains(FaultPlace(fault.key, fault.part, fault.extent))
                && options.sample < VerifyOptions.wholeSample
        }
        return RepairReport(
            found: found, outcomes: outcomes.values.sorted { $0.key < $1.key }, left: left)
    }

    /// Looks at the whole repository: forks under other names need packs too.
    func makeSurveyor() -> Verifier<Store> { makeVerifier(VerifyOptions()) }

    // MARK: Outcomes

    mutating func note(
        _ key: String, _ result: RepairOutcome.Result, _ detail: String, from sources: [String] = []
    ) {
        var detail = detail
        if result == .notRepaired, !troubles.isEmpty {
            let words = troubles.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
            detail += " (" + words.joined(separator: "; ") + ")"
        }
        outcomes[key] = RepairOutcome(key: key, result: result, sources: sources, detail: detail)
    }

    /// Faults that no bytes can mend.
    private mutating func tellOthers(of report: VerifyReport) {
        for fault in report.faults where outcomes[fault.key] == nil {
            if fault.kind == .inconsistent {
                note(
                    fault.key, .notRepaired,
                    "whole objects contradict each other, and nothing says which is right")
            } else {
                note(fault.key, .notRepaired, "nothing says what was there")
            }
        }
    }

    /// Whole objects that sources have under the key, in their order.
    mutating func candidates(
        _ key: String, limit: Int, isWhole: ([UInt8]) -> Bool
    ) -> [(source: any RepairSource, bytes: [UInt8])] {
        var found: [(any RepairSource, [UInt8])] = []
        for source in sources {
            let bytes = ask(source) { source throws(ObjectStoreError) in
                try source.object(key, limit: limit)
            }
            if let bytes, isWhole(bytes) { found.append((source, bytes)) }
        }
        return found
    }

    mutating func noteUnproven(
        _ key: String, _ found: [(source: any RepairSource, bytes: [UInt8])], _ what: String
    ) {
        let strangers = found.map(\.source.name).joined(separator: ", ")
        note(
            key, .notRepaired,
            strangers.isEmpty
                ? "no source has it" : "nothing proves that \(what) in \(strangers) is this one")
    }

    /// Asks a source. One that does not answer has nothing, and the report says so.
    mutating func ask<Value>(
        _ source: any RepairSource,
        _ body: (any RepairSource) throws(ObjectStoreError) -> Value?
    ) -> Value? {
        do throws(ObjectStoreError) { return try body(source) } catch {
            troubles[source.name] = error.description
            return nil
        }
    }

    // MARK: Reading and writing

    /// What lies under a key now: read again as long as `isWhole` denies it, a few times. Nil:
    /// nothing does.
    func fresh(
        _ key: String, limit: Int, isWhole: ([UInt8]) -> Bool
    ) throws(VerifyError) -> (bytes: [UInt8], isWhole: Bool)? {
        var last: [UInt8] = []
        for _ in 0..<FetchLimits.damagedTriesMax {
            do throws(ObjectStoreError) { last = try store.get(key, limit: limit) } catch {
                switch error {
                case .notFound: return nil
                case .damaged, .refused: continue
                default: throw VerifyError(FetchError(error))
                }
            }
            if isWhole(last) { return (last, true) }
        }
        return (last, false)
    }

    /// Whether a repair may touch an object: nobody is about to delete it, and what is missing is
    /// missed by something that has a name.
    mutating func mayWrite(_ key: String, isMissing: Bool, isNamed: Bool) -> Bool {
        switch condemned.verdict(on: key) {
        case .free: break
        case .condemned:
            note(key, .notRepaired, "a garbage collector is about to delete it")
            return false
        case .unknown(let why):
            note(key, .notRepaired, "nobody can tell what collectors are about to delete: \(why)")
            return false
        }
        guard isMissing, !isNamed, !condemned.isUnused else { return true }
        note(key, .notRepaired, "nothing that has a name needs it: a garbage collector may have it")
        return false
    }

    /// Writes a pack or a commit and reads it back.
    mutating func write(
        _ key: String, _ bytes: [UInt8], isMissing: Bool, isNamed: Bool, _ detail: String,
        from sources: [String]
    ) throws(VerifyError) {
        guard mayWrite(key, isMissing: isMissing, isNamed: isNamed) else { return }
        try put(key, bytes, isMissing: isMissing, detail, from: sources)
    }

    mutating func put(
        _ key: String, _ bytes: [UInt8], isMissing: Bool, _ detail: String, from sources: [String]
    ) throws(VerifyError) {
        do throws(ObjectStoreError) {
            if isMissing {
                // Whoever was faster wrote what was written once, or is found out below.
                _ = try store.putIfAbsent(key, bytes)
            } else if try store.head(key) == nil {
                return note(key, .notRepaired, "it went while it was looked at: try again")
            } else {
                try store.replace(key, bytes)
            }
            hasWritten = true
        } catch {
            guard case .away = error else {
                return note(key, .notRepaired, "it cannot be written: \(error)")
            }
            throw VerifyError(FetchError(error))
        }
        let isThere = try fresh(key, limit: bytes.count) { $0 == bytes }?.isWhole == true
        if isThere {
            note(key, .repaired, detail, from: sources)
        } else {
            note(key, .notRepaired, "something else is there than was written")
        }
    }
}

extension VerifyFault {
    /// Something hit by it has a name that lasts. A reader's may be about to go.
    var isNamed: Bool {
        hits.contains { $0.names.contains { !$0.hasPrefix("reader ") } }
    }
}
