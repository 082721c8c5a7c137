// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The guest: requests in flight, retries of parked ones, and what each answer must be.

import BlockDevice
import Formats
import HostIO
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

/// A request of the guest that has no final answer yet.
struct Flight {
    enum Kind {
        case write(sectors: Range<Int>, fua: Bool)
        case zero(sectors: Range<Int>, fua: Bool)
        case trim(sectors: Range<Int>, fua: Bool)
        case read(sectors: Range<Int>)
        /// Everything acknowledged when it was sent is durable when it is answered.
        case flush(covers: UInt64)
    }

    let tag: RequestTag
    let kind: Kind
    /// The number in the history, once the device took it.
    var number: UInt64?
    var isParked = false
}

extension Simulation {
    private static var guestSession: UInt32 { 1 }
    static var oracleSession: UInt32 { 2 }

    func submitSomething() throws(SimulationFailure) {
        guard node.flights.count < options.depth, !node.isHeld, !node.isUnjudged,
            node.host != nil
        else { return }
        if options.isDisordered, let any = node.flights.keys.first {
            clock.advance(nanoseconds: any * 1_000_000)
        }
        let cookie = nextCookie
        nextCookie += 1
        let tag = RequestTag(
            session: Self.guestSession, slot: UInt32(truncatingIfNeeded: cookie), cookie: cookie)
        let flight = Flight(tag: tag, kind: drawKind())
        report.requests += 1
        note(flight.kind)
        try submit(flight)
    }

    private func note(_ kind: Flight.Kind) {
        switch kind {
        case .write(_, let fua):
            report.actions.note(.write)
            if fua { report.actions.note(.forceUnitAccess) }
        case .zero: report.actions.note(.zero)
        case .trim: report.actions.note(.trim)
        case .read: report.actions.note(.read)
        case .flush: report.actions.note(.flush)
        }
    }

    private func drawKind() -> Flight.Kind {
        let sectors = drawRange()
        let fua = chance(500)
        switch random.next(below: 16) {
        case 0..<8: return .write(sectors: sectors, fua: fua)
        case 8: return .zero(sectors: sectors, fua: fua)
        case 9: return .trim(sectors: sectors, fua: fua)
        case 10..<14: return .read(sectors: sectors)
        default: return .flush(covers: node.history.acknowledged)
        }
    }

    /// Mostly small, sometimes grain-aligned, now and then larger than a batch of the journal.
    private func drawRange() -> Range<Int> {
        let most: UInt64
        switch random.next(below: 128) {
        case 0..<80: most = 8
        case 80..<124: most = 64
        case 124..<127: most = 600
        default: most = 5000
        }
        let sectors = deviceSectors
        let count = 1 + Int(random.next(below: min(most, UInt64(sectors))))
        var start = Int(random.next(below: UInt64(sectors - count + 1)))
        if chance(4_000) { start -= start % 8 }
        return start..<(start + count)
    }

    /// Offers a request to the volume, for the first time or again.
    func submit(_ flight: Flight) throws(SimulationFailure) {
        guard let host = node.host else { return }
        var flight = flight
        let answer: Submission
        switch flight.kind {
        case .write(let sectors, let fua):
            let payload = UnsafeMutableRawBufferPointer.allocate(
                byteCount: sectors.count * Limits.sectorBytes, alignment: 8)
            GuestHistory.fill(payload, first: sectors.lowerBound, request: lastRequest + 1)
            answer = host.volume.write(
                at: offset(sectors), payload: UnsafeRawBufferPointer(payload), fua: fua,
                tag: flight.tag)
            if answer == .staged { host.lent.append(payload) } else { payload.deallocate() }
            if answer == .staged { flight.number = take(sectors, isZero: false) }
        case .zero(let sectors, let fua), .trim(let sectors, let fua):
            var options: ZeroOptions = []
            if case .trim = flight.kind { options = .trim }
            answer = host.volume.zero(
                at: offset(sectors), count: bytes(sectors), options: options, fua: fua,
                tag: flight.tag)
            if answer == .staged { flight.number = take(sectors, isZero: true) }
        case .read(let sectors): answer = try read(sectors, tag: flight.tag)
        case .flush: answer = host.volume.flush(tag: flight.tag)
        }
        flight.isParked = answer == .parked
        if answer == .parked { report.transitions.note(.parked) }
        tell("\(flight.tag.cookie) \(flight.kind): \(answer), \(node.history.count) taken")
        report.note(flight.tag.cookie << 8 | UInt64(answer == .staged ? 1 : 2))
        switch answer {
        case .staged, .parked: node.flights[flight.tag.cookie] = flight
        case .done: node.flights[flight.tag.cookie] = nil
        case .failed(let error):
            node.flights[flight.tag.cookie] = nil
            try checkRefusal(error, of: flight)
        }
        try settle()
    }

