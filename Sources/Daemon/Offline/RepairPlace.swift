// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where `martlet verify --repair` takes bytes from: another repository, or what this host keeps.

import Committer
import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import Maintenance
import ObjectStore
public import Primitives
import Shard

/// What the daemon of this host has in its cache under a hash; nil: nothing.
public typealias CachedBlocks = @Sendable (Hash128) throws(UserError) -> [UInt8]?

/// What a repair may take bytes from.
public enum RepairPlace: Sendable {
    /// Another repository.
    case repository(Configuration)
    /// The cache of this host's daemon, and the cache directory of the configuration.
    case cache(CachedBlocks)
}

extension RepairPlace {
    /// Opens it. Sends nothing. `store` is what is repaired.
    func source(
        for configuration: Configuration, _ store: PatientStore,
        _ options: RepositoryCheckOptions, _ pool: WorkerPool
    ) throws(UserError) -> any RepairSource {
        switch self {
        case .repository(let other):
            let what = "cannot repair from \(other.storage.url)"
            guard other.storage.url != configuration.storage.url else {
                throw UserError(
                    .badRequest, what: what, why: "that is the repository itself",
                    remedy: "name a replica, a backup or a copy of it")
            }
            var other = other
            other.storage.maxDownloads = Int64(options.threads)
            // Nothing is ever written there.
            other.storage.readonly = true
            return StoreRepairSource(
                try OfflineSource.patientStore(other, what), spread: { pool.spread($0, $1) })
        case .cache(let blocks):
            let kept = KeptObjects(directory: configuration.cache.dir, store: store)
            return CacheRepairSource(
                name: "the cache of this host",
                blocks: { hash throws(ObjectStoreError) in
                    do throws(UserError) { return try blocks(hash) } catch {
                        throw .misconfigured(
                            key: "", detail: "\(error.what) : \(error.why)", remedy: error.remedy)
                    }
                }, published: { key throws(ObjectStoreError) in try kept.bytes(of: key) })
        }
    }
}

/// The newest commit of each volume, and the newest ref of its export, as a cache directory keeps
/// them.
private struct KeptObjects {
    let directory: String
    let store: PatientStore

    func bytes(of key: String) throws(ObjectStoreError) -> [UInt8]? {
        do throws(HostIOError) {
            let cache = try HostDirectory.open(path: directory, create: false)
            guard try belongs(cache) else { return nil }
            if let key = try? CommitKey(key: key) {
                return try cache.directory("volumes", create: false)
                    .directory("\(key.volume)", create: false)
                    .directory("root", create: false)
                    .readAll("\(key.sequence)", limit: CommitLimits.commitBytesMax)
            }
            guard case .numbered(.export(let name), let number) = RefKey(parsing: key) else {
                return nil
            }
            return try keptExports(in: cache).first { $0.name == name && $0.number == number }?
                .encoded
        } catch {
            if error.code == ENOENT || error.code == ENOTDIR { return nil }
            throw .misconfigured(
                key: key, detail: "\(error)", remedy: "give the cache directory with --cache")
        }
    }

    /// Whether the directory is of this repository. Numbers mean nothing in another.
    private func belongs(_ cache: HostDirectory) throws(HostIOError) -> Bool {
        let limit = Limits.documentBytesMax
        guard let kept = try cache.readAll("repository.json", limit: limit),
            let here = try? store.get(RefKey.repository.text, limit: limit)
        else { return false }
        let ids = [kept, here].map { try? Repository(decoding: $0).id }
        return ids[0] != nil && ids[0] == ids[1]
    }
}
