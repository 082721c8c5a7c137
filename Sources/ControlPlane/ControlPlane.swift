// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Names and life cycle: the public face. Every method blocks until what it says is durable in the
// store, may be called from any thread, and may be repeated: a repeated call finishes what a crash
// interrupted. Calls for one name are serialised; calls for different names run at one time.

public import Documents
public import ObjectStore
public import Primitives

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

    public init(
        node: RefName, machineID: String, address: String = "",
        transports: Set<Transport> = [.nbd, .none], beatStaleSeconds: UInt64 = 180
    ) {
        self.node = node
        self.machineID = machineID
        self.address = address
        self.transports = transports
        self.beatStaleSeconds = beatStaleSeconds
    }
}

public final class ControlPlane<Host: VolumeHost, Store: ObjectStore>: Sendable {
    let configuration: ControlPlaneConfiguration
    let cacheDirectory: Host.Storage
    let store: Store
    let host: Host
    let clock: any Clock

    public init(
        configuration: ControlPlaneConfiguration, cacheDirectory: Host.Storage, store: Store,
        host: Host, clock: any Clock, random: any RandomSource
    ) {
        self.configuration = configuration
        self.cacheDirectory = cacheDirectory
        self.store = store
        self.host = host
        self.clock = clock
    }

    private var missing: UserError {
        UserError(.failed, what: "cannot do this", why: "not built yet", remedy: "wait")
    }

    // MARK: Start and end

    /// Creates or verifies `martlet.json`, learns all exports, removes this node's own reader refs.
    /// Claims nothing. With the store away only what the cache directory knows is known, and the report
    /// says so: call `refresh` until it succeeds.
    public func start() throws(UserError) -> StartReport { throw missing }

    /// Learns the exports of the store again. Fails with `storeAway`.
    public func refresh() throws(UserError) -> StartReport { throw missing }

    /// Says in the store what this node serves for writing. Call every minute or so.
    public func beat() throws(UserError) { throw missing }

    /// Closes every volume cleanly; after `deadline` the rest is left open, journals kept.
    public func shutdown(deadline: Instant, run: JobRunner) -> ShutdownReport { ShutdownReport() }

    /// Commits every volume that runs for writing. Names and reasons of those that failed.
    public func drainAll(run: JobRunner) -> [String: UserError] { [:] }

    // MARK: Exports

    public func put(_ name: String, _ request: PutRequest) throws(UserError) -> PutReply {
        throw missing
    }

    /// All exports known here that are not deleted, by name. Does not ask the store.
    public func list() -> [ExportInfo] { [] }

    /// Asks the store only about a name that is not known here.
    public func info(_ name: String) throws(UserError) -> ExportInfo { throw missing }

    public func delete(_ name: String, purge: Bool) throws(UserError) { throw missing }

    public func drain(_ name: String) throws(UserError) -> CommitSummary { throw missing }

    public func status(_ name: String) throws(UserError) -> VolumeStatus { throw missing }

    /// Serves here a volume that is not, claiming it if it is read-write.
    public func open(_ name: String, force: Bool) throws(UserError) -> ExportInfo { throw missing }

    public func promote(_ name: String, force: Bool) throws(UserError) -> ExportInfo {
        throw missing
    }

    public func rollback(
        _ name: String, toSequence sequence: UInt64
    ) throws(UserError) -> RollbackReply { throw missing }

    public func acknowledge(_ name: String) throws(UserError) { throw missing }

    // MARK: Snapshots, tags, manifests

    public func snapshot(_ name: String, tag: String?) throws(UserError) -> SnapshotInfo {
        throw missing
    }

    /// Ascending.
    public func snapshots(_ name: String) throws(UserError) -> [SnapshotInfo] { throw missing }

    public func deleteSnapshot(_ name: String, sequence: UInt64) throws(UserError) { throw missing }

    public func tag(_ name: String, tag: String) throws(UserError) -> TagInfo { throw missing }

    public func tags() throws(UserError) -> [TagInfo] { throw missing }

    /// `bases/NAME` (or a tag of that name), `tags/NAME`, `snapshots/NAME@SEQ`, `exports/NAME`. Fails with
    /// `notFound`.
    public func manifest(prefix: String, name: String) throws(UserError) -> ManifestInfo {
        throw missing
    }

    // MARK: Clients

    /// Makes sure that what `name` means runs here: `NAME`, read-only `NAME@SEQ`, `tag:T`, `base:B`. Called
    /// at the first client's attach; the claim of a lazily opened export happens here.
    public func attach(_ name: String) throws(UserError) -> Attachment { throw missing }

    /// The last client of a read-only view has left. Writers stay. Harmless if it does not run.
    public func release(_ served: ServedVolume) {}
}
