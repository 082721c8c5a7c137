// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The process environment, read once here and handed on as a value.

import FoundationEssentials

enum Environment {
    static var all: [String: String] { ProcessInfo.processInfo.environment }
}
