// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume and its guest in one thread. Effects wait in order until a test carries them out, so a
// test decides what overlaps what; parked requests are submitted again on `.retry`, as a transport
// does.

import BlockDevice
import CleanCache
import Committer
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

/// A request of the guest.
enum Request {
    case read(UInt64, Int)
    case write(UInt64, [UInt8], fua: Bool = false)
    case zero(UInt64, UInt64, ZeroOptions = [], fua: Bool = false)
    case flush
    case prefetch(UInt64, UInt64)
    case extents(UInt64, UInt64, limit: Int = 64)
}

/// What became of a request. Confined to its test.
final class Ticket {
    enum State: Equatable {
        case parked, staged, done
        case failed(BlockError)
    }

    let request: Request
    let tag: RequestTag
    var state = State.parked
    /// Times it was submitted.
    var tries = 0
    /// What a read brought.
    var bytes: [UInt8] = []
    var extents: [Extent] = []

    init(_ request: Request, tag: RequestTag) {
        self.request = request
        self.tag = tag
    }
}

/// The kinds of effects, as tests hold and count them.
enum EffectKind: Hashable {
    case sync, writeback, take, retire, fetch, warm, commit, gather, failure, answer

    init(_ effect: VolumeEffect<VolatileDirectory>) {
        switch effect {
        case .sync: self = .sync
        case .startWriteback: self = .writeback
        case .takeSegments: self = .take
        case .retire: self = .retire
        case .fetch: self = .fetch
        case .warm: self = .warm
        case .commit: self = .commit
        case .gather: self = .gather
        case .recordFailure: self = .failure
        case .answer: self = .answer
        }
    }
}

/// Confined to its test.
final class EngineRig {
    let shape: EngineShape
    var disk: VolatileDisk
    let store: MemoryStore
    let clock = ManualClock()
    let id: VolumeID
    let random: SharedRandom
    var bootID = BootID(low: 1, high: 1)
    var host: EngineHost
    var effects: [VolumeEffect<VolatileDirectory>] = []
    /// Effects carried out so far.
    var performed: [EffectKind: Int] = [:]
    var answers: [UInt64: ControlAnswer] = [:]
    /// Completions of nobody's request.
    var strays: [Completion] = []
    private var tickets: [UInt64: Ticket] = [:]
    private var lent: [UnsafeMutableRawBufferPointer] = []
    private var nextCookie: UInt64 = 1
    private var nextControl: UInt64 = 1

    init(_ shape: EngineShape = EngineShape(), seed: UInt64 = 1, store: MemoryStore? = nil) throws {
        self.shape = shape
        disk = VolatileDisk(seed: seed)
        self.store = store ?? MemoryStore(seed: seed)
        var random = SharedRandom(seed: seed)
        id = VolumeID.random(from: &random)
        self.random = random
        let commit = Commit(
            volume: id, sequence: CommitSequence(1), epoch: Epoch(1),
            token: .random(from: &random), state: .open, isFence: true,
            size: ByteCount(shape.size), blockBytes: shape.blockBytes, cut: RecordSequence(0),
            labelSeconds: 1, uncleanTakeover: shape.takeover)
        host = try EngineHost(
            root: disk.root, store: self.store, shape: shape, id: id,
            first: LocalRoot(commit: commit, bytes: commit.encode()), bootID: bootID,
            random: random, now: clock.now)
    }

    deinit { giveBack() }

    var report: VolumeReport { host.volume.report() }
    var root: Root { host.volume.root }

    // MARK: The guest

    @discardableResult
    func submit(_ request: Request) -> Ticket {
        let tag = RequestTag(
            session: 1, slot: UInt32(truncatingIfNeeded: nextCookie), cookie: nextCookie)
        nextCookie += 1
        let ticket = Ticket(request, tag: tag)
        tickets[tag.cookie] = ticket
        offer(ticket)
        return ticket
    }

    func cancel(_ ticket: Ticket) {
        host.volume.cancel(tag: ticket.tag)
        tickets[ticket.tag.cookie] = nil
    }

