// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where connections begin: one thread accepts and haggles for all listeners, so that no client can
// slow a data shard before it has chosen an export. It is a shard like any other; the resolver's
// answers come as mail. A connection leaves it once, by `handOver`.

import CLinux
import Glibc
import NBDProtocol
public import Primitives
import Shard

/// What an operator can choose of the handshake.
public struct NegotiationOptions: Sendable {
    /// Clients that haggle at one time. One more takes the place of the one that came first and
    /// keeps us waiting.
    public var clientsMax = 256
    /// How long the server waits for the next byte of a client in the handshake.
    public var handshakeSeconds: UInt64 = 30

    public init() {}
}

/// The listeners and all handshakes.
public final class NegotiationLoop: Sendable {
    /// Called on the negotiation thread; may block for as long as a full mailbox of a shard does.
    public typealias HandOver = @Sendable (NegotiatedConnection) -> Void

    /// Where it listens, with the ports that were taken.
    public let addresses: [ListenAddress]
    private let shard: Shard<Negotiator>

    /// Listens at all addresses, or at none and throws.
    public init(
        addresses: [ListenAddress], resolver: any ExportResolver, clock: any Clock,
        options: NegotiationOptions = NegotiationOptions(), handOver: @escaping HandOver
    ) throws(NBDServerError) {
        var listeners: [Listener] = []
        do throws(NBDServerError) {
            for address in addresses { listeners.append(try Listener(address)) }
        } catch {
            for listener in listeners { listener.close() }
            throw error
        }
        let ready = listeners
        self.addresses = ready.map(\.address)
        shard = Shard(name: "nbd-hello", clock: clock) { context in
            Negotiator(
                context: context, listeners: ready, resolver: resolver, options: options,
                handOver: handOver)
        }
    }

    /// Closes the listeners and every handshake, and waits for the thread. Called once.
    public func stop() {
        shard.stop()
        shard.join()
    }
}

/// What the resolver said, on its way to the negotiation thread.
enum NegotiationEvent: Sendable {
    case resolved(client: UInt64, ExportAnswer)
    case listed(client: UInt64, [(name: String, description: String)])
}

/// One client in the handshake.
private struct HagglingClient {
    let descriptor: Int32
    var haggling = Haggling()
    var output: [UInt8] = []
    var sent = 0
    /// When the client last did something, or was last owed something by us.
    var since: Instant
    /// What `found` said last: valid when the haggling begins.
    var found: (offer: ExportOffer, placement: ExportPlacement)?
    /// What to do once the output is sent.
    var ending: HaggleAction?
    var interest: Interest = .readable
}

struct Negotiator: ShardHandler, ~Copyable {
    typealias Event = NegotiationEvent

    private static let listenerToken: UInt64 = 1 << 62
    private let context: ShardContext<NegotiationEvent>
    private let listeners: [Listener]
    private let resolver: any ExportResolver
    private let options: NegotiationOptions
    private let handOver: NegotiationLoop.HandOver
    private var clients: [UInt64: HagglingClient] = [:]
    private var nextClient: UInt64 = 0
    private var now: Instant
    private var isListening = true
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

    init(
        context: ShardContext<NegotiationEvent>, listeners: [Listener],
        resolver: any ExportResolver, options: NegotiationOptions,
        handOver: @escaping NegotiationLoop.HandOver
    ) {
        self.context = context
        self.listeners = listeners
        self.resolver = resolver
        self.options = options
        self.handOver = handOver
        now = context.now
        for index in listeners.indices { listen(index, to: .readable) }
    }

    deinit { scratch.deallocate() }

    private func listen(_ index: Int, to interest: Interest) {
        let added = context.poller.add(
            listeners[index].descriptor, token: Negotiator.listenerToken + UInt64(index), interest)
        precondition(added, "no memory to listen")
    }

    // MARK: Shard handler

    mutating func handle(_ event: consuming NegotiationEvent) {
        switch event {
        case .resolved(let number, let answer):
            // The client may be gone, or its number never asked: then nobody waits.
            guard clients[number] != nil else { return }
            resolved(number, answer)
        case .listed(let number, let names):
            guard clients[number] != nil else { return }
            clients[number]?.haggling.answer(list: names)
            advance(number)
        }
    }

    mutating func handle(ready token: UInt64, _ readiness: Readiness) {
        if token >= Negotiator.listenerToken {
            return accept(Int(token - Negotiator.listenerToken))
        }
        guard let client = clients[token] else { return }
        if readiness.isWritable { send(token) }
        if readiness.isReadable && client.haggling.wantsInput {
            receive(token)
        } else if readiness.isHangup {
            drop(token)
        }
    }

    mutating func tick(_ now: Instant) {
        self.now = now
        let limit = options.handshakeSeconds * 1_000_000_000
        for (number, client) in clients where now.nanoseconds(since: client.since) > limit {
            // Time that the resolver takes is not the client's.
            if client.keepsUsWaiting { drop(number) }
        }
        if !isListening {
            isListening = true
            for index in listeners.indices { listen(index, to: .readable) }
        }
    }

