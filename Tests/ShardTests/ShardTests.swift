// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a shard promises its handler, and what the parts around it promise it.

import CLinux
import Glibc
import HostIO
import Primitives
import Synchronization
import Testing

@testable import Shard

/// What the test sees of a handler.
final class Journal: Sendable {
    let lines = Lock<[String]>([])
    let turns = Atomic<Int>(0)
    func note(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }

    func wait(for line: String) -> Bool {
        for _ in 0..<2000 {
            if all.contains(line) { return true }
            usleep(1000)
        }
        return false
    }
}

enum TestEvent: Sendable {
    case note(String)
    case wait(ShardWait)
}

struct TestHandler: ShardHandler, ~Copyable {
    typealias Event = TestEvent
    let journal: Journal
    var wait = ShardWait.idle

    mutating func handle(_ event: consuming TestEvent) {
        switch event {
        case .note(let line): journal.note(line)
        case .wait(let wait): self.wait = wait
        }
    }

    mutating func handle(ready token: UInt64, _ readiness: Readiness) {
        journal.note("ready \(token)")
    }

    mutating func tick(_ now: Instant) { journal.note("tick") }

    mutating func endTurn() -> ShardWait {
        journal.turns.add(1, ordering: .relaxed)
        return wait
    }

    mutating func stop() { journal.note("stop") }
}

/// A handler that reads one byte of whatever is ready.
struct ByteHandler: ShardHandler, ~Copyable {
    typealias Event = Int32
    let journal: Journal
    let poller: Poller

    mutating func handle(_ event: consuming Int32) {
        if poller.add(event, token: UInt64(event), .readable) { journal.note("listening") }
    }

    mutating func handle(ready token: UInt64, _ readiness: Readiness) {
        let descriptor = Int32(token)
        var byte: UInt8 = 0
        if clinux_receive(descriptor, &byte, 1) == 1 {
            journal.note("byte \(byte)")
        } else {
            poller.remove(descriptor)
            journal.note("gone")
        }
    }

    mutating func tick(_ now: Instant) {}
    mutating func endTurn() -> ShardWait { .idle }
    mutating func stop() { journal.note("stop") }
}

func startShard(_ journal: Journal) -> Shard<TestHandler> {
    Shard(name: "test", clock: SystemClock()) { _ in
        TestHandler(journal: journal)
    }
}

@Suite("A shard") struct ShardLoopTests {
    @Test("mail is handled in order, and all of it before the shard stops")
    func mail() {
        let journal = Journal()
        let shard = startShard(journal)
        for index in 0..<500 { shard.mailbox.send(.note("\(index)")) }
        shard.stop()
        shard.join()
        // A slow machine may let time pass on the way.
        let told = journal.all.filter { $0 != "tick" }
        #expect(told == (0..<500).map { "\($0)" } + ["stop"])
    }

    @Test("mail to a stopped shard is refused")
    func refused() {
        let shard = startShard(Journal())
        shard.stop()
        shard.join()
        #expect(!shard.mailbox.send(.note("late")))
        #expect(!shard.mailbox.trySend(.note("late")))
    }

    @Test("what is left unread in a descriptor is told again, and a hang-up is told")
    func readiness() {
        let journal = Journal()
        let shard = Shard<ByteHandler>(name: "bytes", clock: SystemClock()) { context in
            ByteHandler(journal: journal, poller: context.poller)
        }
        var pair: [Int32] = [0, 0]
        let made = clinux_socket_pair(&pair)
        #expect(made == 0)
        shard.mailbox.send(pair[0])
        #expect(journal.wait(for: "listening"))
        let bytes: [UInt8] = [1, 2, 3]
        let sent = clinux_send(pair[1], bytes, 3)
        #expect(sent == 3)
        #expect(journal.wait(for: "byte 3"))
        close(pair[1])
        #expect(journal.wait(for: "gone"))
        shard.stop()
        shard.join()
        close(pair[0])
        #expect(journal.all == ["listening", "byte 1", "byte 2", "byte 3", "gone", "stop"])
    }

