// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A directory of the host for one test, removed with everything in it at the end.

import Foundation

/// Owns a fresh directory, by default below the system's temporary one.
public final class ScratchDirectory: Sendable {
    public let path: String

    public init(below folder: String? = nil) throws {
        let base =
            folder.map { URL(fileURLWithPath: $0) } ?? FileManager.default.temporaryDirectory
        let url = base.appendingPathComponent("martlet-test-" + UUID().uuidString)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
