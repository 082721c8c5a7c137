// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Opening a volume for writing: from what it starts, and who else may have it.
//
//   local root `open`, made here, nothing unresolved that ends it ─▶ serve, head unconfirmed
//   else ask the store for the head:
//     head = local root, `open`, made here ─▶ it is ours: serve, head confirmed
//     head = local root otherwise ──────────▶ fence; the journal is adopted
//     head ≠ local root, or none ───────────▶ root removed, journal set aside, fence
//
// The order of a claim's local steps makes every crash end in one of these again: the stale root
// goes first (nothing can be served), then the journal is renamed, then the pending fence is
// durable, then the identity says "made here", then the fence is PUT. A pending fence is resolved
// before anything is served, so an identity that is early harms nothing.

import Committer
package import Documents
import Formats
package import HostIO
package import ObjectStore
package import Primitives

/// Who asks for a volume, and how much they insist.
package struct ClaimRequest: Sendable {
    let name: RefName
    let volume: VolumeID
    /// Ask the store even if the volume could be served at once.
    let asksStore: Bool
    /// Take over from a live node, from a racing claim, and without a journal that failed.
    let isForced: Bool

    package init(
        name: RefName, volume: VolumeID, asksStore: Bool = false, isForced: Bool = false
    ) {
        self.name = name
        self.volume = volume
        self.asksStore = asksStore
        self.isForced = isForced
    }
}