    private func offer(_ ticket: Ticket) {
        ticket.tries += 1
        switch pass(ticket) {
        case .done: ticket.state = .done
        case .staged: ticket.state = .staged
        case .parked: ticket.state = .parked
        case .failed(let error): ticket.state = .failed(error)
        }
    }

    private func pass(_ ticket: Ticket) -> Submission {
        let tag = ticket.tag
        switch ticket.request {
        case .read(let offset, let count):
            var bytes = [UInt8](repeating: 0xEE, count: count)
            let answer = bytes.withUnsafeMutableBytes {
                host.volume.read(at: ByteOffset(offset), into: $0, tag: tag)
            }
            ticket.bytes = bytes
            return answer
        case .write(let offset, let bytes, let fua):
            let payload = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(1, bytes.count), alignment: 16)
            payload.copyBytes(from: bytes)
            lent.append(payload)
            return host.volume.write(
                at: ByteOffset(offset),
                payload: UnsafeRawBufferPointer(rebasing: payload[..<bytes.count]), fua: fua,
                tag: tag)
        case .zero(let offset, let count, let options, let fua):
            return host.volume.zero(
                at: ByteOffset(offset), count: ByteCount(count), options: options, fua: fua,
                tag: tag)
        case .flush: return host.volume.flush(tag: tag)
        case .prefetch(let offset, let count):
            return host.volume.prefetch(at: ByteOffset(offset), count: ByteCount(count), tag: tag)
        case .extents(let offset, let count, let limit):
            ticket.extents = []
            return host.volume.extents(
                at: ByteOffset(offset), count: ByteCount(count), limit: limit,
                into: &ticket.extents, tag: tag)
        }
    }

    // MARK: The shard

    /// Ends the turn and takes what came of it.
    func turn() {
        repeat {
            host.volume.endTurn()
            settle()
        } while host.volume.hasStaged
    }

    func tick(seconds: UInt64 = 1) {
        clock.advance(seconds: seconds)
        host.volume.tick(clock.now, wallSeconds: clock.wallSeconds)
        settle()
    }

    /// Takes completions, submitting what is to be retried, and effects.
    func settle() {
        while let completion = host.volume.nextCompletion() {
            guard let ticket = tickets[completion.tag.cookie] else {
                strays.append(completion)
                continue
            }
            switch completion.outcome {
            case .retry:
                #expect(ticket.state == .parked, "only what is parked is retried")
                offer(ticket)
            case .done:
                #expect(ticket.state == .staged, "only what was staged completes")
                ticket.state = .done
            case .failed(let error): ticket.state = .failed(error)
            }
        }
        while let effect = host.volume.nextEffect() {
            if case .answer(let request, let answer) = effect {
                #expect(answers[request.number] == nil, "answered once")
                answers[request.number] = answer
            } else {
                effects.append(effect)
            }
        }
        if !host.volume.hasStaged { giveBack() }
    }

    private func giveBack() {
        for payload in lent { payload.deallocate() }
        lent.removeAll()
    }

    func waiting(_ kind: EffectKind) -> Int { effects.count { EffectKind($0) == kind } }

    /// Carries out the oldest waiting effect of a kind; its event is the caller's to deliver.
    func carryOut(_ kind: EffectKind) throws -> VolumeEvent<VolatileDirectory>? {
        let index = try #require(effects.firstIndex { EffectKind($0) == kind })
        performed[kind, default: 0] += 1
        return host.worker.perform(effects.remove(at: index), labelSeconds: clock.wallSeconds)
    }

    func deliver(_ event: VolumeEvent<VolatileDirectory>?) {
        if let event { host.volume.handle(event) }
        turn()
    }

    /// Carries out and delivers the oldest waiting effect of a kind.
    func perform(_ kind: EffectKind) throws { deliver(try carryOut(kind)) }

    /// Ends the turn and carries out effects, oldest first, until none but the held kinds wait.
    func run(holding held: Set<EffectKind> = []) {
        turn()
        for _ in 0..<3_000 {
            guard let effect = effects.first(where: { !held.contains(EffectKind($0)) }) else {
                return
            }
            do { try perform(EffectKind(effect)) } catch { Issue.record("\(error)") }
        }
        Issue.record("never at rest")
    }

    // MARK: Control

    func control(_ ask: (inout Volume<VolatileDirectory>, ControlRequest) -> Void) -> UInt64 {
        let request = ControlRequest(number: nextControl)
        nextControl += 1
        ask(&host.volume, request)
        settle()
        return request.number
    }

    func askCommit() -> UInt64 { control { $0.requestCommit($1) } }
    func askClose() -> UInt64 { control { $0.requestClose($1) } }

    func committed(_ request: UInt64) -> Root? {
        guard case .committed(let root) = answers[request] else { return nil }
        return root
    }

    func failure(_ request: UInt64) -> VolumeFailure? {
        guard case .failed(let failure) = answers[request] else { return nil }
        return failure
    }

    /// Commits all there is.
    @discardableResult
    func commit() throws -> Root {
        let request = askCommit()
        run()
        return try #require(committed(request), "\(report)")
    }

    /// Another host takes the volume: its fence lies behind `parent`, or behind the root.
    @discardableResult
    func takeOver(behind parent: Commit? = nil) throws -> Commit {
        var random = self.random
        let fence = CommitDrafts.successor(
            of: parent ?? root.commit,
            stamp: .init(
                epoch: Epoch(2), token: .random(from: &random), state: .open, labelSeconds: 9))
        _ = try store.putIfAbsent(fence.commit.key.key, fence.bytes)
        return fence.commit
    }

    // MARK: Content

    func write(_ offset: UInt64, _ bytes: [UInt8]) {
        let ticket = submit(.write(offset, bytes))
        run()
        #expect(ticket.state == .done)
    }

    func read(_ offset: UInt64, _ count: Int, holding held: Set<EffectKind> = []) -> [UInt8] {
        let ticket = submit(.read(offset, count))
        run(holding: held)
        #expect(ticket.state == .done)
        return ticket.bytes
    }

    /// The bytes where a view says that they lie; nil if they cannot be viewed.
    func view(_ offset: UInt64, _ count: Int, capacity: Int = 64) -> [UInt8]? {
        var pieces = MemoryPieces(capacity: capacity)
        guard host.volume.view(at: ByteOffset(offset), count: count, into: &pieces) else {
            return nil
        }
        defer { host.volume.endView() }
        return (0..<pieces.count).flatMap { index in
            UnsafeRawBufferPointer(start: pieces[index].base, count: pieces[index].count)
        }
    }

    func expect(_ offset: UInt64, _ bytes: [UInt8], _ comment: Comment? = nil) {
        let isEqual = read(offset, bytes.count) == bytes
        #expect(isEqual, comment)
    }

    // MARK: Deaths

    /// Kills the process, or cuts the power keeping what is told, and opens the volume anew.
    func restart(keeping: VolatileDisk.Keeping? = nil) throws {
        die(keeping: keeping)
        try reopen()
    }

    func die(keeping: VolatileDisk.Keeping? = nil) {
        giveBack()
        effects.removeAll()
        tickets.removeAll()
        if let keeping {
            disk.crash(keeping: keeping)
            bootID = BootID(low: bootID.low + 1, high: 1)
        } else {
            disk.kill()
        }
        _ = disk.reboot()
    }

    func reopen() throws {
        host = try EngineHost(
            root: disk.root, store: store, shape: shape, id: id, first: nil, bootID: bootID,
            random: random, now: clock.now)
        settle()
    }
}

/// Bytes that no codec shrinks, different for every seed.
func noise(_ count: Int, _ seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    return [UInt8](unsafeUninitializedCapacity: (count + 7) / 8 * 8) { buffer, used in
        let raw = UnsafeMutableRawBufferPointer(buffer)
        for offset in stride(from: 0, to: buffer.count, by: 8) {
            raw.storeBytes(of: random.next(), toByteOffset: offset, as: UInt64.self)
        }
        used = count
    }
}

func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

/// The bytes with others laid over them.
func laid(_ piece: [UInt8], at offset: Int, over base: [UInt8]) -> [UInt8] {
    var bytes = base
    bytes.replaceSubrange(offset..<(offset + piece.count), with: piece)
    return bytes
}
