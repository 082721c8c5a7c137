// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// NBD as a hostile client speaks it: the handshake byte by byte, and a whole session over a socket
// pair, both as raw bytes and as requests whose magic is right. After every input the session must
// be gone and settled, whatever it was sent.

import BlockDevice
import CLinux
import FuzzSupport
import Glibc
import NBDProtocol
import NBDServer
import Primitives
import Shard

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzNBD(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = Array(fuzzInput(data, count))
    guard let mode = bytes.first else { return 0 }
    let rest = Array(bytes.dropFirst())
    if mode & 1 == 0 {
        haggle(rest, cut: Int(mode >> 1) + 1)
    } else {
        session.pointee.run(mode & 2 == 0 ? rest : requests(rest), mode)
    }
    return 0
}

// MARK: Handshake

private func haggle(_ bytes: [UInt8], cut: Int) {
    var haggling = Haggling()
    var output = haggling.takeOutput().count
    for start in stride(from: 0, to: bytes.count, by: cut) {
        lend(Array(bytes[start..<min(start + cut, bytes.count)])) { haggling.receive($0) }
        var action = haggling.next()
        while action != .wait {
            switch action {
            case .resolve(let name, let purpose):
                haggling.answer(
                    name.utf8.count % 3 == 0 ? .notFound : .found(offer(name, for: purpose)))
            case .list: haggling.answer(list: [("a", ""), ("b", "c")])
            case .begin, .close, .drop: return
            case .wait: break
            }
            action = haggling.next()
        }
        output += haggling.takeOutput().count
        require(output < 64 << 20, "replies are in proportion to what was asked")
    }
}

private func offer(_ name: String, for purpose: ExportPurpose) -> ExportOffer {
    var offer = ExportOffer(name: name, description: "d", geometry: FuzzDevice.shape)
    switch purpose {
    case .describe: break
    case .contexts: offer.bitmaps = ["5", "41"]
    case .attach(let bitmaps): offer.changes = bitmaps.map { _ in changes }
    }
    return offer
}

private let changes = ChangeMap(
    size: FuzzDevice.shape.size, ranges: [0..<512, 4096..<8192, 65_536..<65_537])

// MARK: Session

/// Makes 12 bytes of input a request with its magic and payload.
private func requests(_ bytes: [UInt8]) -> [UInt8] {
    var stream: [UInt8] = []
    for start in stride(from: 0, to: bytes.count - 11, by: 12) {
        let piece = bytes[start..<start + 12].map { UInt64($0) }
        let length = UInt32(piece[8] << 16 | piece[9] << 8 | piece[10])
        var header = RequestHeader(
            .read, flags: CommandFlags(rawValue: UInt16(piece[1])), cookie: piece[11],
            offset: piece[2] << 32 | piece[4] << 16 | piece[5] << 8 | piece[6], length: length)
        header.rawCommand = UInt16(piece[0] % 10)
        var encoded = [UInt8](repeating: 0, count: RequestHeader.byteCount)
        encoded.withUnsafeMutableBytes { $0.baseAddress.map { header.encode(into: $0) } }
        stream += encoded
        let payload = header.payloadBytes <= 1 << 18 ? header.payloadBytes : 0
        stream += [UInt8](repeating: UInt8(piece[3]), count: payload)
    }
    return stream
}

private nonisolated(unsafe) let session: UnsafeMutablePointer<FuzzSession> = {
    let place = UnsafeMutablePointer<FuzzSession>.allocate(capacity: 1)
    place.initialize(to: FuzzSession())
    return place
}()

private struct FuzzSession: ~Copyable {
    let poller = Poller()
    var devices = DeviceTable<FuzzDevice>()
    var sessions: NBDSessions<FuzzDevice>

    init() {
        sessions = NBDSessions(poller: poller, now: Instant(nanoseconds: 0))
        _ = devices.insert(FuzzDevice())
    }

    mutating func run(_ bytes: [UInt8], _ mode: UInt8) {
        var pair: [Int32] = [-1, -1]
        require(clinux_socket_pair(&pair) == 0, "a socket pair can be made")
        let agreement = Agreement(
            name: "x", structured: mode & 4 != 0, allocationContext: mode & 8 != 0)
        // Bitmaps alone, beside the allocation, or none.
        let bitmaps = mode & 128 != 0 ? ["5", "41"] : []
        let leftover = mode & 16 != 0 ? Array(bytes.prefix(1000)) : []
        sessions.adopt(
            NegotiatedConnection(
                descriptor: pair[0], agreement: agreement,
                offer: offer("x", for: .attach(bitmaps: bitmaps)),
                placement: ExportPlacement(shard: 0, device: 0), leftover: leftover),
            devices: devices)
        var sent = leftover.count
        let reads = mode & 32 == 0
        for round in 0..<400 {
            if sent < bytes.count {
                let count = min(bytes.count - sent, mode & 64 == 0 ? 1 << 20 : 1 + round * 37)
                let taken = bytes.withUnsafeBytes {
                    clinux_send(pair[1], $0.baseAddress.map { $0 + sent }, count)
                }
                if taken > 0 { sent += taken }
            }
            turn()
            if reads { drain(pair[1]) }
            if sent == bytes.count && round > 8 { break }
        }
        close(pair[1])
        for _ in 0..<8 { turn() }
        require(sessions.connections(ofDevice: 0) == 0, "a client that is gone has no connection")
        require(sessions.isSettled(device: 0), "no request outlives the turn it was staged in")
    }

