// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One shard of the daemon: its volumes, the NBD connections to them, and what the control plane
// asks of them. Confined to the shard's thread; nothing here waits. Introduces sessions, volumes
// and workers, who know nothing of one another.

import BlockDevice
import CleanCache
import ControlPlane
import HostIO
import NBDServer
import ObjectStore
import Primitives
import Shard
import VolumeEngine

/// What a shard is told once.
struct VolumeShardSetting: Sendable {
    let index: Int
    let hands: Hands
    let clock: SystemClock
    let cache: CleanCache
    let sessions: SessionOptions
    let log: EventLog
    /// A read-only view has had no client for a while. Must not block.
    let onIdleView: @Sendable (ServedVolume) -> Void
}

struct VolumeShard: ShardHandler, ~Copyable {
    /// Seconds without a client after which a read-only view may go.
    static let viewIdleSeconds: UInt64 = 30
    /// Nanoseconds between ticks of the volumes, at least.
    private static let volumeTickNanoseconds: UInt64 = 100_000_000

    let setting: VolumeShardSetting
    let mailbox: Mailbox<ShardEvent>
    var devices = DeviceTable<ServedDevice>()
    var sessions: NBDSessions<ServedDevice>
    let outbox = Outbox()
    /// Effects that their pool had no room for: tried again, in order, every turn.
    var backlog: [Outbox.Item] = []
    /// By slot.
    var tenants: [Tenant?] = []
    var generation: UInt64 = 0
    /// Questions that wait for the volume, by the number it knows them by.
    var questions: [UInt64: Question] = [:]
    var nextQuestion: UInt64 = 1
    /// Slots whose volume is on its way out.
    var leaving: [Int] = []
    var now: Instant
    private var volumesTicked: Instant

    init(_ setting: VolumeShardSetting, _ context: ShardContext<ShardEvent>) {
        self.setting = setting
        mailbox = context.mailbox
        sessions = NBDSessions(
            poller: context.poller, options: setting.sessions, now: context.now)
        now = context.now
        volumesTicked = context.now
    }

    // MARK: Shard handler

    mutating func handle(_ event: consuming ShardEvent) {
        switch event {
        case .performed(let place, let ended): performed(place, ended)
        case .adopt(let connection): adopt(connection)
        case .insert(let arrival, let answer): insert(arrival, answer)
        case .control(let place, let verb, let deadline, let answer):
            control(place, verb, deadline, answer)
        case .report(let place, let answer): answer.give(report(place))
        case .disconnect(let place):
            if tenant(place) != nil { sessions.closeAll(device: place.slot, devices: devices) }
        }
    }

    mutating func handle(ready token: UInt64, _ readiness: Readiness) {
        sessions.ready(token, readiness, devices: devices)
    }

    mutating func tick(_ time: Instant) {
        now = time
        if outbox.isPacing { releaseAnswers() }
        guard time.nanoseconds(since: volumesTicked) >= Self.volumeTickNanoseconds else { return }
        volumesTicked = time
        sessions.tick(time, devices: devices)
        let wallSeconds = setting.clock.wallSeconds
        for slot in 0..<devices.endSlot {
            guard let device = devices.pointer(slot) else { continue }
            device.pointee.volume.tick(time, wallSeconds: wallSeconds)
            sessions.touch(device: slot)
            watchView(slot)
        }
        expireQuestions()
    }

    mutating func endTurn() -> ShardWait {
        var wait = sessions.endTurn(devices: devices)
        dispatchEffects()
        if !leaving.isEmpty { wait = advanceLeaving() ? .again : wait }
        if case .again = wait { return wait }
        if outbox.isPacing { return .paced }
        let isWatching = !questions.isEmpty || !backlog.isEmpty || !leaving.isEmpty
        return isWatching ? .timed : wait
    }

    /// Takes the answers that are due from the volumes that hold some back.
    private mutating func releaseAnswers() {
        outbox.isPacing = false
        for slot in 0..<devices.endSlot {
            guard let device = devices.pointer(slot), device.pointee.volume.holdsAnswers
            else { continue }
            device.pointee.volume.releaseAnswers(now)
            sessions.touch(device: slot)
        }
    }

    mutating func stop() {
        sessions.stop(devices: devices)
        for question in questions.values where !question.isOverdue {
            question.answer.give(.absent)
        }
        questions.removeAll()
        for slot in leaving { tenants[slot]?.departure?.answer.give(.absent) }
        leaving.removeAll()
    }

