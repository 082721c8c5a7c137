// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the tools that need no daemon read: a file of this host, or an object of the store.

import ControlPlane
import Glibc
import HostIO
import ObjectStore
import Primitives

/// The store of the offline tools: nothing is retried, so a failure is seen at once.
typealias OfflineStore = LocatedStore

/// The store of tools that work on it for long: what may pass is tried again.
typealias PatientStore = WriteGuard<RetryingStore<OfflineStore, SystemClock, SystemRandom>>

/// Bytes by file name or by key.
public struct OfflineSource: Sendable {
    /// What cannot be done if a call fails.
    let what: String
    let argument: String
    private let configuration: Configuration

    /// `configuration` names the store, for an argument that is no file of this host.
    public init(_ argument: String, verb: String, configuration: Configuration) {
        self.argument = argument
        self.configuration = configuration
        what = "cannot \(verb) \(argument)"
    }

    /// True if the argument names something on this host.
    var isLocal: Bool { access(argument, F_OK) == 0 }

    func store() throws(UserError) -> OfflineStore {
        try Self.store(configuration, what)
    }

    /// Opens a store that is there; makes none.
    static func store(
        _ configuration: Configuration, _ what: String
    ) throws(UserError) -> OfflineStore {
        let clock = SystemClock()
        return try LocatedStore.open(
            configuration, creates: false, what: what,
            limits: configuration.hostLimits {
                clock.sleep(nanoseconds: $0)
                return true
            })
    }

    /// The same, with retries, which end as soon as an interrupt was caught. Takes no writes if
    /// `storage.readonly` is set.
    static func patientStore(
        _ configuration: Configuration, _ what: String
    ) throws(UserError) -> PatientStore {
        let clock = SystemClock()
        return WriteGuard(
            base: RetryingStore(
                try store(configuration, what), clock: clock, random: SystemRandom(),
                pause: { nanoseconds in
                    var left = nanoseconds
                    while left > 0, !Interrupts.wasCaught {
                        let slice = min(left, 100_000_000)
                        clock.sleep(nanoseconds: slice)
                        left -= slice
                    }
                    return !Interrupts.wasCaught
                }),
            isReadOnly: configuration.storage.readonly)
    }

    /// The whole file or object.
    func bytes(limit: Int) throws(UserError) -> [UInt8] {
        if isLocal { return try file(limit: limit) }
        let store = try self.store()
        do throws(ObjectStoreError) { return try store.get(argument, limit: limit) } catch {
            if case .notFound = error { throw absent(store.url) }
            throw UserError(what, error)
        }
    }

    private func file(limit: Int) throws(UserError) -> [UInt8] {
        let (folder, name) = place
        do throws(HostIOError) {
            let directory = try HostDirectory.open(path: folder, create: false)
            if let bytes = try directory.readAll(name, limit: limit) { return bytes }
        } catch { throw local(error) }
        throw absent(configuration.storage.url)
    }

    /// The folder of the file, and its name there.
    var place: (folder: String, name: String) {
        guard let slash = argument.lastIndex(of: "/") else { return (".", argument) }
        let folder = argument[..<slash]
        return (
            folder.isEmpty ? "/" : String(folder), String(argument[argument.index(after: slash)...])
        )
    }

    func local(_ error: HostIOError) -> UserError {
        UserError(
            .failed, what: what, why: error.description,
            remedy: "give a file that this user may read")
    }

    func absent(_ store: String) -> UserError {
        UserError(
            .notFound, what: what, why: "no such file, and no such object in \(store)",
            remedy: "name the store with --store or --config")
    }
}
