// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A host of volumes in memory that keeps the engine's rules of publishing with the real root
// directory and publisher. A volume's content is the list of writes it was given; a write lies in a
// journal file before it is acknowledged, and a commit's digest names the content.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import Synchronization

/// Which content a digest stands for, for all hosts of a test.
final class ContentBook: Sendable {
    private let contents = Lock<[Hash128: [UInt64]]>([Commit.emptyDigest: []])

    func digest(of content: [UInt64]) -> Hash128 {
        if content.isEmpty { return Commit.emptyDigest }
        let digest = content.withUnsafeBytes { BLAKE3.hash($0, domain: .volumeDigest) }
        contents.withLock { $0[digest] = content }
        return digest
    }

    func content(of digest: Hash128) -> [UInt64] { contents.withLock { $0[digest] ?? [] } }
}

final class FakeHost: VolumeHost {
    typealias Storage = VolatileDirectory

    struct Running {
        var root: LocalRoot
        var writer: WriterClaim<VolatileDirectory>?
        var isConfirmed: Bool
        var pending: LocalRoot?
        var content: [UInt64]
        var recordCount: UInt64
        var size: ByteCount
        var state: OperationState
        var clients = ClientCounts(readers: 0, writers: 0)
        var freshBase: FreshBaseState?
    }

    struct State {
        var running: [ServedVolume: Running] = [:]
        var random: SplitMix64
        var failsAttach = false
    }

    let state: Lock<State>
    let store: MemoryStore
    let book: ContentBook
    private let clock: ManualClock

    init(store: MemoryStore, book: ContentBook, clock: ManualClock, seed: UInt64) {
        self.store = store
        self.book = book
        self.clock = clock
        state = Lock(State(random: SplitMix64(seed: seed)))
    }

    static func failure(_ kind: UserError.Kind, _ why: String) -> UserError {
        UserError(kind, what: "cannot serve", why: why, remedy: "look at the test")
    }

    // MARK: What tests do

    func write(_ id: UInt64, to volume: VolumeID) throws {
        try state.withLock { state in
            guard var running = state.running[ServedVolume(volume)], let writer = running.writer,
                running.state == .serving
            else { throw Self.failure(.conflict, "it takes no writes") }
            running.content.append(id)
            running.recordCount += 1
            let journal = try writer.directory.directory("journal", create: true)
            try writer.directory.sync()
            var bytes = try journal.readAll("log", limit: 1 << 20) ?? []
            bytes += Array("\(running.recordCount):\(id)\n".utf8)
            try journal.replaceDurably("log", with: bytes)
            state.running[ServedVolume(volume)] = running
        }
    }

    func content(_ served: ServedVolume) -> [UInt64]? {
        state.withLock { $0.running[served]?.content }
    }

    func setClients(_ counts: ClientCounts, of served: ServedVolume) {
        state.withLock { $0.running[served]?.clients = counts }
    }

    var runningCount: Int { state.withLock { $0.running.count } }

    // MARK: VolumeHost

    func attach(_ claim: VolumeClaim<VolatileDirectory>) throws(UserError) {
        let commit = claim.root.commit
        var running = Running(
            root: claim.root, writer: claim.writer,
            isConfirmed: claim.writer?.isHeadConfirmed ?? true, pending: claim.writer?.pending,
            content: book.content(of: commit.digest), recordCount: commit.cut.rawValue,
            size: commit.size, state: claim.writer == nil ? .readOnly : .serving)
        if let writer = claim.writer {
            do {
                let journal = try writer.directory.directory("journal", create: true)
                try writer.directory.sync()
                let log = try journal.readAll("log", limit: 1 << 20)
                precondition(
                    writer.adoptsJournal || log == nil, "a journal to be replayed by nobody")
                for line in String(decoding: log ?? [], as: UTF8.self).split(separator: "\n") {
                    let parts = line.split(separator: ":")
                    guard let record = UInt64(parts[0]), record > commit.cut.rawValue,
                        let id = UInt64(parts[1])
                    else { continue }
                    if id >= 1 << 40 {
                        running.size = ByteCount(id - 1 << 40)
                    } else {
                        running.content.append(id)
                    }
                    running.recordCount = record
                }
            } catch { throw Self.failure(.failed, "\(error)") }
        }
        let fails = state.withLock { state in
            if !state.failsAttach { state.running[claim.served] = running }
            return state.failsAttach
        }
        if fails { throw Self.failure(.failed, "it was told to") }
    }

    func commitAll(
        _ volume: VolumeID, reason: CommitReason, deadline: Instant?
    ) throws(UserError) -> CommitSummary {
        try change(volume) { running, random throws(UserError) in
            try self.commit(&running, &random) { _ in }
        }
    }

    @discardableResult
    func detach(
        _ served: ServedVolume, clean: Bool, deadline: Instant?
    ) throws(UserError) -> CommitSummary? {
        guard clean, served.snapshot == nil else {
            state.withLock { $0.running[served] = nil }
            return nil
        }
        guard state.withLock({ $0.running[served] }) != nil else { return nil }
        let summary = try change(served.volume) { running, random throws(UserError) in
            try self.commit(&running, &random) { $0.state = .clean }
        }
        state.withLock { $0.running[served] = nil }
        return summary
    }

