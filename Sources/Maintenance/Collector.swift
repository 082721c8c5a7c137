// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The collector: deletes what nobody reaches, without clocks, locks or leases. Run k:
//
//   read set k - 1 ─▶ survey ─▶ plan k: what of the set is still unreachable, created if absent
//     ─▶ delete what the plan says, commits first ─▶ set k, created if absent ─▶ tidy up
//
// Nothing is deleted that was not condemned by an earlier run and found unreachable again by a
// survey that began when that was published. Whoever finds plan k without set k finishes the run by
// the plan: two collectors at once, or one after a crash, delete the same. All deletions of run k
// come before set k, which is what a pin counts on; the argument is in
// docs/decisions/0018-garbage-collection.md.

import ControlPlane
import Documents
import Formats
public import ObjectStore
public import Primitives

/// One run. Confined to its caller, blocks, and may be left off after any step: the next run goes
/// on.
public struct Collector<Store: ObjectStore, Time: Clock> {
    private let store: Store
    private let clock: Time
    private let options: CollectorOptions
    private let refs: RefStore<Store>

    private enum Stage {
        case begin
        case survey(Survey<Store>)
        case delete([String])
        case publish
        case tidy
        case done
    }

    private var stage = Stage.begin
    private var before: CondemnedSet?
    private var plan: CollectionPlan?
    private var next = CondemnedSet(run: 1, groups: [])
    public private(set) var report = CollectionReport()

    public init(store: Store, clock: Time, options: CollectorOptions) {
        self.store = store
        self.clock = clock
        self.options = options
        refs = RefStore(store: store, what: "cannot collect garbage")
    }

    /// Runs to the end. Fails if anything that decides about reachability cannot be read: then
    /// nothing was deleted but what an earlier plan says.
    public mutating func run() throws(UserError) -> CollectionReport {
        while try !step() {}
        return report
    }

    /// Makes one step; true when the run is over. After a failure the run is over too.
    public mutating func step() throws(UserError) -> Bool {
        do throws(UserError) {
            try advance()
        } catch {
            stage = .done
            // What another collector deleted meanwhile looks like damage from here.
            guard report.run > 0, let newest = try? refs.newestNumber(.collection),
                newest >= report.run
            else { throw error }
            report.outcome = .overtaken
        }
        if case .done = stage { return true }
        return false
    }

    private mutating func advance() throws(UserError) {
        switch stage {
        case .begin: try begin()
        case .survey(var survey):
            let isKnown = try survey.step()
            stage = .survey(survey)
            if isKnown { try decide(survey) }
        case .delete(let keys): try delete(keys)
        case .publish: try publish()
        case .tidy: try tidy()
        case .done: break
        }
    }

    // MARK: Steps

    private mutating func begin() throws(UserError) {
        // Refuses what is no repository, and one whose content this program does not know.
        guard let _: Repository = try refs.find(RefKey.repository.text) else {
            throw refs.noRepository
        }
        try readStops()
        if !options.isDryRun { try requireNoStop() }
        before = try refs.newest(.collection)
        report.run = (before?.run ?? 0) + 1
        plan = try refs.find(RefSeries.collectionPlan.key(report.run))
        report.isResumed = plan != nil
        stage = .survey(
            Survey(
                refs: refs, retention: options.retention, nowSeconds: clock.wallSeconds,
                condemnedBefore: before?.commits ?? []))
    }

    private mutating func decide(_ survey: Survey<Store>) throws(UserError) {
        tell(survey)
        let found = plan
        let wanted = found ?? proposal(survey)
        next = condemn(survey, without: wanted.keys)
        if options.isDryRun {
            count(wanted.keys, of: survey, into: \.deleted)
            report.outcome = .dryRun
            stage = .done
            return
        }
        if found == nil, wanted.keys.isEmpty, next.groups == before?.groups ?? [] {
            stage = .done
            return
        }
        if found == nil { try claim(wanted, survey) }
        guard try refs.newestNumber(.collection) < report.run else {
            report.outcome = .overtaken
            stage = .done
            return
        }
        guard let plan else { throw refs.contended }
        count(plan.keys, of: survey, into: \.deleted)
        stage = .delete(plan.keys.keys)
    }

    /// Creates the plan, or takes the one that another collector made meanwhile.
    private mutating func claim(
        _ wanted: CollectionPlan, _ survey: Survey<Store>
    ) throws(UserError) {
        if try refs.append(wanted) {
            plan = wanted
            return
        }
        let theirs: CollectionPlan = try refs.read(
            RefSeries.collectionPlan.key(report.run), in: .collectionPlan)
        plan = theirs
        report.isResumed = true
        next = condemn(survey, without: theirs.keys)
    }

    /// What hosts say that read what an earlier run condemned: see `Tripwire`.
    private mutating func readStops() throws(UserError) {
        report.stops = []
        for key in try refs.keys(prefix: RefKey.stopsPrefix) {
            guard case .stop? = RefKey(parsing: key) else {
                throw UserError(refs.what, key, .malformedKey(key))
            }
            if let stop: CollectionStop = try refs.find(key) { report.stops.append(stop) }
        }
    }

    private func requireNoStop() throws(UserError) {
        guard let stop = report.stops.first else { return }
        throw UserError(
            .conflict, what: refs.what,
            why: "\(stop.node) serves a disk that needs \(stop.pack.key) (commit "
                + "\(stop.commit.sequence) of volume \(stop.commit.volume)), which run \(stop.run) "
                + "condemned",
            remedy: "run martlet verify and find out why; then martlet gc --abandon \(stop.id)")
    }

