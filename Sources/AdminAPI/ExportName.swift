// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The rule for names of exports, tags and base images, in words. Names that keep it are safe as key
// components, path components and label values, so that nothing behind it quotes.

private import Documents
private import Primitives

public enum ExportName {
    /// For messages: what to do about a bad name.
    public static let rule =
        "use 1 to \(Limits.nameCharactersMax) of A-Z a-z 0-9 . _ - and begin with a letter or digit"

    public static func isValid(_ name: String) -> Bool { RefName(name) != nil }
}
