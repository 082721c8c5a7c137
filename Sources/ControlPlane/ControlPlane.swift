// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Names and life cycle: the shared core of all operations. Every public method blocks until what it
// says is durable in the store, may be called from any thread, and may be repeated: a repeated call
// finishes what a crash interrupted. Calls for one name are serialised; calls for different names
// run at one time. The operations are in the extensions, one file for each topic.

import Committer
public import Documents
import Formats
import HostIO
public import ObjectStore
public import Primitives
import Synchronization

public struct ControlPlaneConfiguration: Sendable {
    /// This node's id in the repository: the machine id will do.
    public var node: RefName
    /// The machine's id, from `HostFacts`.
    public var machineID: String
    /// How people reach this node's API, shown to those whom a beat refuses.
    public var address: String
    /// Transports that this daemon was built with.
    public var transports: Set<Transport>
    /// A beat older than this no longer stands in the way of a claim.
    public var beatStaleSeconds: UInt64
    public static let usualBeatStaleSeconds: UInt64 = 180
    /// How long an operation waits for a volume's commit before it answers that the store is away.
    public var commitWaitSeconds: UInt64
    /// The store takes no writes from this node: every export is served as a view of its head.
    public var isReadOnly: Bool

    public init(
        node: RefName, machineID: String, address: String = "",
        transports: Set<Transport> = [.nbd, .none],
        beatStaleSeconds: UInt64 = usualBeatStaleSeconds,
        commitWaitSeconds: UInt64 = 30, isReadOnly: Bool = false
    ) {
        self.node = node
        self.machineID = machineID
        self.address = address
        self.transports = transports
        self.beatStaleSeconds = beatStaleSeconds
        self.commitWaitSeconds = commitWaitSeconds
        self.isReadOnly = isReadOnly
    }
}

/// The control plane of one node: one cache directory, one store, one host of volumes.
public final class ControlPlane<Host: VolumeHost, Store: ObjectStore>: Sendable {
    let configuration: ControlPlaneConfiguration
    let cacheDirectory: Host.Storage
    let store: Store
    let host: Host
    let clock: any Clock
    let table = ExportTable()
    let locks = NameLocks<RefName>()
    /// Taken inside `locks`, never the other way round.
    let viewLocks = NameLocks<String>()
    let beats = BeatBook()
    private let random: Lock<any RandomSource>

    /// Changes of one ref that others may make between our reading and our writing of it.
    static var changesMax: Int { 16 }

    /// `store` should retry by itself what is worth it; what it reports as away becomes a 503.
    public init(
        configuration: ControlPlaneConfiguration, cacheDirectory: Host.Storage, store: Store,
        host: Host, clock: any Clock, random: any RandomSource
    ) {
        self.configuration = configuration
        self.cacheDirectory = cacheDirectory
        self.store = store
        self.host = host
        self.clock = clock
        self.random = Lock(random)
    }

    // MARK: Shared by the operations

    func fresh<ID: Identifier128>(_ type: ID.Type = ID.self) -> ID {
        random.withLock { random in ID.random(from: &random) }
    }

    func refs(_ what: String) -> RefStore<Store> { RefStore(store: store, what: what) }

    var finder: HeadFinder<Store> { HeadFinder(store: store) }

    var claimer: Claimer<Host.Storage, Store> {
        Claimer(
            cache: cacheDirectory, store: store, machine: configuration.machineID, clock: clock,
            token: { self.fresh() },
            server: { volume throws(UserError) in try self.liveServer(of: volume) })
    }

    var commitDeadline: Instant { clock.now.advanced(bySeconds: configuration.commitWaitSeconds) }

    func validName(_ text: String, _ what: String) throws(UserError) -> RefName {
        guard let name = RefName(text) else {
            throw UserError(
                .badRequest, what: what, why: "\"\(text.prefix(140))\" is not a valid name",
                remedy: "use 1 to \(Limits.nameCharactersMax) of A-Z a-z 0-9 . _ - and begin with "
                    + "a letter or a digit")
        }
        return name
    }

    /// The export's newest ref, as the store has it. Fails with `notFound` if there is none, or if
    /// it was deleted.
    func export(_ name: RefName, _ what: String) throws(UserError) -> ExportRef {
        guard let ref = try newest(name, what), ref.state != .deleted else {
            throw unknown(name, what)
        }
        return ref
    }

    /// As `export`, of one that is served or may be.
    func liveExport(_ name: RefName, _ what: String) throws(UserError) -> ExportRef {
        let ref = try export(name, what)
        try requireLive(ref, what)
        return ref
    }

    func requireLive(_ ref: ExportRef, _ what: String) throws(UserError) {
        switch ref.state {
        case .live: return
        case .deleted: throw unknown(ref.name, what)
        case .detached:
            throw UserError(
                .conflict, what: what, why: "\(ref.name) is detached",
                remedy: "attach it again with martlet open \(ref.name)")
        case .creating:
            throw UserError(
                .conflict, what: what, why: "\(ref.name) is being created",
                remedy: "repeat the request that creates it")
        }
    }

    func newest(_ name: RefName, _ what: String) throws(UserError) -> ExportRef? {
        let ref: ExportRef? = try refs(what).newest(.export(name))
        if let ref { table.learn(ref) }
        return ref
    }

    func unknown(_ name: RefName, _ what: String) -> UserError {
        UserError(
            .notFound, what: what, why: "there is no export \(name)",
            remedy: "see martlet list for those that exist")
    }

    /// Changes the ref by the next number of its series. `change` sees the ref that holds and
    /// returns nil if nothing is to be done; it is asked again if another host was faster.
    @discardableResult
    func update(
        _ name: RefName, _ what: String,
        _ change: (ExportRef) throws(UserError) -> ExportRef?
    ) throws(UserError) -> ExportRef {
        let refs = refs(what)
        for _ in 0..<Self.changesMax {
            let current = try export(name, what)
            guard let next = try change(current) else { return current }
            guard try refs.append(next) else { continue }
            table.learn(next)
            try keepLocally(next, what)
            return next
        }
        throw refs.contended
    }

    /// Keeps a copy of the ref beside the volume, if it has a directory here.
    func keepLocally(_ ref: ExportRef, _ what: String) throws(UserError) {
        try explainLocal(what) { () throws(HostIOError) in
            try LocalVolume.open(ref.volume, in: cacheDirectory, create: false)?.write(ref)
        }
    }

    func describe(_ ref: ExportRef) -> ExportInfo {
        let status = attachment(of: ref).flatMap { host.status($0.served) }
        return ExportInfo(
            name: ref.name.text, volume: ref.volume,
            size: max(ref.size, status?.size ?? ref.size),
            blockBytes: ref.definition.blockBytes,
            isReadOnly: ref.isReadOnly || configuration.isReadOnly,
            transport: ref.definition.transport, state: ref.state,
            isAttached: status != nil, origin: ref.origin)
    }
}