    @Test("an idle shard makes no more than a few turns a second")
    func idle() {
        let journal = Journal()
        let shard = startShard(journal)
        shard.mailbox.send(.note("awake"))
        #expect(journal.wait(for: "awake"))
        usleep(50_000)
        let before = journal.turns.load(ordering: .relaxed)
        let took = ContinuousClock().measure { usleep(500_000) }
        let turns = journal.turns.load(ordering: .relaxed) - before
        #expect(turns <= 2 + Int(took.components.seconds) * 2)
        shard.stop()
        shard.join()
    }

    @Test("a handler that runs against time is ticked ten times a second")
    func timed() {
        let journal = Journal()
        let shard = startShard(journal)
        // As long as it took: a busy machine sleeps longer than it was told to.
        let took = ContinuousClock().measure {
            shard.mailbox.send(.wait(.timed))
            usleep(1_000_000)
            shard.stop()
            shard.join()
        }
        let ticks = journal.all.count { $0 == "tick" }
        #expect(ticks >= 3 && .milliseconds(100 * (ticks - 2)) <= took)
    }

    @Test("polling is given up after sixteen misses and tried again 64 turns later")
    func pacing() {
        var pacing = Pacing()
        var polls: [Bool] = []
        func turn(finds: Bool) {
            polls.append(pacing.shouldPoll())
            guard polls.last == true else { return }
            if finds { pacing.found() } else { pacing.missed() }
        }
        for _ in 0..<15 { turn(finds: false) }
        turn(finds: true)
        for _ in 0..<81 { turn(finds: false) }
        #expect(polls[..<32].allSatisfy { $0 })
        #expect(polls[32..<96].allSatisfy { !$0 })
        #expect(polls[96])
    }
}

