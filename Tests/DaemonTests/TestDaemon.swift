// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A whole daemon inside the test: real threads, sockets, journals and a folder as its store, with a
// folder of its own. The store can be taken away and brought back.

import ControlPlane
import Formats
import Glibc
import HostIO
import Logging
import ObjectStore
import Primitives
import TestSupport
import Testing

@testable import Daemon

/// Confined: to one test.
final class TestDaemon: @unchecked Sendable {
    let scratch: ScratchDirectory
    var configuration: Configuration
    private var daemon: Daemon?
    private var isAway = false

    init(
        _ scratch: ScratchDirectory? = nil, isStarted: Bool = true,
        _ change: (inout Configuration) -> Void = { _ in }
    ) throws {
        self.scratch = try scratch ?? ScratchDirectory()
        configuration = Configuration()
        configuration.cache.dir = self.scratch.path + "/cache"
        configuration.cache.memorySizeGB = 0.135
        configuration.cache.diskSizeGB = 1
        configuration.storage.url = "file://" + self.scratch.path + "/store"
        configuration.nbd.unixSocket = self.scratch.path + "/nbd.sock"
        configuration.nbd.addresses = []
        configuration.nbd.apiAddress = ""
        configuration.nbd.apiSocket = self.scratch.path + "/api.sock"
        configuration.nbd.shards = 2
        configuration.policy.shutdownSecs = 20
        change(&configuration)
        if isStarted { try start() }
    }

    deinit {
        bringStoreBack()
        stop()
    }

    var store: String { scratch.path + "/store" }
    var cache: String { scratch.path + "/cache" }

    func start() throws {
        daemon = try Daemon(
            configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// What was left open.
    @discardableResult
    func stop(within seconds: UInt64? = nil) -> [String: UserError] {
        defer { daemon = nil }
        return daemon?.shutdown(within: seconds) ?? [:]
    }

    /// Ends without publishing: what a crash leaves, but for what the kernel would lose.
    func crash() {
        takeStoreAway()
        stop(within: 0)
        bringStoreBack()
    }

    var running: Daemon {
        get throws { try #require(daemon) }
    }

    var control: DaemonControl {
        get throws { try running.control }
    }

    // MARK: Exports

    @discardableResult
    func create(
        _ name: String, size: UInt64 = 64 << 20, from source: String? = nil,
        isReadOnly: Bool? = nil
    ) throws -> ExportInfo {
        var request = PutRequest(size: ByteCount(size), isReadOnly: isReadOnly)
        if let source { request.source = try ForkSource(from: source) }
        return try control.put(name, request).export
    }

    func connect(_ name: String, seconds: Int = 20) throws -> DiskClient {
        try DiskClient(configuration.nbd.unixSocket, name, seconds: seconds)
    }

    func status(_ name: String) throws -> VolumeStatus { try control.status(name) }

    // MARK: The store

    private static let folders = [
        "packs", "volumes", "refs", "nodes", "probe", "gc", "gc-runs", "gc-stops",
    ]

    /// Every key leads into a loop of links: an error that is neither absence nor refusal.
    func takeStoreAway() {
        guard !isAway else { return }
        isAway = true
        for folder in Self.folders {
            rename("\(store)/\(folder)", "\(store)/\(folder).away")
            symlink(folder, "\(store)/\(folder)")
        }
    }

    func bringStoreBack() {
        guard isAway else { return }
        isAway = false
        for folder in Self.folders {
            unlink("\(store)/\(folder)")
            rename("\(store)/\(folder).away", "\(store)/\(folder)")
        }
    }

    /// Keys of the store's packs or commits.
    func keys(under prefix: String) throws -> [String] {
        try running.host.parts.store.listAll(prefix: prefix).map(\.key)
    }

    // MARK: Waiting

    /// Looks every 20 ms until it holds.
    func eventually(seconds: UInt64 = 20, _ holds: () throws -> Bool) throws -> Bool {
        let clock = try running.host.parts.clock
        let start = clock.now
        while clock.now.nanoseconds(since: start) < seconds * 1_000_000_000 {
            if try holds() { return true }
            clock.sleep(nanoseconds: 20_000_000)
        }
        return try holds()
    }
}