    // MARK: Effects

    private mutating func performed(_ place: Place, _ event: VolumeEvent<HostDirectory>?) {
        guard tenant(place) != nil, let device = devices.pointer(place.slot) else { return }
        tenants[place.slot]?.effectsRunning -= 1
        if let event { device.pointee.volume.handle(event) }
        sessions.touch(device: place.slot)
    }

    private mutating func dispatchEffects() {
        if outbox.items.isEmpty && backlog.isEmpty { return }
        var refused: [Outbox.Item] = []
        for item in backlog where !dispatch(item, isNew: false) { refused.append(item) }
        for item in outbox.items where !dispatch(item, isNew: true) { refused.append(item) }
        outbox.items.removeAll(keepingCapacity: true)
        backlog = refused
    }

    /// False if the pool has no room now.
    private mutating func dispatch(_ item: Outbox.Item, isNew: Bool) -> Bool {
        if case .answer(let request, let answer) = item.effect {
            answered(request, answer)
            return true
        }
        guard let tenant = tenants[item.slot] else { return true }
        if isNew { tenants[item.slot]?.effectsRunning += 1 }
        let (place, worker) = (tenant.place, tenant.worker)
        let (mailbox, clock, effect) = (mailbox, setting.clock, item.effect)
        let (log, name) = (setting.log, tenant.name)
        return setting.hands.pool(for: effect).trySubmit {
            let event = worker.perform(effect, labelSeconds: clock.wallSeconds)
            if let event { log.note(event, of: name) }
            mailbox.send(.performed(place, event))
        }
    }

    // MARK: Tenants

    func tenant(_ place: Place) -> Tenant? {
        guard place.slot < tenants.count, let tenant = tenants[place.slot] else { return nil }
        return tenant.place == place ? tenant : nil
    }

    private mutating func insert(_ arrival: Arrival, _ answer: Answer<Place?>) {
        let volume = Volume(
            arrival.seed, cache: setting.cache, options: arrival.options, now: now)
        let slot = devices.insert(ServedDevice(volume, outbox: outbox))
        devices.pointer(slot)?.pointee.slot = slot
        devices.pointer(slot)?.pointee.volume.tick(now, wallSeconds: setting.clock.wallSeconds)
        while tenants.count <= slot { tenants.append(nil) }
        generation += 1
        let place = Place(slot: slot, generation: generation)
        tenants[slot] = Tenant(
            place: place, served: arrival.served, name: arrival.name, worker: arrival.worker,
            openedAt: now)
        sessions.resetStatistics(ofDevice: slot)
        sessions.touch(device: slot)
        answer.give(place)
    }

    private mutating func adopt(_ connection: NegotiatedConnection) {
        // A volume that left since the name was resolved, or is leaving, takes nobody; the
        // connection closes when it is dropped.
        let slot = connection.placement.device
        guard slot < tenants.count, let tenant = tenants[slot],
            tenant.place.generation == connection.placement.generation,
            tenant.departure == nil, !isHeld(tenant.place)
        else { return }
        sessions.adopt(connection, devices: devices)
    }

    private mutating func watchView(_ slot: Int) {
        guard let tenant = tenants[slot], tenant.served.snapshot != nil, tenant.departure == nil
        else { return }
        if sessions.connections(ofDevice: slot) > 0 {
            tenants[slot]?.idleSince = now
        } else if now.nanoseconds(since: tenant.idleSince) > Self.viewIdleSeconds * 1_000_000_000 {
            tenants[slot]?.idleSince = now
            setting.onIdleView(tenant.served)
        }
    }

    private func report(_ place: Place) -> PlaceReport? {
        guard let tenant = tenant(place), let device = devices.pointer(place.slot) else {
            return nil
        }
        return PlaceReport(
            volume: device.pointee.volume.report(),
            connections: sessions.connections(ofDevice: place.slot),
            writers: sessions.writers(ofDevice: place.slot),
            statistics: sessions.statistics(ofDevice: place.slot),
            isLeaving: tenant.departure != nil, isHeld: isHeld(place),
            requests: tenant.worker.store.base.base.base.counts,
            openNanoseconds: now.nanoseconds(since: tenant.openedAt))
    }
}
