// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Whether a store keeps the promises that publishing stands on, found out by trying. Several
// products take a create-if-absent and overwrite silently; two writers on one of those would
// destroy each other.

public import Primitives

/// What may be done with a store.
public enum StoreAccess: Equatable, Sendable {
    case readWrite
    /// Writing is forbidden to us; reading is not our question.
    case readOnly(detail: String)
    /// The store breaks a promise: no writer may use it.
    case unfit(detail: String)
}

public enum StoreProbe {
    public static let prefix = "probe/"

    /// Creates a random key twice and reads it back. Throws if the store is away.
    public static func run(
        _ store: some ObjectStore, random: inout some RandomSource
    ) throws(ObjectStoreError) -> StoreAccess {
        let key = prefix + Token.random(from: &random).description
        let first = Array("first \(key)".utf8)
        let second = Array("second \(key)".utf8)
        do {
            // A retried first PUT may meet itself, so its outcome proves nothing.
            _ = try store.putIfAbsent(key, first)
        } catch .forbidden(_, let detail) {
            return .readOnly(detail: detail)
        } catch .refused(_, let detail) {
            return .unfit(detail: "the store knows no create-if-absent: \(detail)")
        }
        let access = try check(store, key: key, first: first, second: second)
        // Left behind where deleting is not allowed: a few bytes, and no reason to refuse the
        // store.
        try? store.delete([key])
        return access
    }

    private static func check(
        _ store: some ObjectStore, key: String, first: [UInt8], second: [UInt8]
    ) throws(ObjectStoreError) -> StoreAccess {
        guard try store.putIfAbsent(key, second) == .exists else {
            return .unfit(detail: "a second create of one key succeeded")
        }
        do {
            guard try store.get(key, limit: 4096) == first else {
                return .unfit(detail: "a refused create changed the object")
            }
        } catch .notFound {
            return .unfit(detail: "a created object cannot be read")
        }
        let page = try store.list(prefix: key, after: nil, limit: 1)
        guard page.entries == [.init(key: key, bytes: UInt64(first.count))] else {
            return .unfit(detail: "a listing does not show what was just created")
        }
        return .readWrite
    }
}