    func resize(_ volume: VolumeID, to size: ByteCount) throws(UserError) {
        let directory = try change(volume) { running, _ throws(UserError) in
            running.size = size
            running.recordCount += 1
            return (running.writer?.directory, running.recordCount)
        }
        do {
            guard let journal = try directory.0?.directory("journal", create: true) else { return }
            var bytes = try journal.readAll("log", limit: 1 << 20) ?? []
            bytes += Array("\(directory.1):\(size.rawValue + 1 << 40)\n".utf8)
            try journal.replaceDurably("log", with: bytes)
        } catch { throw Self.failure(.failed, "\(error)") }
    }

    func rollback(
        _ volume: VolumeID, to target: LocalRoot
    ) throws(UserError) -> CommitSummary {
        try change(volume) { running, random throws(UserError) in
            guard running.clients.writers == 0 else {
                throw Self.failure(.conflict, "it is open for writing")
            }
            running.content = self.book.content(of: target.commit.digest)
            return try self.commit(&running, &random) { next in
                next.epoch = next.epoch.next
                next.isFence = true
            }
        }
    }

    func acknowledge(_ volume: VolumeID) throws(UserError) -> CommitSummary {
        try change(volume) { running, random throws(UserError) in
            try self.commit(&running, &random) { $0.uncleanTakeover = nil }
        }
    }

    func compact(_ volume: VolumeID) throws(UserError) {
        try change(volume) { running, _ throws(UserError) in
            running.freshBase = .running(blocksDone: 0, blocksTotal: 1)
        }
    }

    func status(_ served: ServedVolume) -> VolumeStatus? {
        state.withLock { state in
            guard let running = state.running[served] else { return nil }
            let commit = running.root.commit
            var status = VolumeStatus(
                volume: served.volume, size: running.size, blockBytes: commit.blockBytes,
                isReadOnly: running.writer == nil, state: running.state,
                sequence: commit.sequence, epoch: commit.epoch)
            status.uncleanTakeover = commit.uncleanTakeover
            status.freshBase = running.freshBase
            return status
        }
    }

    func clientCounts(_ served: ServedVolume) -> ClientCounts {
        state.withLock { $0.running[served]?.clients } ?? ClientCounts(readers: 0, writers: 0)
    }

    func disconnect(_ served: ServedVolume) {
        setClients(ClientCounts(readers: 0, writers: 0), of: served)
    }

    // MARK: Publishing

    /// Works on a copy of the running volume and keeps it whatever happens: calls of one volume do
    /// not overlap, and the store may call back into a test.
    private func change<Value: Sendable>(
        _ volume: VolumeID,
        _ body: (inout Running, inout SplitMix64) throws(UserError) -> Value
    ) throws(UserError) -> Value {
        let served = ServedVolume(volume)
        let (found, drawn) = state.withLock {
            ($0.running[served], SplitMix64(seed: $0.random.next()))
        }
        guard var running = found else { throw Self.failure(.notFound, "it does not run") }
        var random = drawn
        defer { state.withLock { $0.running[served] = running } }
        return try body(&running, &random)
    }

    private func commit(
        _ running: inout Running, _ random: inout SplitMix64,
        _ adjust: (inout Commit) -> Void
    ) throws(UserError) -> CommitSummary {
        guard running.state == .serving, let writer = running.writer else {
            throw Self.failure(.fenced, "it is not the writer any more")
        }
        do throws(CommitError) {
            let roots = try RootDirectory(volumeDirectory: writer.directory)
            if let pending = running.pending {
                try publish(pending, &running, roots)
                running.isConfirmed = true
                running.pending = nil
            }
            if !running.isConfirmed {
                let head = try HeadFinder(store: store).head(of: running.root.commit.volume)
                guard head?.commit.token == running.root.commit.token else {
                    running.state = .fenced
                    throw CommitError.store(.refused(key: "head", detail: "fenced"))
                }
                running.isConfirmed = true
            }
            var unchanged = running.root.commit
            unchanged.isFence = false
            var next = unchanged
            adjust(&next)
            next.digest = book.digest(of: running.content)
            next.cut = RecordSequence(running.recordCount)
            next.size = running.size
            if next != unchanged {
                next.sequence = next.sequence.next
                next.parentToken = next.token
                next.labelSeconds = clock.wallSeconds
                next.token = Token.random(from: &random)
                let made = LocalRoot(commit: next, bytes: next.encode())
                try roots.writePending(next.sequence, bytes: made.bytes)
                running.pending = made
                try publish(made, &running, roots)
                running.pending = nil
            }
        } catch {
            if running.state == .fenced { throw Self.failure(.fenced, "another host owns it") }
            if error.isRetryable { throw Self.failure(.storeAway, "the store is away") }
            throw Self.failure(.failed, "\(error)")
        }
        let commit = running.root.commit
        return CommitSummary(
            sequence: commit.sequence, token: commit.token, labelSeconds: commit.labelSeconds)
    }

    private func publish(
        _ root: LocalRoot, _ running: inout Running, _ roots: RootDirectory<VolatileDirectory>
    ) throws(CommitError) {
        switch try Publisher(store: store).publish(root) {
        case .published:
            try roots.promote(root.commit.sequence)
            running.root = root
        case .fenced:
            running.state = .fenced
            try roots.discardPending(root.commit.sequence)
            throw .store(.refused(key: root.commit.key.key, detail: "fenced"))
        case .unresolved(let detail):
            throw .store(.away(key: root.commit.key.key, detail: detail))
        }
    }
}
