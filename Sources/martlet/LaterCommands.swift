// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commands whose names are taken but whose work is not built yet: refused by name, never mistaken
// for a typing error.

enum LaterCommands {
    private static let table: [String: String] = [
        "attach": "kernel devices", "detach": "kernel devices", "mount": "the FUSE transport",
        "top": "the live view",
    ]

    /// The message for a command that is not built; nil for every other word.
    static func refusal(of word: String) -> String? {
        table[word].map { feature in
            "cannot run \(word) : \(feature) is not built yet : see martlet --help for what is"
        }
    }
}