@Suite("A mailbox") struct MailboxTests {
    @Test("refuses or blocks when it is full, and lets blocked senders go on in the end")
    func full() {
        let mailbox = Mailbox<Int>(capacity: 4)
        for index in 0..<4 { #expect(mailbox.trySend(index)) }
        #expect(!mailbox.trySend(4))
        let journal = Journal()
        let thread = Thread(name: "sender") {
            for index in 4..<100 { mailbox.send(index) }
            journal.note("sent")
        }
        var received: [Int] = []
        while received.count < 100 { received += mailbox.receive() }
        thread.join()
        #expect(received == Array(0..<100))
        #expect(journal.all == ["sent"])
    }

    @Test("closing releases a blocked sender and keeps what was accepted")
    func close() {
        let mailbox = Mailbox<Int>(capacity: 1)
        #expect(mailbox.send(1))
        let journal = Journal()
        let thread = Thread(name: "sender") { journal.note("\(mailbox.send(2))") }
        usleep(20_000)
        mailbox.close()
        thread.join()
        #expect(journal.all == ["false"])
        #expect(mailbox.receive() == [1])
        #expect(mailbox.receive() == [])
    }

    @Test("no event is lost between many senders and a sleeping receiver")
    func race() {
        let mailbox = Mailbox<Int>(capacity: 16)
        let threads = (0..<4).map { _ in
            Thread(name: "sender") { for _ in 0..<5000 { mailbox.send(1) } }
        }
        var sum = 0
        while sum < 20_000 { sum += mailbox.receive().count }
        for thread in threads { thread.join() }
        #expect(sum == 20_000)
    }
}

@Suite("A worker pool") struct WorkerPoolTests {
    @Test("runs all that was queued before it stops, and refuses the rest")
    func drains() {
        let pool = WorkerPool(threads: 3, name: "work", capacity: 8)
        let count = Lock(0)
        for _ in 0..<200 { #expect(pool.submit { count.withLock { $0 += 1 } }) }
        pool.stop()
        #expect(count.withLock { $0 } == 200)
        #expect(!pool.submit {})
        #expect(!pool.trySubmit {})
    }

    @Test("spreads pieces over its threads and the caller, each piece once, and waits for all")
    func spreads() {
        let pool = WorkerPool(threads: 4, name: "work", capacity: 64)
        let done = Lock([Int](repeating: 0, count: 500))
        pool.spread(500) { piece in done.withLock { $0[piece] += 1 } }
        #expect(done.withLock { $0.allSatisfy { $0 == 1 } })
        // Four pieces that wait for one another, spread by one of the pool's own threads.
        let present = Lock(0)
        let ended = Lock(false)
        pool.submit {
            pool.spread(4) { _ in
                present.withLock { $0 += 1 }
                for _ in 0..<5_000 where present.withLock({ $0 < 4 }) { usleep(1_000) }
            }
            ended.withLock { $0 = true }
        }
        pool.stop()
        #expect(ended.withLock { $0 } && present.withLock { $0 } == 4)
        pool.spread(3) { _ in present.withLock { $0 += 1 } }
        #expect(present.withLock { $0 } == 7, "a stopped pool leaves the work to the caller")
    }

    @Test("all its threads can spread at once without a thread to spare")
    func spreadsInside() {
        let pool = WorkerPool(threads: 2, name: "work", capacity: 64)
        let count = Lock(0)
        for _ in 0..<10 { pool.submit { pool.spread(8) { _ in count.withLock { $0 += 1 } } } }
        pool.stop()
        #expect(count.withLock { $0 } == 80)
    }

    @Test("says no instead of blocking when its queue is full")
    func bounded() {
        let pool = WorkerPool(threads: 1, name: "work", capacity: 2)
        let gate = Lock(false)
        let hasBegun = Lock(false)
        let block: @Sendable () -> Void = {
            hasBegun.withLock { $0 = true }
            while !gate.withLock({ $0 }) { usleep(500) }
        }
        #expect(pool.trySubmit(block))
        // One is under way, and the queue is empty.
        while !hasBegun.withLock({ $0 }) { usleep(500) }
        var accepted = 0
        while pool.trySubmit(block) { accepted += 1 }
        #expect(accepted == 2)
        gate.withLock { $0 = true }
        pool.stop()
    }
}

func lend(_ pool: inout BufferPool, _ count: Int) throws -> PooledBuffer {
    let buffer = pool.take(count)
    return try #require(buffer)
}

@Suite("A buffer pool") struct BufferPoolTests {
    @Test("a buffer holds what was asked for, and a given buffer is lent again")
    func reuse() throws {
        var pool = BufferPool(bytesMax: 128 << 20)
        for count in [1, 4096, 8192, 8193, 131_072 + 28, (32 << 20) + 28] {
            let first = try lend(&pool, count)
            #expect(first.capacity >= count)
            #expect(first.capacity <= max(8192, 2 * count + BufferPool.slack))
            pool.give(first)
            let second = try lend(&pool, count)
            #expect(second.base == first.base)
            pool.give(second)
        }
        let left = pool.lentBytes
        #expect(left == 0)
    }

    @Test("large buffers leave half of the pool to small ones")
    func reserve() throws {
        var pool = BufferPool(bytesMax: 160 << 20)
        let large = (0..<2).compactMap { _ in pool.take((32 << 20) + 28) }
        #expect(large.count == 2)
        let third = pool.take(32 << 20)
        #expect(third == nil)
        let small = try lend(&pool, 64 << 10)
        pool.give(small)
        for buffer in large { pool.give(buffer) }
    }

    @Test("what is kept makes room for another size when the bound is reached")
    func trims() throws {
        var pool = BufferPool(bytesMax: 80 << 20, smallMax: 64 << 20)
        let first = try lend(&pool, 32 << 20)
        pool.give(first)
        let others = (0..<60).compactMap { _ in pool.take(1 << 20) }
        #expect(others.count == 60)
        for buffer in others { pool.give(buffer) }
    }
}
