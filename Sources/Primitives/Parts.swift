// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Keys and paths taken apart by bytes: by characters, which Swift's own `split` looks for, a key
// costs ten times as much, and collectors look at millions.

extension StringProtocol where UTF8View.SubSequence == Substring.UTF8View {
    /// What stands before, between and behind the separators, also where that is nothing.
    package func parts(between separator: StaticString) -> [Substring] {
        precondition(separator.utf8CodeUnitCount == 1, "a separator is one byte")
        return utf8.split(separator: separator.utf8Start[0], omittingEmptySubsequences: false)
            .map { Substring($0) }
    }
}
