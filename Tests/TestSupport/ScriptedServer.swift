// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// An HTTP server on a loopback port that answers as a test says, byte for byte: also in ways that
// no library would send. A thread per connection; everything received is kept.

import Foundation
import Glibc
import Primitives
import Synchronization

public struct ReceivedRequest: Sendable {
    public var method = ""
    /// Path and query as they came.
    public var target = ""
    /// Names in lower case.
    public var headers: [String: String] = [:]
    public var body: [UInt8] = []

    public var path: String { String(target.prefix { $0 != "?" }) }
    public var query: [String: String] {
        var found: [String: String] = [:]
        for item in target.drop(while: { $0 != "?" }).dropFirst().split(separator: "&") {
            let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = pair.count > 1 ? String(pair[1]) : ""
            found[String(pair[0])] = value.removingPercentEncoding
        }
        return found
    }
}

public enum ScriptedAnswer: Sendable {
    case reply(Int, [String: String] = [:], [UInt8] = [])
    /// Says more bytes than it sends, then closes.
    case truncated(Int, [String: String] = [:], [UInt8], missing: Int)
    /// Closes without a word, after the request was read.
    case drop
    /// Says nothing for so long, then closes.
    case silence(seconds: Double)

    public static func xml(_ status: Int, _ headers: [String: String] = [:], _ text: String) -> Self
    {
        .reply(status, headers, Array(text.utf8))
    }

    public static func error(_ status: Int, _ code: String, _ extra: String = "") -> Self {
        .xml(
            status, ["Content-Type": "application/xml"],
            "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>of a test</Message>"
                + "\(extra)</Error>")
    }
}

public final class ScriptedServer: Sendable {
    public typealias Script = @Sendable (ReceivedRequest) -> ScriptedAnswer

    public let port: Int
    private let listener: Int32
    private let script: Script
    private let received = Lock<[ReceivedRequest]>([])

    public var endpoint: String { "http://127.0.0.1:\(port)" }
    public var requests: [ReceivedRequest] { received.withLock { $0 } }

    public init(_ script: @escaping Script) throws {
        self.script = script
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && listen(descriptor, 64) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        guard descriptor >= 0, isListening else { throw POSIXError(.EADDRINUSE) }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread { [script, received = Box(self)] in
            while true {
                let connection = accept(descriptor, nil, nil)
                // Closed by the thread that uses it: its number may be another server's at once.
                guard connection >= 0 else {
                    close(descriptor)
                    return
                }
                Thread {
                    Self.serve(connection, script) { request in
                        received.server?.received.withLock { $0.append(request) }
                    }
                }.start()
            }
        }.start()
    }

    private final class Box: Sendable {
        private let reference: Lock<Weak>
        private struct Weak { weak var server: ScriptedServer? }
        init(_ server: ScriptedServer) { reference = Lock(Weak(server: server)) }
        var server: ScriptedServer? { reference.withLock { $0.server } }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    private static func serve(
        _ connection: Int32, _ script: Script, _ note: (ReceivedRequest) -> Void
    ) {
        defer { close(connection) }
        var rest: [UInt8] = []
        while let request = read(connection, &rest) {
            note(request)
            switch script(request) {
            case .reply(let status, let headers, let body):
                send(connection, status, headers, body, request.method, length: body.count)
            case .truncated(let status, let headers, let body, let missing):
                let length = body.count + missing
                send(connection, status, headers, body, request.method, length: length)
                return
            case .drop: return
            case .silence(let seconds):
                Thread.sleep(forTimeInterval: seconds)
                return
            }
        }
    }

    private static func send(
        _ connection: Int32, _ status: Int, _ headers: [String: String], _ body: [UInt8],
        _ method: String, length: Int
    ) {
        var text = "HTTP/1.1 \(status) Scripted\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if headers["Content-Length"] == nil, status != 204 {
            text += "Content-Length: \(length)\r\n"
        }
        var bytes = Array((text + "\r\n").utf8)
        if method != "HEAD" { bytes += body }
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return }
            sent += count
        }
    }

    /// Nil at the end of the connection.
    private static func read(_ connection: Int32, _ rest: inout [UInt8]) -> ReceivedRequest? {
        let mark = Array("\r\n\r\n".utf8)
        var head: Range<Int>?
        while true {
            head = rest.firstRange(of: mark)
            if head != nil { break }
            guard fill(connection, &rest) else { return nil }
        }
        guard let head else { return nil }
        var lines = String(decoding: rest[..<head.lowerBound], as: UTF8.self)
            .components(separatedBy: "\r\n")
        let words = lines.removeFirst().split(separator: " ")
        guard words.count == 3 else { return nil }
        var request = ReceivedRequest(method: String(words[0]), target: String(words[1]))
        for line in lines {
            let pair = line.split(separator: ":", maxSplits: 1)
            guard pair.count == 2 else { continue }
            request.headers[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces)
        }
        rest.removeFirst(head.upperBound)
        let length = request.headers["content-length"].flatMap { Int($0) } ?? 0
        while rest.count < length {
            guard fill(connection, &rest) else { return nil }
        }
        request.body = Array(rest.prefix(length))
        rest.removeFirst(length)
        return request
    }

    private static func fill(_ connection: Int32, _ bytes: inout [UInt8]) -> Bool {
        var part = [UInt8](repeating: 0, count: 65_536)
        let count = recv(connection, &part, part.count, 0)
        guard count > 0 else { return false }
        bytes += part[..<count]
        return true
    }
}
