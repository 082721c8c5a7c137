// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet run`: a daemon with its API, until a signal. SIGTERM and SIGINT publish everything and
// exit 0; what the store does not take within policy.shutdown_secs stays in its journal, and the
// exit is 1. SIGUSR1 publishes everything and goes on.

import AdminAPI
import Glibc
public import Logging
import Primitives
import Synchronization
import UnixSignals

public enum DaemonRunner {
    private enum Event: Sendable {
        case listening(Endpoint)
        case serverEnded(Endpoint, String)
        case terminate(String)
        case drain
    }

    /// A logger that writes to stderr.
    public static func logger() -> Logger {
        Logger(label: "martlet") { StreamLogHandler.standardError(label: $0) }
    }

    /// Runs until a signal; the exit code. `ready` gets the one line that says what is served.
    public static func run(
        _ configuration: Configuration, logger: Logger, ready: @Sendable (String) -> Void
    ) async throws -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        let (events, event) = AsyncStream.makeStream(of: Event.self)
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sigusr1)
        let daemon = try Daemon(configuration, logger: logger)
        var tasks = [
            Task {
                for await signal in signals {
                    event.yield(signal == .sigusr1 ? .drain : .terminate("\(signal)"))
                }
            }
        ]
        var code: Int32 = 0
        do throws(UserError) {
            tasks += try serve(daemon, event)
        } catch {
            event.yield(.serverEnded(.unix(path: ""), error.description))
        }
        var listening: [Endpoint] = []
        events: for await event in events {
            switch event {
            case .listening(let endpoint):
                listening.append(endpoint)
                guard listening.count == configuration.apiEndpoints.count else { continue }
                ready(readyLine(daemon, listening))
            case .drain: daemon.drainAll()
            case .terminate(let name):
                logger.info("stopping", metadata: ["signal": "\(name)"])
                break events
            case .serverEnded(let endpoint, let why):
                logger.critical(
                    "the API ended", metadata: ["address": "\(endpoint)", "why": "\(why)"])
                code = 1
                break events
            }
        }
        for task in tasks { task.cancel() }
        let left = daemon.shutdown()
        return left.isEmpty ? code : 1
    }

    /// One server for each address.
    private static func serve(
        _ daemon: Daemon, _ event: AsyncStream<Event>.Continuation
    ) throws(UserError) -> [Task<Void, Never>] {
        let handler = AdminHandler(service: daemon.bridge)
        var tasks: [Task<Void, Never>] = []
        for endpoint in daemon.configuration.apiEndpoints {
            let address: AdminAddress
            switch endpoint {
            case .unix(let path):
                try SocketFile.prepare(path)
                address = .unix(path: path)
            case .tcp(let host, let port): address = .tcp(host: host, port: port)
            }
            var logger = daemon.logger
            logger.logLevel = .critical
            let server = AdminServer(handler: handler, address: address, logger: logger) { port in
                switch endpoint {
                case .unix(let path):
                    SocketFile.open(path)
                    event.yield(.listening(endpoint))
                case .tcp(let host, let asked):
                    event.yield(.listening(.tcp(host: host, port: port ?? asked)))
                }
            }
            tasks.append(
                Task {
                    do {
                        try await server.run()
                        event.yield(.serverEnded(endpoint, "its task ended"))
                    } catch {
                        event.yield(.serverEnded(endpoint, "\(error)"))
                    }
                })
        }
        return tasks
    }

    private static func readyLine(_ daemon: Daemon, _ api: [Endpoint]) -> String {
        let nbd = daemon.nbdAddresses.map { "nbd \($0)" }
        let endpoints = api.map(\.description).sorted(by: >).map { "api \($0)" }
        let places = [
            "store \(daemon.configuration.storage.url)", "cache \(daemon.configuration.cache.dir)",
        ]
        return "ready: " + (nbd + endpoints + places).joined(separator: ", ")
    }
}
