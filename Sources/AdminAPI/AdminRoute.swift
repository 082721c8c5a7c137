// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The table of endpoints. Matching is by hand, because a wrong method and an unknown path each get
// their own JSON answer.

/// What a request asks for, without its parameters.
enum AdminAction: Equatable, Sendable {
    case listExports, putExport, getExport, deleteExport
    case drain, snapshot, snapshots, deleteSnapshot, tag, tags
    case promote, rollback, open, acknowledge, compact, resetCache
    case status, exportMetrics, manifest, diff, cachedBlock
    case health, ready, metrics
}

struct AdminRoute: Sendable {
    let method: String
    /// Components; `*` takes any one and hands it over.
    let pattern: [String]
    let action: AdminAction
    /// Query keys that it knows; each is `true` or `false`.
    let flags: [String]
    /// Query keys that it knows whose value is a number.
    let numbers: [String]

    init(
        _ method: String, _ path: String, _ action: AdminAction, flags: [String] = [],
        numbers: [String] = []
    ) {
        self.method = method
        pattern = path.split(separator: "/").map(String.init)
        self.action = action
        self.flags = flags
        self.numbers = numbers
    }

    static let table: [AdminRoute] = [
        AdminRoute("GET", "/api/exports", .listExports),
        AdminRoute("PUT", "/api/exports/*", .putExport),
        AdminRoute("GET", "/api/exports/*", .getExport),
        AdminRoute("DELETE", "/api/exports/*", .deleteExport, flags: ["purge"]),
        AdminRoute("POST", "/api/exports/*/drain", .drain),
        AdminRoute("POST", "/api/exports/*/snapshot", .snapshot),
        AdminRoute("GET", "/api/exports/*/snapshots", .snapshots, flags: ["detail"]),
        AdminRoute("DELETE", "/api/exports/*/snapshots/*", .deleteSnapshot),
        AdminRoute("POST", "/api/exports/*/tag", .tag),
        AdminRoute("POST", "/api/exports/*/promote", .promote, flags: ["force"]),
        AdminRoute("POST", "/api/exports/*/rollback", .rollback),
        AdminRoute("POST", "/api/exports/*/open", .open, flags: ["force"]),
        AdminRoute("POST", "/api/exports/*/acknowledge", .acknowledge),
        AdminRoute("POST", "/api/exports/*/compact", .compact),
        AdminRoute("POST", "/api/exports/*/cache/reset", .resetCache),
        AdminRoute("GET", "/api/exports/*/diff", .diff, numbers: ["from", "to", "version"]),
        AdminRoute("GET", "/api/exports/*/status", .status),
        AdminRoute("GET", "/api/exports/*/metrics", .exportMetrics),
        AdminRoute("HEAD", "/api/manifests/*/*", .manifest),
        AdminRoute("GET", "/api/cache/blocks/*", .cachedBlock),
        AdminRoute("GET", "/api/tags", .tags),
        AdminRoute("GET", "/health", .health),
        AdminRoute("GET", "/health/ready", .ready),
        AdminRoute("GET", "/metrics", .metrics),
    ]

    enum Match {
        case found(AdminRoute, parameters: [String])
        case wrongMethod(allowed: [String])
        case unknown
    }

    /// Finds the route of a path's decoded components. HEAD is allowed wherever GET is.
    static func match(_ method: String, _ components: [String]) -> Match {
        let candidates = table.compactMap { route in
            route.parameters(of: components).map { (route, $0) }
        }
        guard !candidates.isEmpty else { return .unknown }
        let exact = candidates.first { $0.0.method == method }
        let found = exact ?? candidates.first { method == "HEAD" && $0.0.method == "GET" }
        if let found { return .found(found.0, parameters: found.1) }
        return .wrongMethod(allowed: candidates.map(\.0.method))
    }

    private func parameters(of components: [String]) -> [String]? {
        guard components.count == pattern.count else { return nil }
        var taken: [String] = []
        for (part, component) in zip(pattern, components) {
            if part == "*" {
                taken.append(component)
            } else if part != component {
                return nil
            }
        }
        return taken
    }
}