    private func take(_ sectors: Range<Int>, isZero: Bool) -> UInt64 {
        lastRequest += 1
        node.history.take(sectors, isZero: isZero, number: lastRequest)
        return lastRequest
    }

    private func read(_ sectors: Range<Int>, tag: RequestTag) throws(SimulationFailure)
        -> Submission
    {
        // What is staged may or may not show; without it the answer is exact. The end of a turn may
        // wake parked writes, which stage again.
        repeat { try endTurn() } while node.host?.volume.hasStaged ?? false
        guard let host = node.host else { return .parked }
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: sectors.count * Limits.sectorBytes, alignment: 8)
        defer { buffer.deallocate() }
        let answer = host.volume.read(at: offset(sectors), into: buffer, tag: tag)
        guard answer == .done else { return answer }
        for (index, sector) in sectors.enumerated() {
            let start = index * Limits.sectorBytes
            let bytes = UnsafeRawBufferPointer(
                rebasing: UnsafeRawBufferPointer(buffer)[start..<(start + Limits.sectorBytes)])
            let found = GuestHistory.stamp(of: bytes, sector: sector)
            let expected = node.history.expected(sector)
            // What was staged when the disk failed is neither acknowledged nor readable.
            guard found == expected || node.hasFailedDisk || node.disk.isOff else {
                throw failure("read of sector \(sector) found \(found), expected \(expected)")
            }
        }
        return .done
    }

    /// A completion from the volume.
    func complete(_ completion: Completion) throws(SimulationFailure) {
        // A read of the oracle asks again by itself.
        if completion.tag.session == Self.oracleSession { return }
        guard let flight = node.flights[completion.tag.cookie], flight.tag == completion.tag else {
            throw failure("completion \(completion.outcome) of a request that is not in flight")
        }
        tell("\(completion.tag.cookie): \(completion.outcome)")
        switch completion.outcome {
        case .retry:
            guard flight.isParked else { throw failure("retry of a request that is not parked") }
            report.actions.note(.submitAgain)
            node.flights[completion.tag.cookie] = nil
            try submit(flight)
        case .done:
            guard !flight.isParked else { throw failure("a parked request completed") }
            node.flights[completion.tag.cookie] = nil
            acknowledge(flight)
        case .failed(let error):
            node.flights[completion.tag.cookie] = nil
            try checkRefusal(error, of: flight)
        }
    }

    private func acknowledge(_ flight: Flight) {
        report.transitions.note(.answered)
        switch flight.kind {
        case .write(_, let fua), .zero(_, let fua), .trim(_, let fua):
            guard let number = flight.number else { return }
            if fua { node.history.flush(upTo: number) } else { node.history.acknowledge(number) }
        case .flush(let covers): node.history.flush(upTo: covers)
        case .read: break
        }
    }

    /// Errors are for a dead disk, a failed sync, a volume being closed, and what needs bytes that
    /// the store gave back damaged; a healthy volume answers.
    private func checkRefusal(_ error: BlockError, of flight: Flight) throws(SimulationFailure) {
        var isExcused = node.disk.isOff || node.hasFailedDisk || (node.host?.isClosing ?? true)
        if node.isFenced { isExcused = true }
        if (node.isStoreFaulty || isBehind) && needsStore(flight.kind) { isExcused = true }
        report.transitions.note(.requestFailed)
        guard isExcused else {
            let reason = node.host?.volume.report().lastError ?? "none"
            throw failure("request \(flight.kind) failed with \(error); last error: \(reason)")
        }
    }

    /// The host serves an older commit than the store's last: what only that one needs may have
    /// been collected.
    var isBehind: Bool {
        guard names.deletions > 0, let host = node.host else { return false }
        let sequence = host.volume.root.commit.sequence
        guard sequence >= node.track.chain.head.sequence else { return true }
        return store.byteCount(of: CommitKey.key(node.track.volume, sequence.next)) != nil
    }

    /// True for a request that may need bytes of the store: a read, and a write or zero whose edges
    /// are merged with what lies around them.
    private func needsStore(_ kind: Flight.Kind) -> Bool {
        let grainSectors = Limits.grainBytes / Limits.sectorBytes
        switch kind {
        case .read: return true
        case .write(let sectors, _), .zero(let sectors, _), .trim(let sectors, _):
            return sectors.lowerBound % grainSectors != 0 || sectors.upperBound % grainSectors != 0
        case .flush: return false
        }
    }

    private func offset(_ sectors: Range<Int>) -> ByteOffset {
        ByteOffset(UInt64(sectors.lowerBound * Limits.sectorBytes))
    }

    private func bytes(_ sectors: Range<Int>) -> ByteCount {
        ByteCount(UInt64(sectors.count * Limits.sectorBytes))
    }
}