    private mutating func delete(_ keys: [String]) throws(UserError) {
        if !keys.isEmpty {
            try readStops()
            try requireNoStop()
        }
        let count = min(keys.count, max(1, store.deleteBatchMax))
        // Commits and packs never share a request: the order between them counts.
        var batch: [String] = []
        for key in keys.prefix(count) {
            if let first = batch.first, first.hasPrefix("packs/") != key.hasPrefix("packs/") {
                break
            }
            batch.append(key)
        }
        try refs.delete(batch)
        let rest = Array(keys.dropFirst(batch.count))
        stage = rest.isEmpty ? .publish : .delete(rest)
    }

    private mutating func publish() throws(UserError) {
        // Another collector's set for this run is as good.
        report.outcome = try refs.append(next) ? .done : .overtaken
        stage = .tidy
    }

    /// The newest set is what pins look at; the one before tells people what a run took. Of plans
    /// the newest stays, so that a slow collector finds its number taken.
    private mutating func tidy() throws(UserError) {
        var old: [String] = []
        for (series, kept) in [(RefSeries.collection, 2), (RefSeries.collectionPlan, 1)] {
            old += try refs.keys(prefix: series.prefix).dropFirst(kept)
        }
        for start in stride(from: 0, to: old.count, by: 1000) {
            try refs.delete(Array(old[start..<min(start + 1000, old.count)]))
        }
        stage = .done
    }

    // MARK: Decisions

    /// What of the last set is unreachable still, old enough, and within the limit.
    private func proposal(_ survey: Survey<Store>) -> CollectionPlan {
        let now = clock.wallSeconds
        let commits = Set(survey.unreachable.commits)
        let packs = Set(survey.unreachable.packs)
        var keys = CollectedKeys()
        let ripe = (before?.groups ?? []).filter { group in
            let age = now > group.labelSeconds ? now - group.labelSeconds : 0
            return age >= options.gracePeriodSeconds
        }
        for group in ripe {
            keys.commits += group.keys.commits.filter(commits.contains)
            keys.packs += group.keys.packs.filter(packs.contains)
        }
        let most = min(options.deletesMax, CondemnedSet.keysMax)
        keys.commits = Array(keys.commits.prefix(most))
        keys.packs = Array(keys.packs.prefix(most - keys.commits.count))
        return CollectionPlan(run: report.run, node: options.node, labelSeconds: now, keys: keys)
    }

    /// The set of this run: what is unreachable and not deleted now, each with the label of the run
    /// that found it first. Tells of it in the report.
    private mutating func condemn(
        _ survey: Survey<Store>, without deleted: CollectedKeys
    ) -> CondemnedSet {
        report.waiting = ObjectTally()
        report.condemned = ObjectTally()
        var commits = Set(survey.unreachable.commits).subtracting(deleted.commits)
        var packs = Set(survey.unreachable.packs).subtracting(deleted.packs)
        let now = clock.wallSeconds
        // A label from the future, of a clock that was wrong, would wait until then.
        var byLabel: [UInt64: CollectedKeys] = [:]
        func add(_ keys: CollectedKeys, _ label: UInt64) {
            byLabel[min(label, now), default: CollectedKeys()].commits += keys.commits
            byLabel[min(label, now), default: CollectedKeys()].packs += keys.packs
        }
        for group in before?.groups ?? [] {
            let keys = CollectedKeys(
                commits: group.keys.commits.filter { commits.remove($0) != nil },
                packs: group.keys.packs.filter { packs.remove($0) != nil })
            add(keys, group.labelSeconds)
            count(keys, of: survey, into: \.waiting)
        }
        let room = CondemnedSet.keysMax - byLabel.values.reduce(0) { $0 + $1.count }
        var fresh = CollectedKeys(
            commits: Array(survey.unreachable.commits.filter(commits.contains).prefix(room)))
        fresh.packs = Array(
            survey.unreachable.packs.filter(packs.contains).prefix(room - fresh.count))
        add(fresh, now)
        count(fresh, of: survey, into: \.condemned)
        let groups = byLabel.sorted { $0.key < $1.key }.filter { !$0.value.isEmpty }
            .map { CondemnedSet.Group(labelSeconds: $0.key, keys: $0.value) }
        return CondemnedSet(run: report.run, groups: groups)
    }

    private mutating func tell(_ survey: Survey<Store>) {
        report.roots = survey.roots.count
        report.readers = survey.readers
        report.creating = survey.creating
        report.stored = ObjectTally()
        report.stored.packs = survey.packs.count
        report.stored.commits = survey.commits.values.reduce(0) { $0 + $1.count }
        report.stored.bytes =
            survey.packs.values.reduce(0, +)
            + survey.commits.values.reduce(0) { $0 + $1.values.reduce(0, +) }
    }

    private mutating func count(
        _ keys: CollectedKeys, of survey: Survey<Store>,
        into tally: WritableKeyPath<CollectionReport, ObjectTally>
    ) {
        report[keyPath: tally].commits += keys.commits.count
        report[keyPath: tally].packs += keys.packs.count
        report[keyPath: tally].bytes +=
            keys.commits.reduce(0) { $0 + survey.bytes(of: $1) }
            + keys.packs.reduce(0) { $0 + (survey.packs[$1] ?? 0) }
    }
}
