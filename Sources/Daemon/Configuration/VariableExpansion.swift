// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `$NAME` and `${NAME}` in configuration strings; `$$` is a dollar sign. An undefined name is an
// error, never an empty string: half a path is worse than none.

enum VariableExpansion {
    enum Failure: Error, Equatable {
        case undefined(String)
        case malformed
    }

    static func expand(
        _ text: String, _ environment: [String: String]
    ) throws(Failure) -> String {
        var result = ""
        var rest = Substring(text)
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            rest = rest[rest.index(after: dollar)...]
            if rest.first == "$" {
                result += "$"
                rest = rest.dropFirst()
                continue
            }
            let name = try takeName(&rest)
            guard let value = environment[name] else { throw .undefined(name) }
            result += value
        }
        return result + rest
    }

    private static func takeName(_ rest: inout Substring) throws(Failure) -> String {
        let isBraced = rest.first == "{"
        if isBraced { rest = rest.dropFirst() }
        let name = rest.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
        rest = rest.dropFirst(name.count)
        guard let first = name.first, !first.isNumber else { throw .malformed }
        if isBraced {
            guard rest.first == "}" else { throw .malformed }
            rest = rest.dropFirst()
        }
        return String(name)
    }
}