    mutating func endTurn() -> ShardWait { clients.isEmpty && isListening ? .idle : .timed }

    mutating func stop() {
        for listener in listeners { listener.close() }
        for client in clients.values { close(client.descriptor) }
        clients = [:]
    }

    // MARK: Clients

    private mutating func accept(_ index: Int) {
        let descriptor = clinux_accept(listeners[index].descriptor)
        if descriptor == -EAGAIN { return }
        guard descriptor >= 0 else {
            // No descriptors left: look away until the next tick, or the loop would spin.
            for listener in listeners { context.poller.remove(listener.descriptor) }
            isListening = false
            return
        }
        clinux_tune_connection(descriptor)
        let number = nextClient
        nextClient += 1
        if clients.count >= options.clientsMax { makeRoom() }
        guard clients.count < options.clientsMax,
            context.poller.add(descriptor, token: number, .readable)
        else {
            close(descriptor)
            return
        }
        clients[number] = HagglingClient(descriptor: descriptor, since: now)
        advance(number)
    }

    /// Whoever hurries is done long before it is the first in line, however many others dawdle.
    private mutating func makeRoom() {
        if let first = clients.lazy.filter({ $0.value.keepsUsWaiting }).map(\.key).min() {
            drop(first)
        }
    }

    private mutating func receive(_ number: UInt64) {
        guard let client = clients[number] else { return }
        let count = clinux_receive(client.descriptor, scratch.baseAddress, scratch.count)
        if count == -Int(EAGAIN) { return }
        guard count > 0 else { return drop(number) }
        clients[number]?.since = now
        clients[number]?.haggling.receive(UnsafeRawBufferPointer(rebasing: scratch[..<count]))
        advance(number)
    }

    private mutating func resolved(_ number: UInt64, _ answer: ExportAnswer) {
        let verdict: ExportVerdict
        switch answer {
        case .found(let offer, let placement):
            clients[number]?.found = (offer, placement)
            verdict = .found(offer)
        case .notFound: verdict = .notFound
        case .refused(let why): verdict = .refused(why)
        case .notNow(let why): verdict = .notNow(why)
        }
        clients[number]?.haggling.answer(verdict)
        advance(number)
    }

    /// Goes on with the handshake as far as it gets.
    private mutating func advance(_ number: UInt64) {
        guard let action = clients[number]?.haggling.next() else { return }
        let mailbox = context.mailbox
        clients[number]?.since = now
        switch action {
        case .wait: break
        case .resolve(let name, let purpose):
            resolver.resolve(name, for: purpose) { answer in
                mailbox.send(.resolved(client: number, answer))
            }
        case .list:
            resolver.list { names in mailbox.send(.listed(client: number, names)) }
        case .begin, .close: clients[number]?.ending = action
        case .drop: return drop(number)
        }
        clients[number]?.takeOutput()
        send(number)
    }

    private mutating func send(_ number: UInt64) {
        guard var client = clients[number] else { return }
        while client.sent < client.output.count {
            let count = client.output.withUnsafeBytes { bytes -> Int in
                let rest = UnsafeRawBufferPointer(rebasing: bytes[client.sent...])
                return clinux_send(client.descriptor, rest.baseAddress, rest.count)
            }
            if count == -Int(EAGAIN) { break }
            guard count > 0 else { return drop(number) }
            client.sent += count
        }
        let isSent = client.sent == client.output.count
        if isSent {
            client.output.removeAll(keepingCapacity: true)
            client.sent = 0
        }
        if isSent, let ending = client.ending {
            clients[number] = client
            return end(number, ending)
        }
        // A client that does not read its replies is not read from.
        let interest: Interest =
            isSent ? (client.haggling.wantsInput ? .readable : []) : .writable
        if interest != client.interest {
            context.poller.modify(client.descriptor, token: number, interest)
            client.interest = interest
        }
        clients[number] = client
    }

    private mutating func end(_ number: UInt64, _ action: HaggleAction) {
        guard case .begin(let agreement) = action, var client = clients[number],
            let found = client.found
        else { return drop(number) }
        clients[number] = nil
        context.poller.remove(client.descriptor)
        handOver(
            NegotiatedConnection(
                descriptor: client.descriptor, agreement: agreement, offer: found.offer,
                placement: found.placement, leftover: client.haggling.takeLeftover()))
    }

    private mutating func drop(_ number: UInt64) {
        guard let client = clients.removeValue(forKey: number) else { return }
        context.poller.remove(client.descriptor)
        close(client.descriptor)
    }
}

extension HagglingClient {
    /// It is the client's turn to speak, or to read what it was told.
    fileprivate var keepsUsWaiting: Bool { haggling.wantsInput || ending != nil }

    fileprivate mutating func takeOutput() { output += haggling.takeOutput() }
}
