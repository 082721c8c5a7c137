// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which known word a mistyped one most likely meant.

enum NearestKey {
    /// Words longer than this are compared by their beginning: the cost is quadratic.
    private static let lettersMax = 128

    /// The candidate with the fewest edits from `word`, and that number; nil without candidates.
    static func find(_ word: String, in candidates: [String]) -> (word: String, edits: Int)? {
        var best: (word: String, edits: Int)?
        for candidate in candidates {
            // Half a name is most likely meant to be the whole.
            let isPart = !word.isEmpty && candidate.hasPrefix(word)
            let edits = isPart ? 1 : distance(word, candidate)
            if edits < best?.edits ?? Int.max { best = (candidate, edits) }
        }
        return best
    }

    /// Insertions, removals, replacements and swaps of neighbours that turn one into the other.
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.utf8.prefix(lettersMax))
        let right = Array(right.utf8.prefix(lettersMax))
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in 0..<left.count {
            var current = [row + 1]
            for column in 0..<right.count {
                var edits = last[column] + (left[row] == right[column] ? 0 : 1)
                edits = min(edits, current[column] + 1, last[column + 1] + 1)
                if row > 0, column > 0, left[row] == right[column - 1],
                    left[row - 1] == right[column]
                {
                    edits = min(edits, beforeLast[column - 1] + 1)
                }
                current.append(edits)
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
