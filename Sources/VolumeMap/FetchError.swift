// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why a part of a volume's map or content could not be brought from the store.

public import ObjectStore

/// The fetcher's closed set of failures.
public enum FetchError: Error, Equatable, Sendable {
    /// The store does not answer. Worth retrying.
    case away(key: String, detail: String)
    /// Bytes are not what the pointer to them says. Never served, never cached.
    case damaged(key: String, detail: String)
    /// The map points at an object that is not in the store.
    case missingObject(key: String)
    /// The store refused the request for good.
    case refused(key: String, detail: String)

    public var isRetryable: Bool {
        if case .away = self { true } else { false }
    }

    public init(_ error: ObjectStoreError) {
        switch error {
        case .notFound(let key): self = .missingObject(key: key)
        // Somebody will correct keys and rights, and then the reads that wait go on.
        case .away(let key, let detail), .misconfigured(let key, let detail, _),
            .forbidden(let key, let detail):
            self = .away(key: key, detail: detail)
        case .damaged(let key, let detail): self = .damaged(key: key, detail: detail)
        case .refused(let key, let detail): self = .refused(key: key, detail: detail)
        }
    }
}

/// As operators read it, in a status or a log.
extension FetchError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .away(let key, let detail): "the store does not give \(key): \(detail)"
        case .damaged(let key, let detail): "\(key) is damaged: \(detail)"
        case .missingObject(let key): "\(key) is not in the store"
        case .refused(let key, let detail): "the store refuses \(key): \(detail)"
        }
    }
}
