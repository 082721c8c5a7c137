// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Whom the client trusts, against a real TLS server with a certificate of its own (openssl makes
// it, Python serves it).

import Foundation
import HostIO
import ObjectStore
import StoreConformance
import TestSupport
import Testing

@testable import ObjectStoreCloud

/// Answers 404 to everything, over TLS.
private final class TLSServer {
    private static let program = """
        import http.server, ssl, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_HEAD(self):
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
            def log_message(self, *words): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_port, flush=True)
        server.serve_forever()
        """

    private let scratch: ScratchDirectory
    private let process = Process()
    let port: Int
    var certificate: String { scratch.path + "/cert.pem" }

    init() throws {
        scratch = try ScratchDirectory()
        let key = scratch.path + "/key.pem"
        let certificate = scratch.path + "/cert.pem"
        let made = try Command.run([
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out",
            certificate,
        ])
        try #require(made.status == 0, "\(made.output)")
        let pipe = Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["python3", "-c", Self.program, certificate, key]
        process.standardOutput = pipe
        try process.run()
        let line = String(decoding: pipe.fileHandleForReading.availableData, as: UTF8.self)
        port = try #require(Int(line.filter(\.isNumber)), "\(line)")
    }

    /// Killed, not asked to end: a child of a pool's thread inherits that thread's blocked signals,
    /// SIGTERM among them, and one that lives on holds the output that `swift test` reads to its
    /// end.
    deinit { kill(process.processIdentifier, SIGKILL) }
}

@Suite("certificates are checked", .enabled(if: Requires.tools("openssl", "python3")))
struct TLSTests {
    private func store(_ endpoint: String, caFile: String = "") throws -> S3Store {
        var settings = S3Settings()
        settings.endpoint = endpoint
        settings.isAnonymous = true
        settings.caFile = caFile
        let clock = SystemClock()
        return try S3Store(
            try S3Location(parsing: "s3://bucket"), settings: settings,
            limits: HostLimits(uploads: 1, downloads: 1, clock: clock) { _ in true }, clock: clock)
    }

    @Test(
        "an unknown authority is refused with what to do, a named one is trusted, another name not")
    func trust() throws {
        let server = try TLSServer()
        let endpoint = "https://localhost:\(server.port)"
        guard
            case .misconfigured(_, let detail, let remedy)? = failure({
                _ = try store(endpoint).head("k")
            })
        else {
            Issue.record("an unknown authority was trusted")
            return
        }
        #expect(detail.contains("localhost is not trusted") && remedy.contains("storage.ca_file"))
        #expect(try store(endpoint, caFile: server.certificate).head("k") == nil)
        let byAddress = try store(
            "https://127.0.0.1:\(server.port)", caFile: server.certificate)
        guard case .misconfigured? = failure({ _ = try byAddress.head("k") }) else {
            Issue.record("a certificate of another name was trusted")
            return
        }
    }
}
