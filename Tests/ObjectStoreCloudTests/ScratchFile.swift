// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file of one test.

import Foundation
import TestSupport

final class ScratchFile: Sendable {
    private let scratch: ScratchDirectory
    let path: String

    init(_ text: String) throws {
        scratch = try ScratchDirectory()
        path = scratch.path + "/file"
        try write(text)
    }

    func write(_ text: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }
}
