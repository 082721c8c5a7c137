// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a store URL names. Folders and S3 are built; the other clouds are known and refused by name.

import ObjectStoreCloud
import Primitives

/// Where the object store is.
enum StoreLocation: Equatable, Sendable {
    case directory(path: String)
    case s3(S3Location)

    /// Schemes that are known but not built, with their product names.
    private static let later = ["gs://": "Google Cloud Storage", "az://": "Azure"]

    init(parsing url: String) throws(UserError) {
        for (scheme, product) in Self.later where url.hasPrefix(scheme) {
            throw UserError(
                .badRequest, what: "cannot use the store \(url)",
                why: "\(scheme) (\(product)) is not built yet",
                remedy: "use s3://bucket/prefix or file:///path")
        }
        if url.hasPrefix(S3Location.scheme) {
            self = .s3(try S3Location(parsing: url))
            return
        }
        guard url.hasPrefix("file://"), url.count > 7, !url.contains("\0") else {
            throw UserError(
                .badRequest, what: "cannot use the store \(url)",
                why: "that is no store URL", remedy: "use s3://bucket/prefix or file:///path")
        }
        self = .directory(path: String(url.dropFirst(7)))
    }
}
