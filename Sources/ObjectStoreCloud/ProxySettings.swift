// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which HTTP proxy stands between us and the store: the setting, or what the environment says,
// unless it excepts the store's host.

import AsyncHTTPClient
import Primitives

/// A proxy that is asked for a tunnel (CONNECT), for plain requests as for TLS.
struct ProxySettings: Equatable, Sendable {
    let host: String
    let port: Int
    var user: String?
    var password: String?

    var forClient: HTTPClient.Configuration.Proxy {
        guard let user else { return .server(host: host, port: port) }
        return .server(
            host: host, port: port,
            authorization: .basic(username: user, password: password ?? ""))
    }

    /// `http://[user:password@]host[:port]`; a bare `host:port` means the same.
    init?(parsing text: String) {
        var rest = text[...]
        if let scheme = rest.firstRange(of: "://") {
            guard rest[..<scheme.lowerBound].lowercased() == "http" else { return nil }
            rest = rest[scheme.upperBound...]
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        if let at = rest.lastIndex(of: "@") {
            let pair = rest[..<at].split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = pair.first.flatMap({ URIText.decode(Self.plain($0)) }), !name.isEmpty
            else { return nil }
            user = name
            password = pair.count > 1 ? URIText.decode(Self.plain(pair[1])) : nil
            rest = rest[rest.index(after: at)...]
        }
        guard let authority = Authority(parsing: String(rest), defaultPort: 80) else { return nil }
        host = authority.host
        port = authority.port
    }

    /// A plus sign is itself in this part of a URL.
    private static func plain(_ text: Substring) -> String {
        text.split(separator: "+", omittingEmptySubsequences: false).joined(separator: "%2B")
    }

    /// Nil for none. `setting`: "" leaves it to the environment, "none" forbids any.
    static func choose(
        setting: String, environment: [String: String], isTLS: Bool, host: String, port: Int
    ) throws(UserError) -> ProxySettings? {
        if setting == "none" { return nil }
        // The capital form of http_proxy can be set by whoever sends a request to a CGI program; no
        // such thing here, and people use it.
        let names = isTLS ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy", "HTTP_PROXY"]
        let found = names.first { environment[$0]?.isEmpty == false }
        let (name, text) =
            setting.isEmpty
            ? (found ?? "", found.flatMap { environment[$0] } ?? "") : ("storage.proxy", setting)
        if text.isEmpty { return nil }
        if setting.isEmpty {
            let except = environment["no_proxy"] ?? environment["NO_PROXY"] ?? ""
            if isExcepted(host: host, port: port, by: except) { return nil }
        }
        guard let proxy = ProxySettings(parsing: text) else {
            throw UserError(
                .badRequest, what: "cannot use the proxy of \(name)",
                why: "it is not a URL of the form http://[user:password@]host:port",
                remedy: "correct it, or set storage.proxy = \"none\"")
        }
        return proxy
    }

    /// A list of hosts and domains, each with or without a port; `*` is all.
    static func isExcepted(host: String, port: Int, by list: String) -> Bool {
        let host = host.lowercased()
        return list.split(whereSeparator: { $0 == "," || $0 == " " }).contains { entry in
            if entry == "*" { return true }
            var name = entry.lowercased()
            if let authority = Authority(parsing: name, defaultPort: 0) {
                if authority.port != 0 && authority.port != port { return false }
                name = authority.host
            }
            if name.hasPrefix("*") { name.removeFirst() }
            if name.hasPrefix(".") { name.removeFirst() }
            return !name.isEmpty && (host == name || host.hasSuffix("." + name))
        }
    }
}

/// A host with a port; an IPv6 address stands in brackets, and is kept without them.
struct Authority: Equatable, Sendable {
    let host: String
    let port: Int

    init?(parsing text: String, defaultPort: Int) {
        var host = text[...]
        var digits: Substring?
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return nil }
            let rest = host[host.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            digits = rest.isEmpty ? nil : rest.dropFirst()
            host = host[host.index(after: host.startIndex)..<end]
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." })
            else { return nil }
        } else {
            if let colon = host.firstIndex(of: ":") {
                digits = host[host.index(after: colon)...]
                host = host[..<colon]
            }
            guard !host.isEmpty,
                host.utf8.allSatisfy({ URIText.isUnreserved($0) && $0 != UInt8(ascii: "~") })
            else { return nil }
        }
        var port = defaultPort
        if let digits {
            guard let number = Int(digits), (1...65_535).contains(number),
                digits.utf8.allSatisfy({ (0x30...0x39).contains($0) })
            else { return nil }
            port = number
        }
        self.host = String(host)
        self.port = port
    }

    /// As it stands in a URL, without a port.
    var urlHost: String { host.contains(":") ? "[\(host)]" : host }

    /// No name that a bucket's could be put in front of.
    var isAddress: Bool {
        host.contains(":") || host == "localhost"
            || host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) }
            }
    }
}
