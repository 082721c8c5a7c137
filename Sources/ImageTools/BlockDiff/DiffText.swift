// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A diff as lines for people, or as one JSON value: what `martlet diff view` prints. Lines come as
// the diff is read, so that a large one takes no memory.

public import HostIO

public struct DiffText {
    private let isJSON: Bool
    private let print: (String) -> Void
    private var rangeCount: UInt64 = 0
    private var bytes: UInt64 = 0
    private var version = 1
    /// Held back until the next one shows whether it goes on.
    private var pending: ChangedRange?

    private init(isJSON: Bool, print: @escaping (String) -> Void) {
        self.isJSON = isJSON
        self.print = print
    }

    /// Prints what a diff holds.
    public static func view<Storage: ExtentDirectory>(
        _ diff: DiffEnd<Storage>, by tool: BlockDiffTool<Storage>, isJSON: Bool,
        print: @escaping (String) -> Void
    ) throws(BlockDiffError) {
        var text = DiffText(isJSON: isJSON, print: print)
        // The two closures are called in turns, never at one time.
        try withUnsafeMutablePointer(to: &text) { text throws(BlockDiffError) in
            try tool.view(diff, { text.pointee.add($0) }, { text.pointee.add($0) })
        }
        text.end()
    }

    private mutating func add(_ head: DiffHead) {
        version = head.version
        if isJSON {
            print("{\"version\":\(head.version),\"target_bytes\":\(head.targetBytes),")
            print("\"base_bytes\":\(head.baseBytes),")
            if let digest = head.baseDigest { print("\"base_digest\":\"\(digest)\",") }
            if let digest = head.targetDigest { print("\"target_digest\":\"\(digest)\",") }
            return print("\"ranges\":[")
        }
        print("block diff, version \(head.version)")
        print("target: \(head.targetBytes) bytes")
        if let digest = head.targetDigest { print("  digest: \(digest)") }
        print(head.baseBytes == 0 ? "base: none" : "base: \(head.baseBytes) bytes")
        if let digest = head.baseDigest { print("  digest: \(digest)") }
    }

    private mutating func add(_ range: ChangedRange) {
        if let last = pending, last.kind == range.kind, last.end == range.offset, version == 2 {
            pending?.length += range.length
            return
        }
        flush(isLast: false)
        pending = range
    }

    private mutating func flush(isLast: Bool) {
        guard let range = pending else { return }
        rangeCount += 1
        bytes += range.length
        let kind = version == 2 ? "\(range.kind)" : nil
        if isJSON {
            let tail = kind.map { ",\"kind\":\"\($0)\"" } ?? ""
            print(
                "{\"offset\":\(range.offset),\"length\":\(range.length)\(tail)}"
                    + (isLast ? "" : ","))
        } else {
            print("  \(range.offset) +\(range.length)" + (kind.map { " \($0)" } ?? ""))
        }
    }

    private mutating func end() {
        flush(isLast: true)
        if isJSON {
            print("],\"range_count\":\(rangeCount),\"changed_bytes\":\(bytes)}")
        } else {
            print("ranges: \(rangeCount), \(bytes) bytes")
        }
    }
}