package struct Claimer<Storage: StorageDirectory, Store: ObjectStore>: Sendable {
    let cache: Storage
    let store: Store
    let machine: String
    let clock: any Clock
    /// A fresh token.
    let token: @Sendable () -> Token
    /// The name of another node whose beat says that it serves the volume now.
    let server: @Sendable (VolumeID) throws(UserError) -> String?

    /// Others may take the next number this many times before a claim gives up.
    private static var attemptsMax: Int { 64 }

    package init(
        cache: Storage, store: Store, machine: String, clock: any Clock,
        token: @escaping @Sendable () -> Token,
        server: @escaping @Sendable (VolumeID) throws(UserError) -> String?
    ) {
        self.cache = cache
        self.store = store
        self.machine = machine
        self.clock = clock
        self.token = token
        self.server = server
    }

    package func claim(_ request: ClaimRequest) throws(UserError) -> VolumeClaim<Storage> {
        let what = Self.what(request.name)
        guard
            let local = try explainLocal(
                what,
                { () throws(HostIOError) in
                    try LocalVolume.open(request.volume, in: cache, create: true)
                })
        else { throw internalError(what) }
        let failure = try explainLocal(what) { () throws(HostIOError) in try local.failure() }
        if let failure, !request.isForced {
            throw UserError(
                .failed, what: what, why: "it was closed for writing here: \(failure)",
                remedy: "martlet open \(request.name) --force starts from the last commit and "
                    + "keeps the journal for martlet journal salvage")
        }
        var claim = try makeClaim(request, what, local, isDistrusted: failure != nil)
        return try claim.run()
    }

    /// False if a claim on which nobody insists ends without the store: the volume is served at
    /// once, or refused because its journal failed.
    package func asksStore(for volume: VolumeID, named name: RefName) throws(UserError) -> Bool {
        let what = Self.what(name)
        let local = try explainLocal(what) { () throws(HostIOError) in
            try LocalVolume.open(volume, in: cache, create: false)
        }
        guard let local else { return true }
        let failure = try explainLocal(what) { () throws(HostIOError) in try local.failure() }
        guard failure == nil else { return false }
        let request = ClaimRequest(name: name, volume: volume)
        var claim = try makeClaim(request, what, local, isDistrusted: false)
        return try claim.begin() == nil
    }

    private static func what(_ name: RefName) -> String { "cannot open \(name) for writing" }

    private func makeClaim(
        _ request: ClaimRequest, _ what: String, _ local: LocalVolume<Storage>, isDistrusted: Bool
    ) throws(UserError) -> Claim {
        Claim(
            request: request, what: what, claimer: self, local: local,
            roots: try explainCommit(what) { () throws(CommitError) in
                try RootDirectory(volumeDirectory: local.directory)
            },
            isDistrusted: isDistrusted)
    }

    func internalError(_ what: String) -> UserError {
        UserError(.failed, what: what, why: "its directory cannot be made", remedy: "see the log")
    }

    /// One claim in progress: confined to the call that made it.
    private struct Claim {
        let request: ClaimRequest
        let what: String
        let claimer: Claimer
        let local: LocalVolume<Storage>
        let roots: RootDirectory<Storage>
        /// The journal lost what it had promised: it must not be replayed.
        let isDistrusted: Bool
        private var current: LocalRoot?
        private var pending: LocalRoot?
        private var isMadeHere = false
        /// A fence was begun: what was here may be set aside, and the fence may land at any time.
        private var isFencing = false

        init(
            request: ClaimRequest, what: String, claimer: Claimer, local: LocalVolume<Storage>,
            roots: RootDirectory<Storage>, isDistrusted: Bool
        ) {
            self.request = request
            self.what = what
            self.claimer = claimer
            self.local = local
            self.roots = roots
            self.isDistrusted = isDistrusted
        }

        private var finder: HeadFinder<Store> { HeadFinder(store: claimer.store) }

        /// Looks at what is here. Nil if it cannot be served without the store.
        mutating func begin() throws(UserError) -> VolumeClaim<Storage>? {
            isMadeHere = try identityMatches()
            let found = try loadRoots()
            current = found.current
            pending = found.pending
            guard let root = current, canServeAtOnce(found) else { return nil }
            return outcome(root, adopts: true, isConfirmed: false, pending: found.pending)
        }

        mutating func run() throws(UserError) -> VolumeClaim<Storage> {
            guard let atOnce = try begin() else { return try resolve(pending) }
            guard request.asksStore else { return atOnce }
            do throws(UserError) {
                return try resolve(pending)
            } catch {
                // The volume was asked for by name, but it is ours as far as anybody can tell.
                guard error.kind == .storeAway, !isFencing else { throw error }
                return atOnce
            }
        }

        private func canServeAtOnce(_ found: LocalRoots) -> Bool {
            guard let root = found.current?.commit, isMadeHere, !isDistrusted else { return false }
            guard root.state == .open else { return false }
            // A pending `clean` ended the service; a pending fence belongs to a claim in progress.
            guard let pending = found.pending?.commit else { return true }
            return pending.state == .open && pending.epoch == root.epoch
        }

        private func identityMatches() throws(UserError) -> Bool {
            let here = try identityHere()
            return try explainLocal(what) { () throws(HostIOError) in
                try local.identity()?.isSamePlace(as: here) ?? false
            }
        }

        private func identityHere() throws(UserError) -> Identity {
            try explainLocal(what) { () throws(HostIOError) in
                Identity(
                    volume: request.volume, machine: claimer.machine,
                    cacheDirectory: try claimer.cache.identity(),
                    createdSeconds: claimer.clock.wallSeconds)
            }
        }

        /// A root that does not decode counts as none: the store decides.
        private func loadRoots() throws(UserError) -> LocalRoots {
            do throws(CommitError) {
                return try roots.load()
            } catch {
                switch error {
                case .damagedLocal, .misplaced:
                    try explainCommit(what) { () throws(CommitError) in try roots.removeAll() }
                    return try explainCommit(what) { () throws(CommitError) in try roots.load() }
                default: throw UserError(what, error)
                }
            }
        }

        // MARK: With the store

        private mutating func resolve(
            _ pending: LocalRoot?
        ) throws(UserError) -> VolumeClaim<Storage> {
            if let pending { try settle(pending) }
            let head = try readHead()
            let isLocal = isHeadLocal(head)
            if isLocal, isMadeHere, !isDistrusted, head.commit.state == .open {
                return outcome(head, adopts: true, isConfirmed: true, pending: nil)
            }
            if head.commit.state == .open, !isLocal, !request.isForced { try checkBeats() }
            return try fence(over: head)
        }

        /// What was pending becomes the root, or is forgotten.
        private mutating func settle(_ pending: LocalRoot) throws(UserError) {
            let isPublished = try sendAgain(pending)
            try explainCommit(what) { () throws(CommitError) in
                if isPublished {
                    try roots.promote(pending.commit.sequence)
                } else {
                    try roots.discardPending(pending.commit.sequence)
                }
            }
            if isPublished { current = pending }
        }

        /// The only thing that may ever be done with pending bytes: PUT them again, and not even
        /// that where the store is past their number, which may be free. True if they are history.
        private func sendAgain(_ pending: LocalRoot) throws(UserError) -> Bool {
            if let newest = try headSequence(), newest > pending.commit.sequence { return false }
            guard case .published = try publish(pending) else { return false }
            guard pending.commit.isFence else { return true }
            return try stands(pending.commit)
        }

        private func headSequence() throws(UserError) -> CommitSequence? {
            try explainCommit(what) { () throws(CommitError) in
                try finder.headSequence(of: request.volume)
            }
        }

        private func stands(_ fence: Commit) throws(UserError) -> Bool {
            try explainCommit(what) { () throws(CommitError) in
                try FenceCheck(store: claimer.store).stands(fence)
            }
        }

        /// Fails with `storeAway` if the commit's fate stays unknown.
        private func publish(_ root: LocalRoot) throws(UserError) -> PublishOutcome {
            let outcome = try explainCommit(what) { () throws(CommitError) in
                try Publisher(store: claimer.store).publish(root)
            }
            if case .unresolved(let detail) = outcome {
                throw UserError(what, .away(key: root.commit.key.key, detail: detail))
            }
            return outcome
        }

        private func readHead() throws(UserError) -> LocalRoot {
            let head = try explainCommit(what) { () throws(CommitError) in
                try finder.head(of: request.volume)
            }
            guard let head else {
                throw UserError(
                    .conflict, what: what, why: "the volume \(request.volume) has no commit yet",
                    remedy: "repeat the request that created it")
            }
            guard head.commit.state != .deleted else {
                throw UserError(
                    .conflict, what: what, why: "the volume \(request.volume) was purged",
                    remedy: "repeat the delete with purge, then create it anew")
            }
            return head
        }

        private func isHeadLocal(_ head: LocalRoot) -> Bool {
            current?.commit.token == head.commit.token
                && current?.commit.sequence == head.commit.sequence
        }

        private func checkBeats() throws(UserError) {
            guard let node = try claimer.server(request.volume) else { return }
            throw UserError(
                .conflict, what: what, why: "\(node) serves it now",
                remedy: "detach it there, or take it over with "
                    + "martlet open \(request.name) --force")
        }

        // MARK: The fence

        private mutating func fence(over first: LocalRoot) throws(UserError) -> VolumeClaim<Storage>
        {
            isFencing = true
            var head = first
            for _ in 0..<Claimer.attemptsMax {
                let adopts = isHeadLocal(head) && !isDistrusted
                if !adopts { try abandonLocal(epoch: head.commit.epoch.next) }
                let fence = makeFence(over: head.commit, adopts: adopts)
                let identity = try identityHere()
                try explainCommit(what) { () throws(CommitError) in
                    try roots.writePending(fence.commit.sequence, bytes: fence.bytes)
                }
                try explainLocal(what) { () throws(HostIOError) in try local.write(identity) }
                if case .published = try publish(fence), try stands(fence.commit) {
                    try explainCommit(what) { () throws(CommitError) in
                        try roots.promote(fence.commit.sequence)
                    }
                    return outcome(fence, adopts: adopts, isConfirmed: true, pending: nil)
                }
                try explainCommit(what) { () throws(CommitError) in
                    try roots.discardPending(fence.commit.sequence)
                }
                head = try readHead()
                try checkContention(head.commit, since: first.commit)
            }
            throw UserError(
                .conflict, what: what, why: "another writer publishes faster than it can be fenced",
                remedy: "stop the other writer, then try again")
        }

        /// Nothing local belongs to the head. The root goes before the journal: see the file's
        /// head.
        private mutating func abandonLocal(epoch: Epoch) throws(UserError) {
            let root = current
            try explainCommit(what) { () throws(CommitError) in try roots.removeAll() }
            current = nil
            try explainLocal(what) { () throws(HostIOError) in
                try local.setJournalAside(epoch: epoch, root: root?.bytes)
                if isDistrusted { try local.removeFailure() }
            }
        }

        private func makeFence(over head: Commit, adopts: Bool) -> LocalRoot {
            var fence = head
            fence.sequence = head.sequence.next
            fence.epoch = head.epoch.next
            fence.token = claimer.token()
            fence.parentToken = head.token
            fence.state = .open
            fence.isFence = true
            fence.copied = nil
            fence.labelSeconds = claimer.clock.wallSeconds
            // A copy of the directory may be older than its original: it does not count as one's
            // own.
            let isOwn = adopts && isMadeHere
            if head.state == .open, !isOwn, head.uncleanTakeover == nil {
                // The oldest one that nobody acknowledged is kept: what may be lost begins there.
                fence.uncleanTakeover = UncleanTakeover(
                    epoch: fence.epoch, sequence: head.sequence, labelSeconds: fence.labelSeconds)
            }
            return LocalRoot(commit: fence, bytes: fence.encode())
        }

        private func checkContention(
            _ head: Commit, since first: Commit
        ) throws(UserError) {
            guard head.epoch > first.epoch, !request.isForced else { return }
            throw UserError(
                .conflict, what: what,
                why: "another host claimed it at the same time (epoch \(head.epoch), commit "
                    + "\(head.sequence))",
                remedy: "use it there, or take it over with martlet open \(request.name) --force")
        }

        private func outcome(
            _ root: LocalRoot, adopts: Bool, isConfirmed: Bool, pending: LocalRoot?
        ) -> VolumeClaim<Storage> {
            VolumeClaim(
                served: ServedVolume(request.volume), name: request.name.text, root: root,
                writer: WriterClaim(
                    epoch: root.commit.epoch, directory: local.directory, adoptsJournal: adopts,
                    isHeadConfirmed: isConfirmed, pending: pending))
        }
    }
}
