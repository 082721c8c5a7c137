// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a store URL names. Only folders are built; the clouds are known and refused by name.

public import Primitives

/// Where the object store is.
public enum StoreLocation: Equatable, Sendable {
    case directory(path: String)

    /// Schemes that are known but not built, with their product names.
    private static let later = ["s3://": "S3", "gs://": "Google Cloud Storage", "az://": "Azure"]

    public init(parsing url: String) throws(UserError) {
        for (scheme, product) in Self.later where url.hasPrefix(scheme) {
            throw UserError(
                .badRequest, what: "cannot use the store \(url)",
                why: "\(scheme) (\(product)) is not built yet", remedy: "use file:///path")
        }
        guard url.hasPrefix("file://"), url.count > 7, !url.contains("\0") else {
            throw UserError(
                .badRequest, what: "cannot use the store \(url)",
                why: "that is no store URL", remedy: "use file:///path")
        }
        self = .directory(path: String(url.dropFirst(7)))
    }
}
