// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The daemon as a whole: what it is made of, how it starts, and how it ends.
//
//   NBD client ─▶ negotiation ─▶ shard (sessions, volumes) ─▶ workers ─▶ cache directory, store
//   API client ─▶ AdminServer ─▶ AdminBridge ─▶ control threads ─▶ ControlPlane ─▶ ShardHost ─▶
//   shard

import AdminAPI
import ControlPlane
import Documents
import HostIO
public import Logging
import NBDServer
import ObjectStore
public import Primitives
import Shard
import Synchronization

/// A running daemon, without its API's sockets.
public final class Daemon: Sendable {
    let configuration: Configuration
    let logger: Logger
    let health = Health()
    private let lock: HostFile
    private let stopFlag: StopFlag
    private let hands: Hands
    let control: DaemonControl
    let host: ShardHost
    private let negotiation: NegotiationLoop?
    private let housekeeping: Housekeeping
    /// Nil if this daemon does not collect garbage.
    let collection: CollectionSchedule?
    private let reopening: Reopening
    /// Seconds that the last commits may take.
    private let shutdownSeconds: UInt64

    /// Opens everything and serves NBD. Blocks; the API comes with `serve`.
    public init(_ configuration: Configuration, logger: Logger) throws(UserError) {
        self.configuration = configuration
        self.logger = logger
        shutdownSeconds = UInt64(configuration.policy.shutdownSecs)
        let stopFlag = StopFlag()
        let parts = try DaemonParts.open(configuration, stop: stopFlag, logger: logger)
        let hands = parts.host.hands
        let views = ViewRelease(hands: hands)
        let shards = Int(configuration.nbd.shards)
        let host = ShardHost(
            parts.host, shards: shards > 0 ? shards : parts.host.facts.processorCount,
            sessions: DaemonParts.sessions(configuration)
        ) { views.release($0) }
        let control = DaemonControl(
            configuration: try Self.identity(configuration, parts.host.facts),
            cacheDirectory: parts.cacheDirectory, store: parts.host.store, host: host,
            clock: parts.host.clock, random: SystemRandom())
        views.connect(control)
        self.stopFlag = stopFlag
        self.hands = hands
        self.host = host
        self.control = control
        lock = parts.lock
        reopening = Reopening(control: control, hands: hands, logger: logger)
        collection = try CollectionSchedule(
            configuration, parts: parts.host, stop: stopFlag, logger: logger)
        housekeeping = Housekeeping(
            control: control, host: host, health: health, stop: stopFlag, reopening: reopening,
            collection: collection, logger: logger)
        do throws(UserError) {
            let report = try Self.learn(control, hands, parts, health)
            negotiation = try Self.listen(configuration, control, host, hands, stopFlag)
            housekeeping.start(isStoreKnown: report.isStoreReachable)
        } catch {
            stopFlag.set()
            housekeeping.join()
            collection?.join()
            host.stop()
            hands.stop()
            throw error
        }
        // A daemon that only reads has nothing to bring to the store.
        if !configuration.storage.readonly { reopening.start(configuration.exports) }
        health.set(.starting, nil)
    }

    /// Where NBD listens, with the ports that were taken.
    public var nbdAddresses: [String] { negotiation?.addresses.map(\.description) ?? [] }

    var bridge: AdminBridge {
        AdminBridge(
            control: control, host: host, hands: hands, health: health,
            gauges: Gauges(host: host, collection: collection), stop: stopFlag)
    }

    // MARK: Start

    private static func identity(
        _ configuration: Configuration, _ facts: HostFacts
    ) throws(UserError) -> ControlPlaneConfiguration {
        guard let node = RefName(facts.machineID) else {
            throw UserError(
                .failed, what: "cannot start", why: "the machine id is \(facts.machineID)",
                remedy: "see /etc/machine-id")
        }
        let address = configuration.apiEndpoints.first { if case .tcp = $0 { true } else { false } }
        return ControlPlaneConfiguration(
            node: node, machineID: facts.machineID,
            address: facts.hostName + (address.map { " \($0)" } ?? ""),
            commitWaitSeconds: DaemonParts.commitWaitSeconds,
            isReadOnly: configuration.storage.readonly)
    }

    private static func learn(
        _ control: DaemonControl, _ hands: Hands, _ parts: DaemonParts, _ health: Health
    ) throws(UserError) -> StartReport {
        let report = try control.start { hands.runAll($0) }
        if !report.isStoreReachable { health.set(.store, "the store is away") }
        return report
    }

    private static func listen(
        _ configuration: Configuration, _ control: DaemonControl, _ host: ShardHost,
        _ hands: Hands, _ stop: StopFlag
    ) throws(UserError) -> NegotiationLoop? {
        var addresses: [ListenAddress] = []
        for endpoint in configuration.nbdEndpoints {
            switch endpoint {
            case .unix(let path):
                try SocketFile.makeFolder(of: path)
                addresses.append(.unix(path: path))
            case .tcp(let address, let port):
                addresses.append(.tcp(host: address, port: UInt16(port)))
            }
        }
        guard !addresses.isEmpty else { return nil }
        let resolver = ExportDirectory(
            control: control, host: host, hands: hands,
            changes: ChangeDirectory(parts: host.parts, stop: stop))
        do throws(NBDServerError) {
            return try NegotiationLoop(
                addresses: addresses, resolver: resolver, clock: host.parts.clock,
                handOver: { host.handOver($0) })
        } catch {
            throw UserError(
                .failed, what: "cannot serve NBD", why: "\(error)",
                remedy: "stop what uses the address, or choose another with --nbd")
        }
    }

    private func complain(_ name: String, _ error: UserError) {
        logger.error("export not served", metadata: ["export": "\(name)", "why": "\(error)"])
    }

    // MARK: Running

    /// Commits everything that is open for writing.
    func drainAll() {
        hands.control.submit { [self] in
            let failed = control.drainAll { [hands] in hands.runAll($0) }
            for (name, error) in failed { complain(name, error) }
            logger.info("drained", metadata: ["failed": "\(failed.count)"])
        }
    }

    // MARK: End

    /// Stops accepting, publishes what was acknowledged, and ends all threads. The exports that
    /// could not be closed cleanly; their journals are kept. Blocks for `policy.shutdown_secs` at
    /// most, or `seconds`, and a moment. Called once.
    public func shutdown(within seconds: UInt64? = nil) -> [String: UserError] {
        health.set(.stopping, "the daemon is stopping")
        reopening.halt()
        negotiation?.stop()
        let deadline = host.parts.clock.now.advanced(bySeconds: seconds ?? shutdownSeconds)
        let report = control.shutdown(deadline: deadline) { [hands] in hands.runAll($0) }
        for (name, error) in report.left { complain(name, error) }
        stopFlag.set()
        housekeeping.join()
        collection?.join()
        host.stop()
        hands.stop()
        return report.left
    }
}