    private mutating func turn() {
        poller.poll { token, readiness in
            sessions.ready(token, readiness, devices: devices)
        }
        _ = sessions.endTurn(devices: devices)
    }

    private func drain(_ descriptor: Int32) {
        withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { buffer in
            while clinux_receive(descriptor, buffer.baseAddress, buffer.count) > 0 {}
        }
    }
}

// MARK: Device

/// A megabyte that parks every third call and touches every byte of a payload.
private struct FuzzDevice: BlockDevice, ~Copyable {
    static let shape = DeviceGeometry(
        size: ByteCount((1 << 20) + 512), blockBytes: 131_072, isReadOnly: false)
    let geometry = FuzzDevice.shape
    private var calls = 0
    private var sum: UInt8 = 0
    private var parked: [RequestTag] = []
    private var staged: [(RequestTag, UnsafeRawBufferPointer?)] = []
    private var completions: [Completion] = []

    init() {}

    private mutating func enter(
        _ offset: UInt64, _ count: UInt64, _ tag: RequestTag
    ) -> Submission? {
        let size = geometry.size.rawValue
        guard offset <= size, count <= size - offset else { return .failed(.outOfRange) }
        calls += 1
        guard calls % 3 == 0 else { return nil }
        parked.append(tag)
        return .parked
    }

    mutating func read(
        at offset: ByteOffset, into buffer: UnsafeMutableRawBufferPointer, tag: RequestTag
    ) -> Submission {
        if let early = enter(offset.rawValue, UInt64(buffer.count), tag) { return early }
        _ = buffer.initializeMemory(as: UInt8.self, repeating: 7)
        return .done
    }

    /// Every other read that is large enough, as two pieces of the same bytes.
    mutating func view(
        at offset: ByteOffset, count: Int, into pieces: inout MemoryPieces
    ) -> Bool {
        let size = geometry.size.rawValue
        guard offset.rawValue <= size, UInt64(count) <= size - offset.rawValue else { return false }
        calls += 1
        let half = count / 2
        guard calls % 2 == 0, half > 0, count - half <= FuzzDevice.sevens.count else {
            return false
        }
        guard let base = UnsafeRawPointer(FuzzDevice.sevens.baseAddress) else { return false }
        return pieces.append(base, count: half) && pieces.append(base, count: count - half)
    }

    mutating func endView() {}

    nonisolated(unsafe) private static let sevens: UnsafeMutableRawBufferPointer = {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        _ = bytes.initializeMemory(as: UInt8.self, repeating: 7)
        return bytes
    }()

    mutating func write(
        at offset: ByteOffset, payload: UnsafeRawBufferPointer, fua: Bool, tag: RequestTag
    ) -> Submission {
        if let early = enter(offset.rawValue, UInt64(payload.count), tag) { return early }
        staged.append((tag, payload))
        return .staged
    }

    mutating func zero(
        at offset: ByteOffset, count: ByteCount, options: ZeroOptions, fua: Bool, tag: RequestTag
    ) -> Submission {
        if let early = enter(offset.rawValue, count.rawValue, tag) { return early }
        staged.append((tag, nil))
        return .staged
    }

    mutating func flush(tag: RequestTag) -> Submission {
        staged.append((tag, nil))
        return .staged
    }

    mutating func prefetch(at offset: ByteOffset, count: ByteCount, tag: RequestTag) -> Submission {
        enter(offset.rawValue, count.rawValue, tag) ?? .done
    }

    mutating func extents(
        at offset: ByteOffset, count: ByteCount, limit: Int, into list: inout [Extent],
        tag: RequestTag
    ) -> Submission {
        if let early = enter(offset.rawValue, count.rawValue, tag) { return early }
        list.append(Extent(length: count, kind: .data))
        return .done
    }

    mutating func cancel(tag: RequestTag) { parked.removeAll { $0 == tag } }

    mutating func endTurn() {
        for (tag, payload) in staged {
            // The last moment at which the payload is lent: the sanitizer sees if it was not.
            for byte in payload ?? UnsafeRawBufferPointer(start: nil, count: 0) { sum &+= byte }
            completions.append(Completion(tag: tag, outcome: .done))
        }
        completions += parked.map { Completion(tag: $0, outcome: .retry) }
        parked.removeAll()
        staged.removeAll()
    }

    mutating func nextCompletion() -> Completion? {
        completions.isEmpty ? nil : completions.removeFirst()
    }
}
